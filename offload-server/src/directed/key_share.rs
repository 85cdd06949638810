//! Key shares, and what two of them agree on (R18, R20).

use alloc::boxed::Box;
use alloc::vec::Vec;

use ipc::segment::Place;
use rustls::NamedGroup;
use rustls::crypto::ActiveKeyExchange;
use tls::codec::Writer;
use tls::{Alert, Group};

use super::resumption::part;
use super::{Directed, Fault, Keys};
use crate::convert;

/// This side's.
pub(super) enum KeyShare {
    None,
    /// With its secret.
    Pair(Box<dyn ActiveKeyExchange>),
    /// TLS 1.3, server: the answer to the client's; the secret is agreed on.
    Answer {
        group: Group,
        share: Vec<u8>,
    },
}

/// RFC 8446 §4.2.8.2, FIPS 203 §7.2.
const INVALID: Fault = Fault::Refused(Alert::ILLEGAL_PARAMETER);

impl Directed {
    /// The answer that there is, or a new share. RFC 8446 §4.1.2: a second hello keeps that
    /// of the first, unless the server asks for another.
    pub(super) fn write_share(&mut self, group: Group, out: &mut impl Writer) -> Result<(), Fault> {
        match core::mem::replace(&mut self.key_share, KeyShare::None) {
            KeyShare::Answer { group: of, share } if of == group => {
                out.bytes(&share);
            }
            KeyShare::Answer { .. } => return Err(Fault::INTERNAL),
            KeyShare::Pair(pair) if u16::from(pair.group()) == group.number() => {
                out.bytes(pair.pub_key());
                self.key_share = KeyShare::Pair(pair);
            }
            KeyShare::None | KeyShare::Pair(_) => {
                let pair = convert::supported_group(group).start();
                let pair = pair.map_err(|_| Fault::INTERNAL)?;
                out.bytes(pair.pub_key());
                self.key_share = KeyShare::Pair(pair);
            }
        }
        Ok(())
    }

    pub(super) fn own_pair(&self) -> Result<&dyn ActiveKeyExchange, Fault> {
        match &self.key_share {
            KeyShare::Pair(pair) => Ok(&**pair),
            KeyShare::None | KeyShare::Answer { .. } => Err(Fault::INTERNAL),
        }
    }

    fn take_pair(&mut self) -> Result<Box<dyn ActiveKeyExchange>, Fault> {
        match core::mem::replace(&mut self.key_share, KeyShare::None) {
            KeyShare::Pair(pair) => Ok(pair),
            KeyShare::None | KeyShare::Answer { .. } => Err(Fault::INTERNAL),
        }
    }

    pub(super) fn agree(&mut self, share: &[u8]) -> Result<(), Fault> {
        let shared = self.take_pair()?.complete(share).map_err(|_| INVALID)?;
        self.keys = Keys::Agreed(shared);
        Ok(())
    }

    pub(super) fn encapsulate(&mut self, group: Group, share: Place) -> Result<(), Fault> {
        let message = self.message.as_ref().ok_or(Fault::INTERNAL)?;
        let share = part(message.body(), share)?;
        let done = convert::supported_group(group).start_and_complete(share);
        let done = done.map_err(|_| INVALID)?;
        self.key_share = KeyShare::Answer {
            group,
            share: done.pub_key,
        };
        self.keys = Keys::Agreed(done.secret);
        Ok(())
    }

    pub(super) fn decapsulate(&mut self, group: Group, share: Place) -> Result<(), Fault> {
        let pair = self.take_pair()?;
        let message = self.message.as_ref().ok_or(Fault::INTERNAL)?;
        let share = part(message.body(), share)?;
        let group = NamedGroup::from(group.number());
        let is_half = pair
            .hybrid_component()
            .is_some_and(|(half, _)| half == group);
        let shared = match is_half {
            true => pair.complete_hybrid_component(share),
            false if pair.group() == group => pair.complete(share),
            false => return Err(Fault::INTERNAL),
        };
        self.keys = Keys::Agreed(shared.map_err(|_| INVALID)?);
        Ok(())
    }
}

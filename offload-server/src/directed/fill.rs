//! Filling the holes of a template (R11 to R15, R18, R24, R26, R27).

use alloc::vec::Vec;

use ipc::bounded::Bytes;
use ipc::keystore::ToBeSigned;
use ipc::segment::{Fill, Hole, Template};
use tls::{Group, Role, Version};

use super::inbound::MESSAGE_HEADER;
use super::{Context, Directed, Fault, Keys, peer, resumption};
use crate::convert;

/// RFC 8446 §4.1.3.
const DOWNGRADED: [u8; 8] = *b"DOWNGRD\x01";
/// RFC 8446 §4.4.2: what follows each certificate; nothing.
const NO_EXTENSIONS: [u8; 2] = [0, 0];

impl Directed {
    /// The finished message.
    pub(super) fn complete(
        &mut self,
        template: &Template,
        context: &Context<'_>,
    ) -> Result<Vec<u8>, Fault> {
        let mut message = Vec::with_capacity(template.message.len() + 64);
        let mut done = 0;
        for Hole {
            offset,
            prefix,
            fill,
        } in template.holes.iter()
        {
            let offset = usize::from(*offset);
            let part = template.message.get(done..offset).ok_or(Fault::INTERNAL)?;
            message.extend_from_slice(part);
            done = offset;
            let start = message.len() + usize::from(*prefix);
            message.resize(start, 0);
            self.fill(*fill, context, &mut message)?;
            set_length(&mut message, start, usize::from(*prefix))?;
        }
        let part = template.message.get(done..).ok_or(Fault::INTERNAL)?;
        message.extend_from_slice(part);
        set_length(&mut message, MESSAGE_HEADER, MESSAGE_HEADER - 1)?;
        Ok(message)
    }

    fn fill(&mut self, fill: Fill, context: &Context<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        match fill {
            Fill::Random { downgraded } => {
                let random = random(downgraded)?;
                self.own_random = random;
                out.extend_from_slice(&random);
            }
            Fill::SameRandom => out.extend_from_slice(&self.own_random),
            Fill::KeyShare(group) => {
                let exchange = convert::supported_group(group)
                    .start()
                    .map_err(|_| Fault::INTERNAL)?;
                out.extend_from_slice(exchange.pub_key());
                self.exchange = Some(exchange);
            }
            Fill::EncryptedPreMaster => self.encrypt(out)?,
            Fill::Ticket => out.extend_from_slice(&self.given()?.ticket),
            Fill::TicketAge => {
                let age = self.given()?.obfuscated_age(context.now);
                out.extend_from_slice(&age.to_be_bytes());
            }
            Fill::Binders => self.write_binders(out)?,
            Fill::NewTicket { nonce } => self.write_ticket(nonce, out)?,
            Fill::AgeAdd => out.extend_from_slice(&resumption::random::<4>()?),
            Fill::Authorities(ring) => {
                self.settle(ring)?;
                let ring = self.rings.get(usize::from(ring)).ok_or(Fault::INTERNAL)?;
                out.extend_from_slice(&peer::authorities(ring));
            }
            Fill::Chain(ring) => {
                let is_tls13 = self.version() == Some(Version::Tls13);
                let chain = self.settle(ring)?.chain().ok_or(Fault::INTERNAL)?;
                for certificate in chain {
                    let start = out.len() + 3;
                    out.resize(start, 0);
                    out.extend_from_slice(certificate);
                    set_length(out, start, 3)?;
                    if is_tls13 {
                        out.extend_from_slice(&NO_EXTENSIONS);
                    }
                }
            }
            Fill::Signature { ring, scheme } => {
                let keyring = self.settle(ring)?.index;
                let parts = self.to_be_signed(context)?;
                let signature = context
                    .keystore
                    .sign(keyring, scheme, parts)
                    .ok_or(Fault::INTERNAL)?;
                out.extend_from_slice(&signature);
            }
            Fill::VerifyData => {
                let hash = self.transcript.hash().ok_or(Fault::INTERNAL)?;
                match &self.keys {
                    Keys::Handshake { traffic, .. } | Keys::Application { traffic, .. } => {
                        let data = traffic.verify_data(self.role, &hash);
                        out.extend_from_slice(data.as_ref());
                    }
                    Keys::Master(master) => {
                        out.extend_from_slice(&master.verify_data(self.role, &hash));
                    }
                    Keys::None | Keys::Agreed(_) | Keys::PreMaster(_) => {
                        return Err(Fault::INTERNAL);
                    }
                }
            }
        }
        Ok(())
    }

    fn to_be_signed(&self, context: &Context<'_>) -> Result<ToBeSigned, Fault> {
        if self.version() == Some(Version::Tls13) {
            let hash = self.transcript.hash().ok_or(Fault::INTERNAL)?;
            return Ok(ToBeSigned::Tls13CertificateVerify {
                role: self.role,
                transcript_hash: Bytes::from_slice(hash.as_ref()).map_err(|_| Fault::INTERNAL)?,
            });
        }
        if self.role == Role::Client {
            // RFC 5246 §7.4.8.
            let messages = self.transcript.messages().ok_or(Fault::INTERNAL)?;
            let parts = context.keystore.hand_over(messages);
            return parts.ok_or(Fault::INTERNAL);
        }
        let exchange = self.exchange.as_ref().ok_or(Fault::INTERNAL)?;
        let group = u16::from(exchange.group());
        debug_assert!(Group::from_number(group).is_some());
        Ok(ToBeSigned::Tls12ServerKeyExchange {
            client_random: self.peer_random,
            server_random: self.own_random,
            group,
            public_key: Bytes::from_slice(exchange.pub_key()).map_err(|_| Fault::INTERNAL)?,
        })
    }
}

fn random(downgraded: bool) -> Result<[u8; 32], Fault> {
    let mut random = resumption::random::<32>()?;
    if downgraded {
        for (to, from) in random.iter_mut().skip(24).zip(DOWNGRADED) {
            *to = from;
        }
    }
    Ok(random)
}

/// Writes the length of everything from `start` on into the `width` bytes
/// before it.
fn set_length(message: &mut [u8], start: usize, width: usize) -> Result<(), Fault> {
    let (before, after) = message.split_at_mut_checked(start).ok_or(Fault::INTERNAL)?;
    let length = u32::try_from(after.len()).map_err(|_| Fault::INTERNAL)?;
    if width < 4 && length >> (8 * width) != 0 && width != 0 {
        return Err(Fault::INTERNAL);
    }
    let field = before
        .len()
        .checked_sub(width)
        .and_then(|at| before.get_mut(at..))
        .ok_or(Fault::INTERNAL)?;
    let bytes = length.to_be_bytes();
    for (to, from) in field.iter_mut().rev().zip(bytes.iter().rev()) {
        *to = *from;
    }
    Ok(())
}

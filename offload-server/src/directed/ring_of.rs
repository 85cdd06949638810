//! Which key rings a handshake goes by.

use alloc::sync::Arc;

use ipc::segment::RingPlace;
use tls::Role;

use super::{Directed, Fault};
use crate::keyring::Keyring;

impl Directed {
    pub(super) fn ring(&self, place: RingPlace) -> Result<&Keyring, Fault> {
        let ring = self.rings.get(usize::from(place));
        ring.map(|ring| &**ring).ok_or(Fault::INTERNAL)
    }

    /// The ring, which is from here on that of a server's handshake. A handshake that
    /// begins with a ring keeps it: a client accepted by one tenant's anchors is not
    /// shown another's certificate, nor reported as another's.
    pub(super) fn settle(&mut self, place: RingPlace) -> Result<&Keyring, Fault> {
        if self.role == Role::Server && *self.ring.get_or_insert(place) != place {
            return Err(Fault::INTERNAL);
        }
        self.ring(place)
    }

    /// The rings by whose trust anchors the peer is judged.
    pub(super) fn judges(&self) -> Result<&[Arc<Keyring>], Fault> {
        match self.role {
            Role::Client => Ok(&self.rings),
            Role::Server => {
                let place = self.ring.map(usize::from).ok_or(Fault::INTERNAL)?;
                self.rings.get(place..=place).ok_or(Fault::INTERNAL)
            }
        }
    }
}

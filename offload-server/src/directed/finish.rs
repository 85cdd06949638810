//! The end of a directed handshake.

use alloc::boxed::Box;

use ipc::control::{HandshakeError, Resource};
use ipc::net::TcpPosition;
use ipc::segment::Agreed;
use tls::schedule13::TrafficSecrets;
use tls::{Role, TrafficKey};

use super::{Directed, Keys};
use crate::finished::Finished;
use crate::identity;
use crate::session::Tickets;

const INTERNAL: HandshakeError = HandshakeError::Resource(Resource::Internal);

impl Directed {
    /// What was agreed on, as the director says, and its keys (R30, R31).
    ///
    /// # Errors
    /// The peer's certificate can't be kept; else the director has left out a step.
    pub(crate) fn finish(mut self, agreed: Agreed) -> Result<Finished, HandshakeError> {
        let suite = self.suite.ok_or(INTERNAL)?;
        let tickets = self.remember().map(Box::new).map(Tickets::Directed);
        let tcp = TcpPosition {
            tx_next: self.outbound.next(),
            rx_next: self.rx_start.wrapping_add(self.inbound.taken()),
        };
        let ring = self.rings.get(usize::from(agreed.ring)).ok_or(INTERNAL)?;
        let keyring = ring.label.clone();
        let (session, role) = (self.session, self.role);
        let (expose_keys, first_byte) = (self.expose_keys, self.first_byte);
        let is_resumed = self.is_resumed;
        let peer = core::mem::take(&mut self.peer).into_proved();
        let (keys, secrets) = self.into_keys().ok_or(INTERNAL)?;
        Ok(Finished {
            session,
            role,
            suite,
            group: agreed.group,
            keys,
            secrets,
            tickets,
            peer: identity::Peer::of(peer.as_deref())?,
            alpn: agreed.alpn,
            server_name: agreed.server_name,
            keyring,
            is_resumed,
            expose_keys,
            tcp,
            first_byte,
        })
    }

    /// Keys for the record layer, out and in; TLS 1.3: what key updates go on from.
    fn into_keys(mut self) -> Option<((TrafficKey, TrafficKey), Option<TrafficSecrets>)> {
        match self.keys {
            Keys::Application { application, .. } => {
                let mut tx = application.key(self.role)?;
                // A server has sent its tickets under it.
                if self.role == Role::Server {
                    tx.sequence = self.outbound.sequence();
                }
                let rx = application.key(self.role.other())?;
                Some(((tx, rx), Some(application)))
            }
            Keys::Master(_) => {
                let (mut tx, mut rx) = self.traffic.take()?;
                tx.sequence = self.outbound.sequence();
                rx.sequence = self.inbound.sequence();
                Some(((tx, rx), None))
            }
            Keys::None | Keys::Agreed(_) | Keys::PreMaster(_) | Keys::Handshake { .. } => None,
        }
    }
}

//! The end of a directed handshake.

use alloc::boxed::Box;

use ipc::clock::Instant;
use ipc::control::{Established, HandshakeError, Resource};
use ipc::net::TcpPosition;
use ipc::segment::Agreed;
use tls::schedule13::TrafficSecrets;
use tls::{Exporter, Role, Secret, TrafficKey};

use super::{Directed, Keys};
use crate::finished::Finished;
use crate::identity;
use crate::session::TakeTickets;

type Taken = ((TrafficKey, TrafficKey), Option<TrafficSecrets>, Exporter);

const INTERNAL: HandshakeError = HandshakeError::Resource(Resource::Internal);

impl Directed {
    /// What was agreed on, as the director says, and its keys (R30, R31); it began then.
    ///
    /// # Errors
    /// The director has left out a step.
    pub(crate) fn finish(
        mut self: Box<Self>,
        began: Instant,
        agreed: Agreed,
    ) -> Result<Finished, HandshakeError> {
        let suite = self.suite.ok_or(INTERNAL)?;
        let ring = self.rings.get(usize::from(agreed.ring)).ok_or(INTERNAL)?;
        let keyring = ring.label.clone();
        let tickets = self
            .remember()
            .map(|tickets| Box::new(tickets) as Box<dyn TakeTickets>);
        let (keys, secrets, exporter) = self.take_keys().ok_or(INTERNAL)?;
        let peer = core::mem::take(&mut self.peer).into_proved();
        let peer = identity::Peer::of(peer.as_deref());
        let established = Box::new(Established {
            version: suite.version(),
            suite,
            group: agreed.group,
            sequence: (keys.0.sequence, keys.1.sequence),
            key_check: None,
            keys: None,
            peer: peer.identity,
            peer_scheme: self.peer_scheme,
            alpn: agreed.alpn,
            server_name: agreed.server_name,
            keyring,
            resumed: self.is_resumed,
            tcp: TcpPosition {
                tx_next: self.outbound.next(),
                rx_next: self.rx_start.wrapping_add(self.inbound.taken()),
            },
            first_byte: self.first_byte.unwrap_or(began),
            installed: Instant::NEVER,
        });
        Ok(Finished {
            role: self.role,
            exporter,
            record_limit: self.outbound.record_limit(),
            keys,
            secrets,
            tickets,
            certificate: peer.certificate,
            established,
        })
    }

    /// Keys for the record layer, out and in; TLS 1.3: what key updates go on from; what
    /// keying material for other protocols comes from.
    fn take_keys(&mut self) -> Option<Taken> {
        match core::mem::replace(&mut self.keys, Keys::None) {
            Keys::Application {
                application,
                exporter,
                ..
            } => {
                let mut tx = application.key(self.role)?;
                // A server has sent its tickets under it.
                if self.role == Role::Server {
                    tx.sequence = self.outbound.sequence();
                }
                let rx = application.key(self.role.other())?;
                Some(((tx, rx), Some(application), *exporter))
            }
            Keys::Master(master) => {
                let (mut tx, mut rx) = self.traffic.take()?;
                let secret = Secret::from_slice(master.expose()).ok()?;
                let (client, server) = self.randoms();
                let exporter = Exporter::tls12(secret, *client, *server);
                tx.sequence = self.outbound.sequence();
                rx.sequence = self.inbound.sequence();
                Some(((tx, rx), None, exporter))
            }
            Keys::None | Keys::Agreed(_) | Keys::PreMaster(_) | Keys::Handshake { .. } => None,
        }
    }
}

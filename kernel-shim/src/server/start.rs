//! How a handshake starts.

use core::time::Duration;

use ipc::channel::Doorbell;
use ipc::clock::Clock;
use ipc::control::{
    HandshakeError, HandshakeId, HandshakeRequest, PolicyError, RequestError, Resource,
};
use ipc::director::Order;
use ipc::handshake::{Directive, Origin, Start};
use ipc::net::{self, NetError, Owner};
use ipc::stats;
use ipc::tls::Mode;
use ipc::transport::Transport;

use super::sessions::session_badge;
use super::{Handshake, INTERNAL, Outcome, Server, Session, Windows};
use crate::table::Name;

/// How long after its deadline a handshake is cancelled here, if the network stack and
/// the offload component did not end it. Both see the deadline first.
const GRACE: Duration = Duration::from_secs(2);

impl<T: Transport, R: Transport, O: Doorbell, A: Doorbell, W: Windows, C: Clock>
    Server<'_, T, R, O, A, W, C>
{
    /// Starts a handshake that the client has the right to.
    pub(super) fn start(&mut self, client: u16, request: HandshakeRequest) -> Outcome<HandshakeId> {
        let started = self.clock.now();
        request.check(started).map_err(HandshakeError::Request)?;
        let is_directed = request.mode == Mode::Directed;
        if is_directed && self.ports.director.is_none() {
            return Err(HandshakeError::Policy(PolicyError::Mode));
        }
        let full = HandshakeError::Resource;
        // No client takes a place of the tables from another.
        let part = self.part(client)?;
        let handshake = self.handshakes.next(part);
        let name = handshake.ok_or(full(Resource::Handshakes))?;
        let session = self.sessions.next(part).ok_or(full(Resource::Sessions))?;
        let connection = request.connection;
        let to_offload = net::Request::Move {
            connection,
            client,
            to: Owner::Offload(name.slot),
            deadline: request.deadline,
            expected_tx_next: request.tcp_sequence,
        };
        let position = self.move_connection(&to_offload).map_err(blame)?;
        if is_directed && let Err(error) = self.begin_directed(client, name, &request) {
            self.release(connection);
            return Err(error);
        }
        let badge = session_badge(session);
        self.ports.windows.grant_install(session.slot, badge);
        let start = Directive::Start(Start {
            slot: name.slot,
            generation: name.generation,
            session: session.slot,
            session_generation: session.generation,
            mode: request.mode,
            role: request.role,
            origin: Origin {
                client,
                group: request.group,
                deadline: request.deadline,
                standing: request.standing,
            },
            parameters: request.parameters,
            position,
        });
        if self.ports.offload.send(&start).is_err() {
            // The slot's mailbox is empty when its last completion was taken: this
            // offload component does not take its directives.
            if is_directed {
                self.end_directed(name);
            }
            self.ports.windows.revoke_install(session.slot);
            self.release(connection);
            return Err(full(Resource::Queue));
        }
        let until = request.deadline + GRACE;
        self.earliest = self.earliest.min(until);
        // Both tables had room above.
        let handshake = Handshake {
            client,
            group: request.group,
            connection,
            session,
            started,
            until,
            wakeups: self.wakeups,
            is_directed,
            outcome: None,
            is_owed: true,
            is_collected: false,
            is_cancelled: false,
        };
        self.handshakes.insert(part, handshake);
        self.sessions.insert(part, Session { client, connection });
        self.ports.stats.add(stats::shim::STARTED, 1);
        Ok(HandshakeId::new(name.slot, name.generation))
    }

    fn begin_directed(
        &mut self,
        client: u16,
        name: Name,
        request: &HandshakeRequest,
    ) -> Outcome<()> {
        let begin = Order::Begin {
            slot: name.slot,
            generation: name.generation,
            role: request.role,
            parameters: request.parameters.clone(),
            refused: self.rights.steps(client, &request.parameters.keyrings)?,
            is_audited: self.rights.audits(client),
        };
        let director = self.ports.director.as_mut().ok_or(INTERNAL)?;
        // It is there before the offload component begins, and is looked for before each
        // of its verdicts: no reason to wake the director. Who has no room does not take
        // its orders.
        let sent = director.send(&begin);
        sent.map_err(|_| HandshakeError::Resource(Resource::Queue))
    }

    pub(super) fn end_directed(&mut self, name: Name) {
        let Name { slot, generation } = name;
        // Its mailbox has room for one; a director that does not take its orders drives
        // nothing either.
        let end = Order::End { slot, generation };
        let _ = self.ports.director.as_mut().map(|d| d.send_at_once(&end));
    }
}

/// Whose fault it is that a connection could not be taken.
fn blame(error: NetError) -> HandshakeError {
    HandshakeError::Request(match error {
        NetError::WrongSequence => RequestError::TcpSequence,
        NetError::NoConnection | NetError::Closed | NetError::Denied | NetError::SlotInUse => {
            RequestError::Connection
        }
        _ => return INTERNAL,
    })
}

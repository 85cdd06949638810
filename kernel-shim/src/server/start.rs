//! How a handshake starts.

use core::time::Duration;

use ipc::badge::Badge;
use ipc::channel::Doorbell;
use ipc::clock::{Clock, Instant};
use ipc::control::{
    HandshakeError, HandshakeId, HandshakeRequest, Parameters, RequestError, Resource,
};
use ipc::director::Order;
use ipc::handshake::{Directive, Origin, Start};
use ipc::net::{NetError, Owner};
use ipc::stats;
use ipc::tls::Mode;
use ipc::transport::Transport;

use super::{Handshake, INTERNAL, Server, Session, Windows};

/// How long after its deadline a handshake is cancelled here, if the network stack and
/// the offload component did not end it. Both see the deadline first.
const GRACE: Duration = Duration::from_secs(2);

impl<T: Transport, R: Transport, O: Doorbell, A: Doorbell, W: Windows, C: Clock>
    Server<'_, T, R, O, A, W, C>
{
    /// Starts a handshake that the client has the right to.
    pub(super) fn start(
        &mut self,
        client: u16,
        request: HandshakeRequest,
    ) -> Result<HandshakeId, HandshakeError> {
        let started = self.clock.now();
        check_request(&request, started)?;
        let refused = match request.mode {
            Mode::Autonomous => None,
            Mode::Directed => Some(self.rights.steps(client, &request.parameters.keyrings)?),
        };
        let full = HandshakeError::Resource;
        // No client takes a place of the tables from another.
        let part = self.part(client)?;
        let handshake = self.handshakes.next(part);
        let (slot, generation) = handshake.ok_or(full(Resource::Handshakes))?;
        let session = self.sessions.next(part);
        let (session, session_generation) = session.ok_or(full(Resource::Sessions))?;
        let moved = self.move_connection(
            request.connection,
            client,
            Owner::Offload(slot),
            request.deadline,
            request.tcp_sequence,
        );
        let position = moved.map_err(blame)?;
        let badge = Badge::Session {
            slot: session,
            generation: session_generation,
        };
        let (role, parameters) = (request.role, request.parameters);
        let is_directed = refused.is_some();
        if let Some(refused) = refused {
            let begin = Order::Begin {
                slot,
                generation,
                role,
                parameters: parameters.clone(),
                refused,
                is_audited: self.rights.audits(client),
            };
            if self.director.send(&begin).is_err() {
                // It does not take its orders.
                self.release(request.connection);
                return Err(full(Resource::Queue));
            }
        }
        self.windows.grant_install(session, badge);
        let origin = Origin {
            client,
            group: request.group,
            deadline: request.deadline,
            standing: request.standing,
        };
        let directive = Directive::Start(Start {
            slot,
            generation,
            session,
            session_generation,
            mode: request.mode,
            role,
            origin,
            parameters,
            position,
        });
        if self.offload.send(&directive).is_err() {
            // The slot's mailbox is empty when its last completion was taken: this
            // offload component does not take its directives.
            if is_directed {
                let end = Order::End { slot, generation };
                self.director.send(&end).ok();
            }
            self.windows.revoke_install(session);
            self.release(request.connection);
            return Err(full(Resource::Queue));
        }
        let until = request.deadline + GRACE;
        self.earliest = self.earliest.min(until);
        // Both tables had room above.
        let handshake = Handshake {
            client,
            group: request.group,
            connection: request.connection,
            session,
            session_generation,
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
        let session = Session {
            client,
            connection: request.connection,
        };
        self.sessions.insert(part, session);
        self.stats.add(stats::shim::STARTED, 1);
        self.count_tables();
        Ok(HandshakeId::new(slot, generation))
    }
}

fn check_request(request: &HandshakeRequest, now: Instant) -> Result<(), HandshakeError> {
    let wrong = |what| Err(HandshakeError::Request(what));
    if request.parameters.versions.is_empty() {
        return wrong(RequestError::NoVersion);
    }
    if request.parameters.keyrings.is_empty() {
        return wrong(RequestError::NoKeyring);
    }
    if !Parameters::SEGMENT_SIZES.contains(&request.parameters.segment_size) {
        return wrong(RequestError::SegmentSize);
    }
    if request.deadline <= now {
        return wrong(RequestError::Deadline);
    }
    if request.parameters.allow_static_rsa && request.mode != Mode::Directed {
        return wrong(RequestError::Unsupported);
    }
    Ok(())
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

//! From a connection to a session: of clients, and with backends.

use alloc::boxed::Box;

use ipc::channel::{Doorbell, SlotIndex, Status};
use ipc::clock::Clock;
use ipc::control::{self, HandshakeError, HandshakeId, HandshakeRequest, Resource, SessionResult};
use ipc::net::Address;
use ipc::provision::{Backend, Tls, Upstream};
use ipc::stats;
use ipc::transport::Transport;

use super::{Arrived, Purpose, Server, milliseconds};
use crate::relay::{End, Facts, Far, RelayId};
use crate::report::{Failure, Success};

impl<T, S, P, B, C> Server<'_, T, S, P, B, C>
where
    T: Transport,
    S: Transport,
    P: Doorbell,
    B: Doorbell,
    C: Clock,
{
    pub(super) fn start(&mut self, purpose: Purpose) {
        let Some(request) = self.request(purpose) else {
            return self.give_up(purpose);
        };
        let request = control::Request::StartHandshake(request);
        match self.ports.shim.call(&request) {
            Ok(Ok(control::Answer::Started(id))) => {
                self.handshakes.insert(id.0, purpose);
                if let Purpose::Backend { relay, .. } = purpose {
                    self.set_far(relay, Far::Securing(id));
                }
            }
            Ok(Err(HandshakeError::Resource(Resource::Handshakes | Resource::Sessions))) => {
                self.waiting.push_back(purpose);
            }
            Ok(Err(error)) => {
                self.report_failure(purpose, error);
                self.give_up(purpose);
            }
            _ => self.give_up(purpose),
        }
    }

    /// What the configuration says of this handshake; `None` when its relay is
    /// over.
    fn request(&self, purpose: Purpose) -> Option<HandshakeRequest> {
        let (connection, at) = match purpose {
            Purpose::Client(arrived) => (arrived.connection, arrived.at),
            Purpose::Backend { connection, at, .. } => (connection, at),
        };
        let tls = self.tls(purpose)?;
        let deadline = at + milliseconds(tls.handshake_timeout_ms);
        Some(HandshakeRequest {
            connection,
            role: tls.role,
            mode: tls.mode,
            parameters: Box::new(tls.parameters.clone()),
            tcp_sequence: None,
            deadline,
            group: 0,
        })
    }

    fn tls(&self, purpose: Purpose) -> Option<&Tls> {
        match purpose {
            Purpose::Client(arrived) => {
                let listener = self.listeners.get(arrived.listener)?;
                match arrived.rule {
                    Some(rule) => listener.rules.get(rule).map(|rule| &rule.tls),
                    None => listener.tls.as_ref(),
                }
            }
            Purpose::Backend { relay, .. } => self.upstream(relay)?.tls.as_ref(),
        }
    }

    /// The backend of a relay.
    fn upstream(&self, relay: RelayId) -> Option<&Upstream> {
        let listener = self.relays.get(&relay)?.listener;
        match &self.listeners.get(listener)?.backend {
            Backend::Connect(upstream) => Some(upstream),
            Backend::Status => None,
        }
    }

    /// There will be no handshake.
    fn give_up(&mut self, purpose: Purpose) {
        match purpose {
            Purpose::Client(arrived) => self.abort(arrived.connection),
            Purpose::Backend {
                relay, connection, ..
            } => {
                self.abort(connection);
                self.backend_failed(relay);
            }
        }
    }

    /// Takes every handshake that is over, and starts those that wait for room.
    pub(super) fn collect(&mut self) {
        loop {
            match self.ports.shim.call(&control::Request::CollectAny) {
                Ok(Ok(control::Answer::Established(id, result))) => {
                    match self.handshakes.remove(&id.0) {
                        Some(Purpose::Client(arrived)) => self.establish(arrived, &result),
                        Some(Purpose::Backend { relay, .. }) => self.secured(relay, &result),
                        None => self.drop_session(result.slot),
                    }
                }
                Ok(Ok(control::Answer::Failed(HandshakeId(id), error))) => {
                    if let Some(purpose) = self.handshakes.remove(&id) {
                        self.report_failure(purpose, error);
                        if let Purpose::Backend { relay, .. } = purpose {
                            self.backend_failed(relay);
                        }
                    }
                }
                _ => break,
            }
        }
        for _ in 0..self.waiting.len() {
            let Some(purpose) = self.waiting.pop_front() else {
                break;
            };
            let before = self.waiting.len();
            self.start(purpose);
            if self.waiting.len() > before {
                // Still no room: it goes back to the front.
                self.waiting.rotate_right(1);
                break;
            }
        }
    }

    pub(super) fn report_failure(&self, purpose: Purpose, error: HandshakeError) {
        self.ports.stats.add(stats::gateway::FAILED, 1);
        let Some((listener, remote)) = self.parties(purpose) else {
            return;
        };
        let listener = self.listeners.get(listener).map_or("", |l| &l.name);
        let failure = Failure {
            listener,
            remote,
            error,
        };
        (self.ports.log)(format_args!("{failure}"));
    }

    /// The listener and the peer of a handshake.
    fn parties(&self, purpose: Purpose) -> Option<(usize, Address)> {
        match purpose {
            Purpose::Client(arrived) => Some((arrived.listener, arrived.remote)),
            Purpose::Backend { relay, .. } => {
                let listener = self.relays.get(&relay)?.listener;
                Some((listener, self.upstream(relay)?.address))
            }
        }
    }

    fn report_success(&self, listener: usize, remote: Address, tls: &Tls, result: &SessionResult) {
        let success = Success {
            listener: self.listeners.get(listener).map_or("", |l| &l.name),
            remote,
            mode: tls.mode,
            role: tls.role,
            result,
        };
        (self.ports.log)(format_args!("{success}"));
    }

    /// A client's session is there.
    fn establish(&mut self, arrived: Arrived, result: &SessionResult) {
        let slot = result.slot;
        self.ports.plain.follow(slot);
        let Some(tls) = self.tls(Purpose::Client(arrived)) else {
            return self.drop_session(slot);
        };
        self.report_success(arrived.listener, arrived.remote, tls, result);
        let facts = Facts {
            session: result.session,
            listener: arrived.listener,
            remote: arrived.remote,
            version: result.established.version,
            suite: result.established.suite,
            mode: tls.mode,
            started: result.started,
            completed: result.completed,
        };
        let near = End::Session(slot);
        self.begin(arrived, near, Some((facts, &result.established)));
    }

    /// A backend's connection is open: on to TLS.
    pub(super) fn secure(
        &mut self,
        relay: RelayId,
        connection: ipc::net::ConnectionId,
        slot: SlotIndex,
    ) {
        let end = End::Connection { connection, slot };
        if let Some(place) = self.relay_of(end) {
            *place = None;
        }
        // What was written before goes first: nothing of ours follows it here.
        self.ports.backend.flush();
        self.ports.backend.close(slot);
        self.set_far(relay, Far::Waiting);
        let at = self.clock.now();
        self.start(Purpose::Backend {
            relay,
            connection,
            at,
        });
    }

    /// The session with a backend is there.
    fn secured(&mut self, relay: RelayId, result: &SessionResult) {
        let slot = result.slot;
        let Some(listener) = self.relays.get(&relay).map(|relay| relay.listener) else {
            // The client has gone meanwhile.
            return self.drop_session(slot);
        };
        if let Some((tls, address)) = self
            .upstream(relay)
            .and_then(|upstream| Some((upstream.tls.as_ref()?, upstream.address)))
        {
            self.report_success(listener, address, tls, result);
        }
        self.ports.plain.follow(slot);
        let end = End::Session(slot);
        if let Some(place) = self.relay_of(end) {
            *place = Some(relay);
        }
        self.set_far(
            relay,
            Far::Open {
                end,
                is_established: true,
            },
        );
        self.pump(relay);
    }

    fn set_far(&mut self, relay: RelayId, far: Far) {
        if let Some(relay) = self.relays.get_mut(&relay) {
            relay.far = far;
        }
    }

    /// Nobody has a use for this session any more.
    pub(super) fn drop_session(&mut self, slot: SlotIndex) {
        self.ports.plain.follow(slot);
        self.ports.plain.set_status(slot, Status::RESET);
        self.ports.plain.notify(slot);
        self.close_session(slot);
    }

    pub(super) fn close_session(&mut self, slot: SlotIndex) {
        // What was written last must be seen before the session is closed.
        self.ports.plain.flush();
        let capability = (self.ports.session)(slot);
        // Without the capability there is no session to close.
        let _ = capability.call(&control::Request::CloseSession);
        self.ports.plain.close(slot);
    }
}

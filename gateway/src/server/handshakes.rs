//! From a connection to a session: of clients, and with backends.

use alloc::boxed::Box;

use ipc::channel::{SlotIndex, Status};
use ipc::clock::Instant;
use ipc::control::{
    self, Failure, HandshakeError, HandshakeId, HandshakeRequest, PeerError, Resource,
    SessionResult,
};
use ipc::provision::{Backend, Tls, Upstream};

use super::{Arrived, GRACE, Platform, Purpose, QUANTUM, Secure, Server, milliseconds};
use crate::guests::{Place, Places, group_of_backends};
use crate::handshakes::Progress;
use crate::relay::{End, Facts, Far, RelayId};
use crate::report::Why;
use crate::turned_away::Reason;
use crate::waiting::{ASK_AGAIN, Line, MAX_LONG};

impl<P: Platform> Server<'_, P> {
    /// Starts a handshake, or has it wait until one can be started.
    pub(super) fn start(&mut self, purpose: Purpose) {
        match purpose {
            Purpose::Client(arrived) => {
                if arrived.line == Line::Long && self.long >= MAX_LONG {
                    self.wait(arrived);
                } else if !self.may_begin(arrived) {
                    let group = Some(arrived.guest.group());
                    self.wait(arrived);
                    self.make_way(group);
                } else if !self.try_start(purpose) {
                    self.wait(arrived);
                    self.make_way(None);
                }
            }
            Purpose::Backend(secure) => {
                if !self.may_secure(secure) {
                    self.wait_for_backend(secure);
                } else if self.backends_able() > 0 || !self.try_start(purpose) {
                    self.wait_for_backend(secure);
                    self.make_way(None);
                }
            }
        }
    }

    /// Whether this client's address may have one more handshake.
    fn may_begin(&self, arrived: Arrived) -> bool {
        let limits = self.limits(arrived.listener);
        self.guests.may_begin(arrived.guest, limits)
    }

    /// Whether there may be one more handshake with this backend.
    fn may_secure(&self, secure: Secure) -> bool {
        self.handshakes.may_secure(secure.listener)
    }

    /// False when there is no room for one more handshake now.
    fn try_start(&mut self, purpose: Purpose) -> bool {
        if self.handshakes.is_full() {
            return false;
        }
        let Some(request) = self.request(purpose) else {
            self.give_up(purpose);
            return true;
        };
        let deadline = request.deadline;
        let request = control::Request::StartHandshake(request);
        match self.ports.shim.call(&request) {
            Ok(Ok(control::Answer::Started(id))) => {
                let cancel_at = deadline + GRACE;
                self.handshakes
                    .insert(id.0, Progress { purpose, cancel_at });
                self.watch(cancel_at);
                match purpose {
                    Purpose::Client(arrived) => {
                        self.guests.begin(arrived.guest);
                        self.long += usize::from(arrived.line == Line::Long);
                    }
                    Purpose::Backend(secure) => {
                        self.set_far(secure.relay, Far::Securing(id));
                        self.give_connection(secure.relay);
                    }
                }
            }
            Ok(Err(HandshakeError::Resource(
                Resource::Handshakes | Resource::Sessions | Resource::Queue,
            ))) => return false,
            Ok(Err(error)) => {
                self.report_failure(purpose, error);
                self.give_up(purpose);
            }
            _ => self.give_up(purpose),
        }
        true
    }

    /// A connection to a backend has left the channel to the network stack.
    fn give_connection(&mut self, relay: RelayId) {
        if let Some(relay) = self.relays.get_mut(relay) {
            let back = Places {
                connections: 1,
                sessions: 0,
            };
            relay.places.connections -= 1;
            self.guests.give(relay.guest, back);
        }
    }

    /// A client waits for its turn; when too many do, one is evicted
    /// ([`Waiting::add`](crate::waiting::Waiting::add)).
    fn wait(&mut self, arrived: Arrived) {
        self.watch(self.handshake_ends(Purpose::Client(arrived)));
        self.watch(self.now + ASK_AGAIN);
        let (guests, now) = (&self.guests, self.now);
        let standing = |one: &Arrived| guests.standing(one.guest, now);
        if let Some(oldest) = self.waiting.add(arrived, standing) {
            self.dismiss_for(oldest, Reason::Waiting);
        }
    }

    /// A backend waits for its turn.
    fn wait_for_backend(&mut self, secure: Secure) {
        self.watch(self.handshake_ends(Purpose::Backend(secure)));
        self.waiting.add_backend(secure);
    }

    /// Asks the shim to evict the oldest handshake whose client sent nothing, once for
    /// each that waits.
    fn make_way(&mut self, group: Option<u32>) {
        self.watch(self.now + ASK_AGAIN);
        let backends = self.backends_able();
        if self.waiting.may_ask(self.now, backends) {
            // It returns as a result; without room there it is requested again.
            let _ = self.ports.shim.call(&control::Request::Displace { group });
        }
    }

    /// Backends that wait for nothing but room.
    fn backends_able(&self) -> usize {
        let may_secure = |listener| self.handshakes.may_secure(listener);
        self.waiting.backends_of(may_secure)
    }

    /// Room is requested for those that wait and have no request under way.
    pub(super) fn make_way_again(&mut self) {
        for _ in 0..self.backends_able().min(QUANTUM) {
            self.make_way(None);
        }
        for place in 0..self.waiting.line(Line::Ready).len() {
            let Some(arrived) = self.waiting.line(Line::Ready).get(place).copied() else {
                return;
            };
            let is_of_its_own = !self.may_begin(arrived);
            self.make_way(is_of_its_own.then_some(arrived.guest.group()));
        }
    }

    /// Starts some of those that wait, as many as there is room for: backends that may have
    /// one more first, then clients, those with a long ClientHello last. Of the listeners
    /// whose backends wait, the one with the fewest handshakes in progress is next; of the
    /// addresses with the best standing likewise: many clients of one listener, or one
    /// address, wait for each other.
    pub(super) fn start_waiting(&mut self) {
        let mut left = QUANTUM;
        self.is_starting = false;
        while let Some(secure) = self.next_backend() {
            if left == 0 {
                self.is_starting = true;
                return;
            }
            if !self.try_start(Purpose::Backend(secure)) {
                return;
            }
            left -= 1;
            // Unless its relay ended meanwhile, it is still there.
            self.waiting.forget_backend(secure.relay);
        }
        for line in Line::ALL {
            loop {
                let rank = |arrived: &Arrived| {
                    let guest = arrived.guest;
                    let may_begin = self.may_begin(*arrived);
                    may_begin.then(|| {
                        let standing = match self.waiting.is_by_standing() {
                            true => Some(self.guests.standing(guest, self.now)),
                            false => None,
                        };
                        (standing, self.guests.handshakes(guest))
                    })
                };
                let Some((place, arrived)) = self.waiting.next(line, rank) else {
                    break;
                };
                if line == Line::Long && self.long >= MAX_LONG {
                    break;
                } else if left == 0 {
                    self.is_starting = true;
                    return;
                } else if self.try_start(Purpose::Client(arrived)) {
                    self.waiting.take(line, place);
                    left -= 1;
                } else {
                    return;
                }
            }
        }
    }

    /// Whose turn it is of the backends that wait; its time begins when its handshake does.
    fn next_backend(&self) -> Option<Secure> {
        let turn = |listener| self.handshakes.turn(listener);
        let secure = self.waiting.next_backend(turn)?;
        let at = self.now;
        Some(Secure { at, ..secure })
    }

    /// What the configuration says of this handshake; `None` when its relay is
    /// over.
    fn request(&self, purpose: Purpose) -> Option<HandshakeRequest> {
        let (connection, group, standing) = match purpose {
            Purpose::Client(Arrived {
                connection, guest, ..
            }) => {
                let standing = self.guests.standing(guest, self.now);
                (connection, guest.group(), standing)
            }
            // A client was admitted for it.
            Purpose::Backend(Secure {
                connection,
                listener,
                ..
            }) => {
                let group = group_of_backends(listener);
                (connection, group, control::Standing::Known)
            }
        };
        let tls = self.tls(purpose)?;
        Some(HandshakeRequest {
            connection,
            role: tls.role,
            mode: tls.mode,
            parameters: Box::new(tls.parameters.clone()),
            tcp_sequence: None,
            deadline: self.handshake_ends(purpose),
            group,
            standing,
        })
    }

    /// When a handshake must be over.
    pub(super) fn handshake_ends(&self, purpose: Purpose) -> Instant {
        let (Purpose::Client(Arrived { at, .. }) | Purpose::Backend(Secure { at, .. })) = purpose;
        let timeout = self.tls(purpose).map_or(0, |tls| tls.handshake_timeout_ms);
        at + milliseconds(timeout)
    }

    pub(super) fn tls(&self, purpose: Purpose) -> Option<&Tls> {
        match purpose {
            Purpose::Client(arrived) => {
                let listener = self.listeners.get(arrived.listener)?;
                match arrived.rule {
                    Some(rule) => listener.rules.get(rule).map(|rule| &rule.tls),
                    None => listener.tls.as_ref(),
                }
            }
            Purpose::Backend(Secure { relay, .. }) => self.upstream(relay)?.tls.as_ref(),
        }
    }

    /// The backend of a relay.
    pub(super) fn upstream(&self, relay: RelayId) -> Option<&Upstream> {
        let listener = self.relays.get(relay)?.listener;
        match &self.listeners.get(listener)?.backend {
            Backend::Connect(upstream) => Some(upstream),
            Backend::Status => None,
        }
    }

    /// There will be no handshake.
    fn give_up(&mut self, purpose: Purpose) {
        match purpose {
            Purpose::Client(arrived) => self.dismiss(arrived),
            Purpose::Backend(Secure {
                relay, connection, ..
            }) => {
                self.abort(connection);
                self.backend_failed(relay, Why::Internal);
            }
        }
    }

    /// Takes handshakes that are over, and starts those that wait for room.
    pub(super) fn collect(&mut self) {
        self.is_collecting = true;
        for _ in 0..QUANTUM {
            match self.ports.shim.call(&control::Request::CollectAny) {
                Ok(Ok(control::Answer::Established(id, result))) => match self.finished(id) {
                    Some(Purpose::Client(arrived)) => self.establish(arrived, &result),
                    Some(Purpose::Backend(secure)) => self.secured(secure, &result),
                    None => self.drop_session(result.slot),
                },
                Ok(Ok(control::Answer::Failed(id, failure))) => {
                    if let Some(purpose) = self.finished(id) {
                        self.failed(purpose, failure);
                    }
                }
                _ => {
                    self.is_collecting = false;
                    break;
                }
            }
        }
        self.is_starting |= !self.waiting.is_empty();
    }

    /// What a handshake that is over was for.
    fn finished(&mut self, id: HandshakeId) -> Option<Purpose> {
        let purpose = self.handshakes.remove(id.0)?;
        if let Purpose::Client(arrived) = purpose {
            self.guests.finish(arrived.guest);
            self.long -= usize::from(arrived.line == Line::Long);
        }
        Some(purpose)
    }

    fn failed(&mut self, purpose: Purpose, failure: Failure) {
        let error = failure.error;
        match (purpose, error) {
            // As many as there are come back so in a flood.
            (Purpose::Client(arrived), HandshakeError::Resource(Resource::Displaced)) => {
                self.waiting.note_displaced();
                self.turn_away(arrived.listener, Reason::Silent, arrived.remote);
            }
            _ => self.report_failure(purpose, failure),
        }
        // The shim has let the connection go.
        match purpose {
            Purpose::Client(arrived) => {
                if is_the_peers_fault(&error) {
                    self.guests.note_failure(arrived.guest, self.now);
                }
                self.guests.leave(arrived.guest);
            }
            Purpose::Backend(secure) => {
                let why = match error {
                    HandshakeError::Peer(_) => Why::Handshake,
                    _ => Why::Internal,
                };
                self.backend_failed(secure.relay, why);
            }
        }
    }

    /// A client's session is there.
    fn establish(&mut self, arrived: Arrived, result: &SessionResult) {
        let slot = result.slot;
        self.ports.plain.follow(slot);
        let limits = self.limits(arrived.listener);
        if !self.guests.take(arrived.guest, Place::Session, limits) {
            // It began while there was room for it.
            self.turn_away(arrived.listener, Reason::Sessions, arrived.remote);
            self.guests.leave(arrived.guest);
            return self.drop_session(slot);
        }
        self.guests.note_session(arrived.guest, self.now);
        let places = Places {
            sessions: 1,
            connections: 0,
        };
        let purpose = Purpose::Client(arrived);
        let Some(mode) = self.tls(purpose).map(|tls| tls.mode) else {
            // Known when the handshake began.
            self.guests.give(arrived.guest, places);
            self.guests.leave(arrived.guest);
            return self.drop_session(slot);
        };
        let agreed = self.report_success(purpose, result);
        let took = result.completed - result.started;
        self.observed
            .handshake(result.established.version, mode, took);
        let facts = Facts {
            session: result.session,
            listener: arrived.listener,
            remote: arrived.remote,
            version: result.established.version,
            suite: result.established.suite,
            mode,
            started: result.started,
            completed: result.completed,
            agreed,
        };
        let near = End::Session(slot);
        self.begin(arrived, (near, places), Some((facts, &result.established)));
    }

    /// A backend's connection is open: on to TLS.
    pub(super) fn secure(
        &mut self,
        relay: RelayId,
        connection: ipc::net::ConnectionId,
        slot: SlotIndex,
    ) {
        self.set_use(End::Connection { connection, slot }, None);
        // What was written before goes first: nothing of ours follows it here.
        self.ports.backend.flush();
        self.ports.backend.close(slot);
        self.set_far(relay, Far::Waiting);
        let at = self.now;
        let Some(listener) = self.relays.get(relay).map(|relay| relay.listener) else {
            return;
        };
        self.start(Purpose::Backend(Secure {
            relay,
            listener,
            connection,
            at,
        }));
    }

    /// The session with a backend is there.
    fn secured(&mut self, secure: Secure, result: &SessionResult) {
        let slot = result.slot;
        if self.relays.get(secure.relay).is_none() {
            // The client has gone meanwhile.
            return self.drop_session(slot);
        }
        self.report_success(Purpose::Backend(secure), result);
        let relay = secure.relay;
        self.ports.plain.follow(slot);
        let end = End::Session(slot);
        self.set_use(end, Some(relay));
        if let Some(relay) = self.relays.get_mut(relay) {
            self.backends.end(relay.listener, &mut relay.is_opening);
        }
        self.note_progress(relay);
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
        if let Some(relay) = self.relays.get_mut(relay) {
            relay.far = far;
            relay.until = Instant::NEVER;
        }
    }

    fn note_progress(&mut self, relay: RelayId) {
        let now = self.now;
        if let Some(relay) = self.relays.get_mut(relay) {
            relay.progress = now;
        }
    }

    /// This session is not needed any more.
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

/// Whether the client has to answer for it that there is no session.
fn is_the_peers_fault(error: &HandshakeError) -> bool {
    match error {
        // It may be that it waited for us.
        HandshakeError::Peer(cause) => *cause != PeerError::Deadline,
        // It owed the next message, and others waited.
        HandshakeError::Resource(resource) => *resource == Resource::Displaced,
        _ => false,
    }
}

//! Decode, check, act, reply; and take completions.

mod begin;
mod directed;

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use ipc::badge::Badge;
use ipc::bounded::Bytes;
use ipc::channel::{Doorbell, SlotIndex};
use ipc::clock::{Clock, Instant};
use ipc::control::{
    Answer, Control, Established, HandshakeError, HandshakeId, HandshakeRequest, Parameters,
    PeerError, PolicyError, Request, RequestError, Resource, SessionId, SessionResult,
};
use ipc::handshake::{Completion, Directive, DirectiveQueue};
use ipc::net::{self, ConnectionId, Net, NetError, Owner, TcpPosition};
use ipc::record::{self, Record};
use ipc::stats;
use ipc::tls::Mode;
use ipc::transport::{Client, MAX_MESSAGE, Transport, dispatch};

use crate::audit::Audit;
use crate::directed::Directed;
use crate::rights::Rights;
use crate::table::Table;

/// The windows into other domains' capability spaces that the shim fills.
pub trait Windows {
    /// Mints the capability to install keys for the session in `slot`.
    fn grant_install(&mut self, slot: SlotIndex, badge: Badge);
    /// Takes it back.
    fn revoke_install(&mut self, slot: SlotIndex);
    /// Mints the session capability for the application.
    fn grant_session(&mut self, slot: SlotIndex, badge: Badge);
    /// Takes it back.
    fn revoke_session(&mut self, slot: SlotIndex);
}

/// The capabilities of the shim.
pub struct Ports<'a, T, R, O, A, W> {
    /// The network stack, with control rights.
    pub net: Client<Net, T>,
    /// The record layer, with control rights.
    pub record: Client<Record, R>,
    /// Directives out, completions in.
    pub offload: DirectiveQueue<O>,
    /// Tells the application of completions.
    pub application: A,
    /// Where capabilities for sessions are put.
    pub windows: W,
    /// Handshakes at once: slots of the channel between network stack and
    /// offload component.
    pub handshake_slots: u16,
    /// Sessions at once: slots of the record layer's channels.
    pub session_slots: u16,
    /// Takes a line for each segment of the directed handshakes that are
    /// audited.
    pub audit: Audit,
    /// Counters.
    pub stats: &'a stats::Page,
}

/// A handshake in progress, or over and not collected.
struct Handshake {
    client: u16,
    connection: ConnectionId,
    session: SlotIndex,
    session_generation: u16,
    started: Instant,
    /// The shim's wake-ups when it started.
    wakeups: u64,
    /// The state machine, in directed mode.
    directed: Option<Box<Directed>>,
    outcome: Option<Result<SessionResult, HandshakeError>>,
}

/// A session, from the start of its handshake on.
struct Session {
    client: u16,
    connection: ConnectionId,
    /// Empty when the peer showed none.
    peer_certificate: Box<[u8]>,
}

/// The kernel shim.
pub struct Server<'a, T, R, O, A, W, C> {
    ports: Ports<'a, T, R, O, A, W>,
    rights: Rights,
    clock: C,
    handshakes: Table<Handshake>,
    sessions: Table<Session>,
    /// Handshakes that are over, in the order of completion.
    over: VecDeque<(SlotIndex, u16)>,
    next_session: u64,
    wakeups: u64,
    is_subscribed: bool,
}

impl<'a, T, R, O, A, W, C> Server<'a, T, R, O, A, W, C>
where
    T: Transport,
    R: Transport,
    O: Doorbell,
    A: Doorbell,
    W: Windows,
    C: Clock,
{
    /// A shim without handshakes.
    pub fn new(ports: Ports<'a, T, R, O, A, W>, rights: Rights, clock: C) -> Self {
        let slots = usize::from(ports.handshake_slots);
        let mut ports = ports;
        begin::begin(&mut ports);
        Self {
            handshakes: Table::new(ports.handshake_slots),
            sessions: Table::new(ports.session_slots),
            over: VecDeque::with_capacity(slots),
            ports,
            rights,
            clock,
            next_session: 1,
            wakeups: 0,
            is_subscribed: false,
        }
    }

    /// Takes completions; call it when the offload component signals.
    pub fn run(&mut self) {
        self.count_wakeup();
        let is_new = self.ports.offload.peer_is_new();
        while let Some(completion) = self.ports.offload.receive() {
            match completion {
                Ok(Completion::Established {
                    slot,
                    generation,
                    established,
                    peer_certificate,
                }) => {
                    self.established(slot, generation, established, peer_certificate.into_inner())
                }
                Ok(Completion::Segment {
                    slot,
                    generation,
                    verdict,
                }) => self.direct(slot, generation, &verdict),
                Ok(Completion::Failed {
                    slot,
                    generation,
                    error,
                }) => self.failed(slot, generation, error),
                Err(ipc::queue::ReceiveError::Malformed) => {}
                Err(ipc::queue::ReceiveError::Broken) => break,
            }
        }
        if is_new {
            self.fail_all(HandshakeError::ServerRestarted);
        }
        self.ports.offload.flush();
    }

    /// Answers one call: `request` and `reply` are messages of
    /// [`ipc::control`]; returns the reply's length.
    pub fn serve(&mut self, badge: u64, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> usize {
        self.count_wakeup();
        let length = dispatch::<Control>(request, reply, |request| {
            let answer = match Badge::from_word(badge) {
                Some(Badge::Client(client)) => self.answer(client, request),
                Some(Badge::Session { slot, generation }) => {
                    self.answer_session(slot, generation, &request)
                }
                _ => Err(HandshakeError::Policy(PolicyError::Client)),
            };
            if matches!(
                answer,
                Err(HandshakeError::Policy(_) | HandshakeError::Resource(_))
            ) {
                self.ports.stats.add(stats::shim::REFUSED, 1);
            }
            answer
        });
        self.ports.offload.flush();
        length
    }

    fn count_wakeup(&mut self) {
        self.wakeups += 1;
        self.ports.stats.add(stats::shim::WAKEUPS, 1);
    }

    fn answer(&mut self, client: u16, request: Request) -> Result<Answer, HandshakeError> {
        match request {
            Request::Begin => {
                self.drop_all(client);
                Ok(Answer::Done)
            }
            Request::StartHandshake(request) => {
                self.rights.check(client, &request)?;
                self.start(client, request).map(Answer::Started)
            }
            Request::CollectResult(id) => self.collect(client, id),
            Request::CollectAny => Ok(self.collect_any(client)),
            Request::Cancel(id) => self.cancel(client, id),
            Request::Subscribe => {
                self.is_subscribed = true;
                Ok(Answer::Done)
            }
            Request::Displace { .. } => Ok(Answer::Done),
            Request::CloseSession | Request::PeerCertificate { .. } => {
                Err(HandshakeError::Policy(PolicyError::Client))
            }
        }
    }

    // ---- start ----

    fn start(
        &mut self,
        client: u16,
        request: HandshakeRequest,
    ) -> Result<HandshakeId, HandshakeError> {
        let started = self.clock.now();
        check_request(&request, started)?;
        let full = HandshakeError::Resource;
        let (slot, generation) = self.handshakes.next().ok_or(full(Resource::Handshakes))?;
        let (session, session_generation) = self.sessions.next().ok_or(full(Resource::Sessions))?;
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
        self.ports.windows.grant_install(session, badge);
        let (role, parameters) = (request.role, request.parameters);
        let (directive, directed) = match request.mode {
            Mode::Autonomous => {
                let start = Directive::Start {
                    slot,
                    generation,
                    session,
                    session_generation,
                    role,
                    parameters,
                    position,
                };
                (start, None)
            }
            Mode::Directed => {
                let steps = self.rights.steps(client, &parameters.keyrings);
                let directed = Box::new(Directed::new(role, parameters.clone(), steps));
                let begin = Directive::Direct {
                    slot,
                    generation,
                    session,
                    session_generation,
                    role,
                    parameters,
                    position,
                };
                (begin, Some(directed))
            }
        };
        if self.ports.offload.send(&directive).is_err() {
            self.ports.windows.revoke_install(session);
            self.release(request.connection);
            return Err(full(Resource::Queue));
        }
        // Both tables had room above.
        self.handshakes.insert(Handshake {
            client,
            connection: request.connection,
            session,
            session_generation,
            started,
            wakeups: self.wakeups,
            directed,
            outcome: None,
        });
        self.sessions.insert(Session {
            client,
            connection: request.connection,
            peer_certificate: Box::default(),
        });
        self.ports.stats.add(stats::shim::STARTED, 1);
        self.count_tables();
        Ok(id(slot, generation))
    }

    // ---- completion ----

    fn established(
        &mut self,
        slot: SlotIndex,
        generation: u16,
        established: Box<Established>,
        peer_certificate: Box<[u8]>,
    ) {
        let Some(handshake) = self.handshakes.find(slot, generation) else {
            return;
        };
        if handshake.outcome.is_some() {
            return;
        }
        let (connection, client) = (handshake.connection, handshake.client);
        let (session, session_generation) = (handshake.session, handshake.session_generation);
        // All wake-ups since the start but this one.
        let shim_wakeups = self.wakeups - handshake.wakeups - 1;
        let started = handshake.started;
        let moved = self.move_connection(
            connection,
            client,
            Owner::Record(session),
            Instant::NEVER,
            Some(established.tcp.tx_next),
        );
        let tcp = match moved {
            Ok(tcp) if tcp == established.tcp => tcp,
            // Gone in the last moment, or not where it should be.
            Ok(_) | Err(NetError::WrongSequence) => {
                return self.failed(slot, generation, INTERNAL);
            }
            Err(_) => {
                let closed = HandshakeError::Peer(PeerError::Closed);
                return self.failed(slot, generation, closed);
            }
        };
        if let Some(session) = self.sessions.find(session, session_generation) {
            session.peer_certificate = peer_certificate;
        }
        let badge = Badge::Session {
            slot: session,
            generation: session_generation,
        };
        self.ports.windows.grant_session(session, badge);
        let result = SessionResult {
            session: SessionId(self.next_session),
            slot: session,
            established,
            shim_wakeups: u32::try_from(shim_wakeups).unwrap_or(u32::MAX),
            tcp,
            started,
            completed: self.clock.now(),
        };
        self.next_session += 1;
        self.finish(slot, generation, Ok(result));
    }

    fn failed(&mut self, slot: SlotIndex, generation: u16, error: HandshakeError) {
        let Some(handshake) = self.handshakes.find(slot, generation) else {
            return;
        };
        if handshake.outcome.is_some() {
            return;
        }
        let connection = handshake.connection;
        let (session, session_generation) = (handshake.session, handshake.session_generation);
        self.release(connection);
        self.close_session_slot(session, session_generation);
        self.sessions.remove(session, session_generation);
        self.finish(slot, generation, Err(error));
    }

    /// Keeps the outcome for the client, and tells it.
    fn finish(
        &mut self,
        slot: SlotIndex,
        generation: u16,
        outcome: Result<SessionResult, HandshakeError>,
    ) {
        if let Some(handshake) = self.handshakes.find(slot, generation) {
            handshake.outcome = Some(outcome);
            handshake.directed = None;
            self.over.push_back((slot, generation));
        }
        self.count_tables();
        if self.is_subscribed {
            self.ports.application.ring();
        }
    }

    // ---- collect, cancel ----

    fn collect(&mut self, client: u16, id: HandshakeId) -> Result<Answer, HandshakeError> {
        let (slot, generation) = place(id);
        let handshake = self.own(client, slot, generation)?;
        if handshake.outcome.is_none() {
            return Err(HandshakeError::Request(RequestError::Pending));
        }
        self.over.retain(|over| *over != (slot, generation));
        match self.take_outcome(slot, generation) {
            Some(Ok(result)) => Ok(Answer::Established(id, result)),
            Some(Err(error)) => Err(error),
            None => Err(INTERNAL),
        }
    }

    fn collect_any(&mut self, client: u16) -> Answer {
        let handshakes = &mut self.handshakes;
        let found = self.over.iter().position(|(slot, generation)| {
            handshakes
                .find(*slot, *generation)
                .is_some_and(|handshake| handshake.client == client)
        });
        let Some((slot, generation)) = found.and_then(|at| self.over.remove(at)) else {
            return Answer::NothingCompleted;
        };
        let id = id(slot, generation);
        match self.take_outcome(slot, generation) {
            Some(Ok(result)) => Answer::Established(id, result),
            Some(Err(error)) => Answer::Failed(id, error),
            None => Answer::NothingCompleted,
        }
    }

    fn take_outcome(
        &mut self,
        slot: SlotIndex,
        generation: u16,
    ) -> Option<Result<SessionResult, HandshakeError>> {
        let outcome = self.handshakes.remove(slot, generation)?.outcome;
        self.ports.stats.add(stats::shim::COLLECTED, 1);
        self.count_tables();
        outcome
    }

    fn cancel(&mut self, client: u16, id: HandshakeId) -> Result<Answer, HandshakeError> {
        let (slot, generation) = place(id);
        let handshake = self.own(client, slot, generation)?;
        if handshake.outcome.is_none() {
            let directive = Directive::Cancel { slot, generation };
            self.ports
                .offload
                .send(&directive)
                .map_err(|_| HandshakeError::Resource(Resource::Queue))?;
        }
        Ok(Answer::Done)
    }

    /// The handshake, if it is this client's.
    fn own(
        &mut self,
        client: u16,
        slot: SlotIndex,
        generation: u16,
    ) -> Result<&mut Handshake, HandshakeError> {
        self.handshakes
            .find(slot, generation)
            .filter(|handshake| handshake.client == client)
            .ok_or(HandshakeError::Request(RequestError::Unknown))
    }

    // ---- sessions ----

    fn answer_session(
        &mut self,
        slot: SlotIndex,
        generation: u16,
        request: &Request,
    ) -> Result<Answer, HandshakeError> {
        let unknown = HandshakeError::Request(RequestError::Unknown);
        let session = self.sessions.find(slot, generation).ok_or(unknown)?;
        match request {
            Request::PeerCertificate { offset } => {
                let certificate = &session.peer_certificate;
                let rest = certificate.get(usize::from(*offset)..).ok_or(unknown)?;
                let part = rest.get(..MAX_PART).unwrap_or(rest);
                let part = Bytes::from_slice(part).map_err(|_| INTERNAL)?;
                Ok(Answer::Certificate(part))
            }
            Request::CloseSession => {
                self.close_session(slot, generation);
                Ok(Answer::Done)
            }
            _ => Err(HandshakeError::Policy(PolicyError::Client)),
        }
    }

    fn close_session(&mut self, slot: SlotIndex, generation: u16) {
        let Some(session) = self.sessions.remove(slot, generation) else {
            return;
        };
        self.close_session_slot(slot, generation);
        self.ports.windows.revoke_session(slot);
        self.release(session.connection);
        // A queue without room only means that the offload component forgets at
        // the slot's next use.
        let forget = Directive::Forget { session: slot };
        self.ports.offload.send(&forget).ok();
        self.count_tables();
    }

    /// Ends the session at the record layer, and the right to install keys.
    fn close_session_slot(&mut self, slot: SlotIndex, generation: u16) {
        self.ports.windows.revoke_install(slot);
        // A record layer that does not answer holds no session either.
        let close = record::Request::Close { slot, generation };
        let _ = self.ports.record.call(&close);
    }

    // ---- connections ----

    fn move_connection(
        &mut self,
        connection: ConnectionId,
        client: u16,
        to: Owner,
        deadline: Instant,
        expected_tx_next: Option<u32>,
    ) -> Result<TcpPosition, NetError> {
        let request = net::Request::Move {
            connection,
            client,
            to,
            deadline,
            expected_tx_next,
        };
        match self.ports.net.call(&request) {
            Ok(Ok(net::Answer::Moved { position })) => Ok(position),
            Ok(Err(error)) => Err(error),
            _ => Err(NetError::Closed),
        }
    }

    fn release(&mut self, connection: ConnectionId) {
        // A connection that is gone already needs no release.
        let _ = self.ports.net.call(&net::Request::Release { connection });
    }

    fn count_tables(&self) {
        let in_progress = self.handshakes.len() - self.over.len();
        let stats = self.ports.stats;
        stats.set(stats::shim::IN_PROGRESS, in_progress as u64);
        stats.set(stats::shim::SESSIONS, self.sessions.len() as u64);
    }
}

const INTERNAL: HandshakeError = HandshakeError::Resource(Resource::Internal);
/// As much as [`Answer::Certificate`] carries.
const MAX_PART: usize = 800;

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
        NetError::NoConnection | NetError::Closed | NetError::Denied => RequestError::Connection,
        _ => return INTERNAL,
    })
}

fn id(slot: SlotIndex, generation: u16) -> HandshakeId {
    HandshakeId(u32::from(generation) << 16 | u32::from(slot))
}

fn place(HandshakeId(id): HandshakeId) -> (SlotIndex, u16) {
    ((id & 0xffff) as u16, (id >> 16) as u16)
}

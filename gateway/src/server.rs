//! Takes events: new connections, completed handshakes, bytes to move.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use ipc::channel::{Channel, Doorbell, Event, SlotIndex, Status};
use ipc::clock::{Clock, Instant};
use ipc::control::{
    self, Control, HandshakeError, HandshakeId, HandshakeRequest, Resource, SessionResult,
};
use ipc::net::{self, Address, ConnectionId, Net};
use ipc::provision::{self, Backend, IdentityForm, Listener};
use ipc::stats;
use ipc::transport::{Client, Transport};

use crate::forward::{CHUNK, Moved, splice};
use crate::page::{self, Asked, View};
use crate::proxy;
use crate::report::{Failure, Success};
use crate::session::{Facts, Page, Peer, Session};

/// How long a backend may take to answer a SYN.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that may wait in the network stack for being accepted.
const BACKLOG: u16 = 128;
/// Connections that wait here for room in the shim's tables.
const MAX_WAITING: usize = 512;

/// The capabilities of the gateway.
pub struct Ports<'a, T, S, P, B> {
    /// The network stack.
    pub net: Client<Net, T>,
    /// The kernel shim.
    pub shim: Client<Control, S>,
    /// The session capability in a slot of the window.
    pub session: Box<dyn Fn(SlotIndex) -> Client<Control, S> + 'a>,
    /// Plaintext of sessions.
    pub plain: Channel<P>,
    /// Backend connections.
    pub backend: Channel<B>,
    /// What the status page shows.
    pub view: View<'a>,
    /// Takes one line for each handshake.
    pub log: Box<dyn Fn(fmt::Arguments<'_>) + 'a>,
    /// Counters.
    pub stats: &'a stats::Page,
}

/// The gateway.
pub struct Server<'a, T, S, P, B, C> {
    ports: Ports<'a, T, S, P, B>,
    listeners: Vec<Listener>,
    clock: C,
    handshakes: BTreeMap<u32, Arrived>,
    waiting: VecDeque<Arrived>,
    /// By session slot.
    sessions: Vec<Option<Session>>,
    /// Session slot by backend slot.
    backends: Vec<Option<SlotIndex>>,
    buffer: Box<[u8; CHUNK]>,
}

/// A connection that has no session yet.
#[derive(Clone, Copy)]
struct Arrived {
    connection: ConnectionId,
    listener: usize,
    local: Address,
    remote: Address,
    deadline: Instant,
}

impl<'a, T, S, P, B, C> Server<'a, T, S, P, B, C>
where
    T: Transport,
    S: Transport,
    P: Doorbell,
    B: Doorbell,
    C: Clock,
{
    /// Listens on every port of the configuration. A port that can't be had is
    /// logged, and the others work.
    pub fn new(ports: Ports<'a, T, S, P, B>, config: provision::Gateway, clock: C) -> Self {
        for listener in &config.listeners {
            let request = net::Request::Listen {
                port: listener.port,
                backlog: BACKLOG,
            };
            let answer = ports.net.call(&request);
            if !matches!(answer, Ok(Ok(net::Answer::Done))) {
                let (name, port) = (&listener.name, listener.port);
                (ports.log)(format_args!("listener {name}: port {port}: {answer:?}"));
            }
        }
        if ports.shim.call(&control::Request::Subscribe).is_err() {
            (ports.log)(format_args!("the shim does not answer"));
        }
        let sessions = usize::from(ports.plain.slots());
        let backends = usize::from(ports.backend.slots());
        Self {
            ports,
            listeners: config.listeners,
            clock,
            handshakes: BTreeMap::new(),
            waiting: VecDeque::new(),
            sessions: (0..sessions).map(|_| None).collect(),
            backends: vec![None; backends],
            buffer: Box::new([0; CHUNK]),
        }
    }

    /// Does all there is to do, then returns; call it at each wake-up.
    /// `is_told` when the shim signalled: a handshake is over.
    pub fn run(&mut self, is_told: bool) {
        self.ports.stats.add(stats::gateway::WAKEUPS, 1);
        if is_told {
            self.collect();
        }
        while let Some(event) = self.ports.plain.next_event() {
            if let Event::Slot(slot) = event {
                self.pump(slot);
            }
        }
        while let Some(event) = self.ports.backend.next_event() {
            match event {
                Event::Control => self.accept(),
                Event::Slot(slot) => {
                    if let Some(Some(session)) = self.backends.get(usize::from(slot)).copied() {
                        self.pump(session);
                    }
                }
            }
        }
        self.ports.plain.flush();
        self.ports.backend.flush();
    }

    // ---- from connection to session ----

    fn accept(&mut self) {
        while self.waiting.len() < MAX_WAITING {
            let Ok(Ok(net::Answer::Accepted {
                connection,
                local,
                remote,
            })) = self.ports.net.call(&net::Request::Accept)
            else {
                return;
            };
            let port = local.port();
            let Some(listener) = self.listeners.iter().position(|l| l.port == port) else {
                self.abort(connection);
                continue;
            };
            let timeout = self
                .listeners
                .get(listener)
                .map_or(0, |l| l.tls.handshake_timeout_ms);
            self.start(Arrived {
                connection,
                listener,
                local,
                remote,
                deadline: self.clock.now() + Duration::from_millis(timeout.into()),
            });
        }
    }

    fn start(&mut self, arrived: Arrived) {
        let Some(listener) = self.listeners.get(arrived.listener) else {
            return;
        };
        let request = HandshakeRequest {
            connection: arrived.connection,
            role: listener.tls.role,
            mode: listener.tls.mode,
            parameters: Box::new(listener.tls.parameters.clone()),
            tcp_sequence: None,
            deadline: arrived.deadline,
        };
        let request = control::Request::StartHandshake(request);
        match self.ports.shim.call(&request) {
            Ok(Ok(control::Answer::Started(id))) => {
                self.handshakes.insert(id.0, arrived);
            }
            Ok(Err(HandshakeError::Resource(Resource::Handshakes | Resource::Sessions))) => {
                self.waiting.push_back(arrived);
            }
            Ok(Err(error)) => {
                self.report_failure(arrived, error);
                self.abort(arrived.connection);
            }
            _ => self.abort(arrived.connection),
        }
    }

    /// Takes every handshake that is over, and starts those that wait for room.
    fn collect(&mut self) {
        loop {
            match self.ports.shim.call(&control::Request::CollectAny) {
                Ok(Ok(control::Answer::Established(id, result))) => {
                    if let Some(arrived) = self.arrived(id) {
                        self.establish(arrived, &result);
                    }
                }
                Ok(Ok(control::Answer::Failed(id, error))) => {
                    if let Some(arrived) = self.arrived(id) {
                        self.report_failure(arrived, error);
                    }
                }
                _ => break,
            }
        }
        for _ in 0..self.waiting.len() {
            let Some(arrived) = self.waiting.pop_front() else {
                break;
            };
            let before = self.waiting.len();
            self.start(arrived);
            if self.waiting.len() > before {
                // Still no room: it goes back to the front.
                self.waiting.rotate_right(1);
                break;
            }
        }
    }

    fn arrived(&mut self, id: HandshakeId) -> Option<Arrived> {
        self.handshakes.remove(&id.0)
    }

    fn report_failure(&self, arrived: Arrived, error: HandshakeError) {
        self.ports.stats.add(stats::gateway::FAILED, 1);
        let listener = self
            .listeners
            .get(arrived.listener)
            .map_or("", |l| l.name.as_str());
        let remote = arrived.remote;
        let failure = Failure {
            listener,
            remote,
            error,
        };
        (self.ports.log)(format_args!("{failure}"));
    }

    fn establish(&mut self, arrived: Arrived, result: &SessionResult) {
        let slot = result.slot;
        self.ports.plain.follow(slot);
        let Some(listener) = self.listeners.get(arrived.listener) else {
            return;
        };
        let success = Success {
            listener: &listener.name,
            remote: arrived.remote,
            mode: listener.tls.mode,
            result,
        };
        (self.ports.log)(format_args!("{success}"));
        let facts = Facts {
            session: result.session,
            listener: arrived.listener,
            remote: arrived.remote,
            version: result.established.version,
            suite: result.established.suite,
            mode: listener.tls.mode,
            started: result.started,
            completed: result.completed,
        };
        let peer = match &listener.backend {
            Backend::Status => Some(Peer::Page(Page::default())),
            Backend::Connect(upstream) => {
                let introduction = match upstream.identity {
                    Some(IdentityForm::ProxyV2) => {
                        let (remote, local) = (arrived.remote.0, arrived.local.0);
                        proxy::header(remote, local, &result.established)
                    }
                    None => Vec::new(),
                };
                self.connect(upstream.address, &introduction, slot)
            }
        };
        let Some(peer) = peer else {
            self.ports.stats.add(stats::gateway::BACKEND_FAILED, 1);
            self.ports.plain.set_status(slot, Status::RESET);
            self.ports.plain.notify(slot);
            self.close_session(slot);
            return;
        };
        if let Some(place) = self.sessions.get_mut(usize::from(slot)) {
            *place = Some(Session {
                facts,
                peer,
                up_done: false,
                down_done: false,
            });
        }
        self.count_sessions();
        // The client may have spoken already.
        self.pump(slot);
    }

    /// Opens a connection to a backend, whose first bytes are `introduction`.
    fn connect(&mut self, to: Address, introduction: &[u8], session: SlotIndex) -> Option<Peer> {
        let deadline = self.clock.now() + CONNECT_TIMEOUT;
        let request = net::Request::Connect { to, deadline };
        let answer = self.ports.net.call(&request);
        let Ok(Ok(net::Answer::Connecting { connection, slot })) = answer else {
            (self.ports.log)(format_args!("backend {}: {answer:?}", to.0));
            return None;
        };
        self.ports.backend.follow(slot);
        // The ring is empty and many times as long.
        let written = self.ports.backend.write(slot, introduction);
        if written != Ok(introduction.len()) {
            self.ports.backend.close(slot);
            self.abort(connection);
            return None;
        }
        *self.backends.get_mut(usize::from(slot))? = Some(session);
        Some(Peer::Backend {
            connection,
            slot,
            is_established: false,
        })
    }

    // ---- bytes ----

    /// Moves what can be moved for the session in `slot`, and ends it when
    /// both directions are through.
    fn pump(&mut self, slot: SlotIndex) {
        let Some(Some(mut session)) = self.sessions.get_mut(usize::from(slot)).map(Option::take)
        else {
            return;
        };
        let goes_on = match &mut session.peer {
            Peer::Backend { .. } => self.pump_backend(slot, &mut session),
            Peer::Page(_) => self.pump_page(slot, &mut session),
        };
        if goes_on {
            if let Some(place) = self.sessions.get_mut(usize::from(slot)) {
                *place = Some(session);
            }
        } else {
            self.end(slot, session);
        }
    }

    /// False when the session is over.
    fn pump_backend(&mut self, slot: SlotIndex, session: &mut Session) -> bool {
        let Peer::Backend {
            slot: backend,
            is_established,
            ..
        } = &mut session.peer
        else {
            return false;
        };
        let backend = *backend;
        let ports = &mut self.ports;
        let status = ports.backend.peer_status(backend);
        if status.has(Status::RESET) && !*is_established && !status.has(Status::ESTABLISHED) {
            ports.stats.add(stats::gateway::BACKEND_FAILED, 1);
        }
        *is_established |= status.has(Status::ESTABLISHED);
        if !session.up_done {
            let up = splice(
                (&mut ports.plain, slot),
                (&mut ports.backend, backend),
                &mut self.buffer,
            );
            match up {
                Ok(Moved::Some(count)) => ports.stats.add(stats::gateway::BYTES_UP, count as u64),
                Ok(Moved::End(count)) => {
                    ports.stats.add(stats::gateway::BYTES_UP, count as u64);
                    session.up_done = true;
                }
                Ok(Moved::CutOff) | Err(_) => return false,
            }
        }
        if !session.down_done {
            let down = splice(
                (&mut ports.backend, backend),
                (&mut ports.plain, slot),
                &mut self.buffer,
            );
            match down {
                Ok(Moved::Some(count)) => ports.stats.add(stats::gateway::BYTES_DOWN, count as u64),
                Ok(Moved::End(count)) => {
                    ports.stats.add(stats::gateway::BYTES_DOWN, count as u64);
                    session.down_done = true;
                }
                Ok(Moved::CutOff) | Err(_) => {
                    // The client must not take this for the end.
                    ports.plain.set_status(slot, Status::RESET);
                    ports.plain.notify(slot);
                    return false;
                }
            }
        }
        let is_out = ports.plain.unread(slot) == Ok(0) && ports.backend.unread(backend) == Ok(0);
        // A client that is gone while the answer is on its way needs none.
        let is_cut = ports.plain.peer_status(slot).has(Status::RESET);
        !(is_cut || session.up_done && session.down_done && is_out)
    }

    /// False when the session is over.
    fn pump_page(&mut self, slot: SlotIndex, session: &mut Session) -> bool {
        let Peer::Page(page) = &mut session.peer else {
            return false;
        };
        let status = self.ports.plain.peer_status(slot);
        if page.answer.is_none() {
            let room = page::MAX_REQUEST.saturating_sub(page.request.len());
            let chunk = self.buffer.get_mut(..room.min(CHUNK)).unwrap_or_default();
            let Ok(count) = self.ports.plain.read(slot, chunk) else {
                return false;
            };
            page.request
                .extend_from_slice(chunk.get(..count).unwrap_or_default());
            page.answer = match page::parse(&page.request) {
                Asked::Incomplete => None,
                Asked::Wrong(status) => Some(page::refusal(status)),
                Asked::Get { path, head_only } => {
                    let others = self.sessions.iter().flatten().map(|s| &s.facts);
                    let sessions = core::iter::once(&session.facts).chain(others);
                    let (view, now) = (&self.ports.view, self.clock.now());
                    let listeners = &self.listeners;
                    Some(page::answer(
                        &path, head_only, view, listeners, sessions, now,
                    ))
                }
            };
        }
        let Some(answer) = &page.answer else {
            return !status.has(Status::END) && !status.has(Status::RESET);
        };
        if !session.down_done {
            let rest = answer.get(page.sent..).unwrap_or_default();
            let Ok(count) = self.ports.plain.write(slot, rest) else {
                return false;
            };
            page.sent += count;
            self.ports
                .stats
                .add(stats::gateway::BYTES_DOWN, count as u64);
            if page.sent == answer.len() {
                session.down_done = true;
                self.ports.plain.set_status(slot, Status::END);
                self.ports.plain.notify(slot);
            }
        }
        let is_out = session.down_done && self.ports.plain.unread(slot) == Ok(0);
        !is_out && !status.has(Status::RESET)
    }

    // ---- the end ----

    fn end(&mut self, slot: SlotIndex, session: Session) {
        if let Peer::Backend {
            connection,
            slot: backend,
            ..
        } = session.peer
        {
            if let Some(place) = self.backends.get_mut(usize::from(backend)) {
                *place = None;
            }
            self.ports.backend.close(backend);
            let request = if session.up_done && session.down_done {
                net::Request::Release { connection }
            } else {
                net::Request::Abort { connection }
            };
            // A connection that is gone already needs neither.
            let _ = self.ports.net.call(&request);
        }
        self.close_session(slot);
        self.count_sessions();
    }

    fn close_session(&mut self, slot: SlotIndex) {
        // What was written last must be seen before the session is closed.
        self.ports.plain.flush();
        let capability = (self.ports.session)(slot);
        // Without the capability there is no session to close.
        let _ = capability.call(&control::Request::CloseSession);
        self.ports.plain.close(slot);
    }

    fn abort(&self, connection: ConnectionId) {
        // A connection that is gone already needs no abort.
        let _ = self.ports.net.call(&net::Request::Abort { connection });
    }

    fn count_sessions(&self) {
        let count = self.sessions.iter().flatten().count();
        self.ports.stats.set(stats::gateway::SESSIONS, count as u64);
    }
}

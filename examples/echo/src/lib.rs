//! The smallest application with TLS sessions of its own: it accepts connections, has
//! the shim make the handshakes, and sends back what it receives.
//!
//! Everything here is bounded: a session is a slot of the channel to the record layer,
//! bytes wait in its rings, and who says nothing for a minute is given up.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec;
use core::fmt;
use core::time::Duration;

use ipc::bounded::{List, Text};
use ipc::channel::{Channel, Doorbell, Event, SlotIndex, Status};
use ipc::clock::{Clock, Instant};
use ipc::control::{self, Control, HandshakeRequest, Parameters, Standing};
use ipc::net::{self, ConnectionId, Net};
use ipc::ring::Misbehaved;
use ipc::tls::{Mode, PeerAuthentication};
use ipc::transport::{Client, Transport};
use tls::{Role, Version};

/// Where it listens; the configuration has to give it the right to.
pub const PORT: u16 = 7443;
/// Whose certificate it shows.
pub const KEYRING: &str = "localhost";
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a session may do nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections, results and events that are taken before others have their turn.
const QUANTUM: usize = 16;
/// Bytes moved at once.
const CHUNK: usize = 4096;

/// What the description gives this domain.
pub struct Ports<'a, T, S, P, B> {
    /// The network stack.
    pub net: Client<Net, T>,
    /// The kernel shim.
    pub shim: Client<Control, S>,
    /// The capability of the session in a slot.
    pub session: Box<dyn Fn(SlotIndex) -> Client<Control, S> + 'a>,
    /// Plaintext of sessions.
    pub plain: Channel<P>,
    /// Tells of new connections.
    pub connections: Channel<B>,
    /// Takes a line.
    pub log: fn(fmt::Arguments<'_>),
}

#[derive(Clone, Copy)]
struct Session {
    /// When it has done nothing for too long.
    until: Instant,
    /// Its last turn left something to do.
    is_due: bool,
}

/// The application.
pub struct Server<'a, T, S, P, B, C> {
    ports: Ports<'a, T, S, P, B>,
    clock: C,
    /// By slot.
    sessions: Box<[Option<Session>]>,
    is_accepting: bool,
    is_collecting: bool,
    /// No session is given up before.
    look_at: Instant,
}

impl<'a, T, S, P, B, C> Server<'a, T, S, P, B, C>
where
    T: Transport,
    S: Transport,
    P: Doorbell,
    B: Doorbell,
    C: Clock,
{
    /// Listens, and has itself told of results. What an earlier life had is dropped.
    pub fn new(ports: Ports<'a, T, S, P, B>, clock: C) -> Self {
        let listen = net::Request::Listen {
            port: PORT,
            backlog: 16,
            ready: net::Ready::ClientHello {
                within: HANDSHAKE.as_millis() as u32,
            },
            share: None,
        };
        for request in [net::Request::Begin, listen] {
            let answer = ports.net.call(&request);
            if !matches!(answer, Ok(Ok(net::Answer::Done))) {
                (ports.log)(format_args!("network stack: {answer:?}"));
            }
        }
        for request in [control::Request::Begin, control::Request::Subscribe] {
            if !matches!(ports.shim.call(&request), Ok(Ok(control::Answer::Done))) {
                (ports.log)(format_args!("the shim refuses"));
            }
        }
        let slots = usize::from(ports.plain.slots());
        Self {
            ports,
            clock,
            sessions: vec![None; slots].into_boxed_slice(),
            is_accepting: true,
            is_collecting: true,
            look_at: Instant::NEVER,
        }
    }

    /// Does a bounded part of what there is to do; call it at each signal, at
    /// [`Server::next_deadline`], and again while it returns true. `is_told` when the shim
    /// signalled.
    pub fn run(&mut self, is_told: bool) -> bool {
        self.is_collecting |= is_told;
        let mut has_more = true;
        for _ in 0..QUANTUM {
            match self.ports.connections.next_event() {
                Some(Event::Control) => self.is_accepting = true,
                Some(Event::Slot(_)) => {}
                None => {
                    has_more = false;
                    break;
                }
            }
        }
        for _ in 0..QUANTUM {
            self.is_accepting = self.is_accepting && self.accept();
            self.is_collecting = self.is_collecting && self.collect();
            match self.ports.plain.next_event() {
                Some(Event::Slot(slot)) => self.go_on(slot),
                Some(Event::Control) => {}
                None if !self.is_accepting && !self.is_collecting => break,
                None => {}
            }
        }
        for slot in 0..self.ports.plain.slots() {
            if self.session(slot).is_some_and(|session| session.is_due) {
                self.go_on(slot);
            }
        }
        has_more |= self.sessions.iter().flatten().any(|session| session.is_due);
        self.give_up_silent();
        self.ports.plain.flush();
        has_more || self.is_accepting || self.is_collecting
    }

    /// When [`Server::run`] has to be called at the latest.
    pub fn next_deadline(&self) -> Instant {
        self.look_at
    }

    /// Takes one connection and has its handshake begun; false when none waits.
    fn accept(&mut self) -> bool {
        match self.ports.net.call(&net::Request::Accept) {
            Ok(Ok(net::Answer::Accepted { connection, .. })) => {
                let request = self.request(connection);
                let answer = self.ports.shim.call(&request);
                if !matches!(answer, Ok(Ok(control::Answer::Started(_)))) {
                    // No room, or no right: it is still ours, and goes.
                    let _ = self.ports.net.call(&net::Request::Abort { connection });
                }
                true
            }
            Ok(Ok(net::Answer::GaveWay { .. })) => true,
            _ => false,
        }
    }

    fn request(&self, connection: ConnectionId) -> control::Request {
        control::Request::StartHandshake(HandshakeRequest {
            connection,
            role: Role::Server,
            mode: Mode::Autonomous,
            parameters: Box::new(Parameters {
                versions: List::from_items([Version::Tls13]).unwrap_or_default(),
                suites: List::new(),
                allow_static_rsa: false,
                peer_schemes: List::new(),
                groups: List::new(),
                keyrings: Text::from_text(KEYRING)
                    .and_then(|label| List::from_items([label]))
                    .unwrap_or_default(),
                peer_authentication: PeerAuthentication::None,
                server_name: None,
                alpn: List::new(),
                segment_size: 16384,
                resumption: false,
                expose_keys: false,
            }),
            tcp_sequence: None,
            deadline: self.clock.now() + HANDSHAKE,
            group: 0,
            standing: Standing::New,
        })
    }

    /// Takes one result; false when there is none.
    fn collect(&mut self) -> bool {
        match self.ports.shim.call(&control::Request::CollectAny) {
            Ok(Ok(control::Answer::Established(_, result))) => {
                let (session, slot) = (result.session.0, result.slot);
                (self.ports.log)(format_args!("session {session} in slot {slot}"));
                self.ports.plain.follow(slot);
                if let Some(place) = self.sessions.get_mut(usize::from(slot)) {
                    *place = Some(Session {
                        until: self.clock.now() + PATIENCE,
                        is_due: true,
                    });
                }
                true
            }
            // The shim has let the connection go.
            Ok(Ok(control::Answer::Failed(..))) => true,
            _ => false,
        }
    }

    fn session(&self, slot: SlotIndex) -> Option<Session> {
        self.sessions.get(usize::from(slot)).copied().flatten()
    }

    /// Gives a session its turn.
    fn go_on(&mut self, slot: SlotIndex) {
        let Some(mut session) = self.session(slot) else {
            return;
        };
        match self.send_back(slot) {
            Ok(Next::Ends) => return self.close(slot),
            Ok(Next::Waits) => session.is_due = false,
            Ok(Next::Moved) => {
                session.is_due = true;
                session.until = self.clock.now() + PATIENCE;
            }
            // A ring that lies carries nothing any more.
            Err(Misbehaved) => return self.close(slot),
        }
        self.look_at = self.look_at.min(session.until);
        if let Some(place) = self.sessions.get_mut(usize::from(slot)) {
            *place = Some(session);
        }
    }

    fn send_back(&mut self, slot: SlotIndex) -> Result<Next, Misbehaved> {
        let plain = &mut self.ports.plain;
        // Read before the bytes: with END set, none come after those found.
        let status = plain.peer_status(slot);
        let mut chunk = [0; CHUNK];
        let mut moved = 0;
        for _ in 0..QUANTUM {
            let count = plain.readable(slot)?.min(plain.writable(slot)?).min(CHUNK);
            let chunk = chunk.get_mut(..count).unwrap_or_default();
            let count = plain.read(slot, chunk)?;
            moved += plain.write(slot, chunk.get(..count).unwrap_or_default())?;
            if count == 0 {
                break;
            }
        }
        if status.has(Status::RESET) {
            return Ok(Next::Ends);
        }
        if plain.readable(slot)? > 0 || !status.has(Status::END) {
            return Ok(if moved > 0 { Next::Moved } else { Next::Waits });
        }
        if !plain.status(slot).has(Status::END) {
            plain.set_status(slot, Status::END);
            plain.notify(slot);
        }
        // The record layer has all that was written.
        Ok(if plain.unread(slot)? == 0 {
            Next::Ends
        } else {
            Next::Waits
        })
    }

    fn close(&mut self, slot: SlotIndex) {
        // What was written last must be seen before the session is closed.
        self.ports.plain.flush();
        // Without the capability there is no session to close.
        let _ = (self.ports.session)(slot).call(&control::Request::CloseSession);
        self.ports.plain.close(slot);
        if let Some(session) = self.sessions.get_mut(usize::from(slot)) {
            *session = None;
        }
    }

    fn give_up_silent(&mut self) {
        let now = self.clock.now();
        if now < self.look_at {
            return;
        }
        for slot in 0..self.ports.plain.slots() {
            if self
                .session(slot)
                .is_some_and(|session| session.until <= now)
            {
                self.close(slot);
            }
        }
        let left = self.sessions.iter().flatten().map(|session| session.until);
        self.look_at = left.min().unwrap_or(Instant::NEVER);
    }
}

/// What comes next in a session.
enum Next {
    /// Nothing, until there is an event.
    Waits,
    /// There may be more.
    Moved,
    /// All has been said.
    Ends,
}

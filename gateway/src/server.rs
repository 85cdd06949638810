//! Takes events: new connections, completed handshakes, bytes to move.

mod handshakes;
mod hearing;
mod relays;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use ipc::channel::{Channel, Doorbell, Event, SlotIndex};
use ipc::clock::{Clock, Instant};
use ipc::control::{self, Control, HandshakeError, PolicyError};
use ipc::net::{self, Address, ConnectionId, Net};
use ipc::provision::{self, Listener};
use ipc::stats;
use ipc::transport::{Client, Transport};

use crate::forward::CHUNK;
use crate::page::View;
use crate::relay::{End, Relay, RelayId, Wires};
use crate::rules::{self, Verdict};

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
    /// Connections without TLS: to backends, and of clients.
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
    /// By handshake.
    handshakes: BTreeMap<u32, Purpose>,
    waiting: VecDeque<Purpose>,
    relays: BTreeMap<RelayId, Relay>,
    next_relay: RelayId,
    /// Clients whose rule depends on what they say, by slot of the channel to
    /// the network stack.
    unheard: BTreeMap<SlotIndex, Arrived>,
    /// Relay by session slot.
    sessions: Vec<Option<RelayId>>,
    /// Relay by slot of the channel to the network stack.
    connections: Vec<Option<RelayId>>,
    buffer: Box<[u8; CHUNK]>,
}

/// A connection that was accepted.
#[derive(Clone, Copy)]
struct Arrived {
    connection: ConnectionId,
    listener: usize,
    /// The rule that is this client's, where rules are.
    rule: Option<usize>,
    local: Address,
    remote: Address,
    at: Instant,
}

/// What a handshake is for.
#[derive(Clone, Copy)]
enum Purpose {
    /// The client of a relay to be.
    Client(Arrived),
    /// The backend of a relay.
    Backend {
        relay: RelayId,
        connection: ConnectionId,
        /// When it was opened.
        at: Instant,
    },
}

const fn milliseconds(count: u32) -> Duration {
    Duration::from_millis(count as u64)
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
        // Nothing is left of a gateway that was here before.
        let net = ports.net.call(&net::Request::Begin);
        let shim = ports.shim.call(&control::Request::Begin);
        if net.is_err() || shim.is_err() {
            (ports.log)(format_args!("network stack or shim do not answer"));
        }
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
        let connections = usize::from(ports.backend.slots());
        Self {
            ports,
            listeners: config.listeners,
            clock,
            handshakes: BTreeMap::new(),
            waiting: VecDeque::new(),
            relays: BTreeMap::new(),
            next_relay: 0,
            unheard: BTreeMap::new(),
            sessions: vec![None; sessions],
            connections: vec![None; connections],
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
            if let Event::Slot(slot) = event
                && let Some(Some(relay)) = self.sessions.get(usize::from(slot)).copied()
            {
                self.pump(relay);
            }
        }
        while let Some(event) = self.ports.backend.next_event() {
            match event {
                Event::Control => self.accept(),
                Event::Slot(slot) => {
                    if let Some(Some(relay)) = self.connections.get(usize::from(slot)).copied() {
                        self.pump(relay);
                    } else if let Some(arrived) = self.unheard.remove(&slot) {
                        self.hear(arrived, slot);
                    }
                }
            }
        }
        self.ports.plain.flush();
        self.ports.backend.flush();
    }

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
            let found = self.listeners.iter().position(|l| l.port == port);
            let Some((place, listener)) = found.zip(found.and_then(|l| self.listeners.get(l)))
            else {
                self.abort(connection);
                continue;
            };
            let verdict = rules::by_address(&listener.rules, remote.ip());
            let (has_tls, has_rules) = (listener.tls.is_some(), !listener.rules.is_empty());
            let arrived = Arrived {
                connection,
                listener: place,
                rule: match verdict {
                    Verdict::Rule(rule) => Some(rule),
                    _ => None,
                },
                local,
                remote,
                at: self.clock.now(),
            };
            match verdict {
                _ if has_tls => self.start(Purpose::Client(arrived)),
                _ if !has_rules => self.attach(arrived),
                Verdict::Rule(_) => self.start(Purpose::Client(arrived)),
                Verdict::Listen => self.listen_to(arrived),
                Verdict::Refuse => {
                    let refused = HandshakeError::Policy(PolicyError::NoRule);
                    self.report_failure(Purpose::Client(arrived), refused);
                    self.abort(connection);
                }
            }
        }
    }

    fn wires(&mut self) -> Wires<'_, P, B> {
        Wires {
            sessions: &mut self.ports.plain,
            connections: &mut self.ports.backend,
        }
    }

    /// Where the relay of an end is noted.
    fn relay_of(&mut self, end: End) -> Option<&mut Option<RelayId>> {
        match end {
            End::Session(slot) => self.sessions.get_mut(usize::from(slot)),
            End::Connection { slot, .. } => self.connections.get_mut(usize::from(slot)),
        }
    }

    fn abort(&self, connection: ConnectionId) {
        // A connection that is gone already needs no abort.
        let _ = self.ports.net.call(&net::Request::Abort { connection });
    }
}

//! Takes events: new connections, completed handshakes, bytes to move.

mod accept;
mod answer;
mod deadlines;
mod handshakes;
mod pump;
mod relays;
mod reports;
mod sni_peek;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use ipc::channel::{Channel, Doorbell, Event, SlotIndex, untaken};
use ipc::clock::{Clock, Instant};
use ipc::control::{self, Control};
use ipc::net::{self, Address, ConnectionId, Net};
use ipc::provision::{self, Backend, Listener};
use ipc::stats;
use ipc::transport::{Client, Transport};

use crate::backends::Backends;
use crate::forward::CHUNK;
use crate::guests::{GuestId, Guests};
use crate::handshakes::Handshakes;
use crate::log_rate::LogRate;
use crate::metrics::Observed;
use crate::page::View;
use crate::pages::Pages;
use crate::relay::{End, Relay, RelayId, Wires};
use crate::report::{Style, Word};
use crate::table::Table;
use crate::turned_away::{Reason, TurnedAway};
use crate::waiting::{Line, Waiting};

/// Connections that may wait in the network stack for being accepted.
const BACKLOG: u16 = 128;
/// Of each kind of work, so much is done before the next has its turn.
const QUANTUM: usize = 64;
/// How often deadlines are checked, at most.
const LOOK_PAUSE: Duration = Duration::from_millis(125);
/// How much later than the domain that keeps a deadline first the gateway acts itself.
const GRACE: Duration = Duration::from_secs(3);

/// What a gateway runs on: how it reaches other domains, and its clock.
pub trait Platform {
    /// Calls to the network stack.
    type Net: Transport;
    /// Calls to the kernel shim.
    type Shim: Transport;
    /// Signals to the record layer.
    type Record: Doorbell;
    /// Signals to the network stack.
    type Backend: Doorbell;
    /// The time.
    type Clock: Clock;
}

impl<N: Transport, S: Transport, R: Doorbell, B: Doorbell, C: Clock> Platform for (N, S, R, B, C) {
    type Net = N;
    type Shim = S;
    type Record = R;
    type Backend = B;
    type Clock = C;
}

/// The capabilities of the gateway.
pub struct Ports<'a, P: Platform> {
    /// The network stack.
    pub net: Client<Net, P::Net>,
    /// The kernel shim.
    pub shim: Client<Control, P::Shim>,
    /// The session capability in a slot of the window.
    pub session: Box<dyn Fn(SlotIndex) -> Client<Control, P::Shim> + 'a>,
    /// Plaintext of sessions.
    pub plain: Channel<P::Record>,
    /// Connections without TLS: to backends, and of clients.
    pub backend: Channel<P::Backend>,
    /// What the status page shows.
    pub view: View<'a>,
    /// Takes lines.
    pub log: Box<dyn Fn(fmt::Arguments<'_>) + 'a>,
    /// Counters.
    pub stats: &'a stats::Page,
    /// Handshakes that the shim has room for, of this application.
    pub handshakes: u16,
    /// Random bytes: addresses are hashed with them.
    pub key: [u8; 16],
}

/// The gateway.
pub struct Server<'a, P: Platform> {
    ports: Ports<'a, P>,
    listeners: Vec<Listener>,
    /// Every port of the configuration is listened on, and results are told.
    listens: bool,
    /// What the log tells besides failures.
    words: provision::LogWords,
    clock: P::Clock,
    /// When this turn began.
    now: Instant,
    guests: Guests,
    handshakes: Handshakes,
    backends: Backends,
    waiting: Waiting,
    /// Handshakes in progress with a long ClientHello.
    long: usize,
    relays: Table<Relay>,
    /// Relays with a session, for the counter.
    secured: usize,
    /// Relays with more to do than one turn allows, each once.
    due: VecDeque<RelayId>,
    pages: Pages,
    turned_away: TurnedAway,
    observed: Observed,
    log_rate: LogRate,
    /// Relay by session slot.
    sessions: Vec<Option<RelayId>>,
    /// By slot of the channel to the network stack.
    connections: Vec<Use>,
    /// The shim may have more results.
    is_collecting: bool,
    /// The network stack may have more connections.
    is_accepting: bool,
    /// There may be room for more handshakes of those that wait.
    is_starting: bool,
    /// When deadlines are checked next.
    look_at: Instant,
    buffer: Box<[u8; CHUNK]>,
}

/// What a slot of the channel to the network stack is used for.
#[derive(Clone, Copy)]
pub(crate) enum Use {
    /// Nothing.
    Free,
    /// An end of a relay.
    Relay(RelayId),
    /// A client whose rule depends on what it says, until then.
    Peeking(Arrived, Instant),
}

/// A connection that was accepted.
#[derive(Clone, Copy)]
pub(crate) struct Arrived {
    connection: ConnectionId,
    listener: usize,
    pub(crate) guest: GuestId,
    /// The rule that is this client's, where rules are.
    rule: Option<usize>,
    local: Address,
    remote: Address,
    /// When it arrived.
    at: Instant,
    /// Where it waits for a handshake.
    pub(crate) line: Line,
}

/// A connection to a backend that TLS is for.
#[derive(Clone, Copy)]
pub(crate) struct Secure {
    pub(crate) relay: RelayId,
    /// Whose backend it is.
    pub(crate) listener: usize,
    connection: ConnectionId,
    /// When it was open, then when its handshake began.
    at: Instant,
}

/// What a handshake is for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// The client of a relay to be.
    Client(Arrived),
    /// The backend of a relay.
    Backend(Secure),
}

/// A client of TLS speaks first: there is nothing to do before its ClientHello is there.
fn ready(listener: &Listener) -> net::Ready {
    let rules = listener.rules.iter().map(|rule| &rule.tls);
    let patience = rules
        .chain(&listener.tls)
        .map(|tls| tls.handshake_timeout_ms);
    match patience.max() {
        Some(within) => net::Ready::ClientHello { within },
        None => net::Ready::Established,
    }
}

/// Whether its backend is reached by TLS.
const fn has_secure_backend(listener: &Listener) -> bool {
    match &listener.backend {
        Backend::Connect(upstream) => upstream.tls.is_some(),
        Backend::Status => false,
    }
}

const fn milliseconds(count: u32) -> Duration {
    Duration::from_millis(count as u64)
}

impl<'a, P: Platform> Server<'a, P> {
    /// Listens on every port of the configuration. A port that is not available is
    /// logged, and the others work.
    pub fn new(ports: Ports<'a, P>, config: provision::Gateway, clock: P::Clock) -> Self {
        // Nothing is left of a gateway that was here before.
        let net = ports.net.call(&net::Request::Begin);
        let shim = ports.shim.call(&control::Request::Begin);
        let mut listens = matches!((&net, &shim), (Ok(Ok(_)), Ok(Ok(_))));
        if !listens {
            (ports.log)(format_args!("network stack or shim do not answer"));
        }
        for listener in &config.listeners {
            let request = net::Request::Listen {
                port: listener.port,
                backlog: BACKLOG,
                ready: ready(listener),
                share: Some(net::Share {
                    connections: listener.limits.connections,
                    ipv6_prefix: listener.limits.ipv6_prefix,
                }),
            };
            let answer = ports.net.call(&request);
            if !matches!(answer, Ok(Ok(net::Answer::Done))) {
                listens = false;
                let (name, port) = (Word(&listener.name), listener.port);
                (ports.log)(format_args!("listener {name}: port {port}: {answer:?}"));
            }
        }
        if !matches!(ports.shim.call(&control::Request::Subscribe), Ok(Ok(_))) {
            listens = false;
            (ports.log)(format_args!("the shim does not answer"));
        }
        let sessions = usize::from(ports.plain.slots());
        let connections = usize::from(ports.backend.slots());
        let with_tls = config.listeners.iter().filter(|l| has_secure_backend(l));
        let with_tls = with_tls.count();
        // Each has its client in a slot of its own.
        let relays = sessions + connections;
        Self {
            now: clock.now(),
            guests: Guests::new(
                relays + usize::from(ports.handshakes) + Waiting::MOST,
                ports.key,
            ),
            handshakes: Handshakes::new(ports.handshakes, config.listeners.len(), with_tls),
            backends: Backends::new(config.listeners.len()),
            waiting: Waiting::new(relays, config.listeners.len()),
            long: 0,
            relays: Table::new(relays),
            secured: 0,
            due: VecDeque::with_capacity(relays),
            pages: Pages::default(),
            turned_away: TurnedAway::new(config.listeners.len()),
            observed: Observed::default(),
            log_rate: LogRate::new(config.listeners.len()),
            sessions: vec![None; sessions],
            connections: vec![Use::Free; connections],
            is_collecting: false,
            is_accepting: false,
            is_starting: false,
            look_at: Instant::NEVER,
            buffer: Box::new([0; CHUNK]),
            ports,
            listeners: config.listeners,
            listens,
            words: config.log,
            clock,
        }
    }

    /// Does a bounded part of the pending work, then returns; call it at each wake-up, at
    /// [`Server::next_deadline`], and again while it returns true: there is more.
    /// `is_told` when the shim signalled: a handshake is over.
    pub fn run(&mut self, is_told: bool) -> bool {
        self.ports.stats.add(stats::gateway::WAKEUPS, 1);
        self.now = self.clock.now();
        if is_told || self.is_collecting {
            self.collect();
        }
        let mut has_more = self.take_events();
        if self.is_starting {
            self.start_waiting();
        }
        if self.is_accepting {
            self.accept();
        }
        for _ in 0..self.due.len() {
            let Some(id) = self.due.pop_front() else {
                break;
            };
            if let Some(relay) = self.relays.get_mut(id) {
                relay.is_due = false;
                self.pump(id);
            }
        }
        if self.now >= self.look_at {
            self.look();
        }
        self.ports.plain.flush();
        self.ports.backend.flush();
        let addresses = self.guests.count() as u64;
        self.ports.stats.set(stats::gateway::ADDRESSES, addresses);
        has_more |= self.is_collecting || self.is_accepting || self.is_starting;
        has_more |= !self.due.is_empty();
        has_more
    }

    /// When [`Server::run`] has to be called at the latest.
    pub fn next_deadline(&self) -> Instant {
        self.look_at
    }

    /// Names the oldest event of its queues that was not taken, as [`untaken`] does.
    pub fn untaken(&self) -> u64 {
        untaken([
            self.ports.plain.oldest_event(),
            self.ports.backend.oldest_event(),
        ])
    }

    /// Takes events of both channels; true if there may be more.
    fn take_events(&mut self) -> bool {
        let mut has_more = true;
        for _ in 0..QUANTUM {
            let Some(event) = self.ports.plain.next_event() else {
                has_more = false;
                break;
            };
            if let Event::Slot(slot) = event
                && let Some(Some(relay)) = self.sessions.get(usize::from(slot)).copied()
            {
                self.pump(relay);
            }
        }
        for _ in 0..QUANTUM {
            let Some(event) = self.ports.backend.next_event() else {
                return has_more;
            };
            match event {
                Event::Control => self.is_accepting = true,
                Event::Slot(slot) => match self.connections.get(usize::from(slot)).copied() {
                    Some(Use::Relay(relay)) => self.pump(relay),
                    Some(Use::Peeking(arrived, _)) => self.peek_client_hello(arrived, slot),
                    Some(Use::Free) | None => {}
                },
            }
        }
        true
    }

    /// At `deadline` it is checked.
    fn watch(&mut self, deadline: Instant) {
        self.look_at = self.look_at.min(deadline);
    }

    fn wires(&mut self) -> Wires<'_, P::Record, P::Backend> {
        Wires {
            sessions: &mut self.ports.plain,
            connections: &mut self.ports.backend,
        }
    }

    /// Notes what an end is used for.
    fn set_use(&mut self, end: End, of: Option<RelayId>) {
        match end {
            End::Session(slot) => {
                if let Some(place) = self.sessions.get_mut(usize::from(slot)) {
                    *place = of;
                }
            }
            End::Connection { slot, .. } => {
                if let Some(place) = self.connections.get_mut(usize::from(slot)) {
                    *place = of.map_or(Use::Free, Use::Relay);
                }
            }
        }
    }

    /// Counts a refused connection, and logs it if it is time.
    fn turn_away(&mut self, listener: usize, reason: Reason, remote: Address) {
        self.turn_away_all(listener, reason, (remote, 1));
    }

    /// As many, the last of them from this address.
    fn turn_away_all(&mut self, listener: usize, reason: Reason, who: (Address, u32)) {
        self.ports.stats.add(reason.counter(), u64::from(who.1));
        let name = self.listeners.get(listener).map_or("", |l| &l.name);
        let line = self
            .turned_away
            .count(listener, name, reason, who, self.now);
        if self.words.failures
            && let Some(mut line) = line
        {
            line.style = Style(self.words.format);
            (self.ports.log)(format_args!("{line}"));
        }
    }

    fn abort(&self, connection: ConnectionId) {
        // A connection that is gone already needs no abort.
        let _ = self.ports.net.call(&net::Request::Abort { connection });
    }
}

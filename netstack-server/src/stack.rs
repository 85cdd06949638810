//! The loop: frames in, events, bytes between sockets and rings, frames out,
//! timers.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use ipc::channel::{Doorbell, Status};
use ipc::clock::Instant;
use ipc::net::{Address, Owner, Readiness};
use ipc::stats::{self, netstack as counters};
use smoltcp::iface::{self, Interface, PollResult};
use smoltcp::phy::{Device, RxToken};
use smoltcp::socket::tcp::State;
use smoltcp::wire::{EthernetAddress, HardwareAddress};

use crate::address::Addresses;
use crate::admission::{Peer, Peers, Yielding};
use crate::client::Clients;
use crate::config::{Config, FRAMES_PER_POLL, Limits};
use crate::connection::{Connection, Hello, Phase, Refused, Wire};
use crate::device::{Capabilities, Outlet, Scratch};
use crate::link::Link;
use crate::ports::{Channels, Ports};
use crate::sequence::{Tuple, Unpredictable};
use crate::table::Table;
use crate::time::wire_time;

/// The network stack over a NIC `D` and the doorbells of its three channels.
pub struct NetStack<'a, D, G, O, R> {
    pub(crate) card: D,
    pub(crate) core: Core<'a, G, O, R>,
}

/// All but the NIC, so that a frame can be lent from the NIC meanwhile.
pub(crate) struct Core<'a, G, O, R> {
    pub(crate) interface: Interface,
    /// Computes when a socket needs to be served again. It has no address, sends
    /// nothing and does not solicit routers: an interface that did so in vain
    /// says "at once" for ever (smoltcp 0.14).
    pub(crate) timekeeper: Interface,
    pub(crate) capabilities: Capabilities,
    pub(crate) hardware: HardwareAddress,
    pub(crate) addresses: Addresses,
    pub(crate) clients: Clients,
    pub(crate) table: Table,
    pub(crate) tuples: BTreeMap<Tuple, u32>,
    pub(crate) ports: Ports<G, O, R>,
    pub(crate) unpredictable: Unpredictable,
    pub(crate) limits: Limits,
    pub(crate) stats: &'a stats::Page,
    /// Sockets without a connection.
    pub(crate) spare: Vec<Wire>,
    /// Bytes of the buffers of all sockets, spare ones too.
    pub(crate) committed: usize,
    /// Bytes between two owners, of all connections.
    pub(crate) overflow: usize,
    /// Connections with something to do, each once.
    pub(crate) touched: Vec<u32>,
    /// Connections that wait for a neighbour's address, each once.
    pub(crate) unresolved: Vec<u32>,
    /// Connections that may be evicted.
    pub(crate) yielding: Yielding,
    pub(crate) peers: Peers,
    /// What is known of the link and of the paths behind it.
    pub(crate) link: Link,
    pub(crate) scratch: Scratch,
    pub(crate) timers: BTreeSet<(Instant, u32)>,
    /// When DHCP and neighbour discovery want to run.
    pub(crate) housekeeping: Instant,
    pub(crate) started: Instant,
}

impl<'a, D: Device, G: Doorbell, O: Doorbell, R: Doorbell> NetStack<'a, D, G, O, R> {
    /// A network stack without connections.
    ///
    /// # Panics
    /// At start-up, if the hardware address is not unicast or the NIC is not Ethernet.
    pub fn new(
        config: Config,
        mut card: D,
        channels: Channels<G, O, R>,
        stats: &'a stats::Page,
        now: Instant,
    ) -> Self {
        let hardware = HardwareAddress::Ethernet(EthernetAddress(config.hardware));
        let (key, seed) = split(config.entropy);
        let mut settings = iface::Config::new(hardware);
        settings.random_seed = seed;
        let network = config.network;
        let limits = config.limits;
        let capabilities = Capabilities::new(card.capabilities(), network.mtu);
        let mut outlet = Outlet::new(&mut card, &capabilities);
        let timekeeper = Interface::new(settings, &mut outlet, wire_time(now));
        let mut settings = iface::Config::new(hardware);
        settings.random_seed = seed;
        settings.slaac = network.router_advertisements;
        let mut interface = Interface::new(settings, &mut outlet, wire_time(now));
        let addresses = Addresses::new(&network.address, config.hardware, &mut interface);
        let list = || Vec::with_capacity(limits.connections);
        let applications = channels.applications.iter();
        let most: Vec<_> = applications.map(|a| (a.client, a.most)).collect();
        let core = Core {
            scratch: Scratch::new(&capabilities),
            link: Link::new(config.hardware, network.router_advertisements, now),
            peers: Peers::new(),
            yielding: Yielding::new(limits.connections),
            capabilities,
            interface,
            timekeeper,
            hardware,
            addresses,
            clients: Clients::new(network.rights, &most),
            table: Table::new(limits.connections),
            tuples: BTreeMap::new(),
            ports: Ports::new(channels),
            unpredictable: Unpredictable::new(key),
            stats,
            spare: Vec::with_capacity(limits.spare),
            limits,
            committed: 0,
            overflow: 0,
            touched: list(),
            unresolved: list(),
            timers: BTreeSet::new(),
            housekeeping: now,
            started: now,
        };
        Self { card, core }
    }

    /// Does all there is to do and returns the latest time of the next call; `None` if
    /// only a frame, an event or a call can bring work. Call it at each wake-up and after
    /// each [`serve`](NetStack::serve).
    pub fn poll(&mut self, now: Instant) -> Option<Instant> {
        self.core.stats.add(counters::WAKEUPS, 1);
        let mut frames = 0;
        while frames < FRAMES_PER_POLL {
            let Some((frame, reply)) = self.card.receive(wire_time(now)) else {
                break;
            };
            frames += 1;
            frame.consume(|bytes| self.core.ingress(bytes, reply, now));
        }
        self.core.stats.add(counters::FRAMES_IN, frames as u64);
        while let Some(index) = self.core.ports.next_event() {
            self.core.touch(index);
        }
        self.core.expire(now);
        if now >= self.core.housekeeping {
            self.core.keep_house(&mut self.card, now);
        }
        while let Some(index) = self.core.touched.pop() {
            self.core.service(&mut self.card, index, now);
        }
        self.core.ports.flush();
        let connections = self.core.table.len() as u64;
        self.core.stats.set(counters::CONNECTIONS, connections);
        if frames == FRAMES_PER_POLL {
            return Some(now);
        }
        let timer = self.core.timers.first().map(|(at, _)| *at);
        let housekeeping = self.core.housekeeping;
        let next = timer.map_or(housekeeping, |at| at.min(housekeeping));
        (next < Instant::NEVER).then_some(next)
    }

    /// The NIC, for its interrupts.
    pub fn card(&mut self) -> &mut D {
        &mut self.card
    }

    /// The system's addresses with the bits of their networks.
    pub fn addresses(&self) -> impl Iterator<Item = (core::net::IpAddr, u8)> {
        let cidrs = self.core.interface.ip_addrs().iter();
        cidrs.map(|cidr| (cidr.address().into(), cidr.prefix_len()))
    }
}

impl<G: Doorbell, O: Doorbell, R: Doorbell> Core<'_, G, O, R> {
    // ---- one connection ----

    /// Puts a connection on the list of those with something to do.
    pub(crate) fn touch(&mut self, index: u32) {
        if let Some(connection) = self.table.get_mut(index)
            && !connection.is_touched
        {
            connection.is_touched = true;
            self.touched.push(index);
        }
    }

    /// Moves bytes both ways, sends, looks at deadlines, and sets the timer.
    fn service<D: Device>(&mut self, card: &mut D, index: u32, now: Instant) {
        let Some(connection) = self.table.get_mut(index) else {
            return;
        };
        connection.is_touched = false;
        match (connection.phase, connection.state()) {
            (Phase::HalfOpen, State::Established | State::CloseWait) => {
                self.established(index, now);
            }
            (Phase::Quiet(_), State::Established | State::CloseWait) => {
                let hello = connection.hello();
                self.hello_in(index, hello, now);
            }
            (Phase::Quiet(_), State::Closed) => {
                let listener = self.clients.listener(connection.tuple.local_port);
                // One that was evicted is not in line any more.
                if listener.is_some_and(|listener| listener.quiet.contains(&index)) {
                    self.stats.add(counters::RESET_EARLY, 1);
                }
            }
            (Phase::Opening, State::Established | State::CloseWait) => {
                connection.phase = Phase::Open;
                connection.deadline = Instant::NEVER;
                connection.last_progress = now;
                self.stats.add(counters::CONNECTED, 1);
            }
            // smoltcp ends it; a reset would be wrong here.
            (Phase::Lingering(_), State::TimeWait) => {
                connection.phase = Phase::Lingering(Instant::NEVER);
            }
            _ => {}
        }
        self.check_deadlines(index, now);
        if let Err(refused) = self.move_bytes(card, index, now) {
            self.refuse(index, refused);
            self.send(card, index, now);
        }
        self.settle(index);
        self.reckon(index);
        self.arm(index, now);
    }

    /// Charges a connection for what it holds.
    pub(crate) fn charge(&mut self, index: u32) {
        let Some(connection) = self.table.get_mut(index) else {
            return;
        };
        let holds = connection.overflow();
        self.overflow = self.overflow + holds - connection.charged;
        connection.charged = holds;
    }

    /// The same, and updates its place among those that may be evicted.
    pub(crate) fn reckon(&mut self, index: u32) {
        self.charge(index);
        let Some(connection) = self.table.get_mut(index) else {
            return;
        };
        let rank = connection.rank();
        self.yielding.change(index, connection.yields, rank);
        connection.yields = rank;
    }

    fn move_bytes<D: Device>(
        &mut self,
        card: &mut D,
        index: u32,
        now: Instant,
    ) -> Result<(), Refused> {
        let Some(connection) = self.table.get_mut(index) else {
            return Ok(());
        };
        let before = connection.moved();
        if let Phase::Lingering(_) = connection.phase {
            connection.drain();
        }
        if let Some((port, slot)) = self.ports.of(connection.owner) {
            connection.pump_in(port, slot)?;
            if port.peer_status(slot).has(Status::RESET)
                && let Some(wire) = &mut connection.wire
            {
                wire.socket().abort();
            }
        }
        loop {
            let Some(connection) = self.table.get_mut(index) else {
                return Ok(());
            };
            let fed = connection.feed(self.ports.of(connection.owner))?;
            let sent = self.send(card, index, now);
            if !fed || !sent {
                break;
            }
        }
        if let Some(connection) = self.table.get_mut(index) {
            connection.note_progress(before, now);
        }
        Ok(())
    }

    /// Lets smoltcp send what it has for a connection; true if it did.
    pub(crate) fn send<D: Device>(&mut self, card: &mut D, index: u32, now: Instant) -> bool {
        let Some(connection) = self.table.get_mut(index) else {
            return false;
        };
        let limit = connection.limit(now);
        let Some(wire) = &mut connection.wire else {
            return false;
        };
        let mut outlet = Outlet::new(card, &self.capabilities).narrow(limit, &mut self.scratch);
        let (time, sockets) = (wire_time(now), &mut wire.sockets);
        while self.interface.poll_egress(time, &mut outlet, sockets)
            == PollResult::SocketStateChanged
        {}
        let sent = outlet.sent;
        connection.note_sent(&sent);
        self.stats.add(counters::FRAMES_OUT, sent.frames);
        if sent.lacks_neighbour() && !connection.is_unresolved {
            connection.is_unresolved = true;
            self.unresolved.push(index);
        }
        sent.frames > 0
    }

    /// A connection is open now: it is offered to its client, or waits until it is
    /// ready. Of too many that wait, the oldest is evicted.
    fn established(&mut self, index: u32, now: Instant) {
        let Some(connection) = self.table.get_mut(index) else {
            return;
        };
        let tuple = connection.tuple;
        let (hello, since) = (connection.hello(), connection.since);
        let Some(listener) = self.clients.listener(tuple.local_port) else {
            return;
        };
        let patience = listener.patience();
        if let Some(share) = listener.share {
            let peer = Peer::new(tuple.local_port, tuple.remote, share.ipv6_prefix);
            connection.peer = Some(peer);
            if self.peers.add(peer) > share.connections && !self.quiet_gives_way(peer) {
                self.stats.add(counters::PEER_FULL, 1);
                return self.offer(index, Readiness::OverShare, now);
            }
        }
        let Some(patience) = patience else {
            return self.offer(index, Readiness::Ready, now);
        };
        if hello != Hello::Comes {
            return self.hello_in(index, hello, now);
        }
        if let Some(connection) = self.table.get_mut(index) {
            connection.phase = Phase::Quiet(since + patience);
        }
        let Some(listener) = self.clients.listener(tuple.local_port) else {
            return;
        };
        listener.half_open.retain(|half_open| *half_open != index);
        let oldest = match listener.quiet.len() >= listener.backlog {
            true => listener.quiet.pop_front(),
            false => None,
        };
        listener.quiet.push_back(index);
        let Some(oldest) = oldest else {
            return;
        };
        // Segments for it in the same batch may not have been processed.
        match self.table.get_mut(oldest).map(Connection::hello) {
            Some(Hello::Is(readiness)) => self.offer(oldest, readiness, now),
            _ => self.turn_away(oldest),
        }
    }

    /// What there is of the ClientHello of a connection that waits for it.
    fn hello_in(&mut self, index: u32, hello: Hello, now: Instant) {
        match hello {
            Hello::Comes => {}
            Hello::Is(readiness) => self.offer(index, readiness, now),
            Hello::Never => self.offer(index, Readiness::Ended, now),
        }
    }

    /// Evicts the oldest quiet connection of a peer that has its share, in favour of
    /// another of the peer's; false when there is none.
    fn quiet_gives_way(&mut self, peer: Peer) -> bool {
        let Some(listener) = self.clients.listener(peer.port()) else {
            return false;
        };
        let table = &mut self.table;
        let place = listener.quiet.iter().position(|quiet| {
            let connection = table.get_mut(*quiet);
            connection.is_some_and(|connection| connection.peer == Some(peer))
        });
        let oldest = place.and_then(|place| listener.quiet.remove(place));
        oldest.is_some_and(|oldest| {
            self.turn_away(oldest);
            true
        })
    }

    /// Evicts a connection that is not ready: its peer gets a reset, its client learns
    /// how many there were.
    fn turn_away(&mut self, index: u32) {
        self.note_gave_way(index);
        if let Some(connection) = self.table.get_mut(index) {
            if let Some(peer) = connection.peer.take() {
                self.peers.remove(peer);
            }
            if let Some(wire) = &mut connection.wire {
                wire.socket().abort();
            }
        }
        self.touch(index);
    }

    /// Counts an evicted connection, for its client.
    pub(crate) fn note_gave_way(&mut self, index: u32) {
        let Some(connection) = self.table.get_mut(index) else {
            return;
        };
        let (tuple, client) = (connection.tuple, connection.client);
        if let Some(listener) = self.clients.listener(tuple.local_port) {
            let count = listener.gave_way.map_or(0, |(count, _)| count);
            let last = Address((tuple.remote, tuple.remote_port).into());
            listener.gave_way = Some((count.saturating_add(1), last));
        }
        self.ports.call_for_accept(client);
    }

    /// Puts a connection into its client's queue.
    pub(crate) fn offer(&mut self, index: u32, readiness: Readiness, now: Instant) {
        let Some(connection) = self.table.get_mut(index) else {
            return;
        };
        if !self.clients.hold(connection.client) {
            self.stats.add(counters::TABLE_FULL, 1);
            return self.turn_away(index);
        }
        connection.is_held = true;
        connection.phase = Phase::Waiting;
        connection.readiness = readiness;
        connection.last_progress = now;
        let (port, client) = (connection.tuple.local_port, connection.client);
        if let Some(listener) = self.clients.listener(port) {
            listener.half_open.retain(|half_open| *half_open != index);
            listener.quiet.retain(|quiet| *quiet != index);
            listener.waiting += 1;
        }
        if let Some(client) = self.clients.client(client) {
            client.waiting.push_back(index);
        }
        self.ports.call_for_accept(client);
    }

    /// Protocol violation by the owner: it gets an event, and the peer gets a reset.
    pub(crate) fn refuse(&mut self, index: u32, refused: Refused) {
        let Some(connection) = self.table.get_mut(index) else {
            return;
        };
        if refused == Refused::Segment {
            self.stats.add(counters::SEGMENTS_REFUSED, 1);
        }
        if let Some((port, slot)) = self.ports.of(connection.owner) {
            port.tell(slot, Status::REFUSED | Status::RESET);
        }
        if let Some(wire) = &mut connection.wire {
            wire.socket().abort();
        }
    }

    /// Once TCP is done with a connection, its socket goes, and the connection
    /// too unless an owner still has to give up a slot.
    fn settle(&mut self, index: u32) {
        let Some(connection) = self.table.get_mut(index) else {
            return;
        };
        let state = connection.state();
        // A reset in SYN-RECEIVED brings smoltcp's socket back to LISTEN.
        if connection.wire.is_none() || !matches!(state, State::Closed | State::Listen) {
            return;
        }
        if connection.owner == Owner::Client {
            self.forget(index);
            return;
        }
        let (wire, tuple) = (connection.wire.take(), connection.tuple);
        if !connection.ended_cleanly()
            && let Some((port, slot)) = self.ports.of(connection.owner)
        {
            port.tell(slot, Status::RESET);
        }
        self.tuples.remove(&tuple);
        if let Some(wire) = wire {
            self.recycle(wire);
        }
    }
}

fn split(entropy: [u8; 24]) -> ([u8; 16], u64) {
    let (mut key, mut seed) = ([0; 16], [0; 8]);
    for (to, from) in key.iter_mut().chain(&mut seed).zip(entropy) {
        *to = from;
    }
    (key, u64::from_le_bytes(seed))
}

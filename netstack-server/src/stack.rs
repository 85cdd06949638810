//! The loop: frames in, events, bytes between sockets and rings, frames out,
//! timers.

use alloc::vec::Vec;

use ipc::channel::{Doorbell, Status, untaken};
use ipc::clock::Instant;
use ipc::net::Owner;
use ipc::stats::{self, netstack as counters};
use smoltcp::iface::Interface;
use smoltcp::phy::{Device, RxToken};
use smoltcp::socket::tcp::State;

use crate::client::Clients;
use crate::clock::{Clock, wire_time};
use crate::config::{Config, FRAMES_PER_POLL, SERVED_PER_POLL};
use crate::connection::{Phase, Refused};
use crate::connections::Connections;
use crate::deadlines;
use crate::device::{COMPARED, Capabilities, Outlet};
use crate::link::{self, Link};
use crate::listener::Listeners;
use crate::owners::{Channels, Owners};
use crate::sequence::Unpredictable;
use crate::sockets::Sockets;
use crate::timers::Timers;

/// The network stack over a NIC `D` and the doorbells `B` of its channels.
pub struct NetStack<'a, D, B> {
    pub(crate) nic: D,
    pub(crate) core: Core<'a, B>,
}

/// All but the NIC, so that a frame can be lent from the NIC meanwhile. Each part keeps
/// its own order; what is written here is between parts.
pub(crate) struct Core<'a, B> {
    pub(crate) link: Link<'a>,
    pub(crate) connections: Connections,
    pub(crate) sockets: Sockets,
    pub(crate) listeners: Listeners,
    pub(crate) clients: Clients,
    pub(crate) owners: Owners<B>,
    pub(crate) timers: Timers,
    pub(crate) clock: Clock,
    pub(crate) unpredictable: Unpredictable,
    pub(crate) stats: &'a stats::Page,
}

impl<'a, D: Device, B: Doorbell> NetStack<'a, D, B> {
    /// A network stack without connections.
    ///
    /// # Panics
    /// At start-up, if the hardware address is not unicast or the NIC is not Ethernet.
    pub fn new(
        config: Config,
        mut nic: D,
        channels: Channels<B>,
        stats: &'a stats::Page,
        now: Instant,
    ) -> Self {
        let (key, seed) = split(config.entropy);
        let (network, limits) = (config.network, config.limits);
        let settings = || link::settings(config.hardware, seed);
        let capabilities = Capabilities::new(nic.capabilities(), network.mtu);
        let mut outlet = Outlet::new(&mut nic, &capabilities);
        let timekeeper = Interface::new(settings(), &mut outlet, wire_time(now));
        let applications = channels.applications.iter();
        let most: Vec<_> = applications.map(|a| (a.client, a.most)).collect();
        let core = Core {
            link: Link::new(
                (&mut nic, capabilities),
                (config.hardware, settings()),
                &network.address,
                network.router_advertisements,
                stats,
                now,
            ),
            connections: Connections::new(&limits),
            sockets: Sockets::new(limits),
            listeners: Listeners::new(limits.connections),
            clients: Clients::new(network.rights, &most),
            owners: Owners::new(channels),
            timers: Timers::new(),
            clock: Clock::new(timekeeper, now),
            unpredictable: Unpredictable::new(key),
            stats,
        };
        Self { nic, core }
    }

    /// Does a turn of what there is to do and returns the latest time of the next call:
    /// `now` if something is left; `None` if only a frame, an event or a call can bring work. Call it at each wake-up and after
    /// each [`serve`](NetStack::serve).
    pub fn poll(&mut self, now: Instant) -> Option<Instant> {
        self.core.stats.add(counters::WAKEUPS, 1);
        let mut frames = 0;
        while frames < FRAMES_PER_POLL {
            let Some((frame, reply)) = self.nic.receive(wire_time(now)) else {
                break;
            };
            frames += 1;
            let is_compared = frame.meta().id == COMPARED;
            frame.consume(|bytes| self.core.ingress(bytes, is_compared, reply, now));
        }
        self.core.stats.add(counters::FRAMES_IN, frames as u64);
        while let Some(index) = self.core.owners.next_event() {
            self.core.connections.touch(index);
        }
        deadlines::expire(&mut self.core.timers, &mut self.core.connections, now);
        if now >= self.core.clock.housekeeping() {
            self.core.keep_house(&mut self.nic, now);
        }
        for _ in 0..SERVED_PER_POLL {
            let Some(index) = self.core.connections.next_touched() else {
                break;
            };
            self.core.service(&mut self.nic, index, now);
        }
        self.core.owners.flush();
        let connections = self.core.connections.len() as u64;
        self.core.stats.set(counters::CONNECTIONS, connections);
        if frames == FRAMES_PER_POLL || self.core.connections.has_touched() {
            return Some(now);
        }
        let next = self.core.timers.next().min(self.core.clock.housekeeping());
        (next < Instant::NEVER).then_some(next)
    }

    /// Names the oldest event of its queues that was not taken, as [`untaken`] does.
    pub fn untaken(&self) -> u64 {
        untaken(self.core.owners.oldest_events())
    }

    /// The NIC, for its interrupts.
    pub fn nic(&mut self) -> &mut D {
        &mut self.nic
    }

    /// The system's addresses with the bits of their networks.
    pub fn addresses(&self) -> impl Iterator<Item = (core::net::IpAddr, u8)> {
        let cidrs = self.core.link.addresses().iter();
        cidrs.map(|cidr| (cidr.address().into(), cidr.prefix_len()))
    }
}

impl<B: Doorbell> Core<'_, B> {
    /// Moves bytes both ways, sends, looks at deadlines, and sets the timer.
    fn service<D: Device>(&mut self, nic: &mut D, index: u32, now: Instant) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        match (connection.phase, connection.state()) {
            (Phase::HalfOpen, State::Established | State::CloseWait) => {
                self.established(index, now);
            }
            (Phase::Quiet(_), State::Established | State::CloseWait) => {
                let hello = connection.hello();
                self.hello_in(index, hello, now);
            }
            // One that was evicted has no peer that is counted any more.
            (Phase::Quiet(_), State::Closed) if connection.peer.is_some() => {
                self.stats.add(counters::RESET_EARLY, 1);
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
        if let Err(refused) = self.move_bytes(nic, index, now) {
            self.refuse(index, refused);
            self.send(nic, index, now);
        }
        self.settle(index);
        self.connections.reckon(index);
        if let Some(connection) = self.connections.get_mut(index) {
            let (clock, timers) = (&mut self.clock, &mut self.timers);
            deadlines::arm(connection, index, clock, timers, now);
        }
    }

    fn move_bytes<D: Device>(
        &mut self,
        nic: &mut D,
        index: u32,
        now: Instant,
    ) -> Result<(), Refused> {
        let Some(connection) = self.connections.get_mut(index) else {
            return Ok(());
        };
        let before = connection.moved();
        if let Phase::Lingering(_) = connection.phase {
            connection.drain();
        }
        if let Some(mut port) = self.owners.of(connection.owner) {
            connection.pump_in(&mut port)?;
            if port.peer_status().has(Status::RESET)
                && let Some(wire) = &mut connection.wire
            {
                wire.socket().abort();
            }
        }
        loop {
            let Some(connection) = self.connections.get_mut(index) else {
                return Ok(());
            };
            let fed = connection.feed(self.owners.of(connection.owner))?;
            let sent = self.send(nic, index, now);
            if !fed || !sent {
                break;
            }
        }
        if let Some(connection) = self.connections.get_mut(index) {
            connection.note_progress(before, now);
        }
        Ok(())
    }

    /// Lets smoltcp send what it has for a connection; true if it sent all of it, and that
    /// is something.
    pub(crate) fn send<D: Device>(&mut self, nic: &mut D, index: u32, now: Instant) -> bool {
        let Some(connection) = self.connections.get_mut(index) else {
            return false;
        };
        let limit = connection.limit(now);
        let Some(wire) = &mut connection.wire else {
            return false;
        };
        let sent = self.link.send(nic, &mut wire.sockets, limit, now);
        connection.note_sent(&sent);
        if sent.lacks_neighbour() {
            let is_ours = connection.phase == Phase::Opening;
            let to = (connection.tuple.remote, is_ours);
            self.link.ask(nic, to, &sent, now);
            self.connections.wait_for_neighbour(index);
        }
        if sent.is_cut {
            self.connections.touch(index);
        }
        sent.frames > 0 && !sent.is_cut
    }

    /// Protocol violation by the owner: it gets an event, and the peer gets a reset.
    pub(crate) fn refuse(&mut self, index: u32, refused: Refused) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        if refused == Refused::Segment {
            self.stats.add(counters::SEGMENTS_REFUSED, 1);
        }
        if let Some(mut port) = self.owners.of(connection.owner) {
            port.tell(Status::REFUSED | Status::RESET);
        }
        if let Some(wire) = &mut connection.wire {
            wire.socket().abort();
        }
    }

    /// Once TCP is done with a connection, its socket goes, and the connection
    /// too unless an owner still has to give up a slot.
    fn settle(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else {
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
        if !connection.ended_cleanly()
            && let Some(mut port) = self.owners.of(connection.owner)
        {
            port.tell(Status::RESET);
        }
        if let Some(wire) = self.connections.take_wire(index) {
            self.sockets.recycle(wire);
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

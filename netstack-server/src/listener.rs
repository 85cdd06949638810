//! Ports that clients listen on, and the connections that came to them.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use ipc::net::{Address, Ready, Share};

use crate::admission::{Peer, Peers};
use crate::connection::{Connection, Phase};

/// A port that a client listens on. A connection to it is in the list of its [`Phase`]:
/// half open, quiet, or counted as waiting.
pub(crate) struct Listener {
    port: u16,
    client: u16,
    backlog: usize,
    ready: Ready,
    share: Option<Share>,
    /// Half-open connections, oldest first. One is added only while they and those that
    /// wait are fewer than the backlog.
    half_open: VecDeque<u32>,
    /// Established and not ready, oldest first; never more than the backlog.
    quiet: VecDeque<u32>,
    /// How many of the client's waiting connections came to this port.
    waiting: usize,
    /// Quiet ones that were evicted, and the last of them, since the client last learned
    /// of them.
    gave_way: Option<(u32, Address)>,
}

impl Listener {
    /// A port for client number `client`, with at most `backlog` half-open and not yet
    /// accepted connections together; `ready` is when a connection is offered to the
    /// client, `share` what one address may have.
    pub(crate) fn new(
        port: u16,
        client: u16,
        backlog: usize,
        ready: Ready,
        share: Option<Share>,
    ) -> Self {
        let quiet = match ready {
            Ready::Established => 0,
            Ready::ClientHello { .. } => backlog,
        };
        Self {
            port,
            client,
            backlog,
            half_open: VecDeque::with_capacity(backlog),
            ready,
            share,
            quiet: VecDeque::with_capacity(quiet),
            waiting: 0,
            gave_way: None,
        }
    }

    pub(crate) fn client(&self) -> u16 {
        self.client
    }

    /// What one address may have.
    pub(crate) fn share(&self) -> Option<Share> {
        self.share
    }

    /// How long a connection may take to be ready, if it need not be at once.
    pub(crate) fn patience(&self) -> Option<Duration> {
        match self.ready {
            Ready::Established => None,
            Ready::ClientHello { within } => Some(Duration::from_millis(within.into())),
        }
    }

    /// Whether one more can be half open only instead of another.
    pub(crate) fn is_full(&self) -> bool {
        self.half_open.len() + self.waiting >= self.backlog
    }

    pub(crate) fn oldest_half_open(&self) -> Option<u32> {
        self.half_open.front().copied()
    }

    /// A SYN came.
    pub(crate) fn add_half_open(&mut self, index: u32) {
        self.half_open.push_back(index);
    }

    /// A half-open connection is established and not ready. Of too many, the oldest is
    /// returned, and on no list any more.
    pub(crate) fn wait_until_ready(&mut self, index: u32) -> Option<u32> {
        self.half_open.retain(|half_open| *half_open != index);
        let oldest = match self.quiet.len() >= self.backlog {
            true => self.quiet.pop_front(),
            false => None,
        };
        self.quiet.push_back(index);
        oldest
    }

    /// Takes the oldest quiet connection for which this holds off the list.
    pub(crate) fn take_quiet(&mut self, is_meant: impl FnMut(&u32) -> bool) -> Option<u32> {
        let place = self.quiet.iter().position(is_meant)?;
        self.quiet.remove(place)
    }

    /// Whether it is on the list of those that are established and not ready.
    pub(crate) fn has_quiet(&self, index: u32) -> bool {
        self.quiet.contains(&index)
    }

    /// A connection waits for the client now.
    pub(crate) fn offered(&mut self, index: u32) {
        self.half_open.retain(|half_open| *half_open != index);
        self.quiet.retain(|quiet| *quiet != index);
        self.waiting += 1;
    }

    /// One that waited does so no more.
    pub(crate) fn accepted(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// A connection in this phase is no more.
    pub(crate) fn remove(&mut self, index: u32, phase: Phase) {
        match phase {
            Phase::HalfOpen => self.half_open.retain(|half_open| *half_open != index),
            Phase::Quiet(_) => self.quiet.retain(|quiet| *quiet != index),
            Phase::Waiting => self.accepted(),
            Phase::Opening | Phase::Open | Phase::Lingering(_) => {}
        }
    }

    /// Counts an evicted connection from this address, for the client.
    pub(crate) fn note_gave_way(&mut self, last: Address) {
        let count = self.gave_way.map_or(0, |(count, _)| count);
        self.gave_way = Some((count.saturating_add(1), last));
    }
}

/// All listeners, no two of one port, and how many connections each of their peers has.
pub(crate) struct Listeners {
    list: Vec<Listener>,
    peers: Peers,
}

impl Listeners {
    /// For as many connections.
    pub(crate) fn new(connections: usize) -> Self {
        Self {
            list: Vec::new(),
            peers: Peers::new(connections),
        }
    }

    pub(crate) fn at(&mut self, port: u16) -> Option<&mut Listener> {
        self.list.iter_mut().find(|l| l.port == port)
    }

    /// Adds one for a port that has none. No more wait for its client than all of its
    /// listeners let wait, which is returned: what was half open, and what was quiet.
    pub(crate) fn add(&mut self, listener: Listener) -> usize {
        let client = listener.client;
        self.list.reserve_exact(1);
        self.list.push(listener);
        let own = self.list.iter().filter(|l| l.client == client);
        own.map(|l| l.backlog + l.quiet.capacity()).sum()
    }

    /// This client listens no more.
    pub(crate) fn remove_all(&mut self, client: u16) {
        self.list.retain(|listener| listener.client != client);
    }

    /// Evicted connections to a port of `client` that it has not been told of.
    pub(crate) fn take_gave_way(&mut self, client: u16) -> Option<(u16, u32, Address)> {
        let mut own = self.list.iter_mut().filter(|l| l.client == client);
        own.find_map(|listener| {
            let (count, last) = listener.gave_way.take()?;
            Some((listener.port, count, last))
        })
    }

    /// Connections that are half open, and quiet ones.
    pub(crate) fn unready(&self) -> (usize, usize) {
        let counts = self.list.iter().map(|l| (l.half_open.len(), l.quiet.len()));
        counts.fold((0, 0), |(half_open, quiet), (h, q)| {
            (half_open + h, quiet + q)
        })
    }

    /// Counts one more connection of a peer; how many there are.
    pub(crate) fn count(&mut self, peer: Peer) -> u16 {
        self.peers.add(peer)
    }

    /// The connection at `index`, of that peer, is released by its owner.
    pub(crate) fn released(&mut self, peer: Peer, index: u32) {
        self.peers.release(peer, index);
    }

    /// The connection at `index` is gone, or evicted. Which peer it had is taken from it, so that it
    /// is not counted a second time.
    pub(crate) fn uncount(&mut self, connection: &mut Connection, index: u32) {
        if let Some(peer) = connection.peer.take() {
            match connection.phase {
                Phase::Lingering(_) => self.peers.remove_released(peer, index),
                _ => self.peers.remove(peer),
            }
        }
    }

    /// The released connection that gives way first, if its peer has many.
    pub(crate) fn crowding(&self) -> Option<u32> {
        self.peers.crowding()
    }
}

//! Ports that clients listen on, and the connections that came to them.

use alloc::vec::Vec;
use core::time::Duration;

use ipc::net::{Address, Ready, Share};

use crate::admission::{Peer, Peers};
use crate::connection::{Connection, Phase};

/// A port that a client listens on, and how many connections to it are in each [`Phase`]
/// before they are accepted.
pub(crate) struct Listener {
    port: u16,
    client: u16,
    backlog: usize,
    ready: Ready,
    share: Option<Share>,
    /// Their peer has not shown that it is there.
    half_open: usize,
    /// Established and not ready.
    quiet: usize,
    /// Ready, and not accepted.
    waiting: usize,
    /// Quiet ones that were evicted, and the last of them, since the client last learned
    /// of them.
    gave_way: Option<(u32, Address)>,
}

impl Listener {
    /// A port for client number `client`. No SYN is answered as long as `backlog`
    /// connections wait to be accepted; `ready` is when one is offered to the client,
    /// `share` what one address may have.
    ///
    /// Those that are half open or quiet are bounded by the table of connections alone: a
    /// bound of their own would be a rate at which SYNs of anybody push each other out
    /// before the answer of an honest one is there.
    pub(crate) const fn new(
        port: u16,
        client: u16,
        backlog: usize,
        ready: Ready,
        share: Option<Share>,
    ) -> Self {
        Self {
            port,
            client,
            backlog,
            ready,
            share,
            half_open: 0,
            quiet: 0,
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

    /// Whether as many wait to be accepted as may.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting >= self.backlog
    }

    /// A connection is in this phase now.
    pub(crate) fn enter(&mut self, phase: Phase) {
        if let Some(count) = self.count(phase) {
            *count += 1;
        }
    }

    /// A connection is in this phase no more.
    pub(crate) fn leave(&mut self, phase: Phase) {
        if let Some(count) = self.count(phase) {
            *count = count.saturating_sub(1);
        }
    }

    fn count(&mut self, phase: Phase) -> Option<&mut usize> {
        match phase {
            Phase::HalfOpen => Some(&mut self.half_open),
            Phase::Quiet(_) => Some(&mut self.quiet),
            Phase::Waiting => Some(&mut self.waiting),
            Phase::Opening | Phase::Open | Phase::Lingering(_) => None,
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

    /// Adds one for a port that has none.
    pub(crate) fn add(&mut self, listener: Listener) {
        self.list.reserve_exact(1);
        self.list.push(listener);
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
        let counts = self.list.iter().map(|l| (l.half_open, l.quiet));
        counts.fold((0, 0), |(half_open, quiet), (h, q)| {
            (half_open + h, quiet + q)
        })
    }

    /// A peer's connection is quiet, or is not so any more.
    pub(crate) fn note_quiet(&mut self, peer: Peer, index: u32, is_quiet: bool) {
        self.peers.note_quiet(peer, index, is_quiet);
    }

    /// The quiet connection of a peer that has been so for longest.
    pub(crate) fn oldest_quiet(&self, peer: Peer) -> Option<u32> {
        self.peers.oldest_quiet(peer)
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
                _ => self.peers.remove(peer, index),
            }
        }
    }

    /// The released connection that gives way first, if its peer has many.
    pub(crate) fn crowding(&self) -> Option<u32> {
        self.peers.crowding()
    }
}

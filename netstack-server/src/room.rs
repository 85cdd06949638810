//! Eviction, and what a connection leaves behind.

use ipc::channel::Doorbell;
use ipc::net::Owner;
use ipc::stats::netstack as counters;
use smoltcp::socket::tcp::State;

use crate::config::Buffers;
use crate::connection::{Phase, Wire};
use crate::parse::Segment;
use crate::sequence::is_after;
use crate::stack::Core;

impl<G: Doorbell, O: Doorbell, R: Doorbell> Core<'_, G, O, R> {
    /// Whether a connection only waits for stray segments (TIME-WAIT).
    pub(crate) fn is_over(&mut self, index: u32) -> bool {
        self.table.get_mut(index).is_some_and(|connection| {
            connection.owner == Owner::Client && connection.state() == State::TimeWait
        })
    }

    /// Whether a SYN is newer than all of a connection that is over.
    pub(crate) fn is_outdated(&mut self, index: u32, segment: &Segment) -> bool {
        let last = self.table.get_mut(index).map_or(0, |c| c.rx_next());
        self.is_over(index) && is_after(segment.sequence, last)
    }

    /// Evicts a connection in favour of another, if one may be evicted.
    pub(crate) fn evict(&mut self) -> bool {
        let (half_open, quiet) = self.clients.unready();
        let Some(index) = self.yielding.first(half_open, quiet) else {
            return false;
        };
        match self.table.get_mut(index).map(|c| c.phase) {
            Some(Phase::HalfOpen) => self.stats.add(counters::HALF_OPEN_DROPPED, 1),
            Some(Phase::Quiet(_)) => self.note_gave_way(index),
            _ => self.stats.add(counters::EVICTED, 1),
        }
        self.forget(index)
    }

    /// Removes a connection from everywhere. Its peer gets no segment here.
    pub(crate) fn forget(&mut self, index: u32) -> bool {
        let Some(connection) = self.table.remove(index) else {
            return false;
        };
        if connection.is_held {
            self.clients.let_go(connection.client);
        }
        if let Some((port, slot)) = self.ports.of(connection.owner) {
            port.close(slot);
        }
        if let Some(taken) = self.ports.taken(connection.owner) {
            *taken = None;
        }
        if connection.wire.is_some() {
            self.tuples.remove(&connection.tuple);
        }
        self.timers.remove(&(connection.armed, index));
        self.yielding.change(index, connection.yields, None);
        self.overflow -= connection.charged;
        if let Some(peer) = connection.peer {
            self.peers.remove(peer);
        }
        if connection.is_unresolved {
            self.unresolved.retain(|unresolved| *unresolved != index);
        }
        if connection.is_touched {
            self.touched.retain(|touched| *touched != index);
        }
        let port = connection.tuple.local_port;
        match connection.phase {
            Phase::HalfOpen => {
                if let Some(listener) = self.clients.listener(port) {
                    listener.half_open.retain(|half_open| *half_open != index);
                }
            }
            Phase::Quiet(_) => {
                if let Some(listener) = self.clients.listener(port) {
                    listener.quiet.retain(|quiet| *quiet != index);
                }
            }
            Phase::Waiting => {
                if let Some(client) = self.clients.client(connection.client) {
                    client.waiting.retain(|waiting| *waiting != index);
                }
                if let Some(listener) = self.clients.listener(port) {
                    listener.waiting = listener.waiting.saturating_sub(1);
                }
            }
            Phase::Opening | Phase::Open | Phase::Lingering(_) => {}
        }
        if let Some(wire) = connection.wire {
            self.recycle(wire);
        }
        true
    }

    /// A socket with these buffers: a spare one, or a new one if the memory
    /// for it is there. Connections that are over make room for it.
    pub(crate) fn wire(&mut self, buffers: Buffers) -> Option<Wire> {
        if self.table.is_full() && !self.evict() {
            return None;
        }
        loop {
            let mut spare = self.spare.iter_mut();
            if let Some(found) = spare.position(|wire| wire.buffers() == buffers) {
                return Some(self.spare.swap_remove(found));
            }
            if self.committed + buffers.bytes() <= self.limits.memory {
                self.committed += buffers.bytes();
                return Some(Wire::new(buffers));
            }
            // One of the other kind, or of a connection that is over.
            match self.spare.pop() {
                Some(mut other) => self.committed -= other.buffers().bytes(),
                None if self.evict() => {}
                None => return None,
            }
        }
    }

    /// Keeps a socket's memory for the next connection.
    pub(crate) fn recycle(&mut self, mut wire: Wire) {
        if self.spare.len() < self.limits.spare {
            wire.socket().abort();
            self.spare.push(wire);
        } else {
            self.committed -= wire.buffers().bytes();
        }
    }
}

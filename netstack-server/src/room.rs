//! Eviction, and what a connection leaves behind.

use ipc::channel::{Doorbell, Status};
use ipc::clock::Instant;
use ipc::stats::netstack as counters;

use crate::config::Buffers;
use crate::connection::Phase;
use crate::sockets::Wire;
use crate::stack::Core;

/// For whom a connection is evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Newcomer {
    /// A SYN of anybody. Left without an answer it comes again, so that it cuts off no
    /// answer that is on its way, but of a peer that has many of them.
    Syn,
    /// A connection to a backend: a client was admitted for it, and it is not tried again.
    Opened,
}

impl<B: Doorbell> Core<'_, B> {
    /// Evicts a connection in favour of another, if one may be evicted.
    fn evict(&mut self, newcomer: Newcomer, now: Instant) -> bool {
        let (half_open, quiet) = self.listeners.unready();
        let connections = &self.connections;
        let found = connections.first_to_evict(half_open, quiet, now);
        let found = match newcomer {
            Newcomer::Syn => found.or_else(|| self.listeners.crowding()),
            Newcomer::Opened => found.or_else(|| connections.first_sending()),
        };
        let Some(index) = found else {
            return false;
        };
        match self.connections.get_mut(index).map(|c| c.phase) {
            Some(Phase::HalfOpen) => self.stats.add(counters::HALF_OPEN_DROPPED, 1),
            Some(Phase::Quiet(_)) => self.note_gave_way(index),
            _ => self.stats.add(counters::EVICTED, 1),
        }
        self.forget(index)
    }

    /// Has another connection than `index` give up the bytes that it holds between two
    /// owners; false when there is none.
    pub(crate) fn give_back_memory(&mut self, index: u32) -> bool {
        let Some(found) = self.connections.first_that_holds(index) else {
            return false;
        };
        self.stats.add(counters::EVICTED, 1);
        let Some(connection) = self.connections.get_mut(found) else {
            return false;
        };
        if let Phase::Lingering(_) = connection.phase {
            return self.forget(found);
        }
        // Its peer gets a reset, its owner has to give up the slot.
        connection.cut_off();
        if let Some(mut port) = self.owners.of(connection.owner) {
            port.tell(Status::RESET);
        }
        let before = self.connections.room_between_owners();
        self.connections.reckon(found);
        self.connections.touch(found);
        self.connections.room_between_owners() > before
    }

    /// Removes a connection from everywhere. Its peer gets no segment here.
    pub(crate) fn forget(&mut self, index: u32) -> bool {
        let Some(mut connection) = self.connections.remove(index) else {
            return false;
        };
        self.timers.cancel(index, &connection.timer);
        self.owners.vacate(connection.owner);
        if connection.is_held {
            self.clients.let_go(connection.client);
        }
        self.listeners.uncount(&mut connection, index);
        if connection.phase == Phase::Waiting
            && let Some(client) = self.clients.client(connection.client)
        {
            client.withdraw(index);
        }
        if let Phase::HalfOpen | Phase::Quiet(_) | Phase::Waiting = connection.phase
            && let Some(listener) = self.listeners.at(connection.tuple.local_port)
        {
            listener.leave(connection.phase);
        }
        if let Some(wire) = connection.wire.take() {
            self.sockets.recycle(wire);
        }
        true
    }

    /// A socket with these buffers, of a connection that is over where there are many. If
    /// there is no place or no memory for it, connections are evicted.
    pub(crate) fn wire(
        &mut self,
        buffers: Buffers,
        newcomer: Newcomer,
        now: Instant,
    ) -> Option<Wire> {
        // Two for each that comes: fewer they become, and not all at once.
        for _ in 0..2 {
            if let Some(over) = self.connections.superfluous() {
                self.forget(over);
            }
        }
        if self.connections.is_full() && !self.evict(newcomer, now) {
            return None;
        }
        loop {
            let wire = self.sockets.take(buffers);
            if wire.is_some() || !self.evict(newcomer, now) {
                return wire;
            }
        }
    }
}

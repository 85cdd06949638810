//! From an established connection to one that its client is offered.

use ipc::channel::Doorbell;
use ipc::clock::Instant;
use ipc::net::{Address, Readiness};
use ipc::stats::netstack as counters;

use crate::admission::Peer;
use crate::connection::{Hello, Phase};
use crate::stack::Core;

/// Bits of the IPv6 prefix that is one peer to a listener without shares: one host may
/// have all of it (RFC 4291 §2.5.1).
const NETWORK: u8 = 64;

impl<B: Doorbell> Core<'_, B> {
    /// A connection is open now: it is offered to its client, or waits until it is
    /// ready.
    pub(crate) fn established(&mut self, index: u32, now: Instant) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let tuple = connection.tuple;
        let (hello, since) = (connection.hello(), connection.since);
        let Some(listener) = self.listeners.at(tuple.local_port) else {
            return;
        };
        let patience = listener.patience();
        let share = listener.share();
        let prefix = share.map_or(NETWORK, |share| share.ipv6_prefix);
        let peer = Peer::new(tuple.local_port, tuple.remote, prefix);
        connection.peer = Some(peer);
        let count = self.listeners.count(peer);
        let is_over_share = share.is_some_and(|share| count > share.connections);
        if is_over_share && !self.quiet_gives_way(peer) {
            self.stats.add(counters::PEER_FULL, 1);
            return self.offer(index, Readiness::OverShare, now);
        }
        let Some(patience) = patience else {
            return self.offer(index, Readiness::Ready, now);
        };
        if hello != Hello::Comes {
            return self.hello_in(index, hello, now);
        }
        self.listeners.note_quiet(peer, index, true);
        self.go_to(index, Phase::Quiet(since + patience));
    }

    /// A connection that is not accepted is in its next phase.
    fn go_to(&mut self, index: u32, phase: Phase) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let before = core::mem::replace(&mut connection.phase, phase);
        if let Some(listener) = self.listeners.at(connection.tuple.local_port) {
            listener.leave(before);
            listener.enter(phase);
        }
    }

    /// What there is of the ClientHello of a connection that waits for it.
    pub(crate) fn hello_in(&mut self, index: u32, hello: Hello, now: Instant) {
        match hello {
            Hello::Comes => {}
            Hello::Is(readiness) => self.offer(index, readiness, now),
            Hello::Never => self.offer(index, Readiness::Ended, now),
        }
    }

    /// Evicts the oldest quiet connection of a peer that has its share, in favour of
    /// another of the peer's; false when there is none.
    fn quiet_gives_way(&mut self, peer: Peer) -> bool {
        let oldest = self.listeners.oldest_quiet(peer);
        oldest.is_some_and(|oldest| {
            self.turn_away(oldest);
            true
        })
    }

    /// Evicts a connection that is not ready: its peer gets a reset, its client learns
    /// how many there were.
    fn turn_away(&mut self, index: u32) {
        self.note_gave_way(index);
        if let Some(connection) = self.connections.get_mut(index) {
            self.listeners.uncount(connection, index);
            if let Some(wire) = &mut connection.wire {
                wire.socket().abort();
            }
        }
        self.connections.touch(index);
    }

    /// Counts an evicted connection, for its client.
    pub(crate) fn note_gave_way(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let tuple = connection.tuple;
        if let Some(listener) = self.listeners.at(tuple.local_port) {
            listener.note_gave_way(Address((tuple.remote, tuple.remote_port).into()));
        }
        self.owners.call_for_accept(connection.client);
    }

    /// Puts a connection into its client's queue.
    pub(crate) fn offer(&mut self, index: u32, readiness: Readiness, now: Instant) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        if !self.clients.hold(connection.client) {
            self.stats.add(counters::TABLE_FULL, 1);
            return self.turn_away(index);
        }
        connection.is_held = true;
        connection.readiness = readiness;
        connection.last_progress = now;
        if let Some(peer) = connection.peer {
            self.listeners.note_quiet(peer, index, false);
        }
        let number = connection.client;
        self.go_to(index, Phase::Waiting);
        if let Some(client) = self.clients.client(number) {
            client.offer(index);
        }
        self.owners.call_for_accept(number);
    }
}

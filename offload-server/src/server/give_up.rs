//! Handshakes that are aborted: cancelled, displaced, overdue, or holding too much.

use core::time::Duration;

use ipc::channel::SlotIndex;
use ipc::clock::{Clock, Instant};
use ipc::control::{HandshakeError, PeerError, Resource};
use tls::{Alert, Role};

use super::{Entry, GRACE, Platform, Server};

/// How old a handshake must be to be evicted although its peer has sent a whole
/// ClientHello: a second flight takes less on most links, and a flood of good hellos
/// loses its slots soon (ADR 0130).
const STALE: Duration = Duration::from_millis(500);

impl<P: Platform> Server<'_, P> {
    /// Ends the handshake in `slot`, if there is one, of this generation if one is named.
    pub(super) fn give_up(
        &mut self,
        slot: SlotIndex,
        generation: Option<u16>,
        error: HandshakeError,
    ) {
        let Some((found, _)) = self.entry(slot) else {
            return;
        };
        if generation.is_some_and(|generation| generation != found) {
            return;
        }
        let autonomous = self.forget(slot);
        let directed = self.forget_directed(slot);
        if error == HandshakeError::Resource(Resource::Memory) {
            // RFC 8446 §6.2: no fault of the peer's that the protocol has a name for.
            if let Some(mut handshake) = autonomous {
                handshake.say_last(&mut self.net, slot, Alert::INTERNAL_ERROR);
            }
            if let Some(mut directed) = directed {
                directed.say_last(&mut self.net, slot, Alert::INTERNAL_ERROR);
            }
        }
        self.fail(slot, found, error);
    }

    /// Makes room in the name of the handshake in `slot`.
    pub(super) fn displace(&mut self, slot: SlotIndex, generation: u16, same_group: bool) {
        let Some((_, entry)) = self.entry(slot).filter(|(found, _)| *found == generation) else {
            return;
        };
        let asks = entry.origin;
        let now = self.clock.now();
        let owing = (0..self.net.slots()).filter_map(|slot| {
            let (_, entry) = self.entry(slot)?;
            let is_meant = entry.origin.client == asks.client
                && (!same_group || entry.origin.group == asks.group);
            if !is_meant || !self.owes(slot, entry) {
                return None;
            }
            let has_heard = self.has_heard(slot);
            let may_go = !has_heard || now >= entry.began + STALE;
            may_go.then_some((has_heard, entry.number, slot))
        });
        // Those that have shown no ClientHello first, then the oldest.
        if let Some((_, _, oldest)) = owing.min() {
            let displaced = HandshakeError::Resource(Resource::Displaced);
            self.give_up(oldest, None, displaced);
        }
    }

    /// Ends those whose loans were called in for others.
    pub(super) fn end_displaced(&mut self) {
        while let Some(slot) = self.loans.next_called_in() {
            self.give_up(slot, None, HandshakeError::Resource(Resource::Memory));
        }
    }

    /// Ends handshakes whose deadline the network stack did not keep.
    pub(super) fn give_up_overdue(&mut self, now: Instant) {
        self.earliest = Instant::NEVER;
        for slot in 0..self.net.slots() {
            let Some((_, entry)) = self.entry(slot) else {
                continue;
            };
            let until = entry.origin.deadline + GRACE;
            if until <= now {
                self.give_up(slot, None, HandshakeError::Peer(PeerError::Deadline));
            } else {
                self.earliest = self.earliest.min(until);
            }
        }
    }

    /// Generation and entry of the handshake in `slot`.
    fn entry(&self, slot: SlotIndex) -> Option<(u16, &Entry)> {
        let place = usize::from(slot);
        let autonomous = self.handshakes.get(place)?.as_ref();
        let directed = self.directed.get(place)?.as_ref();
        autonomous
            .map(|handshake| (handshake.generation, &handshake.entry))
            .or_else(|| directed.map(|directed| (directed.generation, &directed.entry)))
    }

    /// Whether it is the peer's turn there, and the peer is a client: all that has come was
    /// looked at, or its message is late.
    fn owes(&self, slot: SlotIndex, entry: &Entry) -> bool {
        let place = usize::from(slot);
        let autonomous = self.handshakes.get(place).and_then(Option::as_ref);
        let directed = self.directed.get(place).and_then(Option::as_ref);
        let role = autonomous.map(|h| h.role()).or(directed.map(|d| d.role()));
        // Its segments come from the director one by one: it may be this side's turn.
        let is_ours = directed.is_some_and(|d| !d.is_waiting());
        let is_seen = || !entry.is_queued() && self.net.readable(slot) == Ok(entry.left);
        role == Some(Role::Server) && !is_ours && (entry.is_late || is_seen())
    }

    /// Whether the peer has shown a whole ClientHello.
    fn has_heard(&self, slot: SlotIndex) -> bool {
        let place = usize::from(slot);
        let autonomous = self.handshakes.get(place).and_then(Option::as_ref);
        let directed = self.directed.get(place).and_then(Option::as_ref);
        autonomous.is_some_and(|h| h.has_heard()) || directed.is_some_and(|d| d.has_heard())
    }
}

//! Handshakes that are aborted: cancelled, displaced, overdue, or holding too much.

use core::time::Duration;

use ipc::channel::SlotIndex;
use ipc::clock::{Clock, Instant};
use ipc::control::{HandshakeError, PeerError, Resource};
use ipc::handshake::Completion;
use tls::{Alert, Role};

use super::{GRACE, Platform, Server};
use crate::in_progress::{Entry, Handshake, Progress};

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
        let Some(found) = self.in_progress.get(slot).map(|h| h.entry.generation) else {
            return;
        };
        if generation.is_some_and(|generation| generation != found) {
            return;
        }
        let handshake = self.forget(slot);
        if error == HandshakeError::Resource(Resource::Memory)
            && let Some(mut handshake) = handshake
        {
            // RFC 8446 §6.2: no fault of the peer's that the protocol has a name for.
            let alert = Alert::INTERNAL_ERROR;
            handshake.progress.say_last(&mut self.net, slot, alert);
        }
        self.fail(slot, found, error);
    }

    /// Ends a handshake that the shim has cancelled. One that never began here was asked for
    /// while this component started again: the shim waits for its completion.
    pub(super) fn cancel(&mut self, slot: SlotIndex, generation: u16) {
        let is_here = |handshake: &Handshake| handshake.entry.generation == generation;
        if self.in_progress.get(slot).is_some_and(is_here) {
            self.give_up(slot, Some(generation), HandshakeError::Cancelled);
        } else if self.completed.get(usize::from(slot)) != Some(&Some(generation)) {
            self.complete(&Completion::Failed {
                slot,
                generation,
                error: HandshakeError::Cancelled,
                cause: None,
            });
        }
    }

    /// Makes room in the name of the handshake in `slot`.
    pub(super) fn displace(&mut self, slot: SlotIndex, generation: u16, same_group: bool) {
        let handshake = self.in_progress.get(slot);
        let Some(handshake) = handshake.filter(|h| h.entry.generation == generation) else {
            return;
        };
        let asks = handshake.entry.origin;
        let now = self.clock.now();
        let owing = (0..self.net.slots()).filter_map(|slot| {
            let Handshake { entry, progress } = self.in_progress.get(slot)?;
            let is_meant = entry.origin.client == asks.client
                && (!same_group || entry.origin.group == asks.group);
            if !is_meant || !self.owes(slot, entry, progress) {
                return None;
            }
            let has_heard = progress.has_heard();
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
            let Some(handshake) = self.in_progress.get(slot) else {
                continue;
            };
            let until = handshake.entry.origin.deadline + GRACE;
            if until <= now {
                self.give_up(slot, None, HandshakeError::Peer(PeerError::Deadline));
            } else {
                self.earliest = self.earliest.min(until);
            }
        }
    }

    /// Whether it is the peer's turn there, and the peer is a client: all that has come was
    /// looked at, or its message is late, or too long for now.
    fn owes(&self, slot: SlotIndex, entry: &Entry, progress: &Progress) -> bool {
        let is_seen = || !entry.is_queued() && self.net.readable(slot) == Ok(entry.left);
        // The segments of a directed one come one by one: it may be this side's turn.
        let is_its_turn = || progress.is_waiting() && (entry.is_late || is_seen());
        progress.role() == Role::Server && (entry.is_set_aside || is_its_turn())
    }
}

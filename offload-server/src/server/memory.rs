//! Handshakes that wait for memory: their peers have sent more than each may hold, and the
//! rest is lent to others (`loans.rs`). What they have sent stays in the ring meanwhile, and
//! behind it in the network stack, whose window closes.

use ipc::channel::SlotIndex;
use ipc::channel::Status;
use ipc::clock::{Clock, Instant};

use super::{Platform, Server};
use crate::connection::cut_off;
use crate::in_progress::Handshake;
use crate::loans::Whose;
use crate::work::Work;

impl<P: Platform> Server<'_, P> {
    /// Whether this work goes on now. What takes more of a peer's bytes than each may hold
    /// waits for memory, and its first loan behind those of its class that wait.
    pub(super) fn may_begin(&mut self, work: &Work) -> bool {
        let slot = work.slot();
        let Some(Handshake { entry, progress }) = self.in_progress.get(slot) else {
            return true;
        };
        let reads = match work {
            Work::Look(_) => progress.reads(),
            Work::Perform { segment, .. } => segment.facts().reads,
        };
        let class = entry.class();
        if !reads || self.needs_nothing(slot) {
            return true;
        }
        // One that has a part of what it needs gives it back soonest with the rest.
        let may_ask = self.loans.has_one(slot) || !self.work.is_waited_for(class);
        may_ask && self.may_read(slot, self.clock.now())
    }

    /// Whether all that the peer of `slot` has sent is within what its handshake may hold,
    /// or is not read yet, for something is to be sent first.
    pub(super) fn needs_nothing(&mut self, slot: SlotIndex) -> bool {
        let unread = self.net.readable(slot).unwrap_or(0);
        let Some(Handshake { progress, .. }) = self.in_progress.get_mut(slot) else {
            return true;
        };
        if unread == 0 || self.loans.covers(slot, progress.held() + unread) {
            return true;
        }
        progress.flush(&mut self.net, slot);
        progress.sends()
    }

    /// Whether there is memory for all that the peer of `slot` has sent. It is lent then.
    fn may_read(&mut self, slot: SlotIndex, now: Instant) -> bool {
        if self.needs_nothing(slot) {
            return true;
        }
        let Some(Handshake { entry, progress }) = self.in_progress.get(slot) else {
            return true;
        };
        let whose = Whose::of(&entry.origin);
        let wanted = progress.held() + self.net.readable(slot).unwrap_or(0);
        let may_read = self.loans.reserve(slot, whose, wanted, now);
        self.end_displaced();
        may_read
    }

    /// Keeps work of a handshake until there is memory for it.
    pub(super) fn set_aside(&mut self, work: Work) {
        let slot = work.slot();
        let Some(Handshake { entry, .. }) = self.in_progress.get_mut(slot) else {
            return;
        };
        entry.is_set_aside = true;
        let class = entry.class();
        self.work.set_aside(class, work);
        // That was told before, and is not told again.
        self.end_if_cut_off(slot);
    }

    /// Goes on with those for which there is memory now, and looks again when the next loan
    /// can be called in.
    pub(super) fn take_up(&mut self) {
        loop {
            // One time for all: what is too young now is due later.
            let now = self.clock.now();
            let mut next = self.work.next_set_aside().into_iter().flatten().peekable();
            if next.peek().is_none() {
                break;
            }
            // The second does not wait for the first, which may need more, or older loans.
            let Some(slot) = next.find(|slot| self.may_read(*slot, now)) else {
                self.earliest = self.earliest.min(self.loans.next_due(now));
                break;
            };
            self.work.take_up(slot);
            if let Some(Handshake { entry, .. }) = self.in_progress.get_mut(slot) {
                entry.is_set_aside = false;
            }
        }
    }

    /// Ends a handshake that waits for memory if its connection is no more. An end in order
    /// is read after what came before it.
    pub(super) fn end_if_cut_off(&mut self, slot: SlotIndex) {
        let status = self.net.peer_status(slot);
        let is_gone = status.has(Status::REFUSED)
            || status.has(Status::DEADLINE)
            || status.has(Status::RESET);
        if is_gone && let Some(error) = cut_off(status) {
            self.give_up(slot, None, error);
        }
    }
}

//! Handshakes that wait for memory: their peers have sent more than each may hold, and the
//! rest is lent to others (`loans.rs`). What they have sent stays in the ring meanwhile, and
//! behind it in the network stack, whose window closes.

use ipc::channel::SlotIndex;
use ipc::channel::Status;
use ipc::clock::Clock;

use super::{Platform, Server};
use crate::connection::cut_off;
use crate::in_progress::Handshake;
use crate::loans::Whose;
use crate::work::Work;

impl<P: Platform> Server<'_, P> {
    /// Whether there is memory for all that the peer of `slot` has sent. It is lent then.
    pub(super) fn may_read(&mut self, slot: SlotIndex) -> bool {
        let unread = self.net.readable(slot).unwrap_or(0);
        let Some(Handshake { entry, progress }) = self.in_progress.get(slot) else {
            return true;
        };
        // What is to be sent goes first, and waits for nobody.
        if unread == 0 || progress.sends() {
            return true;
        }
        let wanted = progress.held() + unread;
        if self.loans.covers(slot, wanted) {
            return true;
        }
        let whose = Whose::of(&entry.origin);
        let now = self.clock.now();
        let may_read = self.loans.reserve(slot, whose, wanted, now);
        self.end_displaced();
        may_read
    }

    /// Keeps work of a handshake until [`Server::may_read`].
    pub(super) fn set_aside(&mut self, work: Work) {
        let Some(Handshake { entry, .. }) = self.in_progress.get_mut(work.slot()) else {
            return;
        };
        entry.is_set_aside = true;
        let class = entry.class();
        self.work.set_aside(class, work);
    }

    /// Goes on with those for which there is memory now, and looks again when the next loan
    /// can be called in.
    pub(super) fn take_up(&mut self) {
        while let Some(slot) = self.work.first_set_aside() {
            if !self.may_read(slot) {
                let due = self.loans.next_due(self.clock.now());
                self.earliest = self.earliest.min(due);
                break;
            }
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

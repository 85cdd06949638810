//! A side that ends and restarts, on memory that the other side goes on with.

use alloc::vec::Vec;

use super::{CONTROL_EVENT, Channel, Doorbell, LIFE, SlotIndex, Status};
use crate::sync::{Ordering, load_acquire};

impl<D: Doorbell> Channel<D> {
    /// Takes over what this side left in its memory, if this is a restart.
    pub(super) fn begin(&mut self) {
        self.peer_life = load_acquire(self.memory.their_word(LIFE));
        let life = self.memory.my_word(LIFE).load(Ordering::Relaxed);
        if life > 0 {
            while self.next_event().is_some() {}
            self.find_posted();
            for slot in 0..self.memory.slots {
                self.memory.forget(slot);
                self.abandon(slot);
            }
            // What was posted and never rung for is rung for now.
            self.doorbell_due = true;
        }
        let life = life.wrapping_add(1).max(1);
        self.memory.my_word(LIFE).store(life, Ordering::Release);
        self.flush();
    }

    /// Learns which events the other side has not taken.
    fn find_posted(&mut self) {
        let slots = self.memory.slots;
        let outstanding: Vec<_> = self.memory.events_out().outstanding().collect();
        for (position, entry) in outstanding {
            let index = match entry {
                CONTROL_EVENT => slots,
                slot => slot,
            };
            if let Some(posted) = self.posted.get_mut(usize::from(index)) {
                *posted = position;
            }
        }
    }

    /// Leaves a slot that is in use, or that the other side has opened since,
    /// with [`Status::RESET`].
    pub fn abandon(&mut self, slot: SlotIndex) {
        let (Some(mine), Some(theirs)) = (self.memory.my_slot(slot), self.memory.their_slot(slot))
        else {
            return;
        };
        let own = Status(mine.status.load(Ordering::Relaxed));
        let other = Status(load_acquire(theirs.status));
        let generation = match (own.has(Status::OPEN), other.has(Status::OPEN)) {
            (true, _) => own.generation(),
            (false, true) => other.generation(),
            (false, false) => return,
        };
        let left = Status::new(generation, Status::LEFT | Status::RESET);
        mine.status.store(left.0, Ordering::Release);
        self.notify(slot);
    }

    /// Whether this side has had a run before this one.
    pub fn is_restarted(&self) -> bool {
        self.memory.my_word(LIFE).load(Ordering::Relaxed) > 1
    }

    /// Whether the peer has restarted since the last call: it knows nothing of before.
    #[inline]
    pub fn peer_is_new(&mut self) -> bool {
        let life = load_acquire(self.memory.their_word(LIFE));
        // The first start makes nothing of this side out of date.
        core::mem::replace(&mut self.peer_life, life) != life && life > 1
    }
}

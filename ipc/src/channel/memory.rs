//! Where the words and rings of a channel's two regions are.

use super::events::Events;
use super::{Channel, Doorbell, HEAD, HEADER_SIZE, SLOT_HEADER_SIZE, SlotIndex, TAIL};
use crate::ring::{Misbehaved, Ring};
use crate::sync::AtomicU32;

impl<D: Doorbell> Channel<D> {
    pub(super) fn rx_ring(&self, slot: SlotIndex) -> Result<Ring<'_>, Misbehaved> {
        let mine = self.my_slot(slot).ok_or(Misbehaved)?;
        let theirs = self.their_slot(slot).ok_or(Misbehaved)?;
        let offset = self.data_at + usize::from(slot) * self.rx_capacity as usize;
        Ok(Ring {
            head: theirs.head,
            tail: mine.tail,
            // SAFETY: `slot < slots`, so the ring lies inside the region whose
            // size `new` was promised. Only `Ring::write` writes through the
            // pointer, and it is never called on a receiving ring.
            data: unsafe { self.theirs.add(offset) }.cast_mut(),
            capacity: self.rx_capacity,
        })
    }

    pub(super) fn tx_ring(&self, slot: SlotIndex) -> Result<Ring<'_>, Misbehaved> {
        let mine = self.my_slot(slot).ok_or(Misbehaved)?;
        let theirs = self.their_slot(slot).ok_or(Misbehaved)?;
        let offset = self.data_at + usize::from(slot) * self.tx_capacity as usize;
        Ok(Ring {
            head: mine.head,
            tail: theirs.tail,
            // SAFETY: `slot < slots`, so the ring lies inside the region whose
            // size `new` was promised.
            data: unsafe { self.mine.add(offset) },
            capacity: self.tx_capacity,
        })
    }

    pub(super) fn my_slot(&self, slot: SlotIndex) -> Option<SlotWords<'_>> {
        let offset = self.slot_offset(slot)?;
        Some(SlotWords {
            head: self.my_word(offset),
            tail: self.my_word(offset + 4),
            status: self.my_word(offset + 8),
        })
    }

    pub(super) fn their_slot(&self, slot: SlotIndex) -> Option<SlotWords<'_>> {
        let offset = self.slot_offset(slot)?;
        Some(SlotWords {
            head: self.their_word(offset),
            tail: self.their_word(offset + 4),
            status: self.their_word(offset + 8),
        })
    }

    fn slot_offset(&self, slot: SlotIndex) -> Option<usize> {
        (slot < self.slots).then(|| self.slots_at + usize::from(slot) * SLOT_HEADER_SIZE)
    }

    /// The word at a byte offset that the callers above keep inside the
    /// headers, whose size depends on `slots` alone.
    pub(super) fn my_word(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: `offset` is inside the header part of the region.
        let word = unsafe { self.mine.add(offset) };
        // SAFETY: the region is mapped and aligned (`new`), `offset` is a
        // multiple of four, and the word is only ever accessed atomically.
        unsafe { AtomicU32::from_ptr(word.cast()) }
    }

    pub(super) fn their_word(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: `offset` is inside the header part of the region.
        let word = unsafe { self.theirs.add(offset) };
        // SAFETY: as in `my_word`; this side only loads from it, so a
        // read-only mapping is enough.
        unsafe { &*word.cast::<AtomicU32>() }
    }

    /// Events to the other side.
    pub(super) fn events_out(&self) -> Events<'_> {
        // SAFETY: the queue is after the header.
        let entries = unsafe { self.mine.add(HEADER_SIZE) };
        Events {
            head: self.my_word(HEAD),
            tail: self.their_word(TAIL),
            entries: entries.cast_const().cast(),
            capacity: self.event_capacity,
        }
    }

    /// Events from the other side.
    pub(super) fn events_in(&self) -> Events<'_> {
        // SAFETY: as in `events_out`; this side only loads from it.
        let entries = unsafe { self.theirs.add(HEADER_SIZE) };
        Events {
            head: self.their_word(HEAD),
            tail: self.my_word(TAIL),
            entries: entries.cast(),
            capacity: self.event_capacity,
        }
    }
}

/// The words of one slot that one side writes.
pub(super) struct SlotWords<'a> {
    pub(super) head: &'a AtomicU32,
    pub(super) tail: &'a AtomicU32,
    pub(super) status: &'a AtomicU32,
}

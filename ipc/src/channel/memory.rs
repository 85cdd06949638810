//! Where the words and rings of a channel's two regions are.

use super::events::Events;
use super::{HEAD, HEADER_SIZE, Layout, Pool, SLOT_HEADER_SIZE, SlotIndex, Status, TAIL};
use super::{event_capacity, pool_offset, slots_offset, table_offset};
use crate::ring::{BLOCK, Blocks, Misbehaved, Ring};
use crate::sync::{AtomicU32, Ordering, load_acquire};

/// Both regions, as one side sees them.
#[derive(Clone, Copy)]
pub(super) struct Memory {
    pub(super) mine: *mut u8,
    pub(super) theirs: *const u8,
    pub(super) slots: u16,
    pub(super) tx: Rings,
    pub(super) rx: Rings,
    /// What follows from `slots`, so that it is not computed at each access: entries of
    /// the event queue, and where the slots' words begin.
    event_capacity: u32,
    slots_at: usize,
}

/// The rings of one direction.
#[derive(Clone, Copy)]
pub(super) struct Rings {
    /// Bytes of each.
    pub(super) capacity: u32,
    /// What lends them their blocks, if they have no memory of their own.
    pub(super) pool: Option<Pool>,
    /// Where their table begins, and their bytes.
    table_at: usize,
    data_at: usize,
}

impl Rings {
    fn new(slots: u16, capacity: u32, pool: Option<Pool>) -> Self {
        let table_at = table_offset(slots);
        let data_at = match pool {
            Some(_) => pool_offset(slots, capacity),
            None => table_at,
        };
        Self {
            capacity,
            pool,
            table_at,
            data_at,
        }
    }

    /// Where the bytes of a slot's ring, or of its pool, are.
    fn data(&self, slot: SlotIndex) -> usize {
        match self.pool {
            Some(_) => self.data_at,
            None => self.data_at + usize::from(slot) * self.capacity as usize,
        }
    }

    fn blocks(&self, region: *const u8, slot: SlotIndex) -> Option<Blocks> {
        let pool = self.pool?.blocks();
        let numbers = usize::from(slot) * (self.capacity / BLOCK) as usize;
        let at = self.table_at + numbers * size_of::<u16>();
        let table = region.wrapping_add(at).cast();
        Some(Blocks { table, pool })
    }
}

impl Memory {
    pub(super) fn new(layout: &Layout) -> Self {
        let slots = layout.slots;
        Self {
            mine: layout.mine,
            theirs: layout.theirs,
            slots,
            tx: Rings::new(slots, layout.tx_ring, layout.tx_pool),
            rx: Rings::new(slots, layout.rx_ring, layout.rx_pool),
            event_capacity: event_capacity(slots) as u32,
            slots_at: slots_offset(slots),
        }
    }

    pub(super) fn rx_ring(&self, slot: SlotIndex) -> Result<Ring<'_>, Misbehaved> {
        let mine = self.my_slot(slot).ok_or(Misbehaved)?;
        let theirs = self.their_slot(slot).ok_or(Misbehaved)?;
        let offset = self.rx.data(slot);
        Ok(Ring {
            head: theirs.head,
            tail: mine.tail,
            // SAFETY: `slot < slots`, so the ring, or the pool, lies inside the region
            // whose size `new` was promised. Only `Ring::write` writes through the
            // pointer, and it is never called on a receiving ring.
            data: unsafe { self.theirs.add(offset) }.cast_mut(),
            capacity: self.rx.capacity,
            blocks: self.rx.blocks(self.theirs, slot),
        })
    }

    pub(super) fn tx_ring(&self, slot: SlotIndex) -> Result<Ring<'_>, Misbehaved> {
        let mine = self.my_slot(slot).ok_or(Misbehaved)?;
        let theirs = self.their_slot(slot).ok_or(Misbehaved)?;
        let offset = self.tx.data(slot);
        Ok(Ring {
            head: mine.head,
            tail: theirs.tail,
            // SAFETY: `slot < slots`, so the ring, or the pool, lies inside the region whose
            // size `new` was promised.
            data: unsafe { self.mine.add(offset) },
            capacity: self.tx.capacity,
            blocks: self.tx.blocks(self.mine, slot),
        })
    }

    /// Whether both sides are done with `slot`.
    pub(super) fn is_left(&self, slot: SlotIndex) -> bool {
        let (Some(mine), Some(theirs)) = (self.my_slot(slot), self.their_slot(slot)) else {
            return false;
        };
        let mine = Status(mine.status.load(Ordering::Relaxed));
        let theirs = Status(load_acquire(theirs.status));
        let is_same = mine.generation() == theirs.generation();
        is_same && mine.has(Status::LEFT) && theirs.has(Status::LEFT)
    }

    /// Which slot held which of the lent blocks is forgotten: nobody is to read what they
    /// have then as if it were what was written to `slot`.
    pub(super) fn forget(&self, slot: SlotIndex) {
        if self.tx.pool.is_some()
            && let (Some(mine), Some(theirs)) = (self.my_slot(slot), self.their_slot(slot))
        {
            mine.head
                .store(load_acquire(theirs.tail), Ordering::Release);
        }
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

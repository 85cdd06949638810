//! Many rings each way between two domains, and a queue that tells which of
//! them changed.
//!
//! A channel is made of two regions. Each is written by one side and read by
//! the other, so that every region has a single writer:
//!
//! ```text
//! region of side A (A writes, B reads)        region of side B
//!   events:  head, entries   A -> B             events: head, entries   B -> A
//!   events:  tail            of B -> A          events: tail            of A -> B
//!   slot[i]: head, status    A -> B             slot[i]: head, status   B -> A
//!   slot[i]: tail            of B -> A          slot[i]: tail           of A -> B
//!   slot[i]: data            A -> B             slot[i]: data           B -> A
//! ```
//!
//! The data of a direction is a ring of its own for each slot, or a [`Pool`] of blocks
//! that its writer lends to the slots, with a table for each slot that says which.
//!
//! A slot carries one connection at a time. One side, fixed by the protocol, *opens* a
//! slot, which empties both of its rings and increments its generation; the other side
//! follows. [`Status`] words carry the generation, so that an end of the last connection
//! is not taken for the end of this one.
//!
//! An event names a slot. A slot has at most one event outstanding, so the event queue
//! can't overflow, and a doorbell is rung only when the other side had taken all previous
//! events: a side that still has events to take is awake.
//!
//! A restarted side finds its words where they were. It leaves every slot that it had,
//! with [`Status::RESET`], and increments its *life* (epoch), so that the other side can
//! drop what else it had asked for ([`Channel::peer_is_new`]).

mod events;
mod joined;
mod lending;
mod life;
pub mod local;
mod memory;
mod notifications;
mod records;
mod status;

use crate::ring::{BLOCK, Misbehaved, announce};
use crate::sync::{Ordering, load_acquire};
use alloc::boxed::Box;
use alloc::vec;
use lending::Lending;
use memory::Memory;

pub use events::untaken;
pub use joined::Joined;
pub use lending::Pool;
pub use records::SlotBytes;
pub use status::Status;

/// Wakes the other side.
pub trait Doorbell {
    /// Returns at once.
    fn ring(&self);
}

/// The number of one slot of a channel.
pub type SlotIndex = u16;

/// An event that belongs to no slot: "there is something to ask me for".
const CONTROL_EVENT: u16 = u16::MAX;
const HEADER_SIZE: usize = 64;
/// Places in the header: events posted, events taken, starts of this side.
const HEAD: usize = 0;
const TAIL: usize = 4;
const LIFE: usize = 8;
const SLOT_HEADER_SIZE: usize = 16;
const PAGE: usize = 4096;

/// The most slots a channel may have.
pub const MAX_SLOTS: u16 = 16_384;

const fn event_capacity(slots: u16) -> usize {
    (slots as usize + 1).next_power_of_two()
}

const fn slots_offset(slots: u16) -> usize {
    (HEADER_SIZE + event_capacity(slots) * 2).next_multiple_of(SLOT_HEADER_SIZE)
}

/// Where the rings begin, or the table of those whose blocks are lent.
const fn table_offset(slots: u16) -> usize {
    (slots_offset(slots) + slots as usize * SLOT_HEADER_SIZE).next_multiple_of(PAGE)
}

/// Where the blocks begin.
const fn pool_offset(slots: u16, ring_bytes: u32) -> usize {
    let numbers = slots as usize * (ring_bytes / BLOCK) as usize;
    (table_offset(slots) + numbers * size_of::<u16>()).next_multiple_of(PAGE)
}

/// Bytes of the region that one side writes, in whole pages of 4 KiB.
/// `ring_bytes` is the size of each ring *out of* that side: a power of two; `pool` is what
/// lends them their blocks, if they have no memory of their own.
pub const fn region_size(slots: u16, ring_bytes: u32, pool: Option<Pool>) -> usize {
    let end = match pool {
        Some(pool) => pool_offset(slots, ring_bytes) + pool.bytes as usize,
        None => table_offset(slots) + slots as usize * ring_bytes as usize,
    };
    end.next_multiple_of(PAGE)
}

/// What [`Channel::next_event`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes, room or status of a slot have changed.
    Slot(SlotIndex),
    /// The other side has something to be asked for by a call.
    Control,
}

/// One side's view of a channel. The value is the right to use it.
pub struct Channel<D> {
    memory: Memory,
    /// The blocks of the rings out of this side, where they are lent.
    lending: Option<Lending>,
    /// Where in the event queue the last event of each slot (and, last, the
    /// control event) stands.
    posted: Box<[u32]>,
    /// The peer's epoch when it was last read.
    peer_life: u32,
    doorbell_due: bool,
    doorbell: D,
}

// SAFETY: the pointers lead to memory that only this value uses on this side;
// moving it to another thread moves that right along.
unsafe impl<D: Send> Send for Channel<D> {}

/// Where a channel's memory is.
#[derive(Clone, Copy)]
pub struct Layout {
    /// The region that this side writes: [`region_size`]`(slots, tx_ring, tx_pool)`
    /// bytes, aligned to 64.
    pub mine: *mut u8,
    /// The region that the other side writes: [`region_size`]`(slots, rx_ring,
    /// rx_pool)` bytes, aligned to 64.
    pub theirs: *const u8,
    /// Connections at once, at most [`MAX_SLOTS`].
    pub slots: u16,
    /// Bytes of each ring out of this side, a power of two.
    pub tx_ring: u32,
    /// Bytes of each ring into this side, a power of two.
    pub rx_ring: u32,
    /// What lends the rings out of this side their blocks.
    pub tx_pool: Option<Pool>,
    /// What lends the rings into this side their blocks.
    pub rx_pool: Option<Pool>,
}

impl<D: Doorbell> Channel<D> {
    /// Takes the memory of one side of a channel. If this side was in use
    /// before, its slots are left and the other side's events are skipped.
    ///
    /// # Safety
    /// `layout` must name mapped memory of the sizes and alignments that it states,
    /// zeroed at boot, used on this side by this value alone for as long as it lives,
    /// with the other side's roles mirrored.
    ///
    /// # Panics
    /// At start-up, when a ring's size is no power of two, or its pool does not suit it, or
    /// there are too many slots.
    pub unsafe fn new(layout: Layout, doorbell: D) -> Self {
        let slots = layout.slots;
        assert!(slots <= MAX_SLOTS);
        for (ring, pool) in [
            (layout.tx_ring, layout.tx_pool),
            (layout.rx_ring, layout.rx_pool),
        ] {
            assert!(ring.is_power_of_two() && ring <= 1 << 30);
            assert!(pool.is_none_or(|pool| pool.suits(slots, ring)));
        }
        let never = u32::MAX;
        let mut channel = Self {
            memory: Memory::new(&layout),
            lending: layout.tx_pool.map(|pool| Lending::new(pool, slots)),
            posted: vec![never; usize::from(slots) + 1].into_boxed_slice(),
            peer_life: 0,
            doorbell_due: false,
            doorbell,
        };
        channel.begin();
        channel
    }

    /// Connections at once.
    pub fn slots(&self) -> u16 {
        self.memory.slots
    }

    /// Bytes that a ring out of this side can hold.
    pub fn tx_capacity(&self) -> usize {
        self.memory.tx.capacity as usize
    }

    /// Bytes that a ring into this side can hold.
    pub fn rx_capacity(&self) -> usize {
        self.memory.rx.capacity as usize
    }

    // ---- slots ----

    /// Opens `slot` afresh: both rings become empty, previous flags are cleared, and the
    /// generation is incremented. Only the side that owns the slots opens them.
    pub fn open(&mut self, slot: SlotIndex) {
        let (Some(mine), Some(theirs)) = (self.memory.my_slot(slot), self.memory.their_slot(slot))
        else {
            return;
        };
        let their_tail = load_acquire(theirs.tail);
        let their_head = load_acquire(theirs.head);
        let generation = Status(mine.status.load(Ordering::Relaxed)).generation();
        mine.head.store(their_tail, Ordering::Relaxed);
        mine.tail.store(their_head, Ordering::Relaxed);
        if let (Some(lending), Ok(ring)) = (&mut self.lending, self.memory.tx_ring(slot)) {
            lending.empty(slot, &ring);
        }
        let status = Status::new(generation.wrapping_add(1), Status::OPEN);
        mine.status.store(status.0, Ordering::Release);
    }

    /// Follows the other side's [`Channel::open`]: adopts its generation.
    pub fn follow(&mut self, slot: SlotIndex) {
        let (Some(mine), Some(theirs)) = (self.memory.my_slot(slot), self.memory.their_slot(slot))
        else {
            return;
        };
        let generation = Status(load_acquire(theirs.status)).generation();
        if let (Some(lending), Ok(ring)) = (&mut self.lending, self.memory.tx_ring(slot)) {
            // What the last connection was written.
            lending.empty(slot, &ring);
        }
        let status = Status::new(generation, Status::OPEN);
        mine.status.store(status.0, Ordering::Release);
    }

    /// Whether the other side has opened `slot` and this side has not followed
    /// yet.
    pub fn is_opened(&self, slot: SlotIndex) -> bool {
        let theirs = self
            .memory
            .their_slot(slot)
            .map_or(0, |s| load_acquire(s.status));
        let theirs = Status(theirs);
        theirs.has(Status::OPEN) && theirs.generation() != self.status(slot).generation()
    }

    /// Leaves `slot`: it carries nothing more in this side's direction, and
    /// this side wants no more events of it.
    pub fn close(&mut self, slot: SlotIndex) {
        self.leave(slot, Status::LEFT);
    }

    /// As [`Channel::close`], with [`Status::END`]: what was written is all
    /// there is.
    pub fn finish(&mut self, slot: SlotIndex) {
        self.leave(slot, Status::LEFT | Status::END);
    }

    fn leave(&mut self, slot: SlotIndex, flags: u16) {
        if let Some(mine) = self.memory.my_slot(slot) {
            let generation = Status(mine.status.load(Ordering::Relaxed)).generation();
            let status = Status::new(generation, flags);
            mine.status.store(status.0, Ordering::Release);
        }
    }

    /// Adds `flags` to this side's status of `slot`. A reader that sees the flags also
    /// sees all bytes written before.
    pub fn set_status(&mut self, slot: SlotIndex, flags: u16) {
        if let Some(mine) = self.memory.my_slot(slot) {
            let status = mine.status.load(Ordering::Relaxed) | u32::from(flags);
            mine.status.store(status, Ordering::Release);
        }
    }

    /// Says whether bytes wait for room in `slot`; only then does the reader
    /// tell of room. Check the room once more after `false`.
    pub fn set_idle(&mut self, slot: SlotIndex, is_idle: bool) {
        let Some(mine) = self.memory.my_slot(slot) else {
            return;
        };
        let before = mine.status.load(Ordering::Relaxed);
        let flag = u32::from(Status::IDLE);
        let status = if is_idle {
            before | flag
        } else {
            before & !flag
        };
        if status != before {
            // Either the reader sees that bytes wait, or this side sees the
            // room that the reader made.
            announce(mine.status, status);
        }
    }

    /// This side's own status of `slot`.
    pub fn status(&self, slot: SlotIndex) -> Status {
        let status = self
            .memory
            .my_slot(slot)
            .map(|s| s.status.load(Ordering::Relaxed));
        Status(status.unwrap_or(0))
    }

    /// The other side's status of `slot`; no flag at all when it is of a previous
    /// generation. Read it before [`Channel::readable`]: with [`Status::END`] set, no
    /// byte comes after those found then.
    pub fn peer_status(&self, slot: SlotIndex) -> Status {
        let generation = self.status(slot).generation();
        let status = self
            .memory
            .their_slot(slot)
            .map_or(0, |s| load_acquire(s.status));
        let status = Status(status);
        if status.generation() == generation {
            status
        } else {
            Status::new(generation, 0)
        }
    }

    // ---- bytes ----

    /// Bytes that can be read from `slot` now.
    ///
    /// # Errors
    /// [`Misbehaved`] when the other side's index can't be, or there is no
    /// such slot: drop the connection.
    pub fn readable(&self, slot: SlotIndex) -> Result<usize, Misbehaved> {
        Ok(self.memory.rx_ring(slot)?.len()? as usize)
    }

    /// Bytes that can be written to `slot` now.
    ///
    /// # Errors
    /// As [`Channel::readable`].
    pub fn writable(&mut self, slot: SlotIndex) -> Result<usize, Misbehaved> {
        let memory = &self.memory;
        let room = match &mut self.lending {
            Some(lending) => lending.room(slot, u32::MAX, memory)?,
            None => {
                let ring = memory.tx_ring(slot)?;
                ring.capacity - ring.len()?
            }
        };
        Ok(room as usize)
    }

    /// Bytes written to `slot` that the other side has not consumed.
    ///
    /// # Errors
    /// As [`Channel::readable`].
    pub fn unread(&self, slot: SlotIndex) -> Result<usize, Misbehaved> {
        Ok(self.memory.tx_ring(slot)?.len()? as usize)
    }

    /// Copies unread bytes from `offset` on to `out`; consumes nothing.
    ///
    /// # Errors
    /// As [`Channel::readable`].
    pub fn peek(
        &self,
        slot: SlotIndex,
        offset: usize,
        out: &mut [u8],
    ) -> Result<usize, Misbehaved> {
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        self.memory.rx_ring(slot)?.peek(offset, out)
    }

    /// Gives `count` read bytes back to the other side and posts an event, so
    /// that it learns of the room, unless it is [`Status::IDLE`].
    ///
    /// # Errors
    /// As [`Channel::readable`].
    pub fn consume(&mut self, slot: SlotIndex, count: usize) -> Result<(), Misbehaved> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.memory.rx_ring(slot)?.consume_before_looking(count)?;
        if !self.peer_status(slot).has(Status::IDLE) {
            self.notify(slot);
        }
        Ok(())
    }

    /// Gives `count` read bytes back without telling so, to a writer that does
    /// not wait for room.
    ///
    /// # Errors
    /// As [`Channel::readable`].
    pub fn consume_quietly(&mut self, slot: SlotIndex, count: usize) -> Result<(), Misbehaved> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.memory.rx_ring(slot)?.consume(count)
    }

    /// Copies bytes out and consumes them.
    ///
    /// # Errors
    /// As [`Channel::readable`].
    pub fn read(&mut self, slot: SlotIndex, out: &mut [u8]) -> Result<usize, Misbehaved> {
        let count = self.peek(slot, 0, out)?;
        if count > 0 {
            self.consume(slot, count)?;
        }
        Ok(count)
    }

    /// Appends as much of `bytes` as there is room for, posts an event, and
    /// returns how much it was.
    ///
    /// # Errors
    /// As [`Channel::readable`].
    pub fn write(&mut self, slot: SlotIndex, bytes: &[u8]) -> Result<usize, Misbehaved> {
        let count = self.write_quietly(slot, bytes)?;
        if count > 0 {
            self.notify(slot);
        }
        Ok(count)
    }

    /// As [`Channel::write`] without the event: that of the next write covers it.
    ///
    /// # Errors
    /// As [`Channel::readable`].
    pub fn write_quietly(&mut self, slot: SlotIndex, bytes: &[u8]) -> Result<usize, Misbehaved> {
        let memory = &self.memory;
        match &mut self.lending {
            Some(lending) => lending.write(slot, bytes, memory),
            None => memory.tx_ring(slot)?.write(bytes),
        }
    }

    /// The side that owns the slot takes back what it wrote and the other side
    /// did not consume: copies those bytes from `offset` on to `out`. Nothing
    /// is consumed; the slot is closed or reopened afterwards.
    ///
    /// # Errors
    /// As [`Channel::readable`].
    pub fn take_back(
        &self,
        slot: SlotIndex,
        offset: usize,
        out: &mut [u8],
    ) -> Result<usize, Misbehaved> {
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        let ring = self.memory.tx_ring(slot)?;
        match &self.lending {
            Some(lending) => ring.peek_at(lending.check(slot, &ring)?, offset, out),
            None => ring.peek(offset, out),
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod pools;
#[cfg(test)]
mod tests;

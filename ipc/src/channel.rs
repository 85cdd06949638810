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
mod life;
pub mod local;
mod memory;
mod records;
mod status;

use crate::ring::{Misbehaved, announce};
use crate::sync::{Ordering, load_acquire};
use alloc::boxed::Box;
use alloc::vec;
use events::Posted;

pub use events::untaken;
pub use joined::Joined;
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
pub const MAX_SLOTS: u16 = 4096;

const fn event_capacity(slots: u16) -> usize {
    (slots as usize + 1).next_power_of_two()
}

const fn slots_offset(slots: u16) -> usize {
    (HEADER_SIZE + event_capacity(slots) * 2).next_multiple_of(SLOT_HEADER_SIZE)
}

const fn data_offset(slots: u16) -> usize {
    (slots_offset(slots) + slots as usize * SLOT_HEADER_SIZE).next_multiple_of(PAGE)
}

/// Bytes of the region that one side writes, in whole pages of 4 KiB.
/// `ring_bytes` is the size of each ring *out of* that side: a power of two.
pub const fn region_size(slots: u16, ring_bytes: u32) -> usize {
    (data_offset(slots) + slots as usize * ring_bytes as usize).next_multiple_of(PAGE)
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
    mine: *mut u8,
    theirs: *const u8,
    slots: u16,
    /// Size of each ring out of this side.
    tx_capacity: u32,
    /// Size of each ring into this side.
    rx_capacity: u32,
    /// What follows from `slots`, so that it is not computed at each access: entries of
    /// the event queue, where the slots' words begin, and where the rings do.
    event_capacity: u32,
    slots_at: usize,
    data_at: usize,
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
    /// The region that this side writes: [`region_size`]`(slots, tx_ring)`
    /// bytes, aligned to 64.
    pub mine: *mut u8,
    /// The region that the other side writes: [`region_size`]`(slots,
    /// rx_ring)` bytes, aligned to 64.
    pub theirs: *const u8,
    /// Connections at once, at most [`MAX_SLOTS`].
    pub slots: u16,
    /// Bytes of each ring out of this side, a power of two.
    pub tx_ring: u32,
    /// Bytes of each ring into this side, a power of two.
    pub rx_ring: u32,
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
    /// At start-up, when a ring's size is no power of two, or too many slots.
    pub unsafe fn new(layout: Layout, doorbell: D) -> Self {
        assert!(layout.tx_ring.is_power_of_two() && layout.tx_ring <= 1 << 30);
        assert!(layout.rx_ring.is_power_of_two() && layout.rx_ring <= 1 << 30);
        assert!(layout.slots <= MAX_SLOTS);
        let Layout {
            mine,
            theirs,
            slots,
            tx_ring,
            rx_ring,
        } = layout;
        let never = u32::MAX;
        let mut channel = Self {
            mine,
            theirs,
            slots,
            tx_capacity: tx_ring,
            rx_capacity: rx_ring,
            event_capacity: event_capacity(slots) as u32,
            slots_at: slots_offset(slots),
            data_at: data_offset(slots),
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
        self.slots
    }

    /// Bytes that a ring out of this side can hold.
    pub fn tx_capacity(&self) -> usize {
        self.tx_capacity as usize
    }

    /// Bytes that a ring into this side can hold.
    pub fn rx_capacity(&self) -> usize {
        self.rx_capacity as usize
    }

    // ---- slots ----

    /// Opens `slot` afresh: both rings become empty, previous flags are cleared, and the
    /// generation is incremented. Only the side that owns the slots opens them.
    pub fn open(&mut self, slot: SlotIndex) {
        let (Some(mine), Some(theirs)) = (self.my_slot(slot), self.their_slot(slot)) else {
            return;
        };
        let their_tail = load_acquire(theirs.tail);
        let their_head = load_acquire(theirs.head);
        let generation = Status(mine.status.load(Ordering::Relaxed)).generation();
        mine.head.store(their_tail, Ordering::Relaxed);
        mine.tail.store(their_head, Ordering::Relaxed);
        let status = Status::new(generation.wrapping_add(1), Status::OPEN);
        mine.status.store(status.0, Ordering::Release);
    }

    /// Follows the other side's [`Channel::open`]: adopts its generation.
    pub fn follow(&mut self, slot: SlotIndex) {
        let (Some(mine), Some(theirs)) = (self.my_slot(slot), self.their_slot(slot)) else {
            return;
        };
        let generation = Status(load_acquire(theirs.status)).generation();
        let status = Status::new(generation, Status::OPEN);
        mine.status.store(status.0, Ordering::Release);
    }

    /// Whether the other side has opened `slot` and this side has not followed
    /// yet.
    pub fn is_opened(&self, slot: SlotIndex) -> bool {
        let theirs = self.their_slot(slot).map_or(0, |s| load_acquire(s.status));
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
        if let Some(mine) = self.my_slot(slot) {
            let generation = Status(mine.status.load(Ordering::Relaxed)).generation();
            let status = Status::new(generation, flags);
            mine.status.store(status.0, Ordering::Release);
        }
    }

    /// Adds `flags` to this side's status of `slot`. A reader that sees the flags also
    /// sees all bytes written before.
    pub fn set_status(&mut self, slot: SlotIndex, flags: u16) {
        if let Some(mine) = self.my_slot(slot) {
            let status = mine.status.load(Ordering::Relaxed) | u32::from(flags);
            mine.status.store(status, Ordering::Release);
        }
    }

    /// Says whether bytes wait for room in `slot`; only then does the reader
    /// tell of room. Check the room once more after `false`.
    pub fn set_idle(&mut self, slot: SlotIndex, is_idle: bool) {
        let Some(mine) = self.my_slot(slot) else {
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
        let status = self.my_slot(slot).map(|s| s.status.load(Ordering::Relaxed));
        Status(status.unwrap_or(0))
    }

    /// The other side's status of `slot`; no flag at all when it is of a previous
    /// generation. Read it before [`Channel::readable`]: with [`Status::END`] set, no
    /// byte comes after those found then.
    pub fn peer_status(&self, slot: SlotIndex) -> Status {
        let generation = self.status(slot).generation();
        let status = self.their_slot(slot).map_or(0, |s| load_acquire(s.status));
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
        Ok(self.rx_ring(slot)?.len()? as usize)
    }

    /// Bytes that can be written to `slot` now.
    ///
    /// # Errors
    /// As [`Channel::readable`].
    pub fn writable(&self, slot: SlotIndex) -> Result<usize, Misbehaved> {
        let ring = self.tx_ring(slot)?;
        Ok((ring.capacity - ring.len()?) as usize)
    }

    /// Bytes written to `slot` that the other side has not consumed.
    ///
    /// # Errors
    /// As [`Channel::readable`].
    pub fn unread(&self, slot: SlotIndex) -> Result<usize, Misbehaved> {
        Ok(self.tx_ring(slot)?.len()? as usize)
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
        self.rx_ring(slot)?.peek(offset, out)
    }

    /// Gives `count` read bytes back to the other side and posts an event, so
    /// that it learns of the room, unless it is [`Status::IDLE`].
    ///
    /// # Errors
    /// As [`Channel::readable`].
    pub fn consume(&mut self, slot: SlotIndex, count: usize) -> Result<(), Misbehaved> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.rx_ring(slot)?.consume_before_looking(count)?;
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
        self.rx_ring(slot)?.consume(count)
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
        self.tx_ring(slot)?.write(bytes)
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
        self.tx_ring(slot)?.peek(offset, out)
    }

    // ---- events ----

    /// Tells the other side that `slot` changed, unless it has left the slot or
    /// an event that it has not taken yet tells so already.
    pub fn notify(&mut self, slot: SlotIndex) {
        if slot < self.slots && !self.peer_status(slot).has(Status::LEFT) {
            self.post(usize::from(slot), slot);
        }
    }

    /// Tells the other side that there is something to ask for by a call.
    pub fn notify_control(&mut self) {
        self.post(usize::from(self.slots), CONTROL_EVENT);
    }

    /// Rings the doorbell if an event since the last flush needs it. Call it
    /// once after a batch of work.
    pub fn flush(&mut self) {
        if self.doorbell_due {
            self.doorbell_due = false;
            self.doorbell.ring();
        }
    }

    /// Whether [`Channel::next_event`] would find something.
    pub fn has_events(&self) -> bool {
        self.events_in().due() > 0
    }

    /// Where the oldest event that [`Channel::next_event`] would find stands.
    pub fn oldest_event(&self) -> Option<u32> {
        self.events_in().oldest()
    }

    /// How many events [`Channel::next_event`] would find, at most.
    pub(crate) fn events_due(&self) -> u32 {
        self.events_in().due()
    }

    /// Takes the oldest event; `None` when there is none. Entries that name no slot are
    /// skipped.
    pub fn next_event(&mut self) -> Option<Event> {
        let event = self.first_event()?;
        self.end_event();
        Some(event)
    }

    /// The oldest event, which is not taken before [`Channel::end_event`]: until then it
    /// covers what the other side does in its slot, and the doorbell is not rung for that.
    pub(crate) fn first_event(&mut self) -> Option<Event> {
        loop {
            match self.events_in().first()? {
                CONTROL_EVENT => return Some(Event::Control),
                slot if slot < self.slots => return Some(Event::Slot(slot)),
                _ => self.end_event(),
            }
        }
    }

    /// The oldest event is taken. Look into its slot once more after this.
    pub(crate) fn end_event(&mut self) {
        self.events_in().end_first();
    }

    fn post(&mut self, index: usize, entry: u16) {
        let Some(posted) = self.posted.get(index).copied() else {
            return;
        };
        match self.events_out().post(posted, entry) {
            Posted::Before => {}
            Posted::NoRoom => self.doorbell_due = true,
            Posted::Now { position, rings } => {
                if let Some(posted) = self.posted.get_mut(index) {
                    *posted = position;
                }
                self.doorbell_due |= rings;
            }
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

//! Rings that have no memory of their own: one side's blocks, lent to its slots.
//!
//! A pool has one writer, and it is this writer alone that lends and takes back: a slot
//! gets blocks as bytes are written to it, and gives those back that the reader has
//! consumed, when this side looks. Each slot has a guaranteed part. The rest is lent by
//! dynamic thresholds (Choudhury and Hahne, 1998): a slot may hold as much of it as is
//! left, so that one gets half of it, two a third each, and something is always there
//! for the next.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use super::SlotIndex;
use super::memory::Memory;
use crate::ring::{BLOCK, Misbehaved, Ring};

/// Slots that are looked at for consumed blocks when a writer finds too little room.
const LOOKS: u16 = 16;
/// Positions count bytes modulo 2³², their blocks modulo this.
const NUMBERS: u32 = u32::MAX / BLOCK + 1;

/// A pool of blocks of 1 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Bytes of all blocks.
    pub bytes: u32,
    /// Bytes that each slot can hold whatever others hold, two blocks at least: then a
    /// ring that is empty has room for one block's bytes wherever its index stands.
    pub guaranteed: u32,
}

impl Pool {
    /// The least that a slot can be guaranteed.
    pub const LEAST: u32 = 2 * BLOCK;
    /// The most bytes of a ring whose blocks are lent.
    pub const MAX_RING: u32 = 64 * BLOCK;
    /// The most blocks of one pool.
    pub const MAX_BLOCKS: u16 = u16::MAX;
    /// The most that a slot can be guaranteed.
    pub const MAX_GUARANTEED: u32 = 4 * BLOCK;
    /// The most that is lent beside what is guaranteed.
    pub const MAX_LENT: u32 = 8192 * BLOCK;
    /// What its writer keeps of a pool on the heap, at most, in bytes.
    pub const HEAP: usize = ((Self::MAX_LENT + Self::MAX_RING) / BLOCK) as usize * size_of::<u16>();
    /// The same of each slot.
    pub const HEAP_OF_SLOT: usize = size_of::<Held>()
        + size_of::<SlotIndex>()
        + (Self::MAX_GUARANTEED / BLOCK) as usize * size_of::<u16>();

    /// Blocks in all.
    pub(super) const fn blocks(self) -> u16 {
        (self.bytes / BLOCK) as u16
    }

    /// Whether it can serve `slots` rings of `ring` bytes.
    pub const fn suits(self, slots: u16, ring: u32) -> bool {
        let all = self.guaranteed as u64 * slots as u64;
        self.bytes.is_multiple_of(BLOCK)
            && self.bytes / BLOCK <= Self::MAX_BLOCKS as u32
            && self.guaranteed.is_multiple_of(BLOCK)
            && self.guaranteed >= Self::LEAST
            && self.guaranteed <= Self::MAX_GUARANTEED
            && self.guaranteed <= ring
            && ring <= Self::MAX_RING
            && all <= self.bytes as u64
            && self.bytes as u64 - all <= Self::MAX_LENT as u64
    }
}

/// What a slot holds: the blocks of so many positions in a row.
#[derive(Clone, Copy, Default)]
struct Held {
    /// Of the first block: its position in blocks.
    first: u32,
    count: u32,
}

impl Held {
    /// Bytes from the first block's beginning to `head`, in blocks that are held, or in the
    /// one that would be lent first.
    fn used(&self, head: u32) -> u32 {
        match self.count {
            0 => head % BLOCK,
            _ => head.wrapping_sub(self.first * BLOCK),
        }
    }
}

/// What can be written to a slot, by one look at its reader's index.
struct Room {
    /// Bytes.
    now: u32,
    /// What it would be if the pool had blocks without end.
    most: u32,
    /// Blocks that the reader is done with.
    done: u32,
}

/// The account of a pool, kept by its writer.
pub(super) struct Lending {
    /// Blocks that no slot holds, all zero.
    free: Vec<u16>,
    /// Those that came back from the slot that is looked at, as they were. It may have them
    /// again as they are: what is in them is of the same connection.
    returned: VecDeque<u16>,
    held: Box<[Held]>,
    /// Blocks that are guaranteed to slots that do not hold them.
    owed: u32,
    guaranteed: u32,
    /// Where the next look begins.
    hand: SlotIndex,
    /// Slots that had too little room for what was to be written, each once.
    short: VecDeque<SlotIndex>,
}

impl Lending {
    pub(super) fn new(pool: Pool, slots: u16) -> Self {
        let guaranteed = pool.guaranteed / BLOCK;
        Self {
            free: (0..pool.blocks()).rev().collect(),
            returned: VecDeque::with_capacity((Pool::MAX_RING / BLOCK) as usize),
            held: vec![Held::default(); usize::from(slots)].into_boxed_slice(),
            owed: guaranteed * u32::from(slots),
            guaranteed,
            hand: 0,
            short: VecDeque::with_capacity(usize::from(slots)),
        }
    }

    /// Bytes that can be written to `slot` now, with what its reader has consumed; if that
    /// is not enough for `wanted`, with what some others' have.
    pub(super) fn room(
        &mut self,
        slot: SlotIndex,
        wanted: u32,
        memory: &Memory,
    ) -> Result<u32, Misbehaved> {
        let own = memory.tx_ring(slot)?;
        Ok(self.room_for(slot, &own, wanted, memory)?.now)
    }

    /// The same, with all that one look has found.
    fn room_for(
        &mut self,
        slot: SlotIndex,
        own: &Ring<'_>,
        wanted: u32,
        memory: &Memory,
    ) -> Result<Room, Misbehaved> {
        let room = self.room_in(slot, own)?;
        if room.now >= wanted.min(room.most) {
            return Ok(room);
        }
        self.look_around(memory);
        self.room_in(slot, own)
    }

    /// Takes back what the readers of some slots have consumed.
    fn look_around(&mut self, memory: &Memory) {
        for _ in 0..LOOKS {
            let other = self.hand;
            self.hand = match usize::from(other) + 1 < self.held.len() {
                true => other + 1,
                false => 0,
            };
            let Ok(ring) = memory.tx_ring(other) else {
                continue;
            };
            match memory.is_left(other) {
                // Nobody reads what is there.
                true => self.empty(other, &ring),
                // One that lies is found out when it is written to.
                false => self.take_back(other, &ring).unwrap_or(()),
            }
            self.settle(&ring);
        }
    }

    /// A slot that was short of blocks and can have more now. Its reader need not tell of
    /// that: it may wait for more than it was given.
    pub(super) fn relieved(&mut self, memory: &Memory) -> Option<SlotIndex> {
        if self.short.is_empty() {
            return None;
        }
        self.look_around(memory);
        for _ in 0..self.short.len().min(usize::from(LOOKS)) {
            let slot = self.short.pop_front()?;
            let ring = memory.tx_ring(slot);
            let room = ring.and_then(|ring| self.room_in(slot, &ring));
            match room {
                Ok(Room { now: 0, most, .. }) if most > 0 => self.short.push_back(slot),
                _ => return Some(slot),
            }
        }
        None
    }

    /// As much of `bytes` as there is room for. Returns how much that was.
    pub(super) fn write(
        &mut self,
        slot: SlotIndex,
        bytes: &[u8],
        memory: &Memory,
    ) -> Result<usize, Misbehaved> {
        let wanted = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let ring = memory.tx_ring(slot)?;
        let room = self.room_for(slot, &ring, wanted, memory)?;
        let count = room.now.min(wanted);
        if count < wanted && room.most > count && !self.short.contains(&slot) {
            self.short.push_back(slot);
        }
        self.give_back(slot, &ring, room.done);
        self.lend(slot, &ring, count);
        self.settle(&ring);
        ring.append(bytes, count)
    }

    /// The ring is empty, whatever it held.
    pub(super) fn empty(&mut self, slot: SlotIndex, ring: &Ring<'_>) {
        if let Some(held) = self.held.get(usize::from(slot)) {
            self.give_back(slot, ring, held.count);
        }
        self.settle(ring);
    }

    /// How far the reader is, and how many bytes are left, if its index is one that the slot's
    /// blocks allow.
    pub(super) fn check(&self, slot: SlotIndex, ring: &Ring<'_>) -> Result<(u32, u32), Misbehaved> {
        let look = ring.len_and_tail()?;
        self.consumed(slot, look).map(|_| look)
    }

    /// Blocks of `slot` that its reader is done with. The one that is written to stays: it
    /// is of the guaranteed part.
    fn consumed(&self, slot: SlotIndex, (len, tail): (u32, u32)) -> Result<u32, Misbehaved> {
        let held = self.held.get(usize::from(slot)).ok_or(Misbehaved)?;
        let done = match held.count {
            0 => 0,
            _ => (tail / BLOCK).wrapping_sub(held.first) % NUMBERS,
        };
        // A tail that went back claims blocks that are others' now.
        match done + u32::from(len > 0) <= held.count {
            true => Ok(done),
            false => Err(Misbehaved),
        }
    }

    fn take_back(&mut self, slot: SlotIndex, ring: &Ring<'_>) -> Result<(), Misbehaved> {
        let count = self.consumed(slot, ring.len_and_tail()?)?;
        self.give_back(slot, ring, count);
        Ok(())
    }

    /// The first `count` blocks of `slot` go back to the pool.
    fn give_back(&mut self, slot: SlotIndex, ring: &Ring<'_>, count: u32) {
        let Some(held) = self.held.get_mut(usize::from(slot)) else {
            return;
        };
        for _ in 0..count.min(held.count) {
            self.returned.extend(ring.block(held.first * BLOCK));
            held.first = (held.first + 1) % NUMBERS;
            held.count -= 1;
            self.owed += u32::from(held.count < self.guaranteed);
        }
    }

    /// Nothing stays in the blocks that came back and did not go to the same slot again.
    fn settle(&mut self, ring: &Ring<'_>) {
        // Neighbours stay neighbours: they are copied at once.
        for block in self.returned.drain(..).rev() {
            ring.wipe(block);
            self.free.push(block);
        }
    }

    /// Room in `slot`'s blocks, and in those that it may still have, when what its reader
    /// has consumed has come back.
    fn room_in(&self, slot: SlotIndex, ring: &Ring<'_>) -> Result<Room, Misbehaved> {
        let done = self.consumed(slot, ring.len_and_tail()?)?;
        let held = self.held.get(usize::from(slot)).ok_or(Misbehaved)?;
        let kept = held.count - done;
        let missing = |count: u32| self.guaranteed.saturating_sub(count);
        let owed = self.owed + missing(kept) - missing(held.count);
        let spare = (self.free.len() as u32 + done).saturating_sub(owed);
        let lent = kept.saturating_sub(self.guaranteed);
        // Each one more is one less that is left.
        let more = spare.saturating_sub(lent).div_ceil(2);
        let count = (kept + missing(kept) + more).min(ring.capacity / BLOCK);
        let used = match kept {
            0 => ring.head() % BLOCK,
            _ => held.used(ring.head()) - done * BLOCK,
        };
        let room = |bytes: u32| bytes.saturating_sub(used);
        Ok(Room {
            now: room(count * BLOCK),
            most: room(ring.capacity),
            done,
        })
    }

    /// Lends what `count` bytes after the head need, which [`Lending::room_in`] found.
    fn lend(&mut self, slot: SlotIndex, ring: &Ring<'_>, count: u32) {
        let Some(held) = self.held.get_mut(usize::from(slot)) else {
            return;
        };
        let needed = held.used(ring.head()) + count;
        if held.count == 0 {
            held.first = ring.head() / BLOCK;
        }
        while held.count * BLOCK < needed
            && let Some(block) = self.returned.pop_front().or_else(|| self.free.pop())
        {
            ring.set_block((held.first + held.count).wrapping_mul(BLOCK), block);
            self.owed -= u32::from(held.count < self.guaranteed);
            held.count += 1;
        }
    }
}

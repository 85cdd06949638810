//! A single-producer single-consumer byte ring in shared memory.
//!
//! The two sides live in different domains and do not trust each other. Each index is
//! written by one side only, in memory that only this side can write: the producer owns
//! `head` and the data, the consumer owns `tail`. Both count bytes from zero and wrap at
//! 2³²; the ring holds `head - tail` bytes. An index read from the other side is an
//! untrusted value: it is read once, and if it claims more than the ring can hold, that
//! is [`Misbehaved`] and nothing is touched.
//!
//! The bytes themselves may change while they are read, if the producer is
//! hostile. A consumer therefore copies them out once and checks the copy.

use crate::sync::{self, AtomicU16, AtomicU32, Byte, Ordering, fence, load_acquire};

/// Bytes of a block that a pool lends to a ring.
pub(crate) const BLOCK: u32 = 1024;

/// The other side wrote an index that can't be: the ring is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misbehaved;

/// The memory of one ring as one side sees it; capacities are powers of two.
#[derive(Clone, Copy)]
pub(crate) struct Ring<'a> {
    /// Bytes ever produced; written by the producer.
    pub(crate) head: &'a AtomicU32,
    /// Bytes ever consumed; written by the consumer.
    pub(crate) tail: &'a AtomicU32,
    /// `capacity` bytes, or the blocks of the pool; written by the producer.
    pub(crate) data: *mut Byte,
    /// A power of two, at most 2³⁰.
    pub(crate) capacity: u32,
    /// The ring has no memory of its own, but blocks that are lent to it.
    pub(crate) blocks: Option<Blocks>,
}

/// Which blocks of a pool hold a ring's bytes.
#[derive(Clone, Copy)]
pub(crate) struct Blocks {
    /// A number for each block of the ring's capacity, by position; written by the
    /// producer.
    pub(crate) table: *const AtomicU16,
    /// Blocks in the pool.
    pub(crate) pool: u16,
}

impl Blocks {
    /// Where the number of the block at `position` stands in a ring of `capacity` bytes.
    fn number(&self, position: u32, capacity: u32) -> &AtomicU16 {
        let index = (position & (capacity - 1)) / BLOCK;
        // SAFETY: the table has `capacity / BLOCK` numbers.
        let number = unsafe { self.table.add(index as usize) };
        // SAFETY: it is mapped and aligned for as long as the channel lives, and only
        // ever accessed atomically; the consumer only loads.
        unsafe { &*number }
    }
}

impl Ring<'_> {
    /// Bytes produced and not yet consumed.
    pub(crate) fn len(&self) -> Result<u32, Misbehaved> {
        let head = load_acquire(self.head);
        let tail = load_acquire(self.tail);
        let len = head.wrapping_sub(tail);
        if len > self.capacity {
            return Err(Misbehaved);
        }
        Ok(len)
    }

    /// [`Ring::len`], and bytes ever consumed, by the same look.
    pub(crate) fn len_and_tail(&self) -> Result<(u32, u32), Misbehaved> {
        let tail = load_acquire(self.tail);
        let len = self.head().wrapping_sub(tail);
        match len > self.capacity {
            true => Err(Misbehaved),
            false => Ok((len, tail)),
        }
    }

    /// The producer's side: bytes ever produced.
    pub(crate) fn head(&self) -> u32 {
        self.head.load(Ordering::Relaxed)
    }

    /// The consumer's side: copies bytes from `offset` after the tail to
    /// `out` and consumes nothing. Returns how many bytes there were.
    pub(crate) fn peek(&self, offset: u32, out: &mut [u8]) -> Result<usize, Misbehaved> {
        let len = self.len()?;
        let tail = self.tail.load(Ordering::Relaxed);
        self.peek_at((len, tail), offset, out)
    }

    /// The same where `len` bytes from `tail` on are to be read, as was found before.
    pub(crate) fn peek_at(
        &self,
        (len, tail): (u32, u32),
        offset: u32,
        out: &mut [u8],
    ) -> Result<usize, Misbehaved> {
        let available = len.saturating_sub(offset);
        let count = available.min(u32::try_from(out.len()).unwrap_or(u32::MAX));
        if count == 0 {
            return Ok(0);
        }
        let position = tail.wrapping_add(offset);
        self.copy(position, count, |data, at, chunk| {
            let to = out.get_mut(at..).unwrap_or_default().as_mut_ptr();
            // SAFETY: `data` has `chunk` readable bytes (`Ring::copy`), `out`
            // has `count >= at + chunk` bytes, and the two do not overlap,
            // because no Rust reference to the shared memory ever exists.
            unsafe { sync::copy_out(data.cast_const(), to, chunk) }
        })?;
        Ok(count as usize)
    }

    /// The consumer's side: gives `count` bytes back to the producer; no more
    /// than there are.
    pub(crate) fn consume(&self, count: u32) -> Result<(), Misbehaved> {
        let count = count.min(self.len()?);
        let tail = self.tail.load(Ordering::Relaxed);
        self.tail.store(tail.wrapping_add(count), Ordering::Release);
        Ok(())
    }

    /// As [`Ring::consume`]; a reader that loads a word after this either finds what
    /// [`announce`] stored there, or the announcer finds these bytes gone.
    pub(crate) fn consume_before_looking(&self, count: u32) -> Result<(), Misbehaved> {
        self.consume(count)?;
        // Pairs with the fence in `announce`.
        fence(Ordering::SeqCst);
        Ok(())
    }

    /// The producer's side: appends as much of `bytes` as there is room for,
    /// and returns how much that was.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<usize, Misbehaved> {
        let room = self.capacity - self.len()?;
        self.append(bytes, room)
    }

    /// As [`Ring::write`], where the producer has found this much room.
    pub(crate) fn append(&self, bytes: &[u8], room: u32) -> Result<usize, Misbehaved> {
        let count = room.min(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        let head = self.head.load(Ordering::Relaxed);
        self.copy(head, count, |data, at, chunk| {
            let from = bytes.get(at..).unwrap_or_default().as_ptr();
            // SAFETY: `data` has `chunk` writable bytes (`Ring::copy`; the
            // producer's mapping is writable), `bytes` has `count >= at +
            // chunk` bytes, and the two do not overlap, because no Rust
            // reference to the shared memory ever exists.
            unsafe { sync::copy_in(from, data, chunk) }
        })?;
        self.head.store(head.wrapping_add(count), Ordering::Release);
        Ok(count as usize)
    }

    /// Visits the runs of memory that hold `count` bytes from `position` on: (memory,
    /// bytes visited before, length of the run). One or two in a ring's own memory; in a
    /// pool one for each block that does not come right after the last one in memory.
    fn copy(
        &self,
        position: u32,
        count: u32,
        mut visit: impl FnMut(*mut Byte, usize, usize),
    ) -> Result<(), Misbehaved> {
        let mut done = 0;
        while done < count {
            let at = position.wrapping_add(done) & (self.capacity - 1);
            let (place, end) = match self.blocks {
                None => (at, self.capacity - at),
                Some(blocks) => {
                    let number = |at| blocks.number(at, self.capacity).load(Ordering::Relaxed);
                    let inside = at & (BLOCK - 1);
                    let block = number(at);
                    // The consumer has it from the other side.
                    if block >= blocks.pool {
                        return Err(Misbehaved);
                    }
                    let (mut end, mut next) = (BLOCK - inside, block + 1);
                    while end < count - done && next < blocks.pool && number(at + end) == next {
                        (end, next) = (end + BLOCK, next + 1);
                    }
                    (u32::from(block) * BLOCK + inside, end)
                }
            };
            let run = end.min(count - done);
            // SAFETY: `at < capacity`, so this stays inside the ring's data, or the block
            // is one of the pool's.
            let memory = unsafe { self.data.add(place as usize) };
            visit(memory, done as usize, run as usize);
            done += run;
        }
        Ok(())
    }

    /// The producer's side: the block that holds `position`.
    pub(crate) fn block(&self, position: u32) -> Option<u16> {
        let number = self.blocks.as_ref()?.number(position, self.capacity);
        Some(number.load(Ordering::Relaxed))
    }

    /// The producer's side: zeroes a block of the pool.
    pub(crate) fn wipe(&self, block: u16) {
        if self.blocks.is_some_and(|blocks| block < blocks.pool) {
            // SAFETY: the block is one of the pool's.
            let memory = unsafe { self.data.add(usize::from(block) * BLOCK as usize) };
            // SAFETY: it has this many bytes, which the producer's mapping lets it write.
            unsafe { sync::wipe(memory, BLOCK as usize / 64) };
        }
    }

    /// The producer's side: from now on `block` holds `position`. A consumer sees this
    /// with the head that is stored after it.
    pub(crate) fn set_block(&self, position: u32, block: u16) {
        if let Some(blocks) = &self.blocks {
            let number = blocks.number(position, self.capacity);
            number.store(block, Ordering::Relaxed);
        }
    }
}

/// Stores a word that the other side reads after
/// [`Ring::consume_before_looking`]: either it finds `value`, or this side
/// finds the room that it made.
pub(crate) fn announce(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::Release);
    // Pairs with the fence in `consume_before_looking`.
    fence(Ordering::SeqCst);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct Memory {
        head: AtomicU32,
        tail: AtomicU32,
        data: Vec<u8>,
    }

    impl Memory {
        fn new(capacity: usize, start: u32) -> Self {
            Self {
                head: AtomicU32::new(start),
                tail: AtomicU32::new(start),
                data: vec![0; capacity],
            }
        }

        fn ring(&mut self) -> Ring<'_> {
            Ring {
                head: &self.head,
                tail: &self.tail,
                capacity: self.data.len() as u32,
                data: self.data.as_mut_ptr(),
                blocks: None,
            }
        }
    }

    #[test]
    fn bytes_come_out_in_order_across_both_wraps() {
        let mut memory = Memory::new(16, u32::MAX - 20);
        let ring = memory.ring();
        let mut next_in = 0u8;
        let mut next_out = 0u8;
        for round in 0..200 {
            let chunk: Vec<u8> = (0..round % 17).map(|i| next_in.wrapping_add(i)).collect();
            let written = ring.write(&chunk).unwrap();
            next_in = next_in.wrapping_add(written as u8);
            let mut out = [0; 5];
            let read = ring.peek(0, &mut out).unwrap();
            ring.consume(read as u32).unwrap();
            for byte in &out[..read] {
                assert_eq!(*byte, next_out);
                next_out = next_out.wrapping_add(1);
            }
        }
        assert!(next_out > 100);
    }

    #[test]
    fn a_full_ring_takes_no_more() {
        let mut memory = Memory::new(8, 0);
        let ring = memory.ring();
        assert_eq!(ring.write(&[1; 10]), Ok(8));
        assert_eq!(ring.write(&[1; 1]), Ok(0));
        ring.consume(3).unwrap();
        assert_eq!(ring.write(&[1; 10]), Ok(3));
    }

    #[test]
    fn an_index_that_claims_too_much_is_refused() {
        let mut memory = Memory::new(8, 0);
        let ring = memory.ring();
        ring.head.store(9, Ordering::Relaxed);
        assert_eq!(ring.peek(0, &mut [0; 4]), Err(Misbehaved));
        assert_eq!(ring.write(&[1]), Err(Misbehaved));
        ring.head.store(0, Ordering::Relaxed);
        ring.tail.store(1, Ordering::Relaxed);
        assert_eq!(ring.write(&[1]), Err(Misbehaved));
        assert_eq!(ring.consume(1), Err(Misbehaved));
    }

    #[test]
    fn peek_past_the_end_finds_nothing() {
        let mut memory = Memory::new(8, 0);
        let ring = memory.ring();
        ring.write(&[1, 2, 3]).unwrap();
        let mut out = [0; 4];
        assert_eq!(ring.peek(2, &mut out), Ok(1));
        assert_eq!(out[0], 3);
        assert_eq!(ring.peek(9, &mut out), Ok(0));
    }
}

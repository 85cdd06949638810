//! The ring, and the queue of events, under every order in which two threads' loads and stores can
//! happen, as far as loom models C11's memory; `cargo xtask test` runs it with
//! `--cfg loom`, and no other build sees it.
//!
//! `ring.rs` and `channel/events.rs` are compiled here a second time, over the
//! module `sync` below.
#![cfg(loom)]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "the models use a part of the ring"
)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../src/channel/events.rs"]
mod events;
#[path = "../src/ring.rs"]
mod ring;

/// The names of `src/sync.rs`, on loom's memory: a byte that is read while it
/// may be written ends the model.
mod sync {
    use std::slice;

    pub(crate) use loom::sync::atomic::{AtomicU16, AtomicU32, Ordering, fence};

    pub(crate) type Byte = loom::cell::UnsafeCell<u8>;

    pub(crate) fn load_acquire(word: &AtomicU32) -> u32 {
        let value = word.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        value
    }

    pub(crate) unsafe fn copy_out(from: *const Byte, to: *mut u8, count: usize) {
        // SAFETY: `count` cells are there.
        let cells = unsafe { slice::from_raw_parts(from, count) };
        // SAFETY: `count` bytes can be written at `to`.
        let out = unsafe { slice::from_raw_parts_mut(to, count) };
        for (cell, byte) in cells.iter().zip(out) {
            // SAFETY: loom sees to it that nobody writes the cell meanwhile.
            *byte = cell.with(|cell| unsafe { cell.read() });
        }
    }

    pub(crate) unsafe fn copy_in(from: *const u8, to: *mut Byte, count: usize) {
        // SAFETY: `count` bytes can be read at `from`.
        let bytes = unsafe { slice::from_raw_parts(from, count) };
        // SAFETY: `count` cells are there.
        let cells = unsafe { slice::from_raw_parts(to.cast_const(), count) };
        for (cell, byte) in cells.iter().zip(bytes) {
            // SAFETY: loom sees to it that nobody uses the cell meanwhile.
            cell.with_mut(|cell| unsafe { cell.write(*byte) });
        }
    }

    pub(crate) unsafe fn wipe(to: *mut Byte, pieces: usize) {
        // SAFETY: as many cells are there.
        let cells = unsafe { slice::from_raw_parts(to.cast_const(), 64 * pieces) };
        for cell in cells {
            // SAFETY: loom sees to it that nobody uses the cell meanwhile.
            cell.with_mut(|cell| unsafe { cell.write(0) });
        }
    }
}

use events::{Events, Posted};
use loom::sync::{Arc, Notify};
use loom::thread;
use ring::{Ring, announce};
use sync::{AtomicU16, AtomicU32, Byte, Ordering};

const CAPACITY: u32 = 2;
/// Both indices wrap within a test.
const START: u32 = u32::MAX;
const IDLE: u32 = 1;

struct Memory {
    head: AtomicU32,
    tail: AtomicU32,
    status: AtomicU32,
    data: Vec<Byte>,
}

// SAFETY: the bytes are loom's cells, which find every race.
unsafe impl Sync for Memory {}
// SAFETY: as above.
unsafe impl Send for Memory {}

impl Memory {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            head: AtomicU32::new(START),
            tail: AtomicU32::new(START),
            status: AtomicU32::new(IDLE),
            data: (0..CAPACITY).map(|_| Byte::new(0)).collect(),
        })
    }

    fn ring(&self) -> Ring<'_> {
        Ring {
            head: &self.head,
            tail: &self.tail,
            data: self.data.as_ptr().cast_mut(),
            capacity: CAPACITY,
            blocks: None,
        }
    }
}

#[test]
fn bytes_arrive_once_in_order_and_are_never_touched_by_both_sides() {
    loom::model(|| {
        let memory = Memory::new();
        let producer = thread::spawn({
            let memory = memory.clone();
            move || {
                let mut left: &[u8] = &[1, 2, 3];
                for _ in 0..2 {
                    let count = memory.ring().write(left).unwrap();
                    left = &left[count..];
                }
                left.len()
            }
        });
        let mut got: Vec<u8> = Vec::new();
        let mut take = || {
            let mut out = [0; CAPACITY as usize];
            let count = memory.ring().peek(0, &mut out).unwrap();
            got.extend(&out[..count]);
            memory.ring().consume(count as u32).unwrap();
        };
        take();
        take();
        let left = producer.join().unwrap();
        take();
        assert_eq!(got, &[1, 2, 3][..3 - left]);
        assert_eq!(memory.ring().len(), Ok(0));
    });
}

#[test]
fn a_writer_that_waits_for_room_sees_it_or_is_told_of_it() {
    loom::model(|| {
        let memory = Memory::new();
        assert_eq!(memory.ring().write(&[1, 2]), Ok(2));
        let reader = thread::spawn({
            let memory = memory.clone();
            move || {
                memory.ring().consume_before_looking(1).unwrap();
                memory.status.load(Ordering::Acquire) & IDLE == 0
            }
        });
        announce(&memory.status, 0);
        let sees = memory.ring().len().unwrap() < CAPACITY;
        let is_told = reader.join().unwrap();
        assert!(sees || is_told, "a lost wake-up");
    });
}

/// Slots of the queue of events.
const SLOTS: usize = 2;
/// No event stands there yet.
const NEVER: u32 = u32::MAX / 2;

/// One direction of a channel: its events, a word for each slot that stands for
/// the bytes in it, and the doorbell, which keeps one ring that nobody waited for.
struct Direction {
    head: AtomicU32,
    tail: AtomicU32,
    entries: Vec<AtomicU16>,
    written: [AtomicU32; SLOTS],
    doorbell: Notify,
}

impl Direction {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            head: AtomicU32::new(START),
            tail: AtomicU32::new(START),
            entries: (0..SLOTS).map(|_| AtomicU16::new(0)).collect(),
            written: [AtomicU32::new(0), AtomicU32::new(0)],
            doorbell: Notify::new(),
        })
    }

    fn events(&self) -> Events<'_> {
        Events {
            head: &self.head,
            tail: &self.tail,
            entries: self.entries.as_ptr(),
            capacity: SLOTS as u32,
        }
    }
}

/// The side that posts, as `Channel` does it.
struct Poster {
    direction: Arc<Direction>,
    posted: [u32; SLOTS],
    /// Events that were not there before.
    events: u32,
}

impl Poster {
    fn new(direction: &Arc<Direction>) -> Self {
        Self {
            direction: direction.clone(),
            posted: [NEVER; SLOTS],
            events: 0,
        }
    }

    /// Writes to `slot` and tells of it.
    fn write(&mut self, slot: usize) {
        let direction = &self.direction;
        let before = direction.written[slot].load(Ordering::Relaxed);
        direction.written[slot].store(before + 1, Ordering::Relaxed);
        match direction.events().post(self.posted[slot], slot as u16) {
            Posted::Before => {}
            Posted::NoRoom => panic!("more events than slots"),
            Posted::Now { position, rings } => {
                self.posted[slot] = position;
                self.events += 1;
                if rings {
                    direction.doorbell.notify();
                }
            }
        }
    }
}

/// The side that takes.
struct Taker {
    direction: Arc<Direction>,
    /// It looks into a slot before it takes its event, and once more after that, as a
    /// mailbox does.
    stays: bool,
    seen: [u32; SLOTS],
    events: u32,
}

impl Taker {
    fn new(direction: &Arc<Direction>, stays: bool) -> Self {
        Self {
            direction: direction.clone(),
            stays,
            seen: [0; SLOTS],
            events: 0,
        }
    }

    /// Takes all events there are.
    fn take_all(&mut self) {
        while let Some(slot) = self.direction.events().first() {
            let slot = usize::from(slot);
            if self.stays {
                self.look(slot);
            }
            self.direction.events().end_first();
            self.look(slot);
            self.events += 1;
        }
    }

    fn look(&mut self, slot: usize) {
        self.seen[slot] = self.direction.written[slot].load(Ordering::Relaxed);
    }

    /// Waits for the doorbell whenever there is no event, until it has seen
    /// everything. A ring that is lost leaves it there for ever, which ends the
    /// model.
    fn take_until(&mut self, wanted: [u32; SLOTS]) {
        loop {
            self.take_all();
            if self.seen == wanted {
                return;
            }
            self.direction.doorbell.wait();
        }
    }
}

/// Posts `slots` one after the other against a side that takes and waits.
fn everything_is_told(slots: &'static [usize], stays: bool) {
    loom::model(move || {
        let direction = Direction::new();
        let poster = thread::spawn({
            let mut poster = Poster::new(&direction);
            move || {
                for slot in slots {
                    poster.write(*slot);
                }
                poster.events
            }
        });
        let mut taker = Taker::new(&direction, stays);
        let count = |slot| slots.iter().filter(|s| **s == slot).count() as u32;
        taker.take_until([count(0), count(1)]);
        let posted = poster.join().unwrap();
        // An event that told of nothing new, at most.
        taker.take_all();
        assert_eq!(taker.events, posted, "an event is lost or doubled");
        assert_eq!(direction.events().outstanding().count(), 0);
    });
}

#[test]
fn what_is_written_to_one_slot_is_told_of_however_often() {
    for stays in [false, true] {
        everything_is_told(&[0, 0, 0], stays);
    }
}

#[test]
fn what_is_written_to_two_slots_is_told_of() {
    for stays in [false, true] {
        everything_is_told(&[0, 1, 0], stays);
    }
}

#[test]
fn two_sides_that_wait_for_each_other_are_woken() {
    for stays in [false, true] {
        two_sides_wait_for_each_other(stays);
    }
}

fn two_sides_wait_for_each_other(stays: bool) {
    loom::model(move || {
        let (there, back) = (Direction::new(), Direction::new());
        let other = thread::spawn({
            let (mut taker, mut poster) = (Taker::new(&there, stays), Poster::new(&back));
            move || {
                taker.take_until([1, 0]);
                poster.write(0);
                taker.take_until([1, 1]);
            }
        });
        let (mut poster, mut taker) = (Poster::new(&there), Taker::new(&back, stays));
        poster.write(0);
        taker.take_until([1, 0]);
        poster.write(1);
        other.join().unwrap();
    });
}

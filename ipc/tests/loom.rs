//! The ring under every order in which two threads' loads and stores can
//! happen, as far as loom models C11's memory; `cargo xtask test` runs it with
//! `--cfg loom`, and no other build sees it.
//!
//! `ring.rs` is compiled here a second time, over the module `sync` below.
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

#[path = "../src/ring.rs"]
mod ring;

/// The names of `src/sync.rs`, on loom's memory: a byte that is read while it
/// may be written ends the model.
mod sync {
    use std::slice;

    pub(crate) use loom::sync::atomic::{AtomicU32, Ordering, fence};

    pub(crate) type Byte = loom::cell::UnsafeCell<u8>;

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
}

use loom::sync::Arc;
use loom::thread;
use ring::{Ring, announce};
use sync::{AtomicU32, Byte, Ordering};

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

//! Both sides of a channel in one process, for tests and benchmarks.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::UnsafeCell;

use super::{Channel, Doorbell, Layout, Pool, region_size};

#[repr(C, align(64))]
struct Line(UnsafeCell<[u8; 64]>);

struct Region(Vec<Line>);

// SAFETY: the memory is only accessed through two `Channel`s, which use
// atomics for the words that both touch.
unsafe impl Sync for Region {}
// SAFETY: as above; the memory itself belongs to no thread.
unsafe impl Send for Region {}

impl Region {
    fn new(size: usize) -> Self {
        let lines = size.div_ceil(64);
        Self((0..lines).map(|_| Line(UnsafeCell::new([0; 64]))).collect())
    }

    fn start(&self) -> *mut u8 {
        self.0
            .first()
            .map_or(core::ptr::null_mut(), |l| l.0.get().cast())
    }
}

/// Keeps the memory alive as long as one side lives, and wakes by `D`.
pub struct LocalDoorbell<D> {
    inner: D,
    _memory: (Arc<Region>, Arc<Region>),
}

impl<D: Doorbell> Doorbell for LocalDoorbell<D> {
    fn ring(&self) {
        self.inner.ring();
    }
}

/// One side of a channel inside one process.
pub type LocalChannel<D> = Channel<LocalDoorbell<D>>;

impl<D: Doorbell> LocalChannel<D> {
    /// This side ends, and another begins on the same memory.
    pub fn restart(self) -> Self {
        let layout = Layout {
            mine: self.memory.mine,
            theirs: self.memory.theirs,
            slots: self.memory.slots,
            tx_ring: self.memory.tx.capacity,
            rx_ring: self.memory.rx.capacity,
            tx_pool: self.memory.tx.pool,
            rx_pool: self.memory.rx.pool,
        };
        // SAFETY: `self`, which is gone, was promised the same.
        unsafe { Self::new(layout, self.doorbell) }
    }
}

/// A channel of `slots` slots; `a_ring` and `b_ring` are the bytes of each
/// ring out of the first and out of the second side; `wake_b` is rung by
/// the first side, `wake_a` by the second.
pub fn pair<A: Doorbell, B: Doorbell>(
    slots: u16,
    a_ring: u32,
    b_ring: u32,
    wake_b: A,
    wake_a: B,
) -> (LocalChannel<A>, LocalChannel<B>) {
    pair_of(slots, (a_ring, None), (b_ring, None), wake_b, wake_a)
}

/// As [`pair`], with what lends the rings of each direction their blocks.
pub fn pair_of<A: Doorbell, B: Doorbell>(
    slots: u16,
    (a_ring, a_pool): (u32, Option<Pool>),
    (b_ring, b_pool): (u32, Option<Pool>),
    wake_b: A,
    wake_a: B,
) -> (LocalChannel<A>, LocalChannel<B>) {
    let a = Arc::new(Region::new(region_size(slots, a_ring, a_pool)));
    let b = Arc::new(Region::new(region_size(slots, b_ring, b_pool)));
    let side_a = Layout {
        mine: a.start(),
        theirs: b.start(),
        slots,
        tx_ring: a_ring,
        rx_ring: b_ring,
        tx_pool: a_pool,
        rx_pool: b_pool,
    };
    let side_b = Layout {
        mine: b.start(),
        theirs: a.start(),
        slots,
        tx_ring: b_ring,
        rx_ring: a_ring,
        tx_pool: b_pool,
        rx_pool: a_pool,
    };
    let bell_a = LocalDoorbell {
        inner: wake_b,
        _memory: (a.clone(), b.clone()),
    };
    let bell_b = LocalDoorbell {
        inner: wake_a,
        _memory: (a, b),
    };
    // SAFETY: the regions are zeroed, aligned to 64, of the size that the
    // layout asks for, mirrored, and kept alive by the doorbells.
    let side_a = unsafe { Channel::new(side_a, bell_a) };
    // SAFETY: as above.
    let side_b = unsafe { Channel::new(side_b, bell_b) };
    (side_a, side_b)
}

/// A doorbell that wakes nobody: the test polls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Doorbell for Silent {
    fn ring(&self) {}
}

//! Counts what a test holds on the heap, as the budget counts it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use ipc::budget::block;

/// The system's heap, with a count.
pub(crate) struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all memory comes from the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.fetch_add(block(layout.size()), Relaxed) + block(layout.size());
        PEAK.fetch_max(used, Relaxed);
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block_: *mut u8, layout: Layout) {
        USED.fetch_sub(block(layout.size()), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(block_, layout) }
    }
}

/// Bytes in use.
pub(crate) fn used() -> usize {
    USED.load(Relaxed)
}

/// The most bytes in use since the last call.
#[allow(dead_code, reason = "not every test needs both")]
pub(crate) fn peak() -> usize {
    PEAK.swap(used(), Relaxed)
}

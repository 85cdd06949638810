//! Counts what a test holds on the heap, as the budget counts it: for each thread, since
//! other tests run at the same time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ipc::budget::block;

/// The system's heap, with a count.
pub(crate) struct Counting;

/// Where the count begins: a thread may free what another one allocated, and differences
/// alone are looked at.
const START: usize = 1 << 40;

thread_local! {
    static USED: Cell<usize> = const { Cell::new(START) };
    static PEAK: Cell<usize> = const { Cell::new(START) };
}

fn set(change: impl FnOnce(usize) -> usize) {
    // A thread that ends has no cell any more.
    let _ = USED.try_with(|used| {
        used.set(change(used.get()));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(used.get())));
    });
}

// SAFETY: all memory comes from the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        set(|used| used + block(layout.size()));
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block_: *mut u8, layout: Layout) {
        set(|used| used - block(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(block_, layout) }
    }
}

/// Bytes in use, from [`START`] on.
pub(crate) fn used() -> usize {
    USED.get()
}

/// The most bytes in use since the last call, from [`START`] on.
#[allow(dead_code, reason = "not every test needs both")]
pub(crate) fn peak() -> usize {
    PEAK.replace(used())
}

//! The heap of the gateway, apart from that of the world around it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
    static USED: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Counts what is allocated and freed while the gateway runs.
pub(crate) struct Counting;

fn count(bytes: isize) {
    // A thread that ends has no cell any more.
    let _ = IS_INSIDE.try_with(|is_inside| {
        if is_inside.get() {
            USED.with(|used| {
                used.set(used.get() + bytes);
                PEAK.with(|peak| peak.set(peak.get().max(used.get())));
            });
        }
    });
}

// SAFETY: all memory comes from the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

fn with<R>(is_inside: bool, act: impl FnOnce() -> R) -> R {
    let before = IS_INSIDE.replace(is_inside);
    let result = act();
    IS_INSIDE.set(before);
    result
}

/// The gateway does it.
pub(crate) fn inside<R>(act: impl FnOnce() -> R) -> R {
    with(true, act)
}

/// The caller does it.
pub(crate) fn outside<R>(act: impl FnOnce() -> R) -> R {
    with(false, act)
}

/// Bytes in use, and the most that there were.
pub(crate) fn used() -> (isize, isize) {
    (USED.get(), PEAK.get())
}

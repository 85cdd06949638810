//! The heap. What is freed is zeroed: key material passes through.

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering, compiler_fence};

use talc::TalcLock;
use talc::source::Manual;

struct Zeroizing(TalcLock<spin::Mutex<()>, Manual>);

#[cfg_attr(handoff_guest, global_allocator)]
static HEAP: Zeroizing = Zeroizing(TalcLock::new(Manual));
static USED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all memory comes from talc, which keeps the contract.
unsafe impl GlobalAlloc for Zeroizing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps GlobalAlloc's contract.
        let block = unsafe { self.0.alloc(layout) };
        if !block.is_null() {
            let used = USED.load(Ordering::Relaxed).wrapping_add(layout.size());
            USED.store(used, Ordering::Relaxed);
            if used > PEAK.load(Ordering::Relaxed) {
                PEAK.store(used, Ordering::Relaxed);
            }
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block has that size and nobody else uses it any more.
        unsafe { core::ptr::write_bytes(block, 0, layout.size()) };
        // The writes happen although the block is never read again.
        compiler_fence(Ordering::SeqCst);
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { self.0.dealloc(block, layout) };
        let used = USED.load(Ordering::Relaxed).wrapping_sub(layout.size());
        USED.store(used, Ordering::Relaxed);
    }

    // `realloc` is the default: a new block, a copy, and `dealloc` above,
    // which zeroes the old one.
}

/// Makes `size` bytes at `base` the heap.
///
/// # Safety
/// Nothing else uses that memory, ever.
pub(super) unsafe fn claim(base: *mut u8, size: usize) {
    // SAFETY: the caller passes ownership of the memory.
    let claimed = unsafe { HEAP.0.lock().claim(base, size) };
    assert!(claimed.is_some(), "no heap");
}

/// Bytes in use on the heap.
pub fn heap_used() -> usize {
    USED.load(Ordering::Relaxed)
}

/// The most bytes that were in use on the heap at once.
pub fn heap_peak() -> usize {
    PEAK.load(Ordering::Relaxed)
}

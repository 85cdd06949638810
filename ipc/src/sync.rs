//! What [`ring`](crate::ring) and the events of [`channel`](crate::channel) need
//! of the machine. `tests/loom.rs` puts the
//! same names on a model of memory in place of these.

use core::ptr;

pub(crate) use core::sync::atomic::{AtomicU16, AtomicU32, Ordering, fence};

/// One byte of shared memory.
pub(crate) type Byte = u8;

/// Copies shared memory out.
///
/// # Safety
/// `count` bytes are readable at `from` and writable at `to`, which do not
/// overlap.
pub(crate) unsafe fn copy_out(from: *const Byte, to: *mut u8, count: usize) {
    // SAFETY: as the caller promises.
    unsafe { ptr::copy_nonoverlapping(from, to, count) }
}

/// Copies into shared memory.
///
/// # Safety
/// `count` bytes are readable at `from` and writable at `to`, which do not
/// overlap.
pub(crate) unsafe fn copy_in(from: *const u8, to: *mut Byte, count: usize) {
    // SAFETY: as the caller promises.
    unsafe { ptr::copy_nonoverlapping(from, to, count) }
}

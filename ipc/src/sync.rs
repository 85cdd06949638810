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
    let mut at = 0;
    while count - at >= BLOCK {
        // SAFETY: as many bytes are left as the caller promises.
        unsafe { fetch_block(from.wrapping_add(at), to.wrapping_add(at)) };
        at += BLOCK;
    }
    while count - at >= size_of::<Word>() {
        // SAFETY: as above.
        unsafe { fetch::<Word>(from, to, at) };
        at += size_of::<Word>();
    }
    while at < count {
        // SAFETY: as above.
        unsafe { fetch::<u8>(from, to, at) };
        at += 1;
    }
}

/// A part of shared memory that is fetched at once, at any address.
#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Word(u64);

/// Bytes of [`fetch_block`].
const BLOCK: usize = 64;

/// Fetches a block by four vector registers. Written down, and not left to the compiler,
/// which may read memory twice that it copies.
///
/// # Safety
/// [`BLOCK`] bytes are readable at `from` and writable at `to`.
#[inline(always)]
unsafe fn fetch_block(from: *const Byte, to: *mut u8) {
    // SAFETY: reads and writes those bytes alone.
    unsafe {
        core::arch::asm!(
            "movups {a}, [{from}]",
            "movups {b}, [{from} + 16]",
            "movups {c}, [{from} + 32]",
            "movups {d}, [{from} + 48]",
            "movups [{to}], {a}",
            "movups [{to} + 16], {b}",
            "movups [{to} + 32], {c}",
            "movups [{to} + 48], {d}",
            from = in(reg) from, to = in(reg) to,
            a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
            options(nostack, preserves_flags),
        );
    }
}

/// Fetches one `T`, once: another domain may write there, so the compiler must neither
/// read it again later nor leave it out.
///
/// # Safety
/// `at + size_of::<T>()` bytes are readable at `from` and writable at `to`.
#[inline(always)]
unsafe fn fetch<T: Copy>(from: *const Byte, to: *mut u8, at: usize) {
    let from = from.wrapping_add(at).cast::<T>();
    // SAFETY: readable; `T` is of bytes alone, and needs no alignment.
    let part = unsafe { from.read_volatile() };
    let to = to.wrapping_add(at).cast::<T>();
    // SAFETY: writable; as above.
    unsafe { to.write(part) };
}

/// Reads a word that another domain writes, and what was written before it. In place of
/// an `Acquire` load, which memory that is mapped read-only here does not allow
/// (`core::sync::atomic`, "Atomic accesses to read-only memory").
#[inline(always)]
pub(crate) fn load_acquire(word: &AtomicU32) -> u32 {
    let value = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    value
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_at_every_alignment_is_copied_whole_and_nothing_beside() {
        let from: Vec<u8> = (0..400u32).map(|i| (i % 251) as u8 + 1).collect();
        for count in 0..300 {
            for offset in 0..20 {
                let mut to = [0; 340];
                let target = to[offset..].as_mut_ptr();
                // SAFETY: both have as many bytes, and are apart.
                unsafe { copy_out(from[offset..].as_ptr(), target, count) };
                assert_eq!(to[offset..offset + count], from[offset..offset + count]);
                assert!(to[..offset].iter().all(|byte| *byte == 0));
                assert!(to[offset + count..].iter().all(|byte| *byte == 0));
            }
        }
    }
}

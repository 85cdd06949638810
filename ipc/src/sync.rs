//! What [`ring`](crate::ring) and the events of [`channel`](crate::channel) need
//! of the machine. `tests/loom.rs` puts the
//! same names on a model of memory in place of these.

use core::arch::asm;
use core::ptr;

pub(crate) use core::sync::atomic::{AtomicU16, AtomicU32, Ordering, fence};

/// One byte of shared memory.
pub(crate) type Byte = u8;

/// Bytes that [`copy_out`] fetches in one round.
const BLOCK: usize = 128;

/// Copies shared memory out.
///
/// Another domain may write there meanwhile, so each byte is fetched once. Explicit,
/// because the compiler may read memory twice when it copies it.
///
/// # Safety
/// `count` bytes are readable at `from` and writable at `to`, which do not
/// overlap.
pub(crate) unsafe fn copy_out(from: *const Byte, to: *mut u8, count: usize) {
    let blocks = count & !(BLOCK - 1);
    let (from, to) = (from.wrapping_add(blocks), to.wrapping_add(blocks));
    // SAFETY: reads and writes those `count` bytes alone: whole blocks, with an index
    // that counts up to zero, and then what is left.
    unsafe {
        asm!(
            "test {at}, {at}",
            "jz 3f",
            "2:",
            "movups {a}, [{from} + {at}]",
            "movups {b}, [{from} + {at} + 16]",
            "movups {c}, [{from} + {at} + 32]",
            "movups {d}, [{from} + {at} + 48]",
            "movups [{to} + {at}], {a}",
            "movups [{to} + {at} + 16], {b}",
            "movups [{to} + {at} + 32], {c}",
            "movups [{to} + {at} + 48], {d}",
            "movups {a}, [{from} + {at} + 64]",
            "movups {b}, [{from} + {at} + 80]",
            "movups {c}, [{from} + {at} + 96]",
            "movups {d}, [{from} + {at} + 112]",
            "movups [{to} + {at} + 64], {a}",
            "movups [{to} + {at} + 80], {b}",
            "movups [{to} + {at} + 96], {c}",
            "movups [{to} + {at} + 112], {d}",
            "add {at}, 128",
            "jnz 2b",
            "3:",
            // What is left, by the bits of the count; most messages are short.
            "test {count:l}, 0x78",
            "jz 7f",
            "test {count:l}, 64",
            "jz 4f",
            "movups {a}, [{from} + {at}]",
            "movups {b}, [{from} + {at} + 16]",
            "movups {c}, [{from} + {at} + 32]",
            "movups {d}, [{from} + {at} + 48]",
            "movups [{to} + {at}], {a}",
            "movups [{to} + {at} + 16], {b}",
            "movups [{to} + {at} + 32], {c}",
            "movups [{to} + {at} + 48], {d}",
            "add {at}, 64",
            "4:",
            "test {count:l}, 32",
            "jz 5f",
            "movups {a}, [{from} + {at}]",
            "movups {b}, [{from} + {at} + 16]",
            "movups [{to} + {at}], {a}",
            "movups [{to} + {at} + 16], {b}",
            "add {at}, 32",
            "5:",
            "test {count:l}, 16",
            "jz 6f",
            "movups {a}, [{from} + {at}]",
            "movups [{to} + {at}], {a}",
            "add {at}, 16",
            "6:",
            "test {count:l}, 8",
            "jz 7f",
            "movq {a}, qword ptr [{from} + {at}]",
            "movq qword ptr [{to} + {at}], {a}",
            "add {at}, 8",
            "7:",
            "test {count:l}, 4",
            "jz 8f",
            "movd {a}, dword ptr [{from} + {at}]",
            "movd dword ptr [{to} + {at}], {a}",
            "add {at}, 4",
            "8:",
            "test {count:l}, 2",
            "jz 9f",
            "movzx {part:e}, word ptr [{from} + {at}]",
            "mov word ptr [{to} + {at}], {part:x}",
            "add {at}, 2",
            "9:",
            "test {count:l}, 1",
            "jz 22f",
            "movzx {part:e}, byte ptr [{from} + {at}]",
            "mov byte ptr [{to} + {at}], {part:l}",
            "22:",
            at = inout(reg) blocks.wrapping_neg() => _,
            from = in(reg) from, to = in(reg) to, count = in(reg) count, part = out(reg) _,
            a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
            options(nostack),
        );
    }
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

/// Zeroes shared memory: so many pieces of 64 bytes, one at the least.
///
/// Explicit, because the compiler makes a repeated store of it, which an emulator that
/// counts instructions charges for each byte (as in `sel4::runtime`).
///
/// # Safety
/// `64 * pieces` bytes are writable at `to`.
pub(crate) unsafe fn wipe(to: *mut Byte, pieces: usize) {
    // SAFETY: writes those bytes alone.
    unsafe {
        asm!(
            "xorps {x}, {x}",
            "2:",
            "movups [{to}], {x}",
            "movups [{to} + 16], {x}",
            "movups [{to} + 32], {x}",
            "movups [{to} + 48], {x}",
            "add {to}, 64",
            "dec {pieces}",
            "jnz 2b",
            x = out(xmm_reg) _, to = inout(reg) to => _, pieces = inout(reg) pieces => _,
            options(nostack),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_at_every_alignment_is_copied_whole_and_nothing_beside() {
        let from: Vec<u8> = (0..800u32).map(|i| (i % 251) as u8 + 1).collect();
        for count in 0..700 {
            for offset in 0..20 {
                let mut to = [0; 740];
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

//! The C memory functions that compiled code calls.
//!
//! Wide moves instead of `rep movsb`: an emulator that counts instructions
//! charges a repeated move for each byte.

use core::arch::asm;

/// # Safety
/// As in C: `count` readable bytes at `from`, writable at `to`, apart.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the caller keeps the contract.
    unsafe { forward(to, from, count) };
    to
}

/// # Safety
/// As in C: `count` readable bytes at `from`, writable at `to`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= count {
        // SAFETY: the caller keeps the contract, and no source byte is
        // overwritten before it is read.
        unsafe { forward(to, from, count) };
    } else {
        // SAFETY: as above, from the other end.
        unsafe { backward(to, from, count) };
    }
    to
}

/// # Safety
/// As in C: `count` writable bytes at `to`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, count: usize) -> *mut u8 {
    let pattern = u64::from(value as u8) * 0x0101_0101_0101_0101;
    if count < 16 {
        // SAFETY: the caller gives `count` writable bytes.
        unsafe { set_small(to, pattern, count) };
        return to;
    }
    // SAFETY: writes only the `count` bytes at `to`: whole blocks first, then
    // the last 16 bytes, which may overlap what was written.
    unsafe {
        asm!(
            "movq {x}, {pattern}",
            "punpcklqdq {x}, {x}",
            "lea {end}, [{to} + {count}]",
            "sub {count}, 64",
            "jb 3f",
            "2:",
            "movups [{to}], {x}",
            "movups [{to} + 16], {x}",
            "movups [{to} + 32], {x}",
            "movups [{to} + 48], {x}",
            "add {to}, 64",
            "sub {count}, 64",
            "jae 2b",
            "3:",
            "add {count}, 64",
            "sub {count}, 16",
            "jb 5f",
            "4:",
            "movups [{to}], {x}",
            "add {to}, 16",
            "sub {count}, 16",
            "jae 4b",
            "5:",
            "movups [{end} - 16], {x}",
            x = out(xmm_reg) _, pattern = in(reg) pattern, to = inout(reg) to => _,
            count = inout(reg) count => _, end = out(reg) _,
            options(nostack),
        );
    }
    to
}

/// # Safety
/// As in C: `count` readable bytes at both.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    let mut at = 0;
    while count - at >= 8 {
        // SAFETY: eight bytes are left at `left`.
        let a = unsafe { left.wrapping_add(at).cast::<u64>().read_unaligned() };
        // SAFETY: eight bytes are left at `right`.
        let b = unsafe { right.wrapping_add(at).cast::<u64>().read_unaligned() };
        if a != b {
            return if a.swap_bytes() < b.swap_bytes() {
                -1
            } else {
                1
            };
        }
        at += 8;
    }
    while at < count {
        // SAFETY: `at` is below `count`.
        let a = unsafe { left.wrapping_add(at).read() };
        // SAFETY: `at` is below `count`.
        let b = unsafe { right.wrapping_add(at).read() };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
        at += 1;
    }
    0
}

/// # Safety
/// As `memcmp`.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    // SAFETY: the caller keeps the contract.
    unsafe { memcmp(left, right, count) }
}

/// # Safety
/// As in C: a string that ends with a zero byte.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: no byte after the zero byte is read.
    while unsafe { text.wrapping_add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}

/// Copies from the low end; right when `to` is not inside `from..from + count`.
///
/// # Safety
/// `count` readable bytes at `from`, writable at `to`.
#[inline(always)]
unsafe fn forward(to: *mut u8, from: *const u8, count: usize) {
    if count < 16 {
        // SAFETY: the caller keeps the contract.
        unsafe { copy_small(to, from, count) };
        return;
    }
    // SAFETY: reads and writes only the `count` bytes: blocks from the low end, then
    // the last 16 bytes, which were read before any write. The addresses are those
    // after the last byte, and the index counts up: less to add in each round.
    unsafe {
        asm!(
            "movups {last}, [{from} + {count} - 16]",
            "add {from}, {count}",
            "add {to}, {count}",
            "neg {count}",
            "add {count}, 128",
            "jg 3f",
            "2:",
            "movups {a}, [{from} + {count} - 128]",
            "movups {b}, [{from} + {count} - 112]",
            "movups {c}, [{from} + {count} - 96]",
            "movups {d}, [{from} + {count} - 80]",
            "movups [{to} + {count} - 128], {a}",
            "movups [{to} + {count} - 112], {b}",
            "movups [{to} + {count} - 96], {c}",
            "movups [{to} + {count} - 80], {d}",
            "movups {a}, [{from} + {count} - 64]",
            "movups {b}, [{from} + {count} - 48]",
            "movups {c}, [{from} + {count} - 32]",
            "movups {d}, [{from} + {count} - 16]",
            "movups [{to} + {count} - 64], {a}",
            "movups [{to} + {count} - 48], {b}",
            "movups [{to} + {count} - 32], {c}",
            "movups [{to} + {count} - 16], {d}",
            "add {count}, 128",
            "jle 2b",
            "3:",
            "sub {count}, 64",
            "jg 4f",
            "movups {a}, [{from} + {count} - 64]",
            "movups {b}, [{from} + {count} - 48]",
            "movups {c}, [{from} + {count} - 32]",
            "movups {d}, [{from} + {count} - 16]",
            "movups [{to} + {count} - 64], {a}",
            "movups [{to} + {count} - 48], {b}",
            "movups [{to} + {count} - 32], {c}",
            "movups [{to} + {count} - 16], {d}",
            "add {count}, 64",
            "4:",
            "sub {count}, 48",
            "jg 6f",
            "5:",
            "movups {a}, [{from} + {count} - 16]",
            "movups [{to} + {count} - 16], {a}",
            "add {count}, 16",
            "jle 5b",
            "6:",
            "movups [{to} - 16], {last}",
            a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
            last = out(xmm_reg) _,
            to = inout(reg) to => _, from = inout(reg) from => _,
            count = inout(reg) count => _,
            options(nostack),
        );
    }
}

/// Copies from the high end; right when `from` is not inside `to..to + count`.
///
/// # Safety
/// `count` readable bytes at `from`, writable at `to`.
#[inline(always)]
unsafe fn backward(to: *mut u8, from: *const u8, count: usize) {
    if count < 16 {
        // SAFETY: the caller keeps the contract.
        unsafe { copy_small(to, from, count) };
        return;
    }
    // SAFETY: reads and writes only the `count` bytes: blocks from the high
    // end, then the first 16 bytes, which were read before any write.
    unsafe {
        asm!(
            "movups {first}, [{from}]",
            "sub {count}, 16",
            "jbe 3f",
            "2:",
            "movups {a}, [{from} + {count}]",
            "movups [{to} + {count}], {a}",
            "sub {count}, 16",
            "ja 2b",
            "3:",
            "movups [{to}], {first}",
            a = out(xmm_reg) _, first = out(xmm_reg) _,
            to = in(reg) to, from = in(reg) from, count = inout(reg) count => _,
            options(nostack),
        );
    }
}

/// Copies fewer than 16 bytes; all are read before any is written.
///
/// # Safety
/// `count` readable bytes at `from`, writable at `to`.
#[inline(always)]
unsafe fn copy_small(to: *mut u8, from: *const u8, count: usize) {
    macro_rules! two_overlapping {
        ($word:ty, $last:expr) => {{
            // SAFETY: `count` is at least the size of the word.
            let head = unsafe { from.cast::<$word>().read_unaligned() };
            // SAFETY: the word ends with the last byte.
            let tail = unsafe { from.wrapping_add($last).cast::<$word>().read_unaligned() };
            // SAFETY: as for reading.
            unsafe { to.cast::<$word>().write_unaligned(head) };
            // SAFETY: as for reading.
            unsafe { to.wrapping_add($last).cast::<$word>().write_unaligned(tail) };
        }};
    }
    match count {
        0 => {}
        1 => {
            // SAFETY: one byte is there.
            let byte = unsafe { from.read() };
            // SAFETY: one byte is there.
            unsafe { to.write(byte) };
        }
        2..4 => two_overlapping!(u16, count - 2),
        4..8 => two_overlapping!(u32, count - 4),
        _ => two_overlapping!(u64, count - 8),
    }
}

/// Fills fewer than 16 bytes.
///
/// # Safety
/// `count` writable bytes at `to`.
#[inline(always)]
unsafe fn set_small(to: *mut u8, pattern: u64, count: usize) {
    macro_rules! two_overlapping {
        ($word:ty, $last:expr) => {{
            // SAFETY: `count` is at least the size of the word.
            unsafe { to.cast::<$word>().write_unaligned(pattern as $word) };
            // SAFETY: the word ends with the last byte.
            unsafe {
                to.wrapping_add($last)
                    .cast::<$word>()
                    .write_unaligned(pattern as $word)
            };
        }};
    }
    match count {
        0 => {}
        // SAFETY: one byte is there.
        1 => unsafe { to.write(pattern as u8) },
        2..4 => two_overlapping!(u16, count - 2),
        4..8 => two_overlapping!(u32, count - 4),
        _ => two_overlapping!(u64, count - 8),
    }
}

//! Everything that differs between kernel generations.
//!
//! This binding speaks to seL4 5.0.0. A newer kernel differs in the layout of
//! guards, badges and rights, in how a thread's priority is set, in how I/O
//! ports are handed out, and in where the time-stamp counter's rate is told;
//! each has its function here. The labels, numbers and offsets themselves come
//! out of the headers of whichever kernel is installed.

use crate::cap::Rights;
use crate::facts;

/// The generation of the kernel that the headers belong to.
pub const KERNEL: &str = "seL4 5.0.0";

/// Bits of a badge that the kernel keeps.
pub const BADGE_BITS: u32 = facts::BADGE_BITS as u32;

/// The word by which a mint gives a badge.
pub(crate) const fn badge_word(badge: u64) -> u64 {
    (badge & ((1 << facts::BADGE_BITS) - 1)) * facts::BADGE_UNIT
}

/// The word by which a mint gives a capability of a CNode its guard: `size`
/// bits that must be zero.
pub(crate) const fn guard_word(size: u32) -> u64 {
    facts::GUARD_EMPTY + size as u64 * facts::GUARD_SIZE_UNIT
}

/// The word by which a mint restricts an I/O port capability to the ports
/// `first..=last` (`io_port_capdata` of this generation).
pub(crate) const fn port_range_word(first: u16, last: u16) -> u64 {
    (first as u64) << 16 | last as u64
}

/// The rights word of a copy or mint.
pub(crate) const fn rights_word(rights: Rights) -> u64 {
    let mut word = 0;
    if rights.write {
        word |= facts::RIGHT_WRITE;
    }
    if rights.read {
        word |= facts::RIGHT_READ;
    }
    if rights.grant {
        word |= facts::RIGHT_GRANT;
    }
    word
}

/// The priority argument of `TCB_Configure`: this generation has one there.
/// The thread may not raise anybody's priority.
pub(crate) const fn priority_word(priority: u8) -> u64 {
    priority as u64 * facts::PRIORITY_UNIT
}

/// The rate of the time-stamp counter out of the boot information, in Hz.
///
/// # Safety
/// `boot_info` points to the kernel's boot information.
pub(crate) unsafe fn tsc_hz(boot_info: *const u8) -> u64 {
    let field = boot_info.wrapping_add(facts::BOOT_TSC_MHZ as usize);
    // SAFETY: the offset is that of a word in the boot information.
    let megahertz = unsafe { field.cast::<u64>().read_unaligned() };
    megahertz * 1_000_000
}

//! seL4 5.0.0.

use crate::cap::{CNodeSlot, Cap, MintData, Rights, Tcb};
use crate::error::Error;
use crate::facts;

/// The generation of the kernel that the headers belong to.
pub const KERNEL: &str = "seL4 5.0.0";

/// The word by which a mint gives a badge.
pub(crate) const fn badge_word(badge: u64) -> u64 {
    (badge & ((1 << facts::BADGE_BITS) - 1)) * facts::BADGE_UNIT
}

/// The word by which a mint gives a capability of a CNode its guard: `size`
/// bits that must be zero.
pub(crate) const fn guard_word(size: u32) -> u64 {
    facts::GUARD_EMPTY + size as u64 * facts::GUARD_SIZE_UNIT
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

/// Puts the right to the ports `first..=last` into `target`: the root task's
/// capability of all ports with that range (`io_port_capdata`).
pub(crate) fn issue_ports(
    target: &CNodeSlot<'_>,
    all: &CNodeSlot<'_>,
    (first, last): (u16, u16),
) -> Result<(), Error> {
    let range = u64::from(first) << 16 | u64::from(last);
    target.mint(all, Rights::ALL, MintData::Word(range))
}

/// `TCB_Configure`, which sets the priority too. The thread may not raise
/// anybody's.
pub(crate) fn configure(
    thread: &Tcb,
    fault: u64,
    priority: u8,
    caps: [u64; 3],
    buffer: u64,
) -> Result<(), Error> {
    let priority = u64::from(priority) * facts::PRIORITY_UNIT;
    // No guard data: the CSpace capability brings its own.
    let words = [fault, priority, 0, 0, buffer];
    thread.invoke(facts::TCB_CONFIGURE, &caps, words).map(drop)
}

/// Rewrites a page's mapping; the kernel does so only where there is one.
pub(crate) fn remap<T>(
    page: &Cap<T>,
    vspace: u64,
    _address: u64,
    rights: Rights,
    cache: u64,
) -> Result<(), Error> {
    let words = [rights_word(rights), cache];
    page.invoke(facts::PAGE_REMAP, &[vspace], words).map(drop)
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

/// `TCB_SetPriority`.
pub(crate) fn set_priority(thread: &Tcb, priority: u8) -> Result<(), Error> {
    thread
        .invoke(facts::TCB_SET_PRIORITY, &[], [u64::from(priority)])
        .map(drop)
}

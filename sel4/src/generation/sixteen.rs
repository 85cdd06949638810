//! What followed seL4 5.0.0, up to 16.0.0, without MCS.

use crate::cap::{CNodeSlot, Cap, Rights, Tcb};
use crate::error::Error;
use crate::facts;

/// The generation of the kernel that the headers belong to.
pub const KERNEL: &str = "seL4 16.0.0";

/// The word by which a mint gives a badge.
pub(crate) const fn badge_word(badge: u64) -> u64 {
    badge
}

/// The word by which a mint gives a capability of a CNode its guard: `size`
/// bits that must be zero.
pub(crate) const fn guard_word(size: u32) -> u64 {
    size as u64 * facts::GUARD_SIZE_UNIT
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
        word |= facts::RIGHT_GRANT | facts::RIGHT_GRANT_REPLY;
    }
    word
}

/// Puts the right to the ports `first..=last` into `target`
/// (`seL4_X86_IOPortControl_Issue`). A range is issued once.
pub(crate) fn issue_ports(
    target: &CNodeSlot<'_>,
    control: &CNodeSlot<'_>,
    (first, last): (u16, u16),
) -> Result<(), Error> {
    let (root, index, depth) = target.parts();
    let (_, control, _) = control.parts();
    // SAFETY: the root task's CSpace is flat, so a slot's index is its address;
    // the kernel put the right to issue ports there.
    let control: Cap<()> = unsafe { Cap::from_bits(control) };
    let words = [u64::from(first), u64::from(last), index, u64::from(depth)];
    control
        .invoke(facts::IO_PORT_ISSUE, &[root], words)
        .map(drop)
}

/// `TCB_Configure` and `TCB_SetPriority`, by the root task's own authority.
pub(crate) fn configure(
    thread: &Tcb,
    fault: u64,
    priority: u8,
    caps: [u64; 3],
    buffer: u64,
) -> Result<(), Error> {
    // No guard data: the CSpace capability brings its own.
    let words = [fault, 0, 0, buffer];
    thread.invoke(facts::TCB_CONFIGURE, &caps, words)?;
    set_priority(thread, priority)
}

/// `TCB_SetPriority`, by the root task's own authority.
pub(crate) fn set_priority(thread: &Tcb, priority: u8) -> Result<(), Error> {
    let words = [u64::from(priority)];
    thread
        .invoke(facts::TCB_SET_PRIORITY, &[facts::SLOT_TCB], words)
        .map(drop)
}

/// Rewrites a page's mapping. This kernel maps a page at its address once
/// more; where another page is mapped it refuses, where none is it maps.
pub(crate) fn remap<T>(
    page: &Cap<T>,
    vspace: u64,
    address: u64,
    rights: Rights,
    cache: u64,
) -> Result<(), Error> {
    let words = [address, rights_word(rights), cache];
    page.invoke(facts::PAGE_MAP, &[vspace], words).map(drop)
}

/// The rate of the time-stamp counter out of the extra boot information, in
/// Hz; zero when the kernel does not tell it.
///
/// # Safety
/// `boot_info` points to the kernel's boot information, with the extra pages
/// after it.
pub(crate) unsafe fn tsc_hz(boot_info: *const u8) -> u64 {
    let word = |offset: u64| {
        let field = boot_info.wrapping_add(offset as usize);
        // SAFETY: callers below stay inside the boot information.
        unsafe { field.cast::<u64>().read_unaligned() }
    };
    let end = facts::BOOT_SIZE + word(facts::BOOT_EXTRA_LENGTH);
    let mut block = facts::BOOT_SIZE;
    while block + facts::BOOT_BLOCK_HEADER < end {
        // An identifier and the length of the block, header and all.
        let (kind, length) = (word(block), word(block + 8));
        if kind == facts::BOOT_BLOCK_TSC {
            return (word(block + facts::BOOT_BLOCK_HEADER) & 0xffff_ffff) * 1_000_000;
        }
        block += length.max(facts::BOOT_BLOCK_HEADER);
    }
    0
}

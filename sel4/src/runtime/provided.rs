//! Memory that the system description gives to a domain. Who names the addresses is the
//! `Capabilities` that the build makes of it ([`system!`](crate::system)).

use core::slice;
use core::sync::atomic::{AtomicBool, Ordering};

use ipc::boot::{DEVICE_MAGIC, DeviceSnapshot, NicDevice, TimerDevice, place};
use ipc::stats::Page;

/// Bytes before boot-time data: its length, a little-endian number.
const LENGTH: u64 = 8;

/// Boot-time data in a region: its address and bytes.
///
/// # Safety
/// The layout gives this domain such a region there.
pub unsafe fn provision(place: (u64, u64)) -> &'static [u8] {
    let (address, bytes) = place;
    // SAFETY: the root task mapped the region there, read-only and for good.
    let length = unsafe { (address as *const u64).read() };
    let length = length.min(bytes.saturating_sub(LENGTH)) as usize;
    // SAFETY: `length` bytes after the length are in the region.
    unsafe { slice::from_raw_parts((address + LENGTH) as *const u8, length) }
}

/// The page of counters of another domain, at an address of this one's layout.
///
/// # Safety
/// The layout says so.
pub unsafe fn counters_at(address: u64) -> &'static Page {
    // SAFETY: the root task mapped a page there for good; it is all atomics.
    unsafe { &*(address as *const Page) }
}

/// This domain's own page of counters.
pub fn counters() -> &'static Page {
    // SAFETY: every domain has one there.
    unsafe { counters_at(place::STATS) }
}

/// What the root task found of the NIC; `None` when there is none.
///
/// # Safety
/// `address` is that of the device snapshot of this domain; called once.
pub unsafe fn devices(address: u64) -> Option<(NicDevice, TimerDevice)> {
    // SAFETY: the root task filled a page and mapped it there, read-only.
    let snapshot = unsafe { &*(address as *const DeviceSnapshot) };
    if snapshot.magic != DEVICE_MAGIC {
        return None;
    }
    // SAFETY: the root task has mapped what it names for this domain alone; the caller
    // calls once.
    let nic = unsafe { NicDevice::new(snapshot) };
    // SAFETY: as above.
    let timer = unsafe { TimerDevice::new(snapshot) };
    Some((nic, timer))
}

/// Notes that this domain has taken what its description gives it.
///
/// # Panics
/// It has them already.
pub fn take_once() {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    assert!(
        !TAKEN.swap(true, Ordering::Relaxed),
        "capabilities are taken once"
    );
}

//! Memory that the system description gives to a domain. The addresses come
//! from the constants of its `system.rs`.

use core::slice;

use ipc::boot::{DEVICE_MAGIC, DeviceSnapshot};
use ipc::stats::Page;

/// Bytes before boot-time data: its length, a little-endian number.
const LENGTH: u64 = 8;

/// Boot-time data at a `PROVISION_…` constant: address and bytes of its region.
///
/// # Safety
/// `place` is such a constant of this domain.
pub unsafe fn provision(place: (u64, u64)) -> &'static [u8] {
    let (address, bytes) = place;
    // SAFETY: the root task mapped the region there, read-only and for good.
    let length = unsafe { (address as *const u64).read() };
    let length = length.min(bytes.saturating_sub(LENGTH)) as usize;
    // SAFETY: `length` bytes after the length are in the region.
    unsafe { slice::from_raw_parts((address + LENGTH) as *const u8, length) }
}

/// The page of counters at a `STATS…` constant.
///
/// # Safety
/// `address` is such a constant of this domain; of its own page nobody else in
/// this domain makes a second reference that writes.
pub unsafe fn stats(address: u64) -> &'static Page {
    // SAFETY: the root task mapped a page there for good; it is all atomics.
    unsafe { &*(address as *const Page) }
}

/// What the root task found of the NIC; `None` when there is none.
///
/// # Safety
/// `address` is the constant `DEVICE_SNAPSHOT` of this domain.
pub unsafe fn device_snapshot(address: u64) -> Option<&'static DeviceSnapshot> {
    // SAFETY: the root task filled a page and mapped it there, read-only.
    let snapshot = unsafe { &*(address as *const DeviceSnapshot) };
    (snapshot.magic == DEVICE_MAGIC).then_some(snapshot)
}

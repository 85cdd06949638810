//! What every driver of a virtio device over PCI needs (virtio 1.2 §4.1) in a
//! program that has no I/O port: all it knows of the device is in a
//! [`DeviceSnapshot`], which the root task fills.
//!
//! A program drives one device at a time by this crate. Nothing here knows the kernel.
#![no_std]

mod confined;
mod memory;
mod notes;

use core::fmt;

use ipc::boot::DeviceSnapshot;
use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::pci::bus::PciRoot;

pub use confined::Confined;
pub use memory::{Memory, physical, take};

use notes::Notes;

/// Why a device can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// This program has a device open already.
    Taken,
    /// It is no virtio device of version 1.0 or later.
    Unknown,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Taken => "a device is open already",
            Self::Unknown => "it is no virtio device of version 1.0 or later",
        })
    }
}

impl core::error::Error for OpenError {}

/// The transport of the device that `snapshot` describes; [`Memory`] is from here on
/// its memory.
///
/// # Errors
/// [`OpenError`].
///
/// # Safety
/// The memory and the registers that `snapshot` names are mapped where it says, for
/// as long as the device is used, and nobody else uses them.
pub unsafe fn open(snapshot: &'static DeviceSnapshot) -> Result<Confined<PciTransport>, OpenError> {
    // SAFETY: passed on from the caller.
    if !unsafe { memory::set_up(snapshot) } {
        return Err(OpenError::Taken);
    }
    let mut root = PciRoot::new(Notes::new(snapshot));
    let transport = PciTransport::new::<Memory, _>(&mut root, Notes::PLACE);
    transport.map(Confined::new).map_err(|_| OpenError::Unknown)
}

/// Resets the device, after which another may be opened.
pub fn close(transport: Confined<PciTransport>) {
    // The transport resets it.
    drop(transport);
    memory::forget();
}

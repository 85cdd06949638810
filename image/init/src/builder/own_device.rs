//! Devices that the root task drives itself: what they need, and what they reach.

use alloc::boxed::Box;
use alloc::vec::Vec;

use device::Confined;
use init::pci::Place;
use ipc::boot::{DEVICE_MAGIC, DeviceSnapshot, PAGE};
use sel4::cap::{Cache, IOSpace};
use sel4::{BootInfo, Cap, Error, Rights};
use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::{DeviceStatus, Transport};

use super::Work;
use super::devices::{Register, place_bars};
use crate::hardware::{PCI_PORTS, Pci};
use crate::resources::Page;

/// Where a device's registers and its memory are mapped here, and its number.
#[derive(Clone, Copy)]
pub(super) struct Mapped {
    pub(super) registers: u64,
    pub(super) memory: u64,
    /// Bytes of its memory.
    pub(super) bytes: u64,
    /// Names its address space to the IOMMU's caches.
    pub(super) domain: u16,
}

/// A device, switched on.
pub(super) struct OwnDevice {
    pub(super) place: Place,
    mapped: Mapped,
    snapshot: DeviceSnapshot,
    pub(super) registers: Vec<Register>,
}

/// Its memory, and what of the kernel's it has.
pub(super) struct Opened {
    pub(super) snapshot: &'static DeviceSnapshot,
    pub(super) memory: Vec<Page>,
    pub(super) space: Option<OwnSpace>,
}

/// The address space of a device: its slot, and the capabilities of the pages there with
/// their addresses.
pub(super) struct OwnSpace {
    pub(super) slot: u64,
    pub(super) pages: Vec<(u64, u64)>,
}

impl Work<'_> {
    /// Looks for a device, and switches it on.
    pub(super) fn find_own(
        &mut self,
        find: impl FnOnce(&Pci) -> Result<Option<Place>, Error>,
        mapped: Mapped,
    ) -> Result<Option<OwnDevice>, Error> {
        let ports = self.ports(PCI_PORTS)?;
        let slot = ports.bits();
        let pci = Pci::new(ports);
        let mut found = None;
        if let Some(place) = find(&pci)? {
            // SAFETY: all-zero bytes are a valid snapshot: it is numbers only.
            let mut snapshot: DeviceSnapshot = unsafe { core::mem::zeroed() };
            snapshot.magic = DEVICE_MAGIC;
            pci.describe(place, &mut snapshot)?;
            let registers = place_bars(&mut snapshot, mapped.registers);
            found = Some(OwnDevice {
                place,
                mapped,
                snapshot,
                registers,
            });
        }
        self.resources.slot(slot).delete()?;
        Ok(found)
    }

    /// Maps its registers, makes and maps its memory, and lets it reach that and nothing
    /// else, where there is an IOMMU.
    pub(super) fn open_own(
        &mut self,
        boot: &BootInfo,
        device: &mut OwnDevice,
    ) -> Result<Opened, Error> {
        let mapped = device.mapped;
        for register in &device.registers {
            let page = Page::Small(register.slot);
            self.map_own(page, register.address, Cache::Uncacheable)?;
        }
        let memory = self.resources.make_contiguous(mapped.bytes)?;
        for (page, address) in memory.iter().zip((mapped.memory..).step_by(PAGE as usize)) {
            self.map_own(*page, address, Cache::WriteBack)?;
        }
        let first = memory.first().ok_or(Error::NotEnoughMemory)?;
        device.snapshot.dma_physical = first.address()?;
        device.snapshot.dma_bytes = mapped.bytes;
        device.snapshot.dma_address = mapped.memory;
        let space = match boot.io_levels() {
            Some(levels) => Some(self.open_memory(levels, device, &memory)?),
            None => None,
        };
        Ok(Opened {
            snapshot: Box::leak(Box::new(device.snapshot)),
            memory,
            space,
        })
    }

    fn map_own(&mut self, page: Page, address: u64, cache: Cache) -> Result<(), Error> {
        self.own
            .map(&mut self.resources, page, address, true, cache)
    }

    /// Lets the device reach `memory`, and nothing else.
    fn open_memory(
        &mut self,
        levels: u32,
        device: &OwnDevice,
        memory: &[Page],
    ) -> Result<OwnSpace, Error> {
        let slot = self.resources.take_slots(1)?;
        self.mint_io_space(slot, device.place.requester(), device.mapped.domain)?;
        // SAFETY: made just now.
        let space: IOSpace = unsafe { Cap::from_bits(slot) };
        let (mut tables, mut pages) = (Vec::new(), Vec::new());
        for page in memory {
            let address = page.address()?;
            self.ensure_io_tables(&space, levels, address, &mut tables)?;
            let copy = self.resources.copy(page.slot(), Rights::READ_WRITE)?;
            // SAFETY: copied above.
            let frame = unsafe { crate::resources::granule(copy) };
            frame.frame_map_io(&space, address, Rights::READ_WRITE)?;
            pages.push((copy, address));
        }
        Ok(OwnSpace { slot, pages })
    }
}

/// The device keeps to version 1 (virtio 1.2 §6).
const VERSION_1: u64 = 1 << 32;

/// Resets the device and agrees on version 1 and nothing else (virtio 1.2 §3.1.1); its
/// status, to which `DRIVER_OK` is added when its queues are there.
pub(super) fn agree(transport: &mut Confined<PciTransport>) -> DeviceStatus {
    let status = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
    transport.set_status(DeviceStatus::empty());
    transport.set_status(status);
    let features = transport.read_device_features() & VERSION_1;
    transport.write_driver_features(features);
    let status = status | DeviceStatus::FEATURES_OK;
    transport.set_status(status);
    status
}

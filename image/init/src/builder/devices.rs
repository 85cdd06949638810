//! The devices on the bus: what their drivers need to know, and their registers.

use alloc::vec::Vec;

use init::Content;
use init::unfit::Unfit;
use ipc::boot::{DEVICE_MAGIC, DeviceSnapshot, PAGE};
use sel4::Error;

use super::{Refusal, Work};
use crate::hardware::{PCI_PORTS, Pci};
use crate::resources::{Page, granule};

/// The HPET's registers and the I/O APIC pin that both machines can route its
/// first timer to (IA-PC HPET 1.0a §2.3.8).
pub(super) const TIMER_PHYSICAL: u64 = 0xfed0_0000;
pub(super) const TIMER_PIN: u64 = 2;

/// A page of a device's registers.
pub(super) struct Register {
    pub(super) physical: u64,
    /// In its driver's address space.
    pub(super) address: u64,
    /// Zero until it is taken.
    pub(super) slot: u64,
}

impl Register {
    const fn at(physical: u64, address: u64) -> Self {
        Self {
            physical,
            address,
            slot: 0,
        }
    }
}

/// Gives the device's registers places in its driver's address space, one after the
/// other from `address` on.
pub(super) fn place_bars(snapshot: &mut DeviceSnapshot, mut address: u64) -> Vec<Register> {
    let mut registers = Vec::new();
    for bar in snapshot.bars.iter_mut().filter(|bar| bar.size > 0) {
        bar.address = address;
        for page in 0..bar.size.div_ceil(PAGE) {
            registers.push(Register::at(bar.physical + page * PAGE, address));
            address += PAGE;
        }
    }
    registers
}

impl Work<'_> {
    /// Finds the NIC and writes down what its driver needs.
    pub(super) fn fill_snapshot(&mut self) -> Result<(), Refusal> {
        let Some(device) = self.plan.device else {
            return Ok(());
        };
        let ports = self.ports(PCI_PORTS)?;
        let port_slot = ports.bits();
        let pci = Pci::new(ports);
        // SAFETY: all-zero bytes are a valid snapshot: it is numbers only.
        let mut snapshot: DeviceSnapshot = unsafe { core::mem::zeroed() };
        let Some(nic) = pci.find_nic()? else {
            return Err(match pci.find_other_nic()? {
                Some((place, identifier)) => Unfit::Nic { place, identifier },
                None => Unfit::NoNic,
            }
            .into());
        };
        self.nic = Some(nic);
        self.buses = pci.buses()?;
        snapshot.magic = DEVICE_MAGIC;
        pci.describe(nic.place, &mut snapshot)?;
        self.resources.slot(port_slot).delete()?;
        let mut address = device.address;
        snapshot.timer_address = address;
        snapshot.timer_pin = TIMER_PIN;
        self.registers.push(Register::at(TIMER_PHYSICAL, address));
        address += PAGE;
        self.registers.extend(place_bars(&mut snapshot, address));
        for (number, region) in self.plan.regions.iter().enumerate() {
            if region.content == Content::Dma
                && let Some(Page::Small(slot)) = self.regions.get(number).and_then(|r| r.first())
            {
                // SAFETY: made by `make_contiguous`.
                snapshot.dma_physical = unsafe { granule(*slot) }.frame_address()?;
                snapshot.dma_bytes = region.bytes;
                snapshot.dma_address = self.region_address(number);
            }
        }
        for (number, region) in self.plan.regions.iter().enumerate() {
            if region.content == Content::Snapshot
                && let Some(page) = self.regions.get(number).and_then(|r| r.first()).copied()
            {
                // SAFETY: a snapshot is plain numbers and fits a page.
                unsafe { self.fill_page(page, &snapshot)? };
            }
        }
        Ok(())
    }

    /// Takes the pages of the devices' registers out of the machine's memory, in the
    /// order of their addresses, as they must be.
    pub(super) fn take_registers(&mut self) -> Result<(), Error> {
        let own = self.entropy.iter_mut().chain(&mut self.console);
        let own = own.flat_map(|device| &mut device.registers);
        let mut all: Vec<_> = self.registers.iter_mut().chain(own).collect();
        all.sort_unstable_by_key(|register| register.physical);
        for register in all {
            register.slot = self.resources.device_page(register.physical)?;
        }
        Ok(())
    }
}

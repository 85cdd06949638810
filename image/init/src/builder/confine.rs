//! What the NIC reaches: an address space of its own behind the IOMMU,
//! with the memory that it shares with its driver and nothing else. The kernel
//! leaves every other device without one.

use alloc::vec::Vec;

use init::Content;
use init::pci::Place;
use ipc::boot::PAGE;
use sel4::cap::{Granule, IOPageTable, IOSpace, MintData, ObjectKind};
use sel4::{Cap, Error, Rights, init_slot, log};

use super::Work;
use crate::resources::{Page, granule};

/// Names the NIC's address space to the IOMMU's caches. The kernel takes the
/// first numbers, one for each device that the firmware wants mapped.
const CARD_DOMAIN: u16 = 0xff;
/// The same for the source of entropy, while it is asked.
pub(super) const ENTROPY_DOMAIN: u16 = 0xfe;

/// The same for the console.
pub(super) const CONSOLE_DOMAIN: u16 = 0xfd;

/// Bits of an address that one table tells apart.
const TABLE_BITS: u32 = 9;
const PAGE_BITS: u32 = 12;

/// Bytes that a table of the lowest level covers.
const SPAN: u64 = 1 << (PAGE_BITS + TABLE_BITS);
/// The last function of the last device of a bus.
const LAST: u16 = 0xff;

/// The NIC's address space.
pub(super) struct Confinement {
    /// Its slot.
    pub(super) space: u64,
    /// Its pages: slot of the capability, address.
    pub(super) pages: Vec<(u64, u64)>,
    /// Levels of its tables.
    pub(super) levels: u32,
    /// Its tables: level, and which of that level.
    pub(super) tables: Vec<(u32, u64)>,
}

impl Work<'_> {
    /// Confines the NIC to the regions that the plan calls its own, at their
    /// physical addresses. `levels` is what the kernel says of its IOMMU.
    pub(super) fn confine(&mut self, levels: Option<u32>) -> Result<(), Error> {
        let (Some(nic), Some(levels)) = (self.nic, levels) else {
            return Ok(());
        };
        let slot = self.make_io_space(nic.place.requester())?;
        // SAFETY: made just now.
        let space: IOSpace = unsafe { Cap::from_bits(slot) };
        let mut tables = Vec::new();
        let mut pages = Vec::new();
        for page in self.shared_with_nic() {
            let address = page.address()?;
            self.ensure_io_tables(&space, levels, address, &mut tables)?;
            let copy = self.resources.copy(page.slot(), Rights::READ_WRITE)?;
            self.resources.keep(copy);
            // SAFETY: copied above.
            unsafe { granule(copy) }.frame_map_io(&space, address, Rights::READ_WRITE)?;
            pages.push((copy, address));
        }
        self.confinement = Some(Confinement {
            space: slot,
            pages,
            levels,
            tables,
        });
        Ok(())
    }

    pub(super) fn make_io_space(&mut self, device: u16) -> Result<u64, Error> {
        let slot = self.resources.take_slots(1)?;
        self.mint_io_space(slot, device, CARD_DOMAIN)?;
        // The kernel takes the address space away with its last capability.
        self.resources.keep(slot);
        Ok(slot)
    }

    pub(super) fn mint_io_space(&self, slot: u64, device: u16, domain: u16) -> Result<(), Error> {
        let all = self.resources.slot(init_slot::IO_SPACE);
        let data = MintData::IOSpace { domain, device };
        self.resources.slot(slot).mint(&all, Rights::ALL, data)
    }

    /// The pages of the regions that the NIC reaches.
    fn shared_with_nic(&self) -> Vec<Page> {
        let regions = self.plan.regions.iter().zip(&self.regions);
        regions
            .filter(|(region, _)| region.content == Content::Dma)
            .flat_map(|(_, pages)| pages.iter().copied())
            .collect()
    }

    /// Makes the missing tables on the way to `address`. The kernel
    /// puts each at the topmost level that lacks one, and would take a table for
    /// a page where none is lacking: `tables` has those that are there, by level
    /// and start.
    pub(super) fn ensure_io_tables(
        &mut self,
        space: &IOSpace,
        levels: u32,
        address: u64,
        tables: &mut Vec<(u32, u64)>,
    ) -> Result<(), Error> {
        for level in (1..=levels).rev() {
            let covered = address
                .checked_shr(PAGE_BITS + TABLE_BITS * level)
                .unwrap_or(0);
            if tables.contains(&(level, covered)) {
                continue;
            }
            let slot = self.resources.make_kept(ObjectKind::IOPageTable)?;
            // SAFETY: made just now.
            let table: IOPageTable = unsafe { Cap::from_bits(slot) };
            table.table_map(space, address)?;
            tables.push((level, covered));
        }
        Ok(())
    }

    /// Asks the kernel what the devices reach: the NIC its own pages and no
    /// other, the devices beside it nothing. Each difference is a line
    /// of the log; how many there were.
    ///
    /// The kernel does not list an address space. It refuses to map a page where one is,
    /// and to unmap one that is not where its capability says: so an address holds the
    /// right page if that page's capability frees it.
    pub(super) fn prove_confinement(&mut self) -> Result<usize, Error> {
        let Some(confinement) = self.confinement.take() else {
            if self.nic.is_some() {
                log!("policy: no IOMMU: the NIC reaches all memory");
            }
            return Ok(0);
        };
        let probe = self.resources.make_kept(ObjectKind::Granule)?;
        // SAFETY: made just now.
        let probe = unsafe { granule(probe) };
        // SAFETY: made by `confine`.
        let space: IOSpace = unsafe { Cap::from_bits(confinement.space) };
        let end = self.resources.memory_end();
        let mut wrong = compare("NIC", &probe, &space, &confinement.pages, end)?;
        wrong += self.prove_console(&probe, end)?;
        wrong += self.prove_others_reach_nothing(&probe, end)?;
        let count = confinement.pages.len();
        if wrong == 0 {
            log!("policy: the NIC reaches {count} pages as declared, other devices none");
        }
        Ok(wrong)
    }

    /// The console reaches its own memory and no other.
    fn prove_console(&self, probe: &Granule, end: u64) -> Result<usize, Error> {
        let Some((_, own)) = &self.transmits else {
            return Ok(0);
        };
        // SAFETY: made by `open_memory`.
        let space: IOSpace = unsafe { Cap::from_bits(own.slot) };
        compare("console", probe, &space, &own.pages, end)
    }

    /// The source of entropy had an address space: that is searched. The others, whose
    /// only one could be the firmware's, are asked at its start.
    fn prove_others_reach_nothing(&mut self, probe: &Granule, end: u64) -> Result<usize, Error> {
        let asked = self.asked.map(Place::requester);
        let nic = self.nic.map(|nic| nic.place.requester());
        let console = self.transmits.as_ref();
        let console = console.map(|(place, _)| place.requester());
        let own = [nic, console];
        let slot = self.resources.take_slots(1)?;
        let mut wrong = 0;
        // The kernel lets nobody map anything for number zero, the host bridge.
        let buses = self.buses.iter().map(|bus| u16::from(*bus) << 8);
        let requesters = buses.flat_map(|first| first..=first + LAST).skip(1);
        let others: Vec<_> = requesters.filter(|r| !own.contains(&Some(*r))).collect();
        for requester in others {
            self.mint_io_space(slot, requester, CARD_DOMAIN)?;
            // SAFETY: made just now.
            let space: IOSpace = unsafe { Cap::from_bits(slot) };
            let end = if Some(requester) == asked { end } else { SPAN };
            if !undeclared(probe, &space, &[], end)?.is_empty() {
                log!("policy: device {requester:#x} reaches memory");
                wrong += 1;
            }
            // With the last capability goes what the firmware had asked for.
            self.resources.slot(slot).delete()?;
        }
        Ok(wrong)
    }
}

/// Asks the kernel whether the device `name` reaches its `pages`, each a capability and an
/// address, and no other page below `end`. How many differences there are.
fn compare(
    name: &str,
    probe: &Granule,
    space: &IOSpace,
    pages: &[(u64, u64)],
    end: u64,
) -> Result<usize, Error> {
    let mut wrong = 0;
    for (slot, address) in pages {
        // SAFETY: a small page was mapped there, and its capability is in that slot.
        let page = unsafe { granule(*slot) };
        if !is_mapped(&page, *address, space, probe)? {
            log!("policy: the {name} does not reach {address:#x}");
            wrong += 1;
        }
    }
    let mut declared: Vec<u64> = pages.iter().map(|(_, at)| *at).collect();
    declared.sort_unstable();
    for address in undeclared(probe, space, &declared, end)? {
        log!("policy: the {name} reaches memory at {address:#x}");
        wrong += 1;
    }
    Ok(wrong)
}

/// Whether `page`, and no other, is at `address`; it is there afterwards as it
/// was before. `probe` is a page that is mapped nowhere.
fn is_mapped(
    page: &Granule,
    address: u64,
    space: &IOSpace,
    probe: &Granule,
) -> Result<bool, Error> {
    if occupant(probe, space, address)? != Occupant::Page {
        return Ok(false);
    }
    // This kernel leaves the answer out when there is nothing to unmap.
    if page.frame_unmap().is_err() || occupant(probe, space, address)? != Occupant::Nothing {
        return Ok(false);
    }
    page.frame_map_io(space, address, Rights::READ_WRITE)?;
    Ok(true)
}

/// Pages below `end` that the device reaches and `declared`, which is in order,
/// does not name.
fn undeclared(
    probe: &Granule,
    space: &IOSpace,
    declared: &[u64],
    end: u64,
) -> Result<Vec<u64>, Error> {
    let mut found = Vec::new();
    for span in (0..end).step_by(SPAN as usize) {
        let first = declared.partition_point(|at| *at < span);
        let inside = declared.get(first).is_some_and(|at| *at < span + SPAN);
        if !inside {
            if occupant(probe, space, span)? != Occupant::NoTable {
                found.push(span);
            }
            continue;
        }
        for address in (span..span + SPAN).step_by(PAGE as usize) {
            if declared.binary_search(&address).is_err()
                && occupant(probe, space, address)? != Occupant::Nothing
            {
                found.push(address);
            }
        }
    }
    Ok(found)
}

/// What is at a place of a device's address space.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Occupant {
    /// Nothing within two mebibytes.
    NoTable,
    /// No page.
    Nothing,
    /// A page.
    Page,
}

fn occupant(probe: &Granule, space: &IOSpace, address: u64) -> Result<Occupant, Error> {
    match probe.frame_map_io(space, address, Rights::READ) {
        Ok(()) => {
            probe.frame_unmap()?;
            Ok(Occupant::Nothing)
        }
        Err(Error::FailedLookup) => Ok(Occupant::NoTable),
        Err(Error::DeleteFirst) => Ok(Occupant::Page),
        Err(error) => Err(error),
    }
}

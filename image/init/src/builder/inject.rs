//! Fault injection: what a faulty or malicious root task would build, one difference for
//! each feature, so that tests see the proof after boot find it. Without these features
//! none of it is built.

use init::Capability;
use ipc::boot::{place, slot};
use sel4::cap::{Cache, IOSpace, MintData, Notification, ObjectKind};
use sel4::{Cap, Error, Rights};

use super::{Work, lookup};
use crate::resources::{Page, granule};
use crate::space::Space;

/// A slot that no description fills.
const SLOT: u64 = 77;
/// A device that is not the NIC.
const OTHER_DEVICE: u16 = 9 << 3;
/// An address that no table has which covers address zero.
const FAR: u64 = 0x40_0000;
/// What makes of an address another one that the same table has, far from it.
const BESIDE: u64 = 1 << 20;
/// A bit that no signal of the probes has.
const STRAY: u64 = 1 << 25;
/// Where no region is.
const NOWHERE: u64 = 0x3000_0000;

impl Work<'_> {
    /// Builds the differences that this program's features ask for.
    pub(super) fn inject(&mut self, fault: u64) -> Result<(), Error> {
        if cfg!(feature = "inject-slot") {
            // A second capability, which its holder must not have.
            let source = self.resources.slot(fault);
            let cspace = lookup(&self.cspaces, 0)?;
            let target = cspace.slot(SLOT, 64 - slot::LOW_BITS);
            target.mint(&source, Rights::CALL, MintData::Badge(1))?;
        }
        if cfg!(feature = "inject-badge") {
            // The right capability with another's badge.
            let source = self.resources.slot(fault);
            let cspace = lookup(&self.cspaces, 0)?;
            let target = cspace.slot(slot::FAULT, 64 - slot::LOW_BITS);
            target.delete()?;
            target.mint(
                &source,
                Rights::CALL,
                MintData::Badge(super::FAULT_BADGE | 1),
            )?;
        }
        if cfg!(feature = "inject-bell") {
            // The right notification with another's badge, while a signal with the
            // right one is there already.
            let (number, target, domain, badge) = self.first_signal()?;
            let source = self.resources.slot(*lookup(&self.notifications, domain)?);
            let cspace = lookup(&self.cspaces, number)?;
            let target = cspace.slot(target, 64 - slot::LOW_BITS);
            target.delete()?;
            target.mint(&source, Rights::WRITE, MintData::Badge(STRAY))?;
            self.signal(domain, badge)?;
        }
        if cfg!(feature = "inject-signal") {
            for number in 0..self.notifications.len() {
                self.signal(number as u16, STRAY)?;
            }
        }
        if cfg!(feature = "inject-page") {
            // One more page in an address space.
            let space = *lookup(&self.spaces, 0)?;
            let page = Page::Small(self.resources.make_kept(ObjectKind::Granule)?);
            // SAFETY: made by `Space::new`.
            let mut space = unsafe { Space::of(space) };
            space.map(&mut self.resources, page, NOWHERE, true, Cache::WriteBack)?;
        }
        if cfg!(feature = "inject-nic") {
            // A page of this task in the place of one that the NIC shares.
            let page = self.resources.make_kept(ObjectKind::Granule)?;
            self.give_to_nic(page)?;
        }
        if cfg!(feature = "inject-nic-more") {
            // One more page that the NIC reaches.
            let page = Page::Small(self.resources.make_kept(ObjectKind::Granule)?);
            self.open_to(None, page, page.address()?)?;
        }
        if cfg!(feature = "inject-bus") {
            // A page that another device reaches.
            let page = Page::Small(self.resources.make_kept(ObjectKind::Granule)?);
            self.open_to(Some(OTHER_DEVICE), page, 0)?;
        }
        if cfg!(feature = "inject-entropy") {
            // A page that the source of entropy still reaches, far from the start.
            let source = self.asked.ok_or(Error::InvalidArgument)?;
            let page = Page::Small(self.resources.make_kept(ObjectKind::Granule)?);
            self.open_to(Some(source.requester()), page, FAR)?;
        }
        if cfg!(feature = "inject-console") {
            // One more page that the console reaches, under a table that is there.
            let page = self.resources.make_kept(ObjectKind::Granule)?;
            let (_, own) = self.transmits.as_ref().ok_or(Error::InvalidArgument)?;
            let (_, address) = own.pages.first().ok_or(Error::RangeError)?;
            // SAFETY: made by `open_own`.
            let space: IOSpace = unsafe { Cap::from_bits(own.slot) };
            // SAFETY: made just now.
            unsafe { granule(page) }.frame_map_io(&space, address ^ BESIDE, Rights::READ_WRITE)?;
        }
        if cfg!(feature = "inject-monitor") {
            // Memory that this task keeps for itself.
            self.resources.make(ObjectKind::Granule)?;
        }
        Ok(())
    }

    /// The first signal of the plan: whose it is, its slot, whom it tells, its badge.
    fn first_signal(&self) -> Result<(u16, u64, u16, u64), Error> {
        let domains = self.plan.domains.iter().enumerate();
        domains
            .flat_map(|(number, domain)| domain.slots.iter().map(move |slot| (number, slot)))
            .find_map(|(number, (slot, capability))| match capability {
                Capability::Signal { domain, badge } => {
                    Some((number as u16, *slot, *domain, *badge))
                }
                _ => None,
            })
            .ok_or(Error::RangeError)
    }

    /// Signals a domain's notification, as an interrupt would.
    fn signal(&mut self, domain: u16, badge: u64) -> Result<(), Error> {
        let badged = self.resources.take_slots(1)?;
        let source = self.resources.slot(*lookup(&self.notifications, domain)?);
        let target = self.resources.slot(badged);
        target.mint(&source, Rights::WRITE, MintData::Badge(badge))?;
        // SAFETY: minted just now.
        unsafe { Notification::from_bits(badged) }.signal();
        self.resources.slot(badged).delete()
    }

    /// The page for a domain's seed: this one, or that of another domain.
    pub(super) fn inject_seed(&mut self, page: Page) -> Result<Page, Error> {
        if cfg!(feature = "inject-seed") {
            let ledger = self.resources.ledger().iter();
            let mut seeds = ledger.filter(|mapping| mapping.address() == place::SEED);
            if let Some(other) = seeds.next().map(|mapping| mapping.page().slot()) {
                let copy = self.resources.copy(other, Rights::READ_WRITE)?;
                self.resources.keep(copy);
                return Ok(Page::Small(copy));
            }
        }
        Ok(page)
    }

    /// Puts `page` where the NIC's first page was.
    fn give_to_nic(&mut self, page: u64) -> Result<(), Error> {
        let confinement = self.confinement.as_ref().ok_or(Error::InvalidArgument)?;
        let (slot, address) = *confinement.pages.first().ok_or(Error::RangeError)?;
        // SAFETY: made by `confine`.
        let space: IOSpace = unsafe { Cap::from_bits(confinement.space) };
        // SAFETY: mapped by `confine`.
        unsafe { granule(slot) }.frame_unmap()?;
        // SAFETY: the caller made it.
        unsafe { granule(page) }.frame_map_io(&space, address, Rights::READ_WRITE)
    }

    /// Lets a device, or the NIC, reach `page` at `address`.
    fn open_to(&mut self, device: Option<u16>, page: Page, address: u64) -> Result<(), Error> {
        let confinement = self.confinement.as_ref().ok_or(Error::InvalidArgument)?;
        let (levels, mut tables) = (confinement.levels, confinement.tables.clone());
        let slot = match device {
            None => confinement.space,
            Some(device) => {
                tables.clear();
                self.make_io_space(device)?
            }
        };
        // SAFETY: made by `confine`, or just now.
        let space: IOSpace = unsafe { Cap::from_bits(slot) };
        self.ensure_io_tables(&space, levels, address, &mut tables)?;
        // SAFETY: the caller made it.
        unsafe { granule(page.slot()) }.frame_map_io(&space, address, Rights::READ_WRITE)
    }
}

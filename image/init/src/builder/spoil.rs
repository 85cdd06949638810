//! What a faulty or malicious root task would build: one difference for each
//! feature, so that tests see the proof after boot find it. Without these
//! features nothing of this is there.

use ipc::boot::slot;
use sel4::cap::{Cache, MintData, ObjectKind};
use sel4::{Error, Rights};

use super::{Work, lookup};
use crate::resources::Page;
use crate::space::Space;

/// A slot that no description fills.
const SLOT: u64 = 77;
/// Where no region is.
const NOWHERE: u64 = 0x3000_0000;

impl Work<'_> {
    /// Builds the differences that this program's features ask for.
    pub(super) fn spoil(&mut self, fault: u64) -> Result<(), Error> {
        if cfg!(feature = "spoil-slot") {
            // A second capability, which its holder was not given.
            let source = self.resources.slot(fault);
            let cspace = lookup(&self.cspaces, 0)?;
            let target = cspace.slot(SLOT, 64 - slot::LOW_BITS);
            target.mint(&source, Rights::CALL, MintData::Badge(1))?;
        }
        if cfg!(feature = "spoil-badge") {
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
        if cfg!(feature = "spoil-page") {
            // One more page in an address space.
            let space = *lookup(&self.spaces, 0)?;
            let page = Page::Small(self.resources.make_kept(ObjectKind::Granule)?);
            // SAFETY: made by `Space::new`.
            let mut space = unsafe { Space::of(space) };
            space.map(&mut self.resources, page, NOWHERE, true, Cache::WriteBack)?;
        }
        if cfg!(feature = "spoil-monitor") {
            // Memory that this task keeps for itself.
            self.resources.make(ObjectKind::Granule)?;
        }
        Ok(())
    }
}

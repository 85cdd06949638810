//! Address spaces: pages and the tables that they need.

use alloc::vec::Vec;

use sel4::cap::{AsidPool, Cache, ObjectKind, PageDirectory, PageTable, Pdpt, VSpace};
use sel4::{Cap, Error, Rights, init_slot};

use crate::resources::{Mapping, Page, Resources, granule, large_page};

/// One address space under construction.
pub(crate) struct Space {
    vspace: VSpace,
    /// Start addresses of what the tables made so far cover, with their size.
    tables: Vec<(u64, u64)>,
}

const TABLE_SPAN: u64 = 1 << 21;
const DIRECTORY_SPAN: u64 = 1 << 30;
const POINTER_SPAN: u64 = 1 << 39;

impl Space {
    /// A new, empty address space.
    pub(crate) fn new(resources: &mut Resources) -> Result<Self, Error> {
        let slot = resources.make_kept(ObjectKind::VSpace)?;
        // SAFETY: made above.
        let vspace = unsafe { VSpace::from_bits(slot) };
        // SAFETY: the kernel put the first pool there.
        let pool = unsafe { AsidPool::from_bits(init_slot::ASID_POOL) };
        pool.assign(&vspace)?;
        Ok(Self {
            vspace,
            tables: Vec::new(),
        })
    }

    /// The root task's own address space.
    pub(crate) const fn own() -> Self {
        Self {
            // SAFETY: the kernel put it there.
            vspace: unsafe { VSpace::from_bits(init_slot::VSPACE) },
            tables: Vec::new(),
        }
    }

    /// An address space that was made before.
    ///
    /// # Safety
    /// It is in that slot.
    pub(crate) const unsafe fn of(slot: u64) -> Self {
        Self {
            // SAFETY: the caller says so.
            vspace: unsafe { VSpace::from_bits(slot) },
            tables: Vec::new(),
        }
    }

    pub(crate) const fn vspace(&self) -> &VSpace {
        &self.vspace
    }

    /// Maps one page.
    pub(crate) fn map(
        &mut self,
        resources: &mut Resources,
        page: Page,
        address: u64,
        writable: bool,
        cache: Cache,
    ) -> Result<(), Error> {
        self.ensure_tables(resources, page, address)?;
        let rights = if writable {
            Rights::READ_WRITE
        } else {
            Rights::READ
        };
        match page {
            Page::Small(slot) => {
                // SAFETY: `Page` says that a small page is there.
                let frame = unsafe { granule(slot) };
                frame.frame_map(&self.vspace, address, rights, cache)
            }
            Page::Large(slot) => {
                // SAFETY: `Page` says that a large page is there.
                let frame = unsafe { large_page(slot) };
                frame.frame_map(&self.vspace, address, rights, cache)
            }
        }?;
        let space = self.vspace.bits();
        resources.mapped(Mapping::new(space, address, page, writable, cache));
        Ok(())
    }

    /// Maps pages one after the other.
    pub(crate) fn map_all(
        &mut self,
        resources: &mut Resources,
        pages: &[Page],
        address: u64,
        writable: bool,
    ) -> Result<(), Error> {
        let mut at = address;
        for page in pages {
            self.map(resources, *page, at, writable, Cache::WriteBack)?;
            at += page.bytes();
        }
        Ok(())
    }

    fn ensure_tables(
        &mut self,
        resources: &mut Resources,
        page: Page,
        address: u64,
    ) -> Result<(), Error> {
        for (span, kind) in [
            (POINTER_SPAN, ObjectKind::Pdpt),
            (DIRECTORY_SPAN, ObjectKind::PageDirectory),
            (TABLE_SPAN, ObjectKind::PageTable),
        ] {
            let covered = (address - address % span, span);
            let needed = kind != ObjectKind::PageTable || matches!(page, Page::Small(_));
            if !needed || self.tables.contains(&covered) {
                continue;
            }
            let slot = resources.make_kept(kind)?;
            let mapped = match kind {
                ObjectKind::Pdpt => {
                    // SAFETY: made above, of that kind.
                    let table: Pdpt = unsafe { Cap::from_bits(slot) };
                    table.table_map(&self.vspace, address)
                }
                ObjectKind::PageDirectory => {
                    // SAFETY: made above, of that kind.
                    let table: PageDirectory = unsafe { Cap::from_bits(slot) };
                    table.table_map(&self.vspace, address)
                }
                _ => {
                    // SAFETY: made above, of that kind.
                    let table: PageTable = unsafe { Cap::from_bits(slot) };
                    table.table_map(&self.vspace, address)
                }
            };
            match mapped {
                // The kernel made some of the root task's own tables.
                Ok(()) | Err(Error::DeleteFirst) => self.tables.push(covered),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

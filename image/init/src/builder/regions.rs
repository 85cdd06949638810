//! Tables of endpoints, and memory with a name.

use init::Content;
use ipc::boot::PAGE;
use sel4::cap::{CNode, Cache, ObjectKind};
use sel4::{Error, Rights};

use super::{SCRATCH, Work, lookup};
use crate::resources::{Page, granule};

impl Work<'_> {
    pub(super) fn make_tables(&mut self) -> Result<(), Error> {
        for table in &self.plan.tables {
            let slot = self.resources.make(ObjectKind::CNode(table.radix))?;
            // SAFETY: made just now.
            let cnode = unsafe { CNode::from_bits(slot) };
            for (index, domain) in table.endpoints.iter().enumerate() {
                let endpoint = *lookup(&self.endpoints, *domain)?;
                let source = self.resources.slot(endpoint);
                let target = cnode.slot(index as u64, table.radix);
                target.copy(&source, Rights::CALL)?;
                self.capabilities += 1;
            }
            self.tables.push(slot);
        }
        Ok(())
    }

    pub(super) fn make_regions(&mut self) -> Result<(), Error> {
        for (number, region) in self.plan.regions.iter().enumerate() {
            let address = self.region_address(number);
            let pages = match region.content {
                Content::Zero | Content::Snapshot => {
                    self.resources.make_pages(address, region.bytes)?
                }
                Content::Dma => self.resources.make_contiguous(region.bytes)?,
                Content::Pages(first) => {
                    let count = region.bytes / PAGE;
                    (0..count)
                        .map(|index| self.image_page(u64::from(first) + index))
                        .collect::<Result<_, _>>()?
                }
            };
            self.regions.push(pages);
        }
        Ok(())
    }

    /// Where the region is mapped first; all places agree modulo 2 MiB.
    pub(super) fn region_address(&self, number: usize) -> u64 {
        let maps = self.plan.domains.iter().flat_map(|domain| &domain.maps);
        maps.filter(|map| usize::from(map.region) == number)
            .map(|map| map.address)
            .next()
            .unwrap_or(0)
    }

    /// Takes one page of the image out of this address space.
    pub(super) fn image_page(&mut self, page: u64) -> Result<Page, Error> {
        if page >= self.image.pages {
            return Err(Error::RangeError);
        }
        let slot = self.image.first_slot + page;
        // SAFETY: the kernel put the frames of the root task's image there.
        unsafe { granule(slot) }.frame_unmap()?;
        self.resources.keep(slot);
        Ok(Page::Small(slot))
    }

    /// Writes `value` at the start of `page`.
    ///
    /// # Safety
    /// `T` is plain numbers without padding and fits a page.
    pub(super) unsafe fn fill_page<T: Copy>(&mut self, page: Page, value: &T) -> Result<(), Error> {
        let copy = self.resources.copy(page.slot(), Rights::READ_WRITE)?;
        let resources = &mut self.resources;
        self.own.map(
            resources,
            Page::Small(copy),
            SCRATCH,
            true,
            Cache::WriteBack,
        )?;
        // SAFETY: the page was mapped there just now, and nothing else is
        // there; it is larger than `T`.
        unsafe { (SCRATCH as *mut T).write(*value) };
        // This kernel leaves the mapping when a copy is only deleted.
        // SAFETY: copied above.
        unsafe { granule(copy) }.frame_unmap()?;
        self.resources.unmapped_last();
        self.resources.slot(copy).delete()
    }
}

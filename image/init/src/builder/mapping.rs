//! What each domain sees: its program, its log ring, the time, its regions.

use init::Domain;
use ipc::boot::{LOG_BYTES, PAGE, place};
use sel4::cap::{Cache, ObjectKind};
use sel4::{Error, Rights};

use super::{Work, lookup};
use crate::resources::Page;
use crate::space::Space;

impl Work<'_> {
    pub(super) fn map_program(&mut self, space: &mut Space, domain: &Domain) -> Result<(), Error> {
        for segment in &domain.segments {
            let mut address = segment.address;
            for index in 0..segment.pages {
                let page = self.image_page(u64::from(segment.page + index))?;
                let resources = &mut self.resources;
                space.map(resources, page, address, segment.writable, Cache::WriteBack)?;
                address += PAGE;
            }
            let zeros = u64::from(segment.zero_pages) * PAGE;
            let pages = self.resources.make_pages(address, zeros)?;
            space.map_all(&mut self.resources, &pages, address, segment.writable)?;
        }
        Ok(())
    }

    pub(super) fn map_log(&mut self, space: &mut Space, watched: u64) -> Result<(), Error> {
        for index in 0..LOG_BYTES / PAGE {
            let frame = self.resources.make_kept(ObjectKind::Granule)?;
            let copy = self.resources.copy(frame, Rights::READ)?;
            self.resources.keep(copy);
            let at = index * PAGE;
            let resources = &mut self.resources;
            let (ours, theirs) = (Page::Small(copy), Page::Small(frame));
            space.map(resources, theirs, place::LOG + at, true, Cache::WriteBack)?;
            self.own
                .map(resources, ours, watched + at, false, Cache::WriteBack)?;
        }
        Ok(())
    }

    /// The time, which the domain reads.
    pub(super) fn map_clock(&mut self, space: &mut Space) -> Result<(), Error> {
        let (page, _) = self.clock.ok_or(Error::InvalidArgument)?;
        let copy = self.resources.copy(page, Rights::READ)?;
        self.resources.keep(copy);
        let page = Page::Small(copy);
        space.map(
            &mut self.resources,
            page,
            place::CLOCK,
            false,
            Cache::WriteBack,
        )
    }

    pub(super) fn map_regions(&mut self, space: &mut Space, domain: &Domain) -> Result<(), Error> {
        for map in &domain.maps {
            let pages = lookup(&self.regions, map.region)?.clone();
            let mut address = map.address;
            for page in pages {
                // Each mapping needs a capability of its own.
                let copy = self.resources.copy(page.slot(), Rights::READ_WRITE)?;
                self.resources.keep(copy);
                let copied = match page {
                    Page::Small(_) => Page::Small(copy),
                    Page::Large(_) => Page::Large(copy),
                };
                let resources = &mut self.resources;
                space.map(resources, copied, address, map.writable, Cache::WriteBack)?;
                address += page.bytes();
            }
        }
        Ok(())
    }
}

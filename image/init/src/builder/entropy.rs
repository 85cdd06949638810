//! The seed of each domain's random numbers.

use ipc::boot::place;
use sel4::cap::{Cache, ObjectKind};
use zeroize::Zeroizing;

use super::{Refusal, Work};
use crate::resources::Page;
use crate::space::Space;

impl Work<'_> {
    /// Draws a seed and leaves it in a page of that address space alone. This task
    /// forgets it: nobody who reads its memory later can tell what it was.
    pub(super) fn leave_seed(&mut self, space: &mut Space) -> Result<(), Refusal> {
        let mut seed = Zeroizing::new([0; getrandom::SEED_BYTES]);
        getrandom::getrandom(seed.as_mut_slice()).map_err(Refusal::Random)?;
        let page = Page::Small(self.resources.make_kept(ObjectKind::Granule)?);
        // SAFETY: a seed is plain bytes and fits a page.
        unsafe { self.fill_page(page, &*seed)? };
        let resources = &mut self.resources;
        space.map(resources, page, place::SEED, true, Cache::WriteBack)?;
        Ok(())
    }
}

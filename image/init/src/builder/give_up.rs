//! What the root task gives up when everything is built.

use sel4::{BootInfo, init_slot};

use super::{Refusal, Work, proof};

impl Work<'_> {
    /// Clears what is left and deletes every capability that the monitor does not need.
    pub(super) fn give_up(mut self, boot: &BootInfo, stays: &[u64]) -> Result<(), Refusal> {
        // Read now: the page with the boot information goes.
        let serial = boot.empty().end - 1;
        let resources = &mut self.resources;
        for cspace in &self.cspaces {
            resources.slot(cspace.bits()).delete()?;
        }
        let slots = self
            .endpoints
            .iter()
            .chain(&self.notifications)
            .chain(&self.tables);
        for slot in slots.filter(|slot| **slot != 0) {
            resources.slot(*slot).delete()?;
        }
        // Without its pool no address space would work.
        resources.keep(init_slot::ASID_POOL);
        // This task's own pages; those of the plan went to the domains or are
        // read no more.
        resources.keep(init_slot::IPC_BUFFER);
        let own = boot.user_image_frames().start..self.image.first_slot;
        let own = own.chain(boot.user_image_paging());
        for slot in own.chain(boot.extra_pages()) {
            resources.keep(slot);
        }
        resources.seal()?;
        let left = resources.scrub()?;
        for slot in [
            init_slot::IRQ_CONTROL,
            init_slot::ASID_CONTROL,
            init_slot::IO_PORT,
            init_slot::IO_SPACE,
            init_slot::DOMAIN,
            init_slot::BOOT_INFO,
            init_slot::VSPACE,
        ] {
            resources.slot(slot).delete()?;
        }
        let total = resources.total_memory() / 1024;
        sel4::log!("init: memory {total} KiB, left {} KiB", left / 1024);
        proof::sweep(resources, |slot| {
            slot == serial || slot == init_slot::TCB || stays.contains(&slot)
        })?;
        // Last: without it no slot of this task can change any more.
        resources.slot(init_slot::CNODE).delete()?;
        Ok(())
    }
}

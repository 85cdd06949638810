//! Where the machine tells that it goes on from a snapshot.

use ipc::boot::PAGE;
use ipc::firmware::{self, DATA, SELECTOR};
use sel4::cap::Cache;
use sel4::runtime::Ports;
use sel4::{Error, log};

use super::Work;
use crate::machine::Generation;
use crate::resources::Page;

/// The file in which QEMU keeps where the identifier is: its physical address,
/// little-endian (QEMU's `docs/specs/vmgenid`).
const FILE: &str = "etc/vmgenid_addr";
const ADDRESS: usize = 8;
/// Bytes of the identifier.
const GUID: u64 = 16;
/// It is at a multiple of this.
const ALIGNMENT: u64 = 8;
/// Where the root task maps the page with it, read-only.
const PLACE: u64 = 0x6800_0000;

impl Work<'_> {
    /// Maps the machine's generation, where the machine has one.
    pub(super) fn map_generation(&mut self) -> Result<Option<Generation>, Error> {
        let Some(address) = self.generation_address()? else {
            log!("init: no generation of the machine: snapshots go on unnoticed");
            return Ok(None);
        };
        let offset = address % PAGE;
        let page = Page::Small(self.resources.device_page(address - offset)?);
        self.own
            .map(&mut self.resources, page, PLACE, false, Cache::WriteBack)?;
        // SAFETY: mapped just now, and never unmapped; `generation_address` looked
        // at its alignment, and that the page holds all of it.
        Ok(Some(unsafe { Generation::new(PLACE + offset) }))
    }

    /// The physical address of the generation.
    fn generation_address(&mut self) -> Result<Option<u64>, Error> {
        let slot = self.ports((SELECTOR, DATA))?.bits();
        // SAFETY: issued just now.
        let ports = unsafe { Ports::new(slot) };
        let mut address = [0; ADDRESS];
        let file = firmware::find(&ports, FILE);
        if let Ok(file) = file {
            firmware::read(&ports, file, &mut address);
        }
        self.resources.slot(slot).delete()?;
        let address = u64::from_le_bytes(address);
        // Zero where the firmware gave it no place.
        let is_whole = address.is_multiple_of(ALIGNMENT) && address % PAGE <= PAGE - GUID;
        Ok((address != 0 && is_whole).then_some(address))
    }
}

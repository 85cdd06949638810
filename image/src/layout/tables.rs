//! Windows and mint sources.

use init::Capability;
use ipc::boot::slot;

use super::builder::Builder;
use super::field::{WINDOW, hex, snake, taken};
use super::placed::TableLayout;

impl Builder<'_> {
    pub(super) fn tables(&mut self) {
        for window in &self.description.windows {
            let radix = window.slots.ilog2() as u8;
            let table = self.add_table(&window.name, radix, Vec::new());
            let cptr = self.give(&window.holder, Capability::Window { table });
            let kind = "sel4::runtime::HeldWindow";
            self.domain(&window.holder).field(
                &format!("The window \"{}\".", window.name),
                &format!("window_{}", snake(&window.name)),
                kind,
                taken(&format!("{kind}::new"), &format!("{}, {radix}", hex(cptr))),
            );
            let tool = self.manage(&window.manager, table);
            let managed = taken(
                &format!("{WINDOW}::new"),
                &format!("{}, {radix}", hex(tool)),
            );
            if self.is_of_application(&window.manager, &window.name) {
                let key = (window.manager.clone(), window.name.clone());
                self.of_applications.insert(key, managed);
                continue;
            }
            self.domain(&window.manager).field(
                &format!(
                    "Fills the window \"{}\" of `{}`.",
                    window.name, window.holder
                ),
                &format!("manage_{}", snake(&window.name)),
                WINDOW,
                managed,
            );
        }
        for source in &self.description.mint_sources {
            let slots = source.endpoints.len().max(2).next_power_of_two();
            let radix = slots.ilog2() as u8;
            let endpoints: Vec<_> = source.endpoints.iter().map(|e| self.number(e)).collect();
            let table = self.add_table(&source.name, radix, endpoints);
            let tool = self.manage(&source.manager, table);
            let kind = "sel4::runtime::MintSource";
            for (index, endpoint) in source.endpoints.iter().enumerate() {
                self.domain(&source.manager).field(
                    &format!("Mints capabilities of `{endpoint}`."),
                    &format!("mint_{}_{}", snake(&source.name), snake(endpoint)),
                    kind,
                    taken(
                        &format!("{kind}::new"),
                        &format!("{}, {radix}, {index}", hex(tool)),
                    ),
                );
            }
        }
    }

    fn add_table(&mut self, name: &str, radix: u8, endpoints: Vec<u16>) -> u16 {
        self.layout.tables.push(TableLayout {
            name: name.to_string(),
            radix,
            endpoints,
        });
        (self.layout.tables.len() - 1) as u16
    }

    /// Gives the table to its manager; its address there.
    fn manage(&mut self, manager: &str, table: u16) -> u64 {
        let domain = self.domain(manager);
        domain.tools.push(table);
        let index = domain.tools.len() as u64 - 1;
        slot::cptr(slot::TOOLS) | index
    }
}

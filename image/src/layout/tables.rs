//! Windows and mint sources.

use init::Capability;
use ipc::boot::slot;

use super::builder::Builder;
use super::constant::{hex, upper};
use super::placed::TableLayout;

impl Builder<'_> {
    pub(super) fn tables(&mut self) {
        for window in &self.description.windows {
            let radix = window.slots.ilog2() as u8;
            let table = self.add_table(&window.name, radix, Vec::new());
            let cptr = self.give(&window.holder, Capability::Window { table });
            let upper_name = upper(&window.name);
            self.domain(&window.holder).constant(
                &format!("The window \"{}\": add the index of a slot.", window.name),
                &format!("WINDOW_{upper_name}"),
                "u64",
                hex(cptr),
            );
            self.manage(
                &window.manager,
                table,
                &format!("WINDOW_{upper_name}"),
                radix,
            );
        }
        for source in &self.description.mint_sources {
            let slots = source.endpoints.len().max(2).next_power_of_two();
            let radix = slots.ilog2() as u8;
            let endpoints: Vec<_> = source.endpoints.iter().map(|e| self.number(e)).collect();
            let table = self.add_table(&source.name, radix, endpoints);
            let name = format!("MINT_{}", upper(&source.name));
            self.manage(&source.manager, table, &name, radix);
            for (index, endpoint) in source.endpoints.iter().enumerate() {
                self.domain(&source.manager).constant(
                    &format!("The slot of `{endpoint}` in {name}."),
                    &format!("{name}_{}", upper(endpoint)),
                    "u64",
                    index.to_string(),
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

    fn manage(&mut self, manager: &str, table: u16, name: &str, radix: u8) {
        let domain = self.domain(manager);
        domain.tools.push(table);
        let index = domain.tools.len() as u64 - 1;
        domain.constant(
            "A table that this domain manages: address of its CNode, and radix.",
            &format!("MANAGE_{name}"),
            "(u64, u8)",
            format!("({}, {radix})", hex(slot::cptr(slot::TOOLS) | index)),
        );
    }
}

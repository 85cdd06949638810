//! Channels, regions and pages of counters.

use ipc::boot::{PAGE, place};

use super::builder::Builder;
use super::constant::{hex, upper};
use super::placed::Source;
use crate::description::MappingRights;

impl Builder<'_> {
    pub(super) fn channels(&mut self) {
        for channel in &self.description.channels {
            for domain in &mut self.layout.domains {
                domain.constant(
                    &format!("Slots of the channel \"{}\".", channel.name),
                    &format!("SLOTS_{}", upper(&channel.name)),
                    "u16",
                    channel.slots.to_string(),
                );
            }
            let sizes = channel.region_sizes();
            let [a, b] = &channel.between;
            let [size_a, size_b] = sizes;
            let by_a = self.add_region(&format!("{}: {a}", channel.name), size_a, Source::Zero);
            let by_b = self.add_region(&format!("{}: {b}", channel.name), size_b, Source::Zero);
            let rings = (channel.a_to_b_ring, channel.b_to_a_ring);
            for (side, mine, theirs, (tx, rx)) in
                [(a, by_a, by_b, rings), (b, by_b, by_a, (rings.1, rings.0))]
            {
                let mine = self.map(side, mine, true);
                let theirs = self.map(side, theirs, false);
                self.domain(side).constant(
                    &format!("The channel \"{}\" between `{a}` and `{b}`.", channel.name),
                    &format!("CHANNEL_{}", upper(&channel.name)),
                    "ipc::channel::Layout",
                    format!(
                        "ipc::channel::Layout {{ mine: {} as *mut u8, theirs: {} as *const u8, slots: {}, tx_ring: {tx}, rx_ring: {rx} }}",
                        hex(mine),
                        hex(theirs),
                        channel.slots
                    ),
                );
            }
        }
    }

    pub(super) fn regions(&mut self) {
        for region in &self.description.regions {
            let source = match &region.provision {
                Some(name) => Source::Provision(name.clone()),
                None if region.dma => Source::Dma,
                None => Source::Zero,
            };
            let number = self.add_region(&region.name, region.size, source);
            for mapping in &region.map {
                let writable = mapping.rights == MappingRights::ReadWrite;
                let address = self.map(&mapping.domain, number, writable);
                let (prefix, doc) = match region.provision {
                    Some(_) => ("PROVISION", "Boot-time data"),
                    None => ("REGION", "The region"),
                };
                self.domain(&mapping.domain).constant(
                    &format!("{doc} \"{}\": address and bytes.", region.name),
                    &format!("{prefix}_{}", upper(&region.name)),
                    "(u64, u64)",
                    format!("({}, {})", hex(address), region.size),
                );
            }
        }
    }

    /// Each domain's counters, which the gateway may read.
    pub(super) fn stats(&mut self) {
        let names: Vec<_> = self.layout.domains.iter().map(|d| d.name.clone()).collect();
        for name in &names {
            let region = self.add_region(&format!("counters: {name}"), PAGE, Source::Zero);
            self.map_at(name, region, place::STATS, true);
            if name != "gateway" && names.iter().any(|name| name == "gateway") {
                let address = self.map("gateway", region, false);
                self.domain("gateway").constant(
                    &format!("The counters of `{name}`, an `ipc::stats::Page`."),
                    &format!("STATS_{}", upper(name)),
                    "u64",
                    hex(address),
                );
            }
        }
    }
}

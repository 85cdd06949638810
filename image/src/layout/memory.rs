//! Channels, regions and pages of counters.

use ipc::boot::{PAGE, place};
use ipc::channel::Pool;

use super::builder::Builder;
use super::field::{CHANNEL, hex, snake, some, taken};
use super::placed::Source;
use crate::description::MappingRights;

/// The domain that shows all counters.
const READER: &str = "gateway";

impl Builder<'_> {
    pub(super) fn channels(&mut self) {
        for channel in &self.description.channels {
            let slots = channel.slots;
            self.layout.channels.push((channel.name.clone(), slots));
            let sizes = channel.region_sizes();
            let [a, b] = &channel.between;
            let [size_a, size_b] = sizes;
            let by_a = self.add_region(&format!("{}: {a}", channel.name), size_a, Source::Zero);
            let by_b = self.add_region(&format!("{}: {b}", channel.name), size_b, Source::Zero);
            let [from_a, from_b] = channel.rings();
            for (side, peer, mine, theirs, (tx, tx_pool), (rx, rx_pool)) in [
                (a, b, by_a, by_b, from_a, from_b),
                (b, a, by_b, by_a, from_b, from_a),
            ] {
                let [tx_pool, rx_pool] = [tx_pool, rx_pool].map(pool_of);
                let mine = hex(self.map(side, mine, true));
                let theirs = hex(self.map(side, theirs, false));
                let layout = format!(
                    "ipc::channel::Layout {{ mine: {mine} as *mut u8, \
                     theirs: {theirs} as *const u8, slots: {slots}, tx_ring: {tx}, rx_ring: {rx}, \
                     tx_pool: {tx_pool}, rx_pool: {rx_pool} }}"
                );
                let bell = self.bell(side, peer);
                let value = taken("ipc::channel::Channel::new", "layout, bell");
                let value = format!("{{\nlet layout = {layout};\nlet bell = {bell};\n{value}\n}}");
                let (kind, value) = match self.description.is_optional(peer) {
                    true => (some(CHANNEL), format!("Some({value})")),
                    false => (CHANNEL.to_string(), value),
                };
                if self.is_of_application(side, &channel.name) {
                    let key = (side.clone(), channel.name.clone());
                    self.of_applications.insert(key, value);
                    continue;
                }
                self.domain(side).field(
                    &format!("The channel \"{}\" with `{peer}`.", channel.name),
                    &format!("channel_{}", snake(&channel.name)),
                    &kind,
                    value,
                );
            }
        }
        self.left_out_channels();
    }

    /// Whoever is there would share them with a domain that is not.
    fn left_out_channels(&mut self) {
        let left_out = &self.description.left_out;
        for channel in &left_out.channels {
            let is_there =
                |side: &&String| left_out.domains.iter().all(|domain| domain.name != **side);
            for side in channel.between.iter().filter(is_there) {
                self.domain(side).field(
                    &format!(
                        "The channel \"{}\", which this image is without.",
                        channel.name
                    ),
                    &format!("channel_{}", snake(&channel.name)),
                    &some(CHANNEL),
                    "None".to_string(),
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
                // The device snapshot tells the driver where the other regions are.
                if region.provision.is_some() {
                    self.domain(&mapping.domain).field(
                        &format!("Boot-time data \"{}\".", region.name),
                        &format!("provision_{}", snake(&region.name)),
                        "&'static [u8]",
                        taken(
                            "sel4::runtime::provision",
                            &format!("({}, {})", hex(address), region.size),
                        ),
                    );
                }
            }
        }
    }

    /// Each domain's counters, which the gateway may read.
    pub(super) fn stats(&mut self) {
        let names: Vec<_> = self.layout.domains.iter().map(|d| d.name.clone()).collect();
        let mut counters = Vec::new();
        for name in &names {
            let region = self.add_region(&format!("counters: {name}"), PAGE, Source::Zero);
            self.map_at(name, region, place::STATS, true);
            if name != READER && names.iter().any(|name| name == READER) {
                let address = self.map(READER, region, false);
                let page = taken("sel4::runtime::counters_at", &hex(address));
                counters.push(format!("({name:?}, {page})"));
            }
        }
        if !counters.is_empty() {
            self.domain(READER).field(
                "The counters of each other domain.",
                "counters",
                &format!(
                    "[(&'static str, &'static ipc::stats::Page); {}]",
                    counters.len()
                ),
                format!("[{}]", counters.join(", ")),
            );
        }
    }
}

/// What lends a direction's rings their blocks, as the domain's code names it.
fn pool_of(pool: Option<Pool>) -> String {
    pool.map_or_else(
        || "None".to_string(),
        |Pool { bytes, guaranteed }| {
            format!("Some(ipc::channel::Pool {{ bytes: {bytes}, guaranteed: {guaranteed} }})")
        },
    )
}

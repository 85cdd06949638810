//! Slots and addresses, given out one after the other.

use std::collections::BTreeMap;

use init::{Capability, Map};
use ipc::boot::{PAGE, place, slot};

use super::field::taken;
use super::placed::{DomainLayout, Layout, RegionLayout, Source};
use crate::description::Description;

/// Large pages need regions that start at their multiples.
pub(super) const ALIGNMENT: u64 = 2 * 1024 * 1024;

/// A layout in the making.
pub(super) struct Builder<'a> {
    pub(super) description: &'a Description,
    pub(super) layout: Layout,
    next_slot: Vec<u64>,
    pub(super) next_address: Vec<u64>,
    /// The right to signal, as source, by who has it and whom it signals.
    pub(super) bells: BTreeMap<(String, String), String>,
    /// What the servers of applications hold for each, as source, by the holder and the
    /// name of the channel or window.
    pub(super) of_applications: BTreeMap<(String, String), String>,
}

impl<'a> Builder<'a> {
    /// The domains, with nothing placed.
    pub(super) fn new(description: &'a Description) -> Self {
        let mut domains = Vec::new();
        for domain in &description.domains {
            let mut placed = DomainLayout {
                name: domain.name.clone(),
                package: domain.package.as_ref().unwrap_or(&domain.name).clone(),
                priority: domain.priority,
                serves: domain.serves,
                stack: domain.stack,
                heap: domain.heap,
                slots: Vec::new(),
                maps: Vec::new(),
                tools: Vec::new(),
                restarts: number_of(description, &domain.restarts),
                signals: Vec::new(),
                handshakes: 0,
                fields: Vec::new(),
            };
            if domain.serves {
                let kind = "sel4::runtime::Service";
                let value = taken(&format!("{kind}::new"), "");
                placed.field("Where calls arrive.", "service", kind, value);
            }
            domains.push(placed);
        }
        let count = domains.len();
        Self {
            description,
            layout: Layout {
                domains,
                regions: Vec::new(),
                tables: Vec::new(),
                channels: Vec::new(),
                applications: Vec::new(),
                device: None,
                restart: description.restart,
                rekey_after: description.rekey_after,
            },
            next_slot: vec![slot::FIRST; count],
            next_address: vec![place::REGIONS; count],
            bells: BTreeMap::new(),
            of_applications: BTreeMap::new(),
        }
    }

    /// The number of the domain of that name.
    pub(super) fn number(&self, name: &str) -> u16 {
        let position = self.description.domains.iter().position(|d| d.name == name);
        position.map_or(u16::MAX, |number| number as u16)
    }

    /// The domain of that name.
    pub(super) fn domain(&mut self, name: &str) -> &mut DomainLayout {
        let number = usize::from(self.number(name));
        self.layout
            .domains
            .get_mut(number)
            .unwrap_or_else(|| unreachable!("checked: every name is a domain's"))
    }

    /// Gives `holder` a capability; its address.
    pub(super) fn give(&mut self, holder: &str, capability: Capability) -> u64 {
        let number = usize::from(self.number(holder));
        let next = self.next_slot.get_mut(number);
        let slot = next.map_or(0, |next| {
            *next += 1;
            *next - 1
        });
        self.domain(holder).slots.push((slot, capability));
        slot::cptr(slot)
    }

    /// A new region; its number.
    pub(super) fn add_region(&mut self, name: &str, bytes: u64, source: Source) -> u16 {
        self.layout.regions.push(RegionLayout {
            name: name.to_string(),
            bytes,
            source,
        });
        (self.layout.regions.len() - 1) as u16
    }

    /// Lets `domain` see a region; its address there. After each region an
    /// unmapped page stays.
    pub(super) fn map(&mut self, domain: &str, region: u16, writable: bool) -> u64 {
        let number = usize::from(self.number(domain));
        let bytes = self
            .layout
            .regions
            .get(usize::from(region))
            .map_or(0, |r| r.bytes);
        let Some(next) = self.next_address.get_mut(number) else {
            return 0;
        };
        let address = *next;
        *next = (address + bytes + PAGE).next_multiple_of(ALIGNMENT);
        self.map_at(domain, region, address, writable);
        address
    }

    pub(super) fn map_at(&mut self, domain: &str, region: u16, address: u64, writable: bool) {
        self.domain(domain).maps.push(Map {
            region,
            address,
            writable,
        });
    }
}

/// The numbers of the domains of those names.
fn number_of(description: &Description, names: &[String]) -> Vec<u16> {
    let position = |name: &String| description.domains.iter().position(|d| d.name == *name);
    let numbers = names.iter().filter_map(position);
    numbers.map(|number| number as u16).collect()
}

//! The pages of each address space are those of the plan, and only shared pages are in
//! two places: part of the proof after boot (ADR 0061).

use alloc::vec::Vec;

use init::{Domain, Map};
use ipc::boot::{LOG_BYTES, PAGE, place};
use sel4::cap::{Cache, VSpace};
use sel4::{Cap, Error, Rights, init_slot, log};

use super::proof::Probe;
use super::{LOG_STRIDE, LOGS, Work, lookup, time};
use crate::resources::{Mapping, Page, granule, large_page};

/// A range of pages that are mapped alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    start: u64,
    end: u64,
    writable: bool,
}

impl Work<'_> {
    /// Compares the pages with the plan, and each with the kernel's record.
    pub(super) fn walk_pages(&self, probe: &mut Probe) -> Result<usize, Error> {
        let ledger = self.resources.ledger();
        for (number, domain) in self.plan.domains.iter().enumerate() {
            let space = *lookup(&self.spaces, number as u16)?;
            // SAFETY: made by `Space::new`.
            let vspace: VSpace = unsafe { Cap::from_bits(space) };
            let own: Vec<&Mapping> = ledger.iter().filter(|m| m.space() == space).collect();
            for mapping in &own {
                if remap(mapping, &vspace).is_err() {
                    log!(
                        "policy: {}: {:#x} is not mapped",
                        domain.name,
                        mapping.address()
                    );
                    probe.wrong += 1;
                }
            }
            let found = runs(own.iter().map(|m| run(m)).collect());
            let mut wanted = self.described(domain);
            if self.is_driver(number) {
                // Where they are depends on the NIC.
                let devices = own.iter().filter(|m| m.cache() == Cache::Uncacheable);
                wanted.extend(devices.map(|m| run(m)));
            } else if own.iter().any(|m| m.cache() == Cache::Uncacheable) {
                log!("policy: {}: sees a device", domain.name);
                probe.wrong += 1;
            }
            if found != runs(wanted) {
                log!("policy: {}: its pages are not as declared", domain.name);
                probe.wrong += 1;
            }
        }
        self.walk_frames(probe)?;
        Ok(ledger.len())
    }

    fn is_driver(&self, number: usize) -> bool {
        let device = self.plan.device;
        device.is_some_and(|device| usize::from(device.domain) == number)
    }

    /// The pages that the plan gives a domain.
    fn described(&self, domain: &Domain) -> Vec<Run> {
        let range = |start: u64, bytes: u64, writable: bool| Run {
            start,
            end: start + bytes,
            writable,
        };
        let mut list = Vec::from([
            range(place::FACTS, PAGE, false),
            range(place::IPC_BUFFER, PAGE, true),
            range(place::SEED, PAGE, true),
            range(place::CLOCK, PAGE, false),
            range(place::LOG, LOG_BYTES, true),
            range(place::STACK, domain.stack, true),
            range(place::HEAP, domain.heap, true),
        ]);
        for segment in &domain.segments {
            let pages = u64::from(segment.pages + segment.zero_pages);
            list.push(range(segment.address, pages * PAGE, segment.writable));
        }
        for map in &domain.maps {
            list.push(range(map.address, self.region_bytes(map), map.writable));
        }
        list
    }

    fn region_bytes(&self, map: &Map) -> u64 {
        let region = self.plan.regions.get(usize::from(map.region));
        region.map_or(0, |region| region.bytes)
    }

    /// Memory that is mapped twice is the same piece of the same region, a log ring
    /// that the monitor reads, or the time, which it writes.
    fn walk_frames(&self, probe: &mut Probe) -> Result<(), Error> {
        let mut frames = Vec::with_capacity(self.resources.ledger().len());
        for mapping in self.resources.ledger() {
            let start = mapping.page().address()?;
            frames.push((start, start + mapping.page().bytes(), self.meaning(mapping)));
        }
        frames.sort_unstable();
        for pair in frames.windows(2) {
            if let [(start, end, first), (next, next_end, second)] = pair
                && next < end
                && (start != next || end != next_end || first != second || first.is_none())
            {
                log!("policy: memory at {next:#x} is in two places that share none");
                probe.wrong += 1;
            }
        }
        Ok(())
    }

    /// What the page is to all who see it: region and place in it, as one
    /// number; for a log ring its domain, and the time, after all regions.
    fn meaning(&self, mapping: &Mapping) -> Option<u64> {
        const LOG: u64 = 1 << 31;
        const TIME: u64 = 1 << 30;
        let meaning = |what: u64, at: u64| Some(what << 32 | at);
        if mapping.space() == init_slot::VSPACE {
            if mapping.address() == time::PLACE {
                return meaning(TIME, 0);
            }
            let at = mapping.address().checked_sub(LOGS)?;
            return meaning(LOG | (at / LOG_STRIDE), at % LOG_STRIDE);
        }
        let own = |space: &u64| *space == mapping.space();
        let number = self.spaces.iter().position(own)?;
        if (place::LOG..place::LOG + LOG_BYTES).contains(&mapping.address()) {
            return meaning(LOG | number as u64, mapping.address() - place::LOG);
        }
        if mapping.address() == place::CLOCK {
            return meaning(TIME, 0);
        }
        let maps = &self.plan.domains.get(number)?.maps;
        let map = maps.iter().find(|map| {
            let end = map.address + self.region_bytes(map);
            (map.address..end).contains(&mapping.address())
        })?;
        meaning(u64::from(map.region), mapping.address() - map.address)
    }
}

fn run(mapping: &Mapping) -> Run {
    Run {
        start: mapping.address(),
        end: mapping.address() + mapping.page().bytes(),
        writable: mapping.writable,
    }
}

/// In order, neighbours that are alike made one.
fn runs(mut list: Vec<Run>) -> Vec<Run> {
    list.retain(|run| run.start < run.end);
    list.sort_unstable();
    let mut joined: Vec<Run> = Vec::new();
    for run in list {
        match joined.last_mut() {
            Some(last) if last.end == run.start && last.writable == run.writable => {
                last.end = run.end;
            }
            _ => joined.push(run),
        }
    }
    joined
}

/// Rewrites the mapping, which the kernel does only where it exists.
fn remap(mapping: &Mapping, vspace: &VSpace) -> Result<(), Error> {
    let rights = if mapping.writable {
        Rights::READ_WRITE
    } else {
        Rights::READ
    };
    match mapping.page() {
        Page::Small(slot) => {
            // SAFETY: `Page` says that a small page is there.
            unsafe { granule(slot) }.frame_remap(vspace, mapping.address(), rights, mapping.cache())
        }
        Page::Large(slot) => {
            // SAFETY: `Page` says that a large page is there.
            unsafe { large_page(slot) }.frame_remap(
                vspace,
                mapping.address(),
                rights,
                mapping.cache(),
            )
        }
    }
}

//! How much memory a plan takes: the builder of the image tells it before the boot, the
//! root task before it makes anything.

use ipc::boot::{LOG_BYTES, PAGE, place};

use crate::{Content, Plan};

/// Bytes that one table of pages covers, and bytes of a large page.
const LARGE: u64 = 1 << 21;
/// Pages of a domain besides its program, stack, heap and log: facts, IPC buffer, seed.
const PAGES: u64 = 3;
/// Tables over those of single pages, for each address space: the three levels above.
const UPPER_TABLES: u64 = 3;
/// Parts of an address space that begin anywhere, each with a table of its own:
/// program, facts and log, stack, heap.
const PARTS: u64 = 4;
/// A thread, its CNodes, endpoints and notifications, for each domain.
const OBJECTS: u64 = 8 * PAGE;
/// Bytes of a slot for a capability.
const SLOT: u64 = 32;
/// What the root task makes for itself: tables over what it looks at, the page with the
/// time, memory for the source of entropy and the console, the IOMMU's tables, the
/// monitor's threads.
const OWN: u64 = 96 * PAGE;
/// Pages and tables of the root task itself, whose capabilities are kept.
const OWN_SLOTS: u64 = 1024;

/// Bytes of memory, besides the image's own pages, that the root task makes everything
/// of that is in `plan`.
#[must_use]
pub fn needed(plan: &Plan) -> u64 {
    let mut bytes = OWN;
    let mut kept = OWN_SLOTS;
    for domain in &plan.domains {
        let zeros = domain.segments.iter().map(|segment| segment.zero_pages);
        let zeros: u64 = zeros.map(u64::from).sum();
        let filled = domain.segments.iter().map(|segment| segment.pages);
        let filled: u64 = filled.map(u64::from).sum();
        let mapped = domain.maps.iter().filter_map(|map| {
            let region = plan.regions.get(usize::from(map.region))?;
            Some(tables(map.address, region.bytes))
        });
        let tables = mapped.sum::<u64>() + UPPER_TABLES + PARTS;
        let pages = zeros + LOG_BYTES / PAGE + PAGES + tables;
        bytes += pages * PAGE + domain.stack + domain.heap + OBJECTS;
        kept += pages + filled + pieces(place::STACK, domain.stack);
        kept += pieces(place::HEAP, domain.heap);
    }
    for (number, region) in plan.regions.iter().enumerate() {
        kept += match region.content {
            // All its places agree in that.
            Content::Zero | Content::Snapshot => {
                pieces(address(plan, number).unwrap_or(PAGE), region.bytes)
            }
            Content::Pages(_) | Content::Dma => region.bytes / PAGE,
        };
        bytes += match region.content {
            Content::Pages(_) => 0,
            Content::Zero | Content::Snapshot => region.bytes,
            // In one piece, which is a power of two.
            Content::Dma => region.bytes.next_power_of_two(),
        };
    }
    let tables = plan.tables.iter().map(|table| SLOT << table.radix);
    // What is only kept alive is in one CNode in the end.
    bytes + tables.sum::<u64>() + SLOT * kept.next_power_of_two()
}

/// Where a region is mapped first.
fn address(plan: &Plan, number: usize) -> Option<u64> {
    let mut maps = plan.domains.iter().flat_map(|domain| &domain.maps);
    let map = maps.find(|map| usize::from(map.region) == number)?;
    Some(map.address)
}

/// Large pages that `bytes` from `address` on have room for.
const fn large(address: u64, bytes: u64) -> u64 {
    ((address + bytes) / LARGE).saturating_sub(address.div_ceil(LARGE))
}

/// Pages, large and single, for `bytes` from `address` on.
const fn pieces(address: u64, bytes: u64) -> u64 {
    let large = large(address, bytes);
    large + (bytes - large * LARGE) / PAGE
}

/// Tables of single pages for `bytes` from `address` on; large pages need none.
const fn tables(address: u64, bytes: u64) -> u64 {
    let spans = (address + bytes).div_ceil(LARGE) - address / LARGE;
    spans - large(address, bytes)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{Domain, Map, Region};

    fn plan(content: Content, bytes: u64) -> Plan {
        let map = Map {
            region: 0,
            address: 0x4000_0000,
            writable: true,
        };
        Plan {
            domains: vec![Domain {
                stack: PAGE,
                heap: PAGE,
                maps: vec![map],
                ..Domain::default()
            }],
            regions: vec![Region {
                name: "one".into(),
                bytes,
                content,
            }],
            ..Plan::default()
        }
    }

    #[test]
    fn single_pages_take_a_table_for_each_two_megabytes_that_are_not_whole() {
        assert_eq!(tables(0x4000_0000, PAGE), 1);
        assert_eq!(tables(0x4000_0000, LARGE), 0);
        assert_eq!(tables(0x4000_0000, LARGE + PAGE), 1);
        assert_eq!(tables(0x4000_1000, 3 * LARGE), 2);
    }

    #[test]
    fn a_region_of_the_image_takes_no_memory_but_its_tables() {
        let bytes = 16 * PAGE;
        let (zero, filled) = (plan(Content::Zero, bytes), plan(Content::Pages(0), bytes));
        assert_eq!(needed(&zero) - needed(&filled), bytes);
        let dma = plan(Content::Dma, bytes + PAGE);
        assert_eq!(needed(&dma) - needed(&filled), 2 * bytes);
        let heap = |bytes| {
            let mut plan = plan(Content::Pages(0), PAGE);
            plan.domains[0].heap = bytes;
            needed(&plan)
        };
        // Their capabilities take memory too, as a power of two.
        let (all, slots) = (8192 * PAGE, 8192 / 512);
        assert_eq!(pieces(place::HEAP, all), slots);
        assert_eq!(heap(all) - heap(PAGE), all - PAGE);
        assert_eq!(heap(LARGE - PAGE) - heap(PAGE), LARGE - 2 * PAGE);
    }
}

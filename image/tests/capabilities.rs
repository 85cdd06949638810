//! What the build gives a domain's program is what the root task gives the domain.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up fails")]

use image::generate;
use image::layout::{DomainLayout, Layout, Source, layout};
use image::load;
use image::workspace;
use init::Capability;
use ipc::boot::{place, slot};

fn shipped() -> Layout {
    layout(&load::file(&workspace::description().unwrap()).unwrap())
}

/// How often the number stands in what the domain's program takes.
fn taken(layout: &Layout, domain: &DomainLayout, number: u64) -> usize {
    let source = generate::source(layout, domain);
    let words = source.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| *word == format!("{number:#x}")).count()
}

#[test]
fn a_program_takes_each_capability_of_its_domain_once() {
    let layout = shipped();
    for domain in &layout.domains {
        for (number, capability) in &domain.slots {
            let count = taken(&layout, domain, slot::cptr(*number));
            let name = &domain.name;
            match capability {
                // A right to signal goes with each channel to the same domain.
                Capability::Signal { .. } => assert!(count > 0, "{name}: {capability:?}"),
                _ => assert_eq!(count, 1, "{name}: {capability:?}"),
            }
        }
        for number in 0..domain.tools.len() as u64 {
            let tool = slot::cptr(slot::TOOLS) | number;
            assert_eq!(taken(&layout, domain, tool), 1, "{}", domain.name);
        }
    }
}

#[test]
fn a_program_takes_each_region_of_its_domain_once() {
    let layout = shipped();
    for domain in &layout.domains {
        for map in &domain.maps {
            let region = &layout.regions[usize::from(map.region)];
            // The runtime has the first, and the device snapshot names the second.
            let elsewhere = map.address == place::STATS || region.source == Source::Dma;
            let count = taken(&layout, domain, map.address);
            let name = &domain.name;
            assert_eq!(count, usize::from(!elsewhere), "{name}: {}", region.name);
        }
    }
}

#[test]
fn no_two_fields_of_a_program_have_one_name() {
    for domain in shipped().domains {
        let mut names: Vec<_> = domain.fields.iter().map(|field| &field.name).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "{}", domain.name);
    }
}

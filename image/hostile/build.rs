//! Writes down what each domain holds, so that this program knows in any of their
//! places what it does not hold.

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;

use image::generate;
use image::layout::{DomainLayout, Layout, Source};
use init::Capability;
use ipc::boot::slot;

fn main() -> Result<(), Box<dyn Error>> {
    let (_, layout) = generate::system()?;
    let all: Vec<String> = layout
        .domains
        .iter()
        .map(|domain| held(&layout, domain))
        .collect();
    let text = format!("pub(crate) const ALL: &[Held] = &[\n{}];\n", all.concat());
    let out = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    fs::write(Path::new(&out).join("held.rs"), text)?;
    Ok(())
}

fn held(layout: &Layout, domain: &DomainLayout) -> String {
    let mut held = vec![slot::NOTIFICATION, slot::FAULT, slot::LOG];
    let (mut calls, mut signals, mut windows) = (vec![], vec![], vec![]);
    let mut ports = vec![];
    if domain.serves {
        held.push(slot::ENDPOINT);
    }
    if !domain.tools.is_empty() {
        held.push(slot::TOOLS);
    }
    for (number, capability) in &domain.slots {
        held.push(*number);
        match capability {
            Capability::Call { .. } => calls.push(*number),
            Capability::Signal { .. } => signals.push(*number),
            Capability::Window { table } => {
                let table = layout.tables.get(usize::from(*table));
                windows.push((*number, 1_u64 << table.map_or(0, |table| table.radix)));
            }
            Capability::Ports { .. } => ports.push(*number),
            Capability::NicInterrupt
            | Capability::TimerInterrupt
            | Capability::PortInterrupt { .. } => {}
        }
    }
    let mut writable = vec![];
    for map in domain.maps.iter().filter(|map| map.writable) {
        let region = layout.regions.get(usize::from(map.region));
        writable.push((map.address, region.map_or(0, |region| region.bytes)));
    }
    let mut regions = domain.maps.iter();
    let nic = regions.find(|map| {
        let region = layout.regions.get(usize::from(map.region));
        region.is_some_and(|region| region.source == Source::Snapshot)
    });
    let nic = nic.map(|map| map.address);
    let (name, tools) = (&domain.name, domain.tools.len());
    format!(
        "Held {{ name: {name:?}, slots: &{held:?}, calls: &{calls:?}, signals: &{signals:?}, \
         ports: &{ports:?}, \
         windows: &{windows:?}, tools: {tools}, writable: &{writable:?}, nic: {nic:?} }},\n"
    )
}

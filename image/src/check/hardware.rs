//! The NIC, I/O ports and their interrupts.

use anyhow::{Result, ensure};

use super::names::{Domains, find, unique};
use crate::description::Description;

pub(super) fn devices(description: &Description, domains: &Domains<'_>) -> Result<()> {
    for device in &description.devices {
        let whose = format!("device {}", device.name);
        find(domains, &device.domain, &whose)?;
        ensure!(device.name == "nic", "{whose}: only \"nic\" is known");
        for name in &device.reaches {
            let region = description.regions.iter().find(|r| r.name == *name);
            ensure!(
                region.is_some_and(|region| region.dma),
                "{whose}: it reaches \"{name}\", which is no region with dma = true"
            );
        }
    }
    for region in description.regions.iter().filter(|region| region.dma) {
        let mut devices = description.devices.iter();
        ensure!(
            devices.any(|device| device.reaches.contains(&region.name)),
            "region {}: it has dma = true, and no device reaches it",
            region.name
        );
    }
    let dma = description
        .regions
        .iter()
        .filter(|region| region.dma)
        .count();
    ensure!(dma <= 1, "there are two regions with dma = true");
    ensure!(
        description.devices.len() <= 1,
        "there are two devices; one is supported"
    );
    Ok(())
}

/// What the root task and the monitor drive themselves: interval timer, clock,
/// serial line, configuration of PCI.
const OWN_PORTS: [(u16, u16); 4] = [(0x40, 0x43), (0x70, 0x71), (0x3f8, 0x3ff), (0xcf8, 0xcff)];
/// Pins of the I/O APIC that no other device uses.
const FREE_PINS: [u8; 4] = [3, 5, 6, 7];

pub(super) fn ports(description: &Description, domains: &Domains<'_>) -> Result<()> {
    let ports = &description.ports;
    unique(ports.iter().map(|port| port.name.as_str()), "ports")?;
    let pins = ports.iter().filter_map(|port| port.interrupt);
    let mut taken: Vec<(u16, u16, &str)> = OWN_PORTS
        .iter()
        .map(|(first, last)| (*first, *last, "the monitor"))
        .collect();
    for port in ports {
        let whose = format!("port {}", port.name);
        find(domains, &port.domain, &whose)?;
        let (first, last) = (port.first, port.last);
        ensure!(
            first <= last && first > 0 && last < u16::MAX,
            "{whose}: {first:#x} to {last:#x} is no range"
        );
        for (from, to, other) in &taken {
            ensure!(
                last < *from || *to < first,
                "{whose}: {first:#x} to {last:#x} is {other}'s in part"
            );
        }
        taken.push((first, last, &port.name));
    }
    for pin in pins.clone() {
        ensure!(
            FREE_PINS.contains(&pin),
            "interrupt {pin} is not to be had; write one of {FREE_PINS:?}"
        );
    }
    ensure!(
        pins.count() <= 1,
        "there are two ports with an interrupt; one is supported"
    );
    Ok(())
}

//! How assertions about domains are judged that they name.

use std::collections::BTreeSet;

use init::Capability;
use ipc::boot::slot;

use super::assertion::{
    BadgeRights, Bound, Callers, Grant, Hardware, HardwareKind, Kind, Reaches, Sees, Unreachable,
};
use super::report::Breaks;
use super::system::{Edge, Memory, System, capabilities, grantable, is_interrupt};
use crate::layout::DomainLayout;

/// Names that are no domain's: an assertion about no domain would always hold.
fn strangers<'a>(system: &System<'_>, names: impl IntoIterator<Item = &'a String>) -> Breaks {
    let names = names.into_iter();
    let strangers = names.filter(|name| *name != "*" && !system.knows(name));
    strangers
        .map(|name| format!("there is no domain \"{name}\""))
        .collect()
}

/// `pattern` may end in `*`.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

pub(super) fn unreachable(asserted: &Unreachable, system: &System<'_>) -> Breaks {
    let Unreachable {
        from,
        to,
        by,
        unless_through,
        ignoring,
        ..
    } = asserted;
    let named = from.iter().chain(to).chain(unless_through);
    let mut breaks = strangers(system, named);
    for pattern in ignoring {
        if !system.knows_memory(|name| matches(pattern, name)) {
            breaks.push(format!("no memory is called \"{pattern}\""));
        }
    }
    let allows = |edge: &Edge| {
        by.contains(&edge.kind)
            && !(edge.kind == Kind::Memory && ignoring.iter().any(|p| matches(p, &edge.by)))
    };
    let everybody = || {
        system
            .layout
            .domains
            .iter()
            .map(|domain| domain.name.as_str())
    };
    let expand = |list: &'_ [String]| -> Vec<String> {
        if list.iter().any(|name| name == "*") {
            everybody().map(str::to_string).collect()
        } else {
            list.to_vec()
        }
    };
    for from in expand(from) {
        for to in expand(to).into_iter().filter(|to| *to != from) {
            let guards_stand = |name: &String| unless_through.contains(name);
            if guards_stand(&from) || guards_stand(&to) {
                continue;
            }
            if let Some(path) = system.path(&from, &to, unless_through, allows) {
                breaks.push(words(&from, &path));
            }
        }
    }
    breaks
}

/// A path as a sentence.
fn words(from: &str, path: &[&Edge]) -> String {
    let mut text = from.to_string();
    for (index, edge) in path.iter().enumerate() {
        let link = if index == 0 { " " } else { ", which " };
        text += &format!("{link}{} {}", edge.words(), edge.to);
    }
    text
}

pub(super) fn callers(asserted: &Callers, system: &System<'_>) -> Breaks {
    let mut breaks = strangers(system, asserted.are.iter().chain([&asserted.of]));
    let calls = system.edges.iter();
    let calls: Vec<_> = calls
        .filter(|edge| edge.kind == Kind::Call && edge.to == asserted.of)
        .collect();
    for call in &calls {
        if !asserted.are.contains(&call.from) {
            breaks.push(words(&call.from, &[call]));
        }
    }
    let missing = asserted
        .are
        .iter()
        .filter(|name| calls.iter().all(|c| c.from != **name));
    breaks.extend(missing.map(|name| format!("{name} does not call {}", asserted.of)));
    breaks
}

pub(super) fn sees(asserted: &Sees, system: &System<'_>) -> Breaks {
    let Sees {
        region,
        provision,
        readers,
        writers,
        optional,
        ..
    } = asserted;
    let mut breaks = if *optional {
        Breaks::new()
    } else {
        strangers(system, readers.iter().chain(writers))
    };
    let wanted = |memory: &&Memory| match (region, provision) {
        (Some(pattern), None) => matches(pattern, &memory.name),
        (None, Some(name)) => memory.provision.as_ref() == Some(name),
        _ => false,
    };
    let mut found = 0;
    for memory in system.memory.iter().filter(wanted) {
        found += 1;
        for writer in memory.writers.iter().filter(|name| !writers.contains(name)) {
            breaks.push(format!("{writer} may write \"{}\"", memory.name));
        }
        let seen_by = |name: &&String| !readers.contains(name) && !writers.contains(name);
        for reader in memory.readers.iter().filter(seen_by) {
            breaks.push(format!("{reader} may read \"{}\"", memory.name));
        }
    }
    let is_known = |pattern: &String| system.knows_memory(|name| matches(pattern, name));
    if found == 0 && !optional && !region.as_ref().is_some_and(is_known) {
        breaks.push("there is no such memory".to_string());
    }
    breaks
}

pub(super) fn hardware(asserted: &Hardware, system: &System<'_>) -> Breaks {
    let description = system.description;
    let holders: Vec<(String, String)> = match asserted.what {
        HardwareKind::Registers => {
            let devices = description.devices.iter();
            devices
                .map(|device| (device.domain.clone(), device.name.clone()))
                .collect()
        }
        HardwareKind::Dma => {
            let regions = system.memory.iter().filter(|memory| memory.dma);
            regions
                .flat_map(|memory| {
                    let all = memory.writers.iter().chain(&memory.readers);
                    all.map(|domain| (domain.clone(), format!("region {}", memory.name)))
                })
                .collect()
        }
        HardwareKind::Interrupts => capabilities(system)
            .filter(|(_, held)| is_interrupt(held))
            .filter(|(_, held)| !matches!(held, Capability::PortInterrupt { .. }))
            .map(|(domain, held)| (domain.name.clone(), format!("{held:?}")))
            .collect(),
        HardwareKind::Ports => {
            let ports = description.ports.iter();
            ports
                .map(|port| (port.domain.clone(), format!("port {}", port.name)))
                .collect()
        }
    };
    holders
        .into_iter()
        .filter(|(domain, _)| !asserted.only.contains(domain))
        .map(|(domain, what)| format!("{domain} has {what}"))
        .collect()
}

pub(super) fn reaches(asserted: &Reaches, system: &System<'_>) -> Breaks {
    let mut devices = system.description.devices.iter();
    let Some(device) = devices.find(|device| device.name == asserted.device) else {
        return vec![format!("there is no device \"{}\"", asserted.device)];
    };
    let more = device.reaches.iter();
    more.filter(|region| !asserted.only.contains(region))
        .map(|region| format!("{} reaches region {region}", device.name))
        .collect()
}

pub(super) fn badge_rights(asserted: &BadgeRights, system: &System<'_>) -> Breaks {
    let BadgeRights {
        server,
        badge,
        holder,
        ..
    } = asserted;
    let mut breaks = strangers(system, [server, holder]);
    let calls = system.description.calls.iter();
    let holders: Vec<_> = calls
        .filter(|call| call.to == *server && call.badge == *badge)
        .map(|call| call.from.as_str())
        .collect();
    if !holders.contains(&holder.as_str()) {
        breaks.push(format!("{holder} does not hold it"));
    }
    let others = holders.iter().filter(|name| **name != holder.as_str());
    breaks.extend(others.map(|name| format!("{name} holds it")));
    breaks
}

pub(super) fn grant(asserted: &Grant, system: &System<'_>) -> Breaks {
    let Grant {
        manager,
        holder,
        endpoints,
        ..
    } = asserted;
    let named = endpoints.iter().chain([manager, holder]);
    let mut breaks = strangers(system, named);
    let mut windows = system.description.windows.iter();
    if !windows.any(|window| window.manager == *manager && window.holder == *holder) {
        breaks.push(format!("{manager} has no window of {holder}"));
    }
    let more = grantable(system.description, manager);
    let more: BTreeSet<&str> = more
        .filter(|endpoint| !endpoints.iter().any(|allowed| allowed == endpoint))
        .collect();
    breaks.extend(
        more.iter()
            .map(|name| format!("{manager} may hand out calls of {name}")),
    );
    breaks
}

pub(super) fn bound(asserted: &Bound, system: &System<'_>) -> Breaks {
    let found = system
        .layout
        .domains
        .iter()
        .find(|d| d.name == asserted.domain);
    let Some(domain) = found else {
        return strangers(system, [&asserted.domain]);
    };
    let mut breaks = Breaks::new();
    let (memory, slots) = (memory_of(domain, system), slots_of(domain, system));
    if memory > asserted.memory {
        breaks.push(format!("it has {} KiB", memory / 1024));
    }
    if slots > asserted.slots {
        breaks.push(format!("it has {slots} capabilities"));
    }
    breaks
}

/// Stack, heap, and all memory that the domain sees.
fn memory_of(domain: &DomainLayout, system: &System<'_>) -> u64 {
    let sees = |memory: &&Memory| {
        memory.writers.contains(&domain.name) || memory.readers.contains(&domain.name)
    };
    let memory = system.memory.iter().filter(sees);
    memory.map(|memory| memory.bytes).sum()
}

/// Capabilities of the domain's CSpace, full windows and its tools counted.
fn slots_of(domain: &DomainLayout, system: &System<'_>) -> u64 {
    let fixed = [slot::NOTIFICATION, slot::FAULT, slot::LOG].len() as u64;
    let windows = domain.slots.iter().map(|(_, capability)| match capability {
        Capability::Window { table } => {
            let table = system.layout.tables.get(usize::from(*table));
            1 + table.map_or(0, |table| 1 << table.radix)
        }
        _ => 1,
    });
    let tools = domain.tools.len() as u64 + u64::from(!domain.tools.is_empty());
    fixed + u64::from(domain.serves) + windows.sum::<u64>() + tools
}

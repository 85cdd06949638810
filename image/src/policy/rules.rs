//! How each assertion is judged.

use std::collections::BTreeSet;

use init::Capability;
use ipc::boot::slot;

use super::assertion::{
    BadgeRights, Bound, Callers, Grant, Hardware, HardwareKind, Kind, Policy, Reaches, Rule, Sees,
    Unreachable,
};
use super::system::{Edge, Memory, System, grantable};
use super::{Judged, Verdict};
use crate::description::MappingRights;
use crate::layout::DomainLayout;

/// What breaks an assertion; empty when it holds.
type Breaks = Vec<String>;

/// Judges all assertions of `policy`, in the order of its kinds.
pub(super) fn judge(policy: &Policy, system: &System<'_>) -> Vec<Judged> {
    let mut list = Vec::new();
    let mut add = |name: &str, breaks: Breaks| {
        let verdict = if breaks.is_empty() {
            Verdict::Holds
        } else {
            Verdict::Broken(breaks)
        };
        let name = name.to_string();
        list.push(Judged { name, verdict });
    };
    for asserted in &policy.everywhere {
        add(&asserted.name, everywhere(asserted.rule, policy, system));
    }
    for asserted in &policy.unreachable {
        add(&asserted.name, unreachable(asserted, system));
    }
    for asserted in &policy.callers {
        add(&asserted.name, callers(asserted, system));
    }
    for asserted in &policy.sees {
        add(&asserted.name, sees(asserted, system));
    }
    for asserted in &policy.hardware {
        add(&asserted.name, hardware(asserted, system));
    }
    for asserted in &policy.reaches {
        add(&asserted.name, reaches(asserted, system));
    }
    for asserted in &policy.badge {
        let BadgeRights {
            server,
            badge,
            holder,
            may,
        } = asserted;
        let name = format!("{holder} alone holds badge {badge:#x} of {server}: {may}");
        add(&name, badge_rights(asserted, system));
    }
    for asserted in &policy.grant {
        let Grant {
            manager,
            holder,
            endpoints,
            may,
        } = asserted;
        let endpoints = endpoints.join(" and ");
        let name = format!("{manager} hands {holder} nothing but calls of {endpoints}: {may}");
        add(&name, grant(asserted, system));
    }
    for asserted in &policy.bound {
        let (memory, slots) = (asserted.memory / 1024, asserted.slots);
        let name = format!(
            "{} has at most {memory} KiB and {slots} capabilities",
            asserted.domain
        );
        add(&name, bound(asserted, system));
    }
    list
}

/// Names that are no domain's: an assertion about no domain would always hold.
fn strangers<'a>(system: &System<'_>, names: impl IntoIterator<Item = &'a String>) -> Breaks {
    let names = names.into_iter();
    let strangers = names.filter(|name| *name != "*" && !system.knows(name));
    strangers
        .map(|name| format!("there is no domain \"{name}\""))
        .collect()
}

/// `pattern` may end in `*`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

fn everywhere(rule: Rule, policy: &Policy, system: &System<'_>) -> Breaks {
    match rule {
        Rule::OneWriter => one_writer(system),
        Rule::CallsGoUpward => calls_go_upward(system),
        Rule::NoOwnCspace => no_own_cspace(system),
        Rule::NoAuthority => no_authority(system),
        Rule::OneDriverPerInterrupt => one_driver_per_interrupt(system),
        Rule::OneDriverPerPort => one_driver_per_port(system),
        Rule::DevicesReachTheirDrivers => devices_reach_their_drivers(system),
        Rule::NeverWritableAndExecutable => never_writable_and_executable(system),
        Rule::EveryBadgeIsDeclared => every_badge_is_declared(policy, system),
        Rule::EveryGrantIsDeclared => every_grant_is_declared(policy, system),
    }
}

fn one_writer(system: &System<'_>) -> Breaks {
    let memory = system.memory.iter();
    memory
        .filter_map(|memory| match memory.writers.as_slice() {
            [first, second, ..] => Some(format!(
                "region {}: both {first} and {second} may write it",
                memory.name
            )),
            _ => None,
        })
        .collect()
}

fn calls_go_upward(system: &System<'_>) -> Breaks {
    let find = |name: &str| system.layout.domains.iter().find(|d| d.name == name);
    let mut breaks = Breaks::new();
    for call in system.edges.iter().filter(|edge| edge.kind == Kind::Call) {
        // The monitor is above all, and has no entry here.
        if let (Some(from), Some(to)) = (find(&call.from), find(&call.to))
            && to.priority <= from.priority
        {
            breaks.push(format!(
                "{} {} {}: priority {} is not above {}",
                call.from,
                call.words(),
                call.to,
                to.priority,
                from.priority
            ));
        }
    }
    breaks
}

fn no_own_cspace(system: &System<'_>) -> Breaks {
    let mut breaks = Breaks::new();
    for domain in &system.layout.domains {
        for (_, capability) in &domain.slots {
            if let Capability::Window { table } = capability
                && domain.tools.contains(table)
            {
                let name = system.layout.tables.get(usize::from(*table));
                breaks.push(format!(
                    "{} manages window {}, which it holds itself",
                    domain.name,
                    name.map_or("", |table| &table.name)
                ));
            }
        }
    }
    breaks
}

/// A plan has no variant for a capability of untyped memory, a thread, an address space
/// or a page. A new variant has to be judged here before this compiles; the monitor
/// probes the kernel for the rest.
fn no_authority(system: &System<'_>) -> Breaks {
    let is_harmless = |held: &Capability| match held {
        Capability::Call { .. }
        | Capability::Signal { .. }
        | Capability::Window { .. }
        | Capability::NicInterrupt
        | Capability::TimerInterrupt
        // Whose they are is asserted on its own.
        | Capability::Ports { .. }
        | Capability::PortInterrupt { .. } => true,
    };
    capabilities(system)
        .filter(|(_, held)| !is_harmless(held))
        .map(|(domain, held)| format!("{} holds {held:?}", domain.name))
        .collect()
}

fn capabilities<'a>(
    system: &'a System<'_>,
) -> impl Iterator<Item = (&'a DomainLayout, Capability)> {
    let domains = system.layout.domains.iter();
    domains.flat_map(|domain| domain.slots.iter().map(move |(_, held)| (domain, *held)))
}

fn one_driver_per_interrupt(system: &System<'_>) -> Breaks {
    let interrupts = capabilities(system).map(|(_, held)| held);
    let mut different = Vec::new();
    for held in interrupts.filter(is_interrupt) {
        if !different.contains(&held) {
            different.push(held);
        }
    }
    different
        .into_iter()
        .filter_map(|interrupt| {
            let all = capabilities(system);
            let holders: Vec<_> = all
                .filter(|(_, held)| *held == interrupt)
                .map(|(domain, _)| domain.name.as_str())
                .collect();
            (holders.len() > 1).then(|| format!("{interrupt:?}: {}", holders.join(", ")))
        })
        .collect()
}

/// Whether a port of one range is in another, too.
fn one_driver_per_port(system: &System<'_>) -> Breaks {
    let ranges: Vec<_> = capabilities(system)
        .filter_map(|(domain, held)| match held {
            Capability::Ports { first, last } => Some((domain.name.as_str(), first, last)),
            _ => None,
        })
        .collect();
    let mut breaks = Breaks::new();
    for (place, (name, first, last)) in ranges.iter().enumerate() {
        for (other, from, to) in ranges.iter().take(place) {
            if from <= last && first <= to {
                breaks.push(format!("{first:#x} to {last:#x}: {other}, {name}"));
            }
        }
    }
    breaks
}

fn devices_reach_their_drivers(system: &System<'_>) -> Breaks {
    let mut breaks = Breaks::new();
    for device in &system.description.devices {
        let reached = |memory: &&Memory| device.reaches.contains(&memory.name);
        for memory in system.memory.iter().filter(reached) {
            let all = memory.writers.iter().chain(&memory.readers);
            let others = all.filter(|domain| **domain != device.domain);
            breaks.extend(others.map(|domain| {
                format!(
                    "{} reaches region {}, which {domain} sees",
                    device.name, memory.name
                )
            }));
        }
    }
    breaks
}

const fn is_interrupt(held: &Capability) -> bool {
    matches!(
        held,
        Capability::NicInterrupt | Capability::TimerInterrupt | Capability::PortInterrupt { .. }
    )
}

/// Mappings know no right to execute; programs are refused by `elf`.
fn never_writable_and_executable(system: &System<'_>) -> Breaks {
    let may_execute = |rights| match rights {
        MappingRights::Read | MappingRights::ReadWrite => false,
    };
    let regions = system.description.regions.iter();
    regions
        .flat_map(|region| region.map.iter().map(move |map| (region, map)))
        .filter(|(_, map)| may_execute(map.rights))
        .map(|(region, map)| format!("region {}: {}", region.name, map.domain))
        .collect()
}

fn every_badge_is_declared(policy: &Policy, system: &System<'_>) -> Breaks {
    let calls = system.description.calls.iter();
    calls
        .filter(|call| {
            !policy.badge.iter().any(|declared| {
                declared.server == call.to
                    && declared.badge == call.badge
                    && declared.holder == call.from
            })
        })
        .map(|call| {
            format!(
                "{} calls {} with badge {:#x}",
                call.from, call.to, call.badge
            )
        })
        .collect()
}

fn every_grant_is_declared(policy: &Policy, system: &System<'_>) -> Breaks {
    let windows = system.description.windows.iter();
    windows
        .filter(|window| {
            !policy
                .grant
                .iter()
                .any(|grant| grant.manager == window.manager && grant.holder == window.holder)
        })
        .map(|window| {
            format!(
                "window {}: {} to {}",
                window.name, window.manager, window.holder
            )
        })
        .collect()
}

fn unreachable(asserted: &Unreachable, system: &System<'_>) -> Breaks {
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
        if !system
            .memory
            .iter()
            .any(|memory| matches(pattern, &memory.name))
        {
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

fn callers(asserted: &Callers, system: &System<'_>) -> Breaks {
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

fn sees(asserted: &Sees, system: &System<'_>) -> Breaks {
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
    if found == 0 && !optional {
        breaks.push("there is no such memory".to_string());
    }
    breaks
}

fn hardware(asserted: &Hardware, system: &System<'_>) -> Breaks {
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

fn reaches(asserted: &Reaches, system: &System<'_>) -> Breaks {
    let mut devices = system.description.devices.iter();
    let Some(device) = devices.find(|device| device.name == asserted.device) else {
        return vec![format!("there is no device \"{}\"", asserted.device)];
    };
    let more = device.reaches.iter();
    more.filter(|region| !asserted.only.contains(region))
        .map(|region| format!("{} reaches region {region}", device.name))
        .collect()
}

fn badge_rights(asserted: &BadgeRights, system: &System<'_>) -> Breaks {
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

fn grant(asserted: &Grant, system: &System<'_>) -> Breaks {
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

fn bound(asserted: &Bound, system: &System<'_>) -> Breaks {
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

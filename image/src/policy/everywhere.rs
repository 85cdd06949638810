//! How the rules without arguments are judged.

use init::Capability;

use super::assertion::{Kind, Policy, Rule};
use super::named::matches;
use super::report::Breaks;
use super::system::{Memory, System, capabilities, is_interrupt};
use crate::description::MappingRights;

/// What breaks a rule.
pub(super) fn everywhere(rule: Rule, policy: &Policy, system: &System<'_>) -> Breaks {
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
        Rule::EveryChannelIsDeclared => every_channel_is_declared(policy, system),
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

/// An assertion says who may write each side of a channel.
fn every_channel_is_declared(policy: &Policy, system: &System<'_>) -> Breaks {
    let is_declared = |memory: &str| {
        let patterns = policy.sees.iter().filter_map(|sees| sees.region.as_ref());
        patterns.into_iter().any(|pattern| matches(pattern, memory))
    };
    let channels = system.description.channels.iter();
    channels
        .filter(|channel| {
            let sides = channel.between.iter();
            let mut memory = sides.map(|side| format!("{}: {side}", channel.name));
            !memory.all(|memory| is_declared(&memory))
        })
        .map(|channel| {
            format!(
                "channel {}: {}",
                channel.name,
                channel.between.join(" and ")
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

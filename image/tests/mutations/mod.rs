//! Faults of the ordinary kinds, each injected into a system by itself: one call, channel,
//! badge, grant or mapping that is not as it was meant.

#![allow(clippy::indexing_slicing, reason = "places that were counted")]

use image::description::{
    Call, Channel, Description, Domain, Mapping, MappingRights, MintSource, Region, Signal, Window,
};

/// The systems with one fault each. Some of them are refused before the policy is asked.
pub(crate) fn systems(whole: &Description) -> Vec<Description> {
    let mut systems = Vec::new();
    let mut with = |change: &dyn Fn(&mut Description)| {
        let mut system = whole.clone();
        change(&mut system);
        systems.push(system);
    };
    let domains: Vec<String> = whole.domains.iter().map(|d| d.name.clone()).collect();
    for from in &domains {
        for to in domains.iter().filter(|to| *to != from) {
            with(&|system| call(system, from, to));
            with(&|system| {
                system.signals.push(Signal {
                    from: from.clone(),
                    to: to.clone(),
                });
            });
            with(&|system| system.channels.push(channel("fault", from, to)));
        }
    }
    for place in 0..whole.calls.len() {
        with(&|system| system.calls[place].badge += 77);
        with(&|system| drop(system.calls.remove(place)));
    }
    for from in &domains {
        // An application has one number at all its servers.
        with(&|system| {
            let calls = system.calls.iter_mut().filter(|call| call.from == *from);
            calls.for_each(|call| call.badge += 77);
        });
    }
    with(&|system| {
        let stranger = system.domains.last().cloned().map(|last| Domain {
            name: "stranger".into(),
            priority: 10,
            serves: false,
            heap: 4096,
            stack: 4096,
            restarts: Vec::new(),
            ..last
        });
        // The others make room: a system that fits no machine is not judged.
        system
            .domains
            .iter_mut()
            .for_each(|other| other.heap = 4096);
        system.domains.extend(stranger);
    });
    for (place, known) in whole.channels.iter().enumerate() {
        for (side, party) in known.between.iter().enumerate() {
            for other in domains.iter().filter(|d| !known.between.contains(d)) {
                with(&|system| {
                    let channel = &mut system.channels[place];
                    channel.between[side] = other.clone();
                    (channel.a_to_b_pool, channel.b_to_a_pool) = (None, None);
                    (channel.a_to_b_ring, channel.b_to_a_ring) = (64, 64);
                });
                let name = format!("{}-fault", known.name);
                with(&|system| system.channels.push(channel(&name, party, other)));
            }
        }
    }
    for domain in &domains {
        for place in 0..whole.regions.len() {
            for rights in [MappingRights::Read, MappingRights::ReadWrite] {
                let domain = domain.clone();
                let mapping = Mapping { domain, rights };
                with(&|system| system.regions[place].map = vec![mapping.clone()]);
            }
        }
        for manager in domains.iter().filter(|manager| *manager != domain) {
            with(&|system| {
                system.windows.push(Window {
                    name: "fault".into(),
                    holder: domain.clone(),
                    manager: manager.clone(),
                    slots: 2,
                });
            });
        }
        for place in 0..whole.mint_sources.len() {
            with(&|system| system.mint_sources[place].endpoints.push(domain.clone()));
        }
        for place in 0..whole.devices.len() {
            with(&|system| system.devices[place].domain = domain.clone());
        }
        for place in 0..whole.ports.len() {
            with(&|system| system.ports[place].domain = domain.clone());
        }
    }
    for Region { name, .. } in whole.regions.iter().filter(|region| region.dma) {
        // The NIC's own memory is another.
        with(&|system| {
            let regions = system.regions.iter_mut().map(|region| &mut region.name);
            let reached = system
                .devices
                .iter_mut()
                .flat_map(|device| &mut device.reaches);
            let named = regions.chain(reached).filter(|found| *found == name);
            named.for_each(|found| *found = "fault".into());
        });
    }
    for MintSource { name, .. } in &whole.mint_sources {
        with(&|system| system.mint_sources.retain(|source| source.name != *name));
    }
    systems
}

/// A call that did not exist. Who is called has an endpoint then, and if it may, a priority
/// above the caller's.
fn call(system: &mut Description, from: &str, to: &str) {
    system.calls.push(Call {
        from: from.into(),
        to: to.into(),
        badge: 77,
    });
    let callee = system.domains.iter_mut().find(|d| d.name == to);
    if let Some(callee) = callee
        && !callee.serves
    {
        callee.serves = true;
        // Who is called shares its priority with nobody.
        callee.priority += 1;
    }
}

fn channel(name: &str, a: &str, b: &str) -> Channel {
    Channel {
        name: name.into(),
        between: [a.into(), b.into()],
        slots: 1,
        a_to_b_ring: 4096,
        b_to_a_ring: 4096,
        a_to_b_pool: None,
        b_to_a_pool: None,
    }
}

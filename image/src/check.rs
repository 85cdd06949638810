//! The structure that every description has: names that exist, sizes that fit.
//! Who may hold and reach what is the matter of [`crate::policy`].

pub(crate) mod application;
mod hardware;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Deref;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use ipc::boot::PAGE;

use crate::description::{Description, Domain, LEAST_RECORDS, MOST_RECORDS};
use crate::share;
use names::{Domains, find, unique};

/// The root task has no larger piece of contiguous memory.
const MAX_DMA: u64 = 2 * 1024 * 1024;
/// What kernel, root task and programs need of it.
const RESERVED_MEMORY: u64 = 15 * 1024 * 1024;
/// Bits of a notification that are left to domains: 22 and 23 are interrupts.
pub(crate) const SIGNAL_BITS: usize = 22;
/// Slots of a window or mint source at most: the low bits of an address.
const MAX_WINDOW: u32 = 1 << ipc::boot::slot::LOW_BITS;
/// Boot-time data that the builder knows.
const PROVISIONS: [&str; 6] = [
    "keyrings",
    "gateway-config",
    "network",
    "rights",
    "offload-config",
    "capability-graph",
];

/// A description that keeps every rule of this module. What is placed, judged and drawn
/// is such a one: there every name is somebody's, and every size fits.
#[derive(Clone, Debug)]
pub struct Checked(Description);

impl Deref for Checked {
    type Target = Description;

    fn deref(&self) -> &Description {
        &self.0
    }
}

impl Checked {
    /// The description, to be changed and checked again.
    pub fn into_inner(self) -> Description {
        self.0
    }
}

/// Reads a description and checks its structure, not the policy: for those who want to
/// show every broken assertion.
///
/// # Errors
/// What is wrong, with the line for unknown keys, and the broken rule otherwise.
pub fn load(path: &Path) -> Result<Checked> {
    load_for(path, None)
}

/// The same for a machine with so many bytes of memory.
///
/// # Errors
/// As [`load`].
pub fn load_for(path: &Path, memory: Option<u64>) -> Result<Checked> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    parse_for(&text, memory).with_context(|| format!("{}", path.display()))
}

/// The same of a text.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str) -> Result<Checked> {
    parse_for(text, None)
}

/// The same for a machine with so many bytes of memory, in place of what the text says.
///
/// # Errors
/// As [`load`].
pub fn parse_for(text: &str, memory: Option<u64>) -> Result<Checked> {
    check(share::fit(text, memory)?)
}

/// Checks every rule.
///
/// # Errors
/// The first rule that is broken, and by what.
pub fn check(description: Description) -> Result<Checked> {
    rules(&description)?;
    Ok(Checked(description))
}

fn rules(description: &Description) -> Result<()> {
    let domains = domains(description)?;
    calls(description, &domains)?;
    signals(description, &domains)?;
    channels(description, &domains)?;
    regions(description, &domains)?;
    windows(description, &domains)?;
    application::check(description)?;
    hardware::devices(description, &domains)?;
    hardware::ports(description, &domains)?;
    restarts(description, &domains)?;
    records(description)?;
    memory(description)
}

fn domains(description: &Description) -> Result<Domains<'_>> {
    let list = &description.domains;
    unique(list.iter().map(|domain| domain.name.as_str()), "domains")?;
    ensure!(list.len() <= 16, "there are more than 16 domains");
    let mut priorities = BTreeMap::new();
    for domain in list {
        let Domain {
            name,
            priority,
            serves,
            ..
        } = domain;
        ensure!(
            (1..=254).contains(priority),
            "domain {name}: priority {priority} is not in 1 to 254; the monitor has 255"
        );
        // A server runs before its callers, and hangs alone (ADR 0150).
        if let Some((other, other_serves)) = priorities.insert(priority, (name, serves)) {
            ensure!(
                !serves && !other_serves,
                "domains {other} and {name} have the same priority {priority}; only domains that \
                 serve nobody may have one together"
            );
        }
        whole_pages(domain.stack, &format!("domain {name}: stack"))?;
        whole_pages(domain.heap, &format!("domain {name}: heap"))?;
        ensure!(
            domain.stack <= 16 * 1024 * 1024 && domain.heap <= 256 * 1024 * 1024,
            "domain {name}: the stack is limited to 16M and the heap to 256M"
        );
    }
    Ok(list.iter().map(|d| (d.name.as_str(), d)).collect())
}

fn calls(description: &Description, domains: &Domains<'_>) -> Result<()> {
    let mut badges = BTreeSet::new();
    let mut pairs = BTreeSet::new();
    for call in &description.calls {
        let whose = format!("call {} -> {}", call.from, call.to);
        let from = find(domains, &call.from, &whose)?;
        let to = find(domains, &call.to, &whose)?;
        ensure!(to.serves, "{whose}: {} does not serve", to.name);
        ensure!(
            badges.insert((&to.name, call.badge)),
            "{whose}: another caller of {} has the same badge",
            to.name
        );
        ensure!(
            pairs.insert((&from.name, &to.name)),
            "{whose}: this call is described twice"
        );
    }
    Ok(())
}

/// A manager must not be interrupted by the holder while it changes a window.
fn higher(high: &Domain, low: &Domain, whose: &str) -> Result<()> {
    ensure!(
        high.priority > low.priority,
        "{whose}: priority {} of {} is not above priority {} of {}",
        high.priority,
        high.name,
        low.priority,
        low.name
    );
    Ok(())
}

fn signals(description: &Description, domains: &Domains<'_>) -> Result<()> {
    for signal in &description.signals {
        let whose = format!("signal {} -> {}", signal.from, signal.to);
        find(domains, &signal.from, &whose)?;
        find(domains, &signal.to, &whose)?;
        ensure!(signal.from != signal.to, "{whose}: nobody signals itself");
    }
    for name in domains.keys() {
        let peers = description.peers_signalling(name).len();
        ensure!(
            peers <= SIGNAL_BITS,
            "domain {name}: {peers} others signal it, there are {SIGNAL_BITS} bits"
        );
    }
    Ok(())
}

fn channels(description: &Description, domains: &Domains<'_>) -> Result<()> {
    let list = &description.channels;
    unique(list.iter().map(|channel| channel.name.as_str()), "channels")?;
    for channel in list {
        let whose = format!("channel {}", channel.name);
        let [a, b] = &channel.between;
        find(domains, a, &whose)?;
        find(domains, b, &whose)?;
        ensure!(a != b, "{whose}: its two sides are the same domain");
        ensure!(
            (1..=ipc::channel::MAX_SLOTS).contains(&channel.slots),
            "{whose}: slots must be 1 to {}",
            ipc::channel::MAX_SLOTS
        );
        for ((ring, pool), [from, to]) in channel.directions().into_iter().zip([[a, b], [b, a]]) {
            ensure!(
                ring.is_power_of_two() && (64..=1 << 20).contains(&ring),
                "{whose}: a ring of {ring} bytes is no power of two from 64 to 1M"
            );
            let Some(pool) = pool else {
                continue;
            };
            ensure!(
                is_before(find(domains, to, &whose)?, find(domains, from, &whose)?),
                "{whose}: {to} reads blocks that {from} lends, which forgets who has them when it \
                 restarts: {to} has a higher priority, or restarts with it"
            );
            ensure!(
                pool.for_slots(channel.slots)
                    .suits(channel.slots, u32::try_from(ring).unwrap_or(u32::MAX)),
                "{whose}: a pool guarantees each slot 2K to 4K, and no more than its ring has, \
                 which is 64K at the most; it lends 8M at the most, and has 65535K in all, all in \
                 whole K; here each of {} slots has {} bytes and all together {} more",
                channel.slots,
                pool.guaranteed,
                pool.lent
            );
        }
    }
    Ok(())
}

/// Whether `reader` is never amid a copy out of memory of `writer` when that one restarts.
fn is_before(reader: &Domain, writer: &Domain) -> bool {
    reader.priority > writer.priority || writer.restarts.contains(&reader.name)
}

fn regions(description: &Description, domains: &Domains<'_>) -> Result<()> {
    let list = &description.regions;
    unique(list.iter().map(|region| region.name.as_str()), "regions")?;
    for region in list {
        let whose = format!("region {}", region.name);
        whole_pages(region.size, &whose)?;
        ensure!(!region.map.is_empty(), "{whose}: no domain sees it");
        ensure!(
            !region.dma || region.size <= MAX_DMA,
            "{whose}: memory for a device is limited to 2M"
        );
        let mut seen = BTreeSet::new();
        for mapping in &region.map {
            find(domains, &mapping.domain, &whose)?;
            ensure!(
                seen.insert(&mapping.domain),
                "{whose}: {} sees it twice",
                mapping.domain
            );
        }
        if let Some(provision) = &region.provision {
            ensure!(
                PROVISIONS.contains(&provision.as_str()),
                "{whose}: there is no boot-time data \"{provision}\""
            );
            ensure!(seen.len() == 1, "{whose}: boot-time data is for one domain");
            ensure!(!region.dma, "{whose}: boot-time data is not for devices");
        }
    }
    let provisions = list.iter().filter_map(|region| region.provision.as_deref());
    unique(provisions, "regions with boot-time data")
}

fn windows(description: &Description, domains: &Domains<'_>) -> Result<()> {
    let windows = description.windows.iter().map(|w| w.name.as_str());
    let sources = description.mint_sources.iter().map(|s| s.name.as_str());
    unique(windows.chain(sources), "windows or mint sources")?;
    for source in &description.mint_sources {
        let whose = format!("mint source {}", source.name);
        find(domains, &source.manager, &whose)?;
        for endpoint in &source.endpoints {
            let served = find(domains, endpoint, &whose)?;
            ensure!(served.serves, "{whose}: {endpoint} does not serve");
        }
    }
    for window in &description.windows {
        let whose = format!("window {}", window.name);
        let holder = find(domains, &window.holder, &whose)?;
        let manager = find(domains, &window.manager, &whose)?;
        higher(manager, holder, &whose)?;
        ensure!(
            (2..=MAX_WINDOW).contains(&window.slots),
            "{whose}: {} slots are not 2 to {MAX_WINDOW}",
            window.slots
        );
    }
    Ok(())
}

fn restarts(description: &Description, domains: &Domains<'_>) -> Result<()> {
    for domain in &description.domains {
        let whose = format!("domain {}: restarts", domain.name);
        for name in &domain.restarts {
            let other = find(domains, name, &whose)?;
            ensure!(
                other.priority < domain.priority,
                "{whose}: {name} has no lower priority: it can't call {}",
                domain.name
            );
            for further in &other.restarts {
                ensure!(
                    domain.restarts.contains(further),
                    "{whose}: {further} is restarted with {name} and is missing here"
                );
            }
        }
    }
    Ok(())
}

fn records(description: &Description) -> Result<()> {
    let (least, most) = (LEAST_RECORDS, MOST_RECORDS);
    ensure!(
        (least..=most).contains(&description.rekey_after),
        "rekey_after: {} records under one key; {least} to {most} may be",
        description.rekey_after
    );
    Ok(())
}

/// Whether what is described fits in the machine's memory.
pub(crate) fn memory(description: &Description) -> Result<()> {
    let domains = description.domains.iter().map(|d| d.stack + d.heap);
    let channels = description.channels.iter().map(|channel| {
        let [a, b] = channel.region_sizes();
        a + b
    });
    let regions = description.regions.iter().map(|region| region.size);
    let total: u64 = domains.chain(channels).chain(regions).sum();
    let limit = description.memory.saturating_sub(RESERVED_MEMORY);
    ensure!(
        total <= limit,
        "stacks, heaps, channels and regions take {} KiB; {} KiB are there",
        total / 1024,
        limit / 1024
    );
    Ok(())
}

fn whole_pages(bytes: u64, whose: &str) -> Result<()> {
    ensure!(
        bytes > 0 && bytes.is_multiple_of(PAGE),
        "{whose}: {bytes} bytes is no whole number of 4K pages"
    );
    Ok(())
}

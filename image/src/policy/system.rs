//! A description, as a graph: who acts on whom, and who sees what.

use std::collections::VecDeque;

use init::Capability;
use ipc::boot::{LOG_BYTES, PAGE};

use super::assertion::Kind;
use crate::check::Checked;
use crate::description::Description;
use crate::layout::{self, DomainLayout, Layout, Source};

/// The root task after boot. It holds the domains' threads, gets their faults,
/// reads their logs, writes the clock page and wakes domains by a signal.
pub const MONITOR: &str = "monitor";
/// The page by which all domains know the time (ADR 0098).
pub const CLOCK_PAGE: &str = "clock page";

/// The graph.
#[derive(Debug)]
pub struct System<'a> {
    /// What it was made of.
    pub description: &'a Description,
    /// The same, placed: what the root task builds.
    pub layout: Layout,
    /// Steps from domain to domain.
    pub edges: Vec<Edge>,
    /// All memory with a name.
    pub memory: Vec<Memory>,
}

/// One domain may act on another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Who acts.
    pub from: String,
    /// On whom.
    pub to: String,
    /// How.
    pub kind: Kind,
    /// By what: the memory's name, or the window's.
    pub by: String,
}

/// Memory with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Its name; "CHANNEL: WRITER" for one side of a channel.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// The boot-time data in it.
    pub provision: Option<String>,
    /// A device can reach it.
    pub dma: bool,
    /// Who may write it.
    pub writers: Vec<String>,
    /// Who may read it and not write it.
    pub readers: Vec<String>,
}

impl Edge {
    /// The step in words: what stands between its two domains.
    pub fn words(&self) -> String {
        match (self.kind, self.by.as_str()) {
            (Kind::Call, "") => "calls".to_string(),
            (Kind::Call, by) => format!("may be handed, in {by}, a call of"),
            (Kind::Memory, by) => format!("writes \"{by}\" that is read by"),
            (Kind::Signal, _) => "signals".to_string(),
        }
    }
}

impl<'a> System<'a> {
    /// The graph of a description.
    pub fn new(description: &'a Checked) -> Self {
        let layout = layout::layout(description);
        let memory = memory(&layout);
        let mut edges = capability_edges(description, &layout);
        // Of ways that are equally long the one by call is shown, then the one by
        // memory.
        let is_signal = |edge: &Edge| edge.kind == Kind::Signal;
        let signals: Vec<Edge> = edges.extract_if(.., |edge| is_signal(edge)).collect();
        for piece in &memory {
            for writer in &piece.writers {
                for reader in piece.readers.iter().chain(&piece.writers) {
                    if reader != writer {
                        edges.push(edge(writer, reader, Kind::Memory, &piece.name));
                    }
                }
            }
        }
        edges.extend(signals);
        Self {
            description,
            layout,
            edges,
            memory,
        }
    }

    /// Whether there is such a domain, or would be in images of other configurations.
    pub fn knows(&self, name: &str) -> bool {
        let mut left_out = self.description.left_out.domains.iter();
        name == MONITOR
            || self.layout.domains.iter().any(|d| d.name == name)
            || left_out.any(|domain| domain.name == name)
    }

    /// Whether there is memory whose name is `meant`, or would be in images of other
    /// configurations.
    pub fn knows_memory(&self, meant: impl Fn(&str) -> bool) -> bool {
        let left_out = &self.description.left_out;
        let sides = left_out.channels.iter().flat_map(|channel| {
            let sides = channel.between.iter();
            sides.map(|side| format!("{}: {side}", channel.name))
        });
        let own = left_out
            .domains
            .iter()
            .map(|d| format!("counters: {}", d.name));
        let there = self.memory.iter().map(|memory| memory.name.clone());
        there.chain(sides).chain(own).any(|name| meant(&name))
    }

    /// The shortest way from `from` to `to` over edges that `allows` lets
    /// through; in between never over one of `guards`.
    pub fn path(
        &self,
        from: &str,
        to: &str,
        guards: &[String],
        allows: impl Fn(&Edge) -> bool,
    ) -> Option<Vec<&Edge>> {
        let mut ways: Vec<Vec<&Edge>> = Vec::new();
        let mut seen = vec![from];
        let mut queue = VecDeque::from([(from, None::<usize>)]);
        while let Some((at, way)) = queue.pop_front() {
            for step in self.edges.iter().filter(|e| e.from == at && allows(e)) {
                let mut longer = way
                    .and_then(|way| ways.get(way))
                    .cloned()
                    .unwrap_or_default();
                longer.push(step);
                if step.to == to {
                    return Some(longer);
                }
                if seen.contains(&step.to.as_str()) || guards.contains(&step.to) {
                    continue;
                }
                seen.push(&step.to);
                ways.push(longer);
                queue.push_back((&step.to, Some(ways.len() - 1)));
            }
        }
        None
    }
}

fn edge(from: &str, to: &str, kind: Kind, by: &str) -> Edge {
    Edge {
        from: from.to_string(),
        to: to.to_string(),
        kind,
        by: by.to_string(),
    }
}

/// Calls and signals, those included that everybody has to the monitor, and it to
/// everybody.
fn capability_edges(description: &Description, layout: &Layout) -> Vec<Edge> {
    let name = |number: u16| {
        layout
            .domains
            .get(usize::from(number))
            .map_or("", |d| &d.name)
    };
    let mut edges = Vec::new();
    for domain in &layout.domains {
        let from = &domain.name;
        for (_, capability) in &domain.slots {
            match *capability {
                Capability::Call { domain, .. } => {
                    edges.push(edge(from, name(domain), Kind::Call, ""));
                }
                Capability::Signal { domain, .. } => {
                    edges.push(edge(from, name(domain), Kind::Signal, ""));
                }
                // What may be in it comes below; interrupts act on no domain.
                Capability::Window { .. }
                | Capability::NicInterrupt
                | Capability::TimerInterrupt
                | Capability::Ports { .. }
                | Capability::PortInterrupt { .. } => {}
            }
        }
        edges.push(edge(from, MONITOR, Kind::Call, ""));
        edges.push(edge(from, MONITOR, Kind::Signal, ""));
        // The moment that the domain asked for is there (ADR 0102).
        edges.push(edge(MONITOR, from, Kind::Signal, ""));
    }
    for window in &description.windows {
        let by = format!("window \"{}\" of {}", window.name, window.manager);
        for endpoint in grantable(description, &window.manager) {
            edges.push(edge(&window.holder, endpoint, Kind::Call, &by));
        }
    }
    edges
}

/// Each capability that a domain has from the start, with the domain.
pub(super) fn capabilities<'a>(
    system: &'a System<'_>,
) -> impl Iterator<Item = (&'a DomainLayout, Capability)> {
    let domains = system.layout.domains.iter();
    domains.flat_map(|domain| domain.slots.iter().map(move |(_, held)| (domain, *held)))
}

/// Whether it is an interrupt.
pub(super) const fn is_interrupt(held: &Capability) -> bool {
    matches!(
        held,
        Capability::NicInterrupt | Capability::TimerInterrupt | Capability::PortInterrupt { .. }
    )
}

/// The domains whose endpoints `manager` may hand out.
pub(super) fn grantable<'a>(
    description: &'a Description,
    manager: &str,
) -> impl Iterator<Item = &'a str> {
    let sources = description.mint_sources.iter();
    let own: Vec<_> = sources.filter(|s| s.manager == manager).collect();
    own.into_iter()
        .flat_map(|source| source.endpoints.iter().map(String::as_str))
}

/// All memory that a domain shares with anybody, or that has a name.
fn memory(layout: &Layout) -> Vec<Memory> {
    let mut list: Vec<Memory> = layout
        .regions
        .iter()
        .map(|region| Memory {
            name: region.name.clone(),
            bytes: region.bytes,
            provision: match &region.source {
                Source::Provision(name) => Some(name.clone()),
                Source::Zero | Source::Dma | Source::Snapshot => None,
            },
            dma: region.source == Source::Dma,
            writers: Vec::new(),
            readers: Vec::new(),
        })
        .collect();
    for domain in &layout.domains {
        for map in &domain.maps {
            let Some(memory) = list.get_mut(usize::from(map.region)) else {
                continue;
            };
            let seen_by = if map.writable {
                &mut memory.writers
            } else {
                &mut memory.readers
            };
            seen_by.push(domain.name.clone());
        }
    }
    list.push(Memory {
        name: CLOCK_PAGE.to_string(),
        bytes: PAGE,
        provision: None,
        dma: false,
        writers: vec![MONITOR.to_string()],
        readers: layout.domains.iter().map(|d| d.name.clone()).collect(),
    });
    for domain in &layout.domains {
        list.push(Memory {
            name: format!("log: {}", domain.name),
            bytes: LOG_BYTES,
            provision: None,
            dma: false,
            writers: vec![domain.name.clone()],
            readers: vec![MONITOR.to_string()],
        });
        // The facts page and the IPC buffer are the domain's own.
        list.push(Memory {
            name: format!("own: {}", domain.name),
            bytes: domain.stack + domain.heap + 2 * PAGE,
            provision: None,
            dma: false,
            writers: vec![domain.name.clone()],
            readers: Vec::new(),
        });
    }
    list
}

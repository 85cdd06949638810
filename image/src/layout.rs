//! Where everything in the description goes: addresses, slots, badges.
//!
//! Both the constants of the servers and the root task's plan are made from
//! this, so they can't disagree.

use std::collections::BTreeSet;

use init::{Capability, Map};
use ipc::badge::Badge;
use ipc::boot::{PAGE, interrupt, place, slot};

use crate::application;
use crate::description::{Channel, Description, MappingRights, Restart};

/// Large pages need regions that start at their multiples.
const ALIGNMENT: u64 = 2 * 1024 * 1024;
/// The address range for device registers.
const REGISTERS: u64 = ALIGNMENT;

/// Everything, placed.
#[derive(Clone, Debug)]
pub struct Layout {
    /// In the order of their numbers.
    pub domains: Vec<DomainLayout>,
    /// In the order of their numbers.
    pub regions: Vec<RegionLayout>,
    /// Windows and mint sources, in the order of their numbers.
    pub tables: Vec<TableLayout>,
    /// The domain with the NIC, and where its registers go.
    pub device: Option<(u16, u64)>,
    /// How often domains are restarted.
    pub restart: Restart,
    /// Records that one key seals before a new one is asked for.
    pub rekey_after: u64,
}

/// One domain, placed.
#[derive(Clone, Debug)]
pub struct DomainLayout {
    /// Its name.
    pub name: String,
    /// The package with its program.
    pub package: String,
    /// Its priority.
    pub priority: u8,
    /// It has an endpoint.
    pub serves: bool,
    /// Bytes of stack.
    pub stack: u64,
    /// Bytes of heap.
    pub heap: u64,
    /// Capabilities by slot of the root CNode.
    pub slots: Vec<(u64, Capability)>,
    /// Regions it sees.
    pub maps: Vec<Map>,
    /// Tables it manages, in the slots of its tools CNode.
    pub tools: Vec<u16>,
    /// The domains that are restarted with it.
    pub restarts: Vec<u16>,
    /// Constants for its program.
    pub constants: Vec<Constant>,
}

/// A constant of a domain's program.
#[derive(Clone, Debug)]
pub struct Constant {
    /// What it is.
    pub doc: String,
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Its value, as Rust source.
    pub value: String,
}

/// One region, placed.
#[derive(Clone, Debug)]
pub struct RegionLayout {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Where its content comes from.
    pub source: Source,
}

/// Where a region's content comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Zeros.
    Zero,
    /// The boot-time data of that name.
    Provision(String),
    /// Zeros, contiguous, reachable by the NIC.
    Dma,
    /// The root task's notes on the NIC.
    Snapshot,
}

/// One window or mint source, placed.
#[derive(Clone, Debug)]
pub struct TableLayout {
    /// Its name.
    pub name: String,
    /// Slots, as a power of two.
    pub radix: u8,
    /// Domains whose unbadged endpoints it holds.
    pub endpoints: Vec<u16>,
}

/// Who signals `domain`: the bit of each is its place here.
pub(crate) fn peers_signalling<'a>(description: &'a Description, domain: &str) -> Vec<&'a str> {
    let mut peers = BTreeSet::new();
    for signal in &description.signals {
        if signal.to == domain {
            peers.insert(signal.from.as_str());
        }
    }
    for channel in &description.channels {
        let [a, b] = &channel.between;
        if b == domain {
            peers.insert(a.as_str());
        } else if a == domain {
            peers.insert(b.as_str());
        }
    }
    peers.into_iter().collect()
}

/// Bytes of the regions that side a and side b write.
pub(crate) fn channel_sizes(channel: &Channel) -> [u64; 2] {
    [channel.a_to_b_ring, channel.b_to_a_ring].map(|ring| {
        let ring = u32::try_from(ring).unwrap_or(u32::MAX);
        ipc::channel::region_size(channel.slots, ring) as u64
    })
}

/// Places everything. The description must have been checked.
pub fn layout(description: &Description) -> Layout {
    let mut builder = Builder::new(description);
    builder.calls();
    builder.signals();
    builder.channels();
    builder.regions();
    builder.stats();
    builder.tables();
    builder.applications();
    builder.device();
    builder.ports();
    builder.layout
}

struct Builder<'a> {
    description: &'a Description,
    layout: Layout,
    next_slot: Vec<u64>,
    next_address: Vec<u64>,
}

impl<'a> Builder<'a> {
    fn new(description: &'a Description) -> Self {
        let mut domains = Vec::new();
        for (number, domain) in description.domains.iter().enumerate() {
            let mut placed = DomainLayout {
                name: domain.name.clone(),
                package: domain.package.as_ref().unwrap_or(&domain.name).clone(),
                priority: domain.priority,
                serves: domain.serves,
                stack: domain.stack,
                heap: domain.heap,
                slots: Vec::new(),
                maps: Vec::new(),
                tools: Vec::new(),
                restarts: number_of(description, &domain.restarts),
                constants: Vec::new(),
            };
            placed.constant(
                "This domain's name.",
                "NAME",
                "&str",
                format!("{:?}", domain.name),
            );
            placed.constant("This domain's number.", "DOMAIN", "u16", number.to_string());
            placed.constant(
                "Bytes of this domain's heap.",
                "HEAP",
                "usize",
                domain.heap.to_string(),
            );
            placed.constant(
                "Applications that can begin handshakes.",
                "CLIENTS",
                "u16",
                description.applications.len().to_string(),
            );
            placed.constant(
                "This domain's page of counters, an `ipc::stats::Page`.",
                "STATS",
                "u64",
                hex(place::STATS),
            );
            domains.push(placed);
        }
        let count = domains.len();
        Self {
            description,
            layout: Layout {
                domains,
                regions: Vec::new(),
                tables: Vec::new(),
                device: None,
                restart: description.restart,
                rekey_after: description.rekey_after,
            },
            next_slot: vec![slot::FIRST; count],
            next_address: vec![place::REGIONS; count],
        }
    }

    fn number(&self, name: &str) -> u16 {
        let position = self.description.domains.iter().position(|d| d.name == name);
        position.map_or(u16::MAX, |number| number as u16)
    }

    fn domain(&mut self, name: &str) -> &mut DomainLayout {
        let number = usize::from(self.number(name));
        self.layout
            .domains
            .get_mut(number)
            .unwrap_or_else(|| unreachable!("checked: every name is a domain's"))
    }

    /// Gives `holder` a capability; its address.
    fn give(&mut self, holder: &str, capability: Capability) -> u64 {
        let number = usize::from(self.number(holder));
        let next = self.next_slot.get_mut(number);
        let slot = next.map_or(0, |next| {
            *next += 1;
            *next - 1
        });
        self.domain(holder).slots.push((slot, capability));
        slot::cptr(slot)
    }

    fn add_region(&mut self, name: &str, bytes: u64, source: Source) -> u16 {
        self.layout.regions.push(RegionLayout {
            name: name.to_string(),
            bytes,
            source,
        });
        (self.layout.regions.len() - 1) as u16
    }

    /// Lets `domain` see a region; its address there. After each region an
    /// unmapped page stays.
    fn map(&mut self, domain: &str, region: u16, writable: bool) -> u64 {
        let number = usize::from(self.number(domain));
        let bytes = self
            .layout
            .regions
            .get(usize::from(region))
            .map_or(0, |r| r.bytes);
        let Some(next) = self.next_address.get_mut(number) else {
            return 0;
        };
        let address = *next;
        *next = (address + bytes + PAGE).next_multiple_of(ALIGNMENT);
        self.map_at(domain, region, address, writable);
        address
    }

    fn map_at(&mut self, domain: &str, region: u16, address: u64, writable: bool) {
        self.domain(domain).maps.push(Map {
            region,
            address,
            writable,
        });
    }

    fn calls(&mut self) {
        for call in &self.description.calls {
            let domain = self.number(&call.to);
            let badge = call.badge;
            let cptr = self.give(&call.from, Capability::Call { domain, badge });
            self.domain(&call.from).constant(
                &format!("Calls `{}`.", call.to),
                &format!("CALL_{}", upper(&call.to)),
                "u64",
                hex(cptr),
            );
            if let Some(Badge::Client(client)) = Badge::from_word(badge) {
                self.domain(&call.to).constant(
                    &format!("The client number of `{}`.", call.from),
                    &format!("CLIENT_{}", upper(&call.from)),
                    "u16",
                    client.to_string(),
                );
            }
        }
    }

    fn signals(&mut self) {
        let description = self.description;
        for to in &description.domains {
            let peers = peers_signalling(description, &to.name);
            for (bit, from) in peers.into_iter().enumerate() {
                let badge = 1 << bit;
                let domain = self.number(&to.name);
                let cptr = self.give(from, Capability::Signal { domain, badge });
                self.domain(from).constant(
                    &format!("Signals `{}`.", to.name),
                    &format!("SIGNAL_{}", upper(&to.name)),
                    "u64",
                    hex(cptr),
                );
                self.domain(&to.name).constant(
                    &format!("The bit of signals from `{from}`."),
                    &format!("FROM_{}", upper(from)),
                    "u64",
                    hex(badge),
                );
            }
        }
    }

    fn channels(&mut self) {
        for channel in &self.description.channels {
            for domain in &mut self.layout.domains {
                domain.constant(
                    &format!("Slots of the channel \"{}\".", channel.name),
                    &format!("SLOTS_{}", upper(&channel.name)),
                    "u16",
                    channel.slots.to_string(),
                );
            }
            let sizes = channel_sizes(channel);
            let [a, b] = &channel.between;
            let [size_a, size_b] = sizes;
            let by_a = self.add_region(&format!("{}: {a}", channel.name), size_a, Source::Zero);
            let by_b = self.add_region(&format!("{}: {b}", channel.name), size_b, Source::Zero);
            let rings = (channel.a_to_b_ring, channel.b_to_a_ring);
            for (side, mine, theirs, (tx, rx)) in
                [(a, by_a, by_b, rings), (b, by_b, by_a, (rings.1, rings.0))]
            {
                let mine = self.map(side, mine, true);
                let theirs = self.map(side, theirs, false);
                self.domain(side).constant(
                    &format!("The channel \"{}\" between `{a}` and `{b}`.", channel.name),
                    &format!("CHANNEL_{}", upper(&channel.name)),
                    "ipc::channel::Layout",
                    format!(
                        "ipc::channel::Layout {{ mine: {} as *mut u8, theirs: {} as *const u8, slots: {}, tx_ring: {tx}, rx_ring: {rx} }}",
                        hex(mine),
                        hex(theirs),
                        channel.slots
                    ),
                );
            }
        }
    }

    fn regions(&mut self) {
        for region in &self.description.regions {
            let source = match &region.provision {
                Some(name) => Source::Provision(name.clone()),
                None if region.dma => Source::Dma,
                None => Source::Zero,
            };
            let number = self.add_region(&region.name, region.size, source);
            for mapping in &region.map {
                let writable = mapping.rights == MappingRights::ReadWrite;
                let address = self.map(&mapping.domain, number, writable);
                let (prefix, doc) = match region.provision {
                    Some(_) => ("PROVISION", "Boot-time data"),
                    None => ("REGION", "The region"),
                };
                self.domain(&mapping.domain).constant(
                    &format!("{doc} \"{}\": address and bytes.", region.name),
                    &format!("{prefix}_{}", upper(&region.name)),
                    "(u64, u64)",
                    format!("({}, {})", hex(address), region.size),
                );
            }
        }
    }

    /// Each domain's counters, which the gateway may read.
    fn stats(&mut self) {
        let names: Vec<_> = self.layout.domains.iter().map(|d| d.name.clone()).collect();
        for name in &names {
            let region = self.add_region(&format!("counters: {name}"), PAGE, Source::Zero);
            self.map_at(name, region, place::STATS, true);
            if name != "gateway" && names.iter().any(|name| name == "gateway") {
                let address = self.map("gateway", region, false);
                self.domain("gateway").constant(
                    &format!("The counters of `{name}`, an `ipc::stats::Page`."),
                    &format!("STATS_{}", upper(name)),
                    "u64",
                    hex(address),
                );
            }
        }
    }

    fn tables(&mut self) {
        for window in &self.description.windows {
            let radix = window.slots.ilog2() as u8;
            let table = self.add_table(&window.name, radix, Vec::new());
            let cptr = self.give(&window.holder, Capability::Window { table });
            let upper_name = upper(&window.name);
            self.domain(&window.holder).constant(
                &format!("The window \"{}\": add the index of a slot.", window.name),
                &format!("WINDOW_{upper_name}"),
                "u64",
                hex(cptr),
            );
            self.manage(
                &window.manager,
                table,
                &format!("WINDOW_{upper_name}"),
                radix,
            );
        }
        for source in &self.description.mint_sources {
            let slots = source.endpoints.len().max(2).next_power_of_two();
            let radix = slots.ilog2() as u8;
            let endpoints: Vec<_> = source.endpoints.iter().map(|e| self.number(e)).collect();
            let table = self.add_table(&source.name, radix, endpoints);
            let name = format!("MINT_{}", upper(&source.name));
            self.manage(&source.manager, table, &name, radix);
            for (index, endpoint) in source.endpoints.iter().enumerate() {
                self.domain(&source.manager).constant(
                    &format!("The slot of `{endpoint}` in {name}."),
                    &format!("{name}_{}", upper(endpoint)),
                    "u64",
                    index.to_string(),
                );
            }
        }
    }

    fn applications(&mut self) {
        for constant in application::constants(self.description) {
            let domain = self.domain(&constant.domain);
            domain.constant(constant.doc, constant.name, &constant.kind, constant.value);
        }
    }

    fn add_table(&mut self, name: &str, radix: u8, endpoints: Vec<u16>) -> u16 {
        self.layout.tables.push(TableLayout {
            name: name.to_string(),
            radix,
            endpoints,
        });
        (self.layout.tables.len() - 1) as u16
    }

    fn manage(&mut self, manager: &str, table: u16, name: &str, radix: u8) {
        let domain = self.domain(manager);
        domain.tools.push(table);
        let index = domain.tools.len() as u64 - 1;
        domain.constant(
            "A table that this domain manages: address of its CNode, and radix.",
            &format!("MANAGE_{name}"),
            "(u64, u8)",
            format!("({}, {radix})", hex(slot::cptr(slot::TOOLS) | index)),
        );
    }

    fn device(&mut self) {
        let Some(device) = self.description.devices.first() else {
            return;
        };
        let number = self.number(&device.domain);
        let snapshot = self.add_region("device snapshot", PAGE, Source::Snapshot);
        let address = self.map(&device.domain, snapshot, false);
        let registers = self
            .next_address
            .get_mut(usize::from(number))
            .map_or(0, |next| {
                *next += REGISTERS;
                *next - REGISTERS
            });
        self.layout.device = Some((number, registers));
        let nic = self.give(&device.domain, Capability::NicInterrupt);
        let timer = self.give(&device.domain, Capability::TimerInterrupt);
        let domain = self.domain(&device.domain);
        for (doc, name, value) in [
            (
                "The page with an `ipc::boot::DeviceSnapshot`.",
                "DEVICE_SNAPSHOT",
                address,
            ),
            (
                "Acknowledges interrupts of the network card.",
                "IRQ_NIC",
                nic,
            ),
            ("Acknowledges interrupts of the timer.", "IRQ_TIMER", timer),
            (
                "The bit of interrupts of the network card.",
                "FROM_NIC",
                1 << interrupt::NIC,
            ),
            (
                "The bit of interrupts of the timer.",
                "FROM_TIMER",
                1 << interrupt::TIMER,
            ),
        ] {
            domain.constant(doc, name, "u64", hex(value));
        }
    }
}

impl Builder<'_> {
    fn ports(&mut self) {
        for port in &self.description.ports {
            let (first, last) = (port.first, port.last);
            let ports = self.give(&port.domain, Capability::Ports { first, last });
            let mut constants = vec![(format!("PORTS_{}", upper(&port.name)), ports)];
            if let Some(pin) = port.interrupt {
                let handler = self.give(&port.domain, Capability::PortInterrupt { pin });
                constants.push((format!("IRQ_{}", upper(&port.name)), handler));
                constants.push((format!("FROM_{}", upper(&port.name)), 1 << interrupt::PORT));
            }
            let domain = self.domain(&port.domain);
            for (name, value) in constants {
                let doc = match name.split('_').next() {
                    Some("PORTS") => format!("I/O ports {first:#x} to {last:#x}."),
                    Some("IRQ") => "Acknowledges their interrupt.".to_string(),
                    _ => "The bit of their interrupt.".to_string(),
                };
                domain.constant(&doc, &name, "u64", hex(value));
            }
        }
    }
}

impl DomainLayout {
    fn constant(&mut self, doc: &str, name: &str, kind: &str, value: String) {
        self.constants.push(Constant {
            doc: doc.to_string(),
            name: name.to_string(),
            kind: kind.to_string(),
            value,
        });
    }
}

/// The numbers of the domains of those names.
fn number_of(description: &Description, names: &[String]) -> Vec<u16> {
    let position = |name: &String| description.domains.iter().position(|d| d.name == *name);
    let numbers = names.iter().filter_map(position);
    numbers.map(|number| number as u16).collect()
}

pub(crate) fn upper(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

fn hex(value: u64) -> String {
    format!("{value:#x}")
}

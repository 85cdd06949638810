//! What a layout says.

use init::{Capability, Map};
use ipc::description::Share;

use crate::description::Restart;

/// Everything, placed.
#[derive(Clone, Debug)]
pub struct Layout {
    /// In the order of their numbers.
    pub domains: Vec<DomainLayout>,
    /// In the order of their numbers.
    pub regions: Vec<RegionLayout>,
    /// Windows and mint sources, in the order of their numbers.
    pub tables: Vec<TableLayout>,
    /// The channels, and their slots.
    pub channels: Vec<(String, u16)>,
    /// What each application may have at once, in their order.
    pub applications: Vec<Share>,
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
    /// Who signals it, and the bit of those signals.
    pub signals: Vec<(String, u64)>,
    /// An application: handshakes that it may have at once.
    pub handshakes: u16,
    /// What its program takes.
    pub fields: Vec<Field>,
}

/// A field of what a domain's program takes.
#[derive(Clone, Debug)]
pub struct Field {
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

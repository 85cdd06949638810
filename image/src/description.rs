//! The system description: what `system.toml` may say.

use std::collections::BTreeSet;

use anyhow::Result;
pub use init::supervisor::Restart;
use serde::Deserialize;

use crate::quantity::{badge, size};

/// The whole description.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Protection domains; their order gives their numbers.
    #[serde(default, rename = "domain")]
    pub domains: Vec<Domain>,
    /// Who may call whom.
    #[serde(default, rename = "call")]
    pub calls: Vec<Call>,
    /// Who may signal whom, besides the two sides of each channel.
    #[serde(default, rename = "signal")]
    pub signals: Vec<Signal>,
    /// Byte rings between two domains.
    #[serde(default, rename = "channel")]
    pub channels: Vec<Channel>,
    /// Memory with a name.
    #[serde(default, rename = "region")]
    pub regions: Vec<Region>,
    /// Slots that one domain holds and another fills.
    #[serde(default, rename = "window")]
    pub windows: Vec<Window>,
    /// Endpoints that a domain may mint badged capabilities of.
    #[serde(default, rename = "mint_source")]
    pub mint_sources: Vec<MintSource>,
    /// Who has TLS sessions.
    #[serde(default, rename = "application")]
    pub applications: Vec<Application>,
    /// Hardware.
    #[serde(default, rename = "device")]
    pub devices: Vec<Device>,
    /// I/O ports.
    #[serde(default, rename = "port")]
    pub ports: Vec<Port>,
    /// How often domains are restarted; never, when absent.
    #[serde(default)]
    pub restart: Restart,
    /// Records that one AES-GCM key seals before a new one is asked for (RFC 8446
    /// §5.5); after twice as many a session waits for it, and one of TLS 1.2 ends. The most
    /// there may be, when absent.
    #[serde(default = "most_records")]
    pub rekey_after: u64,
    /// Bytes of memory of the machine: what is described fits in it, and where it says
    /// shares there are as many sessions as fit (ADR 0192).
    #[serde(default = "least_memory", deserialize_with = "size")]
    pub memory: u64,
    /// How many those are; 0 where nothing is a share.
    #[serde(skip)]
    pub sessions: u16,
    /// What this image is built without ([`crate::left_out`]): no file says it.
    #[serde(skip)]
    pub left_out: LeftOut,
}

/// The largest and the default `rekey_after`: twice as many stay below the 2^24.5
/// full-sized records of RFC 8446 §5.5.
pub const MOST_RECORDS: u64 = 1 << 23;
/// The smallest `rekey_after`: less would be more KeyUpdates than data.
pub const LEAST_RECORDS: u64 = 64;

const fn least_memory() -> u64 {
    128 << 20
}

const fn most_records() -> u64 {
    MOST_RECORDS
}

/// A protection domain: its own address space, CSpace and thread, with an IPC
/// buffer, a notification bound to the thread, a log ring for the monitor and a
/// page of counters that the gateway may read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// The package, and the binary in it, that it runs; its name when absent.
    pub package: Option<String>,
    /// Its thread's priority, 1–254. Domains without clients may share one: then each of
    /// them gets a slice of the processor in turn.
    pub priority: u8,
    /// Stack, guarded on both sides: a number of bytes, or "128K", "2M".
    #[serde(deserialize_with = "size")]
    pub stack: u64,
    /// Heap.
    #[serde(deserialize_with = "size")]
    pub heap: u64,
    /// It has an endpoint where calls arrive.
    pub serves: bool,
    /// Domains that are restarted with it, because they can't go on without
    /// what it held.
    #[serde(default)]
    pub restarts: Vec<String>,
    /// What it is for, if not every configuration asks for that: an image whose own does
    /// not is built without this domain and its channels. Nothing else may name it but the
    /// `restarts` of others.
    pub only_for: Option<Purpose>,
    /// What it is trusted with, for the picture: secrets come to be while the system runs,
    /// so nothing else here tells of them. Without it, it decides and holds none.
    pub secrets: Option<Secrets>,
}

/// What a domain is trusted with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// How delicate that is.
    pub trust: Trust,
    /// Which secrets.
    pub what: String,
}

/// What a domain is trusted with, the most delicate first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Trust {
    /// Long-term keys.
    #[serde(rename = "long-term-keys")]
    LongTermKeys,
    /// Keys and plaintext of sessions.
    #[serde(rename = "sessions")]
    Sessions,
    /// Who may do what; no secret.
    #[serde(rename = "control")]
    Control,
    /// Bytes of strangers, and hardware.
    #[serde(rename = "outside")]
    Outside,
}

/// What a configuration may ask for or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Purpose {
    /// Handshakes in directed mode.
    #[serde(rename = "directed")]
    Directed,
}

/// What is not in an image, although its description has it.
#[derive(Clone, Debug, Default)]
pub struct LeftOut {
    /// Domains.
    pub domains: Vec<Domain>,
    /// Channels that one of them was to have.
    pub channels: Vec<Channel>,
}

/// The right to call a domain: an endpoint capability with a badge.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Who calls.
    pub from: String,
    /// Who is called; of higher priority.
    pub to: String,
    /// What the callee knows the caller by: a client number, 1–4095, or
    /// "control" for the control authority.
    #[serde(deserialize_with = "badge")]
    pub badge: u64,
}

/// The right to signal a domain: a notification capability with one bit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    /// Who signals.
    pub from: String,
    /// Who is signalled.
    pub to: String,
}

/// Rings of bytes between two domains, made of two regions: each side writes
/// one and reads the other. Both sides may signal each other.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Its name, unique.
    pub name: String,
    /// The two sides, a and b.
    pub between: [String; 2],
    /// Rings each way.
    pub slots: u16,
    /// Bytes of each ring from a to b, a power of two.
    #[serde(deserialize_with = "size")]
    pub a_to_b_ring: u64,
    /// Bytes of each ring from b to a, a power of two.
    #[serde(deserialize_with = "size")]
    pub b_to_a_ring: u64,
    /// Where the rings from a to b have no memory of their own: what lends it to them.
    pub a_to_b_pool: Option<Pool>,
    /// The same from b to a.
    pub b_to_a_pool: Option<Pool>,
}

/// Memory of one direction of a channel, lent to its slots by the side that writes it
/// ([`ipc::channel::Pool`]).
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Bytes that each slot can hold whatever others hold.
    #[serde(deserialize_with = "size")]
    pub guaranteed: u64,
    /// Bytes of all slots together beside those.
    #[serde(deserialize_with = "size")]
    pub lent: u64,
}

/// Memory that is filled at build time or shared with a device.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Its name, unique.
    pub name: String,
    /// Its size, whole pages.
    #[serde(deserialize_with = "size")]
    pub size: u64,
    /// Who sees it.
    pub map: Vec<Mapping>,
    /// The builder fills it with the boot-time data of that name; exactly one
    /// domain sees it, read-only.
    pub provision: Option<String>,
    /// It is physically contiguous and the NIC may use it.
    #[serde(default)]
    pub dma: bool,
}

/// One domain's view of a region.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// Who.
    pub domain: String,
    /// "r" or "rw".
    pub rights: MappingRights,
}

/// What a mapping allows. There is no "x": nothing but a program's own text is
/// executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum MappingRights {
    /// Read.
    #[serde(rename = "r")]
    Read,
    /// Read and write.
    #[serde(rename = "rw")]
    ReadWrite,
}

/// A second-level CNode in the holder's CSpace that its manager mints
/// capabilities into; the holder can call them and can't copy them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Its name, unique among windows and mint sources.
    pub name: String,
    /// Who may call what is in it.
    pub holder: String,
    /// Who fills it; of higher priority than the holder.
    pub manager: String,
    /// Its slots, up to 16384: as many as asked, and more up to a power of two, as the
    /// kernel has them.
    pub slots: u32,
}

/// Unbadged endpoint capabilities in a CNode of their own; their manager can
/// mint from them and can't call them unbadged by accident, since they have no
/// address in its CSpace.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MintSource {
    /// Its name, unique among windows and mint sources.
    pub name: String,
    /// Who may mint.
    pub manager: String,
    /// The domains whose endpoints are in it, in the order of its slots.
    pub endpoints: Vec<String>,
}

/// The NIC with its registers, interrupt and a timer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// "nic".
    pub name: String,
    /// Who drives it.
    pub domain: String,
    /// The regions in its I/O space: where the machine has an IOMMU, it reaches
    /// no other memory.
    #[serde(default)]
    pub reaches: Vec<String>,
}

/// A range of I/O ports, and the interrupt of their device.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Its name, unique.
    pub name: String,
    /// Who drives it.
    pub domain: String,
    /// The first port.
    pub first: u16,
    /// The last.
    pub last: u16,
    /// The pin of the I/O APIC, edge-triggered, if it has one.
    pub interrupt: Option<u8>,
}

/// A domain that has TLS sessions.
///
/// What is named here is described like any call, signal, channel or window; this groups
/// it into one application for its servers. Three domains serve an application: the
/// *network stack* at the other side of `connections`, the *record layer* at the other
/// side of `plaintext`, and the *shim*, which manages `sessions`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// Which.
    pub domain: String,
    /// TCP connections at once: those that wait to be accepted, those that it has, and
    /// those that others work on for it.
    pub tcp_connections: u16,
    /// Handshakes at once.
    pub handshakes: u16,
    /// The channel to the network stack: connections without TLS, and events for new
    /// ones.
    pub connections: String,
    /// The channel to the record layer. Its slots are the sessions at once.
    pub plaintext: String,
    /// The window for the capabilities of its sessions.
    pub sessions: String,
}

impl Description {
    /// Reads the text of a description, and checks nothing but its form.
    ///
    /// # Errors
    /// An unknown key, or a value that is none, with its line.
    pub fn parse(text: &str) -> Result<Self> {
        let mut description: Self = toml::from_str(text)?;
        for window in &mut description.windows {
            let slots = window.slots.checked_next_power_of_two();
            window.slots = slots.unwrap_or(window.slots);
        }
        Ok(description)
    }

    /// Who signals `domain`: the bit of each is its place here.
    pub(crate) fn peers_signalling(&self, domain: &str) -> Vec<&str> {
        let mut peers = BTreeSet::new();
        for signal in &self.signals {
            if signal.to == domain {
                peers.insert(signal.from.as_str());
            }
        }
        for channel in &self.channels {
            let [a, b] = &channel.between;
            if b == domain {
                peers.insert(a.as_str());
            } else if a == domain {
                peers.insert(b.as_str());
            }
        }
        peers.into_iter().collect()
    }
}

impl Channel {
    /// Rings and pools out of side a and out of side b.
    pub(crate) fn directions(&self) -> [(u64, Option<Pool>); 2] {
        [
            (self.a_to_b_ring, self.a_to_b_pool),
            (self.b_to_a_ring, self.b_to_a_pool),
        ]
    }

    /// The same as the channel's code has them.
    pub fn rings(&self) -> [(u32, Option<ipc::channel::Pool>); 2] {
        self.directions().map(|(ring, pool)| {
            let ring = u32::try_from(ring).unwrap_or(u32::MAX);
            (ring, pool.map(|pool| pool.for_slots(self.slots)))
        })
    }

    /// Bytes of the regions that side a and side b write.
    pub fn region_sizes(&self) -> [u64; 2] {
        self.rings()
            .map(|(ring, pool)| ipc::channel::region_size(self.slots, ring, pool) as u64)
    }

    /// Bytes that a slot has for itself, both ways.
    pub fn bytes_per_slot(&self) -> u64 {
        let directions = self.directions();
        let of_one = |(ring, pool): (u64, Option<Pool>)| pool.map_or(ring, |pool| pool.guaranteed);
        directions.into_iter().map(of_one).sum()
    }
}

impl Pool {
    /// The pool of so many rings.
    pub(crate) fn for_slots(self, slots: u16) -> ipc::channel::Pool {
        let bytes = self.guaranteed.saturating_mul(slots.into());
        let [bytes, guaranteed] = [bytes.saturating_add(self.lent), self.guaranteed]
            .map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX));
        ipc::channel::Pool { bytes, guaranteed }
    }
}

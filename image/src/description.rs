//! The system description: what `system.toml` may say.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
pub use init::supervisor::Restart;
use ipc::badge::Badge;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::application::Application;

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
    /// §5.5); twice as many end the session. The most there may be, when absent.
    #[serde(default = "most_records")]
    pub rekey_after: u64,
}

/// The largest and the default `rekey_after`: twice as many stay below the 2^24.5
/// full-sized records of RFC 8446 §5.5.
pub const MOST_RECORDS: u64 = 1 << 23;
/// The smallest `rekey_after`: less would be more KeyUpdates than data.
pub const LEAST_RECORDS: u64 = 64;

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
    /// Its slots, a power of two up to 4096.
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

/// Reads and checks a description.
///
/// # Errors
/// What is wrong, with the line for unknown keys, and the broken rule otherwise.
pub fn load(path: &Path) -> Result<Description> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    parse(&text).with_context(|| format!("{}", path.display()))
}

/// Reads and checks the text of a description.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str) -> Result<Description> {
    let description = parse_unjudged(text)?;
    crate::policy::judge_base(&description)?.refuse_broken()?;
    Ok(description)
}

/// Reads a description and checks its structure, not the policy: for those who
/// want to show every broken assertion.
///
/// # Errors
/// As [`load`].
pub fn load_unjudged(path: &Path) -> Result<Description> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    parse_unjudged(&text).with_context(|| format!("{}", path.display()))
}

/// The same of a text.
///
/// # Errors
/// As [`parse`], a broken policy aside.
pub fn parse_unjudged(text: &str) -> Result<Description> {
    let description: Description = toml::from_str(text)?;
    crate::check::check(&description)?;
    Ok(description)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

pub(crate) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match NumberOrText::deserialize(deserializer)? {
        NumberOrText::Number(bytes) => Ok(bytes),
        NumberOrText::Text(text) => parse_size(&text)
            .ok_or_else(|| D::Error::custom(format!("\"{text}\" is no size; write 64K or 2M"))),
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let (digits, unit) = if let Some(digits) = text.strip_suffix('K') {
        (digits, 1024)
    } else {
        (text.strip_suffix('M')?, 1024 * 1024)
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

pub(crate) fn badge<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match NumberOrText::deserialize(deserializer)? {
        NumberOrText::Number(number @ 1..=4095) => Ok(Badge::Client(number as u16).to_word()),
        NumberOrText::Text(text) if text == "control" => Ok(Badge::Control.to_word()),
        _ => Err(D::Error::custom(
            "a badge is a client number, 1 to 4095, or \"control\"",
        )),
    }
}

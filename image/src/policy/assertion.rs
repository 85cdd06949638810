//! What a policy may say: the keys of `policy.toml`.

use serde::Deserialize;

use crate::quantity;

/// All assertions of one policy.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Rules without arguments.
    #[serde(default)]
    pub everywhere: Vec<Everywhere>,
    /// Who never reaches whom.
    #[serde(default)]
    pub unreachable: Vec<Unreachable>,
    /// Who alone may call whom.
    #[serde(default)]
    pub callers: Vec<Callers>,
    /// Who alone sees a piece of memory.
    #[serde(default)]
    pub sees: Vec<Sees>,
    /// Who alone has hardware.
    #[serde(default)]
    pub hardware: Vec<Hardware>,
    /// What memory devices reach.
    #[serde(default)]
    pub reaches: Vec<Reaches>,
    /// What each badge allows.
    #[serde(default)]
    pub badge: Vec<BadgeRights>,
    /// What may be handed out while the system runs.
    #[serde(default)]
    pub grant: Vec<Grant>,
    /// Upper bounds.
    #[serde(default)]
    pub bound: Vec<Bound>,
    /// What is wanted and can't be enforced.
    #[serde(default, rename = "gap")]
    pub gaps: Vec<Gap>,
}

/// A rule without arguments.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Everywhere {
    /// The sentence that is printed.
    pub name: String,
    /// The rule.
    pub rule: Rule,
}

/// Rules without arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Each piece of memory has at most one domain that may write it.
    OneWriter,
    /// No capability that is there at the start or may be handed out later lets
    /// a domain call one of equal or lower priority.
    CallsGoUpward,
    /// No domain manages a table that it holds itself: it could give itself
    /// capabilities.
    NoOwnCspace,
    /// No domain holds untyped memory, a thread, an address space or a page.
    NoAuthority,
    /// Each interrupt is one domain's.
    OneDriverPerInterrupt,
    /// Each I/O port is one domain's.
    OneDriverPerPort,
    /// What a device reaches is seen only by its driver.
    DevicesReachTheirDrivers,
    /// No memory is mapped both writable and executable.
    NeverWritableAndExecutable,
    /// Every call that the description allows has a `[[badge]]`.
    EveryBadgeIsDeclared,
    /// Both sides of every channel have a `[[sees]]`.
    EveryChannelIsDeclared,
    /// Every way to hand out capabilities has a `[[grant]]`.
    EveryGrantIsDeclared,
}

/// A domain never reaches another, in any number of steps.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unreachable {
    /// The sentence that is printed.
    pub name: String,
    /// From each of these; `["*"]` stands for all others.
    pub from: Vec<String>,
    /// To each of these; `["*"]` stands for all others.
    pub to: Vec<String>,
    /// Steps of these kinds.
    pub by: Vec<Kind>,
    /// A way through one of these is allowed: they stand guard.
    #[serde(default)]
    pub unless_through: Vec<String>,
    /// Memory that does not count, by name; `*` at the end stands for any rest.
    #[serde(default)]
    pub ignoring: Vec<String>,
}

/// How one domain acts on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It may call it, now or with a capability that it may be handed.
    Call,
    /// It may write memory that the other reads.
    Memory,
    /// It may signal it.
    Signal,
}

/// Who may call a domain; nobody else may, and all of these do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Callers {
    /// The sentence that is printed.
    pub name: String,
    /// Who is called.
    pub of: String,
    /// By whom: with a capability from the start, or one that it may be handed.
    pub are: Vec<String>,
}

/// Who sees a piece of memory; nobody else does.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sees {
    /// The sentence that is printed.
    pub name: String,
    /// Memory by name; `*` at the end stands for any rest.
    pub region: Option<String>,
    /// Memory by the boot-time data in it.
    pub provision: Option<String>,
    /// Who may read it and not write it.
    #[serde(default)]
    pub readers: Vec<String>,
    /// Who may write it.
    #[serde(default)]
    pub writers: Vec<String>,
    /// The system may be without such memory.
    #[serde(default)]
    pub optional: bool,
}

/// Who has hardware; nobody else does.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// The sentence that is printed.
    pub name: String,
    /// Which.
    pub what: HardwareKind,
    /// Who may have it.
    pub only: Vec<String>,
}

/// Kinds of hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HardwareKind {
    /// Registers of a device.
    Registers,
    /// Memory that a device can reach.
    Dma,
    /// Interrupts of the NIC and the timer.
    Interrupts,
    /// I/O ports, and their interrupts.
    Ports,
}

/// What a device reaches; nothing else.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reaches {
    /// The sentence that is printed.
    pub name: String,
    /// Which device.
    pub device: String,
    /// Regions in its I/O space.
    pub only: Vec<String>,
}

/// Who holds a badge, and what a server does for it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BadgeRights {
    /// The server.
    pub server: String,
    /// The badge, as in the description.
    #[serde(deserialize_with = "quantity::badge")]
    pub badge: u64,
    /// The one holder.
    pub holder: String,
    /// What it may ask for.
    pub may: String,
}

/// A domain may hand capabilities of endpoints to another.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Who hands them out and revokes them.
    pub manager: String,
    /// Who gets them.
    pub holder: String,
    /// Of whose endpoints, at most.
    pub endpoints: Vec<String>,
    /// What they are for.
    pub may: String,
}

/// What a domain has at most.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// Who.
    pub domain: String,
    /// Bytes of stack, heap and all memory that it sees.
    #[serde(deserialize_with = "quantity::size")]
    pub memory: u64,
    /// Capabilities, those that it may be handed counted.
    pub slots: u64,
}

/// What is wanted and can't be enforced.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// What is wanted.
    pub name: String,
    /// Why it is not so, and where that is written.
    pub why: String,
}

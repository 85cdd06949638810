//! Reads `gateway.toml` and the key material that it names, and refuses
//! anything that would not work: before a build, with file, line, reason and
//! remedy.
//!
//! - [`load`] reads and checks; [`Config`] is the result, already in the types
//!   that the domains read at boot;
//! - [`Config::provisions`] encodes it, one blob for each domain;
//! - [`demo`] makes a key ring and a configuration to try things with.
//!
//! The private keys are in [`Config`] and in the encoded `keyrings` alone.
#![forbid(unsafe_code)]

mod application;
mod asn1;
mod chain;
mod key;
mod keyring;
mod limits;
mod listener;
mod network;
mod pem;
mod problem;
mod provision;
mod rotation;
mod rule;
mod seal;
mod step;
mod tls;
mod words;

pub mod demo;

use std::fs;
use std::path::Path;

use ipc::provision::{AddressConfig, Keyrings, Listener, RefusedSteps};
use time::OffsetDateTime;
use toml::de::DeTable;

pub use application::Application;
pub use problem::Problem;
pub use provision::{GATEWAY_CLIENT, ProvisionError};
pub use rotation::{UpdateError, update};
pub use seal::{Kek, SealError};

use problem::{Complaint, Source};
use words::Words;

/// A configuration that was checked. No `Debug`: it holds private keys.
pub struct Config {
    /// How the system gets its address.
    pub address: AddressConfig,
    /// Bytes of the largest IP packet, if the NIC's own limit does not apply.
    pub mtu: Option<u16>,
    /// Whether routers may give IPv6 addresses and routes.
    pub router_advertisements: bool,
    /// Key rings with distinct labels; each key belongs to its chain.
    pub keyrings: Keyrings,
    /// Listeners with distinct names and ports, in the order of the file.
    pub listeners: Vec<Listener>,
    /// Domains besides the gateway that have sessions.
    pub applications: Vec<Application>,
    /// Steps that the shim refuses, by key ring.
    pub refused_steps: Vec<RefusedSteps>,
    /// Who may sign updates of the key rings: an Ed25519 public key.
    pub signer: Option<[u8; 32]>,
    /// What the key rings are sealed with. Not a key of the file: the person who builds
    /// the image chooses it.
    pub kek: Option<Kek>,
    /// Whether each segment of directed handshakes is a line of the guest's
    /// log. Not a key of the file: the person who starts the system chooses it.
    pub audit: bool,
}

/// Reads the configuration in `file` and what it names, and checks it as of
/// `now`.
///
/// # Errors
/// The first [`Problem`]; nothing is left half done.
pub fn load(file: &Path, now: OffsetDateTime) -> Result<Config, Problem> {
    let empty = Source { file, text: "" };
    let text = fs::read_to_string(file).map_err(|error| {
        let complaint = Complaint::new(
            format!("can't be read: {error}"),
            "name a configuration that is there, or leave --config out for the demo",
        );
        empty.problem(0, complaint)
    })?;
    let source = Source { file, text: &text };
    let document = DeTable::parse(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let complaint = Complaint::new(
            format!("not TOML: {}", error.message().replace('\n', ", ")),
            "see https://toml.io for how it is written",
        );
        source.problem(at, complaint)
    })?;
    let known = ["network", "keyring", "listener", "application", "rotation"];
    let words = Words::new(source, "the file", 0, document.get_ref(), &known)?;
    let link = match words.optional("network") {
        Some(word) => network::read(word)?,
        None => network::Link::default(),
    };
    let folder = file.parent().unwrap_or_else(|| Path::new(""));
    let mut keyrings = keyring::read(&words, folder, now)?;
    let listeners = listener::read(&words, &keyrings)?;
    let applications = application::read(&words, &keyrings, &listeners)?;
    keyring::assign_roles(&mut keyrings, &listeners, &applications);
    let refused_steps = step::read(&words, &listeners)?;
    let signer = match words.optional("rotation") {
        Some(word) => Some(rotation::read(word, folder)?),
        None => None,
    };
    Ok(Config {
        refused_steps,
        signer,
        kek: None,
        audit: false,
        address: link.address,
        mtu: link.mtu,
        router_advertisements: link.router_advertisements,
        keyrings,
        listeners,
        applications,
    })
}

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
mod log;
mod network;
mod ocsp;
mod pem;
mod problem;
mod provision;
mod revocation;
mod rotation;
mod rule;
mod seal;
mod step;
mod tls;
mod words;

pub mod demo;
pub mod reference;

use std::fs;
use std::path::Path;

use ipc::provision::{AddressConfig, Keyrings, Listener, LogWords, RefusedSteps};
use time::OffsetDateTime;
use toml::de::DeTable;

pub use application::Application;
pub use problem::{Problem, Problems};
pub use provision::{GATEWAY_CLIENT, ProvisionError};
pub use rotation::{UpdateError, update};
pub use seal::{Kek, SealError};

use problem::{Complaint, Reported, Sink};
use reference::{Kind, Need, Table};
use words::{Words, if_there};

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
    /// What the gateway logs.
    pub log: LogWords,
    /// Who may sign updates of the key rings: an Ed25519 public key.
    pub signer: Option<[u8; 32]>,
    /// What the key rings are sealed with. Not a key of the file: the person who builds
    /// the image chooses it.
    pub kek: Option<Kek>,
    /// Whether each segment of directed handshakes is a line of the guest's
    /// log. Not a key of the file: the person who starts the system chooses it.
    pub audit: bool,
}

/// A configuration with every key, for people to begin with.
pub const EXAMPLE: &str = include_str!("../example.toml");

/// The file as a whole.
pub static FILE: Table = Table {
    name: "the file",
    about: "Paths are relative to the file.",
    keys: &[
        reference::Key {
            name: "network",
            kind: Kind::Table(&network::TABLE),
            need: Need::Depends("address by DHCP"),
            example: "{ address = \"dhcp\" }",
            meaning: "How the system is attached to its network.",
        },
        reference::Key {
            name: "keyring",
            kind: Kind::Tables {
                table: &keyring::TABLE,
                count: keyring::MAX_KEYRINGS,
            },
            need: Need::Required,
            example: "[{ label = \"web\", chain = \"web-chain.pem\", key = \"web-key.pem\" }]",
            meaning: "Private keys and certificates.",
        },
        reference::Key {
            name: "listener",
            kind: Kind::Tables {
                table: &listener::TABLE,
                count: listener::MAX_LISTENERS,
            },
            need: Need::Required,
            example: "[{ … }]",
            meaning: "Ports that are served.",
        },
        reference::Key {
            name: "log",
            kind: Kind::Table(&log::TABLE),
            need: Need::Depends("the defaults of its keys"),
            example: "{ sessions = true }",
            meaning: "What is logged.",
        },
        reference::Key {
            name: "application",
            kind: Kind::Tables {
                table: &application::TABLE,
                count: 4094,
            },
            need: Need::Depends("the gateway alone has sessions"),
            example: "[{ client = 2, listen = [8443], keyring = \"web\", mode = \"autonomous\" }]",
            meaning: "What domains besides the gateway may ask for.",
        },
        reference::Key {
            name: "rotation",
            kind: Kind::Table(&rotation::TABLE),
            need: Need::Depends("no key ring of a running system is replaced"),
            example: "{ signer = \"signer-public.pem\" }",
            meaning: "Who may replace key rings of the running system.",
        },
    ],
};

/// Reads the configuration in `file` and what it names, and checks it as of
/// `now`.
///
/// # Errors
/// All [`Problems`] that can be told; nothing is left half done.
pub fn load(file: &Path, now: OffsetDateTime) -> Result<Config, Problems> {
    let text = fs::read_to_string(file).map_err(|error| {
        let complaint = Complaint::new(
            format!("can't be read: {error}"),
            "name a configuration that is there, or leave --config out for the demo",
        );
        Problems::of_file(file, 1, complaint)
    })?;
    let document = DeTable::parse(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let complaint = Complaint::new(
            format!("not TOML: {}", error.message().replace('\n', ", ")),
            "see https://toml.io for how it is written",
        );
        Problems::of_file(file, problem::line(&text, at), complaint)
    })?;
    let sink = Sink::default();
    let folder = file.parent().unwrap_or_else(|| Path::new(""));
    let words = Words::new(&sink, &FILE, 0, document.get_ref());
    let config = read(&words, folder, now);
    match (sink.problems(file, &text, document.get_ref()), config) {
        (None, Ok(config)) => Ok(config),
        (Some(problems), _) => Err(problems),
        // Nothing is `Reported` but by a report.
        (None, Err(_)) => Err(Problems::of_file(
            file,
            1,
            Complaint::new("it is refused, and no reason was kept", "report this"),
        )),
    }
}

fn read(words: &Words<'_>, folder: &Path, now: OffsetDateTime) -> Result<Config, Reported> {
    let link = if_there(words.optional("network"), network::read);
    let mut rings = keyring::read(words, folder, now);
    let listeners = listener::read(words, &rings);
    let applications = words.tables("application");
    let applications =
        applications.and_then(|tables| application::read(tables, &rings, &listeners));
    let refused_steps = step::read(&rings.refusals, &listeners);
    let log = if_there(words.optional("log"), log::read);
    let signer = if_there(words.optional("rotation"), |word| {
        rotation::read(word, folder)
    });
    let (link, applications) = (link?.unwrap_or_default(), applications?);
    keyring::assign_roles(&mut rings.good, &listeners, &applications);
    Ok(Config {
        refused_steps: refused_steps?,
        log: log?.unwrap_or_default(),
        signer: signer?,
        kek: None,
        audit: false,
        address: link.address,
        mtu: link.mtu,
        router_advertisements: link.router_advertisements,
        keyrings: rings.good,
        listeners,
        applications,
    })
}

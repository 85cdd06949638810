//! TLS on the wire, for every domain that reads or writes its bytes.
//!
//! Nothing of this system is in here: no channel, no capability, no decision about a
//! peer. What a peer wrote is read with bounds and refused with a typed error; what it
//! means for a session is the caller's to say.
//!
//! - [`names`], [`suite`], [`alert`]: numbers of the TLS registries;
//! - [`record`]: headers of records, and how a whole record is taken;
//! - `protection`, with the feature `crypto`: records sealed and opened in place;
//! - `schedule13`, `schedule12`, `hkdf`, with the same feature: secrets and keys;
//! - [`codec`]: the one reader and the one writer of vectors and numbers;
//! - [`hello_scan`]: when a client has said all of its hello;
//! - [`client_hello`], [`server_hello`], [`server_name`], [`certificate_verify`]: parts of
//!   messages that several domains read or write.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod alert;
pub mod certificate_verify;
pub mod client_hello;
pub mod codec;
pub mod exporter;
pub mod hello_scan;
#[cfg(feature = "crypto")]
pub mod hkdf;
pub mod keys;
pub mod names;
#[cfg(feature = "crypto")]
pub mod protection;
pub mod record;
pub mod record_limit;
#[cfg(feature = "crypto")]
pub mod schedule12;
#[cfg(feature = "crypto")]
pub mod schedule13;
pub mod secret;
pub mod server_hello;
pub mod server_name;
pub mod suite;

pub use alert::{Alert, AlertLevel};
pub use exporter::Exporter;
pub use keys::TrafficKey;
pub use names::{
    ContentType, ExtensionType, Group, HandshakeType, LEGACY_VERSION, Role, Scheme, Version,
};
pub use record_limit::RecordLimit;
pub use secret::Secret;
pub use server_name::is_dns_name;
pub use suite::{Aead, CipherSuite, Hash};

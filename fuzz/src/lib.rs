//! What the fuzz targets do with their bytes: one function for each target, so
//! that the seeds can be run through them without a fuzzer too.
//!
//! A target finds something when it panics. Besides what the code itself
//! asserts, the functions here insist that every request is answered and
//! nothing is left of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a panic is how a target tells of a finding"
)]

extern crate alloc;

mod bytes;
mod files;
mod frames;
mod keystore;
mod messages;
mod parts;
mod records;
pub mod seeds;
mod segments;
mod shim;
/// What tickets need of the offload component's clock.
#[allow(dead_code, unreachable_pub, reason = "a file of another crate")]
#[path = "../../offload-server/src/time.rs"]
mod time;
mod wire;

pub use files::{configuration, description, key_files};
pub use frames::frames;
pub use keystore::keyrings;
pub use messages::{messages, queues};
pub use parts::{certificates, first_bytes, tickets};
pub use records::records;
pub use segments::segments;
pub use shim::{shim_client, shim_server};
pub use wire::{client_wire, server_wire};

/// What a target does with its input.
pub type Target = fn(&[u8]);

/// Each target by its name.
pub const TARGETS: [(&str, Target); 16] = [
    ("certificates", certificates),
    ("client_wire", client_wire),
    ("configuration", configuration),
    ("description", description),
    ("first_bytes", first_bytes),
    ("frames", frames),
    ("key_files", key_files),
    ("keyrings", keyrings),
    ("messages", messages),
    ("queues", queues),
    ("records", records),
    ("segments", segments),
    ("server_wire", server_wire),
    ("shim_client", shim_client),
    ("shim_server", shim_server),
    ("tickets", tickets),
];

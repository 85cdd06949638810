//! The protocols, rings and transports that the protection domains talk by.
//!
//! The layers, bottom up:
//!
//! - [`ring`]: a single-producer single-consumer byte ring in shared memory,
//!   whose two sides do not trust each other;
//! - [`channel`]: many rings each way between two domains, with a queue that
//!   tells which of them changed;
//! - [`queue`]: typed messages over one ring;
//! - [`transport`]: a blocking call with a typed request and reply;
//! - the protocols: [`control`] (gateway → shim), [`net`] (gateway, shim →
//!   network stack), [`handshake`] (shim ↔ offload), [`keystore`]
//!   (offload → key store), [`record`] (shim, offload → record layer);
//! - [`provision`]: what the image builder hands to a domain at boot;
//!   [`stats`]: what a domain shows of itself.
//!
//! What a peer wrote is an untrusted value: it is copied out once, bounded,
//! decoded, then checked. A malformed message costs its sender its request and
//! nothing else.
#![cfg_attr(not(test), no_std)]
#![allow(
    clippy::large_enum_variant,
    reason = "messages live on the stack of one call, not in tables"
)]

extern crate alloc;

pub mod application;
pub mod badge;
pub mod boot;
pub mod bounded;
pub mod budget;
pub mod channel;
pub mod clock;
pub mod control;
pub mod description;
pub mod director;
pub mod firmware;
pub mod handshake;
pub mod keystore;
pub mod log_ring;
pub mod mailbox;
pub mod net;
pub mod port;
pub mod provision;
pub mod queue;
pub mod record;
pub mod ring;
pub mod sample;
pub mod segment;
pub mod stats;
mod sync;
pub mod tls;
pub mod transport;

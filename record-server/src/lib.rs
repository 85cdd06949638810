//! The record layer: seals and opens TLS records of established sessions.
//!
//! **Owns** session keys in use. **Called by** the kernel shim (close, the peer's
//! certificate, exported keying material) and, by a capability for one session, by the offload component (keys).
//! **Must never** hold a long-term key or reach the NIC.
//!
//! A record is copied once from the network stack's ring into memory that only
//! this domain can reach, opened there, and copied to the application's ring:
//! in the ring itself the network stack could see the plaintext, or change the
//! record between its check and its use. Outgoing records take the same way in reverse.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod allowance;
mod assembly;
mod budget;
mod messages;
mod server;
mod session;
mod tickets;

pub use budget::budget;
pub use server::{Limits, Ports, Server, may_carry_keys};

//! The kernel shim: the control invocation.
//!
//! **Owns** the tables of handshakes and sessions, and who may use which key
//! ring. **Called by** applications ([`ipc::control`]). **Calls** the network stack (who
//! owns a connection) and the record layer (session slots); queues directives for the
//! offload component and takes its completions, and begins directed handshakes at the
//! director: nothing here reads what a peer sends. **Must never** hold a private key, a
//! session key (unless the policy key `expose_keys` says so for the client that asks), or
//! application data.
//!
//! It is meant to stay small: no unsafe code, and no allocation after the
//! start but for what a handshake in progress needs.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod budget;
mod rights;
mod server;
mod table;

pub use budget::budget;
pub use rights::Rights;
pub use server::{Application, Ports, Server, Windows};

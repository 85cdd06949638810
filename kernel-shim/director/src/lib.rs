//! The director: the state machines of directed mode (R3, R11).
//!
//! **Owns** what a directed handshake has agreed on so far, and the part of a message
//! that it waits to have whole. **Takes** orders of the kernel shim, to begin a handshake
//! and that it is over, and verdicts of the offload component; sends the latter segments
//! ([`ipc::director`]). **Calls** nobody. **Must never** hold a secret, or a right to
//! anything: it reads what strangers send.
//!
//! From the top down: [`Server`] takes and sends, `Director` has one [`handshake`] for each slot; that one passes
//! each segment by the step [`policy`]. A [`server`] or a [`client`] begins it, and one
//! of `tls13_server`, `tls12_server`, `tls13_client` and `tls12_client` goes on. What
//! these have in common are sub-scripts: authenticate the [`peer`], prove [`own`]
//! identity, [`key_agreement`]. [`Machine`] shows the states to those that draw them. Messages are read by [`client_hello`], [`server_hello`]
//! and [`certificate_request`], and written as a [`template`].
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the tour is for those who read the source"
)]

extern crate alloc;

mod audit;
mod budget;
mod certificate_request;
mod client;
mod client_hello;
mod director;
mod handshake;
mod hello;
mod key_agreement;
mod machine;
mod negotiation;
mod numbers;
mod own;
mod peer;
mod policy;
mod script;
mod server;
mod server_hello;
mod server_name;
mod service;
mod template;
mod tls12_client;
mod tls12_server;
mod tls13_client;
mod tls13_server;

pub use audit::{Audit, Line};
pub use budget::budget;
pub use machine::Machine;
pub use service::{Ports, Server};

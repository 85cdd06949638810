//! The offload component: TLS handshakes, away from the network path and from
//! the keys.
//!
//! **Owns** handshakes in progress and their ephemeral secrets, and what a
//! session needs after its handshake to change keys. **Called by** nobody: the
//! kernel shim queues directives ([`ipc::handshake`]), the network stack brings
//! bytes. **Calls** the key store (signatures) and the record layer (keys, by a
//! capability made for one session). **Must never** hold a long-term private
//! key or application data.
//!
//! The layers: [`Server`] takes directives and events, and `in_progress` is its table of
//! handshakes. One of two engines runs each: `autonomous` is rustls, from record to
//! record, and `directed` does the steps that the director says. Neither names the other.
//! Below them is what both use: `credentials` has what they are made with; `keyring` and
//! `signer` reach the key store; `judge` judges peers, by the lists of `revocation` too, and
//! `full_handshake` bounds for how long that holds; `finished` is how both end, and `session` changes keys after that.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod autonomous;
mod budget;
mod by_request;
mod cause;
mod certified;
mod connection;
mod convert;
mod credentials;
mod directed;
mod finished;
mod full_handshake;
mod hybrid;
mod identity;
mod in_progress;
mod issuers;
mod judge;
mod keyring;
mod loans;
mod ml_kem;
mod ocsp;
mod output;
mod revocation;
mod server;
mod session;
mod session_cache;
mod signer;
mod ticket_keys;
mod time;
mod work;

pub use budget::budget;
pub use convert::supported_group as key_exchange_group;
pub use keyring::StartError;
pub use server::{Platform, Ports, Server, Turn};

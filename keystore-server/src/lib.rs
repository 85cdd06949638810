//! The key store: key rings, and the only code that uses a private key.
//!
//! **Owns** the key rings: chains, trust anchors, private keys. **Called by**
//! the offload component. **Must never** reach the network or see the bytes of
//! a connection, and never sign what it can't recognise as TLS: a request
//! carries what a TLS message is made of, and the module `tbs` makes the bytes.
//!
//! Rings may come sealed, under a key that the firmware holds, and be replaced
//! while the system runs, by updates on a serial line; both are read by this
//! domain alone.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod budget;
pub mod firmware;
mod keyring;
mod pre_master;
pub mod rotation;
mod rsa;
mod sealed;
pub mod serial;
mod server;
mod tbs;
mod transcript;

pub use budget::budget;
pub use keyring::ProvisionError;
pub use server::{Server, refuse};

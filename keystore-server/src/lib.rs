//! The key store: key rings, and the only code that uses a private key.
//!
//! **Owns** the key rings: chains, trust anchors, private keys. **Called by**
//! the offload component. **Must never** reach the network or see the bytes of
//! a connection, and never sign what it can't recognise as TLS: a request
//! carries what a TLS message is made of, and the module `tbs` makes the bytes.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod keyring;
mod pre_master;
mod rsa;
mod server;
mod tbs;
mod transcript;

pub use keyring::ProvisionError;
pub use server::Server;

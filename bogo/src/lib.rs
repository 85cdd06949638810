//! Handoff on a host, without a kernel: all domains of one connection in one process
//! ([`system`]), and BoringSSL's protocol tests over them ([`shim`]).
#![forbid(unsafe_code)]

mod calls;
mod exchange;
mod exclusions;
mod flags;
mod keyring;
pub mod shim;
pub mod system;
mod wire;

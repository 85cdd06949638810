//! The network stack: TCP/IP over one card, and who owns which connection.
//!
//! It owns the network card, every TCP connection's state, and the clients'
//! rights to listen and connect. Clients and the control authority call it by
//! [`ipc::net`]; bytes pass through the channels. It must never hold the
//! plaintext of a TLS session or a key: what it carries for the offload
//! component and for the record layer is already protected.
//!
//! The layers, bottom up:
//!
//! - `device`: which connection a frame belongs to, and what smoltcp sends;
//! - `connection`: one TCP connection, from socket to ring and back;
//! - `stack` ([`NetStack`]): the loop over frames, events and timers;
//! - `server`, `handover`: the calls.
//!
//! Time, card and channels are arguments: everything runs on a host. The
//! drivers of the real card and timer are in `nic` (a feature of that name);
//! only they have unsafe code.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

pub mod config;

#[cfg(feature = "loopback")]
pub mod loopback;
#[cfg(feature = "nic")]
pub mod nic;

mod address;
mod checksum;
mod client;
mod connection;
mod device;
mod handover;
mod ingress;
mod ports;
mod sequence;
mod server;
mod stack;
mod table;
mod time;

pub use config::{Buffers, Config, Limits};
pub use ports::Channels;
pub use stack::NetStack;

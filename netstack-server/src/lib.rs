//! The network stack: TCP/IP over one NIC, and who owns which connection.
//!
//! It owns the NIC, every TCP connection's state, and the clients'
//! rights to listen and connect. Clients and the control authority call it by
//! [`ipc::net`]; bytes pass through the channels. It must never hold the
//! plaintext of a TLS session or a key: what it carries for the offload
//! component and for the record layer is already protected.
//!
//! The layers, bottom up:
//!
//! - `parse`: what a received frame is; most are nothing. `neighbour`,
//!   `discovery` and `path` read what it says of the link and of paths;
//! - `device`: shows smoltcp one frame, and sees what it sends; `split` cuts
//!   segments that are too long for their path;
//! - `link`: smoltcp's interface with the system's addresses; every frame passes there;
//! - `ingress`: which connection a frame belongs to; `guard` says whether that
//!   takes it (RFC 5961), `admission` and `room` whether a new one may be made;
//! - [`tls::hello_scan`]: whether a TLS client has shown its ClientHello, before which no listener
//!   is told of it;
//! - `connection`: one TCP connection, from socket to ring and back; `connections` finds
//!   it, `timers` and `clock` wake it, `sockets` has the memory of its buffers;
//! - `listener`, `client`: what waits for whom; `offer` leads from the one to the other;
//!   `owners`: the channels, and whose connection is in which slot;
//! - `stack` ([`NetStack`]): the loop over frames, events and timers; `deadlines`;
//! - `server`, `handover`: the calls.
//!
//! What is between the parts is in `stack`'s `Core`, which has nothing but them: each
//! keeps what it says at its head, and a function takes the parts that it needs.
//!
//! What a peer can make the network stack hold is bounded, and added up in [`budget`]:
//! [`budget::WITH_SOCKET`] bytes for each connection, [`budget::LENT`] for all together,
//! [`budget::LISTENER`] for each listener.
//!
//! Time, NIC and channels are arguments: everything runs on a host. The
//! drivers of the real NIC and timer are in `nic` (a feature of that name);
//! only they have unsafe code.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

pub mod budget;
pub mod config;

#[cfg(feature = "loopback")]
pub mod loopback;
#[cfg(any(feature = "nic", test))]
pub mod nic;

mod address;
mod admission;
mod checksum;
mod client;
mod clock;
mod connection;
mod connections;
mod deadlines;
mod device;
mod discovery;
mod guard;
mod handover;
mod ingress;
mod link;
mod list;
mod listener;
mod mss;
mod neighbour;
mod offer;
mod owners;
mod parse;
mod path;
mod room;
mod sequence;
mod server;
mod sockets;
mod split;
mod stack;
mod table;
mod timers;

pub use config::{Buffers, Config, Limits};
pub use device::COMPARED;
pub use owners::{Application, Channels};
pub use stack::NetStack;

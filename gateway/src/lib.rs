//! The gateway application: takes TLS connections, has their handshakes done,
//! and moves their plaintext to and from backends.
//!
//! **Owns** listeners, rules, backend connections, the status page. **Calls**
//! the network stack (listen, accept, connect) and the kernel shim (the control
//! invocation, and each session by its own capability). **Must never** hold a
//! key, or reach a session of another application.
//!
//! [`Server`] takes events; `rules` and `hello` find a client's rule;
//! a `relay` has a client and a backend, `forward` moves
//! plaintext between them; `proxy` tells a backend who the client is; `head` reads HTTP
//! requests, `page` answers them with the status page.
//!
//! All that is held for a peer is in a table of fixed size: relays (`table`), handshakes,
//! those that wait for one (`waiting`), client addresses with what each may have
//! (`guests`), pages on their way (`pages`). [`budget`] adds them up.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod backends;
pub mod budget;
mod forward;
mod guests;
mod handshakes;
mod head;
mod hello;
mod log_rate;
mod metrics;
mod page;
mod pages;
mod proxy;
mod reason;
mod relay;
mod report;
mod rules;
mod server;
mod standing;
mod table;
mod turned_away;
mod waiting;

pub use page::View;
pub use server::{Platform, Ports, Server};

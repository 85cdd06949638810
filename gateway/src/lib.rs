//! The gateway application: takes TLS connections, has their handshakes done,
//! and moves their plaintext to and from backends.
//!
//! **Owns** listeners, rules, backend connections, the status page. **Calls**
//! the network stack (listen, accept, connect) and the kernel shim (the control
//! invocation, and each session by its own capability). **Must never** hold a
//! key, or reach a session of another application.
//!
//! [`Server`] takes events; `rules` and `hello` tell which rule is a client's;
//! a `relay` has a client and a backend, `forward` moves
//! plaintext between them; `proxy` tells a backend who the client is; `page` answers HTTP requests
//! with the status page.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod forward;
mod hello;
mod page;
mod proxy;
mod relay;
mod report;
mod rules;
mod server;

pub use page::View;
pub use server::{Ports, Server};

//! Handshakes with rustls as the peer, in one mode or both: what is agreed on, what is refused, what is resumed.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a test that finds less fails"
)]

mod applications;
mod authorities;
mod causes;
#[path = "../chains/mod.rs"]
mod chains;
#[path = "../client/mod.rs"]
mod client;
#[path = "../credulous/mod.rs"]
mod credulous;
mod exporter;
#[path = "../failing/mod.rs"]
mod failing;
mod failures;
mod handshakes;
mod hybrid_groups;
mod long_certificates;
mod long_chains;
mod other_domains;
mod our_turn;
mod precedence;
mod remembered_servers;
mod revocation;
#[path = "../revoking/mod.rs"]
mod revoking;
#[path = "../script/mod.rs"]
mod script;
mod stapling;
mod static_rsa;
mod tenants;
mod ticket_chains;
#[path = "../tickets/mod.rs"]
mod tickets;
mod two_engines;
#[path = "../world/mod.rs"]
mod world;

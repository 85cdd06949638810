//! Directed mode, step by step: a real director and a real offload component.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test that finds less fails"
)]

#[path = "../client/mod.rs"]
mod client;
mod directed;
mod directed_client;
mod directed_refusals;
mod directed_resumption;
mod early_data;
mod hostile_director;
mod record_size_limit;
#[path = "../resuming/mod.rs"]
mod resuming;
mod resumption_states;
#[path = "../script/mod.rs"]
mod script;
mod step_policy;
#[path = "../tickets/mod.rs"]
mod tickets;
#[path = "../world/mod.rs"]
mod world;

//! What peers can make the offload component hold: memory that is counted, and who gives way.
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

#[path = "../chains/mod.rs"]
mod chains;
#[path = "../client/mod.rs"]
mod client;
mod crowd;
mod displaced;
#[path = "../../../ipc/tests/heap/mod.rs"]
mod heap;
mod loans;
mod many_requests;
#[path = "../shipped/mod.rs"]
mod shipped;
#[path = "../tickets/mod.rs"]
mod tickets;
#[path = "../world/mod.rs"]
mod world;

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

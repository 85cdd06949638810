//! The drivers of the NIC and of the timer.
//!
//! All unsafe code of this crate is below this module: it touches registers
//! and memory that the NIC reads and writes by itself. None of it knows the
//! kernel; `main.rs` hands over what the root task has mapped.
#![allow(unsafe_code)]

mod area;
mod header;
mod hpet;
mod queue;
#[cfg(test)]
mod tests;
mod virtio;

pub use hpet::Hpet;
pub use virtio::{Nic, NicError};

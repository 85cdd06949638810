//! Everything that differs between kernel generations.
//!
//! Two are known: seL4 5.0.0, and what followed up to 16.0.0 (non-MCS). They differ in
//! the layout of guards, badges and rights, in how a thread's priority is set, in how I/O
//! ports are handed out, in how a mapping is rewritten, and in where the time-stamp
//! counter's rate is reported; each has its function here. The labels, numbers and
//! offsets themselves come out of the headers of whichever kernel is installed, and so
//! does the choice between the two.

#[cfg(sel4_generation = "5")]
#[path = "generation/five.rs"]
mod installed;
#[cfg(sel4_generation = "16")]
#[path = "generation/sixteen.rs"]
mod installed;

pub use installed::KERNEL;
pub(crate) use installed::{
    badge_word, configure, guard_word, issue_ports, remap, rights_word, set_priority, tsc_hz,
};

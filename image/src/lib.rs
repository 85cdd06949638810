//! The system description, its checks, and the builder of kernel, domains and
//! image.
//!
//! - [`workspace`] finds the checkout that a program was started in;
//! - [`kernel`] builds seL4 from the source that the lock file pins;
//! - [`description`] reads `system.toml`, [`check`] keeps its rules,
//!   [`policy`] says who must never reach what, [`layout`] gives everything its
//!   address and slot;
//! - [`application`] is what belongs to a domain with TLS sessions;
//! - [`generate`] writes the constants of the servers' programs;
//! - [`graph`] draws who holds what;
//! - [`guest`] builds and checks those programs, [`elf`] reads them;
//! - [`plan`] makes the root task's plan, [`pack`] the finished image with its
//!   [`bill`] of materials and the [`figures`] of its programs.

pub mod application;
pub mod bill;
pub mod check;
pub mod command;
pub mod description;
pub mod elf;
pub mod figures;
pub mod generate;
pub mod graph;
pub mod guest;
pub mod kernel;
pub mod layout;
pub mod pack;
pub mod plan;
pub mod policy;
pub mod workspace;

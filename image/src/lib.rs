//! The system description, its checks, and the builder of kernel, domains and
//! image.
//!
//! - [`workspace`] finds the checkout that a program was started in;
//! - [`kernel`] builds seL4 from the source that the lock file pins;
//! - [`description`] is what `system.toml` may say, [`check`] keeps its rules,
//!   [`layout`] gives everything its address and slot, [`policy`] says who must never
//!   reach what, and [`load`] does the first two and asks the last for everybody who
//!   builds something; [`left_out`] is what a configuration has no use for. Each of them
//!   knows those before it and no other;
//! - [`generate`] writes the constants of the servers' programs;
//! - [`graph`] draws who holds what;
//! - [`guest`] builds and checks those programs, [`elf`] reads them;
//! - [`plan`] makes the root task's plan, [`pack`] the finished image with its
//!   [`bill`] of materials and the [`figures`] of its programs, [`code`] tells whose the code
//!   in it is.

pub mod bill;
pub mod check;
pub mod code;
pub mod command;
pub mod description;
pub mod elf;
pub mod figures;
pub mod generate;
pub mod graph;
pub mod guest;
pub mod kernel;
pub mod layout;
pub mod left_out;
pub mod load;
mod memory;
pub mod pack;
pub mod plan;
pub mod policy;
mod quantity;
mod share;
pub mod workspace;

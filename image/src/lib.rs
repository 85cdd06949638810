//! The system description, its checks, and the builder of kernel, domains and
//! image.
//!
//! - [`kernel`] builds seL4 from the source that the lock file pins.

pub mod command;
pub mod kernel;

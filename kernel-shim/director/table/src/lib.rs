//! The transition table of directed mode: role, version, state, message or verdict in,
//! segment out, next state.
//!
//! It is recorded, not written: [`record`] walks the director's state machines
//! ([`director::Machine`]) through all that a peer and the offload component can say, in
//! each configuration that leads to other states. [`text`] prints it, [`svg`] draws it.
//!
//! From the top down: [`walk`] goes through the machines, [`world`] is what is said to
//! them, [`names`] tells states, segments and messages.
#![forbid(unsafe_code)]
#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the tour is for those who read the source"
)]

mod messages;
mod names;
mod picture;
mod text;
mod walk;
mod world;

pub use names::{Place, Stage, message};
pub use picture::svg;
pub use text::text;
pub use walk::{Next, Row, Walk, record};

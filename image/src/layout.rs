//! Where everything in the description goes: addresses, slots, badges.
//!
//! Both what the domains' programs take and the root task's plan are made from
//! this, so they can't disagree.

mod applications;
mod builder;
mod calls;
mod field;
mod hardware;
mod memory;
mod placed;
mod tables;

use builder::Builder;
pub use placed::{DomainLayout, Field, Layout, RegionLayout, Source, TableLayout};

use crate::check::Checked;

/// Places everything.
pub fn layout(description: &Checked) -> Layout {
    let mut builder = Builder::new(description);
    builder.calls();
    builder.signals();
    builder.channels();
    builder.regions();
    builder.stats();
    builder.tables();
    builder.applications();
    builder.device();
    builder.ports();
    builder.layout
}

//! Constants of a domain's program.

use super::placed::{Constant, DomainLayout};

impl DomainLayout {
    /// Adds a constant.
    pub(super) fn constant(&mut self, doc: &str, name: &str, kind: &str, value: String) {
        self.constants.push(Constant {
            doc: doc.to_string(),
            name: name.to_string(),
            kind: kind.to_string(),
            value,
        });
    }
}

/// A name as part of a constant's.
pub(super) fn upper(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

/// A number as Rust source.
pub(super) fn hex(value: u64) -> String {
    format!("{value:#x}")
}

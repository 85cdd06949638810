//! What a domain's program takes: fields of its `Capabilities`.

use super::placed::{DomainLayout, Field};

/// The type of a signal's right.
pub(super) const BELL: &str = "sel4::runtime::Bell";
/// The type of one side of a channel.
pub(super) const CHANNEL: &str = "ipc::channel::Channel<sel4::runtime::Bell>";
/// The type of the manager's side of a window.
pub(super) const WINDOW: &str = "sel4::runtime::Window";

impl DomainLayout {
    /// Adds a field.
    pub(super) fn field(&mut self, doc: &str, name: &str, kind: &str, value: String) {
        self.fields.push(Field {
            doc: doc.to_string(),
            name: name.to_string(),
            kind: kind.to_string(),
            value,
        });
    }
}

/// The type of what images of some configurations are without.
pub(super) fn some(kind: &str) -> String {
    format!("Option<{kind}>")
}

/// A name as part of a field's.
pub(super) fn snake(name: &str) -> String {
    name.replace('-', "_")
}

/// The value of `constructor`, called with these numbers. The layout vouches for them.
pub(super) fn taken(constructor: &str, numbers: &str) -> String {
    format!(
        "{{\n// SAFETY: this domain's, by its layout; taken once.\n\
         unsafe {{ {constructor}({numbers}) }}\n}}"
    )
}

/// A number as Rust source.
pub(super) fn hex(value: u64) -> String {
    format!("{value:#x}")
}

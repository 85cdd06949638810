//! Handshake messages in what records hold of them, however they are cut.

use tls::HandshakeType;
use tls::codec::MESSAGE_HEADER;

/// Where in the peer's messages it is.
#[derive(Default)]
pub(crate) struct Messages {
    header: [u8; MESSAGE_HEADER],
    /// Bytes of `header` that came.
    have: usize,
    /// Bytes of the body that are to come.
    left: usize,
    /// The header is whole, and the message has not ended.
    is_open: bool,
}

/// What comes next.
pub(crate) enum Part<'a> {
    /// A message of this type begins; its body has so many bytes.
    Begins(HandshakeType, usize),
    /// Some bytes of its body, one at the least.
    Body(&'a [u8]),
    /// It is whole.
    Ends(HandshakeType),
}

impl Messages {
    /// Takes the next part from `rest`; `None` when more has to come.
    pub(crate) fn next<'a>(&mut self, rest: &mut &'a [u8]) -> Option<Part<'a>> {
        let [kind, ..] = self.header;
        if self.is_open && self.left == 0 {
            self.is_open = false;
            return Some(Part::Ends(HandshakeType(kind)));
        }
        if self.is_open {
            let (part, after) = rest.split_at_checked(rest.len().min(self.left))?;
            self.left -= part.len();
            *rest = after;
            return (!part.is_empty()).then_some(Part::Body(part));
        }
        while let Some((byte, after)) = rest.split_first() {
            *self.header.get_mut(self.have)? = *byte;
            self.have += 1;
            *rest = after;
            if self.have == MESSAGE_HEADER {
                let [kind, a, b, c] = self.header;
                self.have = 0;
                self.left = u32::from_be_bytes([0, a, b, c]) as usize;
                self.is_open = true;
                return Some(Part::Begins(HandshakeType(kind), self.left));
            }
        }
        None
    }
}

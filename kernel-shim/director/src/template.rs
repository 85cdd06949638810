//! Message templates: what the director writes, with placeholders for what only the offload
//! component can fill.

use ipc::bounded::{Blob, List};
use ipc::segment::{Fill, Hole, MAX_HOLES, MAX_TEMPLATE, Place, Template};
use tls::HandshakeType;
use tls::codec::{DecodeError, Reader, Writer};

/// The offset of the rest of a message.
pub(crate) fn place(part: &Reader<'_>) -> Result<Place, DecodeError> {
    Ok(Place {
        offset: u16::try_from(part.offset()).map_err(|_| DecodeError)?,
        length: u16::try_from(part.rest().len()).map_err(|_| DecodeError)?,
    })
}

/// A message template in the making.
pub(crate) struct TemplateWriter {
    bytes: [u8; MAX_TEMPLATE],
    length: usize,
    holes: List<Hole, MAX_HOLES>,
    is_overflowed: bool,
}

impl TemplateWriter {
    /// A message of this type.
    pub(crate) fn new(kind: HandshakeType) -> Self {
        let mut writer = Self {
            bytes: [0; MAX_TEMPLATE],
            length: 0,
            holes: List::new(),
            is_overflowed: false,
        };
        writer.message(kind);
        writer
    }

    /// Something for the offload component to fill in, after a length of `prefix` bytes.
    /// The vectors around it have to count it in.
    pub(crate) fn hole(&mut self, prefix: u8, fill: Fill) -> &mut Self {
        let hole = u16::try_from(self.length).map(|offset| Hole {
            offset,
            prefix,
            fill,
        });
        match hole.is_ok_and(|hole| self.holes.push(hole).is_ok()) {
            true => self,
            false => self.overflow(),
        }
    }

    /// The template; `None` when it did not fit.
    pub(crate) fn finish(&mut self) -> Option<Template> {
        if self.is_overflowed {
            return None;
        }
        Some(Template {
            message: Blob::from_slice(self.bytes.get(..self.length)?).ok()?,
            holes: self.holes.clone(),
        })
    }
}

impl Writer for TemplateWriter {
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let end = self.length + bytes.len();
        match self.bytes.get_mut(self.length..end) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.length = end;
                self
            }
            None => self.overflow(),
        }
    }

    fn length(&self) -> usize {
        self.length
    }

    fn field(&mut self, at: usize, count: usize) -> Option<&mut [u8]> {
        let written = self.bytes.get_mut(..self.length)?;
        written.get_mut(at..at.checked_add(count)?)
    }

    fn overflow(&mut self) -> &mut Self {
        self.is_overflowed = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_where_it_stands() {
        let mut body = Reader::new(&[9, 0, 3, 1, 7, 8, 5]);
        assert!(body.u8().is_ok());
        let mut list = body.vec16().unwrap();
        let inner = place(&list.vec8().unwrap()).unwrap();
        assert_eq!((inner.offset, inner.length), (4, 1));
        let rest = place(&list).unwrap();
        assert_eq!((rest.offset, rest.length), (5, 1));
        assert_eq!(place(&body).unwrap().offset, 6);
    }

    #[test]
    fn holes_count_in_the_length_around_them() {
        let template = TemplateWriter::new(HandshakeType(7))
            .nested(32, |w| {
                w.u8(9).hole(0, Fill::VerifyData);
            })
            .finish()
            .unwrap();
        assert_eq!(&template.message[..], [7, 0, 0, 0, 0, 33, 9]);
        assert_eq!(template.holes[0].offset, 7);
    }

    #[test]
    fn what_does_not_fit_is_no_template() {
        let mut writer = TemplateWriter::new(HandshakeType(1));
        assert!(writer.bytes(&[0; MAX_TEMPLATE]).finish().is_none());
    }
}

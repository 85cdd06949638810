//! Reading and writing handshake messages (RFC 8446 §3): lengths before
//! contents, nothing allocated.

use ipc::bounded::{Blob, List};
use ipc::segment::{Fill, Hole, MAX_TEMPLATE, Place, Template};
use tls::Alert;

use super::Refusal;

/// What is left of a message, and where in it that is.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Where what is left stands in the message.
    pub(super) fn place(&self) -> Result<Place, Refusal> {
        Ok(Place {
            offset: u16::try_from(self.at).map_err(|_| DECODE)?,
            length: u16::try_from(self.rest.len()).map_err(|_| DECODE)?,
        })
    }

    /// Everything that is left.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn part(&mut self, count: usize) -> Result<Self, Refusal> {
        let (rest, after) = self.rest.split_at_checked(count).ok_or(DECODE)?;
        let part = Self { rest, at: self.at };
        self.rest = after;
        self.at += count;
        Ok(part)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DECODE)?;
        self.rest = rest;
        self.at += N;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Refusal> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Refusal> {
        self.array().map(u16::from_be_bytes)
    }

    /// A vector whose length has one byte.
    pub(super) fn vec8(&mut self) -> Result<Self, Refusal> {
        let length = self.u8()?;
        self.part(usize::from(length))
    }

    /// A vector whose length has two bytes.
    pub(super) fn vec16(&mut self) -> Result<Self, Refusal> {
        let length = self.u16()?;
        self.part(usize::from(length))
    }

    /// The next number of a list of 16-bit numbers, or its end.
    pub(super) fn next_u16(&mut self) -> Result<Option<u16>, Refusal> {
        match self.is_empty() {
            true => Ok(None),
            false => self.u16().map(Some),
        }
    }

    /// The next extension (RFC 8446 §4.2), or the end of the list.
    pub(super) fn next_extension(&mut self) -> Result<Option<(u16, Self)>, Refusal> {
        let Some(kind) = self.next_u16()? else {
            return Ok(None);
        };
        Ok(Some((kind, self.vec16()?)))
    }

    /// # Errors
    /// decode_error when there is more.
    pub(super) const fn end(self) -> Result<(), Refusal> {
        match self.is_empty() {
            true => Ok(()),
            false => Err(DECODE),
        }
    }
}

const DECODE: Refusal = Refusal(Alert::DECODE_ERROR);

/// A message template in the making.
pub(super) struct Writer {
    bytes: [u8; MAX_TEMPLATE],
    length: usize,
    holes: List<Hole, { ipc::segment::MAX_HOLES }>,
    overflowed: bool,
}

impl Writer {
    /// A message of this type.
    pub(super) fn new(kind: u8) -> Self {
        let mut writer = Self {
            bytes: [0; MAX_TEMPLATE],
            length: 0,
            holes: List::new(),
            overflowed: false,
        };
        writer.bytes(&[kind, 0, 0, 0]);
        writer
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let end = self.length + bytes.len();
        match self.bytes.get_mut(self.length..end) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.length = end;
            }
            None => self.overflowed = true,
        }
        self
    }

    pub(super) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// A length of two bytes; longer than that is an overflow.
    pub(super) fn len16(&mut self, length: usize) -> &mut Self {
        match u16::try_from(length) {
            Ok(length) => self.u16(length),
            Err(_) => {
                self.overflowed = true;
                self
            }
        }
    }

    /// Up to 255 bytes behind their length.
    pub(super) fn vec8(&mut self, bytes: &[u8]) -> &mut Self {
        match u8::try_from(bytes.len()) {
            Ok(length) => self.u8(length).bytes(bytes),
            Err(_) => {
                self.overflowed = true;
                self
            }
        }
    }

    /// `write`'s bytes behind their length of two bytes. Holes in them must be
    /// counted by `missing`.
    pub(super) fn nested(&mut self, missing: usize, write: impl FnOnce(&mut Self)) -> &mut Self {
        let at = self.length;
        self.u16(0);
        write(self);
        let length = self.length.saturating_sub(at + 2) + missing;
        match (self.bytes.get_mut(at..at + 2), u16::try_from(length)) {
            (Some(field), Ok(length)) => field.copy_from_slice(&length.to_be_bytes()),
            _ => self.overflowed = true,
        }
        self
    }

    /// Something for the offload component to fill in, behind a length of
    /// `prefix` bytes.
    pub(super) fn hole(&mut self, prefix: u8, fill: Fill) -> &mut Self {
        let hole = u16::try_from(self.length).map(|offset| Hole {
            offset,
            prefix,
            fill,
        });
        if !hole.is_ok_and(|hole| self.holes.push(hole).is_ok()) {
            self.overflowed = true;
        }
        self
    }

    /// The template; `None` when it did not fit.
    pub(super) fn finish(&mut self) -> Option<Template> {
        if self.overflowed {
            return None;
        }
        Some(Template {
            message: Blob::from_slice(self.bytes.get(..self.length)?).ok()?,
            holes: self.holes.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_longer_than_its_message_is_refused() {
        assert!(Reader::new(&[3, 1, 2]).vec8().is_err());
        assert!(Reader::new(&[0, 3, 1, 2]).vec16().is_err());
        assert!(Reader::new(&[0]).u16().is_err());
        let mut odd = Reader::new(&[0, 1, 2]);
        assert!(odd.next_u16().is_ok());
        assert!(odd.next_u16().is_err());
    }

    #[test]
    fn what_is_left_is_told_where_it_stands() {
        let mut body = Reader::new(&[9, 0, 3, 1, 7, 8, 5]);
        assert!(body.u8().is_ok());
        let mut list = body.vec16().ok().unwrap();
        let inner = list.vec8().ok().unwrap().place().ok().unwrap();
        assert_eq!((inner.offset, inner.length), (4, 1));
        let rest = list.place().ok().unwrap();
        assert_eq!((rest.offset, rest.length), (5, 1));
        assert_eq!(body.place().ok().unwrap().offset, 6);
    }

    #[test]
    fn holes_count_in_the_length_around_them() {
        let template = Writer::new(7)
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
        assert!(Writer::new(1).bytes(&[0; MAX_TEMPLATE]).finish().is_none());
    }
}

//! Reading and writing vectors and numbers (RFC 8446 §3): lengths before contents.
//!
//! Everything that has a length on the wire passes here, so that no other place checks
//! one against what is there.

use alloc::vec::Vec;

use crate::alert::Alert;
use crate::names::{ExtensionType, HandshakeType};

/// Bytes of a message's header: type, and the length of its body in three bytes (RFC 8446
/// §4).
pub const MESSAGE_HEADER: usize = 4;

/// Less is there than a length says, or more than there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError;

impl From<DecodeError> for Alert {
    /// RFC 8446 §6.2: decode_error.
    fn from(DecodeError: DecodeError) -> Self {
        Self::DECODE_ERROR
    }
}

/// What is left of a message, and where in it that is. Nothing is copied or allocated.
///
/// Each of its functions takes what it returns, or fails with [`DecodeError`] and leaves
/// the reader where it may be dropped alone.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from the first on.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    /// Whether nothing is left.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes from the first of the message to the first that is left.
    #[inline]
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// Everything that is left.
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes, as a part with its place in the message.
    ///
    /// # Errors
    /// There are fewer.
    #[inline]
    pub fn part(&mut self, count: usize) -> Result<Self, DecodeError> {
        let (rest, after) = self.rest.split_at_checked(count).ok_or(DecodeError)?;
        let part = Self { rest, at: self.at };
        self.rest = after;
        self.at += count;
        Ok(part)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// There are fewer.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError)?;
        self.rest = rest;
        self.at += N;
        Ok(*taken)
    }

    /// A number of one byte.
    ///
    /// # Errors
    /// Nothing is left.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    /// A number of two bytes.
    ///
    /// # Errors
    /// There are fewer.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// A number of three bytes.
    ///
    /// # Errors
    /// There are fewer.
    #[inline]
    pub fn u24(&mut self) -> Result<u32, DecodeError> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_be_bytes([0, a, b, c]))
    }

    /// A number of four bytes.
    ///
    /// # Errors
    /// There are fewer.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A vector whose length has one byte.
    ///
    /// # Errors
    /// It is longer than what is left.
    #[inline]
    pub fn vec8(&mut self) -> Result<Self, DecodeError> {
        let length = self.u8()?;
        self.part(usize::from(length))
    }

    /// A vector whose length has two bytes.
    ///
    /// # Errors
    /// It is longer than what is left.
    #[inline]
    pub fn vec16(&mut self) -> Result<Self, DecodeError> {
        let length = self.u16()?;
        self.part(usize::from(length))
    }

    /// A vector whose length has three bytes.
    ///
    /// # Errors
    /// It is longer than what is left.
    #[inline]
    pub fn vec24(&mut self) -> Result<Self, DecodeError> {
        let length = self.u24()?;
        self.part(usize::try_from(length).map_err(|_| DecodeError)?)
    }

    /// A vector of one byte at least, whose length has two.
    ///
    /// # Errors
    /// It is empty, or longer than what is left.
    pub fn filled16(&mut self) -> Result<Self, DecodeError> {
        let list = self.vec16()?;
        match list.is_empty() {
            true => Err(DecodeError),
            false => Ok(list),
        }
    }

    /// The next number of a list of 16-bit numbers, or its end.
    ///
    /// # Errors
    /// One byte is left.
    pub fn next_u16(&mut self) -> Result<Option<u16>, DecodeError> {
        match self.is_empty() {
            true => Ok(None),
            false => self.u16().map(Some),
        }
    }

    /// The next extension (RFC 8446 §4.2), or the end of the list.
    ///
    /// # Errors
    /// It is cut off.
    pub fn next_extension(&mut self) -> Result<Option<(ExtensionType, Self)>, DecodeError> {
        let Some(kind) = self.next_u16()? else {
            return Ok(None);
        };
        Ok(Some((ExtensionType(kind), self.vec16()?)))
    }

    /// # Errors
    /// Something is left.
    #[inline]
    pub const fn end(self) -> Result<(), DecodeError> {
        match self.is_empty() {
            true => Ok(()),
            false => Err(DecodeError),
        }
    }
}

/// The writing half, over whatever holds the bytes. What does not fit is noted and
/// refused at the end: [`Writer::overflow`].
pub trait Writer {
    /// Appends `bytes`.
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self;

    /// Bytes so far.
    fn length(&self) -> usize;

    /// The bytes from `at` to `at + count`, to write a length into; `None` when there are
    /// fewer.
    fn field(&mut self, at: usize, count: usize) -> Option<&mut [u8]>;

    /// Notes that something did not fit: what is written is good for nothing.
    fn overflow(&mut self) -> &mut Self;

    /// A number of one byte.
    fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    /// A number of two bytes.
    fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// A number of four bytes.
    fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// The type of an extension (RFC 8446 §4.2); its content, with a length, is next.
    fn extension(&mut self, kind: ExtensionType) -> &mut Self {
        self.u16(kind.0)
    }

    /// The header of a message (RFC 8446 §4), whose length is written later.
    fn message(&mut self, kind: HandshakeType) -> &mut Self {
        self.bytes(&[kind.0, 0, 0, 0])
    }

    /// Writes the length of a message that began with the first byte, when all of it is
    /// there.
    fn end_message(&mut self) -> &mut Self {
        let length = self.length().saturating_sub(MESSAGE_HEADER);
        self.set_length(1, 3, length)
    }

    /// A length of two bytes; a longer one is an overflow.
    fn len16(&mut self, length: usize) -> &mut Self {
        match u16::try_from(length) {
            Ok(length) => self.u16(length),
            Err(_) => self.overflow(),
        }
    }

    /// Up to 255 bytes after their length.
    fn vec8(&mut self, bytes: &[u8]) -> &mut Self {
        match u8::try_from(bytes.len()) {
            Ok(length) => self.u8(length).bytes(bytes),
            Err(_) => self.overflow(),
        }
    }

    /// What `write` appends, after its length of two bytes. `missing` is counted in, for
    /// what is filled in later.
    fn nested(&mut self, missing: usize, write: impl FnOnce(&mut Self)) -> &mut Self {
        let at = self.length();
        self.u16(0);
        write(self);
        let length = self.length().saturating_sub(at + 2) + missing;
        self.set_length(at, 2, length)
    }

    /// What `write` appends, after its length of three bytes.
    fn nested24(&mut self, write: impl FnOnce(&mut Self)) -> &mut Self {
        let at = self.length();
        self.bytes(&[0; 3]);
        write(self);
        let length = self.length().saturating_sub(at + 3);
        self.set_length(at, 3, length)
    }

    /// Writes `length` into the `width` bytes at `at`; where it does not fit, that is an
    /// overflow.
    fn set_length(&mut self, at: usize, width: usize, length: usize) -> &mut Self {
        let bytes = length.to_be_bytes();
        let set = self.field(at, width).and_then(|field| {
            let (high, low) = bytes.split_at_checked(bytes.len().checked_sub(width)?)?;
            field.copy_from_slice(low);
            high.iter().all(|byte| *byte == 0).then_some(())
        });
        match set {
            Some(()) => self,
            None => self.overflow(),
        }
    }
}

/// A message of any length.
#[derive(Debug, Default)]
pub struct Message {
    bytes: Vec<u8>,
    is_overflowed: bool,
}

impl Message {
    /// An empty one with room for so many bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(capacity),
            is_overflowed: false,
        }
    }

    /// What was written so far.
    pub fn written(&self) -> &[u8] {
        &self.bytes
    }

    /// What was written; `None` when a length did not fit its field.
    pub fn finish(self) -> Option<Vec<u8>> {
        (!self.is_overflowed).then_some(self.bytes)
    }
}

impl Writer for Message {
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn length(&self) -> usize {
        self.bytes.len()
    }

    fn field(&mut self, at: usize, count: usize) -> Option<&mut [u8]> {
        self.bytes.get_mut(at..at.checked_add(count)?)
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
    fn a_vector_longer_than_its_message_is_refused() {
        assert!(Reader::new(&[3, 1, 2]).vec8().is_err());
        assert!(Reader::new(&[0, 3, 1, 2]).vec16().is_err());
        assert!(Reader::new(&[0, 0, 3, 1, 2]).vec24().is_err());
        assert!(Reader::new(&[0]).u16().is_err());
        assert!(Reader::new(&[0, 0]).filled16().is_err());
        let mut odd = Reader::new(&[0, 1, 2]);
        assert!(odd.next_u16().is_ok());
        assert!(odd.next_u16().is_err());
    }

    #[test]
    fn what_is_left_is_told_where_it_stands() {
        let mut body = Reader::new(&[9, 0, 3, 1, 7, 8, 5]);
        assert!(body.u8().is_ok());
        let mut list = body.vec16().unwrap();
        let inner = list.vec8().unwrap();
        assert_eq!((inner.offset(), inner.rest()), (4, &[7][..]));
        assert_eq!((list.offset(), list.rest()), (5, &[8][..]));
        assert_eq!((body.offset(), body.rest()), (6, &[5][..]));
    }

    #[test]
    fn a_nested_vector_has_its_length_with_what_is_missing() {
        let mut message = Message::default();
        message.nested(32, |w| {
            w.u8(9).vec8(&[1, 2]);
        });
        assert_eq!(message.finish().unwrap(), [0, 36, 9, 2, 1, 2]);
        let mut message = Message::default();
        message.nested24(|w| {
            w.bytes(&[7; 300]);
        });
        assert_eq!(message.finish().unwrap()[..4], [0, 1, 44, 7]);
    }

    #[test]
    fn a_length_that_does_not_fit_its_field_is_an_overflow() {
        let long = [0; 1 << 16];
        let mut message = Message::default();
        message.nested(0, |w| {
            w.bytes(&long);
        });
        assert!(message.finish().is_none());
        let mut message = Message::default();
        message.vec8(&long[..256]);
        assert!(message.finish().is_none());
        let mut message = Message::default();
        message.len16(1 << 16);
        assert!(message.finish().is_none());
        let mut message = Message::default();
        message.u8(0).set_length(0, 2, 1);
        assert!(message.finish().is_none());
    }
}

//! Records (RFC 8446 §5.1, RFC 5246 §6.2.1): header, limits, and how a whole one is taken
//! from a connection.

use crate::alert::Alert;
use crate::names::{ContentType, LEGACY_VERSION, Version};

/// Bytes of a header: type, version, length.
pub const HEADER: usize = 5;
/// The longest plaintext of a record, in bytes (RFC 8446 §5.1).
pub const MAX_PLAINTEXT: usize = 1 << 14;
/// The longest body of a protected record of TLS 1.3 (RFC 8446 §5.2).
pub const MAX_BODY_13: usize = MAX_PLAINTEXT + 256;
/// The longest body of a record on the wire (RFC 5246 §6.2.3).
pub const MAX_BODY: usize = MAX_PLAINTEXT + 2048;
/// The longest record on the wire, with its header.
pub const MAX_RECORD: usize = HEADER + MAX_BODY;

/// A header as it came; what of it is allowed depends on how far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header([u8; HEADER]);

impl Header {
    /// The header that this system writes.
    #[inline]
    pub const fn new(content_type: ContentType, length: u16) -> Self {
        let [major, minor] = LEGACY_VERSION.to_be_bytes();
        let [high, low] = length.to_be_bytes();
        Self([content_type.number(), major, minor, high, low])
    }

    /// The header in these bytes, whatever they are.
    #[inline]
    pub const fn from_bytes(bytes: [u8; HEADER]) -> Self {
        Self(bytes)
    }

    /// The header in front of `bytes`, and what comes after it; `None` when it is not whole.
    #[inline]
    pub fn split_from(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (header, rest) = bytes.split_first_chunk()?;
        Some((Self(*header), rest))
    }

    /// Its bytes, which TLS 1.3 authenticates (RFC 8446 §5.2).
    #[inline]
    pub const fn bytes(self) -> [u8; HEADER] {
        self.0
    }

    /// The number of its content type.
    #[inline]
    pub const fn kind(self) -> u8 {
        let [kind, ..] = self.0;
        kind
    }

    /// Its content type; `None` when it is none that is known.
    #[inline]
    pub const fn content_type(self) -> Option<ContentType> {
        ContentType::from_number(self.kind())
    }

    /// Whether it is of TLS 1.0 to 1.3, or of SSL 3.0.
    #[inline]
    pub const fn is_tls(self) -> bool {
        let [_, major, ..] = self.0;
        major == 3
    }

    /// Bytes of the body: at most 65,535, which is more than any may have.
    #[inline]
    pub fn length(self) -> usize {
        let [.., high, low] = self.0;
        usize::from(u16::from_be_bytes([high, low]))
    }

    /// Bytes of the record: header and body.
    #[inline]
    pub fn record_length(self) -> usize {
        HEADER + self.length()
    }

    /// Checks that it can be of a protected record after the handshake.
    ///
    /// # Errors
    /// The alert that the RFC names: unexpected_message, protocol_version or
    /// record_overflow.
    #[inline]
    pub fn check_established(self, version: Version) -> Result<ContentType, Alert> {
        let content_type = self.content_type().ok_or(Alert::UNEXPECTED_MESSAGE)?;
        let [_, major, minor, ..] = self.0;
        if u16::from_be_bytes([major, minor]) != LEGACY_VERSION {
            return Err(Alert::PROTOCOL_VERSION);
        }
        // RFC 8446 §5.2: after the handshake every record is protected, and looks like
        // application data.
        if version == Version::Tls13 && content_type != ContentType::ApplicationData {
            return Err(Alert::UNEXPECTED_MESSAGE);
        }
        if self.length() > max_body(version) {
            return Err(Alert::RECORD_OVERFLOW);
        }
        Ok(content_type)
    }
}

/// The longest body of a protected record, in bytes.
#[inline]
pub const fn max_body(version: Version) -> usize {
    match version {
        Version::Tls13 => MAX_BODY_13,
        Version::Tls12 => MAX_BODY,
    }
}

/// The other side of a connection took bytes back, or there are fewer than it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inconsistent;

/// Bytes of a connection in their order. Whoever put them there may change them at any
/// time until they are copied.
pub trait Source {
    /// Why it can't be read.
    type Error: From<Inconsistent>;

    /// Bytes that have come and were not consumed.
    ///
    /// # Errors
    /// The source is broken.
    fn readable(&self) -> Result<usize, Self::Error>;

    /// Copies the bytes from `offset` on; how many there were.
    ///
    /// # Errors
    /// The source is broken.
    fn peek(&self, offset: usize, to: &mut [u8]) -> Result<usize, Self::Error>;

    /// Drops so many bytes.
    ///
    /// # Errors
    /// The source is broken.
    fn consume(&mut self, count: usize) -> Result<(), Self::Error>;
}

/// A record that has begun to come. Its header was fetched once: what is judged is what
/// is taken, whatever stands in the source by then.
#[derive(Debug)]
pub struct Incoming(Header);

impl From<Header> for Incoming {
    /// The record with this header, which was fetched.
    #[inline]
    fn from(header: Header) -> Self {
        Self(header)
    }
}

impl Incoming {
    /// Fetches the header of the next record; `None` before it is whole. Nothing is
    /// consumed.
    ///
    /// # Errors
    /// The source is broken.
    #[inline]
    pub fn fetch<S: Source>(source: &S) -> Result<Option<Self>, S::Error> {
        let mut header = [0; HEADER];
        let is_whole = source.peek(0, &mut header)? >= HEADER;
        Ok(is_whole.then_some(Self(Header(header))))
    }

    /// Its header.
    #[inline]
    pub const fn header(&self) -> Header {
        self.0
    }

    /// Whether its body has come too.
    ///
    /// # Errors
    /// The source is broken.
    #[inline]
    pub fn is_whole<S: Source>(&self, source: &S) -> Result<bool, S::Error> {
        Ok(source.readable()? >= self.0.record_length())
    }

    /// Copies the record from `source` into `record`, which is as long as the record, or
    /// shorter. Nothing is consumed.
    ///
    /// # Errors
    /// As [`Incoming::take`].
    #[inline]
    pub fn copy<S: Source>(&self, source: &S, record: &mut [u8]) -> Result<(), S::Error> {
        let (header, body) = record
            .split_first_chunk_mut::<HEADER>()
            .ok_or(Inconsistent)?;
        *header = self.0.bytes();
        if source.peek(HEADER, body)? < body.len() {
            return Err(Inconsistent.into());
        }
        Ok(())
    }

    /// Moves the record from `source` into `record`, which is as long as the record, or
    /// shorter: then so many bytes of it are moved.
    ///
    /// # Errors
    /// The source is broken or has fewer bytes; or `record` has no room for a header. The
    /// connection is good for nothing then.
    #[inline]
    pub fn take<S: Source>(self, source: &mut S, record: &mut [u8]) -> Result<(), S::Error> {
        self.copy(source, record)?;
        source.consume(record.len())
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    #[test]
    fn a_header_of_each_wrong_kind_gets_its_alert() {
        let cases = [
            ([23, 3, 3, 0x41, 0x00], Version::Tls13, None),
            (
                [23, 3, 3, 0x41, 0x01],
                Version::Tls13,
                Some(Alert::RECORD_OVERFLOW),
            ),
            ([23, 3, 3, 0x48, 0x00], Version::Tls12, None),
            (
                [23, 3, 3, 0x48, 0x01],
                Version::Tls12,
                Some(Alert::RECORD_OVERFLOW),
            ),
            (
                [22, 3, 3, 0, 1],
                Version::Tls13,
                Some(Alert::UNEXPECTED_MESSAGE),
            ),
            (
                [20, 3, 3, 0, 1],
                Version::Tls13,
                Some(Alert::UNEXPECTED_MESSAGE),
            ),
            ([22, 3, 3, 0, 1], Version::Tls12, None),
            (
                [24, 3, 3, 0, 1],
                Version::Tls12,
                Some(Alert::UNEXPECTED_MESSAGE),
            ),
            (
                [23, 3, 1, 0, 1],
                Version::Tls12,
                Some(Alert::PROTOCOL_VERSION),
            ),
            (*b"GET /", Version::Tls12, Some(Alert::UNEXPECTED_MESSAGE)),
        ];
        for (bytes, version, alert) in cases {
            let checked = Header::from_bytes(bytes).check_established(version);
            assert_eq!(checked.err(), alert, "{bytes:?}");
        }
    }

    #[test]
    fn a_header_leads_back_to_what_it_was_made_of() {
        let header = Header::new(ContentType::Handshake, 0x1234);
        assert_eq!(header.bytes(), [22, 3, 3, 0x12, 0x34]);
        assert_eq!(header.content_type(), Some(ContentType::Handshake));
        assert_eq!((header.length(), header.record_length()), (0x1234, 0x1239));
        assert!(header.is_tls() && !Header::from_bytes([22, 2, 0, 0, 0]).is_tls());
    }

    /// A source whose other side writes another header as soon as one was read.
    struct Lying {
        bytes: Vec<u8>,
        fetched: Cell<u32>,
    }

    impl Source for Lying {
        type Error = Inconsistent;

        fn readable(&self) -> Result<usize, Inconsistent> {
            Ok(self.bytes.len())
        }

        fn peek(&self, offset: usize, to: &mut [u8]) -> Result<usize, Inconsistent> {
            let mut now = self.bytes.clone();
            if offset < HEADER && self.fetched.replace(self.fetched.get() + 1) > 0 {
                now.iter_mut().take(HEADER).for_each(|byte| *byte = 0xff);
            }
            let rest = now.get(offset..).ok_or(Inconsistent)?;
            let count = rest.len().min(to.len());
            to[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }

        fn consume(&mut self, count: usize) -> Result<(), Inconsistent> {
            self.bytes.drain(..count);
            Ok(())
        }
    }

    fn lying(bytes: &[u8]) -> Lying {
        Lying {
            bytes: bytes.to_vec(),
            fetched: Cell::new(0),
        }
    }

    #[test]
    fn a_header_is_fetched_once_and_taken_as_it_was_judged() {
        let mut source = lying(&[22, 3, 3, 0, 2, 7, 8, 9]);
        let incoming = Incoming::fetch(&source).unwrap().unwrap();
        assert_eq!(incoming.is_whole(&source), Ok(true));
        let mut record = [0; 7];
        incoming.take(&mut source, &mut record).unwrap();
        assert_eq!(record, [22, 3, 3, 0, 2, 7, 8]);
        assert_eq!((source.fetched.get(), source.bytes), (1, vec![9]));
    }

    #[test]
    fn a_record_that_is_not_whole_is_waited_for_or_taken_in_part() {
        assert!(Incoming::fetch(&lying(&[22, 3, 3, 0])).unwrap().is_none());
        let mut source = lying(&[22, 3, 3, 0, 2, 7]);
        let incoming = Incoming::fetch(&source).unwrap().unwrap();
        assert_eq!(incoming.is_whole(&source), Ok(false));
        let mut header = [0; HEADER];
        incoming.take(&mut source, &mut header).unwrap();
        assert_eq!((header, source.bytes), ([22, 3, 3, 0, 2], vec![7]));
        let mut source = lying(&[22, 3, 3, 0, 2, 7]);
        let incoming = Incoming::fetch(&source).unwrap().unwrap();
        assert_eq!(incoming.take(&mut source, &mut [0; 7]), Err(Inconsistent));
    }
}

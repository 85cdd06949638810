//! Record headers (RFC 8446 §5.1, RFC 5246 §6.2.1).

use tls::{Alert, ContentType, Version};

/// Type, version, length.
pub(crate) const HEADER: usize = 5;
/// The longest plaintext of a record.
pub(crate) const MAX_PLAINTEXT: usize = 1 << 14;
/// The longest body on the wire: RFC 5246 §6.2.3.
pub(crate) const MAX_BODY: usize = MAX_PLAINTEXT + 2048;

/// A header that can be one of an established session's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) content_type: ContentType,
    /// Bytes of the body.
    pub(crate) length: usize,
}

impl Header {
    /// Checks the header of a protected record.
    ///
    /// # Errors
    /// The alert that the RFC names.
    pub(crate) fn parse(bytes: [u8; HEADER], version: Version) -> Result<Self, Alert> {
        let [kind, major, minor, high, low] = bytes;
        let content_type = ContentType::from_number(kind).ok_or(Alert::UNEXPECTED_MESSAGE)?;
        if (major, minor) != (3, 3) {
            return Err(Alert::PROTOCOL_VERSION);
        }
        // RFC 8446 §5.2: behind the handshake every record is protected, and
        // looks like application data.
        if version == Version::Tls13 && content_type != ContentType::ApplicationData {
            return Err(Alert::UNEXPECTED_MESSAGE);
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        let longest = match version {
            Version::Tls13 => MAX_PLAINTEXT + 256,
            Version::Tls12 => MAX_BODY,
        };
        if length > longest {
            return Err(Alert::RECORD_OVERFLOW);
        }
        Ok(Self {
            content_type,
            length,
        })
    }
}

#[cfg(test)]
mod tests {
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
            assert_eq!(Header::parse(bytes, version).err(), alert, "{bytes:?}");
        }
    }
}

//! ClientHello (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2): where its parts are.

use crate::codec::{DecodeError, Reader};

/// The longest session identifier, in bytes (RFC 8446 §4.1.2).
pub const MAX_SESSION_ID: usize = 32;

/// Stands among the suites of a client that knows RFC 5746 (§3.3).
pub const EMPTY_RENEGOTIATION_INFO_SCSV: u16 = 0x00ff;
/// Stands among the suites of a client that tried a later version before (RFC 7507 §2).
pub const FALLBACK_SCSV: u16 = 0x5600;
/// The compression method that does nothing (RFC 5246 §7.4.1.2).
pub const NULL_COMPRESSION: u8 = 0;
/// PskKeyExchangeMode psk_dhe_ke (RFC 8446 §4.2.9).
pub const PSK_DHE_KE: u8 = 1;

/// The parts of a ClientHello, in the buffer that it came in. Nothing but lengths is
/// checked.
#[derive(Clone, Copy, Debug)]
pub struct ClientHello<'a> {
    /// What the field of TLS 1.2 says.
    pub version: u16,
    /// RFC 8446 §4.1.2.
    pub random: [u8; 32],
    /// At most [`MAX_SESSION_ID`] bytes.
    pub session_id: &'a [u8],
    /// Numbers of two bytes.
    pub cipher_suites: Reader<'a>,
    /// One byte each.
    pub compression_methods: &'a [u8],
    /// What is after those.
    rest: Reader<'a>,
}

impl<'a> ClientHello<'a> {
    /// Reads the body of the message.
    ///
    /// # Errors
    /// A part does not fit, or the session identifier is too long.
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut body = Reader::new(body);
        let version = body.u16()?;
        let random = body.array()?;
        let session_id = body.vec8()?.rest();
        if session_id.len() > MAX_SESSION_ID {
            return Err(DecodeError);
        }
        Ok(Self {
            version,
            random,
            session_id,
            cipher_suites: body.vec16()?,
            compression_methods: body.vec8()?.rest(),
            rest: body,
        })
    }

    /// The list of extensions, for [`Reader::next_extension`]; empty without one, which a
    /// client of TLS 1.2 need not send.
    ///
    /// # Errors
    /// It does not fit, or something comes after it.
    pub fn extensions(&self) -> Result<Reader<'a>, DecodeError> {
        let mut rest = self.rest;
        if rest.is_empty() {
            return Ok(rest);
        }
        let extensions = rest.vec16()?;
        rest.end()?;
        Ok(extensions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(session_id: u8, extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(session_id);
        body.extend(vec![9; usize::from(session_id)]);
        body.extend([0, 4, 0x13, 1, 0x13, 2, 1, 0]);
        body.extend(extensions);
        body
    }

    #[test]
    fn the_parts_of_a_hello_are_found() {
        let body = hello(2, &[0, 4, 0, 23, 0, 0]);
        let hello = ClientHello::parse(&body).unwrap();
        assert_eq!((hello.version, hello.random), (0x0303, [7; 32]));
        assert_eq!(hello.session_id, [9, 9]);
        assert_eq!(hello.cipher_suites.rest(), [0x13, 1, 0x13, 2]);
        assert_eq!(hello.compression_methods, [0]);
        assert_eq!(hello.extensions().unwrap().rest(), [0, 23, 0, 0]);
    }

    #[test]
    fn a_hello_may_be_without_extensions_and_nothing_may_follow_them() {
        let is_good = |extensions: &[u8]| {
            let body = hello(0, extensions);
            ClientHello::parse(&body).unwrap().extensions().is_ok()
        };
        assert!(is_good(&[]));
        assert!(is_good(&[0, 0]));
        assert!(!is_good(&[0, 0, 0]));
        assert!(!is_good(&[0, 1]));
        assert!(!is_good(&[0]));
    }

    #[test]
    fn every_truncation_and_a_long_session_identifier_are_refused() {
        let body = hello(MAX_SESSION_ID as u8, &[]);
        assert!(ClientHello::parse(&body).is_ok());
        for length in 0..body.len() {
            assert!(ClientHello::parse(&body[..length]).is_err(), "{length}");
        }
        assert!(ClientHello::parse(&hello(33, &[])).is_err());
    }
}

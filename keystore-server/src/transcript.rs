//! The handshake messages that a client of TLS 1.2 signs (RFC 5246 §7.4.8).
//!
//! ring signs messages, not digests, so that all of them come here; and that
//! they are a handshake is checked before they are signed.

use alloc::vec::Vec;

use ipc::keystore::{KeystoreError, MAX_TRANSCRIPT};
use tls::HandshakeType;
use tls::codec::Reader;

/// What stands before a CertificateVerify in its order; the second says
/// whether it may be missing.
const ORDER: [(HandshakeType, bool); 9] = [
    (HandshakeType::CLIENT_HELLO, false),
    (HandshakeType::SERVER_HELLO, false),
    (HandshakeType::CERTIFICATE, false),
    (HandshakeType::CERTIFICATE_STATUS, true),
    (HandshakeType::SERVER_KEY_EXCHANGE, true),
    (HandshakeType::CERTIFICATE_REQUEST, false),
    (HandshakeType::SERVER_HELLO_DONE, false),
    (HandshakeType::CERTIFICATE, false),
    (HandshakeType::CLIENT_KEY_EXCHANGE, false),
];

/// Handshake messages on their way to a signature.
#[derive(Default)]
pub(crate) struct Transcript(Vec<u8>);

impl Transcript {
    pub(crate) fn take(&mut self, is_first: bool, part: &[u8]) -> Result<(), KeystoreError> {
        if is_first {
            self.0 = Vec::new();
        }
        if self.0.len() + part.len() > MAX_TRANSCRIPT {
            self.0 = Vec::new();
            return Err(KeystoreError::NotTls);
        }
        self.0.extend_from_slice(part);
        Ok(())
    }

    /// The messages, if they are what a client signs; they are gone then.
    pub(crate) fn finish(&mut self) -> Result<Vec<u8>, KeystoreError> {
        let bytes = core::mem::take(&mut self.0);
        match is_handshake(&bytes) {
            true => Ok(bytes),
            false => Err(KeystoreError::NotTls),
        }
    }
}

/// Whether `bytes` are whole messages in the order that a client has seen them.
fn is_handshake(bytes: &[u8]) -> bool {
    let mut rest = Reader::new(bytes);
    for (kind, is_optional) in ORDER {
        let mut after = rest;
        if after.u8() != Ok(kind.0) {
            if is_optional {
                continue;
            }
            return false;
        }
        if after.vec24().is_err() {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(kinds: &[u8]) -> Vec<u8> {
        kinds
            .iter()
            .flat_map(|kind| [*kind, 0, 0, 2, 7, 7])
            .collect()
    }

    fn judged(bytes: &[u8]) -> bool {
        let mut transcript = Transcript::default();
        let mut is_first = true;
        for part in bytes.chunks(5) {
            transcript.take(is_first, part).unwrap();
            is_first = false;
        }
        transcript.finish().is_ok_and(|whole| whole == bytes)
    }

    #[test]
    fn r24_a_handshake_up_to_the_key_exchange_is_one() {
        assert!(judged(&messages(&[1, 2, 11, 12, 13, 14, 11, 16])));
        assert!(judged(&messages(&[1, 2, 11, 22, 12, 13, 14, 11, 16])));
        assert!(judged(&messages(&[1, 2, 11, 13, 14, 11, 16])));
    }

    #[test]
    fn anything_else_is_none() {
        let good = messages(&[1, 2, 11, 12, 13, 14, 11, 16]);
        for length in 0..good.len() {
            assert!(!judged(&good[..length]), "{length}");
        }
        let mut longer = good.clone();
        longer.push(0);
        assert!(!judged(&longer));
        for kinds in [
            &[1, 2, 11, 12, 14, 11, 16][..],
            &[2, 1, 11, 12, 13, 14, 11, 16],
            &[1, 2, 11, 12, 13, 14, 16],
            &[1, 2, 11, 12, 13, 14, 11, 16, 20],
        ] {
            assert!(!judged(&messages(kinds)), "{kinds:?}");
        }
    }

    #[test]
    fn a_transcript_is_bounded_and_signed_once() {
        let mut transcript = Transcript::default();
        let good = messages(&[1, 2, 11, 12, 13, 14, 11, 16]);
        transcript.take(true, &good).unwrap();
        assert!(transcript.finish().is_ok());
        assert_eq!(transcript.finish(), Err(KeystoreError::NotTls));
        for _ in 0..MAX_TRANSCRIPT / 1024 {
            transcript.take(false, &[0; 1024]).unwrap();
        }
        assert_eq!(transcript.take(false, &[0]), Err(KeystoreError::NotTls));
    }
}

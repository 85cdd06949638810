//! The bytes that TLS signs, made from their parts.

use alloc::vec::Vec;

use ipc::keystore::{KeystoreError, ToBeSigned};
use tls::certificate_verify::{PADDING, context};
use tls::names::NAMED_CURVE;
use tls::{Group, Role, Version};

use crate::transcript::Transcript;

/// More than the longest content: 64 + 33 + 1 + 48 for TLS 1.3, 64 + 4 + 97 for
/// TLS 1.2.
const MAX: usize = 192;

/// Content for one signature; only made by [`Content::of`].
pub(crate) struct Content {
    bytes: [u8; MAX],
    length: usize,
    /// A transcript in place of the rest.
    long: Option<Vec<u8>>,
}

impl Content {
    /// Makes the content, or says what is not TLS about `parts`.
    pub(crate) fn of(
        parts: &ToBeSigned,
        transcript: &mut Transcript,
    ) -> Result<Self, KeystoreError> {
        let mut content = Self {
            bytes: [0; MAX],
            length: 0,
            long: None,
        };
        match parts {
            // RFC 8446 §4.4.3.
            ToBeSigned::Tls13CertificateVerify {
                role,
                transcript_hash,
            } => {
                if !matches!(transcript_hash.len(), 32 | 48) {
                    return Err(KeystoreError::NotTls);
                }
                content.append(&PADDING)?;
                content.append(context(*role))?;
                content.append(transcript_hash)?;
            }
            // RFC 8422 §5.4: ServerECDHParams after both randoms.
            ToBeSigned::Tls12ServerKeyExchange {
                client_random,
                server_random,
                group,
                public_key,
            } => {
                let length = public_key_length(*group).ok_or(KeystoreError::NotTls)?;
                if public_key.len() != usize::from(length) {
                    return Err(KeystoreError::NotTls);
                }
                let [high, low] = group.to_be_bytes();
                content.append(client_random)?;
                content.append(server_random)?;
                content.append(&[NAMED_CURVE, high, low, length])?;
                content.append(public_key)?;
            }
            ToBeSigned::Tls12CertificateVerify => content.long = Some(transcript.finish()?),
        }
        Ok(content)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.long {
            Some(transcript) => transcript,
            None => self.bytes.get(..self.length).unwrap_or_default(),
        }
    }

    fn append(&mut self, part: &[u8]) -> Result<(), KeystoreError> {
        let end = self.length + part.len();
        self.bytes
            .get_mut(self.length..end)
            .ok_or(KeystoreError::NotTls)?
            .copy_from_slice(part);
        self.length = end;
        Ok(())
    }
}

/// The role in which the content is signed.
pub(crate) const fn role(parts: &ToBeSigned) -> Role {
    match parts {
        ToBeSigned::Tls13CertificateVerify { role, .. } => *role,
        ToBeSigned::Tls12ServerKeyExchange { .. } => Role::Server,
        ToBeSigned::Tls12CertificateVerify => Role::Client,
    }
}

/// Bytes of a public key of the group with this number, if it is for TLS 1.2 (RFC 8422
/// §5.4.1: an uncompressed point; X25519: 32 bytes).
fn public_key_length(group: u16) -> Option<u8> {
    let group = Group::from_number(group).filter(|group| group.is_for(Version::Tls12))?;
    u8::try_from(group.share_len(Role::Server)).ok()
}

#[cfg(test)]
mod tests {
    use ipc::bounded::Bytes;

    use super::*;

    fn made(parts: &ToBeSigned) -> Result<Content, KeystoreError> {
        Content::of(parts, &mut Transcript::default())
    }

    #[test]
    fn a_tls13_certificate_verify_is_spaces_context_zero_and_hash() {
        let content = made(&ToBeSigned::Tls13CertificateVerify {
            role: Role::Server,
            transcript_hash: Bytes::from_slice(&[7; 32]).unwrap(),
        })
        .unwrap();
        let mut expected = vec![0x20; 64];
        expected.extend(b"TLS 1.3, server CertificateVerify\0");
        expected.extend([7; 32]);
        assert_eq!(content.bytes(), expected);
    }

    #[test]
    fn a_hash_of_another_length_is_refused() {
        for length in [0, 20, 31, 33, 47] {
            let parts = ToBeSigned::Tls13CertificateVerify {
                role: Role::Server,
                transcript_hash: Bytes::from_slice(&vec![7; length]).unwrap(),
            };
            assert_eq!(made(&parts).err(), Some(KeystoreError::NotTls));
        }
    }

    #[test]
    fn a_tls12_key_exchange_is_both_randoms_and_the_parameters() {
        let content = made(&ToBeSigned::Tls12ServerKeyExchange {
            client_random: [1; 32],
            server_random: [2; 32],
            group: 0x001d,
            public_key: Bytes::from_slice(&[3; 32]).unwrap(),
        })
        .unwrap();
        let mut expected = vec![1; 32];
        expected.extend([2; 32]);
        expected.extend([3, 0, 0x1d, 32]);
        expected.extend([3; 32]);
        assert_eq!(content.bytes(), expected);
    }

    #[test]
    fn a_key_that_does_not_fit_its_group_is_refused() {
        for (group, length) in [(0x1d, 33), (0x17, 64), (0x18, 65), (0x19, 97), (0, 0)] {
            let parts = ToBeSigned::Tls12ServerKeyExchange {
                client_random: [0; 32],
                server_random: [0; 32],
                group,
                public_key: Bytes::from_slice(&vec![4; length]).unwrap(),
            };
            assert_eq!(made(&parts).err(), Some(KeystoreError::NotTls));
        }
    }
}

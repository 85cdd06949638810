//! The structures of ASN.1 that keys are in, as `der` reads and writes them.

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef};
use der::{Encode, Sequence};
use zeroize::Zeroizing;

/// rsaEncryption (RFC 8017 §A.1).
pub(crate) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// id-ecPublicKey (RFC 5480 §2.1.1).
pub(crate) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// id-Ed25519 (RFC 8410 §3).
pub(crate) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// secp256r1 (RFC 5480 §2.1.1.1).
pub(crate) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
/// secp384r1 (RFC 5480 §2.1.1.1).
pub(crate) const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// AlgorithmIdentifier (RFC 5280 §4.1.1.2).
#[derive(Sequence)]
pub(crate) struct Algorithm<'a> {
    pub(crate) oid: ObjectIdentifier,
    pub(crate) parameters: Option<AnyRef<'a>>,
}

impl Algorithm<'_> {
    /// The named curve, where the parameters are one.
    pub(crate) fn curve(&self) -> Option<ObjectIdentifier> {
        self.parameters?.decode_as().ok()
    }
}

/// PrivateKeyInfo (RFC 5958 §2, version 1), without attributes.
#[derive(Sequence)]
pub(crate) struct PrivateKeyInfo<'a> {
    pub(crate) version: u8,
    pub(crate) algorithm: Algorithm<'a>,
    pub(crate) key: &'a OctetStringRef,
}

/// ECPrivateKey (RFC 5915 §3), without the curve's name.
#[derive(Sequence)]
pub(crate) struct EcPrivateKey<'a> {
    pub(crate) version: u8,
    pub(crate) scalar: &'a OctetStringRef,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT")]
    pub(crate) public: BitStringRef<'a>,
}

/// The encoding of something secret.
pub(crate) fn secret(value: &impl Encode) -> Option<Zeroizing<Vec<u8>>> {
    value.to_der().ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use der::Decode;
    use der::asn1::Null;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for length in [0, 1, 127, 128, 255, 256, 65536] {
            let content = vec![7; length];
            let key = OctetStringRef::new(&content).unwrap();
            let (oid, parameters) = (RSA, Some(Null.into()));
            let written = secret(&PrivateKeyInfo {
                version: 0,
                algorithm: Algorithm { oid, parameters },
                key,
            });
            let written = written.unwrap();
            let read = PrivateKeyInfo::from_der(&written).unwrap();
            assert_eq!(read.key.as_bytes(), content);
            assert!(read.algorithm.oid == RSA && read.algorithm.curve().is_none());
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        for bytes in [&[4, 2, 1][..], &[4, 0x80], &[4, 0x85, 1, 1, 1, 1, 1]] {
            assert!(<&OctetStringRef>::from_der(bytes).is_err(), "{bytes:?}");
        }
    }
}

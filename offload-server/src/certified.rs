//! What a certificate says of its own key, which webpki leaves to its caller: what the key
//! may be used for (RFC 5280 §4.2.1.3), and of which kind it is.
//!
//! It is read where it lies: these are certificates of peers that nobody has validated, and
//! what is made of one would be many times as large.

use der::asn1::{AnyRef, GeneralizedTime, ObjectIdentifier, UtcTime};
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};
use tls::CipherSuite;

/// rsaEncryption (RFC 8017 §A.1).
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// id-ce-keyUsage (RFC 5280 §4.2.1.3), and the first byte of its bits.
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const DIGITAL_SIGNATURE: u8 = 0x80;
const KEY_CERT_SIGN: u8 = 0x04;

/// Whether the key may sign a handshake (RFC 8446 §4.4.2.2, RFC 5246 §7.4.2:
/// digitalSignature, where the certificate has a key usage).
pub(crate) fn may_sign(certificate: &[u8]) -> bool {
    is_usable(certificate, DIGITAL_SIGNATURE)
}

/// Whether it may sign certificates (RFC 5280 §6.1.4 (n): keyCertSign).
pub(crate) fn may_certify(certificate: &[u8]) -> bool {
    is_usable(certificate, KEY_CERT_SIGN)
}

/// Nothing is allowed by one that can't be read.
fn is_usable(certificate: &[u8], bit: u8) -> bool {
    let facts = Facts::read(certificate);
    facts.is_some_and(|facts| facts.usage.is_none_or(|usage| usage & bit != 0))
}

/// What is in an encoded item.
pub(crate) fn contents(der: &[u8]) -> Option<&[u8]> {
    AnyRef::from_der(der).ok().map(|item| item.value())
}

/// The name of whoever issued it: what is in the sequence.
pub(crate) fn issuer(certificate: &[u8]) -> Option<&[u8]> {
    // After serial number and signature.
    name(certificate, 2)
}

/// Its own name, likewise.
pub(crate) fn subject(certificate: &[u8]) -> Option<&[u8]> {
    // After the validity, too.
    name(certificate, 4)
}

fn name(certificate: &[u8], at: usize) -> Option<&[u8]> {
    let version = context(0);
    let parts = items(AnyRef::from_der(certificate).ok()?)?.next()??;
    let name = items(parts)?
        .flatten()
        .skip_while(|part| part.tag() == version)
        .nth(at)?;
    Some(name.value())
}

/// Whether a server of TLS 1.2 that chose `suite` may show this certificate (RFC 5246
/// §7.4.2, RFC 8422 §2.2: an EdDSA key goes with the suites of ECDSA).
pub(crate) fn is_for(suite: CipherSuite, certificate: &[u8]) -> bool {
    let Some(facts) = Facts::read(certificate) else {
        // Validation says what is wrong with it.
        return true;
    };
    let has_rsa = facts.algorithm == RSA.as_bytes();
    match suite {
        CipherSuite::EcdheRsaAes128GcmSha256
        | CipherSuite::EcdheRsaAes256GcmSha384
        | CipherSuite::EcdheRsaChaCha20Poly1305Sha256
        | CipherSuite::RsaAes128GcmSha256
        | CipherSuite::RsaAes256GcmSha384 => has_rsa,
        CipherSuite::EcdheEcdsaAes128GcmSha256
        | CipherSuite::EcdheEcdsaAes256GcmSha384
        | CipherSuite::EcdheEcdsaChaCha20Poly1305Sha256 => !has_rsa,
        CipherSuite::Aes128GcmSha256
        | CipherSuite::Aes256GcmSha384
        | CipherSuite::ChaCha20Poly1305Sha256 => true,
    }
}

/// Until when it is valid (RFC 5280 §4.1.2.5), in seconds since 1970.
pub(crate) fn not_after(certificate: &[u8]) -> Option<u64> {
    let version = context(0);
    let parts = items(AnyRef::from_der(certificate).ok()?)?.next()??;
    // Serial number, signature, issuer, validity.
    let mut parts = items(parts)?
        .skip_while(|part| part.as_ref().is_some_and(|part| part.tag() == version))
        .skip(3);
    time(&items(parts.next()??)?.nth(1)??)
}

/// A Time (RFC 5280 §4.1), in seconds since 1970; `None` of anything else.
pub(crate) fn time(part: &AnyRef<'_>) -> Option<u64> {
    let since = match part.tag() {
        Tag::UtcTime => part.decode_as::<UtcTime>().ok()?.to_unix_duration(),
        Tag::GeneralizedTime => {
            let time = part.decode_as::<GeneralizedTime>();
            time.ok()?.to_unix_duration()
        }
        _ => return None,
    };
    Some(since.as_secs())
}

/// What is read of a certificate (RFC 5280 §4.1).
struct Facts<'a> {
    /// The object identifier of the key's algorithm, encoded.
    algorithm: &'a [u8],
    /// The first byte of the key usage, where there is one.
    usage: Option<u8>,
}

impl<'a> Facts<'a> {
    fn read(certificate: &'a [u8]) -> Option<Self> {
        let version = context(0);
        let parts = items(AnyRef::from_der(certificate).ok()?)?.next()??;
        // Serial number, signature, issuer, validity, subject, key, and what may follow.
        let mut parts = items(parts)?
            .skip_while(|part| part.as_ref().is_some_and(|part| part.tag() == version))
            .skip(5);
        let key = items(parts.next()??)?.next()??;
        let mut facts = Self {
            algorithm: items(key)?.next()??.value(),
            usage: None,
        };
        for part in parts {
            let part = part?;
            if part.tag() == context(3) {
                facts.usage = key_usage(part.value())?;
            }
        }
        Some(facts)
    }
}

/// Of the extensions of a certificate; `None` if they can't be read.
fn key_usage(extensions: &[u8]) -> Option<Option<u8>> {
    for extension in items(AnyRef::from_der(extensions).ok()?)? {
        let mut fields = items(extension?)?;
        if fields.next()??.value() == KEY_USAGE.as_bytes() {
            // Whether it is critical may stand before it.
            let bits = AnyRef::from_der(fields.last()??.value()).ok()?;
            let is_bits = bits.tag() == Tag::BitString;
            return is_bits.then(|| bits.value().get(1).copied().or(Some(0)));
        }
    }
    Some(None)
}

/// What is in a sequence; `None` for what can't be read.
pub(crate) fn items(sequence: AnyRef<'_>) -> Option<impl Iterator<Item = Option<AnyRef<'_>>>> {
    let is_sequence = sequence.tag() == Tag::Sequence;
    let mut reader = SliceReader::new(sequence.value()).ok()?;
    let next = move || {
        let item = (!reader.is_finished()).then(|| AnyRef::decode(&mut reader).ok())?;
        // Nothing can be found after what can't be read.
        if item.is_none() {
            reader = SliceReader::new(&[]).ok()?;
        }
        Some(item)
    };
    is_sequence.then(|| core::iter::from_fn(next))
}

pub(crate) const fn context(number: u32) -> Tag {
    Tag::ContextSpecific {
        constructed: true,
        number: TagNumber(number),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
    use rustls::pki_types::CertificateDer;

    use super::*;

    fn certificate(usages: &[KeyUsagePurpose]) -> CertificateDer<'static> {
        with(usages, &PKCS_ECDSA_P256_SHA256)
    }

    fn with(
        usages: &[KeyUsagePurpose],
        algorithm: &'static SignatureAlgorithm,
    ) -> CertificateDer<'static> {
        let mut params = rcgen::CertificateParams::default();
        params.key_usages = usages.to_vec();
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn a_key_signs_if_its_certificate_does_not_say_otherwise() {
        assert!(may_sign(&certificate(&[])));
        assert!(may_sign(&certificate(&[KeyUsagePurpose::DigitalSignature])));
        assert!(!may_sign(&certificate(&[KeyUsagePurpose::KeyAgreement])));
        assert!(!may_sign(&[7; 100]));
        let whole = certificate(&[KeyUsagePurpose::DigitalSignature]);
        for length in 0..whole.len() {
            assert!(!may_sign(&whole[..length]), "{length}");
        }
    }

    /// 2.25 and a UUID (X.667): a number that does not fit 32 bits.
    #[test]
    fn an_extension_with_any_name_is_in_nobody_s_way() {
        let mut params = rcgen::CertificateParams::default();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let name = [2, 25, u64::MAX - 1];
        let extension = rcgen::CustomExtension::from_oid_content(&name, vec![5, 0]);
        params.custom_extensions.push(extension);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        assert!(may_sign(certificate.der()));
        assert!(!may_certify(certificate.der()));
    }

    #[test]
    fn an_issuer_is_named_in_the_certificate() {
        let mut params = rcgen::CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "issuer");
        let key = rcgen::KeyPair::generate().unwrap();
        let root = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default()
            .signed_by(&key, &root)
            .unwrap();
        let name = issuer(certificate.der()).unwrap();
        assert!(name.ends_with(b"issuer"));
        assert_eq!(issuer(root.der()), Some(name));
        assert_eq!(subject(root.der()), Some(name));
        assert_ne!(subject(certificate.der()), Some(name));
        for length in 0..certificate.der().len() {
            let part = &certificate.der()[..length];
            assert_eq!((issuer(part), subject(part)), (None, None), "{length}");
        }
    }

    #[test]
    fn a_certificate_goes_with_the_suites_of_its_kind() {
        let ecdsa = CipherSuite::EcdheEcdsaAes128GcmSha256;
        let rsa = CipherSuite::EcdheRsaAes128GcmSha256;
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ED25519] {
            let certificate = with(&[], algorithm);
            assert!(is_for(ecdsa, &certificate));
            assert!(!is_for(rsa, &certificate));
            assert!(is_for(CipherSuite::Aes128GcmSha256, &certificate));
        }
    }
}

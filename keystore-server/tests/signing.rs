//! The key store over its public interface: what it signs, what it refuses.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up fails")]

use ipc::badge::Badge;
use ipc::bounded::{Bytes, List, Text};
use ipc::keystore::{
    Answer, CertificateList, KeyKind, KeyringIndex, Keystore, KeystoreError, Request, ToBeSigned,
};
use ipc::provision::{Crls, Keyring, Keyrings, KeystoreData, PrivateKey};
use ipc::stats;
use ipc::tls::Revocation;
use ipc::transport::{Client, MAX_MESSAGE, Transport, TransportError};
use keystore_server::{ProvisionError, Server, firmware};
use rcgen::{CertificateParams, KeyPair};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use std::cell::RefCell;
use tls::{Role, Scheme};

const OFFLOAD: Badge = Badge::Client(1);

struct Direct<'a>(RefCell<Server<'a>>, Badge);

impl Transport for Direct<'_> {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        Ok(self.0.borrow_mut().serve(self.1.to_word(), request, reply))
    }
}

fn ring_with(kind: KeyKind, key: &KeyPair, roles: Vec<Role>) -> Keyring {
    let certificate = CertificateParams::new(vec!["localhost".into()])
        .unwrap()
        .self_signed(key)
        .unwrap();
    Keyring {
        label: Text::from_text("web").unwrap(),
        roles,
        decrypts: false,
        schemes: List::new(),
        key: Some(PrivateKey {
            kind,
            pkcs8: key.serialize_der(),
        }),
        chain: vec![certificate.der().to_vec()],
        trust: vec![vec![9; 2000]],
        crls: Crls {
            revocation: Revocation::WhenKnown,
            lists: vec![vec![8; 1000], vec![7; 1850]],
        },
        ocsp: Some(vec![6; 900]),
    }
}

fn key_of(kind: KeyKind) -> KeyPair {
    let pem = include_str!("rsa2048.pem");
    match kind {
        KeyKind::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap(),
        KeyKind::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap(),
        KeyKind::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap(),
        KeyKind::Rsa => KeyPair::from_pem(pem).unwrap(),
    }
}

fn with_store<R>(
    rings: Vec<Keyring>,
    badge: Badge,
    test: impl FnOnce(&Client<Keystore, Direct<'_>>, &stats::Page) -> R,
) -> R {
    let stats = Box::new(stats::Page::default());
    let blob = postcard::to_allocvec(&KeystoreData::open(Keyrings(rings))).unwrap();
    let server = Server::new(&blob, &stats, firmware::absent).unwrap();
    test(&Client::new(Direct(RefCell::new(server), badge)), &stats)
}

/// Why a request is refused.
fn refusal(store: &Client<Keystore, Direct<'_>>, request: &Request) -> KeystoreError {
    let reply = store.call(request).unwrap();
    reply.err().unwrap_or_else(|| panic!("{request:?}"))
}

fn verify_request(role: Role, scheme: Scheme) -> Request {
    Request::Sign {
        keyring: KeyringIndex(0),
        scheme,
        to_be_signed: ToBeSigned::Tls13CertificateVerify {
            role,
            transcript_hash: Bytes::from_slice(&[5; 32]).unwrap(),
        },
    }
}

fn exchange_request(scheme: Scheme) -> Request {
    Request::Sign {
        keyring: KeyringIndex(0),
        scheme,
        to_be_signed: ToBeSigned::Tls12ServerKeyExchange {
            client_random: [1; 32],
            server_random: [2; 32],
            group: 0x1d,
            public_key: Bytes::from_slice(&[3; 32]).unwrap(),
        },
    }
}

fn verify_content(role: &str) -> Vec<u8> {
    let mut content = vec![0x20; 64];
    content.extend(format!("TLS 1.3, {role} CertificateVerify\0").bytes());
    content.extend([5; 32]);
    content
}

const SCHEMES: [(Scheme, &dyn VerificationAlgorithm); 9] = [
    (
        Scheme::EcdsaSecp256r1Sha256,
        &signature::ECDSA_P256_SHA256_ASN1,
    ),
    (
        Scheme::EcdsaSecp384r1Sha384,
        &signature::ECDSA_P384_SHA384_ASN1,
    ),
    (Scheme::Ed25519, &signature::ED25519),
    (
        Scheme::RsaPssRsaeSha256,
        &signature::RSA_PSS_2048_8192_SHA256,
    ),
    (
        Scheme::RsaPssRsaeSha384,
        &signature::RSA_PSS_2048_8192_SHA384,
    ),
    (
        Scheme::RsaPssRsaeSha512,
        &signature::RSA_PSS_2048_8192_SHA512,
    ),
    (
        Scheme::RsaPkcs1Sha256,
        &signature::RSA_PKCS1_2048_8192_SHA256,
    ),
    (
        Scheme::RsaPkcs1Sha384,
        &signature::RSA_PKCS1_2048_8192_SHA384,
    ),
    (
        Scheme::RsaPkcs1Sha512,
        &signature::RSA_PKCS1_2048_8192_SHA512,
    ),
];

#[test]
fn a_signature_of_every_scheme_verifies_over_the_tls_content() {
    for (scheme, algorithm) in SCHEMES {
        let key = key_of(KeyKind::of(scheme));
        let public = UnparsedPublicKey::new(algorithm, key.public_key_raw().to_vec());
        let ring = ring_with(KeyKind::of(scheme), &key, vec![Role::Server, Role::Client]);
        with_store(vec![ring], OFFLOAD, |store, stats| {
            let reply = store.call(&exchange_request(scheme)).unwrap();
            let Ok(Answer::Signature(signature)) = reply else {
                panic!("{scheme:?}");
            };
            let mut content = [[1; 32], [2; 32]].concat();
            content.extend([3, 0, 0x1d, 32]);
            content.extend([3; 32]);
            public.verify(&content, &signature).unwrap();
            assert!(public.verify(b"something else", &signature).is_err());
            for (role, word) in [(Role::Server, "server"), (Role::Client, "client")] {
                let reply = store.call(&verify_request(role, scheme)).unwrap();
                if scheme.in_tls13() {
                    let Ok(Answer::Signature(signature)) = reply else {
                        panic!("{scheme:?}");
                    };
                    public.verify(&verify_content(word), &signature).unwrap();
                } else {
                    assert_eq!(reply.err(), Some(KeystoreError::WrongScheme));
                }
            }
            let made = if scheme.in_tls13() { 3 } else { 1 };
            assert_eq!(stats.read(stats::keystore::SIGNED), made);
        });
    }
}

#[test]
fn a_ring_signs_only_in_its_roles() {
    let key = key_of(KeyKind::Ed25519);
    let ring = ring_with(KeyKind::Ed25519, &key, vec![Role::Client]);
    with_store(vec![ring], OFFLOAD, |store, stats| {
        let as_server = verify_request(Role::Server, Scheme::Ed25519);
        for request in [as_server, exchange_request(Scheme::Ed25519)] {
            assert_eq!(refusal(store, &request), KeystoreError::WrongScheme);
        }
        assert!(
            store
                .call(&verify_request(Role::Client, Scheme::Ed25519))
                .unwrap()
                .is_ok()
        );
        assert_eq!(stats.read(stats::keystore::REFUSED), 2);
        // Asking for one ring more than there are is how the last is found.
        let next = Request::Keyring(KeyringIndex(1));
        assert_eq!(refusal(store, &next), KeystoreError::Unknown);
        assert_eq!(stats.read(stats::keystore::REFUSED), 2);
    });
}

#[test]
fn a_ring_signs_only_by_its_schemes() {
    let key = key_of(KeyKind::Rsa);
    let mut ring = ring_with(KeyKind::Rsa, &key, vec![Role::Server]);
    ring.schemes = List::from_items([Scheme::RsaPssRsaeSha384]).unwrap();
    with_store(vec![ring], OFFLOAD, |store, _| {
        let allowed = exchange_request(Scheme::RsaPssRsaeSha384);
        assert!(store.call(&allowed).unwrap().is_ok());
        for scheme in [Scheme::RsaPssRsaeSha256, Scheme::RsaPkcs1Sha384] {
            let refused = refusal(store, &exchange_request(scheme));
            assert_eq!(refused, KeystoreError::WrongScheme);
        }
        let described = store.call(&Request::Keyring(KeyringIndex(0))).unwrap();
        let Ok(Answer::Keyring { schemes, .. }) = described else {
            panic!("no ring");
        };
        assert_eq!(&*schemes, [Scheme::RsaPssRsaeSha384]);
    });
}

#[test]
fn a_scheme_of_another_key_is_refused() {
    let key = key_of(KeyKind::EcdsaP256);
    let ring = ring_with(KeyKind::EcdsaP256, &key, vec![Role::Server]);
    with_store(vec![ring], OFFLOAD, |store, _| {
        for (scheme, _) in SCHEMES.into_iter().skip(1) {
            let refused = refusal(store, &exchange_request(scheme));
            assert_eq!(refused, KeystoreError::WrongScheme);
        }
    });
}

#[test]
fn only_a_clients_badge_may_ask() {
    let key = key_of(KeyKind::Ed25519);
    let session = Badge::Session {
        slot: 1,
        generation: 1,
    };
    for badge in [Badge::Control, session] {
        let ring = ring_with(KeyKind::Ed25519, &key, vec![Role::Server]);
        with_store(vec![ring], badge, |store, _| {
            let refused = refusal(store, &Request::Keyring(KeyringIndex(0)));
            assert_eq!(refused, KeystoreError::Denied);
        });
    }
}

#[test]
fn certificates_come_in_parts_and_end() {
    let key = key_of(KeyKind::Ed25519);
    let ring = ring_with(KeyKind::Ed25519, &key, vec![Role::Server]);
    with_store(vec![ring], OFFLOAD, |store, _| {
        let whole = |from, index| {
            let mut whole = Vec::new();
            loop {
                let request = Request::Certificate {
                    keyring: KeyringIndex(0),
                    from,
                    index,
                    offset: u16::try_from(whole.len()).unwrap(),
                };
                let Ok(Ok(Answer::Part(part))) = store.call(&request) else {
                    panic!("no part");
                };
                if part.is_empty() {
                    return whole;
                }
                whole.extend_from_slice(&part);
            }
        };
        assert_eq!(whole(CertificateList::Trust, 0), vec![9; 2000]);
        assert_eq!(whole(CertificateList::Crls, 0), vec![8; 1000]);
        assert_eq!(whole(CertificateList::Crls, 1), vec![7; 1850]);
        assert_eq!(whole(CertificateList::Ocsp, 0), vec![6; 900]);
        for (from, index, offset) in [
            (CertificateList::Trust, 1, 0),
            (CertificateList::Trust, 0, 2001),
            (CertificateList::Crls, 2, 0),
            (CertificateList::Crls, 1, 1851),
            (CertificateList::Ocsp, 1, 0),
            (CertificateList::Ocsp, 0, 901),
        ] {
            let request = Request::Certificate {
                keyring: KeyringIndex(0),
                from,
                index,
                offset,
            };
            assert_eq!(refusal(store, &request), KeystoreError::Unknown);
        }
    });
}

#[test]
fn rings_are_described_and_numbered_from_zero() {
    let key = key_of(KeyKind::EcdsaP384);
    let ring = ring_with(KeyKind::EcdsaP384, &key, vec![Role::Server]);
    with_store(vec![ring], OFFLOAD, |store, _| {
        let described = store.call(&Request::Keyring(KeyringIndex(0))).unwrap();
        let Ok(Answer::Keyring {
            label,
            key: Some(KeyKind::EcdsaP384),
            schemes: _,
            chain: 1,
            trust: 1,
            crls: 2,
            revocation: Revocation::WhenKnown,
            has_ocsp: true,
            current: KeyringIndex(0),
        }) = described
        else {
            panic!("another description");
        };
        assert_eq!(&*label, "web");
        let refused = refusal(store, &Request::Keyring(KeyringIndex(1)));
        assert_eq!(refused, KeystoreError::Unknown);
    });
}

#[test]
fn a_key_that_is_none_of_its_kind_is_refused_at_the_start() {
    let stats = stats::Page::default();
    let key = key_of(KeyKind::Ed25519);
    let mut ring = ring_with(KeyKind::Ed25519, &key, vec![Role::Server]);
    if let Some(key) = &mut ring.key {
        key.kind = KeyKind::Rsa;
    }
    let blob = postcard::to_allocvec(&KeystoreData::open(Keyrings(vec![ring]))).unwrap();
    assert_eq!(
        Server::new(&blob, &stats, firmware::absent).err(),
        Some(ProvisionError::BadKey(0))
    );
    assert_eq!(
        Server::new(&[0xff; 20], &stats, firmware::absent).err(),
        Some(ProvisionError::Malformed)
    );
}

#[test]
fn ten_thousand_malformed_requests_get_an_error_each() {
    let stats = stats::Page::default();
    let blob = postcard::to_allocvec(&KeystoreData::open(Keyrings(Vec::new()))).unwrap();
    let mut server = Server::new(&blob, &stats, firmware::absent).unwrap();
    let mut state = 1u64;
    for _ in 0..10_000 {
        let bytes: Vec<u8> = (0..state % 40)
            .map(|i| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(i | 1);
                (state >> 33) as u8
            })
            .collect();
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1)
            >> 1;
        let mut reply = [0; MAX_MESSAGE];
        let length = server.serve(OFFLOAD.to_word(), &bytes, &mut reply);
        let answer: Option<Result<Answer, KeystoreError>> =
            ipc::transport::decode(&reply[..length]);
        assert!(matches!(answer, Some(Err(_))), "{bytes:?}");
    }
}

//! Pre-master secrets that a client encrypted, and invalid ciphertexts.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use ipc::badge::Badge;
use ipc::bounded::{Bytes, List, Text};
use ipc::keystore::{Answer, KeyKind, KeyringIndex, Keystore, KeystoreError, PRE_MASTER, Request};
use ipc::provision::{Crls, Keyring, Keyrings, KeystoreData, PrivateKey};
use ipc::stats;
use ipc::transport::{MAX_MESSAGE, Protocol, decode};
use keystore_server::{ProvisionError, Server, firmware};
use rcgen::KeyPair;
use ring::signature::{KeyPair as _, RsaKeyPair};
use tls::Role;

const LENGTH: usize = 256;
const VERSION: u16 = 0x0303;

struct World {
    server: Server<'static>,
    modulus: Vec<u8>,
}

fn pkcs8() -> Vec<u8> {
    let pair = KeyPair::from_pem(include_str!("rsa2048.pem")).unwrap();
    pair.serialize_der()
}

fn ring(kind: KeyKind, pkcs8: Vec<u8>, decrypts: bool) -> Keyring {
    Keyring {
        label: Text::from_text("web").unwrap(),
        roles: vec![Role::Server],
        decrypts,
        schemes: List::new(),
        key: Some(PrivateKey { kind, pkcs8 }),
        chain: vec![],
        trust: vec![],
        crls: Crls::default(),
        ocsp: None,
    }
}

fn store(ring: Keyring) -> Result<Server<'static>, ProvisionError> {
    let blob = postcard::to_allocvec(&KeystoreData::open(Keyrings(vec![ring]))).unwrap();
    Server::new(
        &blob,
        Box::leak(Box::<stats::Page>::default()),
        firmware::absent,
    )
}

impl World {
    fn new(decrypts: bool) -> Self {
        let pkcs8 = pkcs8();
        let public = RsaKeyPair::from_pkcs8(&pkcs8).unwrap();
        // RFC 8017 §A.1.1: SEQUENCE { modulus with a zero in front, exponent }.
        let modulus = public.public_key().as_ref()[9..][..LENGTH].to_vec();
        let server = store(ring(KeyKind::Rsa, pkcs8, decrypts));
        Self {
            server: server.unwrap_or_else(|error| panic!("{error:?}")),
            modulus,
        }
    }

    /// Textbook RSA: the attacker chooses the padding.
    fn encrypt(&self, padded: &[u8]) -> Vec<u8> {
        let bits = 8 * LENGTH as u32;
        let modulus = BoxedUint::from_be_slice(&self.modulus, bits).unwrap();
        let params = BoxedMontyParams::new(Odd::new(modulus).unwrap());
        let number = BoxedUint::from_be_slice(padded, bits).unwrap();
        let exponent = BoxedUint::from(65537u64);
        let number = BoxedMontyForm::new(number, &params).pow(&exponent);
        number.retrieve().to_be_bytes().to_vec()
    }

    fn ask(&mut self, encrypted: &[u8]) -> Result<Vec<u8>, KeystoreError> {
        let request = Request::Decrypt {
            keyring: KeyringIndex(0),
            client_version: VERSION,
            encrypted: Bytes::from_slice(encrypted).unwrap(),
        };
        let request = postcard::to_allocvec(&request).unwrap();
        let mut reply = [0; MAX_MESSAGE];
        let badge = Badge::Client(1).to_word();
        let length = self.server.serve(badge, &request, &mut reply);
        match decode::<<Keystore as Protocol>::Reply>(&reply[..length]).unwrap() {
            Ok(Answer::PreMaster(secret)) => Ok(secret.expose().to_vec()),
            Ok(_) => panic!("another answer"),
            Err(error) => Err(error),
        }
    }
}

fn secret() -> [u8; PRE_MASTER] {
    let mut secret = [0x5a; PRE_MASTER];
    secret[..2].copy_from_slice(&VERSION.to_be_bytes());
    secret
}

/// RFC 8017 §7.2.1.
fn padded(secret: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 2];
    bytes.resize(LENGTH - 1 - secret.len(), 0x77);
    bytes.push(0);
    bytes.extend_from_slice(secret);
    bytes
}

#[test]
fn r20_a_pre_master_secret_is_decrypted() {
    let mut world = World::new(true);
    let encrypted = world.encrypt(&padded(&secret()));
    assert_eq!(world.ask(&encrypted), Ok(secret().to_vec()));
}

/// Paddings that are wrong in every way that is known to have helped attackers.
fn wrong_paddings() -> Vec<(&'static str, Vec<u8>)> {
    let good = padded(&secret());
    let changed = |place: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[place] = to;
        bytes
    };
    let end = LENGTH - PRE_MASTER - 1;
    vec![
        ("first byte", changed(0, 1)),
        ("block type 1", changed(1, 1)),
        ("block type 0", changed(1, 0)),
        ("zero at once", changed(2, 0)),
        ("zero within the first eight", changed(9, 0)),
        ("zero early", changed(100, 0)),
        ("zero one too early", changed(end - 1, 0)),
        ("no zero", changed(end, 1)),
        ("another version", changed(end + 2, 1)),
        ("another major version", changed(end + 1, 2)),
        (
            "a secret one byte short",
            padded(&secret()[..PRE_MASTER - 1]),
        ),
        (
            "a secret one byte long",
            padded(&[&secret()[..], &[1]].concat()),
        ),
        ("no secret", padded(&[])),
        ("all zero", vec![0; LENGTH]),
        ("all one", {
            let mut bytes = vec![0xff; LENGTH];
            bytes[0] = 0;
            bytes
        }),
    ]
}

#[test]
fn r21_whatever_is_wrong_the_answer_is_a_secret_that_looks_like_any_other() {
    let mut world = World::new(true);
    let mut seen = vec![secret().to_vec()];
    for (what, padded) in wrong_paddings() {
        let encrypted = world.encrypt(&padded);
        let answer = world.ask(&encrypted).unwrap();
        assert_eq!(answer.len(), PRE_MASTER, "{what}");
        // As it is for a good one: the same each time, and for nothing else.
        assert_eq!(world.ask(&encrypted), Ok(answer.clone()), "{what}");
        assert!(!padded.ends_with(&answer), "{what}");
        assert!(!seen.contains(&answer), "{what}");
        seen.push(answer);
    }
    let again = World::new(true).ask(&world.encrypt(&vec![0; LENGTH]));
    assert!(
        seen.contains(&again.unwrap()),
        "the key decides, and nothing else"
    );
}

#[test]
fn r21_what_is_no_ciphertext_at_all_gets_a_secret_too() {
    let mut world = World::new(true);
    let modulus = world.modulus.clone();
    let good = world.encrypt(&padded(&secret()));
    for bytes in [
        &[][..],
        &[0],
        &good[1..],
        &[&[0], &good[..]].concat(),
        &modulus,
        &[0xff; LENGTH],
        &[7; 512],
    ] {
        let answer = world.ask(bytes).unwrap();
        assert_ne!(answer, secret(), "{} bytes", bytes.len());
        assert_eq!(world.ask(bytes), Ok(answer));
    }
}

#[test]
fn r21_a_ciphertext_beyond_the_modulus_is_none() {
    let mut world = World::new(true);
    let mut padded = padded(&secret());
    // One that leaves room for the modulus to be added.
    let (small, sum) = (1..=u8::MAX)
        .find_map(|byte| {
            padded[2] = byte;
            let small = world.encrypt(&padded);
            Some((small.clone(), add(&small, &world.modulus)?))
        })
        .unwrap();
    assert_eq!(world.ask(&small), Ok(secret().to_vec()));
    assert_ne!(world.ask(&sum), Ok(secret().to_vec()));
}

/// `None` when the sum is longer.
fn add(a: &[u8], b: &[u8]) -> Option<Vec<u8>> {
    let mut sum = vec![0; a.len()];
    let mut carry = 0;
    for (place, to) in sum.iter_mut().enumerate().rev() {
        let whole = u16::from(a[place]) + u16::from(b[place]) + carry;
        *to = whole.to_be_bytes()[1];
        carry = whole >> 8;
    }
    (carry == 0).then_some(sum)
}

#[test]
fn r20_a_ring_that_is_not_for_it_does_not_decrypt() {
    let mut world = World::new(false);
    let encrypted = world.encrypt(&padded(&secret()));
    assert_eq!(world.ask(&encrypted), Err(KeystoreError::NotForDecryption));
    let other = KeyPair::generate().unwrap().serialize_der();
    assert_eq!(
        store(ring(KeyKind::EcdsaP256, other, true)).err(),
        Some(ProvisionError::BadKey(0))
    );
}

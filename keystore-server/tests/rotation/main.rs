//! Key rings that come sealed, and those that replace others (C6).

#![allow(clippy::unwrap_used, reason = "a test that can't be set up fails")]

mod line;

use gateway_config::{Kek, update};
use ipc::badge::Badge;
use ipc::bounded::{Bytes, List, Text};
use ipc::keystore::{
    Answer, CertificateList, KeyKind, KeyringIndex, Keystore, KeystoreError, Request, ToBeSigned,
};
use ipc::provision::{Crls, Keyring, Keyrings, KeystoreData, PrivateKey, Rings, update as wire};
use ipc::stats;
use ipc::transport::{MAX_MESSAGE, Protocol, decode};
use keystore_server::firmware::{self, KeyError};
use keystore_server::rotation::{Frame, Receiver, RotationError};
use keystore_server::{ProvisionError, Server};
use rcgen::{CertificateParams, KeyPair};
use ring::signature::{ED25519, UnparsedPublicKey};
use tls::{Role, Scheme};
use zeroize::Zeroizing;

const PASSPHRASE: &str = "correct horse battery";

fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()
}

fn rings(label: &str, key: &KeyPair) -> Keyrings {
    let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    let certificate = params.self_signed(key).unwrap();
    Keyrings(vec![Keyring {
        label: Text::from_text(label).unwrap(),
        roles: vec![Role::Server],
        decrypts: false,
        schemes: List::new(),
        key: Some(PrivateKey {
            kind: KeyKind::Ed25519,
            pkcs8: key.serialize_der(),
        }),
        chain: vec![certificate.der().to_vec()],
        trust: Vec::new(),
        crls: Crls::default(),
        ocsp: None,
    }])
}

/// What the builder hands over.
fn image(rings: &Keyrings, kek: Option<&Kek>, signer: Option<&KeyPair>) -> Vec<u8> {
    let rings = match kek {
        Some(kek) => Rings::Sealed(kek.seal(rings).unwrap()),
        None => Rings::Open(rings),
    };
    let signer = signer.map(|key| key.public_key_raw().try_into().unwrap());
    postcard::to_allocvec(&KeystoreData { rings, signer }).unwrap()
}

fn store(blob: &[u8], kek: Option<&Kek>) -> Result<Server<'static>, ProvisionError> {
    Server::new(blob, Box::leak(Box::default()), || key_file(kek))
}

fn key_file(kek: Option<&Kek>) -> Result<firmware::Kek, KeyError> {
    let kek = kek.ok_or(KeyError::NoFile)?;
    Ok(Zeroizing::new(*kek.expose()))
}

fn frame(bytes: &[u8]) -> Frame {
    let mut receiver = Receiver::default();
    let mut frames: Vec<Frame> = Vec::new();
    frames.extend(
        bytes
            .iter()
            .filter_map(|byte| receiver.take(*byte).unwrap()),
    );
    assert_eq!(frames.len(), 1);
    frames.remove(0)
}

fn ask(store: &mut Server<'_>, request: &Request) -> Result<Answer, KeystoreError> {
    let request = postcard::to_allocvec(request).unwrap();
    let mut reply = [0; MAX_MESSAGE];
    let badge = Badge::Client(1).to_word();
    let length = store.serve(badge, &request, &mut reply);
    decode::<<Keystore as Protocol>::Reply>(reply.get(..length).unwrap()).unwrap()
}

/// What the ring at place 0 is to be named by.
fn current(store: &mut Server<'_>) -> KeyringIndex {
    match ask(store, &Request::Keyring(KeyringIndex(0))) {
        Ok(Answer::Keyring { current, .. }) => current,
        _ => panic!("no ring"),
    }
}

/// Whether the ring signs with `key`, and shows its certificate.
fn is_of(store: &mut Server<'_>, keyring: KeyringIndex, key: &KeyPair) -> bool {
    let to_be_signed = ToBeSigned::Tls13CertificateVerify {
        role: Role::Server,
        transcript_hash: Bytes::from_slice(&[7; 32]).unwrap(),
    };
    let request = Request::Sign {
        keyring,
        scheme: Scheme::Ed25519,
        to_be_signed,
    };
    let Ok(Answer::Signature(signature)) = ask(store, &request) else {
        return false;
    };
    let content = [
        &[0x20; 64][..],
        b"TLS 1.3, server CertificateVerify\0",
        &[7; 32],
    ]
    .concat();
    let signs = UnparsedPublicKey::new(&ED25519, key.public_key_raw())
        .verify(&content, &signature)
        .is_ok();
    let request = Request::Certificate {
        keyring,
        from: CertificateList::Chain,
        index: 0,
        offset: 0,
    };
    let Ok(Answer::Part(der)) = ask(store, &request) else {
        return false;
    };
    let public = key.public_key_raw();
    let shows = der.windows(public.len()).any(|part| part == public);
    assert_eq!(signs, shows, "key and certificate are not of one ring");
    signs
}

#[test]
fn c06_sealed_rings_open_under_their_key_alone() {
    let own = key();
    let kek = Kek::from_passphrase(PASSPHRASE).unwrap();
    let blob = image(&rings("web", &own), Some(&kek), None);
    let mut opened = store(&blob, Some(&kek)).unwrap();
    assert!(is_of(&mut opened, KeyringIndex(0), &own));

    let again = Kek::again(PASSPHRASE, kek.kdf().unwrap().clone()).unwrap();
    assert!(store(&blob, Some(&again)).is_ok());
    let salted = Kek::from_passphrase(PASSPHRASE).unwrap();
    let refused = |kek| store(&blob, kek).err();
    let other = ProvisionError::Sealed(RotationError::OtherKey);
    assert_eq!(refused(Some(&salted)), Some(other));
    let none = ProvisionError::Sealed(RotationError::Key(KeyError::NoFile));
    assert_eq!(refused(None), Some(none));
    assert!(none.to_string().contains("-fw_cfg name=opt/handoff/kek"));
}

#[test]
fn c06_sealed_rings_that_were_changed_are_refused() {
    let kek = Kek::from_bytes(&[9; 32]).unwrap();
    let blob = image(&rings("web", &key()), Some(&kek), None);
    // The last byte says that there is no signer.
    for place in 0..blob.len() - 1 {
        let mut changed = blob.clone();
        changed[place] ^= 1;
        assert!(store(&changed, Some(&kek)).is_err(), "{place}");
    }
    assert!(store(&blob, Some(&kek)).is_ok());
}

#[test]
fn c06_a_sealed_blob_has_no_private_key_in_it() {
    let own = key();
    let secret = own.serialize_der();
    let part = &secret[16..32];
    let holds = |blob: &[u8]| blob.windows(part.len()).any(|window| window == part);
    let rings = rings("web", &own);
    assert!(holds(&image(&rings, None, None)));
    let kek = Kek::from_bytes(&[9; 32]).unwrap();
    assert!(!holds(&image(&rings, Some(&kek), None)));
}

#[test]
fn c06_a_newer_ring_replaces_one_and_what_began_with_that_goes_on() {
    let (signer, first, second, third) = (key(), key(), key(), key());
    let kek = Kek::from_bytes(&[9; 32]).unwrap();
    for kek in [None, Some(&kek)] {
        let blob = image(&rings("web", &first), kek, Some(&signer));
        let mut store = store(&blob, kek).unwrap();
        let before = current(&mut store);
        let made = |key, version| {
            let pem = signer.serialize_pem();
            let bytes = update(&rings("web", key), version, pem.as_bytes(), kek).unwrap();
            frame(&bytes)
        };
        assert_eq!(store.rotate(&made(&second, 5), || key_file(kek)), Ok(5));
        let then = current(&mut store);
        assert_ne!(before, then);
        assert!(is_of(&mut store, then, &second));
        assert!(is_of(&mut store, before, &first));

        assert_eq!(store.rotate(&made(&third, 6), || key_file(kek)), Ok(6));
        let last = current(&mut store);
        assert!(is_of(&mut store, last, &third));
        assert!(is_of(&mut store, then, &second));
    }
}

#[test]
fn c06_an_update_that_is_old_altered_or_not_the_signers_changes_nothing() {
    let (signer, first, second) = (key(), key(), key());
    let kek = Kek::from_bytes(&[9; 32]).unwrap();
    let blob = image(&rings("web", &first), Some(&kek), Some(&signer));
    let mut store = store(&blob, Some(&kek)).unwrap();
    let pem = signer.serialize_pem();
    let sealed = |label, version, by: &str, kek| {
        update(&rings(label, &second), version, by.as_bytes(), kek).unwrap()
    };
    let good = sealed("web", 3, &pem, Some(&kek));
    let mut refused = |bytes: &[u8]| {
        let outcome = store.rotate(&frame(bytes), || key_file(Some(&kek)));
        let now = current(&mut store);
        assert!(is_of(&mut store, now, &first));
        outcome.unwrap_err()
    };
    for place in 8..good.len() {
        let mut altered = good.clone();
        altered[place] ^= 1;
        assert_eq!(refused(&altered), RotationError::Signature, "{place}");
    }
    let stranger = sealed("web", 3, &key().serialize_pem(), Some(&kek));
    assert_eq!(refused(&stranger), RotationError::Signature);
    let open = sealed("web", 3, &pem, None);
    assert_eq!(refused(&open), RotationError::Unsealed);
    let other = Kek::from_bytes(&[8; 32]).unwrap();
    let other = sealed("web", 3, &pem, Some(&other));
    assert_eq!(refused(&other), RotationError::OtherKey);
    let unknown = sealed("mail", 3, &pem, Some(&kek));
    assert_eq!(refused(&unknown), RotationError::Label);

    // What names the ring would fail with it.
    let mut less = rings("web", &second);
    less.0[0].roles.clear();
    let mut none = rings("web", &second);
    none.0[0].key = None;
    for rings in [less, none] {
        let update = update(&rings, 3, pem.as_bytes(), Some(&kek)).unwrap();
        assert_eq!(refused(&update), RotationError::Less);
    }

    let mut take = |bytes: &[u8]| store.rotate(&frame(bytes), || key_file(Some(&kek)));
    assert_eq!(take(&good), Ok(3));
    assert_eq!(take(&good), Err(RotationError::Older(3)));
    let older = sealed("web", 2, &pem, Some(&kek));
    assert_eq!(take(&older), Err(RotationError::Older(3)));
}

#[test]
fn c06_without_a_signer_nothing_is_replaced() {
    let (signer, first) = (key(), key());
    let mut store = store(&image(&rings("web", &first), None, None), None).unwrap();
    assert!(!store.is_rotatable());
    let pem = signer.serialize_pem();
    let bytes = update(&rings("web", &key()), 1, pem.as_bytes(), None).unwrap();
    let outcome = store.rotate(&frame(&bytes), || key_file(None));
    assert_eq!(outcome, Err(RotationError::Off));
}

#[test]
fn bytes_that_are_no_update_are_passed_over() {
    let signer = key().serialize_pem();
    let bytes = update(&rings("web", &key()), 1, signer.as_bytes(), None).unwrap();
    let noise = [b"AT\r\nHK", &wire::MAGIC[..3], &bytes].concat();
    frame(&noise);
    let mut receiver = Receiver::default();
    let mut long = wire::MAGIC.to_vec();
    long.extend(u32::try_from(wire::MAX + 1).unwrap().to_le_bytes());
    long.extend([0; wire::SIGNATURE]);
    let last = long.pop().unwrap();
    for byte in long {
        assert_eq!(receiver.take(byte), Ok(None));
    }
    assert_eq!(receiver.take(last), Err(RotationError::TooLong));
    let all = bytes
        .iter()
        .filter_map(|byte| receiver.take(*byte).unwrap());
    assert_eq!(all.count(), 1);
}

#[test]
fn c06_rings_that_were_replaced_are_given_up() {
    let (signer, first, second) = (key(), key(), key());
    let blob = image(&rings("web", &first), None, Some(&signer));
    let mut store = store(&blob, None).unwrap();
    assert!(!store.has_replaced());
    let before = current(&mut store);
    let pem = signer.serialize_pem();
    let bytes = update(&rings("web", &second), 1, pem.as_bytes(), None).unwrap();
    store.rotate(&frame(&bytes), firmware::absent).unwrap();
    assert!(store.has_replaced());
    assert!(is_of(&mut store, before, &first));
    store.forget_replaced();
    assert!(!store.has_replaced());
    assert!(!is_of(&mut store, before, &first));
    let now = current(&mut store);
    assert!(is_of(&mut store, now, &second));
}

#[test]
fn c06_after_a_restart_no_older_update_is_taken_and_the_last_may_come_again() {
    let (signer, first, second) = (key(), key(), key());
    let stats: &'static stats::Page = Box::leak(Box::default());
    let blob = image(&rings("web", &first), None, Some(&signer));
    let pem = signer.serialize_pem();
    let made = |version| {
        let bytes = update(&rings("web", &second), version, pem.as_bytes(), None).unwrap();
        frame(&bytes)
    };
    let mut store = Server::new(&blob, stats, firmware::absent).unwrap();
    assert_eq!(store.rotate(&made(5), firmware::absent), Ok(5));
    // Its memory is gone, but for its counters.
    let mut store = Server::new(&blob, stats, firmware::absent).unwrap();
    let refused = store.rotate(&made(4), firmware::absent);
    assert_eq!(refused, Err(RotationError::Older(5)));
    assert_eq!(store.rotate(&made(5), firmware::absent), Ok(5));
    let now = current(&mut store);
    assert!(is_of(&mut store, now, &second));
    let refused = store.rotate(&made(5), firmware::absent);
    assert_eq!(refused, Err(RotationError::Older(5)));
}

#[test]
fn an_update_with_a_label_twice_changes_nothing() {
    let (signer, first, second) = (key(), key(), key());
    let blob = image(&rings("web", &first), None, Some(&signer));
    let mut store = store(&blob, None).unwrap();
    let mut twice = rings("web", &second);
    twice.0.extend(rings("web", &second).0);
    let pem = signer.serialize_pem();
    let bytes = update(&twice, 1, pem.as_bytes(), None).unwrap();
    let refused = store.rotate(&frame(&bytes), firmware::absent);
    assert_eq!(refused, Err(RotationError::Label));
    let now = current(&mut store);
    assert!(is_of(&mut store, now, &first));
}

#[test]
fn c06_rotations_are_counted() {
    let (signer, first) = (key(), key());
    let stats: &'static stats::Page = Box::leak(Box::default());
    let blob = image(&rings("web", &first), None, Some(&signer));
    let mut store = Server::new(&blob, stats, firmware::absent).unwrap();
    let pem = signer.serialize_pem();
    let bytes = update(&rings("web", &key()), 1, pem.as_bytes(), None).unwrap();
    for _ in 0..3 {
        let _ = store.rotate(&frame(&bytes), firmware::absent);
    }
    assert_eq!(stats.read(stats::keystore::ROTATED), 1);
    assert_eq!(stats.read(stats::keystore::ROTATIONS_REFUSED), 2);
}

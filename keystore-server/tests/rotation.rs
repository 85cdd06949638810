//! Key rings that come sealed, and those that replace others (C6).

#![allow(clippy::unwrap_used, reason = "a test that can't be set up fails")]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use gateway_config::{Kek, update};
use ipc::badge::Badge;
use ipc::bounded::{Bytes, Text};
use ipc::clock::Instant;
use ipc::keystore::{
    Answer, CertificateList, KeyKind, KeyringIndex, Keystore, KeystoreError, Request, ToBeSigned,
};
use ipc::port::Ports;
use ipc::provision::{Keyring, Keyrings, KeystoreData, PrivateKey, Rings, update as wire};
use ipc::stats;
use ipc::transport::{MAX_MESSAGE, Protocol, decode};
use keystore_server::firmware::{self, KeyError};
use keystore_server::rotation::{Frame, Line, Ran, Receiver, RotationError};
use keystore_server::{ProvisionError, Server};
use rcgen::{CertificateParams, KeyPair};
use ring::signature::{ED25519, UnparsedPublicKey};
use tls::{Role, Scheme};
use zeroize::Zeroizing;

const NOW: Instant = Instant::from_millis(1000);
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
        key: Some(PrivateKey {
            kind: KeyKind::Ed25519,
            pkcs8: key.serialize_der(),
        }),
        chain: vec![certificate.der().to_vec()],
        trust: Vec::new(),
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

/// A 16550, as far as it is used.
#[derive(Default)]
struct Uart {
    inbox: RefCell<VecDeque<u8>>,
    outbox: RefCell<Vec<u8>>,
    scratch: Cell<u8>,
    format: Cell<u8>,
    interrupts: Cell<u8>,
    /// It can send nothing.
    is_full: Cell<bool>,
    /// How often its state was read.
    looks: Cell<u32>,
}

impl Ports for &Uart {
    fn read(&self, port: u16) -> u8 {
        self.looks
            .set(self.looks.get() + u32::from(port == 0x2f8 + 5));
        let can_send = if self.is_full.get() { 0 } else { 0x20 };
        match port - 0x2f8 {
            0 => self.inbox.borrow_mut().pop_front().unwrap_or(0),
            5 => can_send | u8::from(!self.inbox.borrow().is_empty()),
            7 => self.scratch.get(),
            _ => 0,
        }
    }

    fn write(&self, port: u16, value: u8) {
        match port - 0x2f8 {
            // The rate.
            0 | 1 if self.format.get() & 0x80 != 0 => {}
            0 => self.outbox.borrow_mut().push(value),
            1 => self.interrupts.set(value),
            3 => self.format.set(value),
            7 => self.scratch.set(value),
            _ => {}
        }
    }

    fn write_word(&self, _: u16, _: u16) {
        panic!("no such register");
    }
}

/// Where nothing is plugged in.
struct Nothing;

impl Ports for Nothing {
    fn read(&self, _: u16) -> u8 {
        0xff
    }
    fn write(&self, _: u16, _: u8) {}
    fn write_word(&self, _: u16, _: u16) {}
}

#[test]
fn c06_updates_on_the_line_are_answered_with_a_line_each() {
    let (signer, first, second) = (key(), key(), key());
    let blob = image(&rings("web", &first), None, Some(&signer));
    let mut store = store(&blob, None).unwrap();
    let uart = Uart::default();
    let mut line = Line::new(&uart, 0x2f8).unwrap();
    assert_eq!(uart.interrupts.get(), 1);
    let pem = signer.serialize_pem();
    let bytes = update(&rings("web", &second), 1, pem.as_bytes(), None).unwrap();
    let mut told = Vec::new();
    for (is_new, said) in [
        (true, "accepted: version 1\n"),
        (
            false,
            "refused: not newer than version 1, the last that was taken\n",
        ),
    ] {
        uart.inbox.borrow_mut().extend(&bytes);
        let outcome = line.run(
            &mut store,
            || key_file(None),
            NOW,
            |text| told.push(text.to_string()),
        );
        let more_at = None;
        assert_eq!(outcome, Ran { is_new, more_at });
        let outbox = uart.outbox.take();
        assert_eq!(String::from_utf8(outbox).unwrap(), said);
    }
    assert_eq!(told.len(), 2);
    let now = current(&mut store);
    assert!(is_of(&mut store, now, &second));
    assert!(Line::new(Nothing, 0x2f8).is_none());
}

#[test]
fn an_update_that_was_broken_off_does_no_harm_to_the_next() {
    let (signer, first, second) = (key(), key(), key());
    let blob = image(&rings("web", &first), None, Some(&signer));
    let mut store = store(&blob, None).unwrap();
    let uart = Uart::default();
    let mut line = Line::new(&uart, 0x2f8).unwrap();
    let pem = signer.serialize_pem();
    let bytes = update(&rings("web", &second), 1, pem.as_bytes(), None).unwrap();
    let mut run = |bytes: &[u8], millis| {
        uart.inbox.borrow_mut().extend(bytes);
        let now = Instant::from_millis(millis);
        line.run(&mut store, || key_file(None), now, |_| {}).is_new
    };
    // It may come in parts.
    let (start, rest) = bytes.split_at(bytes.len() / 2);
    assert!(!run(start, 10_000));
    assert!(!run(&rest[..9], 12_000));
    // Its sender is gone.
    assert!(run(&bytes, 14_001));
}

#[test]
fn a_long_update_comes_in_turns() {
    let (signer, first) = (key(), key());
    let blob = image(&rings("web", &first), None, Some(&signer));
    let mut store = store(&blob, None).unwrap();
    let uart = Uart::default();
    let mut line = Line::new(&uart, 0x2f8).unwrap();
    let mut long = rings("web", &first);
    long.0[0].trust = vec![vec![0; 900]; 9];
    let pem = signer.serialize_pem();
    let bytes = update(&long, 1, pem.as_bytes(), None).unwrap();
    uart.inbox.borrow_mut().extend(&bytes);
    // As fast as a line of 115,200 baud.
    let eighth = Duration::from_millis(125);
    let turns = bytes.len().div_ceil(1440);
    assert!(turns > 5);
    for turn in 1..=turns as u32 {
        let now = NOW + eighth * turn;
        let ran = line.run(&mut store, || key_file(None), now, |_| {});
        let is_new = turn == turns as u32;
        let more_at = (!is_new).then_some(now + eighth);
        assert_eq!(ran, Ran { is_new, more_at });
        // An interrupt before that changes nothing.
        if !is_new {
            let early = now + eighth / 2;
            let ran = line.run(&mut store, || key_file(None), early, |_| {});
            assert_eq!(ran, Ran { is_new, more_at });
        }
    }
}

#[test]
fn a_writer_that_never_ends_and_never_reads_costs_a_bounded_time() {
    let (signer, first) = (key(), key());
    let blob = image(&rings("web", &first), None, Some(&signer));
    let mut store = store(&blob, None).unwrap();
    let uart = Uart::default();
    let mut line = Line::new(&uart, 0x2f8).unwrap();
    uart.is_full.set(true);
    // Each of these is refused, with an answer that nobody takes.
    let refused = [&b"HKR1"[..], &[255; 4], &[0; 64]].concat();
    for _ in 0..1000 {
        uart.inbox.borrow_mut().extend(&refused);
    }
    let mut answered = 0;
    let mut run = |millis| {
        let before = uart.looks.get();
        let now = NOW + Duration::from_millis(millis);
        line.run(&mut store, || key_file(None), now, |_| answered += 1);
        uart.looks.get() - before
    };
    assert!((10_000..20_000).contains(&run(0)));
    // It is not waited for again.
    assert!((1440..2000).contains(&run(125)));
    assert!(run(200) < 10);
    uart.is_full.set(false);
    assert!(run(250) < 4000);
    assert!(answered > 50, "{answered}");
    let said = String::from_utf8(uart.outbox.take()).unwrap();
    assert!(said.starts_with("refused: "), "{said}");
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

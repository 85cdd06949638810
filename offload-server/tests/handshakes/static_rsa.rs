//! Static RSA in directed mode: a real shim, offload component and key store on
//! each side.

use crate::client::{Client, ClientOptions, complete, established, failure};
use crate::world::{World, parameters};
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use ipc::bounded::{List, Text};
use ipc::control::{Established, HandshakeError, Parameters, PeerError, RequestError};
use ipc::handshake::Completion;
use ipc::keystore::KeyKind;
use ipc::stats;
use ipc::tls::PeerAuthentication;
use ring::signature::{KeyPair as _, RsaKeyPair};
use tls::{Alert, CipherSuite, Version};

const SLOT: u16 = 0;
const RSA: (&str, &str, KeyKind) = ("rsa", "localhost", KeyKind::Rsa);
const OFF: HandshakeError = HandshakeError::Peer(PeerError::AlertSent(Alert::HANDSHAKE_FAILURE));

fn asked(ring: &str, suites: &[CipherSuite]) -> Parameters {
    let mut asked = parameters(&[ring]);
    asked.versions = List::from_items([Version::Tls12]).unwrap();
    asked.suites = List::from_items(suites.iter().copied()).unwrap();
    asked.allow_static_rsa = true;
    asked.expose_keys = true;
    asked
}

fn as_client(mut asked: Parameters) -> Parameters {
    asked.server_name = Text::from_text("localhost").ok();
    asked
}

/// Our client and our server; what each of them reports.
fn meet(
    server: &mut World,
    by_server: Parameters,
    client: &mut World,
    by_client: Parameters,
) -> [Completion; 2] {
    server.start(SLOT, by_server);
    client.start_client(SLOT, by_client);
    let (mut of_server, mut of_client) = (None, None);
    let mut said = Vec::new();
    for _ in 0..20 {
        let answer = client.exchange(SLOT, &said);
        of_client = of_client.or_else(|| client.completion());
        said = server.exchange(SLOT, &answer);
        of_server = of_server.or_else(|| server.completion());
        if of_client.is_some() && of_server.is_some() {
            break;
        }
    }
    [of_server.unwrap(), of_client.unwrap()]
}

fn both(by_server: Parameters, by_client: Parameters) -> [Established; 2] {
    let mut server = World::directed(&[RSA]);
    let mut client = World::directed(&[("me", "me.test", KeyKind::EcdsaP256)]);
    meet(&mut server, by_server, &mut client, by_client).map(established)
}

#[test]
fn r18_r20_r22_r23_both_sides_agree_on_the_same_keys() {
    for suite in CipherSuite::STATIC_RSA {
        for authentication in [PeerAuthentication::None, PeerAuthentication::Request] {
            let mut by_server = asked("rsa", &[suite]);
            by_server.peer_authentication = authentication;
            let [server, client] = both(by_server, as_client(asked("me", &[])));
            for side in [&server, &client] {
                assert_eq!((side.version, side.suite), (Version::Tls12, suite));
                assert_eq!(side.group, None);
                assert_eq!(side.sequence, (1, 1));
            }
            // The certificate was proved by a decryption.
            assert!(client.peer.is_some());
            let (server, client) = (server.keys.unwrap(), client.keys.unwrap());
            assert_eq!(server.0.key.expose(), client.1.key.expose());
            assert_eq!(server.1.key.expose(), client.0.key.expose());
            assert_eq!(server.0.iv.expose()[..4], client.1.iv.expose()[..4]);
        }
    }
}

#[test]
fn r18_it_is_the_last_choice() {
    let [server, client] = both(asked("rsa", &[]), as_client(asked("me", &[])));
    assert_eq!(server.suite, CipherSuite::EcdheRsaAes256GcmSha384);
    assert_eq!(client.suite, server.suite);
    // Also where it was overwritten first.
    let suites = [
        CipherSuite::RsaAes128GcmSha256,
        CipherSuite::EcdheRsaAes128GcmSha256,
    ];
    let [server, _] = both(asked("rsa", &suites), as_client(asked("me", &suites)));
    assert_eq!(server.suite, CipherSuite::EcdheRsaAes128GcmSha256);
}

#[test]
fn r18_without_the_word_it_does_not_exist() {
    let only = [CipherSuite::RsaAes128GcmSha256];
    let mut off = asked("rsa", &[]);
    off.allow_static_rsa = false;
    let mut server = World::directed(&[RSA]);
    let mut client = World::directed(&[("me", "me.test", KeyKind::EcdsaP256)]);
    let by_client = as_client(asked("me", &only));
    let [of_server, of_client] = meet(&mut server, off, &mut client, by_client);
    assert_eq!(failure(of_server), OFF);
    let received = PeerError::AlertReceived(Alert::HANDSHAKE_FAILURE);
    assert_eq!(failure(of_client), HandshakeError::Peer(received));
    // To name the suite is not to allow it, on either side.
    let mut named = asked("rsa", &only);
    named.allow_static_rsa = false;
    let mut world = World::directed(&[RSA]);
    world.start(SLOT, named.clone());
    let refused = HandshakeError::Request(RequestError::NoSuite);
    assert_eq!(failure(world.completion().unwrap()), refused);
    world.start_client(SLOT, as_client(named));
    assert_eq!(failure(world.completion().unwrap()), refused);
}

#[test]
fn r18_a_server_that_chooses_it_unasked_is_refused() {
    let mut off = as_client(parameters(&["me"]));
    off.versions = List::from_items([Version::Tls12]).unwrap();
    let mut client = World::directed(&[("me", "me.test", KeyKind::EcdsaP256)]);
    client.start_client(SLOT, off);
    client.exchange(SLOT, &[]);
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 0x9c, 0, 0, 4, 0, 23, 0, 0]].concat();
    client.exchange(SLOT, &record(22, &message(2, &body)));
    let refused = PeerError::AlertSent(Alert::ILLEGAL_PARAMETER);
    let error = failure(client.completion().unwrap());
    assert_eq!(error, HandshakeError::Peer(refused));
}

#[test]
fn r18_a_client_of_ecdhe_notices_nothing() {
    let mut world = World::directed(&[RSA]);
    world.start(SLOT, asked("rsa", &[]));
    let options = ClientOptions {
        versions: vec![&rustls::version::TLS12],
        ..ClientOptions::default()
    };
    let mut client = Client::new(&world, &options);
    let established = established(complete(&mut world, SLOT, &mut client));
    assert!(!established.suite.is_static_rsa());
}

#[test]
fn r18_a_server_key_exchange_does_not_belong_there() {
    // The server's flight of (EC)DHE under a suite without it.
    let mut client = World::directed(&[("me", "me.test", KeyKind::EcdsaP256)]);
    let server = World::directed(&[RSA]);
    let certificate = rcgen::CertificateParams::new(vec!["localhost".into()])
        .unwrap()
        .signed_by(&crate::world::key_of(KeyKind::Rsa), &server.issuer)
        .unwrap();
    client.start_client(SLOT, as_client(asked("me", &[])));
    client.exchange(SLOT, &[]);
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 0x9c, 0, 0, 4, 0, 23, 0, 0]].concat();
    let vector = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[1..], bytes].concat();
    let chain = vector(&vector(certificate.der()));
    let flight = [
        message(2, &body),
        message(11, &chain),
        message(12, &[3, 0, 0x1d, 0]),
    ];
    client.exchange(SLOT, &record(22, &flight.concat()));
    let refused = PeerError::AlertSent(Alert::UNEXPECTED_MESSAGE);
    let error = failure(client.completion().unwrap());
    assert_eq!(error, HandshakeError::Peer(refused));
}

// ---- an attacker who asks what a ciphertext is worth ----

const LENGTH: usize = 256;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    [&[kind, 3, 3], &length[..], body].concat()
}

fn hello(with_extended_master_secret: bool) -> Vec<u8> {
    let mut body = [&[3, 3][..], &[9; 32], &[0, 0, 2, 0, 0x9c, 1, 0]].concat();
    match with_extended_master_secret {
        true => body.extend([0, 4, 0, 23, 0, 0]),
        false => body.extend([0, 5, 0xff, 1, 0, 1, 0]),
    }
    record(22, &message(1, &body))
}

fn encrypt(padded: &[u8]) -> Vec<u8> {
    let pair = RsaKeyPair::from_pkcs8(&crate::world::key_of(KeyKind::Rsa).serialize_der()).unwrap();
    // RFC 8017 §A.1.1: SEQUENCE { modulus with a zero in front, exponent }.
    let modulus = &pair.public_key().as_ref()[9..][..LENGTH];
    let number = |bytes| BoxedUint::from_be_slice(bytes, 2048).unwrap();
    let params = BoxedMontyParams::new(Odd::new(number(modulus)).unwrap());
    let form = BoxedMontyForm::new(number(padded), &params).pow(&BoxedUint::from(65537u64));
    form.retrieve().to_be_bytes().to_vec()
}

fn padded(version: [u8; 2]) -> Vec<u8> {
    let mut bytes = vec![0x77; LENGTH];
    bytes[..2].copy_from_slice(&[0, 2]);
    bytes[LENGTH - 49] = 0;
    bytes[LENGTH - 48..][..2].copy_from_slice(&version);
    bytes
}

/// Sends the ciphertext and an undecipherable Finished; returns what the
/// server says after each.
fn answers(encrypted: &[u8]) -> ([Vec<u8>; 2], HandshakeError) {
    let mut world = World::directed(&[RSA]);
    world.start(SLOT, asked("rsa", &[]));
    world.exchange(SLOT, &hello(true));
    let length = (encrypted.len() as u16).to_be_bytes();
    let exchange = message(16, &[&length[..], encrypted].concat());
    let first = world.exchange(SLOT, &record(22, &exchange));
    let end = [record(20, &[1]), record(22, &[5; 40])].concat();
    let second = world.exchange(SLOT, &end);
    ([first, second], failure(world.completion().unwrap()))
}

#[test]
fn r21_every_ciphertext_gets_the_same_answer_at_the_same_place() {
    let good = padded([3, 3]);
    let changed = |place: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[place] = to;
        bytes
    };
    let wrong_mac = HandshakeError::Peer(PeerError::AlertSent(Alert::BAD_RECORD_MAC));
    let expected = ([vec![], vec![21, 3, 3, 0, 2, 2, 20]], wrong_mac);
    for (what, padded) in [
        ("good", good.clone()),
        ("another version", padded([3, 1])),
        ("first byte", changed(0, 1)),
        ("block type", changed(1, 1)),
        ("zero at once", changed(2, 0)),
        ("zero early", changed(100, 0)),
        ("no zero", changed(LENGTH - 49, 1)),
        ("zero late", {
            let mut bytes = changed(LENGTH - 49, 1);
            bytes[LENGTH - 10] = 0;
            bytes
        }),
        ("nothing", vec![0; LENGTH]),
    ] {
        assert_eq!(answers(&encrypt(&padded)), expected, "{what}");
    }
    for bytes in [&[][..], &[1], &[0xff; LENGTH], &[7; LENGTH + 1], &[7; 512]] {
        assert_eq!(answers(bytes), expected, "{} bytes", bytes.len());
    }
}

#[test]
fn r21_a_thousand_ciphertexts_that_are_none_leave_every_slot_free() {
    let mut world = World::directed(&[RSA]);
    let good = encrypt(&padded([3, 3]));
    for round in 0..1000usize {
        world.start(SLOT, asked("rsa", &[]));
        world.exchange(SLOT, &hello(true));
        let mut encrypted = good.clone();
        encrypted.truncate(LENGTH - round % 2);
        encrypted[round % 200] ^= 1;
        let length = (encrypted.len() as u16).to_be_bytes();
        let exchange = message(16, &[&length[..], &encrypted].concat());
        let end = [record(20, &[1]), record(22, &[5; 40])].concat();
        world.exchange(SLOT, &[record(22, &exchange), end].concat());
        failure(world.completion().unwrap());
    }
    assert_eq!(world.stats.read(stats::offload::FAILED), 1000);
    assert_eq!(world.stats.read(stats::offload::IN_PROGRESS), 0);
    for slot in 0..4 {
        world.start(slot, asked("rsa", &[]));
    }
}

#[test]
fn r20_without_the_extended_master_secret_there_is_no_handshake() {
    let mut world = World::directed(&[RSA]);
    world.start(SLOT, asked("rsa", &[]));
    world.exchange(SLOT, &hello(false));
    assert_eq!(failure(world.completion().unwrap()), OFF);
}

#[test]
fn r20_a_length_that_lies_is_a_message_that_can_not_be_parsed() {
    for body in [&[][..], &[1], &[0, 2, 7], &[0, 1, 7, 7]] {
        let mut world = World::directed(&[RSA]);
        world.start(SLOT, asked("rsa", &[]));
        world.exchange(SLOT, &hello(true));
        world.exchange(SLOT, &record(22, &message(16, body)));
        let refused = PeerError::AlertSent(Alert::DECODE_ERROR);
        let error = failure(world.completion().unwrap());
        assert_eq!(error, HandshakeError::Peer(refused), "{body:?}");
    }
}

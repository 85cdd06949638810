//! Directed mode: a real shim drives a real offload component, against rustls
//! as client.

use crate::client::{Client, ClientOptions, complete, established, failure};
use crate::world::director::audit;
use crate::world::{POSITION, World, parameters};
use ipc::bounded::List;
use ipc::channel::Status;
use ipc::control::{HandshakeError, PeerError, RequestError};
use ipc::keystore::KeyKind;
use ipc::stats;
use ipc::tls::PeerAuthentication;
use tls::{Alert, CipherSuite, Group};

#[test]
fn r16_r25_a_client_shows_a_certificate_and_signs_or_does_not() {
    use PeerAuthentication::{None, Request, Require};
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        for (asked_for, has_one, is_shown) in [
            (None, true, false),
            (Request, false, false),
            (Request, true, true),
            (Require, true, true),
        ] {
            let mut world = World::directed(&[("web", "localhost", KeyKind::EcdsaP256)]);
            let mut asked = parameters(&["web"]);
            asked.peer_authentication = asked_for;
            world.start(0, asked);
            let options = ClientOptions {
                versions: vec![version],
                has_certificate: has_one,
                ..ClientOptions::default()
            };
            let mut client = Client::new(&world, &options);
            let established = established(complete(&mut world, 0, &mut client));
            assert_eq!(established.peer.is_some(), is_shown);
            assert!(client.is_done());
        }
        let mut world = World::directed(&[("web", "localhost", KeyKind::EcdsaP256)]);
        let mut asked = parameters(&["web"]);
        asked.peer_authentication = Require;
        world.start(0, asked);
        let options = ClientOptions {
            versions: vec![version],
            ..ClientOptions::default()
        };
        let mut client = Client::new(&world, &options);
        let alert = match version.version {
            rustls::ProtocolVersion::TLSv1_3 => Alert::CERTIFICATE_REQUIRED,
            _ => Alert::HANDSHAKE_FAILURE,
        };
        let error = failure(complete(&mut world, 0, &mut client));
        assert_eq!(error, HandshakeError::Peer(PeerError::AlertSent(alert)));
    }
}

#[test]
fn r11_each_segment_is_a_line_of_the_audit_log() {
    audit();
    let mut world = World::directed(&[("web", "localhost", KeyKind::EcdsaP256)]);
    world.start(0, parameters(&["web"]));
    let options = ClientOptions {
        versions: vec![&rustls::version::TLS13],
        groups: vec![Group::X25519],
        ..ClientOptions::default()
    };
    let mut client = Client::new(&world, &options);
    established(complete(&mut world, 0, &mut client));
    let lines = audit();
    let steps: Vec<_> = lines
        .iter()
        .map(|line| line.split(' ').nth(2).unwrap())
        .collect();
    let expected = [
        "begin",
        "receive",
        "negotiate",
        "encapsulate",
        "write",
        "write-change-cipher-spec",
        "derive",
        "write",
        "write",
        "write",
        "write",
        "derive",
        "receive",
        "validate-mac",
    ];
    assert_eq!(steps, expected);
    assert!(lines[1].contains(" message 1 "), "{}", lines[1]);
    for line in &lines {
        let fields: Vec<_> = line.split(' ').collect();
        assert!(fields[0].parse::<u64>().is_ok(), "{line}");
        assert_eq!(fields[1].len(), 8, "{line}");
        assert!(fields[3].parse::<usize>().is_ok(), "{line}");
    }
}

#[test]
fn r03_messages_may_come_in_any_pieces() {
    for size in [1, 7, 100] {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let mut world = World::directed(&[("web", "localhost", KeyKind::EcdsaP256)]);
            world.start(0, parameters(&["web"]));
            let options = ClientOptions {
                versions: vec![version],
                // With one of ML-KEM's it would take more records than a handshake may have.
                groups: vec![Group::X25519, Group::Secp256r1],
                ..ClientOptions::default()
            };
            let mut client = Client::new(&world, &options);
            // The plaintext hello again, in records of `size` bytes.
            let hello = std::mem::take(&mut client.outgoing);
            for fragment in hello[5..].chunks(size) {
                let header = [22, 3, 1, 0, fragment.len() as u8];
                client.outgoing.extend([&header[..], fragment].concat());
            }
            established(complete(&mut world, 0, &mut client));
            assert!(client.is_done());
        }
    }
}

#[test]
fn r32_bytes_after_finished_stay_with_the_network_stack() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut world = World::directed(&[("web", "localhost", KeyKind::EcdsaP256)]);
        world.start(0, parameters(&["web"]));
        let options = ClientOptions {
            versions: vec![version],
            ..ClientOptions::default()
        };
        let mut client = Client::new(&world, &options);
        let answer = world.exchange(0, &std::mem::take(&mut client.outgoing));
        client.receive(&answer);
        client.outgoing.extend([23, 3, 3, 0, 5, 1, 2, 3, 4, 5]);
        let finished = std::mem::take(&mut client.outgoing);
        world.exchange(0, &finished);
        let established = established(world.completion().unwrap());
        let taken = established.tcp.rx_next - POSITION.rx_next;
        assert!(taken > 0);
        assert_eq!(world.net.unread(0).unwrap(), 10);
    }
}

#[test]
fn r09_a_thousand_failures_leave_every_slot_free() {
    let mut world = World::directed(&[("web", "localhost", KeyKind::EcdsaP256)]);
    let hello = {
        let options = ClientOptions::default();
        Client::new(&world, &options).outgoing
    };
    for round in 0..1000usize {
        world.start(0, parameters(&["web"]));
        let bytes = match round % 5 {
            // Not TLS, a broken hello, a message too many, an alert, nothing.
            0 => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            1 => [22, 3, 1, 0, 5, 1, 0, 0, 1, 0].to_vec(),
            2 => [&hello[..], &hello].concat(),
            3 => [&hello[..], &[21, 3, 3, 0, 2, 2, 40]].concat(),
            _ => hello[..hello.len() / 2].to_vec(),
        };
        world.exchange(0, &bytes);
        if round % 5 == 4 {
            world.net.set_status(0, Status::RESET);
            world.net.notify(0);
            world.run();
        }
        failure(world.completion().unwrap());
    }
    assert_eq!(world.stats.read(stats::offload::FAILED), 1000);
    assert_eq!(world.stats.read(stats::offload::IN_PROGRESS), 0);
    // All four slots are free still.
    for slot in 0..4 {
        world.start(slot, parameters(&["web"]));
    }
}

#[test]
fn r06_a_request_that_can_not_be_met_is_refused_before_a_byte_is_sent() {
    let mut world = World::directed(&[("web", "localhost", KeyKind::EcdsaP256)]);
    let mut asked = parameters(&["web"]);
    asked.suites = List::from_items([CipherSuite::EcdheRsaAes128GcmSha256]).unwrap();
    world.start(0, asked);
    let error = failure(world.completion().unwrap());
    assert_eq!(error, HandshakeError::Request(RequestError::NoSuite));
    assert!(world.exchange(0, &[]).is_empty());
}

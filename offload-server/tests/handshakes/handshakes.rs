//! The offload component against rustls as client, without a kernel.

use crate::client::{Client, ClientOptions, complete, established, failure};
use crate::world::{POSITION, World, parameters, version_of};
use ipc::bounded::{Blob, List};
use ipc::channel::Status;
use ipc::clock::Instant;
use ipc::control::{HandshakeError, PeerError, RequestError};
use ipc::handshake::{Completion, Directive, Origin, Start};
use ipc::keystore::KeyKind;
use ipc::record::{PostHandshake, Request};
use ipc::stats;
use ipc::tls::{Mode, PeerAuthentication};
use rustls::crypto::ring as provider;
use tls::{Alert, CipherSuite, Group, Role, Version};

const KINDS: [KeyKind; 4] = [
    KeyKind::EcdsaP256,
    KeyKind::EcdsaP384,
    KeyKind::Ed25519,
    KeyKind::Rsa,
];

#[test]
fn r02_every_suite_with_every_kind_of_key_that_fits_it() {
    every_suite(Mode::Autonomous);
}

#[test]
fn r03_every_suite_with_every_kind_of_key_in_directed_mode() {
    every_suite(Mode::Directed);
}

fn every_suite(mode: Mode) {
    let mut count = 0;
    for kind in KINDS {
        for suite in provider::ALL_CIPHER_SUITES {
            let mut world = World::in_mode(mode, &[("web", "localhost", kind)]);
            let number = u16::from(suite.suite());
            let suite_of_ours = CipherSuite::from_number(number).unwrap();
            let options = ClientOptions {
                suites: vec![*suite],
                versions: vec![suite.version()],
                ..ClientOptions::default()
            };
            let is_rsa = kind == KeyKind::Rsa;
            let name = suite_of_ours.name();
            let fits =
                suite_of_ours.version() == Version::Tls13 || name.contains("_RSA_") == is_rsa;
            world.start(0, parameters(&["web"]));
            let mut client = Client::new(&world, &options);
            let completion = complete(&mut world, 0, &mut client);
            if !fits {
                assert!(matches!(completion, Completion::Failed { .. }), "{name}");
                continue;
            }
            let established = established(completion);
            assert!(client.is_done(), "{name}: {:?}", client.error);
            assert_eq!(established.suite, suite_of_ours);
            assert_eq!(established.version, suite_of_ours.version());
            assert_eq!(established.alpn.as_deref(), Some(&b"http/1.1"[..]));
            assert_eq!(established.server_name.as_deref(), Some("localhost"));
            assert_eq!(&*established.keyring, "web");
            count += 1;
        }
    }
    assert_eq!(count, 4 * 6);
}

#[test]
fn r05_every_group_alone_by_either_side() {
    every_group(Mode::Autonomous);
}

#[test]
fn r11_every_group_alone_in_directed_mode() {
    every_group(Mode::Directed);
}

fn every_group(mode: Mode) {
    for group in Group::ALL {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let ours = version_of(version);
            let mut world = World::in_mode(mode, &[("web", "localhost", KeyKind::EcdsaP256)]);
            let mut asked = parameters(&["web"]);
            asked.versions = List::from_items([ours]).unwrap();
            asked.groups = List::from_items([group]).unwrap();
            if !group.is_for(ours) {
                world.start(0, asked);
                let wrong = HandshakeError::Request(RequestError::NoSuite);
                assert_eq!(failure(world.completion().unwrap()), wrong, "{group:?}");
                continue;
            }
            world.start(0, asked);
            // The client offers all: where its first guess is wrong, TLS 1.3
            // needs a HelloRetryRequest.
            let options = ClientOptions {
                versions: vec![version],
                ..ClientOptions::default()
            };
            let mut client = Client::new(&world, &options);
            let established = established(complete(&mut world, 0, &mut client));
            assert_eq!(established.group, Some(group));
            assert!(client.is_done());
        }
    }
}

#[test]
fn r10_the_installed_keys_open_what_the_client_seals() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut world = World::new(&[("web", "localhost", KeyKind::EcdsaP256)]);
        world.start(2, parameters(&["web"]));
        let options = ClientOptions {
            versions: vec![version],
            suites: vec![match version.version {
                rustls::ProtocolVersion::TLSv1_3 => {
                    provider::cipher_suite::TLS13_AES_128_GCM_SHA256
                }
                _ => provider::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            }],
            ..ClientOptions::default()
        };
        let mut client = Client::new(&world, &options);
        let established = established(complete(&mut world, 2, &mut client));
        assert!(established.keys.is_none(), "keys are sealed by default");
        let installed = world.installed.borrow();
        let [Request::Install { suite, tx, rx, .. }] = &installed[&2][..] else {
            panic!("not one install");
        };
        assert_eq!(*suite, established.suite);
        assert_eq!((tx.sequence, rx.sequence), established.sequence);
        drop(client.outgoing);
        let (sequence, secret) = client
            .connection
            .dangerous_into_kernel_connection()
            .map(|(secrets, _)| secrets.tx)
            .unwrap_or_else(|e| panic!("{e}"));
        let rustls::ConnectionTrafficSecrets::Aes128Gcm { key, .. } = secret else {
            panic!("another AEAD");
        };
        assert_eq!(key.as_ref(), rx.key.expose());
        assert_eq!(sequence, rx.sequence);
    }
}

#[test]
fn r07_the_key_ring_is_chosen_by_the_name_the_client_asks_for() {
    let rings = [
        ("first", "first.example", KeyKind::EcdsaP256),
        ("second", "second.example", KeyKind::Ed25519),
    ];
    for (name, expected) in [("first.example", "first"), ("second.example", "second")] {
        let mut world = World::new(&rings);
        world.start(0, parameters(&["first", "second"]));
        let options = ClientOptions {
            name,
            ..ClientOptions::default()
        };
        let mut client = Client::new(&world, &options);
        let established = established(complete(&mut world, 0, &mut client));
        assert!(client.is_done(), "{:?}", client.error);
        assert_eq!(&*established.keyring, expected);
        assert_eq!(established.server_name.as_deref(), Some(name));
    }
}

#[test]
fn r08_segments_are_no_longer_than_the_request_says() {
    for size in [64, 100, 500, 16384] {
        let mut world = World::new(&[("web", "localhost", KeyKind::Rsa)]);
        let mut asked = parameters(&["web"]);
        asked.segment_size = size;
        world.start(0, asked);
        let mut client = Client::new(&world, &ClientOptions::default());
        let established = established(complete(&mut world, 0, &mut client));
        let segments = &world.segments[&0];
        assert!(segments.iter().all(|length| *length <= size));
        let total: u32 = segments.iter().map(|length| u32::from(*length)).sum();
        let next = POSITION.tx_next.wrapping_add(total);
        assert_eq!(established.tcp.tx_next, next);
        if size == 64 {
            assert!(segments.len() > 10);
        }
    }
}

#[test]
fn r32_bytes_after_finished_stay_in_the_ring() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut world = World::new(&[("web", "localhost", KeyKind::EcdsaP256)]);
        world.start(0, parameters(&["web"]));
        let options = ClientOptions {
            versions: vec![version],
            ..ClientOptions::default()
        };
        let mut client = Client::new(&world, &options);
        let hello = std::mem::take(&mut client.outgoing);
        let mut handshake_bytes = hello.len();
        let flight = world.exchange(0, &hello);
        client.receive(&flight);
        let mut rest = std::mem::take(&mut client.outgoing);
        handshake_bytes += rest.len();
        // TLS 1.2 clients may not send before the server's Finished; any bytes take their
        // place here.
        let after = match client.is_done() {
            true => client.encrypt(b"early bird"),
            false => vec![23, 3, 3, 0, 40, 1, 2, 3],
        };
        rest.extend_from_slice(&after);
        world.exchange(0, &rest);
        let established = established(world.completion().unwrap());
        let mut left = vec![0; 1000];
        let count = world.net.take_back(0, 0, &mut left).unwrap();
        assert_eq!(left[..count], after);
        let consumed = u32::try_from(handshake_bytes).unwrap();
        let expected = POSITION.rx_next.wrapping_add(consumed);
        assert_eq!(established.tcp.rx_next, expected);
    }
}

#[test]
fn handshakes_are_interleaved_byte_by_byte() {
    let mut world = World::new(&[("web", "localhost", KeyKind::EcdsaP256)]);
    let mut clients: Vec<Client> = (0..4)
        .map(|slot| {
            world.start(slot, parameters(&["web"]));
            Client::new(&world, &ClientOptions::default())
        })
        .collect();
    let mut done = 0;
    for _ in 0..20_000 {
        for (slot, client) in clients.iter_mut().enumerate() {
            let slot = u16::try_from(slot).unwrap();
            if let Some(byte) = client.outgoing.first().copied() {
                client.outgoing.remove(0);
                let answer = world.exchange(slot, &[byte]);
                client.receive(&answer);
            }
        }
        while let Some(completion) = world.completion() {
            established(completion);
            done += 1;
        }
        if done == 4 {
            return;
        }
    }
    panic!("{done} of 4 handshakes");
}

#[test]
fn r10_a_client_certificate_is_validated_and_reported() {
    for (has_certificate, asked_for, is_good) in [
        (true, PeerAuthentication::Require, true),
        (true, PeerAuthentication::Request, true),
        (false, PeerAuthentication::Request, true),
        (false, PeerAuthentication::Require, false),
    ] {
        let mut world = World::new(&[("web", "localhost", KeyKind::EcdsaP256)]);
        let mut asked = parameters(&["web"]);
        asked.peer_authentication = asked_for;
        world.start(0, asked);
        let options = ClientOptions {
            has_certificate,
            ..ClientOptions::default()
        };
        let mut client = Client::new(&world, &options);
        let completion = complete(&mut world, 0, &mut client);
        if is_good {
            assert_eq!(established(completion).peer.is_some(), has_certificate);
        } else {
            assert_eq!(
                failure(completion),
                HandshakeError::Peer(PeerError::AlertSent(Alert(116)))
            );
        }
    }
}

#[test]
fn r06_a_request_that_cannot_be_met_is_refused_before_a_byte_is_sent() {
    let mut world = World::new(&[("web", "localhost", KeyKind::EcdsaP256)]);
    let wrong = |change: fn(&mut ipc::control::Parameters)| {
        let mut asked = parameters(&["web"]);
        change(&mut asked);
        asked
    };
    let cases = [
        (wrong(|p| p.versions = List::new()), RequestError::NoVersion),
        (
            wrong(|p| {
                let rsa = CipherSuite::EcdheRsaAes128GcmSha256;
                p.suites = List::from_items([rsa]).unwrap();
                p.versions = List::from_items([Version::Tls12]).unwrap();
            }),
            RequestError::NoSuite,
        ),
        (
            wrong(|p| p.keyrings = parameters(&["other"]).keyrings),
            RequestError::NoKeyring,
        ),
        (wrong(|p| p.segment_size = 63), RequestError::SegmentSize),
    ];
    for (asked, reason) in cases {
        world.start(0, asked);
        let client = Client::new(&world, &ClientOptions::default());
        assert_eq!(world.exchange(0, &client.outgoing), b"");
        let error = failure(world.completion().unwrap());
        assert_eq!(error, HandshakeError::Request(reason));
    }
}

#[test]
fn bad_input_gets_its_alert_and_the_next_client_is_served() {
    let mut world = World::new(&[("web", "localhost", KeyKind::EcdsaP256)]);
    let hello = Client::new(&world, &ClientOptions::default()).outgoing;
    let mut oversized = vec![22, 3, 1, 0x50, 0x00];
    oversized.extend([0; 100]);
    let mut wrong_message = hello.clone();
    wrong_message[5] = 20;
    let mut bad_length = hello.clone();
    bad_length[8] = bad_length[8].wrapping_sub(1);
    let cases: [(&str, Vec<u8>, Option<u8>); 6] = [
        ("plain HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec(), None),
        ("zeros", vec![0; 64], None),
        ("an oversized record", oversized, Some(22)),
        ("a Finished", wrong_message, Some(10)),
        ("a hello whose length is off", bad_length, Some(50)),
        ("application data", vec![23, 3, 3, 0, 1, 0], Some(10)),
    ];
    for (what, bytes, alert) in cases {
        world.start(1, parameters(&["web"]));
        let answer = world.exchange(1, &bytes);
        let error = failure(
            world
                .completion()
                .unwrap_or_else(|| panic!("{what}: waits")),
        );
        let [21, _, _, 0, 2, 2, sent] = answer[..] else {
            panic!("{what}: answer {answer:?}");
        };
        match alert {
            Some(alert) => {
                assert_eq!(sent, alert, "{what}");
                let expected = HandshakeError::Peer(PeerError::AlertSent(Alert(alert)));
                assert_eq!(error, expected, "{what}");
            }
            None => assert_eq!(error, HandshakeError::Peer(PeerError::NotTls), "{what}"),
        }
        assert!(world.net.peer_status(1).has(Status::END), "{what}");
        world.start(0, parameters(&["web"]));
        let mut client = Client::new(&world, &ClientOptions::default());
        established(complete(&mut world, 0, &mut client));
    }
}

#[test]
fn a_client_that_leaves_or_is_late_fails_at_every_step() {
    let mut world = World::new(&[("web", "localhost", KeyKind::EcdsaP256)]);
    let hello = Client::new(&world, &ClientOptions::default()).outgoing;
    for (cut, flags, cause) in [
        (0, Status::END, PeerError::Closed),
        (3, Status::END, PeerError::Closed),
        (100, Status::RESET, PeerError::Closed),
        (hello.len(), Status::END, PeerError::Closed),
        (100, Status::DEADLINE, PeerError::Deadline),
    ] {
        world.start(0, parameters(&["web"]));
        world.exchange(0, &hello[..cut]);
        assert!(world.completion().is_none());
        world.net.set_status(0, flags);
        world.net.notify(0);
        world.run();
        let error = failure(world.completion().unwrap());
        assert_eq!(error, HandshakeError::Peer(cause));
    }
    assert_eq!(world.stats.read(stats::offload::IN_PROGRESS), 0);
}

#[test]
fn r09_a_cancelled_handshake_completes_once_as_cancelled() {
    let mut world = World::new(&[("web", "localhost", KeyKind::EcdsaP256)]);
    world.start(0, parameters(&["web"]));
    for _ in 0..2 {
        let directive = Directive::Cancel {
            slot: 0,
            generation: 1,
        };
        world.shim.send(&directive).unwrap();
    }
    world.run();
    assert_eq!(
        failure(world.completion().unwrap()),
        HandshakeError::Cancelled
    );
    assert!(world.completion().is_none());
}

#[test]
fn r33_a_key_update_is_answered_with_new_keys() {
    for (value, expects_tx) in [(0, false), (1, true)] {
        let mut world = World::new(&[("web", "localhost", KeyKind::EcdsaP256)]);
        world.start(3, parameters(&["web"]));
        let mut client = Client::new(&world, &ClientOptions::default());
        established(complete(&mut world, 3, &mut client));
        let message = PostHandshake::Message {
            slot: 3,
            generation: 9,
            message: Blob::from_slice(&[24, 0, 0, 1, value]).unwrap(),
        };
        world.record.send(&message).unwrap();
        world.run();
        let installed = world.installed.borrow();
        let [
            Request::Install { rx: old, .. },
            Request::Rekey {
                message, tx, rx, ..
            },
        ] = &installed[&3][..]
        else {
            panic!("no rekey");
        };
        let rx = rx.as_ref().unwrap();
        assert_ne!(rx.key.expose(), old.key.expose());
        assert_eq!(tx.is_some(), expects_tx);
        assert_eq!(message.is_empty(), !expects_tx);
    }
}

#[test]
fn r33_a_message_that_does_not_belong_after_the_handshake_is_refused() {
    let mut world = World::new(&[("web", "localhost", KeyKind::EcdsaP256)]);
    world.start(3, parameters(&["web"]));
    let mut client = Client::new(&world, &ClientOptions::default());
    established(complete(&mut world, 3, &mut client));
    let cases: [(&[u8], u8); 4] = [
        (&[24, 0, 0, 1, 2], 47),
        (&[24, 0, 0, 2, 0, 0], 50),
        (&[1, 0, 0, 0], 10),
        (&[4, 0, 0, 0], 10),
    ];
    for (message, alert) in cases {
        let asked = PostHandshake::Message {
            slot: 3,
            generation: 9,
            message: Blob::from_slice(message).unwrap(),
        };
        world.record.send(&asked).unwrap();
        world.run();
        let mut installed = world.installed.borrow_mut();
        let last = installed.get_mut(&3).unwrap().pop();
        assert!(matches!(last, Some(Request::Refuse { alert: a, generation: 9 }) if a == alert));
    }
}

#[test]
fn r06_a_client_that_expects_nobody_is_refused() {
    let mut world = World::new(&[("web", "localhost", KeyKind::EcdsaP256)]);
    world.net.open(0);
    let directive = Directive::Start(Start {
        slot: 0,
        generation: 1,
        session: 0,
        session_generation: 9,
        mode: Mode::Autonomous,
        role: Role::Client,
        origin: Origin {
            client: 1,
            group: 0,
            deadline: Instant::NEVER,
            standing: ipc::control::Standing::New,
        },
        parameters: Box::new(parameters(&["web"])),
        position: POSITION,
    });
    world.shim.send(&directive).unwrap();
    world.run();
    assert_eq!(
        failure(world.completion().unwrap()),
        HandshakeError::Request(RequestError::NoServerName)
    );
}

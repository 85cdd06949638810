//! A thousand failed handshakes of each kind, in both roles and modes: each failure
//! is reported once, and the table of handshakes is empty after them.

mod lying;

use std::sync::Arc;

use crate::client::{established, failure};
use crate::world::World;
use ipc::bounded::List;
use ipc::channel::Status;
use ipc::control::PeerError;
use ipc::keystore::KeyKind;
use ipc::stats;
use ipc::tls::PeerAuthentication;
use lying::{MACS, lying};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, CipherSuite};
use tls::{Group, Role, Version};

use crate::failing::{
    ALERT, Case, MODES, ROUNDS, SLOT, Shown, VERSIONS, all, answered, change_last, connect, ends,
    flight, hear, peer, received, second_flight, sent,
};

const UNEXPECTED_MESSAGE: u8 = 10;
const DECRYPT_ERROR: u8 = 51;
const BAD_RECORD_MAC: u8 = 20;
const HANDSHAKE_FAILURE: u8 = 40;
const CERTIFICATE_REQUIRED: u8 = 116;
const UNKNOWN_CA: u8 = 48;
const PROTOCOL_VERSION: u8 = 70;
const BAD_CERTIFICATE: u8 = 42;

// ---- the component as server ----

#[test]
fn r09_a_thousand_clients_that_leave_at_each_flight() {
    for mode in MODES {
        let case = Case::new(mode, Role::Server);
        let closed = peer(&[PeerError::Closed]);
        for version in VERSIONS {
            let config = Arc::new(case.client(version, all(), None));
            let hello = flight(&mut connect(&config));
            for (what, cut, status, error) in [
                ("nothing", 0, Status::END, PeerError::Closed),
                ("part of a hello", 60, Status::END, PeerError::Closed),
                ("a reset", 60, Status::RESET, PeerError::Closed),
                ("the deadline", 60, Status::DEADLINE, PeerError::Deadline),
                ("a hello", hello.len(), Status::END, PeerError::Closed),
                (
                    "a late flight",
                    hello.len(),
                    Status::DEADLINE,
                    PeerError::Deadline,
                ),
            ] {
                case.fails(what, &peer(&[error]), &|world| {
                    world.exchange(SLOT, &hello[..cut]);
                    ends(world, status);
                });
            }
            case.fails("part of Finished", &closed, &|world| {
                let finished = second_flight(&config, world);
                world.exchange(SLOT, &finished[..finished.len() - 1]);
                ends(world, Status::END);
            });
            case.fails("an alert", &received(HANDSHAKE_FAILURE), &|world| {
                world.exchange(SLOT, &[&hello[..], &ALERT].concat());
            });
        }
        case.fails("no TLS", &peer(&[PeerError::NotTls]), &|world| {
            world.exchange(SLOT, b"GET / HTTP/1.1\r\n\r\n");
        });
    }
}

#[test]
fn r28_r29_a_thousand_finished_messages_that_are_wrong() {
    let told = Some(rustls::Error::AlertReceived(AlertDescription::DecryptError));
    for mode in MODES {
        let wrong = sent(&[DECRYPT_ERROR]);
        let case = Case::new(mode, Role::Server);
        for version in VERSIONS {
            // After the server's own, which it checks.
            let liar = Arc::new(case.client(version, lying(2, b"client finished"), None));
            case.fails("a wrong MAC", &wrong, &|world| {
                MACS.set(0);
                let mut client = connect(&liar);
                let answer = world.exchange(SLOT, &flight(&mut client));
                hear(&mut client, &answer);
                let back = world.exchange(SLOT, &flight(&mut client));
                assert_eq!(hear(&mut client, &back), told);
            });
            let config = Arc::new(case.client(version, all(), None));
            case.fails("a changed record", &sent(&[BAD_RECORD_MAC]), &|world| {
                let mut finished = second_flight(&config, world);
                change_last(&mut finished);
                world.exchange(SLOT, &finished);
            });
        }
        let case = Case::new(mode, Role::Client);
        for version in VERSIONS {
            let shown = || Shown::new(&case.issuer, "server.test", true);
            let liar = Case::server(version, lying(1, b"server finished"), shown());
            case.fails("a wrong MAC", &wrong, &|world| {
                MACS.set(0);
                let (mut server, answer) = answered(&liar, world);
                let back = world.exchange(SLOT, &answer);
                let heard = hear(&mut server, &back).or_else(|| {
                    // In TLS 1.2 its Finished is in its second flight.
                    let back = world.exchange(SLOT, &flight(&mut server));
                    hear(&mut server, &back)
                });
                assert_eq!(heard, told);
            });
        }
    }
}

#[test]
fn a_thousand_records_amid_a_message_of_another_kind() {
    for mode in MODES {
        let case = Case::new(mode, Role::Server);
        let hello = flight(&mut connect(&Arc::new(case.client(&TLS13, all(), None))));
        let begun = [&[22, 3, 1, 0, 50], &hello[5..55], &[20, 3, 3, 0, 1, 1]].concat();
        case.fails("amid a hello", &sent(&[UNEXPECTED_MESSAGE]), &|world| {
            let answer = world.exchange(SLOT, &begun);
            assert_eq!(answer, [21, 3, 3, 0, 2, 2, UNEXPECTED_MESSAGE]);
        });
    }
}

#[test]
fn r16_r25_a_thousand_clients_whose_certificate_is_not_believed() {
    for mode in MODES {
        let case = Case::asking(mode, Role::Server, |asked| {
            asked.peer_authentication = PeerAuthentication::Require;
        });
        for version in VERSIONS {
            let nobody = sent(&[CERTIFICATE_REQUIRED, HANDSHAKE_FAILURE]);
            for (what, shown, errors) in [
                ("nobody", None, nobody),
                (
                    "a stranger",
                    Some(Shown::of_stranger("client")),
                    sent(&[UNKNOWN_CA]),
                ),
                (
                    "another's certificate",
                    Some(Shown::new(&case.issuer, "client", false)),
                    sent(&[DECRYPT_ERROR]),
                ),
            ] {
                let config = Arc::new(case.client(version, all(), shown));
                case.fails(what, &errors, &|world| {
                    let second = second_flight(&config, world);
                    world.exchange(SLOT, &second);
                });
            }
        }
    }
}

#[test]
fn r06_a_thousand_clients_with_nothing_in_common() {
    for mode in MODES {
        let only = |versions: &[Version], groups: &[Group]| {
            Case::asking(mode, Role::Server, |asked| {
                asked.versions = List::from_items(versions.iter().copied()).unwrap();
                asked.groups = List::from_items(groups.iter().copied()).unwrap();
            })
        };
        for (version, case) in [
            (&TLS12, only(&[Version::Tls13], &[])),
            (&TLS13, only(&[Version::Tls12], &[])),
        ] {
            let hello = flight(&mut connect(&Arc::new(case.client(version, all(), None))));
            case.fails("a version", &sent(&[PROTOCOL_VERSION]), &|world| {
                world.exchange(SLOT, &hello);
            });
        }
        for version in VERSIONS {
            let case = only(&[Version::Tls13, Version::Tls12], &[Group::Secp384r1]);
            let mut x25519 = all();
            x25519
                .kx_groups
                .retain(|group| group.name() == rustls::NamedGroup::X25519);
            let hello = flight(&mut connect(&Arc::new(case.client(version, x25519, None))));
            case.fails("a group", &sent(&[HANDSHAKE_FAILURE]), &|world| {
                world.exchange(SLOT, &hello);
            });
        }
        let case = Case::asking(mode, Role::Server, |asked| {
            asked.versions = List::from_items([Version::Tls13]).unwrap();
            asked.suites = List::from_items([tls::CipherSuite::ChaCha20Poly1305Sha256]).unwrap();
        });
        let mut aes = all();
        let wanted = CipherSuite::TLS13_AES_128_GCM_SHA256;
        aes.cipher_suites.retain(|suite| suite.suite() == wanted);
        let hello = flight(&mut connect(&Arc::new(case.client(&TLS13, aes, None))));
        case.fails("a suite", &sent(&[HANDSHAKE_FAILURE]), &|world| {
            world.exchange(SLOT, &hello);
        });
    }
}

#[test]
fn r33_a_thousand_binders_that_are_wrong() {
    // Each full handshake gives two tickets, and a world has room for eight.
    const TICKETS: u64 = 8;
    for mode in MODES {
        let case = Case::asking(mode, Role::Server, |asked| asked.resumption = true);
        for _ in 0..ROUNDS / TICKETS {
            let mut world = World::in_mode(mode, &[("me", "localhost", KeyKind::EcdsaP256)]);
            // One that has a ticket already would resume.
            let clients = [0; TICKETS as usize / 2];
            let clients = clients.map(|_| Arc::new(case.client(&TLS13, all(), None)));
            for config in &clients {
                world.start(SLOT, case.asked.clone());
                let mut client = connect(config);
                let answer = world.exchange(SLOT, &flight(&mut client));
                hear(&mut client, &answer);
                let tickets = world.exchange(SLOT, &flight(&mut client));
                hear(&mut client, &tickets);
                established(world.completion().unwrap());
            }
            for config in clients.iter().chain(&clients) {
                world.start(SLOT, case.asked.clone());
                let mut hello = flight(&mut connect(config));
                change_last(&mut hello);
                world.exchange(SLOT, &hello);
                let error = failure(world.completion().unwrap());
                assert!(
                    sent(&[DECRYPT_ERROR]).contains(&error),
                    "{mode:?}: {error:?}"
                );
            }
            crate::world::director::audit();
            assert_eq!(world.stats.read(stats::offload::FAILED), TICKETS);
            assert_eq!(world.stats.read(stats::offload::IN_PROGRESS), 0);
        }
    }
}

// ---- the component as client ----

#[test]
fn r09_a_thousand_servers_that_leave_at_each_flight() {
    for mode in MODES {
        let case = Case::new(mode, Role::Client);
        for (what, status, error) in [
            ("nothing", Status::END, PeerError::Closed),
            ("a reset", Status::RESET, PeerError::Closed),
            ("the deadline", Status::DEADLINE, PeerError::Deadline),
        ] {
            case.fails(what, &peer(&[error]), &|world| ends(world, status));
        }
        case.fails("an alert", &received(HANDSHAKE_FAILURE), &|world| {
            world.exchange(SLOT, &ALERT);
        });
        case.fails("no TLS", &peer(&[PeerError::NotTls]), &|world| {
            world.exchange(SLOT, b"HTTP/1.1 400 Bad Request\r\n\r\n");
        });
        for version in VERSIONS {
            let shown = Shown::new(&case.issuer, "server.test", true);
            let config = Case::server(version, all(), shown);
            for (what, status, error) in [
                ("part of a flight", Status::END, PeerError::Closed),
                ("part, and a reset", Status::RESET, PeerError::Closed),
                (
                    "part, and the deadline",
                    Status::DEADLINE,
                    PeerError::Deadline,
                ),
            ] {
                case.fails(what, &peer(&[error]), &|world| {
                    let (_, answer) = answered(&config, world);
                    world.exchange(SLOT, &answer[..answer.len() - 1]);
                    ends(world, status);
                });
            }
        }
    }
}

#[test]
fn r17_a_thousand_servers_that_are_not_believed() {
    for mode in MODES {
        let case = Case::new(mode, Role::Client);
        for version in VERSIONS {
            for (what, shown, errors) in [
                (
                    "a stranger",
                    Shown::of_stranger("server.test"),
                    sent(&[UNKNOWN_CA]),
                ),
                (
                    "another name",
                    Shown::new(&case.issuer, "other.test", true),
                    sent(&[BAD_CERTIFICATE]),
                ),
                (
                    "another's certificate",
                    Shown::new(&case.issuer, "server.test", false),
                    sent(&[DECRYPT_ERROR]),
                ),
            ] {
                let config = Case::server(version, all(), shown);
                case.fails(what, &errors, &|world| {
                    let (_, answer) = answered(&config, world);
                    world.exchange(SLOT, &answer);
                });
            }
        }
        for (version, asked) in [(&TLS12, Version::Tls13), (&TLS13, Version::Tls12)] {
            let case = Case::asking(mode, Role::Client, |asked_for| {
                asked_for.versions = List::from_items([asked]).unwrap();
            });
            let shown = Shown::new(&case.issuer, "server.test", true);
            let config = Case::server(version, all(), shown);
            case.fails("a version", &received(PROTOCOL_VERSION), &|world| {
                let (_, alert) = answered(&config, world);
                world.exchange(SLOT, &alert);
            });
        }
    }
}

//! Peers whose certificates are revoked, by the lists of a key ring.

use std::time::Duration;

use crate::client::{Client, complete, established, failure};
use crate::revoking::{
    BOTH, HOUR, Person, asked, backend, client_config, crl, meet, ring, ring_of, world,
};
use crate::world::{World, set_passed, tenant};
use ipc::control::{HandshakeError, PeerError};
use ipc::handshake::Completion;
use ipc::tls::{Mode, Revocation};
use rustls::{AlertDescription, Error};
use tls::{Alert, Version};

const REVOKED: HandshakeError = HandshakeError::Peer(PeerError::AlertSent(Alert(44)));
/// As OpenSSL and BoringSSL say where they have no list.
const UNKNOWN: HandshakeError = HandshakeError::Peer(PeerError::AlertSent(Alert(48)));

/// What became of a client, and the alert that it got.
fn visit(world: &mut World, person: &Person, version: Version) -> Result<bool, HandshakeError> {
    let config = client_config(world, person, version);
    come_back(world, &config, version)
}

/// The same, whether it was resumed.
fn come_back(
    world: &mut World,
    config: &std::sync::Arc<rustls::ClientConfig>,
    version: Version,
) -> Result<bool, HandshakeError> {
    world.start(0, asked(version));
    let mut client = Client::with(config.clone(), "localhost");
    match complete(world, 0, &mut client) {
        completion @ Completion::Established { .. } => {
            let established = established(completion);
            assert!(established.peer.is_some());
            client.receive(&world.exchange(0, &[]));
            Ok(established.resumed)
        }
        completion @ Completion::Failed { .. } => {
            client.receive(&world.exchange(0, &[]));
            let error = failure(completion);
            let told = match error {
                REVOKED => AlertDescription::CertificateRevoked,
                _ => AlertDescription::UnknownCA,
            };
            assert_eq!(
                client.error,
                Some(Error::AlertReceived(told)),
                "{version:?}"
            );
            Err(error)
        }
    }
}

#[test]
fn r07_a_client_whose_certificate_is_in_the_list_of_its_issuer_is_refused_with_that_alert() {
    for (mode, version) in BOTH {
        for revocation in [Revocation::Require, Revocation::WhenKnown] {
            let clients = tenant("clients");
            let lists = vec![crl(&clients, &[7, 9], 1)];
            let mut world = world(mode, |issuer| ring(issuer, &[&clients], revocation, lists));
            let good = Person::of(&clients, 8);
            let revoked = Person::of(&clients, 9);
            assert_eq!(visit(&mut world, &good, version), Ok(false), "{mode:?}");
            assert_eq!(
                visit(&mut world, &revoked, version),
                Err(REVOKED),
                "{mode:?}"
            );
        }
    }
}

#[test]
fn r07_a_client_whose_issuer_has_no_list_is_accepted_when_known_is_enough() {
    for (mode, version) in BOTH {
        for (revocation, outcome) in [
            (Revocation::Require, Err(UNKNOWN)),
            (Revocation::WhenKnown, Ok(false)),
        ] {
            let (clients, others) = (tenant("clients"), tenant("others"));
            let lists = vec![crl(&clients, &[7], 1)];
            let trust = [&clients, &others];
            let mut world = world(mode, |issuer| ring(issuer, &trust, revocation, lists));
            let stranger = Person::of(&others, 7);
            assert_eq!(visit(&mut world, &stranger, version), outcome, "{mode:?}");
            let revoked = Person::of(&clients, 7);
            assert_eq!(
                visit(&mut world, &revoked, version),
                Err(REVOKED),
                "{mode:?}"
            );
        }
    }
}

#[test]
fn r07_every_certificate_on_the_way_to_the_anchor_is_asked_about() {
    for (mode, version) in BOTH {
        for (of_root, outcome) in [(&[1][..], Ok(false)), (&[77], Err(REVOKED))] {
            let root = tenant("root");
            let (between, certificate) = crate::revoking::intermediate(&root, 77);
            let lists = vec![crl(&between, &[7], 1), crl(&root, of_root, 1)];
            let mut world = world(mode, |issuer| {
                ring(issuer, &[&root], Revocation::Require, lists)
            });
            let mut client = Person::of(&between, 8);
            client.chain.push(certificate.clone());
            assert_eq!(visit(&mut world, &client, version), outcome, "{mode:?}");
        }
        // A list of the root's alone says nothing of what the other issued.
        let root = tenant("root");
        let (between, certificate) = crate::revoking::intermediate(&root, 77);
        let lists = vec![crl(&root, &[], 1)];
        let mut world = world(mode, |issuer| {
            ring(issuer, &[&root], Revocation::Require, lists)
        });
        let mut client = Person::of(&between, 8);
        client.chain.push(certificate);
        assert_eq!(
            visit(&mut world, &client, version),
            Err(UNKNOWN),
            "{mode:?}"
        );
    }
}

#[test]
fn r07_a_list_that_another_key_signed_is_no_list_of_the_issuer() {
    for (mode, version) in BOTH {
        for revocation in [Revocation::Require, Revocation::WhenKnown] {
            let (clients, namesake) = (tenant("clients"), tenant("clients"));
            let lists = vec![crl(&namesake, &[], 1)];
            let mut world = world(mode, |issuer| ring(issuer, &[&clients], revocation, lists));
            let client = Person::of(&clients, 8);
            assert_eq!(
                visit(&mut world, &client, version),
                Err(UNKNOWN),
                "{mode:?}"
            );
        }
    }
}

#[test]
fn what_else_is_wrong_with_a_client_is_told_as_it_is_without_lists() {
    for (mode, version) in BOTH {
        let (clients, strangers) = (tenant("clients"), tenant("strangers"));
        let lists = vec![crl(&clients, &[], 1)];
        let mut world = world(mode, |issuer| {
            ring(issuer, &[&clients], Revocation::Require, lists)
        });
        let config = client_config(&world, &Person::expired(&clients), version);
        world.start(0, asked(version));
        let mut client = Client::with(config, "localhost");
        let error = failure(complete(&mut world, 0, &mut client));
        let expired = HandshakeError::Peer(PeerError::AlertSent(Alert(45)));
        assert_eq!(error, expired, "{mode:?} {version:?}");
        let stranger = Person::of(&strangers, 8);
        assert_eq!(visit(&mut world, &stranger, version), Err(UNKNOWN));
    }
}

#[test]
fn r07_a_list_that_is_out_of_date_is_told_and_is_enough_when_known_is() {
    for (mode, version) in BOTH {
        for (revocation, outcome) in [
            (Revocation::Require, Err(UNKNOWN)),
            (Revocation::WhenKnown, Ok(false)),
        ] {
            set_passed(Duration::ZERO);
            let clients = tenant("clients");
            let lists = vec![crl(&clients, &[7], 1)];
            let mut world = world(mode, |issuer| ring(issuer, &[&clients], revocation, lists));
            let good = Person::of(&clients, 8);
            assert_eq!(visit(&mut world, &good, version), Ok(false), "{mode:?}");
            assert_eq!(world.overdue(), []);
            assert_eq!(world.stats.read(ipc::stats::offload::CRLS_OVERDUE), 0);

            set_passed(HOUR + Duration::from_secs(1));
            assert_eq!(visit(&mut world, &good, version), outcome, "{mode:?}");
            let told: Vec<_> = world.overdue().iter().map(|l| l.to_string()).collect();
            assert_eq!(told, ["web"]);
            assert_eq!(world.stats.read(ipc::stats::offload::CRLS_OVERDUE), 1);
            let revoked = Person::of(&clients, 7);
            assert_eq!(
                visit(&mut world, &revoked, version),
                Err(match revocation {
                    Revocation::Require => UNKNOWN,
                    Revocation::WhenKnown => REVOKED,
                })
            );
            // Once.
            assert_eq!(world.overdue(), []);
        }
    }
    set_passed(Duration::ZERO);
}

// ---- Resumption ----

#[test]
fn r33_a_session_is_not_resumed_once_a_list_that_it_needs_is_out_of_date() {
    for (mode, version) in BOTH {
        for (revocation, outcome) in [
            (Revocation::Require, Err(UNKNOWN)),
            (Revocation::WhenKnown, Ok(true)),
        ] {
            set_passed(Duration::ZERO);
            let clients = tenant("clients");
            let lists = vec![crl(&clients, &[7], 1)];
            let mut world = world(mode, |issuer| ring(issuer, &[&clients], revocation, lists));
            let config = client_config(&world, &Person::of(&clients, 8), version);
            assert_eq!(come_back(&mut world, &config, version), Ok(false));
            set_passed(HOUR / 2);
            assert_eq!(come_back(&mut world, &config, version), Ok(true));
            set_passed(HOUR + Duration::from_secs(1));
            assert_eq!(come_back(&mut world, &config, version), outcome, "{mode:?}");
        }
    }
    set_passed(Duration::ZERO);
}

#[test]
fn r33_an_update_that_revokes_a_client_ends_its_resumptions() {
    for (mode, version) in BOTH {
        let clients = tenant("clients");
        let before = vec![crl(&clients, &[7], 1)];
        let mut world = world(mode, |issuer| {
            ring(issuer, &[&clients], Revocation::Require, before)
        });
        let config = client_config(&world, &Person::of(&clients, 8), version);
        assert_eq!(come_back(&mut world, &config, version), Ok(false));
        assert_eq!(come_back(&mut world, &config, version), Ok(true));
        let after = vec![crl(&clients, &[7, 8], 1)];
        let new = ring(&world.issuer, &[&clients], Revocation::Require, after);
        world.update(1, vec![new]);
        let outcome = come_back(&mut world, &config, version);
        assert_eq!(outcome, Err(REVOKED), "{mode:?} {version:?}");
        // And one that nobody revoked.
        let good = Person::of(&clients, 9);
        assert_eq!(visit(&mut world, &good, version), Ok(false), "{mode:?}");
    }
}

// ---- As client ----

#[test]
fn r07_a_backend_whose_certificate_is_revoked_is_refused() {
    for (mode, version) in BOTH {
        for (revoked, outcome) in [(&[1][..], Ok(false)), (&[5], Err(REVOKED))] {
            let servers = tenant("servers");
            let lists = vec![crl(&servers, revoked, 1)];
            let mut world = world(mode, |_| ring_of(&servers, Revocation::Require, lists));
            let server = backend(&servers, 5, version);
            assert_eq!(meet(&mut world, &server, version), outcome, "{mode:?}");
        }
        let (servers, others) = (tenant("servers"), tenant("others"));
        for (revocation, outcome) in [
            (Revocation::Require, Err(UNKNOWN)),
            (Revocation::WhenKnown, Ok(false)),
        ] {
            let lists = vec![crl(&others, &[], 1)];
            let mut world = world(mode, |_| ring_of(&servers, revocation, lists));
            let server = backend(&servers, 5, version);
            assert_eq!(meet(&mut world, &server, version), outcome, "{mode:?}");
        }
    }
}

#[test]
fn r33_an_update_that_revokes_a_backend_ends_its_resumptions() {
    for mode in [Mode::Autonomous, Mode::Directed] {
        let servers = tenant("servers");
        let before = vec![crl(&servers, &[], 1)];
        let mut world = world(mode, |_| ring_of(&servers, Revocation::Require, before));
        let server = backend(&servers, 5, Version::Tls12);
        let mut again = || meet(&mut world, &server, Version::Tls12);
        assert_eq!((again(), again()), (Ok(false), Ok(true)), "{mode:?}");
        let after = vec![crl(&servers, &[5], 1)];
        let new = ring_of(&servers, Revocation::Require, after);
        world.update(1, vec![new]);
        let outcome = meet(&mut world, &server, Version::Tls12);
        assert_eq!(outcome, Err(REVOKED), "{mode:?}");
    }
}

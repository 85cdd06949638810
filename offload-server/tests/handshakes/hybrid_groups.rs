//! Hybrid key exchange: what goes without a second hello, and shares that are none.

use crate::client::{Client, ClientOptions, complete, established, failure};
use crate::world::{World, parameters};
use ipc::control::{HandshakeError, PeerError};
use ipc::keystore::KeyKind;
use ipc::tls::Mode;
use rustls::{AlertDescription, Error, HandshakeKind};
use tls::{Alert, Group};

const MODES: [Mode; 2] = [Mode::Autonomous, Mode::Directed];

fn world(mode: Mode) -> World {
    let mut world = World::in_mode(mode, &[("web", "localhost", KeyKind::EcdsaP256)]);
    world.start(0, parameters(&["web"]));
    world
}

fn client(world: &World, groups: &[Group]) -> Client {
    let options = ClientOptions {
        versions: vec![&rustls::version::TLS13],
        groups: groups.to_vec(),
        ..ClientOptions::default()
    };
    Client::new(world, &options)
}

#[test]
fn r05_hybrids_are_preferred_and_cost_no_round_trip() {
    for mode in MODES {
        for (groups, expected) in [
            (&Group::ALL[..], Group::X25519MlKem768),
            (
                &[Group::Secp256r1MlKem768, Group::Secp256r1],
                Group::Secp256r1MlKem768,
            ),
            // Whoever knows none is served as before.
            (&[Group::X25519, Group::Secp256r1], Group::X25519),
        ] {
            let mut world = world(mode);
            let mut client = client(&world, groups);
            let established = established(complete(&mut world, 0, &mut client));
            assert_eq!(established.group, Some(expected), "{mode:?}");
            let kind = client.connection.handshake_kind();
            assert_eq!(kind, Some(HandshakeKind::Full), "{mode:?} {expected:?}");
        }
    }
}

#[test]
fn r05_the_one_that_is_off_by_default_is_not_agreed_on() {
    for mode in MODES {
        let mut world = world(mode);
        let mut client = client(&world, &[Group::Secp384r1MlKem1024]);
        let error = failure(complete(&mut world, 0, &mut client));
        let alert = PeerError::AlertSent(Alert::HANDSHAKE_FAILURE);
        assert_eq!(error, HandshakeError::Peer(alert), "{mode:?}");
    }
}

/// A hello whose share of the group has other bytes from `offset` on.
fn hello_with(client: &mut Client, group: Group, offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut hello = std::mem::take(&mut client.outgoing);
    let length = group.share_len(tls::Role::Client);
    let header = [group.number(), length as u16]
        .map(u16::to_be_bytes)
        .concat();
    let found = hello.windows(4).position(|window| window == header);
    let at = found.unwrap() + header.len() + offset;
    hello[at..at + bytes.len()].copy_from_slice(bytes);
    hello
}

#[test]
fn r20_a_share_that_is_none_is_refused_with_an_alert_that_can_be_read() {
    // FIPS 203 §7.2: a coefficient of 4095 is beyond the modulus. RFC 8446 §7.4.2: what
    // gives zero. RFC 8422 §5.11: a point that is on no curve.
    for (group, offset, bytes) in [
        (Group::X25519MlKem768, 0, &[0xff; 3][..]),
        (Group::X25519MlKem768, 1184, &[0; 32]),
        (Group::Secp256r1MlKem768, 65 + 9, &[0xff; 3]),
        (Group::Secp256r1MlKem768, 1, &[1; 64]),
        (Group::X25519, 0, &[0; 32]),
        (Group::Secp256r1, 1, &[1; 64]),
    ] {
        for mode in MODES {
            let mut world = world(mode);
            let mut client = client(&world, &[group]);
            client.outgoing = hello_with(&mut client, group, offset, bytes);
            let error = failure(complete(&mut world, 0, &mut client));
            let alert = PeerError::AlertSent(Alert::ILLEGAL_PARAMETER);
            assert_eq!(error, HandshakeError::Peer(alert), "{mode:?} {group:?}");
            let read = Some(Error::AlertReceived(AlertDescription::IllegalParameter));
            assert_eq!(client.error, read, "{mode:?} {group:?}");
        }
    }
}

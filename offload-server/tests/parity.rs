//! Both modes report the same, field by field and keys included, when client and
//! server draw the same random numbers in both (R30, R31).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    missing_docs,
    unreachable_pub,
    reason = "a test"
)]

mod client;
mod world;

use std::slice;

use client::{Client, ClientOptions, complete, established};
use ipc::bounded::List;
use ipc::clock::Instant;
use ipc::control::Established;
use ipc::keystore::KeyKind;
use ipc::tls::{Mode, PeerAuthentication};
use rustls::version::{TLS12, TLS13};
use rustls::{ConnectionTrafficSecrets, SupportedProtocolVersion};
use tls::Group;
use world::{World, parameters, version_of};

/// In place of the system's `getrandom(2)`, in this program alone: what is drawn
/// depends on how much is drawn and on nothing else, so the order in which two
/// engines draw does not matter.
///
/// # Safety
/// `length` bytes may be written at `buffer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    // SAFETY: the caller says so.
    let bytes = unsafe { slice::from_raw_parts_mut(buffer, length) };
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = (length as u8).wrapping_mul(3).wrapping_add(at as u8) | 1;
    }
    length as isize
}

/// What the offload component reports of one handshake.
fn handshake(
    mode: Mode,
    version: &'static SupportedProtocolVersion,
    group: Group,
    authentication: PeerAuthentication,
    has_certificate: bool,
) -> Established {
    let rings = [
        ("web", "localhost", KeyKind::Ed25519),
        ("other", "other.test", KeyKind::Ed25519),
    ];
    let mut world = World::in_mode(mode, &rings);
    let mut asked = parameters(&["web", "other"]);
    asked.peer_authentication = authentication;
    asked.expose_keys = true;
    asked.groups = List::from_items(Group::ALL).unwrap();
    world.start(0, asked);
    let options = ClientOptions {
        versions: vec![version],
        groups: vec![group],
        name: "other.test",
        has_certificate,
        ..ClientOptions::default()
    };
    let mut client = Client::new(&world, &options);
    let established = established(complete(&mut world, 0, &mut client));
    // The client has them too.
    let seen = client.connection.dangerous_into_kernel_connection();
    let (seen, _) = seen.unwrap_or_else(|error| panic!("{error}"));
    let keys = established.keys.as_ref().unwrap();
    for (ours, (sequence, secrets)) in [(&keys.0, seen.rx), (&keys.1, seen.tx)] {
        let ConnectionTrafficSecrets::Aes256Gcm { key, .. } = secrets else {
            panic!("another AEAD");
        };
        assert_eq!(ours.key.expose(), key.as_ref());
        assert_eq!(ours.sequence, sequence);
    }
    established
}

#[test]
fn r30_r31_both_modes_report_the_same_for_the_same_random_numbers() {
    for version in [&TLS13, &TLS12] {
        for group in Group::ALL {
            if !group.is_for(version_of(version)) {
                continue;
            }
            for (authentication, has_certificate) in [
                (PeerAuthentication::None, false),
                (PeerAuthentication::Request, false),
                (PeerAuthentication::Require, true),
            ] {
                let [autonomous, directed] = [Mode::Autonomous, Mode::Directed]
                    .map(|mode| handshake(mode, version, group, authentication, has_certificate));
                assert_same(autonomous, directed);
            }
        }
    }
}

/// Every field is named, so that a new one is compared too.
fn assert_same(autonomous: Established, directed: Established) {
    let comparable = |established: Established| {
        let Established {
            version,
            suite,
            group,
            sequence,
            key_check,
            keys,
            peer,
            peer_scheme,
            alpn,
            server_name,
            keyring,
            resumed,
            tcp,
            // Times, of two handshakes.
            first_byte,
            installed,
        } = established;
        assert_eq!(peer_scheme.is_some(), peer.is_some());
        assert!(first_byte <= installed && installed > Instant::default());
        let (tx, rx) = keys.unwrap();
        let keys = [tx, rx].map(|key| {
            let bytes = [key.key.expose(), key.iv.expose()].map(<[u8]>::to_vec);
            (bytes, key.sequence)
        });
        (
            (version, suite, group, sequence, key_check, keys),
            (peer, peer_scheme, alpn, server_name, keyring, resumed, tcp),
        )
    };
    assert_eq!(comparable(autonomous), comparable(directed));
}

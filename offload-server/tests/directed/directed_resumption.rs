//! Tickets and resumption in directed mode (R33): against rustls as client, and
//! both roles against each other.

use std::sync::Arc;
use std::time::Duration;

use crate::client::{Client, ClientOptions, complete, established, failure};
use crate::tickets::hand_over;
use crate::world::director::audit;
use crate::world::{World, parameters, set_passed};
use ipc::bounded::{List, Text};
use ipc::control::{Established, HandshakeError, Parameters, PeerError};
use ipc::keystore::KeyKind;
use ipc::tls::{Mode, PeerAuthentication};
use rustls::{ClientConfig, HandshakeKind};
use tls::{Alert, Group, Version};

const RINGS: [(&str, &str, KeyKind); 1] = [("web", "localhost", KeyKind::EcdsaP256)];
const VERSIONS: [Version; 2] = [Version::Tls13, Version::Tls12];

fn resumable() -> Parameters {
    let mut asked = parameters(&["web"]);
    asked.resumption = true;
    asked.expose_keys = true;
    asked
}

// ---- As server, against rustls ----

fn options(version: Version, has_certificate: bool) -> ClientOptions {
    ClientOptions {
        versions: vec![match version {
            Version::Tls13 => &rustls::version::TLS13,
            Version::Tls12 => &rustls::version::TLS12,
        }],
        has_certificate,
        ..ClientOptions::default()
    }
}

/// A handshake with a client of this configuration, to its very end.
fn meet(world: &mut World, config: &Arc<ClientConfig>, asked: Parameters) -> (Established, Client) {
    world.start(0, asked);
    let mut client = Client::with(config.clone(), "localhost");
    let established = established(complete(world, 0, &mut client));
    client.receive(&world.exchange(0, &[]));
    assert!(
        client.is_done() && client.error.is_none(),
        "{:?}",
        client.error
    );
    (established, client)
}

fn is_resumed(client: &Client) -> bool {
    client.connection.handshake_kind() == Some(HandshakeKind::Resumed)
}

/// Both sides have the same keys.
fn assert_same_keys(established: &Established, client: Client) {
    let keys = established.keys.as_ref().unwrap();
    let kernel = client.connection.dangerous_into_kernel_connection();
    let (seen, _) = kernel.unwrap_or_else(|e| panic!("{e}"));
    for (ours, (sequence, secrets)) in [(&keys.0, seen.rx), (&keys.1, seen.tx)] {
        let rustls::ConnectionTrafficSecrets::Aes256Gcm { key, .. } = secrets else {
            panic!("another AEAD");
        };
        assert_eq!(ours.key.expose(), key.as_ref());
        assert_eq!(ours.sequence, sequence);
    }
}

#[test]
fn r33_a_client_comes_back_with_its_ticket_and_is_who_it_was() {
    for version in VERSIONS {
        for has_certificate in [false, true] {
            let mut world = World::directed(&RINGS);
            let mut asked = resumable();
            if has_certificate {
                asked.peer_authentication = PeerAuthentication::Require;
            }
            let config = Client::config(&world, &options(version, has_certificate));
            let (full, client) = meet(&mut world, &config, asked.clone());
            assert!(!full.resumed && !is_resumed(&client));
            assert_same_keys(&full, client);
            for _ in 0..3 {
                let (again, client) = meet(&mut world, &config, asked.clone());
                assert!(again.resumed && is_resumed(&client), "{version:?}");
                assert_same_keys(&again, client);
                assert_eq!(again.version, version);
                assert_eq!(again.suite, full.suite);
                assert_eq!(again.alpn, full.alpn);
                assert_eq!(again.server_name, full.server_name);
                assert_eq!(again.keyring, full.keyring);
                assert_eq!(again.group.is_some(), version == Version::Tls13);
                assert_eq!(again.peer, full.peer);
                assert_eq!(again.peer.is_some(), has_certificate);
            }
        }
    }
}

#[test]
fn r33_both_modes_report_the_same_of_a_session_that_is_resumed() {
    for version in VERSIONS {
        let [autonomous, directed] = [Mode::Autonomous, Mode::Directed].map(|mode| {
            let mut world = World::in_mode(mode, &RINGS);
            let mut asked = resumable();
            asked.peer_authentication = PeerAuthentication::Require;
            let config = Client::config(&world, &options(version, true));
            meet(&mut world, &config, asked.clone());
            let (again, _) = meet(&mut world, &config, asked);
            (
                again.version,
                again.suite,
                again.group,
                again.resumed,
                again.alpn,
                again.server_name,
                again.keyring,
                again.peer.map(|peer| peer.names),
            )
        });
        assert_eq!(autonomous, directed);
        assert!(directed.3);
    }
}

#[test]
fn r33_a_ticket_is_of_no_use_for_another_request() {
    for version in VERSIONS {
        let rings = [RINGS[0], ("mail", "mail.test", KeyKind::EcdsaP256)];
        let mut world = World::directed(&rings);
        let mut asked = resumable();
        let config = Client::config(&world, &options(version, false));
        meet(&mut world, &config, asked.clone());
        asked.peer_authentication = PeerAuthentication::Request;
        let (other, client) = meet(&mut world, &config, asked);
        assert!(!other.resumed && !is_resumed(&client));
    }
}

#[test]
fn r33_a_ticket_that_is_sent_again_is_not_taken_again() {
    for version in VERSIONS {
        let mut world = World::directed(&RINGS);
        let config = Client::config(&world, &options(version, false));
        meet(&mut world, &config, resumable());
        let hello = Client::with(config, "localhost").outgoing;
        let steps = |world: &mut World, slot| {
            audit();
            world.start(slot, resumable());
            world.exchange(slot, &hello);
            audit().join("\n")
        };
        let first = steps(&mut world, 0);
        assert!(first.contains(" resume 0 done"), "{first}");
        let second = steps(&mut world, 1);
        assert!(second.contains(" open-ticket 0 ticket"), "{second}");
        assert!(!second.contains(" resume "), "{second}");
        assert!(second.contains(" negotiate 0 done"), "{second}");
    }
}

#[test]
fn r33_a_binder_that_is_wrong_is_refused_with_decrypt_error() {
    let mut world = World::directed(&RINGS);
    let config = Client::config(&world, &options(Version::Tls13, false));
    meet(&mut world, &config, resumable());
    let mut hello = Client::with(config, "localhost").outgoing;
    *hello.last_mut().unwrap() ^= 1;
    world.start(0, resumable());
    world.exchange(0, &hello);
    let error = failure(world.completion().unwrap());
    let sent = HandshakeError::Peer(PeerError::AlertSent(Alert::DECRYPT_ERROR));
    assert_eq!(error, sent);
}

#[test]
fn r33_who_takes_ticket_after_ticket_leaves_one_for_everybody() {
    /// So many were all that there were in a quarter of an hour.
    const MANY: usize = 1 << 16;
    let mut world = World::directed(&RINGS);
    set_passed(Duration::ZERO);
    let config = Client::config(&world, &options(Version::Tls12, false));
    let mut without = 0;
    for _ in 0..MANY + 100 {
        let (established, _) = meet(&mut world, &config, resumable());
        world.close_sessions();
        without += usize::from(!established.resumed);
    }
    assert_eq!(without, 1, "but the first");
    for version in VERSIONS {
        let config = Client::config(&world, &options(version, false));
        for is_resumed in [false, true] {
            let (established, _) = meet(&mut world, &config, resumable());
            world.close_sessions();
            assert_eq!(established.resumed, is_resumed, "{version:?}");
        }
    }
}

#[test]
fn r33_where_resumption_is_off_no_ticket_is_given_or_opened() {
    for version in VERSIONS {
        let mut world = World::directed(&RINGS);
        let config = Client::config(&world, &options(version, false));
        meet(&mut world, &config, resumable());
        audit();
        let mut asked = resumable();
        asked.resumption = false;
        let (other, client) = meet(&mut world, &config, asked);
        assert!(!other.resumed && !is_resumed(&client));
        let steps = audit().join("\n");
        assert!(!steps.contains("-ticket "), "{steps}");
    }
}

// ---- Both roles against each other ----

/// What the client's side asks for.
fn outgoing(version: Version) -> Parameters {
    let mut asked = resumable();
    asked.versions = List::from_items([version]).unwrap();
    asked.server_name = Some(Text::from_text("localhost").unwrap());
    asked
}

/// Two shims, and how many sessions they have.
struct Pair {
    server: World,
    client: World,
    sessions: u16,
}

impl Pair {
    fn new() -> Self {
        Self {
            server: World::directed(&RINGS),
            client: World::directed(&RINGS),
            sessions: 0,
        }
    }

    /// One handshake: what each side established. Tickets that come after it
    /// are handed to the client's side as its record layer would.
    fn meet(&mut self, incoming: &Parameters, outgoing: &Parameters) -> [Established; 2] {
        self.server.start(0, incoming.clone());
        self.client.start_client(0, outgoing.clone());
        let (mut said, mut rest) = (Vec::new(), Vec::new());
        let (mut ours, mut theirs) = (None, None);
        for _ in 0..12 {
            let heard = self.client.exchange(0, &said);
            theirs = theirs.or_else(|| self.client.completion());
            said = self.server.exchange(0, &heard);
            ours = ours.or_else(|| self.server.completion());
            if theirs.is_some() {
                rest.append(&mut said);
            }
        }
        let both = [ours, theirs].map(|completion| established(completion.unwrap()));
        if both[1].version == Version::Tls13 {
            let (_, rx) = both[1].keys.as_ref().unwrap();
            // The first session of each slot.
            hand_over(&mut self.client, self.sessions, 1, both[1].suite, rx, &rest);
        }
        self.sessions += 1;
        both
    }
}

#[test]
fn r33_a_directed_client_resumes_with_a_directed_server() {
    for version in VERSIONS {
        for authentication in [PeerAuthentication::None, PeerAuthentication::Require] {
            let mut pair = Pair::new();
            let mut incoming = resumable();
            incoming.peer_authentication = authentication;
            let mut all = Vec::new();
            for resumed in [false, true, true, true] {
                let [server, client] = pair.meet(&incoming, &outgoing(version));
                assert_eq!(
                    (server.resumed, client.resumed),
                    (resumed, resumed),
                    "{version:?}"
                );
                assert_eq!(server.key_check.map(|(tx, rx)| (rx, tx)), client.key_check);
                assert!(client.peer.is_some());
                assert_eq!(
                    server.peer.is_some(),
                    authentication == PeerAuthentication::Require
                );
                all.push((server.peer, client.peer));
            }
            assert!(all.iter().all(|peers| *peers == all[0]));
        }
    }
}

#[test]
fn r33_a_hello_that_was_asked_for_again_resumes_too() {
    let mut pair = Pair::new();
    let mut incoming = resumable();
    incoming.groups = List::from_items([Group::Secp384r1]).unwrap();
    let mut asked = outgoing(Version::Tls13);
    asked.groups = List::from_items([Group::X25519, Group::Secp384r1]).unwrap();
    for resumed in [false, true] {
        audit();
        let [server, client] = pair.meet(&incoming, &asked);
        assert_eq!((server.resumed, client.resumed), (resumed, resumed));
        assert_eq!(server.group, Some(Group::Secp384r1));
        assert!(audit().join("\n").contains(" restart 0 done"));
    }
}

#[test]
fn r33_a_client_offers_its_session_to_servers_of_either_version() {
    // The server forgot the other version: the ticket is of no use, and no harm.
    for (first, then) in [
        (Version::Tls12, Version::Tls13),
        (Version::Tls13, Version::Tls12),
    ] {
        let mut pair = Pair::new();
        let mut asked = outgoing(first);
        asked.versions = List::from_items([Version::Tls13, Version::Tls12]).unwrap();
        for version in [first, then] {
            let mut incoming = resumable();
            incoming.versions = List::from_items([version]).unwrap();
            let [server, client] = pair.meet(&incoming, &asked);
            assert!(!server.resumed && !client.resumed);
            assert_eq!(client.version, version);
        }
    }
}

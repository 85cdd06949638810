//! A chain of resumed sessions ends (R33): when the certificate expires by which it began,
//! or a day after its full handshake.

use std::time::{Duration, SystemTime};

use crate::client::{Client, ClientOptions, complete, established, failure};
use crate::tickets::hand_over;
use crate::world::{World, authority, keyring, parameters, set_passed};
use ipc::bounded::{List, Text};
use ipc::control::{HandshakeError, Parameters, PeerError};
use ipc::handshake::Completion;
use ipc::keystore::KeyKind;
use ipc::tls::{Mode, PeerAuthentication};
use tls::{Alert, Role, Version};

const RING: (&str, &str, KeyKind) = ("web", "localhost", KeyKind::EcdsaP256);
const BOTH: [(Mode, Version); 4] = [
    (Mode::Autonomous, Version::Tls13),
    (Mode::Autonomous, Version::Tls12),
    (Mode::Directed, Version::Tls13),
    (Mode::Directed, Version::Tls12),
];
const EXPIRED: HandshakeError = HandshakeError::Peer(PeerError::AlertSent(Alert(45)));

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// A ticket is good for an hour: each is used in time.
const STEP: u64 = 50 * MINUTE;
/// More than there are steps in a day.
const SESSIONS: u16 = 40;

fn at(seconds: u64) {
    set_passed(Duration::from_secs(seconds));
}

fn in_hours(hours: u64) -> Option<SystemTime> {
    Some(SystemTime::now() + Duration::from_secs(hours * HOUR))
}

fn world(mode: Mode, not_after: Option<SystemTime>) -> World {
    at(0);
    let issuer = authority();
    let ring = keyring(RING, &issuer, issuer.der(), not_after);
    let world = World::with_keyrings(vec![ring], issuer, SESSIONS, SESSIONS);
    match mode {
        Mode::Autonomous => world,
        Mode::Directed => world.with_director(&[RING], SESSIONS, Vec::new()),
    }
}

fn resumable(version: Version) -> Parameters {
    let mut asked = parameters(&["web"]);
    asked.versions = List::from_items([version]).unwrap();
    asked.resumption = true;
    asked.expose_keys = true;
    asked
}

// ---- As server: rustls comes back with the tickets that it is given ----

fn comes_back(
    world: &mut World,
    config: &std::sync::Arc<rustls::ClientConfig>,
    asked: &Parameters,
) -> Completion {
    world.start(0, asked.clone());
    let mut client = Client::with(config.clone(), "localhost");
    let completion = complete(world, 0, &mut client);
    client.receive(&world.exchange(0, &[]));
    completion
}

#[test]
fn r33_a_client_is_not_resumed_once_its_certificate_has_expired() {
    for (mode, version) in BOTH {
        let mut world = world(mode, None);
        let mut asked = resumable(version);
        asked.peer_authentication = PeerAuthentication::Require;
        let options = ClientOptions {
            has_certificate: true,
            not_after: in_hours(3),
            ..ClientOptions::default()
        };
        let config = Client::config(&world, &options);
        for step in 0..=3 {
            at(step * STEP);
            let established = established(comes_back(&mut world, &config, &asked));
            assert_eq!(established.resumed, step > 0, "{mode:?} {version:?} {step}");
        }
        // Its ticket is half an hour old; a full handshake follows.
        at(3 * HOUR + MINUTE);
        let error = failure(comes_back(&mut world, &config, &asked));
        assert_eq!(error, EXPIRED, "{mode:?} {version:?}");
    }
}

#[test]
fn r33_a_client_is_not_resumed_a_day_after_its_full_handshake() {
    for (mode, version) in BOTH {
        for has_certificate in [false, true] {
            let mut world = world(mode, None);
            let mut asked = resumable(version);
            if has_certificate {
                asked.peer_authentication = PeerAuthentication::Require;
            }
            let options = ClientOptions {
                has_certificate,
                ..ClientOptions::default()
            };
            let config = Client::config(&world, &options);
            for step in 0..DAY.div_ceil(STEP) + 3 {
                at(step * STEP);
                let established = established(comes_back(&mut world, &config, &asked));
                let is_first = step == 0 || step == DAY.div_ceil(STEP);
                assert_eq!(
                    established.resumed, !is_first,
                    "{mode:?} {version:?} {step}"
                );
            }
        }
    }
}

// ---- As client ----

/// Two systems, and how many sessions they have had.
struct Pair {
    server: World,
    client: World,
    mode: Mode,
    sessions: u16,
}

impl Pair {
    fn new(mode: Mode, not_after: Option<SystemTime>) -> Self {
        Self {
            server: world(mode, not_after),
            client: world(mode, None),
            mode,
            sessions: 0,
        }
    }

    /// One handshake: what the client's side completed, and how long its hello was.
    fn meet(&mut self, version: Version) -> (Completion, usize) {
        let mut outgoing = resumable(version);
        outgoing.server_name = Some(Text::from_text("localhost").unwrap());
        self.server.start(0, resumable(version));
        self.client.start_as(0, Role::Client, outgoing);
        let (mut said, mut rest) = (Vec::new(), Vec::new());
        let mut theirs = None;
        let mut hello = 0;
        for _ in 0..12 {
            let heard = self.client.exchange(0, &said);
            hello = if hello == 0 { heard.len() } else { hello };
            theirs = theirs.or_else(|| self.client.completion());
            said = self.server.exchange(0, &heard);
            self.server.completion();
            if theirs.is_some() {
                rest.append(&mut said);
            }
        }
        let theirs = theirs.unwrap();
        if let (Version::Tls13, Completion::Established { established, .. }) = (version, &theirs) {
            let (_, rx) = established.keys.as_ref().unwrap();
            // As the tests' world and the shim number sessions.
            let (slot, generation) = match self.mode {
                Mode::Autonomous => (0, 9),
                Mode::Directed => (self.sessions, 1),
            };
            hand_over(
                &mut self.client,
                slot,
                generation,
                established.suite,
                rx,
                &rest,
            );
        }
        self.sessions += 1;
        (theirs, hello)
    }
}

#[test]
fn r33_a_session_is_not_offered_once_the_server_s_certificate_has_expired() {
    for (mode, version) in BOTH {
        let mut pair = Pair::new(mode, in_hours(3));
        let mut full = 0;
        for step in 0..=3 {
            at(step * STEP);
            let (completion, hello) = pair.meet(version);
            if step == 0 {
                full = hello;
            }
            assert_eq!(hello > full, step > 0, "{mode:?} {version:?} {step}");
            let established = established(completion);
            assert_eq!(established.resumed, step > 0, "{mode:?} {version:?} {step}");
        }
        at(3 * HOUR + MINUTE);
        let (completion, hello) = pair.meet(version);
        assert_eq!(hello, full, "{mode:?} {version:?}");
        assert_eq!(failure(completion), EXPIRED, "{mode:?} {version:?}");
    }
}

#[test]
fn r33_a_session_is_not_offered_a_day_after_its_full_handshake() {
    for (mode, version) in BOTH {
        let mut pair = Pair::new(mode, None);
        let mut full = 0;
        for step in 0..DAY.div_ceil(STEP) + 3 {
            at(step * STEP);
            let (completion, hello) = pair.meet(version);
            if step == 0 {
                full = hello;
            }
            let is_first = step == 0 || step == DAY.div_ceil(STEP);
            assert_eq!(hello == full, is_first, "{mode:?} {version:?} {step}");
            let established = established(completion);
            assert_eq!(
                established.resumed, !is_first,
                "{mode:?} {version:?} {step}"
            );
        }
    }
}

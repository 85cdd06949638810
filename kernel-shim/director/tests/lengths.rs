//! How long a peer's messages may be, and what of them comes here.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ipc::bounded::{Blob, List, Text};
use ipc::control::{HandshakeError, Parameters, PeerError};
use ipc::keystore::KeyKind;
use ipc::segment::{MAX_PART, Segment, Verdict};
use ipc::tls::PeerAuthentication;
use tls::{Alert, HandshakeType, Role, Version};

fn parameters() -> Box<Parameters> {
    Box::new(Parameters {
        versions: List::from_items([Version::Tls13]).unwrap(),
        suites: List::new(),
        allow_static_rsa: false,
        peer_schemes: List::new(),
        groups: List::new(),
        keyrings: List::from_items([Text::from_text("web").unwrap()]).unwrap(),
        peer_authentication: PeerAuthentication::None,
        server_name: Text::from_text("server.test").ok(),
        alpn: List::new(),
        segment_size: 1400,
        resumption: false,
        expose_keys: false,
    })
}

/// A machine whose first segment waits for the peer.
fn waiting(role: Role) -> director::Machine {
    let mut machine = director::Machine::new(role, parameters());
    let mut verdict = Verdict::Begun {
        rings: List::from_items([Some(KeyKind::EcdsaP256)]).unwrap(),
        schemes: List::new(),
        authorities: List::from_items([0]).unwrap(),
        staples: List::from_items([false]).unwrap(),
        session_id: [7; 32],
    };
    while !matches!(machine.advance(&verdict), Segment::Receive { .. }) {
        verdict = Verdict::Done;
    }
    machine
}

fn alert(segment: &Segment) -> Option<Alert> {
    match segment {
        Segment::Abort {
            alert: Some(alert),
            error: HandshakeError::Peer(PeerError::AlertSent(said)),
            ..
        } if alert == said => Some(*alert),
        _ => None,
    }
}

#[test]
fn the_type_of_a_message_is_looked_at_before_its_length() {
    for (role, expected) in [
        (Role::Server, HandshakeType::CLIENT_HELLO),
        (Role::Client, HandshakeType::SERVER_HELLO),
    ] {
        let told = |kind: HandshakeType| {
            let segment = waiting(role).advance(&Verdict::TooLong { kind: kind.0 });
            alert(&segment)
        };
        assert_eq!(told(expected), Some(Alert::DECODE_ERROR));
        let other = told(HandshakeType::CERTIFICATE);
        assert_eq!(other, Some(Alert::UNEXPECTED_MESSAGE));
    }
}

#[test]
fn a_chain_is_not_collected() {
    let mut machine = waiting(Role::Server);
    let first = |kind: HandshakeType| Verdict::Message {
        kind: kind.0,
        length: 40_000,
        part: Blob::from_slice(&[0; MAX_PART]).unwrap(),
    };
    // What is not expected is refused at once, for what it is.
    let segment = machine.advance(&first(HandshakeType::CERTIFICATE));
    assert_eq!(alert(&segment), Some(Alert::UNEXPECTED_MESSAGE));
    // And what would be collected has its limit.
    let segment = waiting(Role::Server).advance(&first(HandshakeType::CLIENT_HELLO));
    assert_eq!(alert(&segment), Some(Alert::DECODE_ERROR));
}

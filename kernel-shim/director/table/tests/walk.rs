//! Every state of the machines is visited, every transition that the picture shows is
//! taken, and what does not belong into a state ends the handshake.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::sync::LazyLock;

use director_table::{Next, Row, Walk, message as name, record, svg, text};
use image::workspace;
use ipc::control::{HandshakeError, PeerError, Resource};
use ipc::segment::{Segment, Verdict};
use tls::{Alert, Role};

static RECORD: LazyLock<(Vec<Row>, Vec<Walk>)> = LazyLock::new(record);

/// The enumerations of states, by their files in the director.
const STATES: [(&str, &str); 18] = [
    ("server", "State"),
    ("client", "State"),
    ("tls13_server", "State"),
    ("tls13_server/retry", "Retry"),
    ("tls13_server/tickets", "Resumption"),
    ("tls13_server/tickets", "NewTickets"),
    ("tls12_server", "State"),
    ("tls12_server/tickets", "Resumption"),
    ("tls12_server/tickets", "NewTicket"),
    ("tls13_client", "State"),
    ("tls13_client/retry", "Retry"),
    ("tls12_client", "State"),
    ("peer", "Chain"),
    ("peer", "Proof"),
    ("peer", "Finished"),
    ("own", "Flight"),
    ("own", "Finished"),
    ("key_agreement", "KeyAgreement"),
];

/// The states that the source of a machine names.
fn states(file: &str, name: &str) -> Vec<String> {
    let top = workspace::root().unwrap();
    let path = format!("kernel-shim/director/src/{file}.rs");
    let source = fs::read_to_string(top.join(&path)).unwrap();
    let begin = format!("pub(crate) enum {name} {{\n");
    let (_, body) = source
        .split_once(&begin)
        .unwrap_or_else(|| panic!("{path}"));
    let (body, _) = body.split_once("\n}").unwrap();
    let lines = body
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('/'));
    let end = |line: &str| line.find(['(', ',', ' ']).unwrap_or(line.len());
    lines.map(|line| line[..end(line)].into()).collect()
}

#[test]
fn every_state_of_the_machines_is_in_the_table() {
    let mut visited = BTreeSet::new();
    for row in &RECORD.0 {
        let next = match &row.next {
            Next::Place(next) => Some(next),
            Next::End => None,
        };
        for place in [Some(&row.from), next].into_iter().flatten() {
            let role = match row.role {
                Role::Server => "server",
                Role::Client => "client",
            };
            for name in place.state.split(' ') {
                visited.insert((role, format!("{:?}", place.stage), name.to_string()));
            }
        }
    }
    for (file, name) in STATES {
        for state in states(file, name) {
            // What has a column of its own.
            if matches!(&*state, "Tls13" | "Tls12") {
                continue;
            }
            let is_of = |role: &str, stage: &str| match file.split('/').next() {
                Some("server" | "client") => file == role && stage == "Hello",
                Some("tls13_server") => (role, stage) == ("server", "Tls13"),
                Some("tls12_server") => (role, stage) == ("server", "Tls12"),
                Some("tls13_client") => (role, stage) == ("client", "Tls13"),
                Some("tls12_client") => (role, stage) == ("client", "Tls12"),
                _ => true,
            };
            let mut visited = visited.iter();
            let is_visited =
                visited.any(|(role, stage, name)| is_of(role, stage) && *name == state);
            assert!(is_visited, "{file}: {name}::{state}");
        }
    }
}

#[test]
fn every_handshake_of_the_table_can_be_finished() {
    for role in [Role::Server, Role::Client] {
        let rows = RECORD.0.iter().filter(|row| row.role == role);
        let mut leads: Vec<_> = rows
            .clone()
            .filter(|row| row.output == "finish")
            .map(|row| &row.from)
            .collect();
        assert!(!leads.is_empty());
        // Back from there.
        loop {
            let known = leads.len();
            for row in rows.clone() {
                if let Next::Place(next) = &row.next
                    && leads.contains(&next)
                    && !leads.contains(&&row.from)
                {
                    leads.push(&row.from);
                }
            }
            if leads.len() == known {
                break;
            }
        }
        for row in rows {
            let is_last = row.output == "finish";
            let leads_on = match &row.next {
                Next::Place(next) => is_last || leads.contains(&next),
                Next::End => true,
            };
            assert!(leads_on && leads.contains(&&row.from), "{row:?}");
        }
    }
}

fn message(kind: u8) -> Verdict {
    Verdict::Message {
        kind,
        length: 0,
        part: ipc::bounded::Blob::from_slice(&[]).unwrap(),
    }
}

/// A way to each state.
fn ways() -> Vec<&'static Walk> {
    let mut ways: Vec<&Walk> = Vec::new();
    for walk in &RECORD.1 {
        let is_it = |way: &&Walk| (way.role(), &way.place) == (walk.role(), &walk.place);
        if !ways.iter().any(is_it) {
            ways.push(walk);
        }
    }
    ways
}

#[test]
fn a_message_that_a_state_does_not_name_is_unexpected() {
    let mut expected = 0;
    for way in ways() {
        let waits = matches!(way.segment, Some(Segment::Receive { .. }));
        for kind in 0..=u8::MAX {
            let is_named = RECORD.0.iter().any(|row| {
                let is_kind = row.input == name(kind)
                    || (row.input == "HelloRetryRequest" && name(kind) == "ServerHello");
                (row.role, &row.from) == (way.role(), &way.place) && is_kind
            });
            let (place, answer) = (&way.place, way.answer(&message(kind)));
            let error = match &answer {
                Segment::Abort { error, .. } => Some(*error),
                _ => None,
            };
            let unexpected = PeerError::AlertSent(Alert::UNEXPECTED_MESSAGE);
            let is_unexpected = error == Some(HandshakeError::Peer(unexpected));
            if !waits {
                // Nobody asked for a message.
                let internal = HandshakeError::Resource(Resource::Internal);
                assert_eq!(error, Some(internal), "{kind} in {place:?}");
            } else if is_named {
                // With nothing in it, it may end the handshake for that.
                assert!(!is_unexpected, "{kind} in {place:?}");
                expected += 1;
            } else {
                assert!(is_unexpected, "{kind} in {place:?}: {answer:?}");
            }
        }
    }
    assert!(expected > 20, "{expected}");
}

#[test]
fn a_verdict_that_refuses_ends_the_handshake_with_its_alert_in_every_state() {
    for walk in ways() {
        if walk.segment.is_none() {
            continue;
        }
        let segment = walk.answer(&Verdict::Refused(Alert::DECRYPT_ERROR));
        let Segment::Abort { alert, error, .. } = segment else {
            panic!("{:?}", walk.place);
        };
        assert_eq!(alert, Some(Alert::DECRYPT_ERROR));
        let expected = PeerError::AlertSent(Alert::DECRYPT_ERROR);
        assert_eq!(error, HandshakeError::Peer(expected));
    }
}

/// `HANDOFF_WRITE_PICTURE=1` redraws it.
#[test]
fn the_picture_in_docs_is_that_of_the_machines() {
    let path = workspace::root().unwrap().join("docs/directed.svg");
    let drawn = svg(&RECORD.0);
    if std::env::var_os("HANDOFF_WRITE_PICTURE").is_some() {
        fs::write(&path, &drawn).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap();
    assert!(kept == drawn, "draw it again: HANDOFF_WRITE_PICTURE=1");
}

#[test]
fn the_text_has_a_line_for_each_transition() {
    let text = text(&RECORD.0);
    let parts = 6;
    // A title, the names of the columns and an empty line for each part; what always holds.
    assert_eq!(text.lines().count(), RECORD.0.len() + 3 * parts + 2);
}

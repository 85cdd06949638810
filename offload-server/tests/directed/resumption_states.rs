//! Directed mode that resumes a session: each state against each message that does
//! not belong there, and ServerHellos that accept what was not offered (R33, R3).

use crate::script::{KINDS, SLOT, Script, ends_with, hole};
use crate::world::{World, parameters};
use ipc::bounded::{List, Text};
use ipc::control::Parameters;
use ipc::handshake::Completion;
use ipc::keystore::KeyKind;
use ipc::segment::{Fill, Segment, Verdict};
use tls::{Alert, Group, RecordLimit, Role};

fn asked(ring: &str) -> Parameters {
    let mut asked = parameters(&[ring]);
    asked.expose_keys = true;
    asked.resumption = true;
    asked
}

fn again(server: &mut World) {
    server.start(SLOT, asked("web"));
}

fn server() -> World {
    let mut world = World::directed(&[("web", "localhost", KeyKind::EcdsaP256)]);
    again(&mut world);
    world
}

/// How far a script goes, and which message belongs there.
type Stage = (&'static str, fn(&mut Script, &mut World), Option<u8>);

const SERVER_STAGES: [Stage; 3] = [
    (
        "1.3 finished",
        |script, server| script.resumed13(server, again),
        Some(20),
    ),
    (
        "1.2 change cipher spec",
        |script, server| script.resumed12(server, again),
        None,
    ),
    (
        "1.2 finished",
        |script, server| {
            script.resumed12(server, again);
            script.done(Segment::WriteChangeCipherSpec);
        },
        Some(20),
    ),
];

#[test]
fn r33_each_state_of_a_server_that_resumes_refuses_each_message_that_does_not_belong_there() {
    for (name, approach, expected) in SERVER_STAGES {
        for kind in KINDS.into_iter().filter(|kind| Some(*kind) != expected) {
            let (mut server, mut script) = (server(), Script::new());
            approach(&mut script, &mut server);
            script.write(kind, &[0, 0, 0], &[]);
            let case = format!("{name}: message {kind}");
            ends_with(&mut script, &mut server, Alert::UNEXPECTED_MESSAGE, &case);
        }
        if expected.is_some() {
            let (mut server, mut script) = (server(), Script::new());
            approach(&mut script, &mut server);
            script.write(20, &[7; 12], &[]);
            ends_with(&mut script, &mut server, Alert::DECRYPT_ERROR, name);
        }
    }
}

// ---- the client's states ----

fn start_client(client: &mut World) {
    let mut asked = asked("me");
    asked.server_name = Some(Text::from_text("server.test").unwrap());
    // The scripts know its shares alone.
    asked.groups = List::from_items([Group::X25519]).unwrap();
    client.start_client(SLOT, asked);
}

fn client() -> World {
    let mut world = World::directed(&[("me", "client", KeyKind::EcdsaP256)]);
    start_client(&mut world);
    world
}

/// A client that resumes with a ticket of TLS 1.3.
fn returns13(script: &mut Script, client: &mut World) {
    script.gives_ticket13(client);
    start_client(client);
}

/// The same with TLS 1.2.
fn returns12(script: &mut Script, client: &mut World) {
    script.promises_ticket12(client);
    script.gives_ticket12(client);
    start_client(client);
}

const CLIENT_STAGES: [Stage; 6] = [
    (
        "1.3 extensions",
        |script, client| {
            returns13(script, client);
            script.resumes13(client);
        },
        Some(8),
    ),
    (
        "1.3 finished",
        |script, client| {
            returns13(script, client);
            script.resumes13(client);
            script.write(8, &[0, 0], &[]);
        },
        Some(20),
    ),
    (
        "1.2 promised ticket",
        |script, client| script.promises_ticket12(client),
        Some(4),
    ),
    (
        "1.2 promised ticket of a resumed session",
        |script, client| {
            returns12(script, client);
            script.resumes12(client, 0xc02b);
        },
        Some(4),
    ),
    (
        "1.2 change cipher spec",
        |script, client| {
            returns12(script, client);
            script.resumes12(client, 0xc02b);
            script.new_ticket12();
        },
        None,
    ),
    (
        "1.2 finished",
        |script, client| {
            returns12(script, client);
            script.resumes12(client, 0xc02b);
            script.new_ticket12();
            script.done(Segment::WriteChangeCipherSpec);
        },
        Some(20),
    ),
];

#[test]
fn r33_each_state_of_a_client_that_resumes_refuses_each_message_that_does_not_belong_there() {
    for (name, approach, expected) in CLIENT_STAGES {
        for kind in KINDS.into_iter().filter(|kind| Some(*kind) != expected) {
            let (mut client, mut script) = (client(), Script::server());
            approach(&mut script, &mut client);
            script.write(kind, &[0, 0, 0], &[]);
            let case = format!("{name}: message {kind}");
            ends_with(&mut script, &mut client, Alert::UNEXPECTED_MESSAGE, &case);
        }
        if expected == Some(20) {
            let (mut client, mut script) = (client(), Script::server());
            approach(&mut script, &mut client);
            script.write(20, &[7; 12], &[]);
            ends_with(&mut script, &mut client, Alert::DECRYPT_ERROR, name);
        }
    }
}

#[test]
fn r33_a_server_hello_that_accepts_what_was_not_offered_is_refused() {
    for (suite, place, alert) in [
        // The second of one ticket (RFC 8446 §4.2.11).
        (0x1301, Some(1), Alert::ILLEGAL_PARAMETER),
        // A suite with another hash than the ticket's.
        (0x1302, Some(0), Alert::ILLEGAL_PARAMETER),
    ] {
        let (mut client, mut script) = (client(), Script::server());
        returns13(&mut script, &mut client);
        let hello = script.opens_ticket13(&mut client);
        script.resumed_hello13(&hello, suite, place);
        let case = format!("{suite:x}, {place:?}");
        ends_with(&mut script, &mut client, alert, &case);
    }
    // No ticket was offered.
    let (mut client, mut script) = (client(), Script::server());
    let hello = script.reads_hello13(&mut client);
    script.resumed_hello13(&hello, 0x1301, Some(0));
    ends_with(
        &mut script,
        &mut client,
        Alert::UNSUPPORTED_EXTENSION,
        "no ticket",
    );
    // RFC 5246 §7.4.1.3: there is no session of that identifier.
    let (mut client, mut script) = (self::client(), Script::server());
    let hello = script.reads_hello13(&mut client);
    let session_id = hello[35..67].to_vec();
    script.resumes_unoffered12(&session_id);
    ends_with(
        &mut script,
        &mut client,
        Alert::ILLEGAL_PARAMETER,
        "1.2 session",
    );
    // RFC 5246 §7.4.1.3: the suite is that of the session.
    let (mut client, mut script) = (self::client(), Script::server());
    returns12(&mut script, &mut client);
    script.resumes12(&mut client, 0xc02c);
    ends_with(
        &mut script,
        &mut client,
        Alert::ILLEGAL_PARAMETER,
        "1.2 suite",
    );
}

#[test]
fn a_hello_that_is_sent_again_for_its_cookie_keeps_its_share() {
    // RFC 8446 §4.1.2; a server asks for another share by naming its group.
    let mut script = Script::new();
    let mut shares = Vec::new();
    for group in [
        Group::X25519,
        Group::X25519,
        Group::Secp256r1,
        Group::X25519,
    ] {
        script.write(1, &[], &[hole(4, 0, Fill::KeyShare(group))]);
        script.send(Segment::Receive { limit: 9, show: 0 });
        let record = script.world.exchange(SLOT, &[22, 3, 3, 0, 4, 2, 0, 0, 0]);
        assert!(matches!(
            script.world.verdict(),
            Some(Verdict::Message { kind: 2, .. })
        ));
        shares.push(record[9..].to_vec());
    }
    assert_eq!(shares[0], shares[1]);
    assert_ne!(shares[0], shares[3]);
    assert_eq!(shares[2].len(), Group::Secp256r1.share_len(Role::Client));
}

#[test]
fn r33_the_scripts_finish_when_they_keep_to_the_protocol() {
    let (mut server, mut script) = (server(), Script::new());
    script.resumed13(&mut server, again);
    script.finished();
    script.finish();
    script.say(&mut server);
    assert!(established(&mut server).resumed);

    let (mut server, mut script) = (self::server(), Script::new());
    script.resumed12(&mut server, again);
    script.done(Segment::WriteChangeCipherSpec);
    script.finished();
    script.finish();
    script.say(&mut server);
    assert!(established(&mut server).resumed);

    let (mut client, mut script) = (client(), Script::server());
    returns13(&mut script, &mut client);
    script.resumes13(&mut client);
    script.write(8, &[0, 0], &[]);
    script.finished();
    script.done(Segment::Derive(
        ipc::segment::Stage::Application,
        RecordLimit::NONE,
    ));
    assert_eq!(script.read(&mut client).0, 20);
    assert!(established(&mut client).resumed);

    let (mut client, mut script) = (self::client(), Script::server());
    returns12(&mut script, &mut client);
    script.resumes12(&mut client, 0xc02b);
    script.new_ticket12();
    script.done(Segment::WriteChangeCipherSpec);
    script.finished();
    let changed = script.wait(Segment::ReceiveChangeCipherSpec, &mut client);
    assert_eq!(changed, Ok(Verdict::Done));
    assert_eq!(script.read(&mut client).0, 20);
    assert!(established(&mut client).resumed);
}

fn established(world: &mut World) -> Box<ipc::control::Established> {
    match world.completion() {
        Some(Completion::Established { established, .. }) => established,
        Some(Completion::Failed { error, .. }) => panic!("failed: {error:?}"),
        _ => panic!("no completion"),
    }
}

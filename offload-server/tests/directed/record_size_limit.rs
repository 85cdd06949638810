//! Directed mode: how long records may be, both sides say it and keep to it (RFC 8449).

use crate::script::{SLOT, Script, client_hello, ends_with, hole};
use crate::world::{World, parameters};
use ipc::bounded::{List, Text};
use ipc::handshake::Completion;
use ipc::keystore::KeyKind;
use ipc::record::Request;
use ipc::segment::{Fill, Hole, Segment, Stage};
use tls::{Alert, Group, RecordLimit};

/// Bytes before the length of the extensions of a hello with one suite.
const EXTENSIONS: usize = 9;
/// Bytes of a tag.
const TAG: usize = 16;
/// The type of a record that is protected, in TLS 1.3.
const PROTECTED: u8 = 23;

fn extension(said: u16) -> [u8; 6] {
    let [high, low] = said.to_be_bytes();
    [0, 28, 0, 2, high, low]
}

/// A ClientHello that says how long its records may be.
fn hello(suite: u16, version: u16, said: u16) -> (Vec<u8>, Vec<Hole>) {
    let (mut body, mut holes) = client_hello(&[suite], &[version], true);
    body.splice(EXTENSIONS + 2..EXTENSIONS + 2, extension(said));
    body[EXTENSIONS + 1] += 6;
    holes[1].offset += 6;
    (body, holes)
}

fn server() -> World {
    let mut server = World::directed(&[("web", "localhost", KeyKind::EcdsaP256)]);
    server.start(SLOT, parameters(&["web"]));
    server
}

/// The types and the lengths of the bodies of these records.
fn records(mut bytes: &[u8]) -> Vec<(u8, usize)> {
    let mut records = Vec::new();
    while let [kind, 3, 3, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        records.push((*kind, length));
        bytes = &rest[length..];
    }
    assert_eq!(bytes, [0; 0]);
    records
}

/// The protected records of TLS 1.3 are no longer than that, and some of them are as long.
fn are_cut(bytes: &[u8], said: usize) {
    let records = records(bytes);
    let protected = records.iter().filter(|(kind, _)| *kind == PROTECTED);
    let lengths: Vec<_> = protected.map(|(_, length)| *length).collect();
    assert_eq!(lengths.iter().max(), Some(&(said + TAG)), "{lengths:?}");
    assert!(lengths.len() > 3, "{lengths:?}");
}

/// What the record layer is told.
fn installed(world: &mut World) -> RecordLimit {
    let end = world.completion();
    assert!(matches!(end, Some(Completion::Established { .. })));
    let installed = world.installed.borrow();
    match installed[&SLOT].first() {
        Some(Request::Install { record_limit, .. }) => *record_limit,
        _ => panic!("no keys"),
    }
}

#[test]
fn a_server_of_tls_1_3_keeps_to_what_its_client_says() {
    let mut server = server();
    let mut script = Script::new();
    let (body, holes) = hello(0x1301, 0x0304, 64);
    script.write(1, &body, &holes);
    script.answered13(&mut server, false);
    are_cut(&script.heard, 64);
    script.finished();
    script.finish();
    script.say(&mut server);
    assert_eq!(installed(&mut server).plaintext(), 63);
}

#[test]
fn a_server_of_tls_1_2_answers_and_keeps_to_what_its_client_says() {
    let mut server = server();
    let mut script = Script::new();
    let (body, holes) = hello(0xc02b, 0x0303, 64);
    script.write(1, &body, &holes);
    let share = {
        let (kind, hello) = script.read(&mut server);
        assert_eq!(kind, 2);
        let extensions = &hello[2 + 32 + 1 + 2 + 1..];
        let expected = [&[0, 10, 0, 23, 0, 0][..], &extension(16_384)].concat();
        assert_eq!(extensions, expected);
        script.negotiate12(&hello);
        script.flight12(&mut server)
    };
    // What is not protected is as long as it is.
    let plain = records(&script.heard);
    assert!(plain.iter().any(|(_, length)| *length > 64), "{plain:?}");
    script.key_exchange12(&share);
    script.done(Segment::WriteChangeCipherSpec);
    script.finished();
    script.send(Segment::ReceiveChangeCipherSpec);
    script.say(&mut server);
    assert_eq!(installed(&mut server).plaintext(), 64);
}

#[test]
fn a_server_tells_a_client_nothing_that_says_nothing() {
    let mut server = server();
    let mut script = Script::new();
    script.hello13(&mut server);
    script.finished();
    script.finish();
    script.say(&mut server);
    assert_eq!(installed(&mut server), RecordLimit::NONE);
}

#[test]
fn a_server_refuses_a_client_that_says_less_than_it_may() {
    for (suite, version) in [(0x1301, 0x0304), (0xc02b, 0x0303)] {
        for said in [0, 63] {
            let mut server = server();
            let mut script = Script::new();
            let (body, holes) = hello(suite, version, said);
            script.write(1, &body, &holes);
            let case = format!("{version:#x}: {said}");
            ends_with(&mut script, &mut server, Alert::ILLEGAL_PARAMETER, &case);
        }
    }
}

// ---- as client ----

fn client() -> World {
    let mut world = World::directed(&[("me", "client", KeyKind::EcdsaP256)]);
    let mut asked = parameters(&["me"]);
    asked.server_name = Some(Text::from_text("server.test").unwrap());
    // The script knows its shares alone.
    asked.groups = List::from_items([Group::X25519]).unwrap();
    world.start_client(SLOT, asked);
    world
}

/// EncryptedExtensions with these.
fn extensions(list: &[[u8; 6]]) -> Vec<u8> {
    let list = list.concat();
    [&(list.len() as u16).to_be_bytes()[..], &list].concat()
}

#[test]
fn a_client_says_that_it_takes_all_and_keeps_to_what_its_server_says() {
    let mut client = client();
    let mut script = Script::server();
    script.server_hello13(&mut client);
    let own = extension(16_385);
    assert!(script.heard.windows(6).any(|part| part == own));
    script.write(8, &extensions(&[extension(64)]), &[]);
    script.write(13, &[0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3], &[]);
    script.certificate13();
    script.signature13();
    script.finished();
    script.done(Segment::Derive(Stage::Application, RecordLimit::NONE));
    script.heard.clear();
    let kinds = [(); 3].map(|()| script.read(&mut client).0);
    assert_eq!(kinds, [11, 15, 20]);
    are_cut(&script.heard, 64);
    assert_eq!(installed(&mut client).plaintext(), 63);
}

#[test]
fn a_client_of_tls_1_2_keeps_to_what_its_server_says() {
    let mut client = client();
    let mut script = Script::server();
    hello12(&mut script, &mut client, 64);
    script.certificate12();
    script.server_key_exchange12();
    script.client_flight12(&mut client);
    script.done(Segment::WriteChangeCipherSpec);
    script.finished();
    script.finish();
    script.say(&mut client);
    assert_eq!(installed(&mut client).plaintext(), 64);
}

/// As server of TLS 1.2: ClientHello, and a ServerHello that says this.
fn hello12(script: &mut Script, client: &mut World, said: u16) {
    let (kind, hello) = script.read(client);
    assert_eq!(kind, 1);
    script.negotiate12(&hello);
    let mut body = vec![3, 3, 0, 0xc0, 0x2b, 0, 0, 15, 0, 23, 0, 0, 0xff, 1, 0, 1, 0];
    body.extend(extension(said));
    script.write(2, &body, &[hole(6, 0, Fill::Random { downgraded: false })]);
}

#[test]
fn a_client_refuses_a_server_that_says_less_than_it_may_or_says_it_twice() {
    for list in [&[extension(63)][..], &[extension(64), extension(64)]] {
        let mut client = client();
        let mut script = Script::server();
        script.server_hello13(&mut client);
        script.write(8, &extensions(list), &[]);
        let case = format!("{list:?}");
        ends_with(&mut script, &mut client, Alert::ILLEGAL_PARAMETER, &case);
    }
    let mut client = client();
    let mut script = Script::server();
    hello12(&mut script, &mut client, 63);
    ends_with(
        &mut script,
        &mut client,
        Alert::ILLEGAL_PARAMETER,
        "TLS 1.2",
    );
}

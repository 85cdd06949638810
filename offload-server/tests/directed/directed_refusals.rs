//! Directed mode against a client's protocol violations: each state of the server against
//! each message, and errors in an expected message.

use crate::script::{KINDS, SLOT, Script, client_hello, ends_with};
use crate::world::{World, parameters};
use ipc::bounded::{List, Text};
use ipc::handshake::Completion;
use ipc::keystore::KeyKind;
use ipc::segment::Segment;
use ipc::tls::PeerAuthentication;
use tls::{Alert, Group};

fn server(authentication: PeerAuthentication) -> World {
    let mut world = World::directed(&[("web", "localhost", KeyKind::EcdsaP256)]);
    let mut asked = parameters(&["web"]);
    asked.peer_authentication = authentication;
    asked.expose_keys = true;
    world.start(SLOT, asked);
    world
}

/// How far a script goes before it says what does not belong there, and what
/// would have.
type Stage = (
    &'static str,
    PeerAuthentication,
    fn(&mut Script, &mut World),
    u8,
);

const NONE: PeerAuthentication = PeerAuthentication::None;
const REQUIRE: PeerAuthentication = PeerAuthentication::Require;

const STAGES: [Stage; 9] = [
    ("1.3 start", NONE, |_, _| {}, 1),
    (
        "1.3 client's finished",
        NONE,
        |script, server| {
            script.hello13(server);
        },
        20,
    ),
    (
        "1.3 client's certificate",
        REQUIRE,
        |script, server| {
            script.hello13(server);
        },
        11,
    ),
    (
        "1.3 client's signature",
        REQUIRE,
        |script, server| {
            script.hello13(server);
            script.certificate13();
        },
        15,
    ),
    (
        "1.3 client's finished after its signature",
        REQUIRE,
        |script, server| {
            script.hello13(server);
            script.certificate13();
            script.signature13();
        },
        20,
    ),
    (
        "1.2 key exchange",
        NONE,
        |script, server| {
            script.hello12(server);
        },
        16,
    ),
    (
        "1.2 client's certificate",
        REQUIRE,
        |script, server| {
            script.hello12(server);
        },
        11,
    ),
    (
        "1.2 change cipher spec",
        NONE,
        |script, server| {
            let share = script.hello12(server);
            script.key_exchange12(&share);
        },
        // No handshake message belongs there.
        0xff,
    ),
    (
        "1.2 client's finished",
        NONE,
        |script, server| {
            let share = script.hello12(server);
            script.key_exchange12(&share);
            script.done(Segment::WriteChangeCipherSpec);
        },
        20,
    ),
];

#[test]
fn r03_each_state_refuses_each_message_that_does_not_belong_there() {
    let mut cases = 0;
    for (name, authentication, approach, expected) in STAGES {
        for kind in KINDS.into_iter().filter(|kind| *kind != expected) {
            let mut server = server(authentication);
            let mut script = Script::new();
            approach(&mut script, &mut server);
            script.write(kind, &[0, 0, 0], &[]);
            let case = format!("{name}: message {kind}");
            ends_with(&mut script, &mut server, Alert::UNEXPECTED_MESSAGE, &case);
            cases += 1;
        }
    }
    assert_eq!(cases, 8 * 13 + 14);
}

// ---- the client's states ----

fn client() -> World {
    let mut world = World::directed(&[("me", "client", KeyKind::EcdsaP256)]);
    let mut asked = parameters(&["me"]);
    asked.server_name = Some(Text::from_text("server.test").unwrap());
    // The scripts know its shares alone.
    asked.groups = List::from_items([Group::X25519]).unwrap();
    world.start_client(SLOT, asked);
    world
}

/// How far a server's script goes, and what may come then.
type ClientStage = (&'static str, fn(&mut Script, &mut World), &'static [u8]);

const CLIENT_STAGES: [ClientStage; 11] = [
    (
        "server hello",
        |script, client| {
            script.read(client);
        },
        &[2],
    ),
    ("1.3 extensions", Script::server_hello13, &[8]),
    (
        "1.3 certificate or request",
        |script, client| {
            script.server_hello13(client);
            script.write(8, &[0, 0], &[]);
        },
        &[11, 13],
    ),
    (
        "1.3 certificate after a request",
        |script, client| {
            script.server_hello13(client);
            script.write(8, &[0, 0], &[]);
            script.write(13, &[0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3], &[]);
        },
        &[11],
    ),
    (
        "1.3 signature",
        |script, client| {
            script.server_hello13(client);
            script.write(8, &[0, 0], &[]);
            script.certificate13();
        },
        &[15],
    ),
    (
        "1.3 finished",
        |script, client| {
            script.server_hello13(client);
            script.write(8, &[0, 0], &[]);
            script.certificate13();
            script.signature13();
        },
        &[20],
    ),
    ("1.2 certificate", Script::server_hello12, &[11]),
    (
        "1.2 key exchange",
        |script, client| {
            script.server_hello12(client);
            script.certificate12();
        },
        &[12],
    ),
    (
        "1.2 request or done",
        |script, client| {
            script.server_hello12(client);
            script.certificate12();
            script.server_key_exchange12();
        },
        &[13, 14],
    ),
    (
        "1.2 change cipher spec",
        |script, client| {
            script.server_hello12(client);
            script.certificate12();
            script.server_key_exchange12();
            script.client_flight12(client);
        },
        &[],
    ),
    (
        "1.2 finished",
        |script, client| {
            script.server_hello12(client);
            script.certificate12();
            script.server_key_exchange12();
            script.client_flight12(client);
            script.done(Segment::WriteChangeCipherSpec);
        },
        &[20],
    ),
];

#[test]
fn r03_each_state_of_the_client_refuses_each_message_that_does_not_belong_there() {
    let mut cases = 0;
    for (name, approach, expected) in CLIENT_STAGES {
        for kind in KINDS.into_iter().filter(|kind| !expected.contains(kind)) {
            let mut client = client();
            let mut script = Script::server();
            approach(&mut script, &mut client);
            script.write(kind, &[0, 0, 0], &[]);
            let case = format!("{name}: message {kind}");
            ends_with(&mut script, &mut client, Alert::UNEXPECTED_MESSAGE, &case);
            cases += 1;
        }
    }
    assert_eq!(cases, 11 * 14 - 12);
}

#[test]
fn r28_a_servers_finished_whose_mac_is_wrong_is_refused() {
    let mut client = client();
    let mut script = Script::server();
    script.server_hello13(&mut client);
    script.write(8, &[0, 0], &[]);
    script.certificate13();
    script.signature13();
    script.write(20, &[7; 32], &[]);
    ends_with(&mut script, &mut client, Alert::DECRYPT_ERROR, "TLS 1.3");

    let mut client = self::client();
    let mut script = Script::server();
    script.server_hello12(&mut client);
    script.certificate12();
    script.server_key_exchange12();
    script.client_flight12(&mut client);
    script.done(Segment::WriteChangeCipherSpec);
    script.write(20, &[7; 12], &[]);
    ends_with(&mut script, &mut client, Alert::DECRYPT_ERROR, "TLS 1.2");
}

#[test]
fn r17_a_servers_signature_that_is_wrong_is_refused() {
    let mut client = client();
    let mut script = Script::server();
    script.server_hello13(&mut client);
    script.write(8, &[0, 0], &[]);
    script.certificate13();
    script.write(15, &[4, 3, 0, 4, 1, 2, 3, 4], &[]);
    ends_with(&mut script, &mut client, Alert::DECRYPT_ERROR, "TLS 1.3");

    let mut client = self::client();
    let mut script = Script::server();
    script.server_hello12(&mut client);
    script.certificate12();
    let mut exchange = vec![3, 0, 0x1d, 32];
    exchange.extend([9; 32]);
    exchange.extend([4, 3, 0, 4, 1, 2, 3, 4]);
    script.write(12, &exchange, &[]);
    ends_with(&mut script, &mut client, Alert::DECRYPT_ERROR, "TLS 1.2");
}

#[test]
fn a_signature_by_a_scheme_that_is_not_the_key_s_is_refused() {
    // rsa_pss_rsae_sha256 by a key of P-256.
    let signature = [8, 4, 0, 4, 1, 2, 3, 4];
    let mut server = server(REQUIRE);
    let mut script = Script::new();
    script.hello13(&mut server);
    script.certificate13();
    script.write(15, &signature, &[]);
    ends_with(&mut script, &mut server, Alert::ILLEGAL_PARAMETER, "client");

    let mut client = client();
    let mut script = Script::server();
    script.server_hello12(&mut client);
    script.certificate12();
    let exchange = [&[3, 0, 0x1d, 32][..], &[9; 32], &signature].concat();
    script.write(12, &exchange, &[]);
    ends_with(&mut script, &mut client, Alert::ILLEGAL_PARAMETER, "server");
}

#[test]
fn a_certificate_that_does_not_go_with_the_suite_is_refused() {
    let mut client = client();
    let mut script = Script::server();
    let (_, hello) = script.read(&mut client);
    script.done(Segment::Negotiate {
        suite: tls::CipherSuite::EcdheRsaAes128GcmSha256,
        peer_random: hello[2..34].try_into().unwrap(),
    });
    let body = [3, 3, 0, 0xc0, 0x2f, 0, 0, 4, 0, 23, 0, 0];
    let fill = ipc::segment::Fill::Random { downgraded: false };
    script.write(2, &body, &[crate::script::hole(6, 0, fill)]);
    script.certificate12();
    ends_with(&mut script, &mut client, Alert::ILLEGAL_PARAMETER, "ECDSA");
}

#[test]
fn a_message_of_the_next_flight_after_a_hello_is_refused() {
    for version in [0x0303, 0x0304] {
        let mut server = server(NONE);
        let mut script = Script::new();
        let (body, holes) = client_hello(&[0xc02b, 0x1301], &[version], true);
        script.write(1, &body, &holes);
        script.write(16, &[1], &[]);
        let case = format!("{version:#x}");
        ends_with(&mut script, &mut server, Alert::UNEXPECTED_MESSAGE, &case);
    }
}

#[test]
fn r03_the_script_finishes_when_it_keeps_to_the_protocol() {
    for authentication in [NONE, REQUIRE] {
        let mut server = server(authentication);
        let mut script = Script::new();
        let kinds = script.hello13(&mut server);
        let asks = authentication == REQUIRE;
        assert_eq!(kinds.contains(&13), asks);
        if asks {
            script.certificate13();
            script.signature13();
        }
        script.finished();
        script.finish();
        script.say(&mut server);
        let Some(Completion::Established { established, .. }) = server.completion() else {
            panic!("not established");
        };
        assert_eq!(established.peer.is_some(), asks);
        let Some(Completion::Established {
            established: ours, ..
        }) = script.completion()
        else {
            panic!("not established");
        };
        let (out, inward) = established.key_check.unwrap();
        assert_eq!(ours.key_check, Some((inward, out)));
    }
}

#[test]
fn r29_a_finished_whose_mac_is_wrong_is_refused() {
    for length in [0, 31, 32, 33] {
        let mut server = server(NONE);
        let mut script = Script::new();
        script.hello13(&mut server);
        script.write(20, &vec![7; length], &[]);
        let case = format!("{length} bytes");
        ends_with(&mut script, &mut server, Alert::DECRYPT_ERROR, &case);
    }
    let mut server = server(NONE);
    let mut script = Script::new();
    let share = script.hello12(&mut server);
    script.key_exchange12(&share);
    script.done(Segment::WriteChangeCipherSpec);
    script.write(20, &[7; 12], &[]);
    ends_with(&mut script, &mut server, Alert::DECRYPT_ERROR, "TLS 1.2");
}

#[test]
fn r25_a_signature_that_is_wrong_is_refused() {
    let mut server = server(REQUIRE);
    let mut script = Script::new();
    script.hello13(&mut server);
    script.certificate13();
    script.write(15, &[4, 3, 0, 4, 1, 2, 3, 4], &[]);
    ends_with(&mut script, &mut server, Alert::DECRYPT_ERROR, "garbage");
}

#[test]
fn r16_a_certificate_message_that_is_malformed_is_refused() {
    for (body, alert) in [
        (&[][..], Alert::DECODE_ERROR),
        (&[0, 0, 0], Alert::DECODE_ERROR),
        (&[1, 9, 0, 0, 0], Alert::ILLEGAL_PARAMETER),
        (&[0, 0, 0, 1, 0], Alert::DECODE_ERROR),
        (&[0, 0, 0, 0, 0], Alert::DECODE_ERROR),
        (&[0, 0, 0, 3, 0, 0, 0], Alert::DECODE_ERROR),
        (&[0, 0, 0, 6, 0, 0, 1, 0x30, 0, 0], Alert(42)),
        (&[0, 0, 0, 0], Alert::CERTIFICATE_REQUIRED),
    ] {
        let mut server = server(REQUIRE);
        let mut script = Script::new();
        script.hello13(&mut server);
        script.write(11, body, &[]);
        let case = format!("{body:?}");
        ends_with(&mut script, &mut server, alert, &case);
    }
}

#[test]
fn r05_a_server_hello_answers_no_extension_that_was_not_sent() {
    let mut server = server(NONE);
    let mut script = Script::new();
    let (body, holes) = client_hello(&[0xc02b], &[0x0303], true);
    script.write(1, &body, &holes);
    let (kind, hello) = script.read(&mut server);
    assert_eq!(kind, 2);
    // Version, random, no session, suite, compression: then the extensions.
    let extensions = &hello[2 + 32 + 1 + 2 + 1..];
    assert_eq!(extensions, [0, 4, 0, 23, 0, 0]);
}

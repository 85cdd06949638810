//! What a line of the log can be made to say.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use ipc::bounded::{Bytes, Text};
use ipc::clock::Instant;
use ipc::control::{Established, PeerIdentity, SessionId};
use ipc::net::TcpPosition;
use tls::CipherSuite;

use super::*;

const HOSTILE: &str = "a\r\ngateway: handshake ok x \" server_name=b\u{2028}\u{1b}[2J";

const TEXT: Style = Style(LogFormat::Text);
const JSON: Style = Style(LogFormat::Json);

fn line(server_name: &str, alpn: &[u8], text: &str, role: Role) -> String {
    styled(TEXT, server_name, alpn, text, role)
}

fn styled(style: Style, server_name: &str, alpn: &[u8], text: &str, role: Role) -> String {
    let result = SessionResult {
        session: SessionId(1),
        slot: 0,
        established: Box::new(Established {
            version: Version::Tls13,
            suite: CipherSuite::Aes128GcmSha256,
            group: None,
            sequence: (0, 0),
            key_check: None,
            keys: None,
            peer: Some(PeerIdentity {
                fingerprint: [7; 32],
                certificate_len: 300,
                subject: Text::from_text(text).unwrap(),
                common_name: Text::default(),
                names: Text::from_text(text).unwrap(),
            }),
            alpn: Some(Bytes::from_slice(alpn).unwrap()),
            server_name: Some(Text::from_text(server_name).unwrap()),
            keyring: Text::from_text("web").unwrap(),
            resumed: false,
            peer_scheme: None,
            tcp: TcpPosition::default(),
            first_byte: Instant::default(),
            installed: Instant::default(),
        }),
        shim_wakeups: 0,
        tcp: TcpPosition::default(),
        started: Instant::default(),
        completed: Instant::default(),
    };
    let success = Success {
        listener: text,
        remote: Address("10.0.2.2:7".parse().unwrap()),
        agreed: Agreed {
            style,
            mode: Mode::Directed,
            role,
            result: &result,
        },
    };
    format!("{success}")
}

#[test]
fn no_value_continues_a_line_into_another_or_itself_into_the_next() {
    let good = line("a.test", b"h2", "plain", Role::Server);
    assert!(good.contains(" server_name=a.test "), "{good}");
    let words = good.split(' ').count();
    let alpn = b"x\ny server_name=b.test";
    let found = line(HOSTILE, alpn, HOSTILE, Role::Server);
    assert!(
        found.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
        "{found}"
    );
    assert!(!found.contains('"') || found.contains("\\\""), "{found}");
    // One word less: the server's name is nothing.
    assert_eq!(found.split(' ').count(), words - 1, "{found}");
    assert!(!found.contains(" server_name="), "{found}");
    let failure = Failure {
        style: TEXT,
        listener: HOSTILE,
        remote: Address("10.0.2.2:7".parse().unwrap()),
        role: Role::Server,
        failure: HandshakeError::Cancelled.into(),
    };
    let failure = format!("{failure}");
    assert!(failure.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    assert_eq!(failure.split(' ').count(), 6, "{failure}");
}

#[test]
fn no_name_that_a_client_asks_for_hides_its_certificate() {
    let long = [
        "a".repeat(63),
        "b".repeat(63),
        "c".repeat(63),
        "d".repeat(61),
    ]
    .join(".");
    let line = line(&long, b"h2", "plain", Role::Server);
    let (_, agreed) = line
        .split_once("autonomous")
        .or(line.split_once("directed"))
        .unwrap();
    let kept = crate::relay::Agreed::new(format_args!("TLSv1.3 x directed{agreed}"));
    let kept = kept.as_str();
    assert!(
        kept.len() <= crate::relay::Agreed::MOST && kept.ends_with('~'),
        "{kept}"
    );
    assert!(
        kept.contains(&"07".repeat(32)) && kept.contains(" subject=plain"),
        "{kept}"
    );
    assert_eq!(
        crate::relay::Agreed::new(format_args!("a {}", 7)).as_str(),
        "a 7"
    );
}

#[test]
fn an_address_is_a_backend_s_name_and_no_client_s() {
    assert!(line("::1", b"x", "", Role::Client).contains(" server_name=::1 "));
    assert!(!line("::1", b"x", "", Role::Server).contains("server_name"));
}

/// What the monitor makes of a line.
fn members(line: &str) -> serde_json::Value {
    let mut buffer = [0; init::json::MOST];
    let line = init::json::line(&mut buffer, b"", b"gateway", line.as_bytes());
    serde_json::from_slice(line).unwrap()
}

fn address() -> Address {
    Address("[2001:db8::1]:7".parse().unwrap())
}

#[test]
fn json_has_every_value_of_a_handshake_as_it_was() {
    let told = members(&styled(JSON, "a.test", b"x\"y", HOSTILE, Role::Server));
    assert_eq!(told["message"], "handshake ok");
    assert_eq!(told["listener"], HOSTILE.replace(' ', "+"));
    assert_eq!(told["remote"], "10.0.2.2:7");
    assert_eq!(told["version"], "TLSv1.3");
    assert_eq!(told["mode"], "directed");
    assert_eq!(told["handshake_us"], 0);
    assert_eq!(told["session"], 1);
    assert_eq!(told["resumed"], false);
    assert_eq!(told["subject"], HOSTILE.replace(' ', "+"));
    assert_eq!(told["alpn"], "x\"y");
    assert_eq!(told["server_name"], "a.test");
    assert_eq!(told["shim_wakeups"], 0);
}

#[test]
fn json_has_every_value_of_a_session_s_end_also_where_what_was_agreed_on_is_cut() {
    let agreed = styled(JSON, "a.test", b"h2", "s", Role::Server);
    let (_, agreed) = agreed.split_once(" version=").unwrap();
    let long = ["b"; 8].map(|part| part.repeat(60)).join(".");
    for cut in 0..80 {
        let padding = "c".repeat(cut);
        let words = format_args!("version={agreed} pad={padding} server_name={long}");
        let kept = crate::relay::Agreed::new(words);
        let ended = Ended {
            style: JSON,
            listener: "web",
            remote: address(),
            agreed: Some(kept.as_str()),
            rule: Some(2),
            backend: None,
            bytes: (7, 8),
            duration: Duration::from_millis(9),
            ending: Ending {
                by: Side::Client,
                why: Why::Closed,
            },
        };
        let told = members(&format!("{ended}"));
        assert_eq!(told["message"], "session ended", "{cut}");
        assert_eq!(told["listener"], "web");
        assert_eq!(told["remote"], "[2001:db8::1]:7");
        assert_eq!((&told["session"], &told["rule"]), (&1.into(), &2.into()));
        assert_eq!(told["backend"], "status");
        let counts = ["up", "down", "ms"].map(|name| told[name].as_u64());
        assert_eq!(counts, [Some(7), Some(8), Some(9)]);
        assert_eq!(
            (&told["by"], &told["why"]),
            (&"client".into(), &"closed".into())
        );
    }
}

#[test]
fn json_has_the_reason_of_a_failure_and_what_was_said() {
    let failure = |role, error| {
        members(&format!(
            "{}",
            Failure {
                style: JSON,
                listener: "a b",
                remote: address(),
                role,
                failure: control::Failure {
                    error,
                    cause: Some(control::Cause::OldVersion),
                },
            }
        ))
    };
    let sent = HandshakeError::Peer(PeerError::AlertSent(tls::Alert::PROTOCOL_VERSION));
    let told = failure(Role::Server, sent);
    assert_eq!(told["message"], "handshake failed");
    assert_eq!(told["alert_sent"], "protocol_version");
    assert_eq!(told["reason"], "old_version");
    assert_eq!(
        (&told["listener"], &told["role"]),
        (&"a+b".into(), &().into())
    );
    let told = failure(Role::Client, HandshakeError::Peer(PeerError::Closed));
    assert_eq!(
        (&told["role"], &told["reason"]),
        (&"client".into(), &"closed".into())
    );
    let unreached = Unreached {
        style: JSON,
        listener: "web",
        backend: address(),
        why: Why::Unanswered,
    };
    let told = members(&format!("{unreached}"));
    assert_eq!(told["message"], "backend failed");
    assert_eq!(told["backend"], "[2001:db8::1]:7");
    assert_eq!(told["reason"], "backend_timeout");
}

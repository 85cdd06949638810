//! One line for each session at its end, one for each handshake that comes to nothing, and
//! one for each that succeeds, where the configuration asks for it.

use core::fmt::{self, Write as _};
use core::net::IpAddr;
use core::time::Duration;

use ipc::control::{self, HandshakeError, PeerError, SessionResult};
use ipc::net::Address;
use ipc::provision::LogFormat;
use ipc::tls::Mode;
use tls::{Role, Version, is_dns_name};

use crate::reason::Reason;

/// The name of a version as OpenSSL prints it.
pub(crate) const fn version_name(version: Version) -> &'static str {
    match version {
        Version::Tls12 => "TLSv1.2",
        Version::Tls13 => "TLSv1.3",
    }
}

pub(crate) const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Autonomous => "autonomous",
        Mode::Directed => "directed",
    }
}

/// How a line says its values: in a log of text the first few have no name; where the monitor
/// makes JSON of it (`image/init/src/json.rs`) each has one, and numbers are told from texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style(pub(crate) LogFormat);

impl Style {
    /// A value whose name stands before it in JSON alone.
    pub(crate) fn bare(
        self,
        f: &mut fmt::Formatter<'_>,
        name: &str,
        value: &dyn fmt::Display,
    ) -> fmt::Result {
        match self.0 {
            LogFormat::Text => write!(f, " {value}"),
            LogFormat::Json => write!(f, " {name}={value}"),
        }
    }

    /// Between a name and a number, or `true` and `false`.
    pub(crate) const fn is(self) -> &'static str {
        match self.0 {
            LogFormat::Text => "=",
            LogFormat::Json => ":=",
        }
    }
}

/// What was agreed on, as words `name=value` after the first few, for programs; nothing here
/// is secret.
pub(crate) struct Agreed<'a> {
    pub(crate) style: Style,
    pub(crate) mode: Mode,
    pub(crate) role: Role,
    pub(crate) result: &'a SessionResult,
}

impl Agreed<'_> {
    /// The name that the client asked for, or that this system did: a DNS name, or an
    /// address, or nothing.
    fn server_name(&self) -> Option<&str> {
        let name: &str = self.result.established.server_name.as_ref()?;
        let is_address = self.role == Role::Client && name.parse::<IpAddr>().is_ok();
        (is_dns_name(name) || is_address).then_some(name)
    }
}

impl fmt::Display for Agreed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = self.result;
        let agreed = &result.established;
        let (version, suite) = (version_name(agreed.version), agreed.suite.name());
        let mode = mode_name(self.mode);
        let micros = (result.completed - result.started).as_micros();
        match self.style.0 {
            LogFormat::Text => write!(f, "{version} {suite} {mode} {micros} us"),
            LogFormat::Json => write!(
                f,
                "version={version} suite={suite} mode={mode} handshake_us:={micros}"
            ),
        }?;
        let (is, session, resumed) = (self.style.is(), result.session.0, agreed.resumed);
        write!(f, " session{is}{session} resumed{is}{resumed}")?;
        if let Some(group) = agreed.group {
            write!(f, " group={}", group.name())?;
        }
        write!(f, " keyring={}", Word(&agreed.keyring))?;
        if self.role == Role::Client {
            f.write_str(" role=client")?;
        }
        // Before what a client can make as long as it likes: the end may be cut off.
        if let Some(peer) = &agreed.peer {
            write!(f, " peer={}", Hex(&peer.fingerprint))?;
            // A value has no space in it: a plus replaces it.
            write!(f, " subject={}", Word(&peer.subject))?;
        }
        if let Some(alpn) = &agreed.alpn {
            let name = core::str::from_utf8(alpn).unwrap_or("?");
            write!(f, " alpn={}", Word(name))?;
        }
        if let Some(name) = self.server_name() {
            write!(f, " server_name={name}")?;
        }
        Ok(())
    }
}

/// A handshake that succeeded, with what only somebody who looks closely wants to know.
pub(crate) struct Success<'a> {
    pub(crate) listener: &'a str,
    pub(crate) remote: Address,
    pub(crate) agreed: Agreed<'a>,
}

impl fmt::Display for Success<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = self.agreed.result;
        let agreed = &result.established;
        f.write_str("handshake ok")?;
        let style = self.agreed.style;
        style.bare(f, "listener", &Word(self.listener))?;
        style.bare(f, "remote", &self.remote.0)?;
        write!(f, " {}", self.agreed)?;
        if let Some(peer) = &agreed.peer {
            write!(f, " names={}", Word(&peer.names))?;
        }
        let (tx, rx) = agreed.sequence;
        write!(f, " sequence={tx}/{rx}")?;
        if let Some((tx, rx)) = &agreed.key_check {
            write!(f, " keys={}/{}", Hex(tx), Hex(rx))?;
        }
        let tcp = result.tcp;
        write!(f, " tcp={}/{}", tcp.tx_next, tcp.rx_next)?;
        let exposed = if agreed.keys.is_some() { "yes" } else { "no" };
        let wakeups = result.shim_wakeups;
        write!(f, " exposed={exposed} shim_wakeups{}{wakeups}", style.is())
    }
}

/// A client and its backend, when they are over.
pub(crate) struct Ended<'a> {
    pub(crate) style: Style,
    pub(crate) listener: &'a str,
    pub(crate) remote: Address,
    /// What was agreed on with the client ([`Agreed`]); `None` without TLS.
    pub(crate) agreed: Option<&'a str>,
    /// The rule that was the client's, counted from one.
    pub(crate) rule: Option<usize>,
    /// `None` for the status page.
    pub(crate) backend: Option<Address>,
    /// From the client, and to it.
    pub(crate) bytes: (u64, u64),
    /// Since the client was accepted.
    pub(crate) duration: Duration,
    pub(crate) ending: Ending,
}

impl fmt::Display for Ended<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("session ended")?;
        self.style.bare(f, "listener", &Word(self.listener))?;
        self.style.bare(f, "remote", &self.remote.0)?;
        match (self.agreed, self.style.0) {
            (Some(agreed), LogFormat::Text) => write!(f, " {agreed}"),
            (Some(agreed), LogFormat::Json) => write!(f, " {}", whole_words(agreed)),
            (None, LogFormat::Text) => f.write_str(" plaintext"),
            (None, LogFormat::Json) => f.write_str(" version=plaintext"),
        }?;
        let is = self.style.is();
        if let Some(rule) = self.rule {
            write!(f, " rule{is}{rule}")?;
        }
        match self.backend {
            Some(backend) => write!(f, " backend={}", backend.0)?,
            None => f.write_str(" backend=status")?,
        }
        let ((up, down), ms) = (self.bytes, self.duration.as_millis());
        write!(f, " up{is}{up} down{is}{down} ms{is}{ms} {}", self.ending)
    }
}

/// Without a last word whose name was cut off ([`relay::Agreed`](crate::relay::Agreed)).
fn whole_words(agreed: &str) -> &str {
    match agreed.rsplit_once(' ') {
        Some((before, last)) if last.ends_with('~') && !last.contains('=') => before,
        _ => agreed,
    }
}

/// A backend that could not be had.
pub(crate) struct Unreached<'a> {
    pub(crate) style: Style,
    pub(crate) listener: &'a str,
    pub(crate) backend: Address,
    pub(crate) why: Why,
}

impl fmt::Display for Unreached<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("backend failed")?;
        self.style.bare(f, "listener", &Word(self.listener))?;
        self.style.bare(f, "backend", &self.backend.0)?;
        self.style.bare(f, "reason", &self.why.name())
    }
}

/// Who ended a relay, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) by: Side,
    pub(crate) why: Why,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by {
            Side::Client => "client",
            Side::Backend => "backend",
            Side::Gateway => "gateway",
        };
        write!(f, "by={by} why={}", self.why.name())
    }
}

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Downstream.
    Client,
    /// Upstream, the status page too.
    Backend,
    /// This system.
    Gateway,
}

/// Why a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// All was passed on, the end of both directions too.
    Closed,
    /// One end was cut off: a reset, an alert, a missing `close_notify`.
    Reset,
    /// No byte moved for `idle_timeout_ms`.
    Idle,
    /// What was left was not taken within `linger_timeout_ms`.
    Linger,
    /// No request within `request_timeout_ms`, or its answer was not taken in time.
    Request,
    /// The backend refused the connection, or there is no way to it.
    Refused,
    /// The backend did not answer within `connect_timeout_ms`.
    Unanswered,
    /// The handshake with the backend came to nothing.
    Handshake,
    /// The client has as much as its limits allow.
    Limit,
    /// There was no room.
    Room,
    /// Others needed the place of one that had said nothing, or took too long.
    Displaced,
    /// This system refused or ended the handshake with the backend: rights, tables, a
    /// domain that was restarted.
    Internal,
    /// Another domain wrote what can't be.
    Misbehaved,
}

impl Why {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Idle => "idle",
            Self::Linger => "linger",
            Self::Request => "request_timeout",
            Self::Refused => "backend_refused",
            Self::Unanswered => "backend_timeout",
            Self::Handshake => "backend_handshake",
            Self::Limit => "limit",
            Self::Room => "no_room",
            Self::Displaced => "displaced",
            Self::Internal => "internal",
            Self::Misbehaved => "misbehaved",
        }
    }
}

/// A handshake that failed.
pub(crate) struct Failure<'a> {
    pub(crate) style: Style,
    pub(crate) listener: &'a str,
    pub(crate) remote: Address,
    /// This side's.
    pub(crate) role: Role,
    pub(crate) failure: control::Failure,
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("handshake failed")?;
        self.style.bare(f, "listener", &Word(self.listener))?;
        self.style.bare(f, "remote", &self.remote.0)?;
        match self.style.0 {
            LogFormat::Text => write!(f, " {}", What(self.failure.error)),
            LogFormat::Json => match self.failure.error {
                HandshakeError::Peer(PeerError::AlertSent(alert)) => {
                    write!(f, " alert_sent={}", alert.name())
                }
                HandshakeError::Peer(PeerError::AlertReceived(alert)) => {
                    write!(f, " alert_received={}", alert.name())
                }
                // The reason tells.
                _ => Ok(()),
            },
        }?;
        if self.role == Role::Client {
            f.write_str(" role=client")?;
        }
        write!(f, " reason={}", Reason::of(&self.failure).name())
    }
}

/// An error as text.
struct What(HandshakeError);

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            HandshakeError::Peer(PeerError::AlertSent(alert)) => {
                write!(f, "peer: alert sent: {}", alert.name())
            }
            HandshakeError::Peer(PeerError::AlertReceived(alert)) => {
                write!(f, "peer: alert received: {}", alert.name())
            }
            HandshakeError::Peer(what) => write!(f, "peer: {what:?}"),
            HandshakeError::Request(what) => write!(f, "request: {what:?}"),
            HandshakeError::Policy(what) => write!(f, "policy: {what:?}"),
            HandshakeError::Resource(what) => write!(f, "resource: {what:?}"),
            HandshakeError::Cancelled => f.write_str("cancelled"),
            HandshakeError::ServerRestarted => f.write_str("server restarted"),
        }
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Text as one word of printable ASCII without quotes, from any source: no line can be
/// continued into another, and no value into the next.
pub(crate) struct Word<'a>(pub(crate) &'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            ' ' => f.write_char('+'),
            c => write!(f, "{}", c.escape_default()),
        })
    }
}

#[cfg(test)]
mod tests {
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
}

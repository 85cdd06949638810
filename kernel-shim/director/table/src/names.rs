//! What states, messages and segments are called in the table.

use std::fmt::{self, Debug};

use ipc::segment::{Fill, Segment, Template, Verdict};
use tls::server_hello::RETRY;
use tls::{Alert, HandshakeType, Role};

/// Bytes of a message's type and length.
const MESSAGE_HEADER: usize = 4;

/// A part of a handshake that has states of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before the version is agreed on.
    Hello,
    /// TLS 1.3.
    Tls13,
    /// TLS 1.2.
    Tls12,
}

impl Stage {
    pub(crate) const ALL: [Self; 3] = [Self::Hello, Self::Tls13, Self::Tls12];
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello => "before the version",
            Self::Tls13 => "TLS 1.3",
            Self::Tls12 => "TLS 1.2",
        })
    }
}

/// A state, without what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which machine it is of.
    pub stage: Stage,
    /// The names of the state and of those of sub-scripts within it.
    pub state: String,
}

impl Place {
    /// Of a machine's state: the names that its `Debug` has before anything else.
    pub(crate) fn of(state: &dyn Debug) -> Self {
        let text = format!("{state:?}");
        let mut names: Vec<&str> = Vec::new();
        for part in text.split(['(', ',', ')']) {
            // A number, or fields with their names: what a state holds.
            let is_name = part.starts_with(|c: char| c.is_ascii_uppercase()) && !part.contains(' ');
            if !is_name || matches!(part, "Some" | "None") {
                break;
            }
            // A state that is a type of its own is named twice.
            if names.last().is_none_or(|last| !part.ends_with(last)) {
                names.push(part);
            }
        }
        let names = match names.as_slice() {
            ["Server" | "Client", rest @ ..] => rest,
            names => names,
        };
        let (stage, names) = match names {
            ["Tls13", rest @ ..] => (Stage::Tls13, rest),
            ["Tls12", rest @ ..] => (Stage::Tls12, rest),
            names => (Stage::Hello, names),
        };
        Self {
            stage,
            state: names.join(" "),
        }
    }
}

/// Every message that a peer can send.
pub(crate) const MESSAGES: [(HandshakeType, &str); 13] = [
    (HandshakeType::HELLO_REQUEST, "HelloRequest"),
    (HandshakeType::CLIENT_HELLO, "ClientHello"),
    (HandshakeType::SERVER_HELLO, "ServerHello"),
    (HandshakeType::NEW_SESSION_TICKET, "NewSessionTicket"),
    (HandshakeType::ENCRYPTED_EXTENSIONS, "EncryptedExtensions"),
    (HandshakeType::CERTIFICATE, "Certificate"),
    (HandshakeType::CERTIFICATE_STATUS, "CertificateStatus"),
    (HandshakeType::SERVER_KEY_EXCHANGE, "ServerKeyExchange"),
    (HandshakeType::CERTIFICATE_REQUEST, "CertificateRequest"),
    (HandshakeType::SERVER_HELLO_DONE, "ServerHelloDone"),
    (HandshakeType::CERTIFICATE_VERIFY, "CertificateVerify"),
    (HandshakeType::CLIENT_KEY_EXCHANGE, "ClientKeyExchange"),
    (HandshakeType::FINISHED, "Finished"),
];

/// The name of a message type.
pub fn message(kind: u8) -> &'static str {
    let mut messages = MESSAGES.iter();
    let found = messages.find(|(known, _)| known.0 == kind);
    found.map_or("another message", |(_, name)| name)
}

/// The same, by what is in it.
fn message_with(kind: u8, body: &[u8]) -> &'static str {
    // RFC 8446 §4.1.3: after the version.
    let is_retry = body.get(2..).is_some_and(|body| body.starts_with(&RETRY));
    match HandshakeType(kind) {
        HandshakeType::SERVER_HELLO if is_retry => "HelloRetryRequest",
        _ => message(kind),
    }
}

/// A verdict; a message by its name.
pub(crate) fn input(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Message { kind, part, .. } => message_with(*kind, part).into(),
        Verdict::Certificates { count: 0 } => "no certificates".into(),
        Verdict::Ticket(None) => "no ticket".into(),
        other => other.name().into(),
    }
}

/// A segment, with what tells it from others of its directive.
pub(crate) fn output(segment: &Segment) -> String {
    let name = segment.facts().name;
    match segment {
        Segment::Write(template) => format!("{name} {}", written(template)),
        Segment::Derive(stage, _) => format!("{name} {}", format!("{stage:?}").to_lowercase()),
        Segment::Abort {
            alert: Some(alert), ..
        } => format!("{name} {}", self::alert(*alert)),
        _ => name.into(),
    }
}

fn written(template: &Template) -> String {
    let kind = template.message.first().copied().unwrap_or_default();
    let body = template.message.get(MESSAGE_HEADER..).unwrap_or_default();
    let name = message_with(kind, body);
    let holes = template.holes.iter().map(|hole| fill(hole.fill));
    let holes: Vec<_> = holes.collect();
    match holes.as_slice() {
        [] => name.into(),
        holes => format!("{name} [{}]", holes.join(", ")),
    }
}

/// The name of a placeholder, without what it says besides.
fn fill(fill: Fill) -> String {
    let text = format!("{fill:?}");
    let end = text.find([' ', '(']).unwrap_or(text.len());
    text.get(..end).unwrap_or_default().into()
}

/// An alert that a verdict leads to (RFC 8446 §6).
fn alert(alert: Alert) -> String {
    match alert {
        Alert::CERTIFICATE_REQUIRED => "certificate_required".into(),
        Alert::DECODE_ERROR => "decode_error".into(),
        Alert::HANDSHAKE_FAILURE => "handshake_failure".into(),
        Alert(number) => format!("alert {number}"),
    }
}

/// The role, in words.
pub(crate) const fn role(role: Role) -> &'static str {
    match role {
        Role::Server => "server",
        Role::Client => "client",
    }
}

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
mod tests;

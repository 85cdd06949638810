//! One line for each handshake: what was agreed on, or why nothing was.

use core::fmt::{self, Write as _};

use ipc::control::{HandshakeError, PeerError, SessionResult};
use ipc::net::Address;
use ipc::tls::{Mode, Role, Version};

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

/// A handshake that succeeded. The words behind the first few are
/// `name=value`, for programs; nothing here is secret.
pub(crate) struct Success<'a> {
    pub(crate) listener: &'a str,
    pub(crate) remote: Address,
    pub(crate) mode: Mode,
    pub(crate) role: Role,
    pub(crate) result: &'a SessionResult,
}

impl fmt::Display for Success<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = self.result;
        let agreed = &result.established;
        write!(
            f,
            "handshake ok {} {} {} {} {} {} us session={}",
            self.listener,
            self.remote.0,
            version_name(agreed.version),
            agreed.suite.name(),
            mode_name(self.mode),
            (result.completed - result.started).as_micros(),
            result.session.0,
        )?;
        if let Some(group) = agreed.group {
            write!(f, " group={}", group.name())?;
        }
        let (tx, rx) = agreed.sequence;
        write!(f, " sequence={tx}/{rx}")?;
        if let Some((tx, rx)) = &agreed.key_check {
            write!(f, " keys={}/{}", Hex(tx), Hex(rx))?;
        }
        let tcp = result.tcp;
        write!(f, " tcp={}/{}", tcp.tx_next, tcp.rx_next)?;
        write!(f, " keyring={}", agreed.keyring)?;
        if self.role == Role::Client {
            write!(f, " role=client")?;
        }
        if let Some(alpn) = &agreed.alpn {
            let name = core::str::from_utf8(alpn).unwrap_or("?");
            write!(f, " alpn={}", name.escape_default())?;
        }
        if let Some(name) = &agreed.server_name {
            write!(f, " server_name={}", name.escape_default())?;
        }
        if let Some(peer) = &agreed.peer {
            write!(f, " peer={}", Hex(&peer.fingerprint))?;
            // A value has no space in it: a plus stands for it.
            write!(f, " subject={}", Word(&peer.subject))?;
            write!(f, " names={}", Word(&peer.names))?;
        }
        let exposed = if agreed.keys.is_some() { "yes" } else { "no" };
        write!(
            f,
            " resumed={} exposed={exposed} shim_wakeups={}",
            agreed.resumed, result.shim_wakeups
        )
    }
}

/// A handshake that failed.
pub(crate) struct Failure<'a> {
    pub(crate) listener: &'a str,
    pub(crate) remote: Address,
    pub(crate) error: HandshakeError,
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (listener, remote) = (self.listener, self.remote.0);
        write!(f, "handshake failed {listener} {remote} ")?;
        match self.error {
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

/// Text from a certificate as one word of printable ASCII.
struct Word<'a>(&'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            ' ' => f.write_char('+'),
            c => write!(f, "{}", c.escape_default()),
        })
    }
}

//! What requests and completions say of TLS; what is on the wire is in the crate
//! [`tls`].

use postcard::experimental::max_size::MaxSize;
use serde::{Deserialize, Serialize};

use tls::Scheme;

use crate::bounded::{Bytes, List, Text};

/// Who drives the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Mode {
    /// The offload component alone.
    Autonomous,
    /// The kernel shim, message segment by message segment.
    Directed,
}

/// What the server asks of its client (RFC 8446 §4.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum PeerAuthentication {
    /// No certificate is asked for.
    None,
    /// A certificate is asked for; a client without one goes on.
    Request,
    /// A client without a certificate is refused.
    Require,
}

/// What the revocation lists (CRLs, RFC 5280 §5) of a key ring have to say of a peer's
/// certificate, and of each between it and the trust anchor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Revocation {
    /// That it is not revoked: its issuer has a list, which is not out of date.
    #[default]
    Require,
    /// Nothing, if its issuer has no list; one that is out of date counts as well.
    WhenKnown,
}

/// The name of a key ring.
pub type Label = Text<32>;
/// One ALPN protocol name (RFC 7301), at most 32 bytes here.
pub type Protocol = Bytes<32>;
/// ALPN protocol names in the order of preference.
pub type Protocols = List<Protocol, 4>;
/// Signature schemes in the order of preference; empty means all.
pub type Schemes = List<Scheme, { Scheme::COUNT }>;
/// A DNS name without a trailing dot, or, where this system is the client, an IP address.
/// The type takes any text: check [`tls::is_dns_name`] before printing one or passing it
/// on.
pub type ServerName = Text<253>;

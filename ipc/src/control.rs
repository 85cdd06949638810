//! The control invocation: how an application starts a handshake in the
//! offload component and collects its result.
//!
//! Modelled on the Linux `net/handshake` interface (ready, accept, done) and
//! z/OS AT-TLS (`INIT_CONNECTION`, `QUERY`): start now, collect later, once.

mod failure;

use alloc::boxed::Box;
use alloc::vec::Vec;

use postcard::experimental::max_size::MaxSize;
use serde::{Deserialize, Serialize};
use tls::{CipherSuite, Group, Role, Scheme, TrafficKey, Version};

use crate::bounded::{Blob, List, SecretBlob, Text};
use crate::channel::SlotIndex;
use crate::clock::Instant;
use crate::net::{ConnectionId, TcpPosition};
use crate::record::{Export, MAX_CERTIFICATE_PART, MAX_EXPORT_PART};
use crate::sample::{Sampled, samples};
use crate::tls::{Label, Mode, PeerAuthentication, Protocols, Schemes, ServerName};
use crate::transport;

pub use failure::{Cause, Failure, HandshakeError, PeerError, PolicyError, RequestError, Resource};

/// What the handshake must use and reach (R5–R8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub struct HandshakeRequest {
    /// The TCP connection, which the caller owns (R6).
    pub connection: ConnectionId,
    /// Server or client (R6).
    pub role: Role,
    /// Autonomous or directed (R3, R4).
    pub mode: Mode,
    /// What to agree to and what to insist on.
    pub parameters: Box<Parameters>,
    /// The TCP sequence number of the handshake's first byte sent (R8); if set and not
    /// that of the connection, the request is refused.
    pub tcp_sequence: Option<u32>,
    /// When the handshake must be over; one moment for all domains.
    pub deadline: Instant,
    /// Whom the caller counts the peer to, such as the prefix of its address:
    /// [`Request::Displace`] picks among those of one group.
    pub group: u32,
    /// What the caller knows of the peer.
    pub standing: Standing,
}

impl HandshakeRequest {
    /// Whether it can be met at all, as far as it tells by itself.
    ///
    /// # Errors
    /// What is wrong with it; nothing was done.
    pub fn check(&self, now: Instant) -> Result<(), RequestError> {
        let parameters = &self.parameters;
        if parameters.versions.is_empty() {
            return Err(RequestError::NoVersion);
        }
        if parameters.keyrings.is_empty() {
            return Err(RequestError::NoKeyring);
        }
        if !Parameters::SEGMENT_SIZES.contains(&parameters.segment_size) {
            return Err(RequestError::SegmentSize);
        }
        if self.deadline <= now {
            return Err(RequestError::Deadline);
        }
        if parameters.allow_static_rsa && self.mode != Mode::Directed {
            return Err(RequestError::Unsupported);
        }
        Ok(())
    }
}

/// What a caller knows of a peer: handshakes with those that come first here are worked on
/// before others.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, MaxSize,
)]
pub enum Standing {
    /// It had a session lately.
    Known,
    /// Nothing.
    #[default]
    New,
    /// Its last handshakes came to nothing.
    Penalized,
}

/// The part of a request that many connections share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub struct Parameters {
    /// Versions that may be agreed on (R6), one or two.
    pub versions: List<Version, 2>,
    /// Suites in the order of preference (R6); empty means all that are on.
    pub suites: List<CipherSuite, { CipherSuite::COUNT }>,
    /// The suites of static RSA are on too, after all others (policy key
    /// `allow_static_rsa`); in directed mode alone.
    pub allow_static_rsa: bool,
    /// Groups in the order of preference; empty means all that are on.
    pub groups: List<Group, { Group::COUNT }>,
    /// The certificate key rings (R7) by label. A server with several chooses
    /// by the name that the client asks for; the first is the default.
    pub keyrings: List<Label, 4>,
    /// Whether the peer must show a certificate.
    pub peer_authentication: PeerAuthentication,
    /// What the peer may sign the handshake by, in the order in which it is told.
    pub peer_schemes: Schemes,
    /// Client: whom to expect.
    pub server_name: Option<ServerName>,
    /// ALPN names in the order of preference; empty means no ALPN.
    pub alpn: Protocols,
    /// The longest handshake segment on the wire, in bytes (R8), 64 to 16384.
    pub segment_size: u16,
    /// Server: send tickets, and resume sessions by them. Client: take tickets,
    /// and offer them.
    pub resumption: bool,
    /// Give the session's keys to the caller too (policy key `expose_keys`).
    pub expose_keys: bool,
}

impl Parameters {
    /// The limits of [`Parameters::segment_size`].
    pub const SEGMENT_SIZES: core::ops::RangeInclusive<u16> = 64..=16384;
}

/// Names one handshake: slot and generation, so that a name is never used
/// twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, MaxSize)]
pub struct HandshakeId(pub u32);

impl HandshakeId {
    /// The name of the handshake of that generation in `slot`.
    pub const fn new(slot: SlotIndex, generation: u16) -> Self {
        Self((generation as u32) << 16 | slot as u32)
    }

    /// Slot and generation.
    pub const fn place(self) -> (SlotIndex, u16) {
        ((self.0 & 0xffff) as u16, (self.0 >> 16) as u16)
    }
}

/// Names one session of this boot; it is not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, MaxSize)]
pub struct SessionId(pub u64);

/// The completion response (R9, R10, R32).
#[derive(Serialize, Deserialize, MaxSize)]
pub struct SessionResult {
    /// The session's name (R10).
    pub session: SessionId,
    /// Its slot in the channel between the record layer and the application,
    /// and in the application's window of session capabilities.
    pub slot: SlotIndex,
    /// What the offload component reports.
    pub established: Box<Established>,
    /// Wake-ups of the shim between the start and the completion (R4): zero in
    /// autonomous mode when no other request reached the shim meanwhile.
    pub shim_wakeups: u32,
    /// The TCP sequence numbers of the session's next bytes (R32).
    pub tcp: TcpPosition,
    /// When the shim accepted the request.
    pub started: Instant,
    /// When the shim handed the connection to the record layer.
    pub completed: Instant,
}

/// What the handshake agreed on, as the offload component reports it.
#[derive(Serialize, Deserialize, MaxSize)]
pub struct Established {
    /// The version agreed on (R10).
    pub version: Version,
    /// The suite agreed on (R10).
    pub suite: CipherSuite,
    /// The group of the key exchange.
    pub group: Option<Group>,
    /// Sequence numbers of the next records (R10): out, in.
    pub sequence: (u64, u64),
    /// Tells keys apart without revealing them: the first 8 bytes of SHA-256 over
    /// key and nonce base, out and in. A key check value, only where
    /// `expose_keys` was granted.
    pub key_check: Option<([u8; 8], [u8; 8])>,
    /// The keys themselves (R10), only where `expose_keys` was granted: out,
    /// in. Otherwise they are in the record layer alone.
    pub keys: Option<(TrafficKey, TrafficKey)>,
    /// What the peer proved of itself (R10).
    pub peer: Option<PeerIdentity>,
    /// How it signed, if it did so in this handshake.
    pub peer_scheme: Option<Scheme>,
    /// The ALPN name agreed on.
    pub alpn: Option<crate::tls::Protocol>,
    /// The name that the client asked for, if any.
    pub server_name: Option<ServerName>,
    /// The key ring whose chain was shown.
    pub keyring: Label,
    /// Whether a session was resumed.
    pub resumed: bool,
    /// Sequence number of the first byte after the handshake in each
    /// direction, as the offload component counted them (R32).
    pub tcp: TcpPosition,
    /// When the first byte of the peer was seen.
    pub first_byte: Instant,
    /// When the keys were installed.
    pub installed: Instant,
}

/// The peer's certificate, whose chain was validated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub struct PeerIdentity {
    /// SHA-256 of the end-entity certificate's DER.
    pub fingerprint: [u8; 32],
    /// Bytes of the end-entity certificate, fetched by [`Request::PeerCertificate`]; none
    /// of one longer than [`crate::record::MAX_PEER_CERTIFICATE`].
    pub certificate_len: u16,
    /// Its subject as RFC 4514 writes it; empty when it has none, or one that
    /// does not fit.
    pub subject: Text<MAX_SUBJECT>,
    /// The subject's common name, bare; empty as above.
    pub common_name: Text<MAX_COMMON_NAME>,
    /// Its subject alternative names with their kinds, between single spaces,
    /// such as `DNS:client.test IP:10.0.2.2`; those that fit.
    pub names: Text<MAX_NAMES>,
}

/// Bytes of [`PeerIdentity::subject`].
pub const MAX_SUBJECT: usize = 120;
/// Bytes of [`PeerIdentity::common_name`] (RFC 5280 appendix A).
pub const MAX_COMMON_NAME: usize = 64;
/// Bytes of [`PeerIdentity::names`].
pub const MAX_NAMES: usize = 160;

/// What is asked of the shim. The badge tells which client asks, or, for
/// [`Request::CloseSession`], [`Request::PeerCertificate`] and [`Request::Export`], which
/// session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Request {
    /// Start a handshake; answered at once with [`Answer::Started`].
    StartHandshake(HandshakeRequest),
    /// Take the result of a handshake: [`Answer::Established`], or the error
    /// [`RequestError::Pending`]. Exactly once.
    CollectResult(HandshakeId),
    /// Take the result of any handshake that is over: [`Answer::Established`],
    /// [`Answer::Failed`] or [`Answer::NothingCompleted`].
    CollectAny,
    /// Give a handshake up. Its result is then [`HandshakeError::Cancelled`].
    Cancel(HandshakeId),
    /// Have completions announced on the caller's notification.
    Subscribe,
    /// By a session capability: close the session; close_notify is sent and
    /// the capability revoked.
    CloseSession,
    /// By a session capability: a part of the peer's end-entity certificate.
    PeerCertificate {
        /// Where the part starts, in bytes.
        offset: u16,
    },
    /// The caller has started or restarted: its handshakes are cancelled, its sessions
    /// closed, and it is not notified until it subscribes.
    Begin,
    /// Make room: of the caller's handshakes as server whose peer owes the next message,
    /// the oldest without a whole ClientHello is evicted, or else the oldest of half a
    /// second or more, as [`Resource::Displaced`]. Answered with [`Answer::Done`], also
    /// when there is none.
    Displace {
        /// Those of one group alone ([`HandshakeRequest::group`]).
        group: Option<u32>,
    },
    /// By a session capability: keying material for another protocol, of that session.
    Export(Export),
}

/// What the shim answers when it worked.
#[derive(Serialize, Deserialize, MaxSize)]
pub enum Answer {
    /// The handshake is on its way.
    Started(HandshakeId),
    /// Nothing else to say.
    Done,
    /// The result, which the shim has now forgotten.
    Established(HandshakeId, SessionResult),
    /// The reason, which the shim has now forgotten ([`Request::CollectAny`]).
    Failed(HandshakeId, Failure),
    /// No handshake of this client is over.
    NothingCompleted,
    /// A part of the peer's certificate; empty at its end.
    Certificate(Blob<MAX_CERTIFICATE_PART>),
    /// A part of exported keying material; empty at its end.
    Exported(SecretBlob<MAX_EXPORT_PART>),
}

/// The shim's protocol.
pub struct Control;

impl transport::Protocol for Control {
    type Request = Request;
    type Reply = Result<Answer, HandshakeError>;
    // With `expose_keys` an answer carries keys.
    const CARRIES_SECRETS: bool = true;
    fn malformed() -> Self::Reply {
        Err(HandshakeError::Request(RequestError::Malformed))
    }
    fn is_secret(reply: &Self::Reply) -> bool {
        match reply {
            Ok(Answer::Exported(_)) => true,
            Ok(Answer::Established(_, result)) => result.established.keys.is_some(),
            _ => false,
        }
    }
}

const _: () = <Control as transport::Protocol>::FITS;

impl Sampled for Request {
    fn samples() -> Vec<(Self, &'static str)> {
        let parameters = Parameters {
            versions: List::from_items([Version::Tls13, Version::Tls12]).unwrap_or_default(),
            suites: List::new(),
            allow_static_rsa: false,
            groups: List::new(),
            keyrings: List::from_items(Text::from_text("web")).unwrap_or_default(),
            peer_authentication: PeerAuthentication::Request,
            peer_schemes: List::new(),
            server_name: Text::from_text("a.test").ok(),
            alpn: List::new(),
            segment_size: 1400,
            resumption: true,
            expose_keys: false,
        };
        let start = HandshakeRequest {
            connection: ConnectionId(77),
            role: Role::Server,
            mode: Mode::Directed,
            parameters: Box::new(parameters),
            tcp_sequence: Some(7),
            deadline: Instant::NEVER,
            group: 0,
            standing: Standing::New,
        };
        samples! {
            Self::StartHandshake(start) =>
                "004d0001020100000000010377656201000106612e7465737400f80a01000107ffff\
                 ffffffffffffff010001";
            Self::CollectResult(HandshakeId(1)) => "0101";
            Self::CollectAny => "02";
            Self::Cancel(HandshakeId(1)) => "0301";
            Self::Subscribe => "04";
            Self::CloseSession => "05";
            Self::PeerCertificate { offset: 0 } => "0600";
            Self::Begin => "07";
            Self::Displace { group: Some(1) } => "080101";
            Self::Export(Export::sample()) => "090d4558504f525445522d74657374010203042000";
        }
    }
}

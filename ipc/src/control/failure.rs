//! Why a control invocation or a handshake comes to nothing.

use postcard::experimental::max_size::MaxSize;
use serde::{Deserialize, Serialize};
use tls::Alert;

/// Why there is no session, by blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum HandshakeError {
    /// The caller's request can't be met; nothing was sent (R6).
    Request(RequestError),
    /// The policy does not grant it to this caller.
    Policy(PolicyError),
    /// The peer broke the protocol or refused.
    Peer(PeerError),
    /// A limit was reached.
    Resource(Resource),
    /// The caller cancelled it.
    Cancelled,
    /// A server died while the handshake was in progress.
    ServerRestarted,
}

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum RequestError {
    /// The bytes are no request.
    Malformed = 1,
    /// There is no such handshake, session, or result any more.
    Unknown = 2,
    /// No version is named.
    NoVersion = 3,
    /// No suite named fits a version named and the key ring's keys.
    NoSuite = 4,
    /// There is no key ring with that label.
    NoKeyring = 5,
    /// The key ring has no trust anchor to validate a peer with.
    NoTrustAnchor = 6,
    /// The segment size is out of range.
    SegmentSize = 7,
    /// The connection is not at the given TCP sequence number.
    TcpSequence = 8,
    /// The connection does not exist, is not the caller's, or is closed.
    Connection = 9,
    /// This build does not do that role or mode; or exports nothing by that label, or not so
    /// much.
    Unsupported = 10,
    /// The deadline has passed already.
    Deadline = 11,
    /// Still in progress.
    Pending = 12,
    /// A client's request does not say whom to expect, or by no name that a
    /// certificate can have.
    NoServerName = 13,
}

/// What the policy does not grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum PolicyError {
    /// The badge is no client's.
    Client = 1,
    /// This key ring.
    Keyring = 2,
    /// This role.
    Role = 3,
    /// This mode.
    Mode = 4,
    /// The session's keys.
    ExposeKeys = 5,
    /// No rule of the listener matches this client.
    NoRule = 6,
    /// Static RSA.
    StaticRsa = 7,
    /// A step of a directed handshake ([`Step`](crate::segment::Step)).
    Step = 8,
}

/// What the peer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum PeerError {
    /// It broke the protocol; this alert was sent.
    AlertSent(Alert),
    /// It sent this alert.
    AlertReceived(Alert),
    /// It closed or reset the connection.
    Closed,
    /// It was not done at the deadline.
    Deadline,
    /// What it sent was not even the beginning of a TLS record; the connection
    /// was closed (an alert was sent all the same).
    NotTls,
}

/// What of the peer's part was wrong, where the alert does not tell, or tells several things
/// alike. It is for reports; the peer is told the alert alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Cause {
    /// It speaks nothing newer than TLS 1.1.
    OldVersion = 1,
    /// No version is in common.
    Version = 2,
    /// No suite is in common, or none that goes with a key of the rings.
    Suite = 3,
    /// No group is in common; in TLS 1.2 the curve of the key, too.
    Group = 4,
    /// No signature scheme is in common that a key of the rings can sign by.
    Scheme = 5,
    /// TLS 1.2 without the extended master secret (RFC 7627).
    ExtendedMasterSecret = 6,
    /// It showed no certificate where one is insisted on.
    CertificateMissing = 7,
    /// Its certificate, or an issuer's, is out of date.
    CertificateExpired = 8,
    /// It begins later.
    CertificateNotYetValid = 9,
    /// It does not lead to a trust anchor of the ring.
    CertificateIssuer = 10,
    /// Its issuer has revoked it.
    CertificateRevoked = 11,
    /// No revocation list tells of it, or one that is out of date.
    CertificateStatus = 12,
    /// It is not for this use.
    CertificatePurpose = 13,
    /// It is for another name.
    CertificateName = 14,
    /// It can't be decoded.
    CertificateMalformed = 15,
    /// It has what is not supported here: an algorithm, a critical extension, its length.
    CertificateUnsupported = 16,
    /// A signature does not hold: of its certificate, or of its handshake.
    Signature = 17,
}

/// Why there is no session, with what of the peer's part was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub struct Failure {
    /// Why, by blame.
    pub error: HandshakeError,
    /// What of the peer's part was wrong, where that does not tell.
    pub cause: Option<Cause>,
}

impl From<HandshakeError> for Failure {
    fn from(error: HandshakeError) -> Self {
        Self { error, cause: None }
    }
}

impl From<Failure> for HandshakeError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Resource {
    /// Handshakes in progress.
    Handshakes = 1,
    /// Sessions.
    Sessions = 2,
    /// The directive queue.
    Queue = 3,
    /// A server answered what it never should; see its log.
    Internal = 4,
    /// It was evicted in favour of another ([`Request::Displace`](super::Request::Displace)): its peer had not
    /// shown a whole ClientHello, or had owed the next message for half a second.
    Displaced = 5,
    /// Memory for what the peer sends, or does not take.
    Memory = 6,
}

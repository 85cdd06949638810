//! What segments are made of, and what becomes of them.

use postcard::experimental::max_size::MaxSize;
use serde::{Deserialize, Serialize};
use tls::{Alert, CipherSuite, Group, Scheme};

use crate::bounded::{Blob, List};
use crate::keystore::KeyKind;
use crate::tls::{Protocol, Schemes, ServerName};

/// Bytes of a peer's message that are handed up at once.
pub const MAX_PART: usize = 1024;
/// The longest message template.
pub const MAX_TEMPLATE: usize = 1024;
/// Holes of one template: a ClientHello that offers a ticket has the most.
pub const MAX_HOLES: usize = 7;
/// The longest public key of a classical key exchange.
pub const MAX_SHARE: usize = 97;
/// Key rings of one request.
pub const MAX_RINGS: usize = 4;

/// A place among the key rings of the request.
pub type RingPlace = u8;

/// A place in the body of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub struct Place {
    /// Its first byte.
    pub offset: u16,
    /// Bytes.
    pub length: u16,
}

/// Where in the body of a ClientHello its binders are (RFC 8446 §4.2.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub struct Binder {
    /// The list of all: what is before it is what they bind.
    pub list: u16,
    /// The one for the ticket that was opened.
    pub binder: Place,
}

/// What a session is resumed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub struct Ticket {
    /// The suite of the resumed session.
    pub suite: CipherSuite,
    /// Client: bytes of the ticket.
    pub length: u16,
    /// Client, TLS 1.2: a new session identifier, by whose echo a server accepts
    /// the ticket (RFC 5077 §3.4).
    pub session_id: [u8; 32],
}

/// A handshake message with placeholders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub struct Template {
    /// Message type, length and body. The length is set when the placeholders are filled.
    pub message: Blob<MAX_TEMPLATE>,
    /// What is missing, by rising offset.
    pub holes: List<Hole, MAX_HOLES>,
}

/// One thing missing in a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub struct Hole {
    /// Where in the template the missing bytes belong.
    pub offset: u16,
    /// Bytes of the length field to write before them, 0 to 3.
    pub prefix: u8,
    /// What they are.
    pub fill: Fill,
}

/// What only the offload component can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Fill {
    /// The random of this side's hello (R12 to R15): 32 bytes.
    Random {
        /// End it with the downgrade sentinel of a server that supports TLS 1.3 (RFC 8446
        /// §4.1.3).
        downgraded: bool,
    },
    /// A new key share: its public key.
    KeyShare(Group),
    /// The chain of a ring, as a Certificate message of the version has it.
    Chain(RingPlace),
    /// A signature by the key of a ring (R24): CertificateVerify, or the
    /// parameters of ServerKeyExchange (TLS 1.2, server).
    Signature {
        /// The ring.
        ring: RingPlace,
        /// The scheme.
        scheme: Scheme,
    },
    /// The MAC of this side's Finished (R26, R27).
    VerifyData,
    /// The random of the first ClientHello again (RFC 8446 §4.1.2).
    SameRandom,
    /// TLS 1.2, static RSA: a new pre-master secret (R18), encrypted with the
    /// key of the peer's validated certificate.
    EncryptedPreMaster,
    /// Client: the ticket that was taken.
    Ticket,
    /// TLS 1.3, client: the age of the ticket, obfuscated (RFC 8446
    /// §4.2.11.1): 4 bytes.
    TicketAge,
    /// TLS 1.3, client, at the end of the hello: the list of binders with the
    /// one of the ticket (RFC 8446 §4.2.11.2).
    Binders,
    /// Server: a new ticket for this session (RFC 8446 §4.6.1, RFC 5077 §3.3).
    NewTicket {
        /// TLS 1.3: what tells the tickets of a session apart; the message's
        /// nonce is this one byte.
        nonce: u8,
    },
    /// TLS 1.3, server: what the client obfuscates the ticket's age with: 4
    /// bytes.
    AgeAdd,
    /// Server, in a CertificateRequest: the names of those whose certificates the
    /// ring trusts (RFC 8446 §4.2.4, RFC 5246 §7.4.4).
    Authorities(RingPlace),
    /// What is at a place in the body of the message received last: the cookie of a
    /// HelloRetryRequest (RFC 8446 §4.2.2).
    Received(Place),
    /// TLS 1.3, client: after the key share of a hybrid, the public key of its
    /// classical half again, as a share of its own (draft-ietf-tls-hybrid-design §3.2).
    ClassicalShare,
    /// TLS 1.3, server: the chain of a ring, the end entity with its OCSP response (RFC 8446
    /// §4.4.2.1).
    StapledChain(RingPlace),
    /// TLS 1.2, server: the OCSP response of a ring (RFC 6066 §8).
    Ocsp(RingPlace),
}

/// Seconds for which a ticket can be used (RFC 8446 §4.6.1, RFC 5077 §5.6).
pub const TICKET_LIFETIME: u32 = 3600;

/// Which secrets to derive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Stage {
    /// TLS 1.3, after ServerHello: handshake traffic keys, used at once.
    Handshake,
    /// TLS 1.3, after the server's Finished: application traffic keys.
    Application,
    /// TLS 1.2, after ClientKeyExchange: extended master secret (RFC 7627)
    /// and keys, used from ChangeCipherSpec on.
    Master,
}

/// What the director agreed on with the peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub struct Agreed {
    /// The group of the key exchange.
    pub group: Option<Group>,
    /// The application protocol.
    pub alpn: Option<Protocol>,
    /// The name that the client asked for.
    pub server_name: Option<ServerName>,
    /// The ring whose chain was shown.
    pub ring: RingPlace,
}

/// What became of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Verdict {
    /// The handshake can begin: what the request's rings are good for.
    Begun {
        /// The kind of each ring's key; `None` for trust anchors alone.
        rings: List<Option<KeyKind>, MAX_RINGS>,
        /// What each of them signs by.
        schemes: List<Schemes, MAX_RINGS>,
        /// Bytes of each ring's [`Fill::Authorities`]; zero where the peer is not
        /// asked for a certificate, or there is no list.
        authorities: List<u16, MAX_RINGS>,
        /// Which of them have an OCSP response that is not out of date.
        staples: List<bool, MAX_RINGS>,
        /// Client: a new session identifier for a hello that offers no session by one (RFC
        /// 8446 §D.4).
        session_id: [u8; 32],
    },
    /// The peer's message.
    Message {
        /// Its type.
        kind: u8,
        /// Bytes of its body.
        length: u16,
        /// The part that was asked for.
        part: Blob<MAX_PART>,
    },
    /// For each ring whether it is good for the name, or for one of the names.
    Named(List<bool, MAX_RINGS>),
    /// The chain has so many certificates.
    Certificates {
        /// 0 when the peer has none to show.
        count: u8,
    },
    /// Done as requested.
    Done,
    /// The peer's part in it was wrong; nothing was sent yet.
    Refused(Alert),
    /// A ticket, or none.
    Ticket(Option<Ticket>),
    /// The peer's message is longer than the limit. There is nothing to go on with.
    TooLong {
        /// Its type.
        kind: u8,
    },
}

impl Verdict {
    /// Its name in the audit log.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Begun { .. } => "begun",
            Self::Message { .. } => "message",
            Self::Named(_) => "named",
            Self::Certificates { .. } => "certificates",
            Self::Done => "done",
            Self::Refused(_) => "refused",
            Self::Ticket(_) => "ticket",
            Self::TooLong { .. } => "too-long",
        }
    }
}

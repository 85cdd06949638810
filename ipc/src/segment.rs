//! Message segments: how the director drives a handshake in directed mode (R3,
//! R11).
//!
//! A segment is a directive, and where it makes the peer something to read, a message
//! with placeholders (holes) for what only the offload component can fill. The offload
//! component does that one step and answers with one [`Verdict`]; it never goes on by
//! itself. Secrets stay with it: no type of this module can carry one.
//!
//! What a segment makes is named by its place in the handshake, not by a
//! handle that could be mixed up: a handshake has one key share, one pre-master
//! secret, one transcript.

use alloc::boxed::Box;

use postcard::experimental::max_size::MaxSize;
use serde::{Deserialize, Serialize};
use tls::{Alert, CipherSuite, Group, Scheme, Version};

use crate::bounded::{Blob, Bytes, List};
use crate::control::{Cause, HandshakeError};
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

/// One step of a handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Segment {
    /// Send what was written so far, wait for the peer's next handshake
    /// message, and show up to `show` bytes of its body:
    /// [`Verdict::Message`]; of a body longer than `limit`, [`Verdict::TooLong`].
    Receive {
        /// The longest body that is accepted.
        limit: u16,
        /// Bytes to show, at most [`MAX_PART`].
        show: u16,
    },
    /// Show more of the message received last: [`Verdict::Message`].
    Show {
        /// Where in its body the part starts.
        offset: u16,
    },
    /// TLS 1.2: wait for ChangeCipherSpec, then read under the derived keys.
    ReceiveChangeCipherSpec,
    /// Which of the request's rings name `server_name` in their certificate:
    /// [`Verdict::Named`].
    FindIdentity {
        /// The name that the client asks for.
        server_name: Box<ServerName>,
    },
    /// The suite is decided: its hash runs over the transcript from here on
    /// (and over what was exchanged before).
    Negotiate {
        /// The suite; it decides the version too.
        suite: CipherSuite,
        /// The random of the peer's hello.
        peer_random: [u8; 32],
    },
    /// A HelloRetryRequest comes next (server) or came last (client): the
    /// transcript so far is replaced by its hash (RFC 8446 §4.4.1).
    Restart,
    /// Fill the placeholders, hash the message, and send it, protected if keys are on.
    Write(Template),
    /// Send ChangeCipherSpec; in TLS 1.2, write under the derived keys from
    /// here on.
    WriteChangeCipherSpec,
    /// TLS 1.2: agree on the pre-master secret (R18, R20): own key share with `share`.
    Agree {
        /// The peer's public key.
        share: Bytes<MAX_SHARE>,
    },
    /// Derive secrets and keys (R22, R23).
    Derive(Stage),
    /// Decode the Certificate message received last (R16, R17):
    /// [`Verdict::Certificates`].
    DecodeCertificate,
    /// Validate the decoded chain: server, against the trust anchors of the ring
    /// of this handshake; client, of all rings of the request. A server's
    /// handshake has one ring, the first that a segment names.
    ValidateChain {
        /// Client: the name to expect.
        server_name: Option<Box<ServerName>>,
    },
    /// Verify the peer's signature (R25) in the message received last:
    /// CertificateVerify, or ServerKeyExchange from `offset` on.
    VerifySignature {
        /// Where in the body scheme and signature are.
        offset: u16,
    },
    /// Check the Finished received last (R28, R29), in constant time.
    ValidateMac,
    /// The peer's Finished was good: send what was written, install the keys,
    /// and report [`crate::handshake::Completion::Established`].
    Finish(Box<Agreed>),
    /// Give up: send the alert, if any, and report
    /// [`crate::handshake::Completion::Failed`].
    Abort {
        /// What to tell the peer.
        alert: Option<Alert>,
        /// What to report.
        error: HandshakeError,
        /// What of the peer's part the director found wrong, where that does not tell.
        cause: Option<Cause>,
    },
    /// TLS 1.2, static RSA: have the key of a ring decrypt the pre-master
    /// secret (R20) in the message received last. Done, for any plaintext.
    Decrypt {
        /// The ring.
        ring: RingPlace,
        /// The version that the ClientHello named.
        client_version: u16,
        /// Where in the body the encrypted bytes start.
        offset: u16,
    },
    /// Client: look for a cached ticket of a previous session of the same request, and
    /// take it: [`Verdict::Ticket`].
    TakeTicket,
    /// Server: open the ticket in the message received last, once: [`Verdict::Ticket`].
    /// It opens for the version, the request, the ring and the name that it was issued
    /// for, and for no other.
    OpenTicket {
        /// The ring that would be shown.
        ring: RingPlace,
        /// The version that the hello leads to.
        version: Version,
        /// The name that the client asks for.
        server_name: Option<Box<ServerName>>,
        /// Where in the body the ticket is.
        ticket: Place,
    },
    /// Resume the session of the ticket that was opened, or taken and accepted:
    /// its secret goes into the keys, its peer is this one. TLS 1.3, server: if
    /// the binder is right (RFC 8446 §4.2.11.2).
    Resume {
        /// TLS 1.3, server.
        binder: Option<Binder>,
    },
    /// After the last Finished (TLS 1.2, server: before its own): make the state that a
    /// later handshake resumes this session with. [`Verdict::Done`], or
    /// [`Verdict::Ticket`] with none if that is impossible.
    PrepareTicket {
        /// Server: the name that the client asked for.
        server_name: Option<Box<ServerName>>,
    },
    /// TLS 1.2, client: keep the ticket in the message received last, if the
    /// handshake ends well.
    KeepTicket,
    /// TLS 1.3, server: agree on the secret with the client's key share in the message
    /// received last. That makes the own share, for a hybrid with a ciphertext of ML-KEM
    /// (FIPS 203), which [`Fill::KeyShare`] of the same group then is.
    Encapsulate {
        /// The group.
        group: Group,
        /// Where in the body the share is.
        share: Place,
    },
    /// TLS 1.3, client: agree on the secret with the server's key share in the message
    /// received last, and the own one, or its classical half.
    Decapsulate {
        /// The group.
        group: Group,
        /// Where in the body the share is.
        share: Place,
    },
    /// Client: which of the request's rings have a chain with a certificate that one of these
    /// issued: [`Verdict::Named`].
    FindIssued {
        /// Where in the body of the CertificateRequest received last the names are, each
        /// after its length of two bytes (RFC 8446 §4.2.4, RFC 5246 §7.4.4).
        authorities: Place,
    },
}

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

impl Segment {
    /// Bytes for the peer, or from it, that it carries.
    pub fn size(&self) -> usize {
        match self {
            Self::Write(template) => template.message.len(),
            Self::Agree { share } => share.len(),
            Self::Encapsulate { share, .. } | Self::Decapsulate { share, .. } => {
                share.length.into()
            }
            _ => 0,
        }
    }

    /// Whether it takes bytes of the peer from the connection.
    pub const fn reads(&self) -> bool {
        matches!(self, Self::Receive { .. } | Self::ReceiveChangeCipherSpec)
    }

    /// Its name in the audit log.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Receive { .. } => "receive",
            Self::Show { .. } => "show",
            Self::ReceiveChangeCipherSpec => "receive-change-cipher-spec",
            Self::FindIdentity { .. } => "find-identity",
            Self::Negotiate { .. } => "negotiate",
            Self::Restart => "restart",
            Self::Write(_) => "write",
            Self::WriteChangeCipherSpec => "write-change-cipher-spec",
            Self::Agree { .. } => "agree",
            Self::Derive(_) => "derive",
            Self::DecodeCertificate => "decode-certificate",
            Self::ValidateChain { .. } => "validate-chain",
            Self::VerifySignature { .. } => "verify-signature",
            Self::ValidateMac => "validate-mac",
            Self::Finish(_) => "finish",
            Self::Abort { .. } => "abort",
            Self::Decrypt { .. } => "decrypt",
            Self::TakeTicket => "take-ticket",
            Self::OpenTicket { .. } => "open-ticket",
            Self::Resume { .. } => "resume",
            Self::PrepareTicket { .. } => "prepare-ticket",
            Self::KeepTicket => "keep-ticket",
            Self::Encapsulate { .. } => "encapsulate",
            Self::Decapsulate { .. } => "decapsulate",
            Self::FindIssued { .. } => "find-issued",
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(segment: &Segment) -> Vec<u8> {
        let mut buffer = [0; 2048];
        postcard::to_slice(segment, &mut buffer).unwrap().to_vec()
    }

    #[test]
    fn a_segment_has_these_bytes() {
        let write = Segment::Write(Template {
            message: Blob::from_slice(&[20, 0, 0, 0]).unwrap(),
            holes: List::from_items([Hole {
                offset: 4,
                prefix: 0,
                fill: Fill::VerifyData,
            }])
            .unwrap(),
        });
        assert_eq!(encoded(&write), [6, 4, 20, 0, 0, 0, 1, 4, 0, 4]);
        let receive = Segment::Receive {
            limit: 300,
            show: 4,
        };
        assert_eq!(encoded(&receive), [0, 0xac, 2, 4]);
        assert_eq!(encoded(&Segment::Derive(Stage::Master)), [9, 2]);
    }

    #[test]
    fn a_segment_out_of_bounds_is_none() {
        for bytes in [
            &[25][..],
            &[9, 3],
            &[6, 0, 4],
            &[6, 0xff, 0xff, 3],
            &[8, 98],
            &[0, 0xff, 0xff, 0xff, 1],
        ] {
            assert!(postcard::from_bytes::<Segment>(bytes).is_err(), "{bytes:?}");
        }
    }
}

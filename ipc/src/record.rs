//! What the record layer is asked for, and what it passes to the offload
//! component.
//!
//! The shim opens a session slot by minting a capability for one session (a
//! [`Session`](crate::badge::Badge::Session) badge), through which the offload
//! component installs keys; it closes the slot by a call (the
//! [`Control`](crate::badge::Badge::Control) badge). Bytes are in the channels:
//! session slot `n` is slot `n` of the channel to the network stack and slot
//! `n` of the channel to the application.

use alloc::vec::Vec;
use core::fmt;

use postcard::experimental::max_size::MaxSize;
use serde::{Deserialize, Serialize};
use tls::{CipherSuite, Exporter, RecordLimit, Role, Secret, TrafficKey};

use crate::bounded::{Blob, Bytes, SecretBlob};
use crate::channel::SlotIndex;
use crate::queue::Queue;
use crate::sample::{Sampled, samples};
use crate::transport::Protocol;

/// What is asked.
#[derive(Serialize, Deserialize, MaxSize)]
pub enum Request {
    /// Control: end a session, or see that it never begins. If keys are
    /// installed, close_notify is sent first. Keys are zeroized.
    Close {
        /// The slot.
        slot: SlotIndex,
        /// Of the session, as in the badge of its install capability. No keys
        /// are taken for it any more.
        generation: u16,
    },
    /// Session: the keys of the session, once; opens the slot towards the
    /// application. The slot of the channel to the network stack is used only
    /// when its owner is the record layer.
    Install {
        /// Of the session that is meant: the badge's, or the request is refused.
        generation: u16,
        /// The role in the session: what the peer may say after the handshake
        /// depends on it.
        role: Role,
        /// Decides on version and AEAD.
        suite: CipherSuite,
        /// Out.
        tx: TrafficKey,
        /// In.
        rx: TrafficKey,
        /// What a record carries at most that goes out.
        record_limit: RecordLimit,
        /// What [`Request::Export`] is answered from; it is kept as long as the session.
        exporter: Exporter,
    },
    /// Session: new keys in answer to one [`PostHandshake::Message`] or
    /// [`PostHandshake::RekeyDue`].
    Rekey {
        /// Of the session that asked, as in [`Request::Install`].
        generation: u16,
        /// A handshake message to be sent under the present key, before the
        /// new one is used (a KeyUpdate); empty for none.
        message: Bytes<64>,
        /// The new key out, if it changes. Its sequence starts at 0.
        tx: Option<TrafficKey>,
        /// The new key in, if it changes.
        rx: Option<TrafficKey>,
    },
    /// Session: the message passed to the offload component broke the
    /// protocol, or has no answer: send this fatal alert and end the session.
    Refuse {
        /// Of the session that asked, as in [`Request::Install`].
        generation: u16,
        /// The alert's number.
        alert: u8,
    },
    /// Session: the message passed on is dealt with, no key changes.
    Proceed {
        /// Of the session that asked, as in [`Request::Install`].
        generation: u16,
    },
    /// Control: the caller has started or restarted: every session is cut off, every
    /// slot free, and no generation was in use before.
    Begin,
    /// Session: the next part of the peer's end-entity certificate (DER), of
    /// [`MAX_PEER_CERTIFICATE`] bytes at most; it is kept as long as the session.
    KeepCertificate {
        /// What follows the parts before it. On the heap: every request is as large
        /// as the largest, and is passed on by value.
        part: Blob<MAX_CERTIFICATE_PART>,
    },
    /// Control: a part of what was kept: [`Answer::Certificate`].
    Certificate {
        /// The session's slot.
        slot: SlotIndex,
        /// Of the session.
        generation: u16,
        /// Where the part starts.
        offset: u16,
    },
    /// Control: keying material for another protocol: [`Answer::Exported`].
    Export {
        /// The session's slot.
        slot: SlotIndex,
        /// Of the session.
        generation: u16,
        /// What of it.
        what: Export,
    },
}

/// What keying material of a session is asked for (RFC 8446 §7.5, RFC 5705).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub struct Export {
    /// Whom it is for: one of the registry of exporter labels. None by which TLS itself
    /// derives.
    pub label: Blob<MAX_EXPORT_LABEL>,
    /// What it depends on besides. In TLS 1.3 none is as an empty one.
    pub context: Option<Blob<MAX_EXPORT_CONTEXT>>,
    /// Bytes of all of it, at most [`MAX_EXPORT`]: in TLS 1.3 each of them depends on that.
    pub length: u16,
    /// Where the part starts that is answered.
    pub offset: u16,
}

impl Export {
    /// One for samples of requests.
    pub(crate) fn sample() -> Self {
        Self {
            label: Blob::from_slice(b"EXPORTER-test").unwrap_or_default(),
            context: Blob::from_slice(&[3, 4]).ok(),
            length: 32,
            offset: 0,
        }
    }
}

/// What the record layer answers when it worked.
#[derive(Serialize, Deserialize, MaxSize)]
pub enum Answer {
    /// Nothing else to say.
    Done,
    /// A part of the peer's certificate, empty at its end.
    Certificate(Blob<MAX_CERTIFICATE_PART>),
    /// A part of exported keying material, empty at its end.
    Exported(SecretBlob<MAX_EXPORT_PART>),
}

/// Keying material is neither shown nor compared.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("Done"),
            Self::Certificate(part) => write!(f, "Certificate({part:?})"),
            Self::Exported(_) => f.write_str("Exported"),
        }
    }
}

impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Done, Self::Done) => true,
            (Self::Certificate(own), Self::Certificate(other)) => own == other,
            _ => false,
        }
    }
}

/// The longest label of exported keying material, in bytes; those of the registry have up to
/// 50.
pub const MAX_EXPORT_LABEL: usize = 64;
/// The longest context, in bytes.
pub const MAX_EXPORT_CONTEXT: usize = 255;
/// The most keying material for one label and context, in bytes.
pub const MAX_EXPORT: usize = 1024;
/// Bytes of it in one message.
pub const MAX_EXPORT_PART: usize = 800;

/// The longest end-entity certificate of a peer that is kept, in bytes.
pub const MAX_PEER_CERTIFICATE: usize = 4096;
/// Bytes of a certificate in one message.
pub const MAX_CERTIFICATE_PART: usize = 800;

/// Why it did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum RecordError {
    /// The request's bytes are none.
    Malformed = 1,
    /// The badge has no right to this.
    Denied = 2,
    /// There is no such slot.
    NoSlot = 3,
    /// The slot is in use, or keys are installed already.
    InUse = 4,
    /// The session is another one by now (stale generation), or over.
    Stale = 5,
    /// A key does not fit the suite.
    BadKey = 6,
    /// Nothing was asked of the offload component.
    NotAsked = 7,
    /// The certificate is longer than is kept, or more is to be exported than can be.
    TooLong = 8,
    /// The label is one by which TLS itself derives.
    Reserved = 9,
}

/// The record layer's protocol.
pub struct Record;

impl Protocol for Record {
    type Request = Request;
    type Reply = Result<Answer, RecordError>;
    const CARRIES_SECRETS: bool = true;
    fn malformed() -> Self::Reply {
        Err(RecordError::Malformed)
    }
    fn is_secret(reply: &Self::Reply) -> bool {
        matches!(reply, Ok(Answer::Exported(_)))
    }
}

/// The longest handshake message after a handshake that is passed on: a ticket
/// has the client's certificates in it.
pub const MAX_POST_HANDSHAKE: usize = 4096;

/// From the record layer to the offload component: what a session needs after
/// its handshake (R33). Until the answer comes, the session reads no further.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum PostHandshake {
    /// The peer sent a handshake message (TLS 1.3: KeyUpdate or
    /// NewSessionTicket; TLS 1.2: an attempt at renegotiation).
    Message {
        /// The session.
        slot: SlotIndex,
        /// Of the session.
        generation: u16,
        /// One whole handshake message with its header of 4 bytes.
        message: Blob<MAX_POST_HANDSHAKE>,
    },
    /// The key out is near its limit of records (RFC 8446 §5.5).
    RekeyDue {
        /// The session.
        slot: SlotIndex,
        /// Of the session.
        generation: u16,
    },
}

/// Nothing is sent on this queue from the offload component: it answers by the
/// install capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Never {}

/// The record layer's end of the queue.
pub type PostHandshakeQueue<D> = Queue<PostHandshake, Never, D>;
/// The offload component's end of the queue.
pub type PostHandshakeInbox<D> = Queue<Never, PostHandshake, D>;

const _: () = Record::FITS;

impl Request {
    /// Whether it is the control badge's; the others are those of a session's capability.
    pub const fn is_for_control(&self) -> bool {
        match self {
            Self::Close { .. } | Self::Begin | Self::Certificate { .. } | Self::Export { .. } => {
                true
            }
            Self::Install { .. }
            | Self::Rekey { .. }
            | Self::Refuse { .. }
            | Self::Proceed { .. }
            | Self::KeepCertificate { .. } => false,
        }
    }

    /// By a session's capability: the generation of the session that is meant, if it says
    /// so. That of the capability has to be the same.
    pub const fn meant(&self) -> Option<u16> {
        match self {
            Self::Install { generation, .. }
            | Self::Rekey { generation, .. }
            | Self::Refuse { generation, .. }
            | Self::Proceed { generation } => Some(*generation),
            Self::KeepCertificate { .. }
            | Self::Close { .. }
            | Self::Begin
            | Self::Certificate { .. }
            | Self::Export { .. } => None,
        }
    }
}

impl Sampled for Request {
    fn samples() -> Vec<(Self, &'static str)> {
        let (slot, generation) = (1, 3);
        let key = || TrafficKey {
            key: Secret::from_slice(&[1; 16]).unwrap_or_default(),
            iv: Secret::from_slice(&[2; 12]).unwrap_or_default(),
            sequence: 0,
        };
        let exporter = Exporter::tls13(Secret::from_slice(&[3; 4]).unwrap_or_default());
        let part = Blob::from_slice(&[6; 4]).unwrap_or_default();
        let message = Bytes::from_slice(&[24, 0, 0, 1, 0]).unwrap_or_default();
        let suite = CipherSuite::Aes128GcmSha256;
        samples! {
            Self::Close { slot, generation } => "000103";
            Self::Install {
                generation,
                role: Role::Server,
                suite,
                tx: key(),
                rx: key(),
                record_limit: RecordLimit::NONE,
                exporter,
            } =>
                "0103000010010101010101010101010101010101010c02020202020202020202020200\
                 10010101010101010101010101010101010c020202020202020202020202008080010403030303\
                 00";
            Self::Rekey { generation, message, tx: Some(key()), rx: None } =>
                "02030518000001000110010101010101010101010101010101010c0202020202020202020202020000";
            Self::Refuse { generation, alert: 10 } => "03030a";
            Self::Proceed { generation } => "0403";
            Self::Begin => "05";
            Self::KeepCertificate { part } => "060406060606";
            Self::Certificate { slot, generation, offset: 100 } => "07010364";
            Self::Export { slot, generation, what: Export::sample() } =>
                "0801030d4558504f525445522d74657374010203042000";
        }
    }
}

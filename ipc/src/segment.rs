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
//!
//! What is the same of a directive everywhere stands here: its place in [`Segment`] is its
//! number on the wire, [`Segment::facts`] tells name, size and steps, [`Step`] has the
//! steps that a policy can refuse, and the samples have its bytes.

mod parts;

use alloc::boxed::Box;
use alloc::vec::Vec;

use postcard::experimental::max_size::MaxSize;
use serde::{Deserialize, Serialize};
use tls::{Alert, CipherSuite, Group, RecordLimit, Version};

use crate::bounded::{Blob, Bytes, List, Text};
use crate::control::{Cause, HandshakeError};
use crate::sample::{Sampled, samples};
use crate::tls::ServerName;

pub use parts::{
    Agreed, Binder, Fill, Hole, MAX_HOLES, MAX_PART, MAX_RINGS, MAX_SHARE, MAX_TEMPLATE, Place,
    RingPlace, Stage, TICKET_LIFETIME, Template, Ticket, Verdict,
};

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
    /// Derive secrets and keys (R22, R23). Protected records carry no more than that from
    /// here on.
    Derive(Stage, RecordLimit),
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

/// What is the same of a directive wherever it occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its name in the audit log.
    pub name: &'static str,
    /// What answers it, if nothing is wrong.
    pub reply: Reply,
    /// Bytes for the peer, or from it, that it carries.
    pub size: usize,
    /// Whether it takes bytes of the peer from the connection.
    pub reads: bool,
    /// The steps that it is, any of which a policy may refuse. Those of a message depend on
    /// its placeholders.
    pub steps: &'static [Step],
    /// The ring whose key it uses: its steps are refused for that ring alone.
    pub ring: Option<RingPlace>,
}

/// The verdict of a segment, if nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// [`Verdict::Message`].
    Message,
    /// [`Verdict::Named`].
    Named,
    /// [`Verdict::Certificates`].
    Certificates,
    /// [`Verdict::Ticket`].
    Ticket,
    /// [`Verdict::Done`].
    Done,
    /// None: the handshake is over.
    Completion,
}

impl Facts {
    /// It neither makes nor accepts anything that a policy could refuse.
    const fn of(name: &'static str, reply: Reply) -> Self {
        Self {
            name,
            reply,
            size: 0,
            reads: false,
            steps: &[],
            ring: None,
        }
    }

    const fn reads(self) -> Self {
        Self {
            reads: true,
            ..self
        }
    }

    const fn carries(self, size: usize) -> Self {
        Self { size, ..self }
    }

    const fn is(self, steps: &'static [Step]) -> Self {
        Self { steps, ..self }
    }

    const fn by_key_of(self, ring: RingPlace) -> Self {
        Self {
            ring: Some(ring),
            ..self
        }
    }
}

impl Segment {
    /// What is the same of its directive everywhere.
    pub fn facts(&self) -> Facts {
        use Reply::{Certificates, Completion, Done, Message, Named, Ticket};
        match self {
            Self::Receive { .. } => Facts::of("receive", Message).reads(),
            Self::Show { .. } => Facts::of("show", Message),
            Self::ReceiveChangeCipherSpec => Facts::of("receive-change-cipher-spec", Done).reads(),
            Self::FindIdentity { .. } => Facts::of("find-identity", Named),
            Self::Negotiate { .. } => Facts::of("negotiate", Done),
            Self::Restart => Facts::of("restart", Done),
            Self::Write(template) => Facts::of("write", Done).carries(template.message.len()),
            Self::WriteChangeCipherSpec => Facts::of("write-change-cipher-spec", Done),
            Self::Agree { share } => {
                let facts = Facts::of("agree", Done).carries(share.len());
                facts.is(&[Step::Agree])
            }
            Self::Derive(..) => Facts::of("derive", Done).is(&[Step::DeriveKeys]),
            Self::DecodeCertificate => {
                Facts::of("decode-certificate", Certificates).is(&[Step::DecodeCertificate])
            }
            Self::ValidateChain { .. } => {
                Facts::of("validate-chain", Done).is(&[Step::AcceptCertificate])
            }
            Self::VerifySignature { .. } => {
                Facts::of("verify-signature", Done).is(&[Step::VerifySignature])
            }
            Self::ValidateMac => Facts::of("validate-mac", Done).is(&[Step::ValidateMac]),
            Self::Finish(_) => Facts::of("finish", Completion).is(&[Step::InstallKeys]),
            Self::Abort { .. } => Facts::of("abort", Completion),
            Self::Decrypt { ring, .. } => {
                let facts = Facts::of("decrypt", Done).is(&[Step::DecryptPreMaster]);
                facts.by_key_of(*ring)
            }
            // Resumption is refused as a whole (`resumption = false`).
            Self::TakeTicket => Facts::of("take-ticket", Ticket),
            Self::OpenTicket { .. } => Facts::of("open-ticket", Ticket),
            Self::Resume { .. } => Facts::of("resume", Done),
            Self::PrepareTicket { .. } => Facts::of("prepare-ticket", Done),
            Self::KeepTicket => Facts::of("keep-ticket", Done),
            // A classical share is made and used at once; of a hybrid either half is.
            Self::Encapsulate { group, share } => {
                let facts = Facts::of("encapsulate", Done).carries(share.length.into());
                facts.is(match group.classical() {
                    Some(_) => &[Step::KeyShare, Step::Agree, Step::Encapsulate],
                    None => &[Step::KeyShare, Step::Agree],
                })
            }
            Self::Decapsulate { group, share } => {
                let facts = Facts::of("decapsulate", Done).carries(share.length.into());
                facts.is(match group.classical() {
                    Some(_) => &[Step::Agree, Step::Decapsulate],
                    None => &[Step::Agree],
                })
            }
            Self::FindIssued { .. } => Facts::of("find-issued", Named),
        }
    }
}

/// A step after its number: its word in a configuration and in the audit log, and the alert
/// for the peer (RFC 8446 §6.2, RFC 5246 §7.2.2).
macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident = $number:literal, $name:literal, $alert:ident;)*) => {
        /// A step of a directed handshake that a policy can refuse: a directive (R12 to
        /// R29), or one under a condition.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
        pub enum Step { $($(#[$doc])* $step = $number,)* }

        impl Step {
            /// Every step.
            pub const ALL: [Self; [$($number),*].len()] = [$(Self::$step),*];

            /// Its word in a configuration and in the audit log.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$step => $name,)* }
            }

            /// What the peer is told: access_denied when its proof of identity is refused,
            /// handshake_failure otherwise (RFC 8446 §6.2, RFC 5246 §7.2.2).
            pub const fn alert(self) -> Alert {
                match self { $(Self::$step => Alert::$alert,)* }
            }
        }
    };
}

steps! {
    /// The random of a hello (R12 to R15).
    Random = 1, "random", HANDSHAKE_FAILURE;
    /// A key share (R18, R20).
    KeyShare = 2, "key-share", HANDSHAKE_FAILURE;
    /// Showing the ring's chain.
    ShowCertificate = 3, "show-certificate", HANDSHAKE_FAILURE;
    /// Decoding the peer's Certificate (R16, R17).
    DecodeCertificate = 4, "decode-certificate", ACCESS_DENIED;
    /// Accepting the peer's chain (R16, R17).
    AcceptCertificate = 5, "accept-certificate", ACCESS_DENIED;
    /// Encrypting a pre-master secret (R18).
    EncryptPreMaster = 6, "encrypt-pre-master", HANDSHAKE_FAILURE;
    /// Decrypting one with the ring's key (R20).
    DecryptPreMaster = 7, "decrypt-pre-master", HANDSHAKE_FAILURE;
    /// Agreeing on the pre-master secret (R18, R20).
    Agree = 8, "agree", HANDSHAKE_FAILURE;
    /// Deriving secrets and keys (R22, R23).
    DeriveKeys = 9, "derive-keys", HANDSHAKE_FAILURE;
    /// Signing with the ring's key (R24).
    Sign = 10, "sign", HANDSHAKE_FAILURE;
    /// Signing with it for a client that names no server (RFC 6066 §3).
    SignWithoutServerName = 11, "sign-without-server-name", HANDSHAKE_FAILURE;
    /// Signing with it by RSASSA-PKCS1-v1_5 (TLS 1.2).
    SignRsaPkcs1 = 12, "sign-rsa-pkcs1", HANDSHAKE_FAILURE;
    /// Verifying the peer's signature (R25).
    VerifySignature = 13, "verify-signature", ACCESS_DENIED;
    /// The MAC of this side's Finished (R26, R27).
    ComputeMac = 14, "compute-mac", HANDSHAKE_FAILURE;
    /// Checking the MAC of the peer's (R28, R29).
    ValidateMac = 15, "validate-mac", HANDSHAKE_FAILURE;
    /// Installing the session's keys.
    InstallKeys = 16, "install-keys", HANDSHAKE_FAILURE;
    /// Server: encapsulating a secret with ML-KEM (FIPS 203).
    Encapsulate = 17, "encapsulate", HANDSHAKE_FAILURE;
    /// Client: decapsulating one.
    Decapsulate = 18, "decapsulate", HANDSHAKE_FAILURE;
}

impl Sampled for Segment {
    fn samples() -> Vec<(Self, &'static str)> {
        let name = || Box::new(Text::from_text("a.test").unwrap_or_default());
        let (place, group) = (
            Place {
                offset: 3,
                length: 32,
            },
            Group::X25519,
        );
        let binder = Binder {
            list: 9,
            binder: place,
        };
        let hole = Hole {
            offset: 4,
            prefix: 0,
            fill: Fill::VerifyData,
        };
        samples! {
            Self::Receive { limit: 300, show: 4 } => "00ac0204";
            Self::Show { offset: 5 } => "0105";
            Self::ReceiveChangeCipherSpec => "02";
            Self::FindIdentity { server_name: name() } => "0306612e74657374";
            Self::Negotiate { suite: CipherSuite::Aes128GcmSha256, peer_random: [7; 32] } =>
                "04000707070707070707070707070707070707070707070707070707070707070707";
            Self::Restart => "05";
            Self::Write(Template {
                message: Blob::from_slice(&[20, 0, 0, 0]).unwrap_or_default(),
                holes: List::from_items([hole]).unwrap_or_default(),
            }) => "06041400000001040004";
            Self::WriteChangeCipherSpec => "07";
            Self::Agree { share: Bytes::from_slice(&[9, 9]).unwrap_or_default() } => "08020909";
            Self::Derive(Stage::Master, RecordLimit::NONE) => "0902808001";
            Self::DecodeCertificate => "0a";
            Self::ValidateChain { server_name: Some(name()) } => "0b0106612e74657374";
            Self::VerifySignature { offset: 36 } => "0c24";
            Self::ValidateMac => "0d";
            Self::Finish(Box::new(Agreed { group: None, alpn: None, server_name: None, ring: 1 })) =>
                "0e00000001";
            Self::Abort {
                alert: Some(Alert::HANDSHAKE_FAILURE),
                error: HandshakeError::Cancelled,
                cause: Some(Cause::Signature),
            } => "0f0128040110";
            Self::Decrypt { ring: 1, client_version: 0x303, offset: 2 } => "1001830602";
            Self::TakeTicket => "11";
            Self::OpenTicket { ring: 1, version: Version::Tls13, server_name: None, ticket: place } =>
                "120101000320";
            Self::Resume { binder: Some(binder) } => "1301090320";
            Self::PrepareTicket { server_name: None } => "1400";
            Self::KeepTicket => "15";
            Self::Encapsulate { group, share: place } => "16020320";
            Self::Decapsulate { group, share: place } => "17020320";
            Self::FindIssued { authorities: place } => "180320";
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::variants;

    #[test]
    fn a_segment_out_of_bounds_is_none() {
        // Whatever the next number would need of them.
        let mut unknown = [0; 64];
        unknown[0] = u8::try_from(variants::<Segment>().len()).unwrap();
        for bytes in [
            &unknown[..],
            &[9, 3, 0x80, 1],
            &[9, 2, 62],
            &[6, 0, 4],
            &[6, 0xff, 0xff, 3],
            &[8, 98],
            &[0, 0xff, 0xff, 0xff, 1],
        ] {
            let segment = postcard::take_from_bytes::<Segment>(bytes);
            assert!(segment.is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn each_directive_and_each_step_has_a_name_of_its_own() {
        let samples = Segment::samples().into_iter();
        let directives: Vec<_> = samples.map(|(segment, _)| segment.facts().name).collect();
        let steps = Step::ALL.map(Step::name).to_vec();
        for mut names in [directives, steps] {
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{names:?}");
        }
    }
}

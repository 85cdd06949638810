//! What the key store is asked for: chains and trust anchors, which are
//! public, and signatures over what it can recognise as TLS.
//!
//! A request to sign never carries the bytes to be signed. It carries what the
//! TLS message is made of, and the key store makes the bytes.

use alloc::vec::Vec;

use postcard::experimental::max_size::MaxSize;
use serde::{Deserialize, Serialize};
use tls::{Group, Role, Scheme, Secret};

use crate::bounded::{Blob, Bytes};
use crate::sample::{Sampled, samples};
use crate::tls::{Label, Revocation, Schemes};
use crate::transport::Protocol;

/// A key ring, by its place in the key store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub struct KeyringIndex(pub u8);

impl KeyringIndex {
    /// Set in every other version of a ring.
    pub const REPLACED: u8 = 0x80;
}

/// The kind of a ring's private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum KeyKind {
    /// ECDSA on secp256r1.
    EcdsaP256,
    /// ECDSA on secp384r1.
    EcdsaP384,
    /// Ed25519.
    Ed25519,
    /// RSA, 2048 to 4096 bits.
    Rsa,
}

impl KeyKind {
    /// The curve that a client of TLS 1.2 has to offer for a certificate with such a key
    /// (RFC 8422 §5.3).
    pub const fn curve(self) -> Option<Group> {
        match self {
            Self::EcdsaP256 => Some(Group::Secp256r1),
            Self::EcdsaP384 => Some(Group::Secp384r1),
            Self::Ed25519 | Self::Rsa => None,
        }
    }

    /// The kind of key that a scheme signs with.
    pub const fn of(scheme: Scheme) -> Self {
        match scheme {
            Scheme::EcdsaSecp256r1Sha256 => Self::EcdsaP256,
            Scheme::EcdsaSecp384r1Sha384 => Self::EcdsaP384,
            Scheme::Ed25519 => Self::Ed25519,
            _ => Self::Rsa,
        }
    }
}

/// What is to be signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum ToBeSigned {
    /// A CertificateVerify of TLS 1.3 (RFC 8446 §4.4.3).
    Tls13CertificateVerify {
        /// Chooses the context string.
        role: Role,
        /// The transcript hash: 32 or 48 bytes.
        transcript_hash: Bytes<48>,
    },
    /// A ServerKeyExchange of TLS 1.2 with a named curve (RFC 8422 §5.4).
    Tls12ServerKeyExchange {
        /// The ClientHello's random.
        client_random: [u8; 32],
        /// The ServerHello's random.
        server_random: [u8; 32],
        /// The group's number in the Supported Groups registry.
        group: u16,
        /// The server's public key: 32, 65 or 97 bytes.
        public_key: Bytes<97>,
    },
    /// A client's CertificateVerify of TLS 1.2 (RFC 5246 §7.4.8): the
    /// handshake messages that came before it, handed over by
    /// [`Request::Transcript`].
    Tls12CertificateVerify,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Request {
    /// What the ring at a place has. Answer: [`Answer::Keyring`]; places are
    /// numbered from 0 without gaps, below [`KeyringIndex::REPLACED`].
    Keyring(KeyringIndex),
    /// A part of a certificate, of a revocation list or of an OCSP response (DER). Answer:
    /// [`Answer::Part`].
    Certificate {
        /// The ring.
        keyring: KeyringIndex,
        /// In the chain (end entity first), among the trust anchors, among the revocation
        /// lists, or the response.
        from: CertificateList,
        /// Place in that list.
        index: u8,
        /// Where the part starts, in bytes.
        offset: u16,
    },
    /// A part of the handshake messages that the next signature is over, at
    /// most [`MAX_TRANSCRIPT`] bytes in all. Answer: [`Answer::Taken`].
    Transcript {
        /// Nothing of a previous transcript is kept.
        is_first: bool,
        /// The next bytes.
        part: Blob<MAX_PART>,
    },
    /// A signature. Answer: [`Answer::Signature`].
    Sign {
        /// The ring.
        keyring: KeyringIndex,
        /// How.
        scheme: Scheme,
        /// What.
        to_be_signed: ToBeSigned,
    },
    /// The pre-master secret that a client encrypted (RFC 5246 §7.4.7.1).
    /// Answer: [`Answer::PreMaster`], for any plaintext.
    Decrypt {
        /// The ring; its key is of the kind [`KeyKind::Rsa`].
        keyring: KeyringIndex,
        /// The version that the ClientHello named.
        client_version: u16,
        /// As long as the key's modulus.
        encrypted: Bytes<MAX_ENCRYPTED>,
    },
}

/// Which certificates of a ring, or lists of such.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum CertificateList {
    /// What this system shows of itself.
    Chain,
    /// Whom it trusts.
    Trust,
    /// Revocation lists of those that it trusts, and of those that they authorised.
    Crls,
    /// The one OCSP response for the end entity of the chain.
    Ocsp,
}

/// What is answered when it worked.
#[derive(Serialize, Deserialize, MaxSize)]
pub enum Answer {
    /// What a ring has.
    Keyring {
        /// Its label.
        label: Label,
        /// Its key; `None` for a ring of trust anchors alone.
        key: Option<KeyKind>,
        /// What its key signs by.
        schemes: Schemes,
        /// Certificates in its chain.
        chain: u8,
        /// Its trust anchors.
        trust: u8,
        /// Its revocation lists.
        crls: u8,
        /// What they have to say of a peer.
        revocation: Revocation,
        /// Whether it has an OCSP response.
        has_ocsp: bool,
        /// The number of the current ring, for all other requests. It stays valid for
        /// what began before the ring was replaced, until it is replaced once more.
        current: KeyringIndex,
    },
    /// A part of a certificate; shorter than [`MAX_PART`] only at its end.
    Part(Blob<MAX_PART>),
    /// A part of a transcript is kept.
    Taken,
    /// A signature as TLS carries it: DER for ECDSA.
    Signature(Blob<512>),
    /// A pre-master secret, or the substitute for an invalid one; they can't be told
    /// apart.
    PreMaster(Secret<PRE_MASTER>),
}

/// Bytes of a pre-master secret of static RSA.
pub const PRE_MASTER: usize = 48;
/// The longest encrypted pre-master secret: a modulus of 4096 bits.
pub const MAX_ENCRYPTED: usize = 512;
/// The longest transcript that is signed.
pub const MAX_TRANSCRIPT: usize = 64 * 1024;
/// Bytes of a certificate in one answer, or of a transcript in one request.
pub const MAX_PART: usize = 900;

/// Why it did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum KeystoreError {
    /// The request's bytes are none.
    Malformed = 1,
    /// There is no such ring or certificate.
    Unknown = 2,
    /// The ring's key can't be used with this scheme, or not in this role.
    WrongScheme = 3,
    /// The request is not for a TLS message: a hash of a wrong length, a
    /// group that does not exist, a public key that does not fit it.
    NotTls = 4,
    /// The badge has no right to this.
    Denied = 5,
    /// The signature could not be made.
    Failed = 6,
    /// The ring's key is not to decrypt.
    NotForDecryption = 7,
    /// There are no key rings: the image's could not be opened (ADR 0086). No later call
    /// is answered otherwise, until the key store is restarted.
    NoKeyrings = 8,
}

/// The key store's protocol.
pub struct Keystore;

impl Protocol for Keystore {
    type Request = Request;
    type Reply = Result<Answer, KeystoreError>;
    fn is_secret(reply: &Self::Reply) -> bool {
        match reply {
            Ok(Answer::PreMaster(_)) => true,
            Ok(Answer::Keyring { .. } | Answer::Part(_) | Answer::Taken | Answer::Signature(_))
            | Err(_) => false,
        }
    }
    fn malformed() -> Self::Reply {
        Err(KeystoreError::Malformed)
    }
}

const _: () = Keystore::FITS;

impl Sampled for Request {
    fn samples() -> Vec<(Self, &'static str)> {
        let keyring = KeyringIndex(1);
        let to_be_signed = ToBeSigned::Tls13CertificateVerify {
            role: Role::Server,
            transcript_hash: Bytes::from_slice(&[5; 32]).unwrap_or_default(),
        };
        samples! {
            Self::Keyring(keyring) => "0001";
            Self::Certificate { keyring, from: CertificateList::Trust, index: 0, offset: 900 } =>
                "010101008407";
            Self::Transcript {
                is_first: true,
                part: Blob::from_slice(&[1, 0, 0, 0]).unwrap_or_default(),
            } => "02010401000000";
            Self::Sign { keyring, scheme: Scheme::EcdsaSecp256r1Sha256, to_be_signed } =>
                "0301030000200505050505050505050505050505\
                 050505050505050505050505050505050505";
            Self::Decrypt {
                keyring,
                client_version: 0x303,
                encrypted: Bytes::from_slice(&[7; 2]).unwrap_or_default(),
            } => "04018306020707";
        }
    }
}

//! One key ring: its chain, its trust anchors, its revocation lists, its OCSP response, its
//! key.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use ipc::bounded::Blob;
use ipc::keystore::{CertificateList, KeyKind, KeystoreError, PRE_MASTER};
use ipc::provision::{self, Crls};
use ipc::tls::{Label, Schemes};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaEncoding, RsaKeyPair};
use tls::{Role, Scheme};
use zeroize::Zeroizing;

use crate::pre_master::DecryptionKey;
use crate::rotation::RotationError;
use crate::tbs::Content;

/// What the image builder handed over can't be used; the place of the ring in
/// the list, where it is one ring's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProvisionError {
    /// The blob is no list of key rings.
    Malformed,
    /// There are more rings than [`ipc::keystore::KeyringIndex`] can name.
    TooMany,
    /// The key of this ring is none of its kind.
    BadKey(usize),
    /// They are sealed, and could not be opened.
    Sealed(RotationError),
}

impl fmt::Display for ProvisionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the image has no list of key rings"),
            Self::TooMany => f.write_str("there are too many"),
            Self::BadKey(place) => write!(f, "the private key of ring {place} can't be used"),
            Self::Sealed(error) => write!(f, "they are sealed: {error}"),
        }
    }
}

enum PrivateKey {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

/// What [`Keyring::open`] answers.
type PreMaster = Zeroizing<[u8; PRE_MASTER]>;

pub(crate) struct Keyring {
    pub(crate) label: Label,
    pub(crate) kind: Option<KeyKind>,
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) trust: Vec<Vec<u8>>,
    pub(crate) crls: Crls,
    pub(crate) ocsp: Option<Vec<u8>>,
    roles: Vec<Role>,
    pub(crate) schemes: Schemes,
    key: Option<PrivateKey>,
    /// The same key, for static RSA.
    decryption: Option<DecryptionKey>,
}

impl Keyring {
    /// Whether it does all that `other` does: sign in each of its roles, and decrypt.
    pub(crate) fn does_all_of(&self, other: &Self) -> bool {
        let signs = self.key.is_some() || other.key.is_none();
        let decrypts = self.decryption.is_some() || other.decryption.is_none();
        signs && decrypts && other.roles.iter().all(|role| self.roles.contains(role))
    }

    /// Takes a ring over. The DER of its key is zeroized.
    pub(crate) fn new(ring: provision::Keyring, random: &SystemRandom) -> Result<Self, ()> {
        let kind = ring.key.as_ref().map(|key| key.kind);
        let key = match &ring.key {
            Some(key) => Some(parse(key, random)?),
            None => None,
        };
        let decryption = match &ring.key {
            Some(key) if ring.decrypts => {
                let is_rsa = key.kind == KeyKind::Rsa;
                let opened = DecryptionKey::from_pkcs8(&key.pkcs8);
                Some(opened.filter(|_| is_rsa).ok_or(())?)
            }
            _ => None,
        };
        Ok(Self {
            decryption,
            label: ring.label,
            kind,
            chain: ring.chain,
            trust: ring.trust,
            crls: ring.crls,
            ocsp: ring.ocsp,
            roles: ring.roles,
            schemes: ring.schemes,
            key,
        })
    }

    /// What is at `index` of one of the lists.
    pub(crate) fn certificate(&self, from: CertificateList, index: u8) -> Option<&[u8]> {
        let list = match from {
            CertificateList::Chain => &self.chain[..],
            CertificateList::Trust => &self.trust,
            CertificateList::Crls => &self.crls.lists,
            CertificateList::Ocsp => self.ocsp.as_slice(),
        };
        list.get(usize::from(index)).map(Vec::as_slice)
    }

    /// The pre-master secret that a client encrypted, or its substitute.
    pub(crate) fn open(
        &self,
        encrypted: &[u8],
        client_version: u16,
        random: &SystemRandom,
    ) -> Result<PreMaster, KeystoreError> {
        let key = self.decryption.as_ref();
        key.ok_or(KeystoreError::NotForDecryption)?
            .open(encrypted, client_version, random)
            .ok_or(KeystoreError::Failed)
    }

    /// Signs TLS content, if the key and its roles allow it.
    pub(crate) fn sign(
        &self,
        role: Role,
        scheme: Scheme,
        content: &Content,
        random: &SystemRandom,
    ) -> Result<Blob<512>, KeystoreError> {
        let key = self.key.as_ref().ok_or(KeystoreError::WrongScheme)?;
        let is_allowed = self.schemes.is_empty() || self.schemes.contains(&scheme);
        let is_meant = self.kind == Some(KeyKind::of(scheme)) && self.roles.contains(&role);
        if !is_allowed || !is_meant {
            return Err(KeystoreError::WrongScheme);
        }
        let failed = |_| KeystoreError::Failed;
        match key {
            PrivateKey::Ecdsa(pair) => {
                let signature = pair.sign(random, content.bytes()).map_err(failed)?;
                Blob::from_slice(signature.as_ref())
            }
            PrivateKey::Ed25519(pair) => Blob::from_slice(pair.sign(content.bytes()).as_ref()),
            PrivateKey::Rsa(pair) => {
                let padding = rsa_padding(scheme).ok_or(KeystoreError::WrongScheme)?;
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, random, content.bytes(), &mut signature)
                    .map_err(failed)?;
                Blob::from_slice(&signature)
            }
        }
        .map_err(|_| KeystoreError::Failed)
    }
}

fn parse(key: &provision::PrivateKey, random: &SystemRandom) -> Result<PrivateKey, ()> {
    let der = &key.pkcs8;
    let ecdsa = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, der, random);
    match key.kind {
        KeyKind::EcdsaP256 => {
            ecdsa(&signature::ECDSA_P256_SHA256_ASN1_SIGNING).map(PrivateKey::Ecdsa)
        }
        KeyKind::EcdsaP384 => {
            ecdsa(&signature::ECDSA_P384_SHA384_ASN1_SIGNING).map(PrivateKey::Ecdsa)
        }
        KeyKind::Ed25519 => {
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(PrivateKey::Ed25519)
        }
        KeyKind::Rsa => RsaKeyPair::from_pkcs8(der).map(PrivateKey::Rsa),
    }
    .map_err(|_| ())
}

fn rsa_padding(scheme: Scheme) -> Option<&'static dyn RsaEncoding> {
    let padding: &dyn RsaEncoding = match scheme {
        Scheme::RsaPkcs1Sha256 => &signature::RSA_PKCS1_SHA256,
        Scheme::RsaPkcs1Sha384 => &signature::RSA_PKCS1_SHA384,
        Scheme::RsaPkcs1Sha512 => &signature::RSA_PKCS1_SHA512,
        Scheme::RsaPssRsaeSha256 => &signature::RSA_PSS_SHA256,
        Scheme::RsaPssRsaeSha384 => &signature::RSA_PSS_SHA384,
        Scheme::RsaPssRsaeSha512 => &signature::RSA_PSS_SHA512,
        _ => return None,
    };
    Some(padding)
}

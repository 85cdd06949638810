//! Decode, check, act, reply.

use alloc::vec::Vec;

use ipc::badge::Badge;
use ipc::bounded::Blob;
use ipc::keystore::{
    Answer, CertificateList, KeyringIndex, Keystore, KeystoreError, MAX_PART, Request, Scheme,
    ToBeSigned,
};
use ipc::provision;
use ipc::secret::Secret;
use ipc::stats;
use ipc::transport::{MAX_MESSAGE, dispatch};
use ring::rand::SystemRandom;

use crate::keyring::{Keyring, ProvisionError};
use crate::tbs::{self, Content};
use crate::transcript::Transcript;

/// The key store.
pub struct Server<'a> {
    rings: Vec<Keyring>,
    random: SystemRandom,
    transcript: Transcript,
    /// The last answer carries a secret.
    has_told_secret: bool,
    stats: &'a stats::Page,
}

impl<'a> Server<'a> {
    /// A key store with the key rings of `blob`, a postcard
    /// [`provision::Keyrings`].
    ///
    /// # Errors
    /// [`ProvisionError`]; the image is of no use then.
    pub fn new(blob: &[u8], stats: &'a stats::Page) -> Result<Self, ProvisionError> {
        let (provision::Keyrings(rings), _) =
            postcard::take_from_bytes(blob).map_err(|_| ProvisionError::Malformed)?;
        if rings.len() > usize::from(u8::MAX) {
            return Err(ProvisionError::TooMany);
        }
        let random = SystemRandom::new();
        let rings = rings
            .into_iter()
            .enumerate()
            .map(|(place, ring)| {
                Keyring::new(ring, &random).map_err(|()| ProvisionError::BadKey(place))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            rings,
            random,
            transcript: Transcript::default(),
            has_told_secret: false,
            stats,
        })
    }

    /// How many key rings there are.
    pub fn keyrings(&self) -> usize {
        self.rings.len()
    }

    /// Whether the last answer carries a secret, whose traces are to be cleared.
    pub const fn has_told_secret(&self) -> bool {
        self.has_told_secret
    }

    /// Answers one call: `request` and `reply` are messages of
    /// [`ipc::keystore`]; returns the reply's length.
    // Its frames are below the caller's, where they can be scrubbed.
    #[inline(never)]
    pub fn serve(&mut self, badge: u64, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> usize {
        self.stats.add(stats::keystore::CALLS, 1);
        self.has_told_secret = false;
        dispatch::<Keystore>(request, reply, |request| {
            let answer = self.answer(badge, &request);
            if answer.is_err() {
                self.stats.add(stats::keystore::REFUSED, 1);
            }
            answer
        })
    }

    fn answer(&mut self, badge: u64, request: &Request) -> Result<Answer, KeystoreError> {
        let Some(Badge::Client(_)) = Badge::from_word(badge) else {
            return Err(KeystoreError::Denied);
        };
        match request {
            Request::Keyring(index) => self.describe(*index),
            Request::Certificate {
                keyring,
                from,
                index,
                offset,
            } => self.part(*keyring, *from, *index, *offset),
            Request::Transcript { is_first, part } => {
                self.transcript.take(*is_first, part)?;
                Ok(Answer::Taken)
            }
            Request::Sign {
                keyring,
                scheme,
                to_be_signed,
            } => self.sign(*keyring, *scheme, to_be_signed),
            Request::Decrypt {
                keyring,
                client_version,
                encrypted,
            } => {
                let ring = self.ring(*keyring)?;
                let secret = ring.open(encrypted, *client_version, &self.random)?;
                self.stats.add(stats::keystore::DECRYPTED, 1);
                self.has_told_secret = true;
                let secret = Secret::from_slice(&*secret);
                secret
                    .map(Answer::PreMaster)
                    .map_err(|_| KeystoreError::Failed)
            }
        }
    }

    fn describe(&self, index: KeyringIndex) -> Result<Answer, KeystoreError> {
        let ring = self.ring(index)?;
        let count = |list: &[Vec<u8>]| u8::try_from(list.len()).unwrap_or(u8::MAX);
        Ok(Answer::Keyring {
            label: ring.label.clone(),
            key: ring.kind,
            chain: count(&ring.chain),
            trust: count(&ring.trust),
        })
    }

    fn part(
        &self,
        keyring: KeyringIndex,
        from: CertificateList,
        index: u8,
        offset: u16,
    ) -> Result<Answer, KeystoreError> {
        let certificate = self
            .ring(keyring)?
            .certificate(from, index)
            .ok_or(KeystoreError::Unknown)?;
        let rest = certificate
            .get(usize::from(offset)..)
            .ok_or(KeystoreError::Unknown)?;
        let part = rest.get(..MAX_PART).unwrap_or(rest);
        let part = Blob::from_slice(part).map_err(|_| KeystoreError::Failed)?;
        Ok(Answer::Part(part))
    }

    fn sign(
        &mut self,
        keyring: KeyringIndex,
        scheme: Scheme,
        parts: &ToBeSigned,
    ) -> Result<Answer, KeystoreError> {
        let is_tls13 = matches!(parts, ToBeSigned::Tls13CertificateVerify { .. });
        if is_tls13 && !scheme.in_tls13() {
            return Err(KeystoreError::WrongScheme);
        }
        let content = Content::of(parts, &mut self.transcript)?;
        let ring = self.ring(keyring)?;
        let signature = ring.sign(tbs::role(parts), scheme, &content, &self.random)?;
        self.stats.add(stats::keystore::SIGNED, 1);
        Ok(Answer::Signature(signature))
    }

    fn ring(&self, index: KeyringIndex) -> Result<&Keyring, KeystoreError> {
        self.rings
            .get(usize::from(index.0))
            .ok_or(KeystoreError::Unknown)
    }
}

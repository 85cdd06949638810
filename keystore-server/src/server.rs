//! Decode, check, act, reply.

use alloc::vec::Vec;

use ipc::badge::Badge;
use ipc::bounded::Blob;
use ipc::keystore::{
    Answer, CertificateList, KeyringIndex, Keystore, KeystoreError, MAX_PART, Request, ToBeSigned,
};
use ipc::provision;
use ipc::stats;
use ipc::transport::{MAX_MESSAGE, dispatch};
use ring::rand::SystemRandom;
use tls::{Scheme, Secret};

use crate::firmware::{Kek, KeyError};
use crate::keyring::{Keyring, ProvisionError};
use crate::rotation::{self, Frame, RotationError};
use crate::tbs::{self, Content};
use crate::transcript::Transcript;

/// Answers one call where no key ring could be opened: [`KeystoreError::NoKeyrings`];
/// returns the reply's length.
pub fn refuse(stats: &stats::Page, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> usize {
    stats.add(stats::keystore::CALLS, 1);
    stats.add(stats::keystore::REFUSED, 1);
    dispatch::<Keystore>(request, reply, |_| Err(KeystoreError::NoKeyrings))
}

/// The key store.
pub struct Server<'a> {
    places: Vec<Place>,
    /// Who may replace rings.
    signer: Option<[u8; 32]>,
    /// Rings come sealed.
    is_sealed: bool,
    /// Of the rings in use; 0 are the image's.
    version: u64,
    /// Some entry has a previous ring.
    has_replaced: bool,
    random: SystemRandom,
    transcript: Transcript,
    /// The last answer carries a secret.
    has_told_secret: bool,
    stats: &'a stats::Page,
}

/// A ring, and the one that it replaced.
struct Place {
    current: Keyring,
    replaced: Option<Keyring>,
    /// [`KeyringIndex::REPLACED`], or 0.
    mark: u8,
}

impl<'a> Server<'a> {
    /// A key store with the key rings of `blob`, a postcard
    /// [`provision::KeystoreData`]; `key` is asked for if they are sealed.
    ///
    /// # Errors
    /// [`ProvisionError`]; the image is of no use then.
    pub fn new(
        blob: &[u8],
        stats: &'a stats::Page,
        key: impl FnOnce() -> Result<Kek, KeyError>,
    ) -> Result<Self, ProvisionError> {
        let (data, _): (provision::KeystoreData, _) =
            postcard::take_from_bytes(blob).map_err(|_| ProvisionError::Malformed)?;
        let is_sealed = matches!(data.rings, provision::Rings::Sealed(_));
        let rings = rotation::opened(data.rings, key);
        let provision::Keyrings(rings) = rings.map_err(ProvisionError::Sealed)?;
        if rings.len() > usize::from(KeyringIndex::REPLACED) {
            return Err(ProvisionError::TooMany);
        }
        let random = SystemRandom::new();
        let places = rings
            .into_iter()
            .enumerate()
            .map(|(place, ring)| {
                let current = Keyring::new(ring, &random);
                Ok(Place {
                    current: current.map_err(|()| ProvisionError::BadKey(place))?,
                    replaced: None,
                    mark: 0,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            places,
            signer: data.signer,
            is_sealed,
            version: 0,
            has_replaced: false,
            random,
            transcript: Transcript::default(),
            has_told_secret: false,
            stats,
        })
    }

    /// How many key rings there are.
    pub fn keyrings(&self) -> usize {
        self.places.len()
    }

    /// Whether there is a signer that may replace rings.
    pub const fn is_rotatable(&self) -> bool {
        self.signer.is_some()
    }

    /// Replaces rings by those of an update, all or none; its version. What was
    /// replaced stays for handshakes that began with it.
    ///
    /// # Errors
    /// [`RotationError`]; nothing has changed then.
    pub fn rotate(
        &mut self,
        frame: &Frame,
        key: impl FnOnce() -> Result<Kek, KeyError>,
    ) -> Result<u64, RotationError> {
        let outcome = self.try_rotate(frame, key);
        let counter = match outcome {
            Ok(_) => stats::keystore::ROTATED,
            Err(_) => stats::keystore::ROTATIONS_REFUSED,
        };
        self.stats.add(counter, 1);
        outcome
    }

    fn try_rotate(
        &mut self,
        frame: &Frame,
        key: impl FnOnce() -> Result<Kek, KeyError>,
    ) -> Result<u64, RotationError> {
        let signer = self.signer.as_ref().ok_or(RotationError::Off)?;
        let update = frame.verify(signer)?;
        // After a restart the image's rings are in use again; an update older than the
        // last one is not accepted.
        let last = self.stats.read(stats::keystore::VERSION);
        if update.version <= self.version || update.version < last {
            return Err(RotationError::Older(last.max(self.version)));
        }
        if self.is_sealed && matches!(update.rings, provision::Rings::Open(_)) {
            return Err(RotationError::Unsealed);
        }
        let provision::Keyrings(rings) = rotation::opened(update.rings, key)?;
        let mut new = Vec::new();
        for ring in rings {
            let label = |place: &Place| place.current.label == ring.label;
            let place = self.places.iter().position(label);
            let place = place.ok_or(RotationError::Label)?;
            if new.iter().any(|(taken, _)| *taken == place) {
                return Err(RotationError::Label);
            }
            let ring = Keyring::new(ring, &self.random).map_err(|()| RotationError::BadKey)?;
            let current = self.places.get(place).map(|place| &place.current);
            if !current.is_some_and(|current| ring.does_all_of(current)) {
                return Err(RotationError::Less);
            }
            new.push((place, ring));
        }
        for (place, ring) in new {
            if let Some(place) = self.places.get_mut(place) {
                place.replaced = Some(core::mem::replace(&mut place.current, ring));
                place.mark ^= KeyringIndex::REPLACED;
            }
        }
        self.has_replaced = true;
        self.version = update.version;
        self.stats.set(stats::keystore::VERSION, update.version);
        Ok(update.version)
    }

    /// Whether there are rings that were replaced.
    pub const fn has_replaced(&self) -> bool {
        self.has_replaced
    }

    /// Gives up the rings that were replaced.
    pub fn forget_replaced(&mut self) {
        for place in &mut self.places {
            place.replaced = None;
        }
        self.has_replaced = false;
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
            // Who asks for all rings and certificates asks until there is none.
            let is_end = matches!(answer, Err(KeystoreError::Unknown))
                && matches!(request, Request::Keyring(_) | Request::Certificate { .. });
            if answer.is_err() && !is_end {
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
        let places = self.places.get(usize::from(index.0));
        let Place {
            current: ring,
            mark,
            ..
        } = places.ok_or(KeystoreError::Unknown)?;
        let count = |list: &[Vec<u8>]| u8::try_from(list.len()).unwrap_or(u8::MAX);
        Ok(Answer::Keyring {
            label: ring.label.clone(),
            key: ring.kind,
            schemes: ring.schemes.clone(),
            chain: count(&ring.chain),
            trust: count(&ring.trust),
            crls: count(&ring.crls.lists),
            revocation: ring.crls.revocation,
            has_ocsp: ring.ocsp.is_some(),
            current: KeyringIndex(index.0 | mark),
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
        let KeyringIndex(number) = index;
        let place = usize::from(number & !KeyringIndex::REPLACED);
        let place = self.places.get(place).ok_or(KeystoreError::Unknown)?;
        match number & KeyringIndex::REPLACED == place.mark {
            true => Ok(&place.current),
            false => place.replaced.as_ref().ok_or(KeystoreError::Unknown),
        }
    }
}

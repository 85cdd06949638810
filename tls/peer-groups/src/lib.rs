//! The groups of a peer in tests: *ring*'s, and hybrids (draft-ietf-tls-ecdhe-mlkem)
//! with another ML-KEM than the product's.
#![forbid(unsafe_code)]

use std::sync::{Mutex, PoisonError};

use ml_kem::kem::{Decapsulate, KeyExport};
use ml_kem::{
    DecapsulationKey768, DecapsulationKey1024, EncapsulationKey768, EncapsulationKey1024,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::crypto::ring::kx_group;
use rustls::crypto::{ActiveKeyExchange, CompletedKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion};

/// X25519MLKEM768, SecP256r1MLKEM768, SecP384r1MLKEM1024.
pub static HYBRIDS: [&dyn SupportedKxGroup; 3] = [
    &Hybrid::X25519MlKem768,
    &Hybrid::Secp256r1MlKem768,
    &Hybrid::Secp384r1MlKem1024,
];

/// The group with this number on the wire.
pub fn group(number: u16) -> Option<&'static dyn SupportedKxGroup> {
    let classical = [kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    let mut all = HYBRIDS.into_iter().chain(classical);
    all.find(|group| u16::from(group.name()) == number)
}

#[derive(Clone, Copy, Debug)]
enum Hybrid {
    X25519MlKem768,
    Secp256r1MlKem768,
    Secp384r1MlKem1024,
}

/// A key of either parameter set.
enum Key {
    Kem768(Box<DecapsulationKey768>),
    Kem1024(Box<DecapsulationKey1024>),
}

const INVALID: Error = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);

impl Hybrid {
    fn classical(self) -> &'static dyn SupportedKxGroup {
        match self {
            Self::X25519MlKem768 => kx_group::X25519,
            Self::Secp256r1MlKem768 => kx_group::SECP256R1,
            Self::Secp384r1MlKem1024 => kx_group::SECP384R1,
        }
    }

    /// Bytes of the classical share.
    fn classical_len(self) -> usize {
        match self {
            Self::X25519MlKem768 => 32,
            Self::Secp256r1MlKem768 => 65,
            Self::Secp384r1MlKem1024 => 97,
        }
    }

    fn join(self, classical: &[u8], kem: &[u8]) -> Vec<u8> {
        match self {
            Self::X25519MlKem768 => [kem, classical].concat(),
            Self::Secp256r1MlKem768 | Self::Secp384r1MlKem1024 => [classical, kem].concat(),
        }
    }

    /// The classical half, and the other.
    fn split(self, share: &[u8]) -> Result<(&[u8], &[u8]), Error> {
        let kem_len = share.len().checked_sub(self.classical_len());
        let halves = match self {
            Self::X25519MlKem768 => {
                let halves = kem_len.and_then(|length| share.split_at_checked(length));
                halves.map(|(kem, classical)| (classical, kem))
            }
            Self::Secp256r1MlKem768 | Self::Secp384r1MlKem1024 => {
                share.split_at_checked(self.classical_len())
            }
        };
        halves.ok_or(INVALID)
    }
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Error::FailedToGetRandomBytes)?;
    Ok(bytes)
}

impl SupportedKxGroup for Hybrid {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let seed = random::<64>()?.into();
        let (key, public) = match self {
            Self::X25519MlKem768 | Self::Secp256r1MlKem768 => {
                let key = DecapsulationKey768::from_seed(seed);
                let public = key.encapsulation_key().to_bytes().to_vec();
                (Key::Kem768(Box::new(key)), public)
            }
            Self::Secp384r1MlKem1024 => {
                let key = DecapsulationKey1024::from_seed(seed);
                let public = key.encapsulation_key().to_bytes().to_vec();
                (Key::Kem1024(Box::new(key)), public)
            }
        };
        let classical = self.classical().start()?;
        Ok(Box::new(Started {
            share: self.join(classical.pub_key(), &public),
            group: *self,
            classical,
            key,
        }))
    }

    fn start_and_complete(&self, share: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let (classical, key) = self.split(share)?;
        let classical = self.classical().start_and_complete(classical)?;
        let message = random::<32>()?.into();
        let (ciphertext, secret) = match self {
            Self::X25519MlKem768 | Self::Secp256r1MlKem768 => {
                let key = key.try_into().map_err(|_| INVALID)?;
                let key = EncapsulationKey768::new(&key).map_err(|_| INVALID)?;
                let (ciphertext, secret) = key.encapsulate_deterministic(&message);
                (ciphertext.to_vec(), secret)
            }
            Self::Secp384r1MlKem1024 => {
                let key = key.try_into().map_err(|_| INVALID)?;
                let key = EncapsulationKey1024::new(&key).map_err(|_| INVALID)?;
                let (ciphertext, secret) = key.encapsulate_deterministic(&message);
                (ciphertext.to_vec(), secret)
            }
        };
        let shared = self.join(classical.secret.secret_bytes(), &secret);
        Ok(CompletedKeyExchange {
            group: self.name(),
            pub_key: self.join(&classical.pub_key, &ciphertext),
            secret: shared.into(),
        })
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        match self {
            Self::X25519MlKem768 => NamedGroup::X25519MLKEM768,
            Self::Secp256r1MlKem768 => NamedGroup::secp256r1MLKEM768,
            Self::Secp384r1MlKem1024 => NamedGroup::Unknown(0x11ed),
        }
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

struct Started {
    group: Hybrid,
    classical: Box<dyn ActiveKeyExchange>,
    key: Key,
    share: Vec<u8>,
}

impl ActiveKeyExchange for Started {
    fn complete(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, Error> {
        let (classical, ciphertext) = self.group.split(share)?;
        let classical = self.classical.complete(classical)?;
        let secret = match &self.key {
            Key::Kem768(key) => key.decapsulate(&ciphertext.try_into().map_err(|_| INVALID)?),
            Key::Kem1024(key) => key.decapsulate(&ciphertext.try_into().map_err(|_| INVALID)?),
        };
        Ok(self.group.join(classical.secret_bytes(), &secret).into())
    }

    fn hybrid_component(&self) -> Option<(NamedGroup, &[u8])> {
        Some((self.classical.group(), self.classical.pub_key()))
    }

    fn complete_hybrid_component(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, Error> {
        self.classical.complete(share)
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn pub_key(&self) -> &[u8] {
        &self.share
    }

    fn group(&self) -> NamedGroup {
        self.group.name()
    }
}

/// A group whose secrets are written down, for those who look for them elsewhere.
#[derive(Debug)]
pub struct Recorded {
    group: &'static dyn SupportedKxGroup,
    secrets: Mutex<Vec<Vec<u8>>>,
}

impl Recorded {
    /// This one's; it lives as long as the program.
    pub fn new(group: &'static dyn SupportedKxGroup) -> &'static Self {
        Box::leak(Box::new(Self {
            group,
            secrets: Mutex::default(),
        }))
    }

    /// The shared secrets so far.
    pub fn secrets(&self) -> Vec<Vec<u8>> {
        let secrets = self.secrets.lock();
        secrets.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn record(&self, secret: &SharedSecret) {
        let secrets = self.secrets.lock();
        let mut secrets = secrets.unwrap_or_else(PoisonError::into_inner);
        secrets.push(secret.secret_bytes().to_vec());
    }
}

impl SupportedKxGroup for &'static Recorded {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let started = self.group.start()?;
        Ok(Box::new(RecordedStart(self, started)))
    }

    fn start_and_complete(&self, share: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let done = self.group.start_and_complete(share)?;
        self.record(&done.secret);
        Ok(done)
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        self.group.name()
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        self.group.usable_for_version(version)
    }
}

struct RecordedStart(&'static Recorded, Box<dyn ActiveKeyExchange>);

impl ActiveKeyExchange for RecordedStart {
    fn complete(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, Error> {
        let secret = self.1.complete(share)?;
        self.0.record(&secret);
        Ok(secret)
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn pub_key(&self) -> &[u8] {
        self.1.pub_key()
    }

    fn group(&self) -> NamedGroup {
        self.1.group()
    }
}

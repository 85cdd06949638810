//! Hybrid key exchange (draft-ietf-tls-ecdhe-mlkem): a classical group and ML-KEM side by
//! side. A session is safe as long as either of them is.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ring::rand::{SecureRandom, SystemRandom};
use rustls::crypto::ring::kx_group;
use rustls::crypto::{ActiveKeyExchange, CompletedKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion};
use zeroize::Zeroizing;

use crate::ml_kem::{MlKem, SECRET, SEED};

/// X25519MLKEM768.
pub(crate) static X25519_MLKEM768: Hybrid = Hybrid {
    name: NamedGroup::X25519MLKEM768,
    classical: kx_group::X25519,
    classical_len: 32,
    kem: MlKem::Kem768,
    // For reasons of history (draft-ietf-tls-ecdhe-mlkem §3).
    order: Order::KemFirst,
};

/// SecP256r1MLKEM768.
pub(crate) static SECP256R1_MLKEM768: Hybrid = Hybrid {
    name: NamedGroup::secp256r1MLKEM768,
    classical: kx_group::SECP256R1,
    classical_len: 65,
    kem: MlKem::Kem768,
    order: Order::ClassicalFirst,
};

/// SecP384r1MLKEM1024.
pub(crate) static SECP384R1_MLKEM1024: Hybrid = Hybrid {
    name: NamedGroup::Unknown(0x11ed),
    classical: kx_group::SECP384R1,
    classical_len: 97,
    kem: MlKem::Kem1024,
    order: Order::ClassicalFirst,
};

/// Which half comes first, in key shares and in the secret.
#[derive(Clone, Copy, Debug)]
enum Order {
    ClassicalFirst,
    KemFirst,
}

/// A group of two halves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hybrid {
    name: NamedGroup,
    classical: &'static dyn SupportedKxGroup,
    /// Bytes of its key share.
    classical_len: usize,
    kem: MlKem,
    order: Order,
}

const INVALID: Error = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);

impl Hybrid {
    /// Both halves in their order.
    fn join(&self, classical: &[u8], kem: &[u8]) -> Vec<u8> {
        let (first, second) = match self.order {
            Order::ClassicalFirst => (classical, kem),
            Order::KemFirst => (kem, classical),
        };
        let mut joined = Vec::with_capacity(first.len() + second.len());
        joined.extend_from_slice(first);
        joined.extend_from_slice(second);
        joined
    }

    /// The classical half of a key share, and that of ML-KEM, which has `kem_len` bytes.
    fn split<'a>(&self, share: &'a [u8], kem_len: usize) -> Result<(&'a [u8], &'a [u8]), Error> {
        if share.len() != self.classical_len + kem_len {
            return Err(INVALID);
        }
        let halves = match self.order {
            Order::ClassicalFirst => share.split_at_checked(self.classical_len),
            Order::KemFirst => share
                .split_at_checked(kem_len)
                .map(|(kem, ecdh)| (ecdh, kem)),
        };
        halves.ok_or(INVALID)
    }
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Error> {
    let mut bytes = Zeroizing::new([0; N]);
    SystemRandom::new()
        .fill(&mut *bytes)
        .map_err(|_| Error::FailedToGetRandomBytes)?;
    Ok(bytes)
}

impl SupportedKxGroup for Hybrid {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let classical = self.classical.start()?;
        let seed = random::<SEED>()?;
        let share = self
            .kem
            .key(&seed, |key| self.join(classical.pub_key(), key));
        Ok(Box::new(Started {
            group: *self,
            classical,
            seed,
            share,
        }))
    }

    /// The server's: the client's share first, then the answer to it.
    fn start_and_complete(&self, share: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let (ecdh, key) = self.split(share, self.kem.key_len())?;
        let classical = self.classical.start_and_complete(ecdh)?;
        let randomness = random::<SECRET>()?;
        let done = self
            .kem
            .encapsulate(key, &randomness, |ciphertext, secret| {
                let ecdh = classical.secret.secret_bytes();
                (
                    self.join(&classical.pub_key, ciphertext),
                    SharedSecret::from(self.join(ecdh, secret)),
                )
            });
        let (pub_key, secret) = done.map_err(|_| INVALID)?;
        Ok(CompletedKeyExchange {
            group: self.name,
            pub_key,
            secret,
        })
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        self.name
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

/// A client's key pairs.
struct Started {
    group: Hybrid,
    classical: Box<dyn ActiveKeyExchange>,
    /// Of ML-KEM's.
    seed: Zeroizing<[u8; SEED]>,
    share: Vec<u8>,
}

impl ActiveKeyExchange for Started {
    fn complete(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, Error> {
        let Self {
            group,
            classical,
            seed,
            ..
        } = *self;
        let (ecdh, ciphertext) = group.split(share, group.kem.ciphertext_len())?;
        let ecdh = classical.complete(ecdh)?;
        let secret = group.kem.decapsulate(&seed, ciphertext);
        let secret = secret.map_err(|_| INVALID)?;
        Ok(group.join(ecdh.secret_bytes(), &*secret).into())
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
        self.group.name
    }
}

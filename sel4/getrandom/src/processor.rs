//! The processor's random number generator: the source of entropy.

use core::arch::x86_64::{__cpuid, __cpuid_count, _rdrand64_step, _rdseed64_step};

use crate::Error;
use crate::drbg::{SEED, Seed};
use crate::health::Health;

/// Intel SDM vol. 1 §7.3.17.1: ten failures in a row mean that the generator
/// is broken.
const TRIES: u32 = 10;
/// Bytes of a draw.
const WORD: usize = 8;
/// Samples, that is bytes, of the test at the start (SP 800-90B §4.3).
const START: usize = 1024;

/// The generator, which failed no test so far.
pub(crate) struct Processor {
    has_seed: bool,
    health: Health,
}

impl Processor {
    /// Finds it, and does the test at the start (SP 800-90B §4.3).
    pub(crate) fn start() -> Result<Self, Error> {
        let mut processor = Self::find().ok_or(Error::NO_RDRAND)?;
        for _ in 0..START / WORD {
            processor.draw()?;
        }
        Ok(processor)
    }

    fn find() -> Option<Self> {
        const RDRAND: u32 = 1 << 30;
        const RDSEED: u32 = 1 << 18;
        let has_rdrand = __cpuid(1).ecx & RDRAND != 0;
        let has_leaf = __cpuid(0).eax >= 7;
        has_rdrand.then(|| Self {
            has_seed: has_leaf && __cpuid_count(7, 0).ebx & RDSEED != 0,
            health: Health::new(),
        })
    }

    /// Whether RDSEED is mixed in.
    pub(crate) const fn has_seed(&self) -> bool {
        self.has_seed
    }

    /// Entropy for one seed.
    pub(crate) fn seed(&mut self) -> Result<Seed, Error> {
        let mut seed: Seed = [0; SEED];
        for chunk in seed.chunks_exact_mut(WORD) {
            chunk.copy_from_slice(&self.draw()?.to_ne_bytes());
        }
        Ok(seed)
    }

    /// A word of RDRAND that the tests passed. RDSEED is added where it
    /// delivers, untested: it can't make the word worse.
    fn draw(&mut self) -> Result<u64, Error> {
        // SAFETY: the processor has RDRAND, as `find` saw.
        let word = unsafe { random() }.ok_or(Error::UNSOUND)?;
        self.health
            .judge(&word.to_ne_bytes())
            .map_err(|_| Error::UNSOUND)?;
        if !self.has_seed {
            return Ok(word);
        }
        // SAFETY: the processor has RDSEED, as `find` saw.
        let seed = unsafe { seed() };
        Ok(word ^ seed.unwrap_or(0))
    }
}

#[target_feature(enable = "rdrand")]
fn random() -> Option<u64> {
    let mut word = 0;
    // A generator stuck at all zeros or all ones is broken (as some were after a
    // suspend).
    (0..TRIES)
        .any(|_| _rdrand64_step(&mut word) == 1 && word != 0 && word != u64::MAX)
        .then_some(word)
}

#[target_feature(enable = "rdseed")]
fn seed() -> Option<u64> {
    let mut word = 0;
    (0..TRIES)
        .any(|_| _rdseed64_step(&mut word) == 1)
        .then_some(word)
}

//! The processor's random number generator, drawn from at each request and
//! watched by the health tests.

use core::arch::x86_64::{__cpuid, __cpuid_count, _rdrand64_step, _rdseed64_step};

use spin::Mutex;

use crate::Error;
use crate::health::Health;

/// Intel SDM vol. 1 §7.3.17.1: ten failures in a row mean that the generator
/// is broken.
const TRIES: u32 = 10;
/// Bytes of a draw.
const WORD: usize = 8;
/// Samples, that is bytes, of the test at the start (SP 800-90B §4.3).
const START: usize = 1024;

/// This domain's view of the source. Nothing that is drawn can be told from it
/// but the two samples that the tests compare with.
static WATCH: Mutex<Watch> = Mutex::new(Watch::Untested);

enum Watch {
    Untested,
    Sound(Generator, Health),
    /// No more is drawn.
    Failed(Error),
}

/// Fills `dest`, behind the test at the start if this is the first draw.
pub(crate) fn fill(dest: &mut [u8]) -> Result<(), Error> {
    WATCH.lock().use_sound(|generator, health| {
        for chunk in dest.chunks_mut(WORD) {
            let word = generator.draw(health)?;
            for (to, from) in chunk.iter_mut().zip(word.to_ne_bytes()) {
                *to = from;
            }
        }
        Ok(())
    })
}

/// The test at the start; whether RDSEED is mixed in.
pub(crate) fn test() -> Result<bool, Error> {
    WATCH
        .lock()
        .use_sound(|generator, _| Ok(generator.has_seed))
}

impl Watch {
    /// Uses a source that has failed no test so far; one that fails is not
    /// used again.
    fn use_sound<T>(
        &mut self,
        user: impl FnOnce(&Generator, &mut Health) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if matches!(self, Self::Untested) {
            *self = Self::start();
        }
        let used = match self {
            Self::Sound(generator, health) => user(generator, health),
            Self::Failed(error) => Err(*error),
            Self::Untested => Err(Error::UNSOUND),
        };
        used.inspect_err(|error| *self = Self::Failed(*error))
    }

    /// The test at the start (SP 800-90B §4.3).
    fn start() -> Self {
        let Some(generator) = Generator::find() else {
            return Self::Failed(Error::NO_RDRAND);
        };
        let mut health = Health::new();
        for _ in 0..START / WORD {
            if let Err(error) = generator.draw(&mut health) {
                return Self::Failed(error);
            }
        }
        Self::Sound(generator, health)
    }
}

/// Proof that the processor has RDRAND.
struct Generator {
    has_seed: bool,
}

impl Generator {
    fn find() -> Option<Self> {
        const RDRAND: u32 = 1 << 30;
        const RDSEED: u32 = 1 << 18;
        let has_rdrand = __cpuid(1).ecx & RDRAND != 0;
        let has_leaf = __cpuid(0).eax >= 7;
        has_rdrand.then(|| Self {
            has_seed: has_leaf && __cpuid_count(7, 0).ebx & RDSEED != 0,
        })
    }

    /// A word of RDRAND that the tests passed. RDSEED is added where it
    /// delivers, untested: it can't make the word worse.
    fn draw(&self, health: &mut Health) -> Result<u64, Error> {
        // SAFETY: the processor has RDRAND, as `self` proves.
        let word = unsafe { random() }.ok_or(Error::UNSOUND)?;
        health
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
    // A generator stuck at all zeros or all ones is broken (as some have
    // been behind a suspend).
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

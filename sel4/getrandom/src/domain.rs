//! One domain's generator: seeded at its first draw, and again at each.

use core::sync::atomic::{AtomicPtr, Ordering};

use spin::Mutex;
use zeroize::Zeroize;

use crate::Error;
use crate::drbg::{Drbg, SEED, Seed};
use crate::processor::Processor;

static STATE: Mutex<State> = Mutex::new(State::Untested);

unsafe extern "C" {
    /// Where this program's seed is: memory that only this domain sees, mapped
    /// for good, which nothing else in it uses. Null if there is none. The runtime
    /// (`sel4`) has it.
    safe static HANDOFF_SEED: AtomicPtr<u8>;
}

#[allow(clippy::large_enum_variant, reason = "there is one of it, in a static")]
enum State {
    Untested,
    Sound(Source),
    /// No more is drawn.
    Failed(Error),
}

struct Source {
    processor: Processor,
    drbg: Drbg,
}

/// Fills `dest`, after the test at the start if this is the first draw.
pub(crate) fn fill(dest: &mut [u8]) -> Result<(), Error> {
    STATE.lock().use_sound(|source| {
        let mut entropy = source.processor.seed()?;
        source.drbg.reseed(&entropy);
        entropy.zeroize();
        source.drbg.generate(dest);
        Ok(())
    })
}

/// Mixes `bytes` in, whatever they are worth.
pub(crate) fn add(bytes: &[u8]) -> Result<(), Error> {
    STATE.lock().use_sound(|source| {
        for chunk in bytes.chunks(SEED) {
            let mut entropy = [0; SEED];
            for (to, from) in entropy.iter_mut().zip(chunk) {
                *to = *from;
            }
            source.drbg.reseed(&entropy);
            entropy.zeroize();
        }
        Ok(())
    })
}

/// The test at the start; whether RDSEED is mixed in.
pub(crate) fn test() -> Result<bool, Error> {
    STATE
        .lock()
        .use_sound(|source| Ok(source.processor.has_seed()))
}

impl State {
    /// Uses a source that has failed no test so far; one that fails is not
    /// used again.
    fn use_sound<T>(
        &mut self,
        user: impl FnOnce(&mut Source) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if matches!(self, Self::Untested) {
            *self = Source::start().map_or_else(Self::Failed, Self::Sound);
        }
        let used = match self {
            Self::Sound(source) => user(source),
            Self::Failed(error) => Err(*error),
            Self::Untested => Err(Error::UNSOUND),
        };
        used.inspect_err(|error| *self = Self::Failed(*error))
    }
}

impl Source {
    /// Instantiates the generator from the processor's entropy and the domain's seed, and
    /// overwrites the seed: the next start of this domain begins elsewhere, and this seed
    /// is gone.
    fn start() -> Result<Self, Error> {
        let mut processor = Processor::start()?;
        let mut entropy = processor.seed()?;
        let place = HANDOFF_SEED.load(Ordering::Acquire).cast::<Seed>();
        // SAFETY: nothing else uses it, and the caller holds the lock.
        let place = unsafe { place.as_mut() };
        let drbg = match place {
            Some(seed) => {
                let mut drbg = Drbg::new(&entropy, seed);
                drbg.generate(seed);
                drbg
            }
            None => Drbg::new(&entropy, &[0; SEED]),
        };
        entropy.zeroize();
        Ok(Self { processor, drbg })
    }
}

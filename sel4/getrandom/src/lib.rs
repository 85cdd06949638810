//! The interface of the crate `getrandom` 0.2, for `ring`.
//!
//! In a protection domain the bytes come from a generator of its own: CTR_DRBG with
//! AES-256 (NIST SP 800-90A), instantiated from the processor's entropy and the seed that
//! the root task left for this domain, and reseeded from the processor at each request,
//! so that a snapshot which is resumed twice gives different bytes. The entropy is
//! RDRAND's (Intel SDM vol. 1 §7.3.17), with RDSEED added where the processor has it; the
//! tests of NIST SP 800-90B §4.4 check it, and a domain where they fail draws no more. In
//! host programs the bytes come from the `getrandom(2)` system call.
#![cfg_attr(handoff_guest, no_std)]

#[cfg(any(handoff_guest, test))]
mod drbg;
#[cfg(any(handoff_guest, test))]
mod health;
#[cfg(handoff_guest)]
mod processor;
#[cfg(handoff_guest)]
#[path = "domain.rs"]
mod source;

use core::fmt;
use core::num::NonZeroU32;

/// No random bytes can be had; the buffer's content must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(NonZeroU32);

impl Error {
    /// The lowest code that no operating system uses.
    pub const INTERNAL_START: u32 = 1 << 31;
    /// The processor has no RDRAND.
    pub const NO_RDRAND: Self = Self(NonZeroU32::MAX);
    /// RDRAND gave nothing, or what a sound generator does not give.
    pub const UNSOUND: Self = Self(NonZeroU32::MIN.saturating_add(u32::MAX - 2));

    /// The code: the system's error number, or one of the constants here.
    pub const fn code(self) -> NonZeroU32 {
        self.0
    }
}

impl From<NonZeroU32> for Error {
    fn from(code: NonZeroU32) -> Self {
        Self(code)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NO_RDRAND => f.write_str("the processor has no RDRAND"),
            Self::UNSOUND => f.write_str("RDRAND fails its health tests"),
            Self(code) => write!(f, "no random bytes (code {code})"),
        }
    }
}

impl core::error::Error for Error {}

/// Fills `dest` with random bytes.
///
/// # Errors
/// [`Error`] when the source fails; what `dest` then holds must not be used.
pub fn getrandom(dest: &mut [u8]) -> Result<(), Error> {
    source::fill(dest)
}

/// Bytes of a domain's seed.
#[cfg(handoff_guest)]
pub const SEED_BYTES: usize = drbg::SEED;

/// Tests the source as the first draw of a domain does, on 1024 samples (NIST SP
/// 800-90B §4.3), and says whether RDSEED is mixed in.
///
/// # Errors
/// [`Error::NO_RDRAND`] and [`Error::UNSOUND`]: nothing can be drawn.
#[cfg(handoff_guest)]
pub fn test() -> Result<bool, Error> {
    source::test()
}

/// Mixes `bytes` into the generator's state, which can't become worse by it.
///
/// # Errors
/// [`Error`] when the processor's source failed its tests.
#[cfg(handoff_guest)]
pub fn add(bytes: &[u8]) -> Result<(), Error> {
    source::add(bytes)
}

/// Whether `samples` of another source, at least 1024, pass the health tests of
/// NIST SP 800-90B §4.4, with four bits of entropy claimed for each byte.
#[cfg(any(handoff_guest, test))]
pub fn is_sound(samples: &[u8]) -> bool {
    health::Health::new().judge(samples).is_ok()
}

#[cfg(not(handoff_guest))]
mod source {
    use core::num::NonZeroU32;
    use std::io;

    use super::Error;

    pub(crate) fn fill(mut dest: &mut [u8]) -> Result<(), Error> {
        while !dest.is_empty() {
            // SAFETY: the pointer and the length are those of `dest`.
            let got = unsafe { libc::getrandom(dest.as_mut_ptr().cast(), dest.len(), 0) };
            match usize::try_from(got) {
                Ok(count) => dest = dest.get_mut(count..).unwrap_or_default(),
                Err(_) => retry_if_interrupted()?,
            }
        }
        Ok(())
    }

    fn retry_if_interrupted() -> Result<(), Error> {
        let code = io::Error::last_os_error().raw_os_error().unwrap_or(0);
        if code == libc::EINTR {
            return Ok(());
        }
        let code = u32::try_from(code).ok().and_then(NonZeroU32::new);
        Err(code.map_or(Error::NO_RDRAND, Error))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_are_filled_and_differ() {
        let mut first = [0; 300];
        let mut second = [0; 300];
        super::getrandom(&mut first).unwrap();
        super::getrandom(&mut second).unwrap();
        assert_ne!(first, second);
        assert!(first[200..].iter().any(|byte| *byte != 0));
    }
}

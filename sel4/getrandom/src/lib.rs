//! The interface of the crate `getrandom` 0.2, for `ring`.
//!
//! In a protection domain the bytes come from the processor's random number
//! generator by RDRAND (Intel SDM vol. 1 §7.3.17): each domain draws its own,
//! so no domain can see another's. In host programs they come from the
//! `getrandom(2)` system call.
#![cfg_attr(handoff_guest, no_std)]

use core::fmt;
use core::num::NonZeroU32;

/// No random bytes can be had; the buffer's content must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(NonZeroU32);

impl Error {
    /// The lowest code that belongs to no operating system.
    pub const INTERNAL_START: u32 = 1 << 31;
    /// The processor has no random number generator, or it failed.
    pub const NO_RDRAND: Self = Self(NonZeroU32::MAX);

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
        write!(f, "no random bytes (code {})", self.0)
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

#[cfg(handoff_guest)]
mod source {
    use core::arch::x86_64::{__cpuid, _rdrand64_step};

    use super::Error;

    /// Intel SDM vol. 1 §7.3.17.1: ten failures in a row mean that the
    /// generator is broken.
    const TRIES: u32 = 10;

    pub(crate) fn fill(dest: &mut [u8]) -> Result<(), Error> {
        if !has_rdrand() {
            return Err(Error::NO_RDRAND);
        }
        for chunk in dest.chunks_mut(8) {
            // SAFETY: the processor has RDRAND, as just checked.
            let word = unsafe { word() }.ok_or(Error::NO_RDRAND)?;
            for (to, from) in chunk.iter_mut().zip(word.to_ne_bytes()) {
                *to = from;
            }
        }
        Ok(())
    }

    fn has_rdrand() -> bool {
        const RDRAND: u32 = 1 << 30;
        __cpuid(1).ecx & RDRAND != 0
    }

    #[target_feature(enable = "rdrand")]
    fn word() -> Option<u64> {
        let mut word = 0;
        // A generator stuck at all zeros or all ones is broken (as some have
        // been behind a suspend).
        (0..TRIES)
            .any(|_| _rdrand64_step(&mut word) == 1 && word != 0 && word != u64::MAX)
            .then_some(word)
    }
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

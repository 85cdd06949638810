//! Time as all domains see it.

use core::ops::{Add, Sub};

use postcard::experimental::max_size::MaxSize;
use serde::{Deserialize, Serialize};

/// A moment: nanoseconds since the processor's time-stamp counter was zero.
/// The same in every domain.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, MaxSize,
)]
pub struct Instant(u64);

impl Instant {
    /// The latest moment there is: "no deadline".
    pub const NEVER: Self = Self(u64::MAX);

    /// From nanoseconds since zero.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From milliseconds since zero.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since zero.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Microseconds since zero.
    pub const fn as_micros(self) -> u64 {
        self.0 / 1_000
    }
}

impl Add<core::time::Duration> for Instant {
    type Output = Self;
    fn add(self, duration: core::time::Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub for Instant {
    type Output = core::time::Duration;
    /// Zero when `earlier` is the later one.
    fn sub(self, earlier: Self) -> core::time::Duration {
        core::time::Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Where a server gets the time from.
pub trait Clock {
    /// The moment of the call.
    fn now(&self) -> Instant;
    /// Seconds since 1970-01-01 00:00 UTC, for validity of certificates.
    fn unix_seconds(&self) -> u64;
}

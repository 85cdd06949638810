//! Time as all domains see it.

use core::ops::{Add, Sub};
use core::sync::atomic::{AtomicU64, Ordering, fence};

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

impl Sub<core::time::Duration> for Instant {
    type Output = Self;
    /// Zero at the earliest.
    fn sub(self, duration: core::time::Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(nanos))
    }
}

/// Where a server gets the time from.
pub trait Clock {
    /// The moment of the call.
    fn now(&self) -> Instant;
    /// Seconds since 1970-01-01 00:00 UTC, for validity of certificates.
    fn unix_seconds(&self) -> u64;
}

/// Both clocks at one moment, and how fast they run from there on.
///
/// The *monotonic* clock is for deadlines: it follows the processor's time-stamp
/// counter at its measured rate, and nothing sets it. The *wall* clock is for
/// certificates: it follows the machine's real-time clock, faster or slower, or by a
/// step forward. Neither runs backwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timescale {
    /// The time-stamp counter at that moment.
    pub ticks: u64,
    /// The monotonic clock at that moment, in nanoseconds; see [`Instant`].
    pub monotonic: u64,
    /// The wall clock at that moment: nanoseconds since 1970-01-01 00:00 UTC.
    pub wall: u64,
    /// Nanoseconds of the monotonic clock in a tick, times 2^32.
    pub rate: u64,
    /// The same of the wall clock.
    pub wall_rate: u64,
}

impl Timescale {
    /// The monotonic clock when the counter is at `ticks`.
    pub fn monotonic_at(&self, ticks: u64) -> u64 {
        self.monotonic
            .saturating_add(self.elapsed(ticks, self.rate))
    }

    /// The wall clock when the counter is at `ticks`.
    pub fn wall_at(&self, ticks: u64) -> u64 {
        self.wall
            .saturating_add(self.elapsed(ticks, self.wall_rate))
    }

    fn elapsed(&self, ticks: u64, rate: u64) -> u64 {
        let scaled = u128::from(ticks.saturating_sub(self.ticks)) * u128::from(rate);
        u64::try_from(scaled >> 32).unwrap_or(u64::MAX)
    }
}

/// The page by which the monitor tells all domains the time: it alone writes there.
#[repr(C)]
#[derive(Debug, Default)]
pub struct ClockPage {
    /// Odd while the words are being changed.
    sequence: AtomicU64,
    ticks: AtomicU64,
    monotonic: AtomicU64,
    wall: AtomicU64,
    rate: AtomicU64,
    wall_rate: AtomicU64,
}

impl ClockPage {
    /// Writes it. One writer only.
    pub fn publish(&self, scale: &Timescale) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence
            .store(sequence.wrapping_add(1), Ordering::Relaxed);
        // No word is seen before the odd number.
        fence(Ordering::Release);
        self.ticks.store(scale.ticks, Ordering::Relaxed);
        self.monotonic.store(scale.monotonic, Ordering::Relaxed);
        self.wall.store(scale.wall, Ordering::Relaxed);
        self.rate.store(scale.rate, Ordering::Relaxed);
        self.wall_rate.store(scale.wall_rate, Ordering::Relaxed);
        self.sequence
            .store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// Reads it. The writer has the highest priority: a reader that it interrupts
    /// reads again, once.
    pub fn read(&self) -> Timescale {
        loop {
            // The page is mapped read-only, where only relaxed loads are defined.
            let before = self.sequence.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            let scale = Timescale {
                ticks: self.ticks.load(Ordering::Relaxed),
                monotonic: self.monotonic.load(Ordering::Relaxed),
                wall: self.wall.load(Ordering::Relaxed),
                rate: self.rate.load(Ordering::Relaxed),
                wall_rate: self.wall_rate.load(Ordering::Relaxed),
            };
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.sequence.load(Ordering::Relaxed) == before {
                return scale;
            }
            core::hint::spin_loop();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_run_at_their_own_rate_from_where_they_were() {
        let scale = Timescale {
            ticks: 1000,
            monotonic: 50,
            wall: 7_000_000_000,
            rate: 2 << 32,
            wall_rate: 3 << 32,
        };
        assert_eq!(scale.monotonic_at(1010), 70);
        assert_eq!(scale.wall_at(1010), 7_000_000_030);
        // An interrupted reader has an older counter than the page.
        assert_eq!(
            (scale.monotonic_at(999), scale.wall_at(999)),
            (50, scale.wall)
        );
        assert_eq!(scale.monotonic_at(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_reader_never_sees_half_of_a_change() {
        let page = ClockPage::default();
        let of = |n: u64| Timescale {
            ticks: n,
            monotonic: n,
            wall: n,
            rate: n,
            wall_rate: n,
        };
        std::thread::scope(|scope| {
            scope.spawn(|| (0..200_000).for_each(|n| page.publish(&of(n))));
            let mut last = 0;
            while last < 199_999 {
                let seen = page.read();
                assert_eq!(seen, of(seen.ticks));
                assert!(seen.ticks >= last);
                last = seen.ticks;
            }
        });
    }
}

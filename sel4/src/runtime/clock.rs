//! Time from the processor's time-stamp counter.

use core::sync::atomic::Ordering;

use ipc::boot::{LogRing, interrupt, place};
use ipc::clock::{Clock, Instant};

use super::boot_facts;

/// The bit of the signal that a moment asked for by [`wake_at`] is over.
pub const DEADLINE_SIGNAL: u64 = 1 << interrupt::DEADLINE;

/// Has the monitor signal this domain at its first tick after `at`; replaces what
/// was asked before. [`Instant::NEVER`] for no signal.
pub fn wake_at(at: Instant) {
    // SAFETY: the root task mapped the ring there; all of it is atomics.
    let ring = unsafe { &*(place::LOG as *const LogRing) };
    ring.wake_at.store(at.as_nanos(), Ordering::Relaxed);
}

/// The clock of a domain.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The time-stamp counter itself.
    pub fn ticks() -> u64 {
        // SAFETY: every x86-64 processor has this instruction, and the kernel
        // leaves it to user programs.
        unsafe { core::arch::x86_64::_rdtsc() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        let scaled = u128::from(Self::ticks()) * u128::from(boot_facts().nanos_per_tick);
        Instant::from_nanos((scaled >> 32) as u64)
    }

    fn unix_seconds(&self) -> u64 {
        boot_facts().unix_at_zero + self.now().as_nanos() / 1_000_000_000
    }
}

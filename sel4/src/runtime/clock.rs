//! Time from the processor's time-stamp counter, as the monitor says how it runs.

use core::sync::atomic::Ordering;

use ipc::boot::{LogRing, interrupt, place};
use ipc::clock::{Clock, ClockPage, Instant};

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
        let scale = page().read();
        Instant::from_nanos(scale.monotonic_at(Self::ticks()))
    }

    fn unix_seconds(&self) -> u64 {
        let scale = page().read();
        scale.wall_at(Self::ticks()) / 1_000_000_000
    }
}

fn page() -> &'static ClockPage {
    // SAFETY: the root task mapped the page there, for good; it is all atomics.
    unsafe { &*(place::CLOCK as *const ClockPage) }
}

//! Counts instructions.

use ipc::stats::{Counter, Page};
use sel4::runtime::SystemClock;

/// Instructions that the domain `idle` has spent.
pub(crate) const IDLE: Counter = Counter::nameless(0);

/// Counts instructions of the whole machine, but for those of the domain that
/// runs when there is nothing to do.
pub(crate) struct Meter(&'static Page);

/// Where a measurement began.
pub(crate) struct Start {
    ticks: u64,
    idle: u64,
}

impl Meter {
    pub(crate) const fn new(idle: &'static Page) -> Self {
        Self(idle)
    }

    pub(crate) fn start(&self) -> Start {
        Start {
            idle: self.0.read(IDLE),
            ticks: SystemClock::ticks(),
        }
    }

    /// Instructions since `start`.
    pub(crate) fn since(&self, start: &Start) -> u64 {
        let ticks = SystemClock::ticks().wrapping_sub(start.ticks);
        ticks.saturating_sub(self.0.read(IDLE).wrapping_sub(start.idle))
    }

    /// Does `work` and adds its instructions to `sum`.
    pub(crate) fn add<T>(&self, sum: &mut u64, work: impl FnOnce() -> T) -> T {
        let start = self.start();
        let result = work();
        *sum += self.since(&start);
        result
    }
}

/// The middle one.
pub(crate) fn median(figures: &mut [u64]) -> u64 {
    figures.sort_unstable();
    figures.get(figures.len() / 2).copied().unwrap_or(0)
}

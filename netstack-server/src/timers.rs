//! When connections want to be looked at again.

use alloc::collections::BTreeSet;

use ipc::clock::Instant;

/// The timer of a connection. It is set exactly if [`Timers`] has an entry for the
/// connection at that time; both are changed together, here.
pub(crate) struct Timer(Instant);

impl Timer {
    /// One that is not set.
    pub(crate) const fn unset() -> Self {
        Self(Instant::NEVER)
    }

    /// It is over, and has left the queue.
    pub(crate) fn clear(&mut self) {
        self.0 = Instant::NEVER;
    }
}

/// The queue of timers, at most one for each connection.
pub(crate) struct Timers(BTreeSet<(Instant, u32)>);

impl Timers {
    pub(crate) const fn new() -> Self {
        Self(BTreeSet::new())
    }

    /// Sets a connection's timer. One that is set for earlier stays, unless it `moves_back`.
    pub(crate) fn set(&mut self, index: u32, timer: &mut Timer, at: Instant, moves_back: bool) {
        if at < timer.0 || (moves_back && at != timer.0) {
            self.0.remove(&(timer.0, index));
            timer.0 = at;
            self.0.insert((at, index));
        }
    }

    /// The connection goes, and its timer with it.
    pub(crate) fn cancel(&mut self, index: u32, timer: &Timer) {
        self.0.remove(&(timer.0, index));
    }

    /// Takes a connection whose timer is over out of the queue; its [`Timer::clear`] is
    /// the caller's.
    pub(crate) fn next_over(&mut self, now: Instant) -> Option<u32> {
        let (at, index) = self.0.first().copied()?;
        if at > now {
            return None;
        }
        self.0.remove(&(at, index));
        Some(index)
    }

    /// When the next one is over.
    pub(crate) fn next(&self) -> Instant {
        self.0.first().map_or(Instant::NEVER, |(at, _)| *at)
    }
}

//! The clocks as rustls and tickets want them.

use core::fmt;
use core::time::Duration;

use ipc::clock::Clock;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

/// Both clocks at one moment, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The monotonic clock: nothing sets it.
    pub(crate) uptime: u64,
    /// The wall clock: since 1970.
    pub(crate) unix: u64,
}

impl Moment {
    pub(crate) fn of(clock: &impl Clock) -> Self {
        Self {
            uptime: clock.now().as_micros() / 1_000_000,
            unix: clock.unix_seconds(),
        }
    }
}

/// What tells both clocks.
pub(crate) trait Time: TimeProvider {
    fn now(&self) -> Moment;
}

/// Certificates are judged by this clock.
pub(crate) struct SystemTime<C>(pub(crate) C);

impl<C> fmt::Debug for SystemTime<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemTime")
    }
}

impl<C: Clock + Send + Sync> TimeProvider for SystemTime<C> {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = Duration::from_secs(self.0.unix_seconds());
        Some(UnixTime::since_unix_epoch(seconds))
    }
}

impl<C: Clock + Send + Sync> Time for SystemTime<C> {
    fn now(&self) -> Moment {
        Moment::of(&self.0)
    }
}

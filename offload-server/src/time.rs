//! The clock as rustls wants it.

use core::fmt;
use core::time::Duration;

use ipc::clock::Clock;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

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

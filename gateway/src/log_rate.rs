//! How many lines the gateway logs: less than the monitor prints of one domain
//! (`image/init/src/log_quota.rs`), since what is too much there is dropped with everything
//! beside it. What is not logged is counted, and the next line says how many there were.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use ipc::clock::Instant;

use crate::report::Style;

/// Of failures at one listener: at once, and in a second.
const OF_LISTENER: (u32, u32) = (32, 8);
/// Of failures at all listeners.
const OF_ALL: (u32, u32) = (256, 64);
/// Of sessions at one listener.
const OF_SESSIONS_AT_ONE: (u32, u32) = (320, 192);
/// Of sessions at all listeners.
const OF_SESSIONS: (u32, u32) = (640, 384);

/// A token bucket, by the moment at which it would be full again.
#[derive(Clone, Copy)]
struct Bucket {
    full_at: Instant,
    /// How long one line takes to be made up for.
    pause: Duration,
    /// How long a whole burst takes.
    burst: Duration,
}

impl Bucket {
    fn new((burst, rate): (u32, u32)) -> Self {
        let pause = Duration::from_secs(1) / rate;
        Self {
            full_at: Instant::default(),
            pause,
            burst: pause * burst,
        }
    }

    fn has_one(&self, now: Instant) -> bool {
        self.full_at + self.pause <= now + self.burst
    }

    fn take(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now) + self.pause;
    }
}

/// Lines of one kind.
struct Kind {
    bucket: Bucket,
    untold: u64,
}

impl Kind {
    fn new(limit: (u32, u32)) -> Self {
        Self {
            bucket: Bucket::new(limit),
            untold: 0,
        }
    }
}

/// What may be logged.
pub(crate) struct LogRate {
    /// By listener.
    failures: Vec<Kind>,
    all: Bucket,
    /// By listener.
    sessions: Vec<Kind>,
    all_sessions: Bucket,
}

impl LogRate {
    /// Bytes for one listener.
    pub(crate) const PLACE: usize = 2 * size_of::<Kind>();

    pub(crate) fn new(listeners: usize) -> Self {
        Self {
            failures: (0..listeners).map(|_| Kind::new(OF_LISTENER)).collect(),
            all: Bucket::new(OF_ALL),
            sessions: (0..listeners)
                .map(|_| Kind::new(OF_SESSIONS_AT_ONE))
                .collect(),
            all_sessions: Bucket::new(OF_SESSIONS),
        }
    }

    /// Whether a failure at this listener is logged, and how many were not before.
    pub(crate) fn failure(&mut self, listener: usize, now: Instant) -> Option<Untold> {
        take(self.failures.get_mut(listener)?, &mut self.all, now)
    }

    /// The same of a session, or of a handshake that succeeded.
    pub(crate) fn session(&mut self, listener: usize, now: Instant) -> Option<Untold> {
        let kind = self.sessions.get_mut(listener)?;
        take(kind, &mut self.all_sessions, now)
    }
}

/// Whether there is one more line of a kind, and how many were not told before.
fn take(kind: &mut Kind, all: &mut Bucket, now: Instant) -> Option<Untold> {
    if !all.has_one(now) || !kind.bucket.has_one(now) {
        kind.untold += 1;
        return None;
    }
    all.take(now);
    kind.bucket.take(now);
    Some(Untold(core::mem::take(&mut kind.untold)))
}

/// The end of a line: how many were not logged before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Untold(u64);

impl Untold {
    /// As a line of this style says it.
    pub(crate) const fn styled(self, style: Style) -> Styled {
        Styled(self, style)
    }
}

/// [`Untold`] in a style.
pub(crate) struct Styled(Untold, Style);

impl fmt::Display for Styled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Untold(count), style) = self;
        match count {
            0 => Ok(()),
            count => write!(f, " untold{}{count}", style.is()),
        }
    }
}

#[cfg(test)]
mod tests {
    use init::log_quota::{BURST, RATE};

    use super::*;

    /// One of them in each millisecond: how many are logged, and how many those say were
    /// not.
    fn flood(mut told: impl FnMut(Instant) -> Option<Untold>, seconds: u64) -> (u64, u64) {
        let (mut lines, mut untold) = (0, 0);
        for millisecond in 10_000..10_000 + seconds * 1000 {
            if let Some(Untold(count)) = told(Instant::from_millis(millisecond)) {
                lines += 1;
                untold += count;
            }
        }
        (lines, untold)
    }

    #[test]
    fn a_flood_of_failures_is_a_few_lines_and_counted_in_full() {
        let mut rate = LogRate::new(2);
        let (lines, untold) = flood(|now| rate.failure(0, now), 10);
        assert_eq!(lines, 32 + 10 * 8 - 1);
        assert!(untold >= 10_000 - lines - 125, "{untold}");
        // Another listener's are logged all the same.
        let now = Instant::from_millis(20_000);
        assert_eq!(rate.failure(1, now), Some(Untold(0)));
        // And sessions.
        assert_eq!(rate.session(0, now), Some(Untold(0)));
    }

    #[test]
    fn a_flood_of_sessions_at_one_listener_hides_none_of_another() {
        let mut rate = LogRate::new(2);
        let (lines, _) = flood(|now| rate.session(0, now), 10);
        assert!((1900..=2300).contains(&lines), "{lines}");
        assert_eq!(
            rate.session(1, Instant::from_millis(20_000)),
            Some(Untold(0))
        );
    }

    #[test]
    fn listeners_and_sessions_together_stay_below_what_the_monitor_prints() {
        const SECONDS: u64 = 60;
        let mut rate = LogRate::new(64);
        let mut lines = 0;
        for listener in 0..64 {
            // All at the same time: what one takes, another has not.
            lines += flood(|now| rate.failure(listener, now), 1).0;
        }
        assert!(lines <= 256 + 64, "{lines}");
        // As many as all listeners together may have.
        let mut turn = 0;
        let in_turn = |now| {
            turn += 1;
            rate.session(turn % 64, now)
        };
        let (sessions, _) = flood(in_turn, SECONDS);
        // A session's line has what was agreed on, and as much again.
        const LINE: u64 = 600;
        let bytes = (sessions - 640) / SECONDS * LINE + 64 * 100;
        assert!(bytes < RATE, "{bytes} a second");
        let burst = u64::from(OF_SESSIONS.0) * LINE + u64::from(OF_ALL.0) * 100;
        assert!(burst < BURST, "{burst} at once");
    }
}

//! Refused clients, with the reason: counted by listener, and logged at a bounded rate.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use ipc::clock::Instant;
use ipc::net::Address;
use ipc::provision::LogFormat;
use ipc::stats::{self, Counter};

use crate::report::{Style, Word};

/// At most one line in this time for each listener and reason.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Its address has as many connections as it may.
    Connections,
    /// Its address has as many sessions as it may.
    Sessions,
    /// It waited for a handshake, and timed out or was evicted for another.
    Waiting,
    /// It had said nothing and gave way to another.
    Silent,
    /// A table is full.
    Room,
    /// Its client closed it before a whole hello.
    Ended,
    /// Its hello was incomplete at its deadline.
    Late,
    /// Too many wait for its listener's backend, or that has not answered.
    Backend,
}

impl Reason {
    pub(crate) const ALL: [Self; 8] = [
        Self::Connections,
        Self::Sessions,
        Self::Waiting,
        Self::Silent,
        Self::Room,
        Self::Ended,
        Self::Late,
        Self::Backend,
    ];

    /// One word.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Sessions => "sessions",
            Self::Waiting => "waiting",
            Self::Silent => "silent",
            Self::Room => "room",
            Self::Ended => "ended",
            Self::Late => "late",
            Self::Backend => "backend",
        }
    }

    /// What counts it for all listeners together.
    pub(crate) const fn counter(self) -> Counter {
        match self {
            Self::Connections => stats::gateway::AWAY_CONNECTIONS,
            Self::Sessions => stats::gateway::AWAY_SESSIONS,
            Self::Waiting => stats::gateway::AWAY_WAITING,
            Self::Silent => stats::gateway::AWAY_SILENT,
            Self::Room => stats::gateway::AWAY_ROOM,
            Self::Ended => stats::gateway::AWAY_ENDED,
            Self::Late => stats::gateway::AWAY_LATE,
            Self::Backend => stats::gateway::AWAY_BACKEND,
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Tally {
    count: u64,
    /// When it was last logged, if it was.
    told: Option<Instant>,
    /// Not logged since.
    untold: u64,
}

/// One tally for each listener and reason.
pub(crate) struct TurnedAway(Vec<[Tally; Reason::ALL.len()]>);

impl TurnedAway {
    /// Bytes for one listener.
    pub(crate) const PLACE: usize = size_of::<[Tally; Reason::ALL.len()]>();

    pub(crate) fn new(listeners: usize) -> Self {
        Self((0..listeners).map(|_| Default::default()).collect())
    }

    /// Counts as many, the last of them `remote`. The line that is due for them, if one
    /// is.
    pub(crate) fn count<'a>(
        &mut self,
        listener: usize,
        name: &'a str,
        reason: Reason,
        (remote, count): (Address, u32),
        now: Instant,
    ) -> Option<Line<'a>> {
        let tally = self.0.get_mut(listener)?.get_mut(reason as usize)?;
        tally.count += u64::from(count);
        tally.untold += u64::from(count);
        if tally.told.is_some_and(|told| now < told + PAUSE) {
            return None;
        }
        tally.told = Some(now);
        Some(Line {
            style: Style(LogFormat::Text),
            name,
            reason,
            remote,
            // But for the one that the line is of.
            untold: core::mem::take(&mut tally.untold).saturating_sub(1),
        })
    }

    /// How many there were, by reason.
    pub(crate) fn of(&self, listener: usize) -> impl Iterator<Item = (Reason, u64)> {
        let tallies = self.0.get(listener);
        let counts = tallies.into_iter().flatten().map(|tally| tally.count);
        Reason::ALL.into_iter().zip(counts)
    }
}

/// One line of the log.
pub(crate) struct Line<'a> {
    pub(crate) style: Style,
    name: &'a str,
    reason: Reason,
    remote: Address,
    untold: u64,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("turned away")?;
        self.style.bare(f, "listener", &Word(self.name))?;
        self.style.bare(f, "remote", &self.remote.0)?;
        self.style.bare(f, "reason", &self.reason.name())?;
        match self.untold {
            0 => Ok(()),
            untold => write!(f, " untold{}{untold}", self.style.is()),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn a_flood_is_counted_in_full_and_told_once_a_second() {
        let mut away = TurnedAway::new(2);
        let remote = Address("10.0.2.2:7".parse().unwrap());
        let mut lines = Vec::new();
        for millisecond in 0..2500 {
            let now = Instant::from_millis(millisecond);
            let line = away.count(1, "a b\nhandshake ok", Reason::Silent, (remote, 1), now);
            lines.extend(line.map(|line| line.to_string()));
        }
        let name = "a+b\\nhandshake+ok";
        assert_eq!(
            lines,
            [
                alloc::format!("turned away {name} 10.0.2.2:7 silent"),
                alloc::format!("turned away {name} 10.0.2.2:7 silent untold=999"),
                alloc::format!("turned away {name} 10.0.2.2:7 silent untold=999"),
            ]
        );
        let of = |listener| away.of(listener).map(|(_, count)| count).sum::<u64>();
        assert_eq!((of(0), of(1)), (0, 2500));
        // Another reason is another tally.
        let now = Instant::from_millis(2500);
        let line = away.count(1, "x", Reason::Room, (remote, 5), now);
        let mut line = line.unwrap();
        assert!(line.to_string().ends_with(" untold=4"));
        line.style = Style(LogFormat::Json);
        let mut buffer = [0; init::json::MOST];
        let text = line.to_string();
        let text = init::json::line(&mut buffer, b"", b"gateway", text.as_bytes());
        let told: serde_json::Value = serde_json::from_slice(text).unwrap();
        assert_eq!(told["message"], "turned away");
        assert_eq!(
            (&told["listener"], &told["reason"]),
            (&"x".into(), &"room".into())
        );
        assert_eq!(
            (&told["remote"], &told["untold"]),
            (&"10.0.2.2:7".into(), &4.into())
        );
    }
}

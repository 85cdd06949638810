//! Finds a domain that takes the processor without a heartbeat, and one that waits
//! although it owes an answer. Independent of the kernel and of time: a host that gives
//! this machine no processor makes no domain time out.
//!
//! Each domain counts its heartbeats: waits for work, calls, pieces of work done. Domains
//! of one priority are one *level*: they take turns, a slice of the kernel's schedule
//! each. A *gauge*, a thread that gives the processor to others of its priority until
//! nobody wants it, runs below the lowest level: as long as it finishes there now and
//! then, every domain had the chance to do its work. If it does not finish from one tick
//! to the next, it is moved to the highest level, then to the next, as long as it
//! finishes there. At the level that takes the processor it does not finish, and counts
//! the turns there: each domain that wants the processor gets one slice in a turn. The
//! timeout is measured in those: a domain that got that many without a heartbeat hangs.
//! Several domains of a level are woken at each tick meanwhile: one that only waited
//! sends a heartbeat then. One that is starved by a higher domain or by the host gets no
//! slice.
//!
//! When the gauge finishes below the lowest domain, all of them wait. A domain that then
//! has an unanswered call, or waits for the answer to one, will do so for ever. Nor will it
//! read a queue that it left unread then, unless that was filled between its last look and
//! its wait: it is woken at the next ticks.

use alloc::vec::Vec;

/// Ticks without a slice for the gauge or an end of it before the search begins
/// again: a higher domain takes the processor.
const STARVED: u64 = 4;

/// What the gauge has seen since the last tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    /// Slices of the kernel's schedule that others of its priority got.
    pub slices: u64,
    /// In the end no thread of its priority wanted the processor.
    pub is_alone: bool,
}

/// What a domain tells of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Counts its heartbeats.
    pub progress: u64,
    /// Names the call that it has taken and not answered; zero for none.
    pub owed: u64,
    /// Names the call whose answer it waits for; zero for none.
    pub asked: u64,
    /// Names the oldest event of its queues that it had not taken when it waited; zero for
    /// none.
    pub untaken: u64,
}

/// How long the watchdog waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Slices without a heartbeat.
    pub slices: u64,
    /// Ticks at which everybody waited, and the same call was not answered, or the same
    /// event not taken.
    pub waits: u64,
}

/// Where the gauge has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Below this domain and above the next.
    Below(usize),
    /// At this domain's priority.
    Beside(usize),
}

/// Which domain has hung, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It takes the processor and sends no heartbeat.
    Hangs(usize),
    /// It waits, although it owes an answer or will get none.
    Waits(usize),
    /// It waits, and does not read one of its queues.
    Ignores(usize),
}

/// What must not stay as it is while everybody waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Debt {
    /// Zeros for nothing.
    name: (u64, u64),
    /// Ticks at which everybody waited meanwhile.
    waits: u64,
}

impl Debt {
    /// A tick has come; true if it has stayed for so many.
    fn stays(&mut self, name: (u64, u64), everybody_waits: bool, patience: u64) -> bool {
        if name != self.name {
            *self = Self { name, waits: 0 };
        } else if everybody_waits && name != (0, 0) {
            self.waits += 1;
        }
        self.waits >= patience
    }
}

/// What a domain owes.
#[derive(Clone, Copy, Debug, Default)]
struct Debts {
    /// The call that it has not answered, and the one whose answer it waits for.
    call: Debt,
    /// The event that it has not taken.
    event: Debt,
}

/// A domain of the level that the gauge is beside.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    number: usize,
    /// Its count at its last heartbeat.
    progress: u64,
    /// Slices that it got since.
    silent: u64,
}

/// Finds the domain that does not answer.
pub struct Watchdog {
    /// Numbers of the domains of each priority, the highest first.
    levels: Vec<Vec<usize>>,
    /// By the domain's number.
    debts: Vec<Debts>,
    /// Which of `levels` the gauge is beside; `None` while it is below all.
    level: Option<usize>,
    /// The running domains there.
    suspects: Vec<Suspect>,
    /// Ticks since anything was seen there.
    starved: u64,
    patience: Patience,
}

impl Watchdog {
    /// For domains of those priorities, by their numbers.
    pub fn new(priorities: &[u8], patience: Patience) -> Self {
        let mut order: Vec<_> = (0..).zip(priorities).collect();
        order.sort_by_key(|(_, priority)| core::cmp::Reverse(**priority));
        let levels = order.chunk_by(|one, other| one.1 == other.1);
        Self {
            levels: levels
                .map(|level| level.iter().map(|(number, _)| *number).collect())
                .collect(),
            debts: alloc::vec![Debts::default(); priorities.len()],
            level: None,
            suspects: Vec::with_capacity(priorities.len()),
            starved: 0,
            patience,
        }
    }

    /// Where the gauge has to be from now on; `None` without domains.
    pub fn place(&self) -> Option<Place> {
        match self.level {
            Some(level) => self.levels.get(level)?.first().copied().map(Place::Beside),
            None => self.levels.last()?.first().copied().map(Place::Below),
        }
    }

    /// The domains to wake now, so that a waiting one sends a heartbeat, and one that has
    /// an event takes it.
    pub fn to_wake(&self) -> impl Iterator<Item = usize> {
        let is_asked = self.level.is_some() && self.suspects.len() > 1;
        let suspects = self.suspects.iter().filter(move |_| is_asked);
        let debts = (0..).zip(&self.debts);
        let untaken = debts.filter(|(_, debts)| debts.event.name != (0, 0));
        let untaken = untaken.map(|(number, _)| number);
        suspects.map(|suspect| suspect.number).chain(untaken)
    }

    /// A tick has come: what the gauge saw since the last one, and each domain's
    /// heartbeat; `None` for one that is stopped. Returns the domain that has hung, if
    /// one is found; [`Watchdog::place`] has a new answer afterwards.
    pub fn tick(
        &mut self,
        gauge: Gauge,
        heartbeat: impl Fn(usize) -> Option<Heartbeat>,
    ) -> Option<Found> {
        let everybody_waits = self.level.is_none() && gauge.is_alone;
        if let Some(found) = self.look_for_debts(everybody_waits, &heartbeat) {
            self.level = None;
            return Some(found);
        }
        let Some(level) = self.level else {
            if !gauge.is_alone {
                self.stand(0, &heartbeat);
            }
            return None;
        };
        if gauge.is_alone {
            self.stand(level + 1, &heartbeat);
            return None;
        }
        if !self.is_suspicious(gauge.slices, &heartbeat) {
            // Busy, and comes back for more.
            self.level = None;
            return None;
        }
        self.starved = if gauge.slices == 0 {
            self.starved + 1
        } else {
            0
        };
        if self.starved >= STARVED {
            self.stand(0, &heartbeat);
            return None;
        }
        let patience = self.patience.slices;
        let hangs = self.suspects.iter().find(|s| s.silent >= patience)?.number;
        self.level = None;
        Some(Found::Hangs(hangs))
    }

    /// Whether a domain of the level sent no heartbeat, while each that wanted the
    /// processor there got so many slices.
    fn is_suspicious(
        &mut self,
        slices: u64,
        heartbeat: impl Fn(usize) -> Option<Heartbeat>,
    ) -> bool {
        let mut is_suspicious = false;
        for suspect in &mut self.suspects {
            // A stopped domain does not hang.
            let now = heartbeat(suspect.number).map(|heartbeat| heartbeat.progress);
            if now == Some(suspect.progress) {
                suspect.silent = suspect.silent.saturating_add(slices);
                is_suspicious = true;
            } else {
                suspect.silent = 0;
                suspect.progress = now.unwrap_or(suspect.progress);
            }
        }
        is_suspicious
    }

    /// The highest domain with a call that was not answered, or an event that was not
    /// taken, while everybody waited.
    fn look_for_debts(
        &mut self,
        everybody_waits: bool,
        heartbeat: impl Fn(usize) -> Option<Heartbeat>,
    ) -> Option<Found> {
        let patience = self.patience.waits;
        let mut found = None;
        for number in self.levels.iter().flatten() {
            let Some(Debts { call, event }) = self.debts.get_mut(*number) else {
                continue;
            };
            let beat = heartbeat(*number).unwrap_or_default();
            let names = [(beat.owed, beat.asked), (beat.untaken, 0)];
            let whys = [Found::Waits(*number), Found::Ignores(*number)];
            for ((debt, name), why) in [call, event].into_iter().zip(names).zip(whys) {
                if debt.stays(name, everybody_waits, patience) && found.is_none() {
                    debt.waits = 0;
                    found = Some(why);
                }
            }
        }
        found
    }

    /// Puts the gauge beside the first level from `level` on with a running domain, or
    /// below all.
    fn stand(&mut self, level: usize, heartbeat: impl Fn(usize) -> Option<Heartbeat>) {
        self.starved = 0;
        self.suspects.clear();
        self.level = (level..self.levels.len()).find(|level| {
            let numbers = self.levels.get(*level).into_iter().flatten();
            self.suspects.extend(numbers.filter_map(|number| {
                Some(Suspect {
                    number: *number,
                    progress: heartbeat(*number)?.progress,
                    silent: 0,
                })
            }));
            !self.suspects.is_empty()
        });
    }
}

#[cfg(test)]
mod tests;

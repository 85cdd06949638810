//! Who takes the processor for itself and answers nobody. Knows no kernel.
//!
//! Domains have unequal priorities, and each counts its signs of life: waits for
//! work, calls, pieces of work done. A *canary*, a thread that only tells that it ran, stands below the
//! lowest domain: as long as it runs now and then, every domain had the chance
//! to do its work. When it does not run from one tick to the next, it is put
//! below the highest domain, then below the next, until it does not run again:
//! it stands below the one that takes all the processor. That is a fault if the
//! domain gave no sign of life meanwhile; otherwise it is busy.

use alloc::vec::Vec;

/// Finds the domain that does not answer.
pub struct Watchdog {
    /// Number of each domain, the highest priority first.
    order: Vec<usize>,
    /// Where the canary stands: below this one of `order`.
    level: usize,
    /// The search is on; otherwise the canary stands below all.
    searches: bool,
    /// The count of the domain above the canary when that was put there.
    progress: u64,
    /// Ticks without the canary and without a sign of life.
    silent: u64,
    /// As many of those are a fault.
    patience: u64,
}

impl Watchdog {
    /// For domains of those priorities, by their numbers; who is silent for
    /// `patience` ticks is found.
    pub fn new(priorities: &[u8], patience: u64) -> Self {
        let mut order: Vec<_> = (0..priorities.len()).collect();
        order.sort_by_key(|number| core::cmp::Reverse(priorities.get(*number)));
        let mut watchdog = Self {
            order,
            level: 0,
            searches: false,
            progress: 0,
            silent: 0,
            patience: patience.max(1),
        };
        watchdog.rest();
        watchdog
    }

    /// The domain that the canary has to stand below.
    pub fn above_canary(&self) -> Option<usize> {
        self.order.get(self.level).copied()
    }

    /// A tick has come. `canary_ran` since the last one; `progress` tells a
    /// domain's count. The domain that does not answer, if one is
    /// found; then [`Watchdog::above_canary`] has a new answer.
    pub fn tick(&mut self, canary_ran: bool, progress: impl Fn(usize) -> u64) -> Option<usize> {
        let count = |level: usize, order: &[usize]| order.get(level).map_or(0, |n| progress(*n));
        if canary_ran {
            let is_lowest = self.level + 1 >= self.order.len();
            if is_lowest || !self.searches {
                self.rest();
                return None;
            }
            self.stand(self.level + 1, count(self.level + 1, &self.order));
            return None;
        }
        if !self.searches {
            self.searches = true;
            self.stand(0, count(0, &self.order));
            return None;
        }
        if count(self.level, &self.order) != self.progress {
            // Busy, and comes back for more.
            self.rest();
            return None;
        }
        self.silent += 1;
        if self.silent < self.patience {
            return None;
        }
        let found = self.above_canary();
        self.rest();
        found
    }

    fn stand(&mut self, level: usize, progress: u64) {
        (self.level, self.progress, self.silent) = (level, progress, 0);
    }

    fn rest(&mut self) {
        self.searches = false;
        self.stand(self.order.len().saturating_sub(1), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Domain 1 is the highest, then 0, then 2.
    const PRIORITIES: [u8; 3] = [100, 200, 50];
    const PATIENCE: u64 = 4;

    /// Ticks while `hog` (a priority) runs all the time and domains have waited
    /// `waits` times; who is found, and at which tick.
    fn run(hog: u8, ticks: u64, waits: impl Fn(u64) -> [u64; 3]) -> Option<(usize, u64)> {
        let mut watchdog = Watchdog::new(&PRIORITIES, PATIENCE);
        for tick in 0..ticks {
            let above = watchdog.above_canary().unwrap();
            let canary_ran = PRIORITIES[above] > hog;
            if let Some(found) = watchdog.tick(canary_ran, |number| waits(tick)[number]) {
                return Some((found, tick));
            }
        }
        None
    }

    #[test]
    fn who_runs_for_ever_is_found_and_nobody_else() {
        for (number, priority) in PRIORITIES.into_iter().enumerate() {
            let (found, tick) = run(priority, 20, |_| [7; 3]).unwrap();
            assert_eq!(found, number);
            assert!((PATIENCE..=PATIENCE + 4).contains(&tick), "{tick}");
        }
    }

    #[test]
    fn who_is_busy_and_waits_now_and_then_is_not_found() {
        for (number, priority) in PRIORITIES.into_iter().enumerate() {
            let waits = |tick: u64| {
                let mut waits = [7; 3];
                waits[number] = tick / 2;
                waits
            };
            assert_eq!(run(priority, 1000, waits), None);
        }
    }

    #[test]
    fn who_does_nothing_is_not_found() {
        assert_eq!(run(0, 1000, |_| [0; 3]), None);
    }

    #[test]
    fn who_comes_back_before_patience_ends_is_not_found() {
        let mut watchdog = Watchdog::new(&PRIORITIES, PATIENCE);
        for _ in 0..100 {
            // Silent for a little less than is a fault, all the time.
            for tick in 0..PATIENCE {
                assert_eq!(watchdog.tick(tick == 0, |_| 0), None);
            }
        }
    }
}

//! Who takes the processor for itself and answers nobody, and who waits although it
//! owes an answer. Knows no kernel, and no time: a host that gives this machine no
//! processor makes nobody hang.
//!
//! Domains have unequal priorities, and each counts its signs of life: waits for
//! work, calls, pieces of work done. A *gauge*, a thread that gives the processor to
//! others of its priority until nobody wants it, stands below the lowest domain: as
//! long as it comes to its end there now and then, every domain had the chance to do
//! its work. When it does not from one tick to the next, it is put beside the highest
//! domain, then beside the next, as long as it comes to its end there. Beside the one
//! that takes the processor it does not, and counts the slices of the kernel's
//! schedule that this one was given. Those are what patience is measured in: a domain
//! that was given that many without a sign of life hangs. One that is starved by a
//! higher domain or by the host is given none.
//!
//! When the gauge comes to its end below the lowest domain, all of them wait. Who has
//! taken a call then and not answered it, or waits for the answer to one, will do so
//! for ever.

use alloc::vec::Vec;

/// Ticks without a slice for the gauge or an end of it before the search begins
/// again: a higher domain takes the processor.
const STARVED: u64 = 4;

/// What the gauge has seen since the last tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    /// Slices of the kernel's schedule that others of its priority were given.
    pub slices: u64,
    /// Nobody of its priority wanted the processor in the end.
    pub is_alone: bool,
}

/// What a domain tells of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Counts its signs of life.
    pub progress: u64,
    /// Names the call that it has taken and not answered; zero for none.
    pub owed: u64,
    /// Names the call whose answer it waits for; zero for none.
    pub asked: u64,
}

/// How long the watchdog waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Slices without a sign of life.
    pub slices: u64,
    /// Ticks at which everybody waited, and the same call was not answered.
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

/// Who does not answer, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It takes the processor and gives no sign of life.
    Hangs(usize),
    /// It waits, although it owes an answer or will get none.
    Waits(usize),
}

/// A call that a domain has not answered, or that it waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Debt {
    owed: u64,
    asked: u64,
    /// Ticks at which everybody waited meanwhile.
    waits: u64,
}

/// Finds the domain that does not answer.
pub struct Watchdog {
    /// Number of each domain, the highest priority first.
    order: Vec<usize>,
    /// By the domain's number.
    debts: Vec<Debt>,
    /// Which of `order` the gauge is beside; `None` while it is below all.
    level: Option<usize>,
    /// That one's count when the gauge was put there.
    progress: u64,
    /// Slices that it was given since.
    silent: u64,
    /// Ticks since anything was seen there.
    starved: u64,
    patience: Patience,
}

impl Watchdog {
    /// For domains of those priorities, by their numbers.
    pub fn new(priorities: &[u8], patience: Patience) -> Self {
        let mut order: Vec<_> = (0..priorities.len()).collect();
        order.sort_by_key(|number| core::cmp::Reverse(priorities.get(*number)));
        Self {
            debts: alloc::vec![Debt::default(); order.len()],
            order,
            level: None,
            progress: 0,
            silent: 0,
            starved: 0,
            patience,
        }
    }

    /// Where the gauge has to be from now on; `None` without domains.
    pub fn place(&self) -> Option<Place> {
        match self.level {
            Some(level) => self.order.get(level).copied().map(Place::Beside),
            None => self.order.last().copied().map(Place::Below),
        }
    }

    /// A tick has come: what the gauge saw since the last one, and each domain's
    /// heartbeat; `None` for one that is stopped. The domain that does not answer, if
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
        if self.count(level, &heartbeat) != Some(self.progress) {
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
        self.silent = self.silent.saturating_add(gauge.slices);
        if self.silent < self.patience.slices {
            return None;
        }
        self.level = None;
        self.order.get(level).copied().map(Found::Hangs)
    }

    /// The highest domain with a call that was not answered while everybody waited.
    fn look_for_debts(
        &mut self,
        everybody_waits: bool,
        heartbeat: impl Fn(usize) -> Option<Heartbeat>,
    ) -> Option<Found> {
        let mut found = None;
        for number in &self.order {
            let Some(debt) = self.debts.get_mut(*number) else {
                continue;
            };
            let Heartbeat { owed, asked, .. } = heartbeat(*number).unwrap_or_default();
            if (owed, asked) != (debt.owed, debt.asked) {
                *debt = Debt {
                    owed,
                    asked,
                    waits: 0,
                };
            } else if everybody_waits && (owed, asked) != (0, 0) {
                debt.waits += 1;
            }
            if debt.waits >= self.patience.waits && found.is_none() {
                debt.waits = 0;
                found = Some(Found::Waits(*number));
            }
        }
        found
    }

    fn count(&self, level: usize, heartbeat: impl Fn(usize) -> Option<Heartbeat>) -> Option<u64> {
        let number = self.order.get(level)?;
        Some(heartbeat(*number)?.progress)
    }

    /// Puts the gauge beside the first running domain from `level` on, or below all.
    fn stand(&mut self, level: usize, heartbeat: impl Fn(usize) -> Option<Heartbeat>) {
        let mut levels = level..self.order.len();
        let found = levels.find_map(|level| Some((level, self.count(level, &heartbeat)?)));
        (self.silent, self.starved) = (0, 0);
        self.level = found.map(|(level, _)| level);
        self.progress = found.map_or(0, |(_, progress)| progress);
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;

    use super::*;

    /// As the shipped description has them, in another order.
    const PRIORITIES: [u8; 6] = [150, 190, 200, 180, 170, 160];
    const GATEWAY: usize = 0;
    const OFFLOAD: usize = 5;
    /// Slices of 2 ms in a tick of 125 ms, and in a second.
    const TICK: u64 = 62;
    const SECOND: u64 = 500;
    const PATIENCE: Patience = Patience {
        slices: SECOND,
        waits: 4,
    };

    /// What a domain does with a slice that it is given.
    type Work = Box<dyn FnMut(&mut Domain, u64)>;

    struct Domain {
        priority: u8,
        wants: bool,
        heartbeat: Heartbeat,
        /// Slices that it was given.
        given: u64,
        work: Option<Work>,
    }

    /// A kernel with one processor, and a host that gives it time or not.
    struct World {
        domains: Vec<Domain>,
        watchdog: Watchdog,
        gauge: Gauge,
        host: fn(u64) -> bool,
        /// Slices of the host's time.
        now: u64,
        tick_is_due: bool,
    }

    impl World {
        fn new(host: fn(u64) -> bool) -> Self {
            let domains = PRIORITIES.map(|priority| Domain {
                priority,
                wants: false,
                heartbeat: Heartbeat {
                    progress: 7,
                    ..Heartbeat::default()
                },
                given: 0,
                work: None,
            });
            Self {
                domains: Vec::from(domains),
                watchdog: Watchdog::new(&PRIORITIES, PATIENCE),
                gauge: Gauge::default(),
                host,
                now: 0,
                tick_is_due: false,
            }
        }

        fn with(mut self, number: usize, work: impl FnMut(&mut Domain, u64) + 'static) -> Self {
            self.domains[number].work = Some(Box::new(work));
            self
        }

        /// Who is found within so many slices of the host, and when.
        fn run(&mut self, slices: u64) -> Option<(Found, u64)> {
            for _ in 0..slices {
                self.now += 1;
                // Ticks that were missed come once.
                self.tick_is_due |= self.now.is_multiple_of(TICK);
                if !(self.host)(self.now) {
                    continue;
                }
                if core::mem::take(&mut self.tick_is_due) {
                    let gauge = core::mem::take(&mut self.gauge);
                    let beats: Vec<_> = self.domains.iter().map(|d| d.heartbeat).collect();
                    let found = self.watchdog.tick(gauge, |n| beats.get(n).copied());
                    if let Some(found) = found {
                        return Some((found, self.now));
                    }
                }
                self.schedule();
            }
            None
        }

        /// One slice for the highest who wants it, the gauge in between.
        fn schedule(&mut self) {
            let now = self.now;
            for domain in &mut self.domains {
                // What wakes a domain: time, here.
                if let Some(mut work) = domain.work.take() {
                    let before = domain.given;
                    work(domain, now);
                    assert_eq!(domain.given, before);
                    domain.work = Some(work);
                }
            }
            let top = (0..self.domains.len())
                .filter(|n| self.domains[*n].wants)
                .max_by_key(|n| self.domains[*n].priority);
            let above = top.map_or(0, |n| self.domains[n].priority);
            match self.watchdog.place().unwrap() {
                Place::Below(n) => self.gauge.is_alone |= self.domains[n].priority > above,
                Place::Beside(n) if top == Some(n) && !self.gauge.is_alone => {
                    self.gauge.slices += 1;
                }
                Place::Beside(n) => self.gauge.is_alone |= self.domains[n].priority > above,
            }
            if let Some(top) = top {
                self.domains[top].given += 1;
            }
        }
    }

    /// Wants the processor for `length` of each `period` slices, and gives a sign of
    /// life after each `piece` slices that it was given.
    fn busy(period: u64, length: u64, piece: u64) -> impl FnMut(&mut Domain, u64) {
        let mut due = 0;
        let mut done = 0;
        move |domain, now| {
            if now.is_multiple_of(period) {
                due = domain.given + length;
            }
            if domain.given >= done + piece {
                done = domain.given;
                domain.heartbeat.progress += 1;
            }
            if domain.given >= due && domain.wants {
                domain.heartbeat.progress += 1;
            }
            domain.wants = domain.given < due;
        }
    }

    fn hangs(from: u64) -> impl FnMut(&mut Domain, u64) {
        move |domain, now| domain.wants = now >= from
    }

    fn always(_: u64) -> bool {
        true
    }

    /// One slice in twenty, alone, as at a load of twenty.
    fn busy_host(now: u64) -> bool {
        now.is_multiple_of(20)
    }

    /// Nothing for five seconds out of ten.
    fn stalling_host(now: u64) -> bool {
        (now / (5 * SECOND)).is_multiple_of(2)
    }

    #[test]
    fn who_hangs_is_found_at_each_level_and_nobody_else() {
        for (host, most) in [
            (always as fn(u64) -> bool, 3),
            (busy_host, 40),
            (stalling_host, 12),
        ] {
            for number in 0..PRIORITIES.len() {
                let mut world = World::new(host).with(number, hangs(100));
                let (found, at) = world.run(60 * SECOND).unwrap();
                assert_eq!(found, Found::Hangs(number));
                assert!(world.domains[number].given >= SECOND, "too early: {at}");
                assert!(at < most * SECOND, "{number}: {at}");
            }
        }
    }

    #[test]
    fn who_is_busy_and_gives_a_sign_of_life_now_and_then_is_not_found() {
        for host in [always as fn(u64) -> bool, busy_host, stalling_host] {
            for number in 0..PRIORITIES.len() {
                // A piece of work of 0.8 s, without an end.
                let mut world = World::new(host).with(number, busy(1, 10, 400));
                assert_eq!(world.run(120 * SECOND), None, "domain {number}");
            }
        }
    }

    #[test]
    fn a_host_that_stalls_makes_nobody_hang_wherever_the_search_is() {
        // A stall of five seconds, which begins at each moment of a search.
        for start in (0..3 * SECOND).step_by(31) {
            static START: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);
            START.store(start, core::sync::atomic::Ordering::Relaxed);
            let host = |now: u64| {
                let start = START.load(core::sync::atomic::Ordering::Relaxed);
                !(start..start + 5 * SECOND).contains(&now)
            };
            let mut world = World::new(host).with(OFFLOAD, busy(1, 10, 400));
            assert_eq!(world.run(20 * SECOND), None, "stall at {start}");
        }
    }

    #[test]
    fn who_is_starved_by_a_higher_domain_is_not_found() {
        // 450 messages of 3 ms in a burst, again and again; the lowest always has
        // something to do, and is given the processor in between.
        for host in [always as fn(u64) -> bool, busy_host] {
            for period in [700, 710, 750, 1000] {
                let mut world = World::new(host)
                    .with(OFFLOAD, busy(period, 675, 450))
                    .with(GATEWAY, busy(1, 10, 400));
                assert_eq!(world.run(300 * SECOND), None, "a burst each {period}");
            }
        }
    }

    #[test]
    fn who_hangs_below_a_busy_domain_is_found_when_it_had_its_slices() {
        let mut world = World::new(always)
            .with(OFFLOAD, busy(100, 50, 10))
            .with(GATEWAY, hangs(100));
        let (found, _) = world.run(60 * SECOND).unwrap();
        assert_eq!(found, Found::Hangs(GATEWAY));
        assert!(world.domains[GATEWAY].given >= SECOND);
    }

    #[test]
    fn who_hangs_while_the_gauge_is_beside_a_lower_domain_is_found() {
        let mut world = World::new(always)
            .with(GATEWAY, hangs(100))
            .with(OFFLOAD, hangs(700));
        let (found, _) = world.run(60 * SECOND).unwrap();
        assert!(world.domains[GATEWAY].given > 0);
        assert_eq!(found, Found::Hangs(OFFLOAD));
    }

    #[test]
    fn who_does_nothing_and_owes_nothing_is_not_found() {
        assert_eq!(World::new(always).run(1000 * SECOND), None);
    }

    #[test]
    fn who_waits_and_owes_an_answer_is_found_and_not_its_caller() {
        for host in [always as fn(u64) -> bool, busy_host, stalling_host] {
            let mut world = World::new(host);
            world.domains[3].heartbeat.owed = 12;
            world.domains[GATEWAY].heartbeat.asked = 5;
            let (found, _) = world.run(60 * SECOND).unwrap();
            assert_eq!(found, Found::Waits(3));
        }
    }

    #[test]
    fn who_waits_for_an_answer_that_nobody_owes_is_found() {
        let mut world = World::new(always);
        world.domains[GATEWAY].heartbeat.asked = 5;
        let (found, _) = world.run(60 * SECOND).unwrap();
        assert_eq!(found, Found::Waits(GATEWAY));
    }

    #[test]
    fn calls_that_are_answered_are_no_debts_however_often_one_is_seen() {
        let mut world = World::new(always).with(OFFLOAD, |domain, now| {
            // Another call at each tick.
            domain.heartbeat.asked = 1 + now / 50;
        });
        assert_eq!(world.run(300 * SECOND), None);
    }

    #[test]
    fn a_call_that_takes_long_while_somebody_works_is_no_debt() {
        let mut world = World::new(always).with(1, busy(1, 10, 400));
        world.domains[1].heartbeat.owed = 9;
        world.domains[OFFLOAD].heartbeat.asked = 5;
        assert_eq!(world.run(300 * SECOND), None);
    }

    #[test]
    fn a_domain_that_is_stopped_is_looked_at_no_more() {
        let mut watchdog = Watchdog::new(&PRIORITIES, PATIENCE);
        let alone = Gauge {
            slices: 0,
            is_alone: true,
        };
        let debt = Heartbeat {
            owed: 3,
            ..Heartbeat::default()
        };
        for _ in 0..100 {
            let beat = |number| (number != 1).then(Heartbeat::default);
            assert_eq!(watchdog.tick(alone, beat), None);
        }
        for _ in 0..=PATIENCE.waits {
            let found = watchdog.tick(alone, |number| (number == 1).then_some(debt));
            if found == Some(Found::Waits(1)) {
                return;
            }
        }
        panic!("not found when it runs");
    }
}

//! A schedule in which domains hang, wait and are starved.

use alloc::boxed::Box;

use super::*;

/// As the shipped description has them, in another order.
const PRIORITIES: [u8; 6] = [160, 190, 200, 180, 170, 160];
const SHIM: usize = 4;
const GATEWAY: usize = 0;
const OFFLOAD: usize = 5;
/// Slices in a tick of 125 ms, and in a second, at the length that is assumed.
const TICK: u64 = 62;
const SECOND: u64 = 500;
const PATIENCE: Patience = Patience {
    slices: SECOND,
    waits: 4,
};

/// What a domain does with its slice.
type Work = Box<dyn FnMut(&mut Domain, u64)>;

struct Domain {
    priority: u8,
    wants: bool,
    heartbeat: Heartbeat,
    /// Slices that it got.
    processor_time: u64,
    work: Option<Work>,
}

/// A kernel with one processor, and a host that gives it time or not.
struct World {
    domains: Vec<Domain>,
    watchdog: Watchdog,
    gauge: Gauge,
    host: fn(u64) -> bool,
    /// Which domain got the last slice.
    last: usize,
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
            processor_time: 0,
            work: None,
        });
        Self {
            domains: Vec::from(domains),
            watchdog: Watchdog::new(&PRIORITIES, PATIENCE),
            gauge: Gauge::default(),
            host,
            last: 0,
            now: 0,
            tick_is_due: false,
        }
    }

    fn with(mut self, number: usize, work: impl FnMut(&mut Domain, u64) + 'static) -> Self {
        self.domains[number].work = Some(Box::new(work));
        self
    }

    /// Which domain is found within so many slices of the host, and when.
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
                for number in self.watchdog.to_wake() {
                    let domain = &mut self.domains[number];
                    // A waiting domain does a turn, and waits again.
                    domain.heartbeat.progress += u64::from(!domain.wants);
                }
            }
            self.schedule();
        }
        None
    }

    /// One slice for the next of the highest that want it, the gauge in between.
    fn schedule(&mut self) {
        let now = self.now;
        for domain in &mut self.domains {
            // What wakes a domain: time, here.
            if let Some(mut work) = domain.work.take() {
                let before = domain.processor_time;
                work(domain, now);
                assert_eq!(domain.processor_time, before);
                domain.work = Some(work);
            }
        }
        let wanting = self.domains.iter().filter(|domain| domain.wants);
        let above = wanting.map(|domain| domain.priority).max().unwrap_or(0);
        let mut turns: Vec<_> = (0..self.domains.len())
            .filter(|n| self.domains[*n].wants && self.domains[*n].priority == above)
            .collect();
        // The one after the last one, or the first: then all had theirs.
        turns.sort_by_key(|n| (*n <= self.last, *n));
        let next = turns.first().copied();
        match self.watchdog.place().unwrap() {
            Place::Beside(n) if self.domains[n].priority == above && !self.gauge.is_alone => {
                self.gauge.slices += u64::from(next <= Some(self.last));
            }
            Place::Beside(n) | Place::Below(n) => {
                self.gauge.is_alone |= self.domains[n].priority > above;
            }
        }
        if let Some(next) = next {
            self.last = next;
            self.domains[next].processor_time += 1;
        }
    }
}

/// Wants the processor for `length` of each `period` slices, and sends a heartbeat after
/// each `piece` slices that it got.
fn busy(period: u64, length: u64, piece: u64) -> impl FnMut(&mut Domain, u64) {
    let mut due = 0;
    let mut done = 0;
    move |domain, now| {
        if now.is_multiple_of(period) {
            due = domain.processor_time + length;
        }
        if domain.processor_time >= done + piece {
            done = domain.processor_time;
            domain.heartbeat.progress += 1;
        }
        if domain.processor_time >= due && domain.wants {
            domain.heartbeat.progress += 1;
        }
        domain.wants = domain.processor_time < due;
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
            assert!(
                world.domains[number].processor_time >= SECOND,
                "too early: {at}"
            );
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
    // 450 messages of 3 ms in a burst, again and again; the lowest always has something
    // to do, and gets the processor in between.
    for host in [always as fn(u64) -> bool, busy_host] {
        for period in [700, 710, 750, 1000] {
            let mut world = World::new(host)
                .with(SHIM, busy(period, 675, 450))
                .with(GATEWAY, busy(1, 10, 400));
            assert_eq!(world.run(300 * SECOND), None, "a burst each {period}");
        }
    }
}

#[test]
fn who_hangs_below_a_busy_domain_is_found_when_it_had_its_slices() {
    let mut world = World::new(always)
        .with(SHIM, busy(100, 50, 10))
        .with(GATEWAY, hangs(100));
    let (found, _) = world.run(60 * SECOND).unwrap();
    assert_eq!(found, Found::Hangs(GATEWAY));
    assert!(world.domains[GATEWAY].processor_time >= SECOND);
}

#[test]
fn who_hangs_while_the_gauge_is_beside_a_lower_domain_is_found() {
    let mut world = World::new(always)
        .with(GATEWAY, hangs(100))
        .with(SHIM, hangs(700));
    let (found, _) = world.run(60 * SECOND).unwrap();
    assert!(world.domains[GATEWAY].processor_time > 0);
    assert_eq!(found, Found::Hangs(SHIM));
}

#[test]
fn who_hangs_beside_another_of_its_priority_is_found_and_not_that_one() {
    type Other = fn() -> Work;
    let others: [Other; 3] = [
        || Box::new(busy(1, 10, 400)),
        || Box::new(busy(100, 50, 10)),
        // Waits.
        || Box::new(|_, _| {}),
    ];
    for (hanging, other) in [(GATEWAY, OFFLOAD), (OFFLOAD, GATEWAY)] {
        for work in others {
            let mut world = World::new(always)
                .with(hanging, hangs(100))
                .with(other, work());
            let (found, at) = world.run(60 * SECOND).unwrap();
            assert_eq!(found, Found::Hangs(hanging));
            assert!(
                world.domains[hanging].processor_time >= SECOND,
                "too early: {at}"
            );
            assert!(at < 4 * SECOND, "{hanging}: {at}");
        }
    }
}

#[test]
fn two_of_one_priority_that_are_busy_are_not_found() {
    for host in [always as fn(u64) -> bool, busy_host, stalling_host] {
        let mut world = World::new(host)
            .with(OFFLOAD, busy(1, 10, 400))
            .with(GATEWAY, busy(700, 350, 400));
        assert_eq!(world.run(300 * SECOND), None);
    }
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
fn who_waits_and_does_not_read_a_queue_is_found_also_when_it_answers_calls() {
    for host in [always as fn(u64) -> bool, busy_host, stalling_host] {
        let mut world = World::new(host).with(SHIM, |domain, now| {
            domain.heartbeat.owed = 1 + now / 50;
        });
        world.domains[SHIM].heartbeat.untaken = 1 << 32;
        let (found, _) = world.run(60 * SECOND).unwrap();
        assert_eq!(found, Found::Ignores(SHIM));
    }
}

#[test]
fn who_takes_the_event_when_it_is_woken_is_not_found() {
    let mut world = World::new(always);
    let mut woken = world.domains[OFFLOAD].heartbeat.progress;
    world = world.with(OFFLOAD, move |domain, now| {
        // Filled after its last look, and no bell rings.
        if now.is_multiple_of(10 * SECOND) {
            domain.heartbeat.untaken = now;
        }
        if core::mem::replace(&mut woken, domain.heartbeat.progress) != woken {
            domain.heartbeat.untaken = 0;
        }
    });
    assert_eq!(world.run(300 * SECOND), None);
}

#[test]
fn events_that_are_taken_are_no_debts_however_often_one_is_seen() {
    let mut world = World::new(always).with(OFFLOAD, |domain, now| {
        domain.heartbeat.untaken = 1 + now / 50;
    });
    assert_eq!(world.run(300 * SECOND), None);
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

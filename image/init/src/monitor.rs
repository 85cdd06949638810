//! What the root task does for the rest of its life: prints what the domains
//! log and what stops them, and restarts those that terminated.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use init::supervisor::{Supervisor, Verdict};
use init::timekeeper::{Event, Timekeeper};
use init::watchdog::{self, Found, Heartbeat, Patience, Place, Watchdog};
use init::{Plan, console, log_quota};
use ipc::boot::{LogRing, start};
use sel4::Error;
use sel4::fault::Fault;
use sel4::log;
use sel4::runtime::SystemClock;

use crate::builder::{Built, Gauge, TICK_BADGE, Watched};
use crate::logs::Logs;
use crate::machine::Generation;
use crate::terminal;
use crate::ticker::TICK_MS;

/// Set in the badge of faults; the rest is the domain's number.
const FAULT_BADGE: u64 = 1 << 27;

/// What a slice of the kernel's schedule is counted as. The embedded kernel's is one tick
/// of 10 ms (ADR 0011); a host that gives this machine less than that at a time makes it
/// as short. So no domain is restarted that got less than `silence_ms`, and on a host
/// with time to spare a domain may get five times as much.
const SLICE_MS: u64 = 2;
/// A yield that comes back within this part of a second gave the processor to no thread.
const AT_ONCE: u64 = 10_000;

/// Watches for ever.
pub(crate) fn run(plan: &Plan, mut built: Built) -> ! {
    let rate = match built.console {
        Some(_) => log_quota::RATE,
        None => log_quota::SERIAL_RATE,
    };
    let mut logs = Logs::new(built.domains.len(), rate);
    let patience = console::patience(0, built.tsc_hz, 1);
    let scale = built.timekeeper.scale();
    terminal::open(built.console.take(), scale, patience, plan.json_log);
    let groups = (0..plan.domains.len()).map(|number| group(plan, number));
    let supervisor = Supervisor::new(plan.restart, groups);
    let priorities: Vec<u8> = plan.domains.iter().map(|domain| domain.priority).collect();
    let silence = plan.restart.silence_ms;
    let patience = Patience {
        slices: silence.div_ceil(SLICE_MS),
        waits: silence.div_ceil(TICK_MS),
    };
    let mut watch = Watch {
        woken: built.domains.iter().map(|_| 0).collect(),
        built,
        supervisor,
        watchdog: (silence > 0).then(|| Watchdog::new(&priorities, patience)),
        priorities,
    };
    if let Err(error) = watch.begin() {
        log!("monitor: the kernel refuses: {error}");
    }
    loop {
        let (badge, info) = watch.built.endpoint.recv();
        let fault = (badge & FAULT_BADGE != 0).then(|| Fault::from_message(info));
        // Lines that a domain wrote before its fault come first.
        logs.print(&watch.built.domains, watch.built.tsc_hz);
        let done = match fault {
            Some(fault) => {
                let number = usize::try_from(badge & !FAULT_BADGE).unwrap_or(usize::MAX);
                watch.fault(number, fault)
            }
            None if badge & TICK_BADGE != 0 => watch.tick(),
            None => Ok(()),
        };
        if let Err(error) = done {
            log!("monitor: the kernel refuses: {error}");
        }
    }
}

/// The domains that are restarted with domain `number`, itself included, the highest
/// priority first.
fn group(plan: &Plan, number: usize) -> Vec<usize> {
    let Some(domain) = plan.domains.get(number) else {
        return Vec::new();
    };
    let others = domain.restarts.iter().map(|other| usize::from(*other));
    let mut group: Vec<_> = others.chain([number]).collect();
    let priority = |number: &usize| plan.domains.get(*number).map(|domain| domain.priority);
    group.sort_by_key(|number| core::cmp::Reverse(priority(number)));
    group
}

/// A way to follow the real-time clock: the counter, then the second.
type Follow = fn(&mut Timekeeper, u64, u64) -> (bool, Option<Event>);

/// What the monitor decides by.
struct Watch {
    built: Built,
    supervisor: Supervisor,
    /// The watchdog's timeouts.
    watchdog: Option<Watchdog>,
    priorities: Vec<u8>,
    /// The last moment for which each domain was woken.
    woken: Vec<u64>,
}

impl Watch {
    fn now_ms(&self) -> u64 {
        SystemClock::ticks() / (self.built.tsc_hz / 1000).max(1)
    }

    /// Lets the clock tick, if it is needed.
    fn begin(&mut self) -> Result<(), Error> {
        self.send_gauge()?;
        self.set_ticker()
    }

    fn set_ticker(&mut self) -> Result<(), Error> {
        let is_needed = self.watchdog.is_some()
            || self.built.generation.is_some()
            || self.supervisor.is_waiting();
        self.built.ticker.set(is_needed)
    }

    /// Puts the gauge where the watchdog wants it.
    fn send_gauge(&self) -> Result<(), Error> {
        let place = self.watchdog.as_ref().and_then(Watchdog::place);
        let priority = |number: usize| self.priorities.get(number).copied();
        let priority = match place {
            Some(Place::Below(number)) => priority(number).map(|p| p.saturating_sub(1)),
            Some(Place::Beside(number)) => priority(number),
            None => None,
        };
        let Some(priority) = priority else {
            return Ok(());
        };
        let Gauge { thread, endpoint } = &self.built.gauge;
        thread.suspend()?;
        thread.set_priority(priority)?;
        thread.write_gauge(*endpoint, self.built.tsc_hz / AT_ONCE)?;
        thread.resume()
    }

    /// Looks for a domain that does not answer, and ends it.
    fn look(&mut self) -> Result<(), Error> {
        let Some(watchdog) = &mut self.watchdog else {
            return Ok(());
        };
        let (slices, is_alone) = self.built.gauge.thread.gauged()?;
        let (domains, supervisor) = (&self.built.domains, &self.supervisor);
        let heartbeat = |number: usize| {
            let domain = domains.get(number);
            domain
                .filter(|_| supervisor.is_running(number))
                .map(heartbeat)
        };
        let found = watchdog.tick(watchdog::Gauge { slices, is_alone }, heartbeat);
        for domain in watchdog.to_wake().filter_map(|number| domains.get(number)) {
            domain.waker.signal();
        }
        self.send_gauge()?;
        let (number, why) = match found {
            Some(Found::Hangs(number)) => (number, "it does not answer"),
            Some(Found::Waits(number)) => (number, "it waits, and a call is not answered"),
            Some(Found::Ignores(number)) => (number, "it waits, and a queue is not read"),
            None => return Ok(()),
        };
        if let Some(domain) = self.built.domains.get(number) {
            log!("fault: {}: {why}", domain.name);
        }
        self.ended(number)
    }

    /// A domain has stopped: the fault is not answered.
    fn fault(&mut self, number: usize, fault: Fault) -> Result<(), Error> {
        let Some(domain) = self.built.domains.get(number) else {
            return Ok(());
        };
        // What faults while it is parked has been reported.
        if self.supervisor.is_running(number) {
            report(domain, fault);
        }
        self.ended(number)
    }

    /// Parks domain `number` and its dependents: their memory is cleared, and their
    /// callers are refused instead of waiting.
    fn ended(&mut self, number: usize) -> Result<(), Error> {
        let now = self.now_ms();
        let (parked, is_left) = match self.supervisor.ended(number, now) {
            Verdict::Park(parked) => (parked, false),
            Verdict::Leave(parked) => (parked, true),
            Verdict::Stop => return self.built.domains.get(number).map_or(Ok(()), Watched::stop),
        };
        if let Some(domain) = self.built.domains.get(number)
            && is_left
        {
            log!("init: {} failed too often and stays parked", domain.name);
        }
        for domain in parked.iter().filter_map(|n| self.built.domains.get(*n)) {
            domain.restart(start::PARKED)?;
        }
        self.set_ticker()
    }

    /// Whatever was drawn or agreed on is there a second time, in another machine, and as
    /// much later as its clock says: no domain starts with the time of the snapshot.
    fn restart_all(&mut self) -> Result<(), Error> {
        log!("init: the machine goes on from a snapshot: every domain is restarted");
        let clock = self.set_clock(Timekeeper::resume);
        let now = self.now_ms();
        let parked = self.supervisor.restart_all(now);
        for domain in parked.iter().filter_map(|n| self.built.domains.get(*n)) {
            domain.restart(start::PARKED)?;
        }
        self.set_ticker()?;
        clock
    }

    /// Has the clocks follow what the real-time clock says, in one of the timekeeper's ways.
    fn set_clock(&mut self, follow: Follow) -> Result<(), Error> {
        let Some(seconds) = self.built.ticker.unix_seconds()? else {
            return Ok(());
        };
        // Read last: whatever comes in between makes the second late, not early.
        let now = SystemClock::ticks();
        let (is_changed, event) = follow(&mut self.built.timekeeper, now, seconds);
        if is_changed {
            self.built.clock.publish(self.built.timekeeper.scale());
            terminal::keep_time(self.built.timekeeper.scale());
        }
        match event {
            Some(Event::Stepped(ms)) => log!("clock: {ms} ms behind, set forward"),
            Some(Event::Ahead(ms)) => log!("clock: {ms} ms ahead, runs slower"),
            None => {}
        }
        Ok(())
    }

    /// Wakes the domains that asked for a moment that is over, once for each moment.
    fn wake_due(&mut self) {
        let scale = self.built.timekeeper.scale();
        let now = scale.monotonic_at(SystemClock::ticks());
        for (domain, woken) in self.built.domains.iter().zip(&mut self.woken) {
            let at = ring(domain).wake_at.load(Ordering::Relaxed);
            if at != 0 && at <= now && at != *woken {
                *woken = at;
                domain.waker.signal();
            }
        }
    }

    /// The real-time clock has interrupted.
    fn tick(&mut self) -> Result<(), Error> {
        let reasons = self.built.ticker.acknowledge()?;
        if reasons.second {
            self.set_clock(Timekeeper::second)?;
        }
        let tsc_hz = self.built.tsc_hz;
        // Seconds are told of always, ticks where they are needed.
        match terminal::tick(|left| console::patience(left, tsc_hz, 1000 / TICK_MS)) {
            (0, _) => {}
            (lost, what) => log!("init: the console is slow: {lost} {what} were dropped"),
        }
        if !reasons.tick {
            return Ok(());
        }
        let generation = self.built.generation.as_mut();
        if generation.is_some_and(Generation::is_new) {
            self.restart_all()?;
        }
        self.wake_due();
        self.look()?;
        let now = self.now_ms();
        for number in self.supervisor.due(now) {
            if let Some(domain) = self.built.domains.get(number) {
                log!("init: {} is restarted", domain.name);
                domain.restart(start::AGAIN)?;
            }
        }
        self.set_ticker()
    }
}

impl Watched {
    fn stop(&self) -> Result<(), Error> {
        self.tcb.suspend()
    }

    /// Stops it and lets it run from its start.
    fn restart(&self, why: u64) -> Result<(), Error> {
        self.tcb.suspend()?;
        let (entry, stack) = self.start;
        self.tcb.write_start(entry, stack, why)?;
        self.tcb.resume()
    }
}

/// The log ring of a domain.
pub(crate) fn ring(domain: &Watched) -> &LogRing {
    // SAFETY: `Work::map_log` mapped the ring there for good; it is atomics,
    // which another domain writes.
    unsafe { &*(domain.log as *const LogRing) }
}

/// What a domain reports of itself: its own claim, which harms only itself.
fn heartbeat(domain: &Watched) -> Heartbeat {
    let ring = ring(domain);
    Heartbeat {
        progress: ring.progress.load(Ordering::Relaxed),
        owed: ring.owed.load(Ordering::Relaxed),
        asked: ring.asked.load(Ordering::Relaxed),
        untaken: ring.untaken.load(Ordering::Relaxed),
    }
}

/// Tells which domain stopped, why, and where. The other registers are not told: there may be
/// parts of keys in them.
fn report(domain: &Watched, fault: Fault) {
    let name = &domain.name;
    log!("fault: {name}: {fault}");
    let Ok(registers) = domain.tcb.read_registers() else {
        return;
    };
    log!(
        "fault: {name}: rip {:016x} rsp {:016x} rflags {:08x}",
        registers.rip,
        registers.rsp,
        registers.rflags
    );
}

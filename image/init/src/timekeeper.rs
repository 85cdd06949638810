//! How the clocks of all domains follow the real-time clock. Knows no kernel.
//!
//! The real-time clock reports when a second begins, by an interrupt that may come late
//! (a busy host) and never early. So an error that is seen is the clock's own error
//! and a delay, and the least of a window is nearly the error alone. At the end of a
//! window the wall clock is made to run faster or slower until it agrees (as NTP does,
//! by 500 ppm at most: RFC 5905 §11.3), and the rate of the monotonic clock is trimmed
//! by what is left again and again. A step is made forward only, and only when the
//! machine stood still or its clock was set: then two readings in a row say so, and
//! nothing is gained by a window. Until it is made, certificates and tickets are judged by
//! a time that is over.

use ipc::clock::Timescale;

const SECOND: u64 = 1_000_000_000;
/// Seconds in a window.
const WINDOW: u32 = 16;
/// What the wall clock runs faster or slower by at most, in parts of 10^9.
const MAX_SLEW: i64 = 500_000;
/// What the measured rate is trimmed by at most, in parts of 10^9.
const MAX_TRIM: i64 = 200_000;
/// An error that is not the rate's: then the real-time clock was set.
const SET: i64 = 100_000_000;
/// A clock that is further behind than this steps forward.
const BEHIND: i64 = 2 * SECOND as i64;
/// Two readings of a clock that is behind agree when they differ by less: then the
/// real-time clock was not misread, and no interrupt of an earlier time came late.
const AGREE: u64 = SECOND;

/// What a person may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The wall clock was so many milliseconds behind, and was set forward.
    Stepped(u64),
    /// It is so many milliseconds ahead and runs slower until it is not.
    Ahead(u64),
}

/// Keeps the time.
pub struct Timekeeper {
    scale: Timescale,
    /// The measured rate.
    measured: u64,
    /// Of the measured rate, in parts of 10^9.
    trim: i64,
    /// The least error of this window, in nanoseconds; positive when the wall clock is
    /// ahead.
    least: i64,
    seconds: u32,
    /// The error of the last reading, if it was further behind than [`BEHIND`].
    late: Option<i64>,
    has_begun: bool,
    is_ahead: bool,
}

impl Timekeeper {
    /// The counter has this rate; it is at `ticks` when the real-time clock says
    /// `unix_seconds`.
    pub fn new(ticks_per_second: u64, ticks: u64, unix_seconds: u64) -> Self {
        let measured = (u128::from(SECOND) << 32) / u128::from(ticks_per_second.max(1));
        let measured = u64::try_from(measured).unwrap_or(u64::MAX);
        let zero = Timescale {
            rate: measured,
            ..Timescale::default()
        };
        Self {
            scale: Timescale {
                ticks,
                monotonic: zero.monotonic_at(ticks),
                wall: unix_seconds.saturating_mul(SECOND),
                rate: measured,
                wall_rate: measured,
            },
            measured,
            trim: 0,
            least: i64::MAX,
            seconds: 0,
            late: None,
            has_begun: false,
            is_ahead: false,
        }
    }

    /// The clocks from now on.
    pub const fn scale(&self) -> &Timescale {
        &self.scale
    }

    /// The real-time clock has begun another second, `unix_seconds`, before the counter
    /// was at `ticks`. Whether [`Timekeeper::scale`] has changed, and why.
    pub fn second(&mut self, ticks: u64, unix_seconds: u64) -> (bool, Option<Event>) {
        let error = self.error(ticks, unix_seconds);
        if !self.has_begun {
            // At the start only the second was known, not how much of it was over.
            self.has_begun = true;
            return (self.step(ticks, error), None);
        }
        if error < -BEHIND {
            return match self.late.replace(error) {
                // What came later than it should have makes it look less late.
                Some(before) if before.abs_diff(error) < AGREE => {
                    self.set_forward(ticks, error.min(before))
                }
                _ => (false, None),
            };
        }
        self.late = None;
        self.least = self.least.min(error);
        self.seconds += 1;
        if self.seconds < WINDOW {
            return (false, None);
        }
        let error = self.least;
        (self.least, self.seconds) = (i64::MAX, 0);
        let wanted = -error / i64::from(WINDOW);
        if error.abs() < SET {
            self.trim = (self.trim + wanted / 8).clamp(-MAX_TRIM, MAX_TRIM);
        }
        self.rebase(ticks);
        self.scale.rate = changed(self.measured, self.trim);
        let slew = (wanted / 2).clamp(-MAX_SLEW, MAX_SLEW);
        self.scale.wall_rate = changed(self.scale.rate, slew);
        let was_ahead = core::mem::replace(&mut self.is_ahead, error > BEHIND);
        let ahead = error.unsigned_abs() / 1_000_000;
        let tells = self.is_ahead && !was_ahead;
        (true, tells.then_some(Event::Ahead(ahead)))
    }

    /// The machine goes on from a snapshot, and the real-time clock says `unix_seconds`
    /// while the counter is at `ticks`: the wall clock is not behind that from now on, and
    /// how much of the second is over is made up for as at the start. As
    /// [`Timekeeper::second`] returns.
    pub fn resume(&mut self, ticks: u64, unix_seconds: u64) -> (bool, Option<Event>) {
        self.has_begun = false;
        let error = self.error(ticks, unix_seconds);
        match error < 0 {
            true => self.set_forward(ticks, error),
            false => (false, None),
        }
    }

    /// How far the wall clock is ahead of a second, in nanoseconds.
    fn error(&self, ticks: u64, unix_seconds: u64) -> i64 {
        let now = i128::from(self.scale.wall_at(ticks));
        let error = now - i128::from(unix_seconds) * i128::from(SECOND);
        let bounds = i128::from(i64::MIN / 4)..=i128::from(i64::MAX / 4);
        error.clamp(*bounds.start(), *bounds.end()) as i64
    }

    /// Steps, and says so; another window begins.
    fn set_forward(&mut self, ticks: u64, error: i64) -> (bool, Option<Event>) {
        (self.least, self.seconds, self.late) = (i64::MAX, 0, None);
        let behind = error.unsigned_abs() / 1_000_000;
        (self.step(ticks, error), Some(Event::Stepped(behind)))
    }

    /// Sets the wall clock forward by an error below zero.
    fn step(&mut self, ticks: u64, error: i64) -> bool {
        let forward = error.min(0).unsigned_abs();
        self.rebase(ticks);
        self.scale.wall = self.scale.wall.saturating_add(forward);
        self.scale.wall_rate = self.scale.rate;
        forward > 0
    }

    /// Both clocks go on from where they are.
    fn rebase(&mut self, ticks: u64) {
        let (monotonic, wall) = (self.scale.monotonic_at(ticks), self.scale.wall_at(ticks));
        let ticks = ticks.max(self.scale.ticks);
        self.scale = Timescale {
            ticks,
            monotonic,
            wall,
            ..self.scale
        };
    }
}

/// A rate that is faster by so many parts of 10^9.
fn changed(rate: u64, parts: i64) -> u64 {
    let change = i128::from(rate) * i128::from(parts) / i128::from(SECOND);
    u64::try_from(i128::from(rate) + change).unwrap_or(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the counter really does in a second; the measured rate is off.
    const TRUE_HZ: u64 = 1_000_000_000;
    const START: u64 = 1_800_000_000;

    /// A machine whose real-time clock is right.
    struct Machine {
        keeper: Timekeeper,
        /// Real nanoseconds since `START`.
        now: u64,
        /// What the real-time clock is set to besides.
        set: i64,
        last: Timescale,
    }

    impl Machine {
        fn new(measured_hz: u64) -> Self {
            // Three tenths of a second are over when the clock is read.
            let now = 300_000_000;
            let keeper = Timekeeper::new(measured_hz, now, START);
            let last = *keeper.scale();
            Self {
                keeper,
                now,
                set: 0,
                last,
            }
        }

        /// Second after second, each reported late by `delay` nanoseconds; asserts that
        /// no clock runs backwards.
        fn run(&mut self, seconds: u64, mut delay: impl FnMut(u64) -> u64) -> Option<Event> {
            let mut event = None;
            for _ in 0..seconds {
                let second = self.now / SECOND + 1;
                let told = second * SECOND + delay(second);
                // A second that was missed is not reported.
                let newest = told / SECOND;
                self.now = told;
                let unix = (START + newest).checked_add_signed(self.set).unwrap();
                let (_, what) = self.keeper.second(told, unix);
                event = event.or(what);
                let scale = *self.keeper.scale();
                assert!(scale.monotonic_at(told) >= self.last.monotonic_at(told));
                assert!(scale.wall_at(told) >= self.last.wall_at(told));
                self.last = scale;
            }
            event
        }

        /// How far the wall clock is ahead of the real-time clock, in microseconds.
        fn error(&self) -> i64 {
            let truth = i128::from(START) * 1_000_000_000 + i128::from(self.now);
            let truth = truth + i128::from(self.set) * 1_000_000_000;
            ((i128::from(self.last.wall_at(self.now)) - truth) / 1000) as i64
        }
    }

    /// Milliseconds that a busy host makes of it.
    fn late(second: u64) -> u64 {
        (second * 7919 % 97) * 400_000
    }

    #[test]
    fn the_part_of_a_second_that_was_over_at_the_start_is_made_up_for_at_once() {
        let mut machine = Machine::new(TRUE_HZ);
        assert!(machine.error() < -299_000);
        machine.run(1, |_| 0);
        assert_eq!(machine.error(), 0);
    }

    #[test]
    fn a_first_second_that_is_told_late_is_no_reason_to_go_ahead() {
        let mut machine = Machine::new(TRUE_HZ);
        machine.run(1, |_| 900_000_000);
        assert_eq!(machine.error(), -300_000);
        machine.run(1800, |_| 0);
        assert!(machine.error().abs() < 5_000, "{}", machine.error());
    }

    #[test]
    fn the_wall_clock_follows_though_the_rate_was_measured_wrongly() {
        for off in [-150_i64, -20, 0, 20, 150] {
            let measured = TRUE_HZ.checked_add_signed(off * 1000).unwrap();
            let mut machine = Machine::new(measured);
            assert_eq!(machine.run(3600, late), None);
            let error = machine.error();
            assert!((-5_000..5_000).contains(&error), "{off} ppm: {error} µs");
            // And so does the rate of the monotonic clock, to 5 ppm.
            let scale = machine.keeper.scale();
            let nanos = scale.rate * 1000 / (1 << 22);
            assert!(nanos.abs_diff(1_024_000) < 6, "{off} ppm: {nanos}");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_is_met_slowly_and_told_once() {
        let mut machine = Machine::new(TRUE_HZ);
        machine.run(64, |_| 0);
        machine.set = -3;
        assert_eq!(machine.run(32, |_| 0), Some(Event::Ahead(3000)));
        assert_eq!(machine.run(3600, |_| 0), None);
        let error = machine.error();
        // 500 ppm of an hour are 1.8 s.
        assert!((1_000_000..1_300_000).contains(&error), "{error}");
        machine.run(3 * 3600, |_| 0);
        assert!(machine.error().abs() < 5_000);
    }

    #[test]
    fn a_machine_that_stood_still_steps_forward() {
        let mut machine = Machine::new(TRUE_HZ);
        machine.run(64, |_| 0);
        machine.set = 86_400;
        let event = machine.run(32, |_| 0);
        assert!(
            matches!(event, Some(Event::Stepped(86_399_000..=86_401_000))),
            "{event:?}"
        );
        assert!(machine.error().abs() < 1000);
    }

    #[test]
    fn a_machine_that_stood_still_steps_at_the_second_reading_that_says_so() {
        for behind in [3, 100, 86_400, 400 * 86_400] {
            let mut machine = Machine::new(TRUE_HZ);
            machine.run(64 + behind as u64 % 16, late);
            machine.set = behind;
            assert_eq!(machine.run(1, |_| 300_000_000), None, "one may be misread");
            let event = machine.run(1, |_| 700_000_000);
            let ms = behind as u64 * 1000;
            assert!(
                matches!(event, Some(Event::Stepped(stepped)) if stepped.abs_diff(ms) < 400),
                "{behind}: {event:?}"
            );
            // By the reading that was less late, and no further than the truth.
            let error = machine.error();
            assert!((-340_000..5_000).contains(&error), "{behind}: {error}");
            assert_eq!(machine.run(3600, late), None);
            assert!(machine.error().abs() < 5_000);
        }
    }

    #[test]
    fn one_reading_that_is_wrong_and_two_that_do_not_agree_are_no_reason_to_step() {
        let mut machine = Machine::new(TRUE_HZ);
        machine.run(64, |_| 0);
        for set in [5, 0, 50, 0, 5, 50, 5, 50, 500, 0] {
            machine.set = set;
            assert_eq!(machine.run(1, |_| 0), None);
        }
        assert_eq!(machine.run(64, |_| 0), None);
        assert!(machine.error().abs() < 1000, "{}", machine.error());
    }

    #[test]
    fn what_goes_on_from_a_snapshot_has_the_time_at_once_and_the_rest_of_the_second_soon() {
        let mut machine = Machine::new(TRUE_HZ);
        machine.run(64, late);
        machine.set = 86_400;
        // In the middle of a second.
        machine.now += 400_000_000;
        let unix = START + machine.now / SECOND + 86_400;
        let before = machine.keeper.scale().monotonic_at(machine.now);
        let (is_changed, event) = machine.keeper.resume(machine.now, unix);
        assert!(is_changed);
        assert!(
            matches!(event, Some(Event::Stepped(86_399_000..=86_401_000))),
            "{event:?}"
        );
        let scale = machine.keeper.scale();
        assert_eq!(scale.wall_at(machine.now), unix * SECOND);
        assert_eq!(scale.monotonic_at(machine.now), before);
        machine.last = *scale;
        machine.run(1, |_| 0);
        assert_eq!(machine.error(), 0);
        // A clock that is not behind is left as it is.
        let (now, unix) = (machine.now, START + machine.now / SECOND);
        let before = machine.keeper.scale().wall_at(now);
        assert_eq!(machine.keeper.resume(now, unix), (false, None));
        assert_eq!(machine.keeper.scale().wall_at(now), before);
    }

    #[test]
    fn the_monotonic_clock_is_never_set() {
        let mut machine = Machine::new(TRUE_HZ);
        machine.run(64, late);
        let before = machine.last.monotonic_at(machine.now);
        let start = machine.now;
        machine.set = 86_400;
        machine.run(64, late);
        let passed = machine.last.monotonic_at(machine.now) - before;
        let real = machine.now - start;
        assert!(passed.abs_diff(real) < real / 5_000, "{passed} for {real}");
    }
}

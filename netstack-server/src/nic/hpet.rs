//! The timer: comparator 0 of the HPET, one shot (IA-PC HPET 1.0a §2.3).

use core::time::Duration;

use ipc::boot::TimerDevice;
use ipc::clock::Instant;

const GENERAL_CAPABILITIES: usize = 0x000;
const GENERAL_CONFIGURATION: usize = 0x010;
const MAIN_COUNTER: usize = 0x0f0;
const TIMER_0_CONFIGURATION: usize = 0x100;
const TIMER_0_COMPARATOR: usize = 0x108;

/// General configuration: the counter runs.
const ENABLE: u64 = 1;
/// Timer configuration: interrupts on.
const INTERRUPT: u64 = 1 << 2;
/// Timer configuration: where the pin's number stands.
const PIN: u32 = 9;

/// The counter's lower half is used alone, so that it does not matter whether
/// it has an upper one: a longer wait than this is cut.
const LONGEST: u64 = 1 << 31;

/// A comparator closer than this may be passed before it is written.
const SHORTEST: u64 = 256;

const FEMTOS_PER_NANO: u64 = 1_000_000;

/// The timer of this domain.
pub struct Hpet {
    registers: *mut u64,
    /// Femtoseconds a tick.
    period: u64,
    armed: Option<Instant>,
}

impl Hpet {
    /// Takes the timer into use.
    pub fn new(device: TimerDevice) -> Self {
        let mut this = Self {
            registers: device.registers(),
            period: 1,
            armed: None,
        };
        this.period = (this.read(GENERAL_CAPABILITIES) >> 32).max(1);
        this.write(TIMER_0_CONFIGURATION, device.pin() << PIN | INTERRUPT);
        this.write(GENERAL_CONFIGURATION, ENABLE);
        this
    }

    /// Has the timer interrupt at `at`, or before; false if that is not in the
    /// future. An earlier requested moment stays.
    pub fn arm(&mut self, at: Instant, now: Instant) -> bool {
        if at <= now {
            return false;
        }
        if self.armed.is_some_and(|armed| armed <= at && armed > now) {
            return true;
        }
        let ticks = self.ticks(at - now);
        let due = self.read(MAIN_COUNTER).wrapping_add(ticks);
        self.write(TIMER_0_COMPARATOR, due);
        self.armed = Some(at);
        // Has it passed meanwhile?
        let left = due.wrapping_sub(self.read(MAIN_COUNTER)) as u32;
        u64::from(left) <= LONGEST
    }

    /// The timer has interrupted.
    pub fn fired(&mut self) {
        self.armed = None;
    }

    fn ticks(&self, wait: Duration) -> u64 {
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        let femtos = u128::from(nanos) * u128::from(FEMTOS_PER_NANO);
        let ticks = femtos.div_ceil(u128::from(self.period));
        u64::try_from(ticks)
            .unwrap_or(LONGEST)
            .clamp(SHORTEST, LONGEST)
    }

    fn read(&self, register: usize) -> u64 {
        // SAFETY: the registers' numbers are below the page's size.
        let place = unsafe { self.registers.byte_add(register) };
        // SAFETY: the register is mapped (`new`), and reading it has no effect.
        unsafe { place.read_volatile() }
    }

    fn write(&mut self, register: usize, value: u64) {
        // SAFETY: as in `read`.
        let place = unsafe { self.registers.byte_add(register) };
        // SAFETY: the register is mapped (`new`) and this value's alone.
        unsafe { place.write_volatile(value) };
    }
}

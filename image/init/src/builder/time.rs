//! The time: how fast the processor's counter runs, what the real-time clock says, and
//! the page by which the monitor tells it to all domains.

use core::ops::RangeInclusive;

use init::calendar::Utc;
use init::timekeeper::Timekeeper;
use init::unfit::Unfit;
use ipc::clock::ClockPage;
use sel4::cap::{Cache, ObjectKind};
use sel4::runtime::SystemClock;
use sel4::{BootInfo, Error, log};

use super::devices::TIMER_PHYSICAL;
use super::{Refusal, SCRATCH, Work};
use crate::hardware::{CLOCK_PORTS, Cmos};
use crate::resources::{Page, granule};

/// Where the root task maps the page, to write it.
pub(super) const PLACE: u64 = 0x6b00_0000;

/// Registers of the HPET (IA-PC HPET 1.0a §2.3): the upper half of the first is the
/// length of a count in femtoseconds, at most 10^8; bit 0 of the second lets it count.
const PERIOD: u64 = 0x004;
const CONFIGURATION: u64 = 0x010;
const COUNTER: u64 = 0x0f0;
const MOST_FEMTOSECONDS: u32 = 100_000_000;
const ENABLE: u32 = 1;

/// How long the two counters are compared.
const COMPARED_MS: u64 = 20;
/// What a processor's counter can have.
const POSSIBLE_HZ: RangeInclusive<u64> = 100_000_000..=20_000_000_000;
/// A reading is between two of the other counter; the closest of so many is taken.
const READINGS: u32 = 16;

/// Both counters at one moment.
#[derive(Clone, Copy)]
struct Pair {
    ticks: u64,
    /// The low half of the other.
    counts: u32,
    /// Ticks between those before and after the other's reading.
    apart: u64,
}

impl Work<'_> {
    /// Measures, reads, and says so.
    pub(super) fn read_clocks(&mut self, boot: &BootInfo) -> Result<(Timekeeper, u64), Refusal> {
        let told = boot.tsc_hz();
        let measured = self.measure(told)?;
        // A driver without a timer would never send anything again.
        if measured.is_none() && self.plan.device.is_some() {
            return Err(Unfit::Timer.into());
        }
        let (hz, by) = match measured {
            Some(hz) => (hz, "by the HPET"),
            None => (told, "by the kernel: there is no HPET"),
        };
        let ports = self.ports(CLOCK_PORTS)?;
        let clock = Cmos::new(&ports);
        let read = clock.unix_seconds()?;
        let ticks = SystemClock::ticks();
        let fields = clock.fields()?;
        self.resources.slot(ports.bits()).delete()?;
        let (seconds, built) = (read.unwrap_or(0), self.plan.built_after);
        log!("init: clock: {hz} Hz {by}, {}", Utc(seconds));
        if read.is_none() {
            log!("init: clock: the real-time clock tells no date: {fields:?}");
        }
        if seconds < built {
            log!(
                "init: clock: it is before {}, and the image is not: certificates may be refused",
                Utc(built)
            );
        }
        Ok((Timekeeper::new(hz, ticks, seconds), hz))
    }

    /// The page, which starts with what `keeper` says.
    pub(super) fn make_clock_page(&mut self, keeper: &Timekeeper) -> Result<(), Error> {
        let slot = self.resources.make_kept(ObjectKind::Granule)?;
        let page = Page::Small(slot);
        self.own
            .map(&mut self.resources, page, PLACE, true, Cache::WriteBack)?;
        // SAFETY: mapped just now, for good; zeros are such a page, of atomics only.
        let clock = unsafe { &*(PLACE as *const ClockPage) };
        clock.publish(keeper.scale());
        self.clock = Some((slot, clock));
        Ok(())
    }

    /// The counter's rate, compared with the HPET; `None` where there is none.
    fn measure(&mut self, told: u64) -> Result<Option<u64>, Error> {
        let mut registers = self.registers.iter();
        let timer = registers
            .find(|register| register.physical == TIMER_PHYSICAL)
            .map(|timer| timer.slot);
        // No domain's, where no domain drives a device.
        let slot = match timer {
            Some(slot) => slot,
            None => self.resources.device_page(TIMER_PHYSICAL)?,
        };
        let page = Page::Small(slot);
        self.own
            .map(&mut self.resources, page, SCRATCH, true, Cache::Uncacheable)?;
        let measured = compare(told);
        // SAFETY: a small page, mapped just now.
        unsafe { granule(slot) }.frame_unmap()?;
        self.resources.unmapped_last();
        Ok(measured)
    }
}

/// The counter's rate by the HPET at [`SCRATCH`].
fn compare(told: u64) -> Option<u64> {
    let period = read(PERIOD);
    if !(1..=MOST_FEMTOSECONDS).contains(&period) {
        return None;
    }
    let configuration = read(CONFIGURATION);
    write(CONFIGURATION, configuration | ENABLE);
    let first = pair();
    let end = first.ticks + told / 1000 * COMPARED_MS;
    while SystemClock::ticks() < end {}
    let last = pair();
    write(CONFIGURATION, configuration);
    let counts = u128::from(last.counts.wrapping_sub(first.counts));
    let femtoseconds = counts * u128::from(period);
    let ticks = u128::from(last.ticks - first.ticks);
    let hz = (ticks * 1_000_000_000_000_000).checked_div(femtoseconds)?;
    // Otherwise it is another device. What the kernel tells is no measure: it was seen to
    // be three times too much.
    let hz = u64::try_from(hz).ok()?;
    POSSIBLE_HZ.contains(&hz).then_some(hz)
}

fn pair() -> Pair {
    let one = || {
        let before = SystemClock::ticks();
        let counts = read(COUNTER);
        let apart = SystemClock::ticks() - before;
        Pair {
            ticks: before + apart / 2,
            counts,
            apart,
        }
    };
    (1..READINGS).fold(one(), |best, _| {
        let next = one();
        if next.apart < best.apart { next } else { best }
    })
}

fn read(register: u64) -> u32 {
    // SAFETY: `measure` mapped the registers there, for as long as it compares.
    unsafe { ((SCRATCH + register) as *const u32).read_volatile() }
}

fn write(register: u64, value: u32) {
    // SAFETY: as in `read`; nobody else uses the timer before the domains start.
    unsafe { ((SCRATCH + register) as *mut u32).write_volatile(value) };
}

//! The interrupts of the real-time clock (Motorola MC146818A): one when each second
//! begins, and eight more a second while they are needed.

use sel4::Error;
use sel4::cap::{IOPort, IrqHandler};

use crate::hardware::Cmos;

/// The I/O APIC pin of the real-time clock.
pub(crate) const PIN: u64 = 8;

const REGISTER_A: u32 = 0x0a;
const REGISTER_B: u32 = 0x0b;
const REGISTER_C: u32 = 0x0c;
/// Time between two ticks.
pub(crate) const TICK_MS: u64 = 125;
/// Time base of 32,768 Hz, divided down to 8 Hz.
const EIGHT_A_SECOND: u32 = 0x2d;
/// Periodic interrupt and update-ended interrupt, in the registers B and C.
const PERIODIC: u8 = 1 << 6;
const UPDATED: u8 = 1 << 4;

/// Why the clock has interrupted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reasons {
    /// A tick.
    pub(crate) tick: bool,
    /// Another second has begun.
    pub(crate) second: bool,
}

/// The ports 0x70 and 0x71 and the interrupt of the clock.
pub(crate) struct Ticker {
    ports: IOPort,
    interrupt: IrqHandler,
    /// Register B, as it was set; `None` before.
    mode: Option<u8>,
}

impl Ticker {
    pub(crate) const fn new(ports: IOPort, interrupt: IrqHandler) -> Self {
        Self {
            ports,
            interrupt,
            mode: None,
        }
    }

    /// Slots of what it holds.
    pub(crate) const fn slots(&self) -> [u64; 2] {
        [self.ports.bits(), self.interrupt.bits()]
    }

    /// Starts or stops the ticks; seconds are always reported.
    ///
    /// # Errors
    /// The kernel's: the ports are others.
    pub(crate) fn set(&mut self, ticks: bool) -> Result<(), Error> {
        let clock = Cmos::new(&self.ports);
        let before = match self.mode {
            Some(mode) => mode,
            None => {
                clock.write(REGISTER_A, EIGHT_A_SECOND)?;
                clock.read(REGISTER_B)?
            }
        };
        let periodic = if ticks { PERIODIC } else { 0 };
        let mode = before & !PERIODIC | UPDATED | periodic;
        if self.mode == Some(mode) {
            return Ok(());
        }
        clock.write(REGISTER_B, mode.into())?;
        self.mode = Some(mode);
        // Whatever was pending: the next interrupt is let through.
        self.acknowledge().map(drop)
    }

    /// Lets the next interrupt come; why this one did.
    ///
    /// # Errors
    /// As [`Ticker::set`].
    pub(crate) fn acknowledge(&self) -> Result<Reasons, Error> {
        // Reading tells the clock that its interrupt was seen.
        let flags = Cmos::new(&self.ports).read(REGISTER_C)?;
        self.interrupt.ack()?;
        Ok(Reasons {
            tick: flags & PERIODIC != 0,
            second: flags & UPDATED != 0,
        })
    }

    /// The time of day: see [`Cmos::unix_seconds`].
    ///
    /// # Errors
    /// As [`Ticker::set`].
    pub(crate) fn unix_seconds(&self) -> Result<Option<u64>, Error> {
        Cmos::new(&self.ports).unix_seconds()
    }
}

//! The monitor's clock tick: the periodic interrupt of the real-time clock
//! (Motorola MC146818A), eight times a second while somebody waits for it.

use sel4::Error;
use sel4::cap::{IOPort, IrqHandler, PortWidth};

/// The I/O APIC pin of the real-time clock.
pub(crate) const PIN: u64 = 8;

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
const REGISTER_A: u32 = 0x0a;
const REGISTER_B: u32 = 0x0b;
const REGISTER_C: u32 = 0x0c;
/// Time between two ticks.
pub(crate) const TICK_MS: u64 = 125;
/// Time base of 32,768 Hz, divided down to 8 Hz.
const EIGHT_A_SECOND: u32 = 0x2d;
const PERIODIC: u32 = 1 << 6;

/// The ports 0x70 and 0x71 and the interrupt of the clock.
pub(crate) struct Ticker {
    ports: IOPort,
    interrupt: IrqHandler,
    is_on: bool,
}

impl Ticker {
    pub(crate) const fn new(ports: IOPort, interrupt: IrqHandler) -> Self {
        Self {
            ports,
            interrupt,
            is_on: false,
        }
    }

    /// Slots of what it holds.
    pub(crate) const fn slots(&self) -> [u64; 2] {
        [self.ports.bits(), self.interrupt.bits()]
    }

    /// Lets it tick, or stops it.
    ///
    /// # Errors
    /// The kernel's: the ports are others.
    pub(crate) fn set(&mut self, on: bool) -> Result<(), Error> {
        if on == self.is_on {
            return Ok(());
        }
        self.is_on = on;
        let mode = self.read(REGISTER_B)? & !PERIODIC;
        if on {
            self.write(REGISTER_A, EIGHT_A_SECOND)?;
            self.write(REGISTER_B, mode | PERIODIC)?;
            return self.acknowledge();
        }
        self.write(REGISTER_B, mode)
    }

    /// Lets the next tick come.
    ///
    /// # Errors
    /// As [`Ticker::set`].
    pub(crate) fn acknowledge(&self) -> Result<(), Error> {
        // Reading tells the clock that its interrupt was seen.
        self.read(REGISTER_C)?;
        self.interrupt.ack()
    }

    fn read(&self, register: u32) -> Result<u32, Error> {
        self.ports.write(INDEX, PortWidth::Byte, register)?;
        Ok(self.ports.read(DATA, PortWidth::Byte)? & 0xff)
    }

    fn write(&self, register: u32, value: u32) -> Result<(), Error> {
        self.ports.write(INDEX, PortWidth::Byte, register)?;
        self.ports.write(DATA, PortWidth::Byte, value)
    }
}

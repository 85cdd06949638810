//! A serial line: National Semiconductor's 16550, 8 bits, no parity.

use core::cell::Cell;

use ipc::port::Ports;

// Registers, from the first port on.
const DATA: u16 = 0;
const INTERRUPTS: u16 = 1;
const FIFO: u16 = 2;
const FORMAT: u16 = 3;
const MODEM: u16 = 4;
const STATUS: u16 = 5;
const SCRATCH: u16 = 7;

/// An interrupt when there is something to read.
const ON_DATA: u8 = 1;
/// FIFOs on and empty.
const FIFO_ON: u8 = 7;
/// The first two registers are those of the rate.
const RATE: u8 = 0x80;
const EIGHT_BITS: u8 = 3;
/// Ready; the interrupt is let through.
const READY: u8 = 0xb;
const HAS_DATA: u8 = 1;
const CAN_SEND: u8 = 0x20;
/// How often a full line is polled before a byte is dropped: longer than its 16 bytes take
/// at this rate.
const PATIENCE: u32 = 10_000;

/// The line.
pub struct Serial<P> {
    ports: P,
    first: u16,
    /// The other end took nothing when it was polled last: it is not waited for again.
    is_stuck: Cell<bool>,
}

impl<P: Ports> Serial<P> {
    /// The line whose registers are `first` and the seven ports after it;
    /// `None` when there is none.
    pub fn new(ports: P, first: u16) -> Option<Self> {
        let line = Self {
            ports,
            first,
            is_stuck: Cell::new(false),
        };
        for value in [0x5a, 0xa5] {
            line.write(SCRATCH, value);
            if line.read(SCRATCH) != value {
                return None;
            }
        }
        line.write(FORMAT, RATE | EIGHT_BITS);
        // 115,200 bits a second.
        line.write(DATA, 1);
        line.write(INTERRUPTS, 0);
        line.write(FORMAT, EIGHT_BITS);
        line.write(FIFO, FIFO_ON);
        line.write(MODEM, READY);
        line.write(INTERRUPTS, ON_DATA);
        Some(line)
    }

    /// The next byte that is there.
    pub fn receive(&self) -> Option<u8> {
        let has_data = self.read(STATUS) & HAS_DATA != 0;
        has_data.then(|| self.read(DATA))
    }

    /// Sends all bytes, as far as the other end takes them.
    pub fn send(&self, bytes: &[u8]) {
        for byte in bytes {
            let mut looks = match self.is_stuck.get() {
                true => 0..1,
                false => 0..PATIENCE,
            };
            self.is_stuck
                .set(looks.all(|_| self.read(STATUS) & CAN_SEND == 0));
            if self.is_stuck.get() {
                return;
            }
            self.write(DATA, *byte);
        }
    }

    fn read(&self, register: u16) -> u8 {
        self.ports.read(self.first + register)
    }

    fn write(&self, register: u16, value: u8) {
        self.ports.write(self.first + register, value);
    }
}

//! The first serial port, which only the root task has.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering};

use init::console;
use sel4::Error;
use sel4::cap::{IOPort, PortWidth};
use sel4::runtime::SystemClock;
use spin::Once;

/// First port of COM1.
pub(crate) const FIRST_PORT: u16 = 0x3f8;
/// Last port of COM1.
pub(crate) const LAST_PORT: u16 = FIRST_PORT + 7;

const DATA: u16 = FIRST_PORT;
const INTERRUPTS: u16 = FIRST_PORT + 1;
const FIFO: u16 = FIRST_PORT + 2;
const LINE_CONTROL: u16 = FIRST_PORT + 3;
const LINE_STATUS: u16 = FIRST_PORT + 5;

const TRANSMITTER_EMPTY: u32 = 1 << 5;

static PORT: Once<IOPort> = Once::new();

/// Takes the port and sets it up: 115200 baud, 8 data bits, no interrupts.
///
/// # Errors
/// The kernel's: `port` is no capability of COM1.
pub(crate) fn init(port: IOPort) -> Result<(), Error> {
    let byte = |register, value| port.write(register, PortWidth::Byte, value);
    byte(INTERRUPTS, 0)?;
    byte(LINE_CONTROL, 0x80)?;
    byte(DATA, 1)?;
    byte(INTERRUPTS, 0)?;
    byte(LINE_CONTROL, 3)?;
    byte(FIFO, 0xc7)?;
    PORT.call_once(|| port);
    Ok(())
}

/// How long the line is waited for until the next tick. While the system is built and no
/// domain runs, as long as it takes.
static PATIENCE: AtomicU64 = AtomicU64::new(u64::MAX);
/// Bytes that were dropped.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Changes how long the line may be waited for. Returns how many bytes were dropped since
/// the last time.
pub(crate) fn be_patient(patience: impl Fn(u64) -> u64) -> u64 {
    let left = PATIENCE.load(Ordering::Relaxed);
    PATIENCE.store(patience(left), Ordering::Relaxed);
    LOST.swap(0, Ordering::Relaxed)
}

/// Sends a line; nothing happens before [`init`].
pub(crate) fn line(line: fmt::Arguments<'_>) {
    struct Pieces;
    impl Write for Pieces {
        fn write_str(&mut self, piece: &str) -> fmt::Result {
            write(piece.as_bytes());
            Ok(())
        }
    }
    // It never fails; a failing Display cuts the line short.
    let _ = Pieces.write_fmt(line);
    write(b"\n");
}

/// Sends bytes, those that the line takes in time; nothing happens before [`init`].
pub(crate) fn write(bytes: &[u8]) {
    let Some(port) = PORT.get() else { return };
    let is_empty = || {
        let status = port.read(LINE_STATUS, PortWidth::Byte);
        status.map_or(true, |status| status & TRANSMITTER_EMPTY != 0)
    };
    let put = |byte| {
        // The port was tried by `init`; a byte that is lost is lost.
        let _ = port.write(DATA, PortWidth::Byte, u32::from(byte));
    };
    let mut patience = PATIENCE.load(Ordering::Relaxed);
    let sent = console::send(bytes, &mut patience, is_empty, put, SystemClock::ticks);
    PATIENCE.store(patience, Ordering::Relaxed);
    LOST.fetch_add((bytes.len() - sent) as u64, Ordering::Relaxed);
}

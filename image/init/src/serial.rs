//! The first serial port, which only the root task has.

use sel4::Error;
use sel4::cap::{IOPort, PortWidth};
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
const FIFO_BYTES: usize = 16;

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

/// Sends bytes; nothing happens before [`init`].
pub(crate) fn write(bytes: &[u8]) {
    let Some(port) = PORT.get() else { return };
    for piece in bytes.chunks(FIFO_BYTES) {
        while port
            .read(LINE_STATUS, PortWidth::Byte)
            .is_ok_and(|status| status & TRANSMITTER_EMPTY == 0)
        {}
        for byte in piece {
            // The port was tried by `init`; a byte that is lost is lost.
            let _ = port.write(DATA, PortWidth::Byte, u32::from(*byte));
        }
    }
}

//! Files that a machine's firmware shows through two I/O ports (QEMU's
//! `docs/specs/fw_cfg`).

use crate::port::Ports;

/// The port that chooses a file: 16 bits, by its number.
pub const SELECTOR: u16 = 0x510;
/// The port with the next byte of the chosen file.
pub const DATA: u16 = 0x511;
/// The numbers of the first two files.
const SIGNATURE: u16 = 0;
const DIRECTORY: u16 = 0x19;
/// What the first one says.
const QEMU: [u8; 4] = *b"QEMU";
/// Bytes of a name in the directory.
const NAME: usize = 56;
/// More files there are not.
const MAX_FILES: u32 = 1024;

/// One file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    number: u16,
    /// Its length.
    pub bytes: u32,
}

/// Why there is no such file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The machine has no such firmware.
    Firmware,
    /// The firmware has no file of that name.
    File,
}

/// Looks a file up by its name.
///
/// # Errors
/// [`Missing`].
pub fn find<P: Ports>(ports: &P, name: &str) -> Result<File, Missing> {
    let mut signature = [0; QEMU.len()];
    ports.write_word(SELECTOR, SIGNATURE);
    next(ports, &mut signature);
    if signature != QEMU {
        return Err(Missing::Firmware);
    }
    ports.write_word(SELECTOR, DIRECTORY);
    let mut count = [0; 4];
    next(ports, &mut count);
    for _ in 0..u32::from_be_bytes(count).min(MAX_FILES) {
        let (mut bytes, mut number, mut reserved) = ([0; 4], [0; 2], [0; 2]);
        let mut field = [0; NAME];
        next(ports, &mut bytes);
        next(ports, &mut number);
        next(ports, &mut reserved);
        next(ports, &mut field);
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(NAME);
        if field.get(..end) == Some(name.as_bytes()) {
            return Ok(File {
                number: u16::from_be_bytes(number),
                bytes: u32::from_be_bytes(bytes),
            });
        }
    }
    Err(Missing::File)
}

/// Fills `bytes` with the start of `file`; after its end are zeros.
pub fn read<P: Ports>(ports: &P, file: File, bytes: &mut [u8]) {
    ports.write_word(SELECTOR, file.number);
    next(ports, bytes);
}

fn next<P: Ports>(ports: &P, bytes: &mut [u8]) {
    for byte in bytes {
        *byte = ports.read(DATA);
    }
}

//! The key-encryption key, out of a file of the firmware that only this domain
//! can read.

use core::fmt;

use ipc::firmware::{self, Missing};
use ipc::port::Ports;
use ipc::provision::{KEK, KEK_FILE};
use zeroize::Zeroizing;

/// The key-encryption key.
pub type Kek = Zeroizing<[u8; KEK]>;

/// Why there is no key-encryption key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// The machine has no such firmware.
    NoFirmware,
    /// The firmware has no such file.
    NoFile,
    /// The file has so many bytes, which are not those of a key.
    Length(u32),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFirmware => f.write_str("this machine has no fw_cfg to read a key from"),
            Self::NoFile => write!(
                f,
                "no key was given; start QEMU with -fw_cfg name={KEK_FILE},file=FILE"
            ),
            Self::Length(bytes) => write!(f, "{KEK_FILE} has {bytes} bytes and not {KEK}"),
        }
    }
}

impl From<Missing> for KeyError {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Firmware => Self::NoFirmware,
            Missing::File => Self::NoFile,
        }
    }
}

/// The answer of a machine that has no firmware: for key rings in the clear.
///
/// # Errors
/// [`KeyError::NoFirmware`].
pub const fn absent() -> Result<Kek, KeyError> {
    Err(KeyError::NoFirmware)
}

/// Reads the key-encryption key.
///
/// # Errors
/// [`KeyError`].
pub fn key<P: Ports>(ports: &P) -> Result<Kek, KeyError> {
    let file = firmware::find(ports, KEK_FILE)?;
    if usize::try_from(file.bytes) != Ok(KEK) {
        return Err(KeyError::Length(file.bytes));
    }
    let mut key = Kek::default();
    firmware::read(ports, file, &mut *key);
    Ok(key)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use alloc::vec::Vec;
    use core::cell::{Cell, RefCell};

    use ipc::firmware::{DATA, SELECTOR};

    use super::*;

    /// As in QEMU's `docs/specs/fw_cfg`.
    const SIGNATURE: u16 = 0;
    const DIRECTORY: u16 = 0x19;
    const NAME: usize = 56;

    /// A firmware with these files.
    struct Firmware {
        signature: &'static [u8],
        files: Vec<(&'static str, Vec<u8>)>,
        selected: RefCell<Vec<u8>>,
        at: Cell<usize>,
    }

    impl Firmware {
        fn new(files: Vec<(&'static str, Vec<u8>)>) -> Self {
            Self {
                signature: b"QEMU",
                files,
                selected: RefCell::default(),
                at: Cell::new(0),
            }
        }

        fn directory(&self) -> Vec<u8> {
            let mut list = (self.files.len() as u32).to_be_bytes().to_vec();
            for (place, (name, content)) in self.files.iter().enumerate() {
                list.extend((content.len() as u32).to_be_bytes());
                list.extend((0x20 + place as u16).to_be_bytes());
                list.extend([0, 0]);
                let mut field = [0; NAME];
                field[..name.len()].copy_from_slice(name.as_bytes());
                list.extend(field);
            }
            list
        }
    }

    impl Ports for Firmware {
        fn read(&self, port: u16) -> u8 {
            assert_eq!(port, DATA);
            let at = self.at.replace(self.at.get() + 1);
            self.selected.borrow().get(at).copied().unwrap_or(0)
        }

        fn write(&self, port: u16, _: u8) {
            panic!("a byte to {port:#x}");
        }

        fn write_word(&self, port: u16, value: u16) {
            assert_eq!(port, SELECTOR);
            self.at.set(0);
            *self.selected.borrow_mut() = match value {
                SIGNATURE => self.signature.to_vec(),
                DIRECTORY => self.directory(),
                file => self.files[usize::from(file - 0x20)].1.clone(),
            };
        }
    }

    #[test]
    fn the_key_is_found_among_other_files() {
        let other = ("etc/e820", std::vec![7; 20]);
        let longer = ("opt/handoff/kek2", std::vec![8; KEK]);
        let firmware = Firmware::new(std::vec![other, longer, (KEK_FILE, (0..32).collect())]);
        let key = key(&firmware).unwrap();
        assert!(key.iter().copied().eq(0..32));
    }

    #[test]
    fn without_a_key_it_is_said_what_is_missing() {
        let none = Firmware::new(std::vec![("etc/e820", std::vec![7; 20])]);
        assert_eq!(key(&none), Err(KeyError::NoFile));
        let short = Firmware::new(std::vec![(KEK_FILE, std::vec![7; 31])]);
        assert_eq!(key(&short), Err(KeyError::Length(31)));
        let mut other = Firmware::new(Vec::new());
        other.signature = b"\xff\xff\xff\xff";
        assert_eq!(key(&other), Err(KeyError::NoFirmware));
        assert!(std::format!("{}", KeyError::NoFile).contains("-fw_cfg name=opt/handoff/kek"));
    }
}

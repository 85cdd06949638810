//! The device's configuration space, as the root task wrote it down: this program
//! has no I/O port.

use ipc::boot::DeviceSnapshot;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};

/// Base address registers (PCI Local Bus Specification 3.0 §6.1).
const FIRST_BAR: u8 = 0x10;
const AFTER_BARS: u8 = 0x28;

/// Answers as the device would. Writes go nowhere, but for the question how
/// large a window is: all ones, and the next read tells.
pub(crate) struct Notes {
    snapshot: &'static DeviceSnapshot,
    asked: [bool; 6],
}

impl Notes {
    /// The place of the one function in these notes.
    pub(crate) const PLACE: DeviceFunction = DeviceFunction {
        bus: 0,
        device: 0,
        function: 0,
    };

    pub(crate) fn new(snapshot: &'static DeviceSnapshot) -> Self {
        Self {
            snapshot,
            asked: [false; 6],
        }
    }

    fn word(&self, register: u8) -> u32 {
        let at = usize::from(register & !3);
        let word = self.snapshot.config.get(at..at + 4);
        word.and_then(|word| word.try_into().ok())
            .map_or(u32::MAX, u32::from_le_bytes)
    }

    fn size(&self, bar: usize) -> u64 {
        self.snapshot.bars.get(bar).map_or(0, |bar| bar.size)
    }

    /// What a window's register reads after all ones were written.
    fn mask(&self, bar: usize, word: u32) -> u32 {
        const FLAGS: u32 = 0xf;
        let below = bar.checked_sub(1).map_or(0, |below| self.size(below));
        match (self.size(bar), below) {
            (0, 0) => 0,
            // The upper half of a wide window that is below 4 GiB long.
            (0, _) => u32::MAX,
            (size, _) => !(size.wrapping_sub(1) as u32) & !FLAGS | word & FLAGS,
        }
    }
}

fn bar(register: u8) -> Option<usize> {
    (FIRST_BAR..AFTER_BARS)
        .contains(&register)
        .then(|| usize::from(register - FIRST_BAR) / 4)
}

impl ConfigurationAccess for Notes {
    fn read_word(&self, _: DeviceFunction, register: u8) -> u32 {
        let word = self.word(register);
        match bar(register) {
            Some(bar) if self.asked.get(bar) == Some(&true) => self.mask(bar, word),
            _ => word,
        }
    }

    fn write_word(&mut self, _: DeviceFunction, register: u8, value: u32) {
        if let Some(asked) = bar(register).and_then(|bar| self.asked.get_mut(bar)) {
            *asked = value == u32::MAX;
        }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self {
            snapshot: self.snapshot,
            asked: self.asked,
        }
    }
}

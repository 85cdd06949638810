//! The console to which the log goes when the system runs, where the machine has one
//! (virtio 1.2 §5.3): a block of lines costs one access to its registers, and a character
//! of the serial port one system call.

use ipc::boot::PAGE;
use sel4::{BootInfo, Error, log};
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::{DeviceStatus, Transport};

use super::Work;
use super::confine::CONSOLE_DOMAIN;
use super::own_device::{Mapped, Opened, OwnDevice, agree};
use crate::hardware::Pci;
use crate::terminal::{BLOCKS, TRANSMIT, VirtioConsole};

/// Its memory is a page that nobody uses, two of the queue, the blocks.
const MAPPED: Mapped = Mapped {
    registers: 0x6c00_0000,
    memory: 0x6d00_0000,
    bytes: (3 + BLOCKS as u64) * PAGE,
    domain: CONSOLE_DOMAIN,
};

impl Work<'_> {
    /// Looks for the console.
    pub(super) fn find_console(&mut self) -> Result<(), Error> {
        self.console = self.find_own(Pci::find_console, MAPPED)?;
        Ok(())
    }

    /// Sets the console up. A machine whose console can't be used is told of and has its
    /// log on the serial port.
    pub(super) fn open_console(&mut self, boot: &BootInfo) -> Result<Option<VirtioConsole>, Error> {
        let Some(mut found) = self.console.take() else {
            log!("init: no virtio console: the log goes to the serial port");
            return Ok(None);
        };
        let opened = self.open_own(boot, &mut found)?;
        // SAFETY: registers and memory were mapped above, for good, and for this alone.
        let console = unsafe { start(&opened) };
        if console.is_none() {
            log!("init: the virtio console can't be used: the log goes to the serial port");
        }
        self.keep_console(found, opened);
        Ok(console)
    }

    /// What the console has stays, and is searched by the proof.
    fn keep_console(&mut self, found: OwnDevice, opened: Opened) {
        if let Some(space) = opened.space {
            let slots = space.pages.iter().map(|(slot, _)| *slot);
            for slot in slots.chain([space.slot]) {
                self.resources.keep(slot);
            }
            self.transmits = Some((found.place, space));
        }
    }
}

/// The console that `opened` describes, ready to transmit.
///
/// # Safety
/// As [`device::open`].
unsafe fn start(opened: &Opened) -> Option<VirtioConsole> {
    // SAFETY: passed on from the caller.
    let mut transport = unsafe { device::open(opened.snapshot) }.ok()?;
    let status = agree(&mut transport);
    // The one before it receives: nobody listens.
    let queue = VirtQueue::new(&mut transport, TRANSMIT, false, false).ok()?;
    transport.set_status(status | DeviceStatus::DRIVER_OK);
    let mut console = VirtioConsole::new(transport, queue)?;
    console.be_quiet();
    Some(console)
}

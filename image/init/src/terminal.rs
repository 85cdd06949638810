//! Where lines of the log go when the system runs: a device that takes blocks, where the
//! machine has one, or else the serial port.

use core::fmt::{self, Write};

use init::calendar::Stamp;
use init::outlet::{BLOCK, Device, Outlet};
use ipc::clock::Timescale;
use ipc::log_ring::LINE;
use sel4::runtime::{SystemClock, log};
use spin::Mutex;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;
use virtio_drivers::transport::pci::PciTransport;

use crate::serial;

/// The queue by which the console's first port transmits (virtio 1.2 §5.3.2).
pub(crate) const TRANSMIT: u16 = 1;
/// Blocks of the console, each a place in its queue.
pub(crate) const BLOCKS: usize = 8;

/// A virtio console (virtio 1.2 §5.3).
pub(crate) struct VirtioConsole {
    transport: device::Confined<PciTransport>,
    queue: VirtQueue<device::Memory, BLOCKS>,
    /// All blocks, one after the other.
    memory: &'static mut [u8],
    /// What the device has: the token and the length of each block.
    sent: [Option<(u16, usize)>; BLOCKS],
}

impl VirtioConsole {
    /// The console that transmits by `queue`; `None` if there is no memory for its blocks.
    pub(crate) fn new(
        transport: device::Confined<PciTransport>,
        queue: VirtQueue<device::Memory, BLOCKS>,
    ) -> Option<Self> {
        let start = device::take(BLOCKS * BLOCK)?;
        // SAFETY: `take` gives this memory once, and it stays mapped for good.
        let memory = unsafe { core::slice::from_raw_parts_mut(start.as_ptr(), BLOCKS * BLOCK) };
        Some(Self {
            transport,
            queue,
            memory,
            sent: [None; BLOCKS],
        })
    }

    /// It is asked what it has transmitted, and need not interrupt.
    pub(crate) fn be_quiet(&mut self) {
        self.queue.set_dev_notify(false);
    }

    /// Takes back what the console has transmitted.
    fn reclaim(&mut self) {
        while let Some(token) = self.queue.peek_used() {
            let of = |sent: &Option<(u16, usize)>| sent.is_some_and(|(other, _)| other == token);
            let Some(block) = self.sent.iter().position(of) else {
                return;
            };
            let len = self
                .sent
                .get(block)
                .copied()
                .flatten()
                .map_or(0, |(_, len)| len);
            let start = block * BLOCK;
            let Some(bytes) = self.memory.get(start..start + len) else {
                return;
            };
            // SAFETY: these bytes were added, and that gave this token.
            let popped = unsafe { self.queue.pop_used(token, &[bytes], &mut []) };
            if popped.is_err() {
                return;
            }
            if let Some(sent) = self.sent.get_mut(block) {
                *sent = None;
            }
        }
    }
}

impl Device for VirtioConsole {
    const BLOCKS: usize = BLOCKS;

    fn is_free(&mut self, block: usize) -> bool {
        self.reclaim();
        self.sent.get(block).is_some_and(Option::is_none)
    }

    fn put(&mut self, block: usize, at: usize, bytes: &[u8]) {
        let start = block * BLOCK + at;
        if let Some(place) = self.memory.get_mut(start..start + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn send(&mut self, block: usize, len: usize) -> bool {
        let start = block * BLOCK;
        let Some(bytes) = self.memory.get(start..start + len) else {
            return false;
        };
        // SAFETY: nothing writes there before `reclaim` has popped it: the outlet asks
        // whether a block is free.
        let added = unsafe { self.queue.add(&[bytes], &mut []) };
        let Ok(token) = added else {
            return false;
        };
        if let Some(sent) = self.sent.get_mut(block) {
            *sent = Some((token, len));
        }
        true
    }

    fn notify(&mut self) {
        if self.queue.should_notify() {
            self.transport.notify(TRANSMIT);
        }
    }
}

/// Writes lines with the moment and the name of who says them.
struct Terminal {
    /// Where they go; without one to the serial port.
    outlet: Option<Outlet<VirtioConsole>>,
    stamp: Stamp,
    scale: Timescale,
    /// How long the console may be waited for until the next tick.
    patience: u64,
}

static TERMINAL: Mutex<Option<Terminal>> = Mutex::new(None);

/// From now on lines go to `console`, if there is one, with the time by `scale`.
pub(crate) fn open(console: Option<VirtioConsole>, scale: &Timescale) {
    *TERMINAL.lock() = Some(Terminal {
        outlet: console.map(Outlet::new),
        stamp: Stamp::default(),
        scale: *scale,
        patience: u64::MAX,
    });
    log::use_sink(own);
}

/// The clocks run by `scale` from now on.
pub(crate) fn keep_time(scale: &Timescale) {
    if let Some(terminal) = &mut *TERMINAL.lock() {
        terminal.scale = *scale;
    }
}

/// Whether there is room for a domain that has said much already.
pub(crate) fn has_plenty() -> bool {
    let mut terminal = TERMINAL.lock();
    let outlet = terminal.as_mut().and_then(|t| t.outlet.as_mut());
    outlet.is_none_or(Outlet::has_plenty)
}

/// Writes what domain `name` said when the counter was at `ticks`.
pub(crate) fn write(name: &str, ticks: u64, text: &[u8]) {
    if let Some(terminal) = &mut *TERMINAL.lock() {
        terminal.write(ticks, &[name.as_bytes(), b": ", text, b"\n"]);
    }
}

/// Hands over what was written.
pub(crate) fn flush() {
    if let Some(outlet) = TERMINAL.lock().as_mut().and_then(|t| t.outlet.as_mut()) {
        outlet.flush();
    }
}

/// Changes how long the console may be waited for. Returns what was dropped since the last
/// time: lines of a console, bytes of a serial port.
pub(crate) fn be_patient(patience: impl Fn(u64) -> u64) -> (u64, &'static str) {
    match &mut *TERMINAL.lock() {
        Some(Terminal {
            outlet: Some(outlet),
            patience: left,
            ..
        }) => {
            *left = patience(*left);
            (outlet.take_lost(), "lines")
        }
        _ => (serial::be_patient(patience), "bytes"),
    }
}

impl Terminal {
    /// Whether there was room.
    fn write(&mut self, ticks: u64, parts: &[&[u8]; 4]) -> bool {
        let stamp: &[u8] = self.stamp.at(self.scale.wall_at(ticks));
        let [name, colon, text, end] = *parts;
        let parts = [stamp, name, colon, text, end];
        match &mut self.outlet {
            Some(outlet) => outlet.write(&parts, &mut self.patience, SystemClock::ticks),
            None => {
                parts.into_iter().for_each(serial::write);
                true
            }
        }
    }
}

/// A line of the root task itself, which is not kept waiting.
fn own(line: fmt::Arguments<'_>) {
    let mut text = Text {
        bytes: [0; LINE],
        len: 0,
    };
    // It never fails; a failing Display cuts the line short.
    let _ = text.write_fmt(line);
    let bytes = text.bytes.get(..text.len).unwrap_or_default();
    // A panic may come while the terminal is in use, and is the last line.
    let is_panic = bytes.starts_with(b"panic");
    let mut terminal = TERMINAL.try_lock();
    let terminal = terminal.as_deref_mut().and_then(Option::as_mut);
    let has_written = terminal.filter(|_| !is_panic).is_some_and(|terminal| {
        let has_written = terminal.write(SystemClock::ticks(), &[b"", b"", bytes, b"\n"]);
        if let Some(outlet) = &mut terminal.outlet {
            outlet.flush();
        }
        has_written
    });
    if !has_written {
        // It is not lost because others have filled the console.
        serial::write(bytes);
        serial::write(b"\n");
    }
}

/// A line that is put together.
struct Text {
    bytes: [u8; LINE],
    len: usize,
}

impl Write for Text {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let len = piece.len().min(room.len());
        for (to, from) in room.iter_mut().zip(piece.bytes()) {
            *to = from;
        }
        self.len += len;
        Ok(())
    }
}

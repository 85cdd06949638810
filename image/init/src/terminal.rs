//! Where lines of the log go when the system runs: a device that takes blocks, where the
//! machine has one, or else the serial port.

use core::fmt::{self, Write};

use init::calendar::Stamp;
use init::json;
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
    /// Lines that there was no room for.
    lost: u64,
    /// Ticks at which the console held all blocks, one after the other.
    full: u32,
    /// Where a line becomes a JSON object, if lines are such.
    json: Option<[u8; json::MOST]>,
}

/// Who says a line of the root task, in JSON.
const MONITOR: &[u8] = b"monitor";

/// Blocks that no domain's line begins: the root task's own have room.
const OWN: usize = 1;
/// As many ticks, and the console is given up.
const MOST_FULL: u32 = 40;
/// How long a serial port may be waited for, in ticks of the processor's counter, for one
/// line that the console has no room for.
const SERIAL_PATIENCE: u64 = 10_000_000;

static TERMINAL: Mutex<Option<Terminal>> = Mutex::new(None);

/// From now on lines go to `console`, if there is one, with the time by `scale`. Where they
/// go may be waited for as long as `patience` until the next tick, in ticks of the
/// processor's counter.
pub(crate) fn open(
    console: Option<VirtioConsole>,
    scale: &Timescale,
    patience: u64,
    is_json: bool,
) {
    *TERMINAL.lock() = Some(Terminal {
        outlet: console.map(Outlet::new),
        stamp: Stamp::default(),
        scale: *scale,
        patience,
        lost: 0,
        full: 0,
        json: is_json.then_some([0; json::MOST]),
    });
    serial::be_patient(|_| patience);
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
    if let Some(terminal) = &mut *TERMINAL.lock()
        && !terminal.write(ticks, Some(name.as_bytes()), text, OWN)
    {
        terminal.lost += 1;
    }
}

/// Hands over what was written.
pub(crate) fn flush() {
    if let Some(outlet) = TERMINAL.lock().as_mut().and_then(|t| t.outlet.as_mut()) {
        outlet.flush();
    }
}

/// Another tick: changes how long the console may be waited for. Returns what was lost
/// since the last one: lines of a console, bytes of a serial port. A console that takes
/// nothing for some seconds is given up.
pub(crate) fn tick(patience: impl Fn(u64) -> u64) -> (u64, &'static str) {
    let mut terminal = TERMINAL.lock();
    let Some(terminal) = terminal.as_mut() else {
        return (0, "");
    };
    let Some(outlet) = &mut terminal.outlet else {
        return (serial::be_patient(patience), "bytes");
    };
    terminal.patience = patience(terminal.patience);
    terminal.lost += outlet.take_refused();
    terminal.full = if outlet.is_full() {
        terminal.full + 1
    } else {
        0
    };
    if terminal.full >= MOST_FULL {
        terminal.outlet = None;
    }
    (core::mem::take(&mut terminal.lost), "lines")
}

impl Terminal {
    /// What `domain` said, or the root task. Whether there was room, with so many blocks kept
    /// free.
    fn write(&mut self, ticks: u64, domain: Option<&[u8]>, text: &[u8], keeps: usize) -> bool {
        let stamp: &[u8] = self.stamp.at(self.scale.wall_at(ticks));
        let colon: &[u8] = if domain.is_some() { b": " } else { b"" };
        let parts = match &mut self.json {
            None => [stamp, domain.unwrap_or_default(), colon, text, b"\n"],
            Some(buffer) => {
                let line = json::line(buffer, stamp, domain.unwrap_or(MONITOR), text);
                [line, b"", b"", b"", b""]
            }
        };
        match (&mut self.outlet, parts) {
            (Some(outlet), parts) => {
                outlet.write(&parts, keeps, &mut self.patience, SystemClock::ticks)
            }
            (None, [line, b"", b"", b"", b""]) => {
                serial::write(line);
                true
            }
            (None, parts) => {
                let mut line = Text::new();
                parts.into_iter().for_each(|part| line.push(part));
                serial::write(line.bytes());
                true
            }
        }
    }
}

/// A line of the root task itself, which is not kept waiting.
fn own(line: fmt::Arguments<'_>) {
    let mut text = Text::new();
    // It never fails; a failing Display cuts the line short.
    let _ = text.write_fmt(line);
    // A panic may come while the terminal is in use, and is the last line.
    let is_panic = text.bytes().starts_with(b"panic");
    let mut terminal = TERMINAL.try_lock();
    let terminal = terminal.as_deref_mut().and_then(Option::as_mut);
    let has_written = terminal.is_some_and(|terminal| {
        let has_written = !is_panic && terminal.write(SystemClock::ticks(), None, text.bytes(), 0);
        if let Some(outlet) = &mut terminal.outlet {
            // What was said before it comes out before it.
            outlet.flush();
        }
        has_written
    });
    if !has_written {
        // It is not lost because others have filled the console.
        serial::be_patient(|_| SERIAL_PATIENCE);
        text.push(b"\n");
        serial::write(text.bytes());
    }
}

/// A line that is put together, with what stands before it.
struct Text {
    bytes: [u8; LINE + 128],
    len: usize,
}

impl Text {
    const fn new() -> Self {
        Self {
            bytes: [0; LINE + 128],
            len: 0,
        }
    }

    /// As much of `piece` as there is room for.
    fn push(&mut self, piece: &[u8]) {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(piece) {
            *to = *from;
        }
        self.len += piece.len().min(room.len());
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Write for Text {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.push(piece.as_bytes());
        Ok(())
    }
}

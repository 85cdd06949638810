//! What the root task leaves in a domain's address space and CSpace at its
//! start: fixed places, fixed slots, and the pages that it fills.
//!
//! The image builder, the root task and the domains' runtime all read this
//! module, so that each number is in one place.

use core::sync::atomic::AtomicU64;

/// Size of a page.
pub const PAGE: u64 = 4096;

/// Fixed addresses in every domain. All are below 4 GiB: the embedded kernel
/// reports only 32 bits of a fault's address.
pub mod place {
    /// What the writable parts of the program hold at a start, read-only.
    pub const INITIAL: u64 = 0x0f00_0000;
    /// The [`Facts`](super::Facts) page, read-only.
    pub const FACTS: u64 = 0x1000_0000;
    /// The IPC buffer, one page.
    pub const IPC_BUFFER: u64 = 0x1001_0000;
    /// The log ring, [`LOG_BYTES`](super::LOG_BYTES).
    pub const LOG: u64 = 0x1002_0000;
    /// The seed of the domain's random numbers, at the start of a page that no
    /// other domain sees.
    pub const SEED: u64 = 0x1003_0000;
    /// The domain's own page of counters.
    pub const STATS: u64 = 0x1004_0000;
    /// The time, read-only: a [`ClockPage`](crate::clock::ClockPage).
    pub const CLOCK: u64 = 0x1005_0000;
    /// The lowest byte of the stack; nothing is mapped below it or after it.
    pub const STACK: u64 = 0x1100_0000;
    /// The heap.
    pub const HEAP: u64 = 0x2000_0000;
    /// Regions, windows of devices and other domains' counters.
    pub const REGIONS: u64 = 0x4000_0000;
}

/// Fixed slots of every domain's CSpace.
pub mod slot {
    /// The endpoint that the domain serves.
    pub const ENDPOINT: u64 = 1;
    /// The notification that is bound to the domain's thread.
    pub const NOTIFICATION: u64 = 2;
    /// Where the kernel sends the domain's faults.
    pub const FAULT: u64 = 3;
    /// Tells the monitor that a good part of the log ring is full.
    pub const LOG: u64 = 4;
    /// A second-level CNode whose slots hold CNode capabilities of windows
    /// and mint sources; only a manager has one.
    pub const TOOLS: u64 = 5;
    /// The first slot that the system description fills.
    pub const FIRST: u64 = 8;
    /// Slots of a domain's root CNode, as a power of two.
    pub const RADIX: u8 = 8;
    /// Address bits below the root CNode.
    pub const LOW_BITS: u8 = 14;

    /// The address of the capability in `slot` of the root CNode.
    pub const fn cptr(slot: u64) -> u64 {
        slot << LOW_BITS
    }
}

/// Bits of signals that come from interrupts.
pub mod interrupt {
    /// The NIC.
    pub const NIC: u32 = 23;
    /// The timer.
    pub const TIMER: u32 = 22;
    /// The device of a range of I/O ports.
    pub const PORT: u32 = 21;
    /// The monitor: the moment in [`LogRing::wake_at`](super::LogRing::wake_at) is
    /// over.
    pub const DEADLINE: u32 = 20;
}

/// Bytes of a log ring with its header.
pub const LOG_BYTES: u64 = 4 * PAGE;

/// The log ring: the domain writes, the monitor reads and trusts nothing.
#[repr(C)]
#[derive(Debug)]
pub struct LogRing {
    /// Words written since the start; the next one goes to this number modulo
    /// [`LogRing::WORDS`].
    pub written: AtomicU64,
    /// Counts heartbeats: waits for work, calls, pieces of work done.
    pub progress: AtomicU64,
    /// When the domain wants to be woken, in nanoseconds of
    /// [`Instant`](crate::clock::Instant); `u64::MAX` and 0 for never. The monitor
    /// looks at each of its ticks and signals [`interrupt::DEADLINE`], once for a
    /// moment.
    pub wake_at: AtomicU64,
    /// Names the call that the domain has taken and not answered: `progress` when it
    /// took it. Zero for none.
    pub owed: AtomicU64,
    /// Names the call whose answer the domain waits for, in the same way.
    pub asked: AtomicU64,
    /// Names the oldest event of the domain's queues that it had not taken when it waited
    /// ([`untaken`](crate::channel::untaken)). Zero for none.
    pub untaken: AtomicU64,
    /// The lines ([`log_ring`](crate::log_ring)).
    pub data: [AtomicU64; Self::WORDS],
}

impl LogRing {
    /// Words of `data`.
    pub const WORDS: usize = (LOG_BYTES as usize - 48) / 8;
}

impl Default for LogRing {
    fn default() -> Self {
        Self {
            written: AtomicU64::new(0),
            progress: AtomicU64::new(0),
            wake_at: AtomicU64::new(0),
            owed: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            untaken: AtomicU64::new(0),
            data: [const { AtomicU64::new(0) }; Self::WORDS],
        }
    }
}

/// Starts a [`Facts`] page.
pub const FACTS_MAGIC: u64 = u64::from_le_bytes(*b"handoff1");

/// Writable parts that a program has at most.
pub const MAX_EXTENTS: usize = 4;

/// A writable part of a program, whole pages; every start begins by initialising it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Its address.
    pub address: u64,
    /// Its size in bytes; zero for none.
    pub bytes: u64,
    /// Where its first bytes are copied from, after [`place::INITIAL`].
    pub initial: u64,
    /// How many bytes those are; the rest is zeros.
    pub initial_bytes: u64,
}

/// Why a domain starts; the monitor puts it into RDI.
pub mod start {
    /// The system starts; all of the domain's memory is zeros.
    pub const FIRST: u64 = 0;
    /// Restarted, after it terminated unexpectedly.
    pub const AGAIN: u64 = 1;
    /// Only to clear its memory and to refuse every call.
    pub const PARKED: u64 = 2;
}

/// What a domain learns about itself and the machine.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// [`FACTS_MAGIC`].
    pub magic: u64,
    /// The domain's number in the system description.
    pub domain: u64,
    /// Rate of the time-stamp counter, as it was measured at the start.
    pub tsc_hz: u64,
    /// Memory of the machine that the kernel left to the system, in bytes.
    pub memory: u64,
    /// Bytes of the stack at [`place::STACK`].
    pub stack: u64,
    /// Bytes of the heap at [`place::HEAP`].
    pub heap: u64,
    /// 1 when the domain has an endpoint where calls arrive, otherwise 0.
    pub serves: u64,
    /// Records that one key seals before a new one is asked for.
    pub rekey_after: u64,
    /// The domain's name, filled up with zeros.
    pub name: [u8; 32],
    /// The kernel's name, filled up with zeros.
    pub kernel: [u8; 32],
    /// The writable parts of the program.
    pub extents: [Extent; MAX_EXTENTS],
}

/// Starts a [`DeviceSnapshot`] page.
pub const DEVICE_MAGIC: u64 = u64::from_le_bytes(*b"device01");

/// One base address register of a PCI function, mapped for its driver.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Bar {
    /// Where it is in the driver's address space; zero when it is not.
    pub address: u64,
    /// Its physical address.
    pub physical: u64,
    /// Its size in bytes.
    pub size: u64,
}

/// The right to drive the NIC that the root task found.
pub struct NicDevice(&'static DeviceSnapshot);

impl NicDevice {
    /// # Safety
    /// What the snapshot names is mapped for this domain for good and zeroed, and there is
    /// no other such value.
    pub const unsafe fn new(snapshot: &'static DeviceSnapshot) -> Self {
        Self(snapshot)
    }

    /// What the root task found.
    pub const fn snapshot(&self) -> &'static DeviceSnapshot {
        self.0
    }
}

/// The right to drive the timer.
pub struct TimerDevice {
    registers: *mut u64,
    pin: u64,
}

impl TimerDevice {
    /// # Safety
    /// The timer that the snapshot names is mapped for this domain for good, and there is
    /// no other such value.
    pub const unsafe fn new(snapshot: &'static DeviceSnapshot) -> Self {
        Self {
            registers: snapshot.timer_address as *mut u64,
            pin: snapshot.timer_pin,
        }
    }

    /// Its registers.
    pub const fn registers(&self) -> *mut u64 {
        self.registers
    }

    /// The I/O APIC pin that it must be routed to.
    pub const fn pin(&self) -> u64 {
        self.pin
    }
}

/// The NIC as the root task found it: its driver needs no I/O port.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DeviceSnapshot {
    /// [`DEVICE_MAGIC`]; zero when there is no NIC.
    pub magic: u64,
    /// Its configuration space.
    pub config: [u8; 256],
    /// Its base address registers.
    pub bars: [Bar; 6],
    /// The memory that it may read and write, in the driver's address space.
    pub dma_address: u64,
    /// The same memory as the NIC sees it.
    pub dma_physical: u64,
    /// Bytes of it.
    pub dma_bytes: u64,
    /// The HPET's registers in the driver's address space; zero when there is
    /// no timer.
    pub timer_address: u64,
    /// The I/O APIC pin that the timer must be routed to.
    pub timer_pin: u64,
}

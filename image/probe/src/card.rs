//! Makes the network card send, to see its interrupt arrive.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use ipc::boot::{DeviceSnapshot, interrupt};
use sel4::cap::IrqHandler;
use sel4::log;
use sel4::runtime::wait_signals;
use virtio_drivers::device::net::VirtIONetRaw;
use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction, PciRoot};
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

use crate::transport::Confined;

const PAGE: u64 = 4096;
const QUEUE: usize = 8;
/// Shortest Ethernet frame, behind the driver's header.
const FRAME: usize = 60;
const PLACE: DeviceFunction = DeviceFunction {
    bus: 0,
    device: 0,
    function: 0,
};

static SNAPSHOT: AtomicU64 = AtomicU64::new(0);
static NEXT: AtomicU64 = AtomicU64::new(0);

fn snapshot() -> &'static DeviceSnapshot {
    // SAFETY: `run` stored the page's address before anybody asks.
    unsafe { &*(SNAPSHOT.load(Ordering::Relaxed) as *const DeviceSnapshot) }
}

/// The card's configuration space as the root task wrote it down. Writes are
/// dropped, but for the driver's question how large a window is.
struct Notes {
    asked: [bool; 6],
}

fn bar_index(register: u8) -> Option<usize> {
    (0x10..0x28)
        .contains(&register)
        .then(|| usize::from(register - 0x10) / 4)
}

impl ConfigurationAccess for Notes {
    fn read_word(&self, _: DeviceFunction, register: u8) -> u32 {
        let at = usize::from(register);
        let word = snapshot().config.get(at..at + 4);
        let word = word.map_or(0, |bytes| {
            bytes.iter().rev().fold(0, |w, b| w << 8 | u32::from(*b))
        });
        match bar_index(register) {
            Some(index) if self.asked.get(index) == Some(&true) => {
                let own = snapshot().bars.get(index).map_or(0, |bar| bar.size);
                let below = index.checked_sub(1).and_then(|i| snapshot().bars.get(i));
                match (own, below.map_or(0, |bar| bar.size)) {
                    (0, 0) => 0,
                    // The upper half of a wide window below 4 GiB.
                    (0, _) => u32::MAX,
                    (size, _) => !(size as u32 - 1) | word & 0xf,
                }
            }
            _ => word,
        }
    }

    fn write_word(&mut self, _: DeviceFunction, register: u8, value: u32) {
        if let Some(asked) = bar_index(register).and_then(|index| self.asked.get_mut(index)) {
            *asked = value == u32::MAX;
        }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self { asked: self.asked }
    }
}

struct Memory;

// SAFETY: memory comes from the region that the root task made for the card,
// each page once; registers are where the root task mapped them.
unsafe impl Hal for Memory {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let at = NEXT.fetch_add(pages as u64 * PAGE, Ordering::Relaxed);
        let place = (snapshot().dma_address + at) as *mut u8;
        (
            snapshot().dma_physical + at,
            NonNull::new(place).unwrap_or(NonNull::dangling()),
        )
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        0
    }

    unsafe fn mmio_phys_to_virt(physical: PhysAddr, _: usize) -> NonNull<u8> {
        let within =
            |bar: &&ipc::boot::Bar| (bar.physical..bar.physical + bar.size).contains(&physical);
        let bar = snapshot().bars.iter().find(within);
        let place = bar.map_or(0, |bar| bar.address + physical - bar.physical);
        NonNull::new(place as *mut u8).unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        // Buffers of this probe are in the card's memory already.
        let address = buffer.as_ptr().cast::<u8>() as u64;
        snapshot().dma_physical + address.wrapping_sub(snapshot().dma_address)
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

/// Sends one frame and waits for the interrupt that says so.
pub(crate) fn run(page: u64, handler: &IrqHandler) {
    SNAPSHOT.store(page, Ordering::Relaxed);
    let mut root = PciRoot::new(Notes { asked: [false; 6] });
    let transport = match PciTransport::new::<Memory, _>(&mut root, PLACE) {
        Ok(transport) => transport,
        Err(error) => return log!("FAILED no transport: {error:?}"),
    };
    let card = VirtIONetRaw::<Memory, _, QUEUE>::new(Confined::new(transport));
    let mut card = match card {
        Ok(card) => card,
        Err(error) => return log!("FAILED no card: {error:?}"),
    };
    let (_, buffer) = Memory::dma_alloc(1, BufferDirection::DriverToDevice);
    // SAFETY: the page was taken just now, for this alone.
    let buffer = unsafe { core::slice::from_raw_parts_mut(buffer.as_ptr(), 256) };
    let header = card.fill_buffer_header(buffer).unwrap_or(0);
    let frame = buffer.get_mut(..header + FRAME).unwrap_or_default();
    // Broadcast, so that nobody has to know an address.
    frame
        .iter_mut()
        .skip(header)
        .take(6)
        .for_each(|byte| *byte = 0xff);
    card.enable_interrupts();
    // SAFETY: the buffer lives on and is not touched until it is complete.
    let sent = unsafe { card.transmit_begin(frame) };
    let bits = wait_signals();
    card.ack_interrupt();
    let good = sent.is_ok() && bits & 1 << interrupt::NIC != 0 && card.poll_transmit().is_some();
    let again = handler.ack().is_ok();
    log!(
        "{} the card interrupts",
        if good && again { "ok" } else { "FAILED" }
    );
}

//! Memory that the device may read and write, and the device's registers.
//!
//! The interface of `virtio-drivers` has no place for a state, so the bounds
//! of the memory are in a static. They are set once.

use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use ipc::boot::{Bar, DeviceSnapshot, PAGE};
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

static SNAPSHOT: AtomicPtr<DeviceSnapshot> = AtomicPtr::new(null_mut());
/// Bytes of the memory that are already allocated.
static USED: AtomicU64 = AtomicU64::new(0);

/// Makes `snapshot` the device's. The first page of the memory is set aside (see
/// [`Memory::share`]). False if there is a device already.
///
/// # Safety
/// The memory and the registers that `snapshot` names are mapped where it
/// says, and nobody else in this program uses them.
pub(crate) unsafe fn set_up(snapshot: &'static DeviceSnapshot) -> bool {
    let pointer = core::ptr::from_ref(snapshot).cast_mut();
    let is_first = SNAPSHOT
        .compare_exchange(null_mut(), pointer, Ordering::AcqRel, Ordering::Acquire)
        .is_ok();
    if is_first {
        USED.store(PAGE, Ordering::Release);
    }
    is_first
}

/// There is no device any more: another may be opened.
pub(crate) fn forget() {
    SNAPSHOT.store(null_mut(), Ordering::Release);
}

/// `bytes` of the device's memory, zeroed, in whole pages; each is allocated once. A
/// previous run of this program may have left something there. `None` when too little is
/// left.
pub fn take(bytes: usize) -> Option<NonNull<u8>> {
    let snapshot = snapshot()?;
    let bytes = (bytes as u64).checked_next_multiple_of(PAGE)?;
    let start = USED.load(Ordering::Acquire);
    let end = start.checked_add(bytes)?;
    if end > snapshot.dma_bytes {
        return None;
    }
    USED.store(end, Ordering::Release);
    let place = NonNull::new((snapshot.dma_address + start) as *mut u8)?;
    // SAFETY: the memory is mapped there for this program (`set_up`), these
    // `end - start` bytes of it were not allocated before, and they are inside.
    unsafe { place.write_bytes(0, (end - start) as usize) };
    Some(place)
}

fn snapshot() -> Option<&'static DeviceSnapshot> {
    // SAFETY: only `set_up` stores, and what it stores lives for good.
    unsafe { SNAPSHOT.load(Ordering::Acquire).as_ref() }
}

/// The memory as `virtio-drivers` asks for it.
#[derive(Debug)]
pub struct Memory;

// SAFETY: `dma_alloc` allocates each page once; registers are where the root
// task has mapped them; nothing is ever freed.
unsafe impl Hal for Memory {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let place = pages.checked_mul(PAGE as usize).and_then(take);
        // Physical zero is the crate's sign for "no memory".
        place.map_or((0, NonNull::dangling()), |place| (physical(place), place))
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        0
    }

    unsafe fn mmio_phys_to_virt(physical: PhysAddr, size: usize) -> NonNull<u8> {
        let holds = |bar: &&Bar| {
            let offset = physical.checked_sub(bar.physical);
            bar.address != 0
                && offset
                    .and_then(|offset| offset.checked_add(size as u64))
                    .is_some_and(|end| end <= bar.size)
        };
        let bar = snapshot().and_then(|snapshot| snapshot.bars.iter().find(holds));
        let Some(bar) = bar else {
            panic!("the device's registers are not mapped");
        };
        let place = bar.address + (physical - bar.physical);
        NonNull::new(place as *mut u8).unwrap_or(NonNull::dangling())
    }

    /// All buffers are in the device's memory already: nothing is copied. One that is not
    /// would expose other memory to the device, so the device gets the first page
    /// instead, which nothing uses.
    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        physical(buffer.cast())
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

/// Where the device sees a byte of its memory; the first page, which nothing uses, for
/// any other.
pub fn physical(place: NonNull<u8>) -> PhysAddr {
    let Some(snapshot) = snapshot() else {
        return 0;
    };
    let offset = (place.as_ptr() as u64).wrapping_sub(snapshot.dma_address);
    let offset = if offset < snapshot.dma_bytes {
        offset
    } else {
        0
    };
    snapshot.dma_physical + offset
}

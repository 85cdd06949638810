//! What the kernel tells the root task.

use core::ops::Range;

use crate::facts;
use crate::generation;

/// The boot information, at the place where the kernel mapped it.
#[derive(Debug)]
pub struct BootInfo(*const u8);

/// One piece of memory that the kernel left to the root task.
#[derive(Clone, Copy, Debug)]
pub struct UntypedDescription {
    /// Its slot in the root task's CNode.
    pub slot: u64,
    /// Its physical address.
    pub address: u64,
    /// Its size, as a power of two.
    pub size_bits: u8,
    /// It is no memory but device registers, or unknown.
    pub is_device: bool,
}

impl BootInfo {
    /// # Safety
    /// `pointer` is what the kernel passed to the root task at its start.
    pub(crate) const unsafe fn new(pointer: *const u8) -> Self {
        Self(pointer)
    }

    fn word(&self, offset: u64) -> u64 {
        // SAFETY: offsets come from the headers of the running kernel, whose
        // boot information stays mapped; fields may be unaligned.
        unsafe {
            self.0
                .wrapping_add(offset as usize)
                .cast::<u64>()
                .read_unaligned()
        }
    }

    fn byte(&self, offset: u64) -> u8 {
        // SAFETY: as in `word`.
        unsafe { self.0.wrapping_add(offset as usize).read() }
    }

    fn slots(&self, offset: u64) -> Range<u64> {
        self.word(offset)..self.word(offset + 8)
    }

    /// Where the root task's IPC buffer is.
    pub(crate) fn ipc_buffer(&self) -> *mut u8 {
        self.word(facts::BOOT_IPC_BUFFER) as *mut u8
    }

    /// Empty slots in the root task's CNode.
    pub fn empty(&self) -> Range<u64> {
        self.slots(facts::BOOT_EMPTY)
    }

    /// The frames of the root task's own image, in the order of their
    /// addresses.
    pub fn user_image_frames(&self) -> Range<u64> {
        self.slots(facts::BOOT_IMAGE_FRAMES)
    }

    /// The tables by which the root task's own image is mapped.
    pub fn user_image_paging(&self) -> Range<u64> {
        self.slots(facts::BOOT_IMAGE_PAGING)
    }

    /// Pages with more boot information.
    pub fn extra_pages(&self) -> Range<u64> {
        self.slots(facts::BOOT_EXTRA_PAGES)
    }

    /// Levels of the tables of an I/O address space; `None` when the kernel has
    /// found no IOMMU.
    pub fn io_levels(&self) -> Option<u32> {
        let levels = self.word(facts::BOOT_IO_LEVELS);
        u32::try_from(levels).ok().filter(|l| (2..=6).contains(l))
    }

    /// Rate of the time-stamp counter, in Hz.
    pub fn tsc_hz(&self) -> u64 {
        // SAFETY: `new` got the boot information.
        unsafe { generation::tsc_hz(self.0) }
    }

    /// Every piece of untyped memory.
    pub fn untyped(&self) -> impl Iterator<Item = UntypedDescription> + '_ {
        let slots = self.slots(facts::BOOT_UNTYPED);
        let first = slots.start;
        slots.map(move |slot| {
            let base = facts::BOOT_UNTYPED_LIST + (slot - first) * facts::UNTYPED_STRIDE;
            UntypedDescription {
                slot,
                address: self.word(base + facts::UNTYPED_ADDRESS),
                size_bits: self.byte(base + facts::UNTYPED_SIZE_BITS),
                is_device: self.byte(base + facts::UNTYPED_IS_DEVICE) != 0,
            }
        })
    }
}

//! Memory that the NIC reaches.

use core::ptr::NonNull;

use super::queue::Shared;

/// Where memory comes from that the NIC reaches.
#[derive(Clone, Copy)]
pub(super) struct Source {
    /// So many bytes, zeroed, in whole pages, for good.
    pub(super) take: fn(usize) -> Option<NonNull<u8>>,
    /// Where the NIC sees a byte.
    pub(super) physical: fn(NonNull<u8>) -> u64,
}

/// Memory that the NIC reaches.
pub(super) struct Area {
    memory: NonNull<u8>,
    bytes: usize,
    pub(super) physical: u64,
}

impl Area {
    pub(super) fn new(source: Source, bytes: usize) -> Option<Self> {
        let memory = (source.take)(bytes)?;
        Some(Self {
            memory,
            bytes,
            physical: (source.physical)(memory),
        })
    }

    /// Some of it, for as long as the caller says.
    ///
    /// # Safety
    /// Nobody has another reference to it, and the NIC does not own it.
    pub(super) unsafe fn lend<'a>(&self, start: usize, length: usize) -> &'a mut [u8] {
        assert!(start <= self.bytes && length <= self.bytes - start);
        let place = self.memory.as_ptr().wrapping_add(start);
        // SAFETY: the bytes are inside of the NIC's memory, which is mapped for
        // good; the caller vouches that the reference is the only one.
        unsafe { core::slice::from_raw_parts_mut(place, length) }
    }

    /// Where the NIC sees it.
    pub(super) fn address(&self, start: usize) -> u64 {
        self.physical + start as u64
    }

    /// A queue's memory.
    pub(super) fn shared(&self) -> &'static Shared {
        assert!(self.bytes >= size_of::<Shared>());
        let place = self.memory.cast::<Shared>();
        assert!(place.is_aligned());
        // SAFETY: the memory is zeroed, which a queue's is at first, is mapped for good, and
        // has no reference yet (`Nic::start`); all of it are atomic numbers.
        unsafe { place.as_ref() }
    }
}

//! The generation of the machine: an identifier that a machine monitor changes when the
//! machine resumes from a snapshot, so that two of them may do so (Microsoft's "Virtual
//! Machine Generation ID", QEMU's `docs/specs/vmgenid`).

/// The identifier in memory, and its value when the system was built.
pub(crate) struct Generation {
    place: *const [u64; 2],
    seen: [u64; 2],
}

impl Generation {
    /// # Safety
    /// At `address`, a multiple of eight, 16 bytes are mapped for good.
    pub(crate) unsafe fn new(address: u64) -> Self {
        let place = address as *const [u64; 2];
        // SAFETY: the caller says so; it changes outside of this program's control.
        let seen = unsafe { place.read_volatile() };
        Self { place, seen }
    }

    /// Whether it is another one than at the last call.
    pub(crate) fn is_new(&mut self) -> bool {
        // SAFETY: as in `new`.
        let now = unsafe { self.place.read_volatile() };
        core::mem::replace(&mut self.seen, now) != now
    }
}

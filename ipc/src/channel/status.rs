//! The status word of each side of a slot.

/// What one side says of its direction of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub(super) u32);

impl Status {
    /// The slot is in use.
    pub const OPEN: u16 = 1;
    /// No byte follows those in the ring.
    pub const END: u16 = 2;
    /// The connection was cut off: bytes may be missing.
    pub const RESET: u16 = 4;
    /// A connection that was asked for is there.
    pub const ESTABLISHED: u16 = 8;
    /// The deadline has passed. Of a session that the record layer has cut off: it had its time,
    /// and others wait for what it holds.
    pub const DEADLINE: u16 = 16;
    /// The other side broke a rule of this protocol (a segment that was not
    /// the next one, an index that can't be).
    pub const REFUSED: u16 = 32;
    /// Nothing waits to be written: the reader need not tell of room.
    pub const IDLE: u16 = 64;
    /// This side is done with the slot and gets no more events for it.
    pub const LEFT: u16 = 128;

    /// Whether all of `flags` are set.
    pub const fn has(self, flags: u16) -> bool {
        self.0 as u16 & flags == flags
    }

    /// Counts the uses of the slot, modulo 2¹⁶.
    pub const fn generation(self) -> u16 {
        (self.0 >> 16) as u16
    }

    pub(super) const fn new(generation: u16, flags: u16) -> Self {
        Self((generation as u32) << 16 | flags as u32)
    }
}

//! The bytes of one slot, as records are taken from them.

use tls::record::{Inconsistent, Source};

use super::{Channel, Doorbell, SlotIndex};
use crate::ring::Misbehaved;

/// What the other side wrote to one slot.
pub struct SlotBytes<'a, D> {
    channel: &'a mut Channel<D>,
    slot: SlotIndex,
}

impl<'a, D: Doorbell> SlotBytes<'a, D> {
    /// Those of `slot`.
    #[inline]
    pub const fn new(channel: &'a mut Channel<D>, slot: SlotIndex) -> Self {
        Self { channel, slot }
    }
}

impl<D: Doorbell> Source for SlotBytes<'_, D> {
    type Error = Misbehaved;

    #[inline]
    fn readable(&self) -> Result<usize, Misbehaved> {
        self.channel.readable(self.slot)
    }

    #[inline]
    fn peek(&self, offset: usize, to: &mut [u8]) -> Result<usize, Misbehaved> {
        self.channel.peek(self.slot, offset, to)
    }

    #[inline]
    fn consume(&mut self, count: usize) -> Result<(), Misbehaved> {
        self.channel.consume(self.slot, count)
    }
}

impl From<Inconsistent> for Misbehaved {
    fn from(Inconsistent: Inconsistent) -> Self {
        Self
    }
}

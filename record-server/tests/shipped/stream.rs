//! What the network stack has of a session's records, and moves as there is room.

use super::World;

const DATA: u8 = 23;

/// Sealed records of a session's peer.
pub(crate) struct Stream {
    pub(crate) slot: u16,
    pub(crate) bytes: Vec<u8>,
    /// Bytes of them that the ring has had.
    pub(crate) sent: usize,
}

impl Stream {
    pub(crate) fn new(world: &mut World, slot: u16, texts: &[&[u8]]) -> Self {
        let records = texts.iter().map(|text| world.seal(slot, DATA, text));
        Self {
            slot,
            bytes: records.collect::<Vec<_>>().concat(),
            sent: 0,
        }
    }

    /// Writes what there is room for, up to `end`; true if there is more.
    pub(crate) fn write(&mut self, world: &mut World, end: usize) -> bool {
        let end = end.min(self.bytes.len());
        while self.sent < end {
            let rest = &self.bytes[self.sent..end];
            let count = world.net.write_quietly(self.slot, rest).unwrap();
            if count == 0 {
                return true;
            }
            self.sent += count;
        }
        false
    }

    /// As the network stack moves bytes, up to `end`; true when none are left.
    pub(crate) fn go_on(&mut self, world: &mut World, end: usize) -> bool {
        let waits = self.write(world, end);
        world.net.set_idle(self.slot, !waits);
        world.net.notify(self.slot);
        self.sent == self.bytes.len()
    }
}

//! The slots of several channels, one after another, as if they were of one.

use alloc::boxed::Box;

use super::{Channel, Doorbell, Event, SlotIndex, Status};
use crate::ring::Misbehaved;

/// Channels of one kind to several peers. The slots of the first come first, then those
/// of the next; each peer counts its own from zero.
///
/// Each method does what [`Channel`]'s method of that name does.
pub struct Joined<D> {
    first: Channel<D>,
    others: Box<[Channel<D>]>,
    /// Whose events are taken next: a peer that always has some must not starve another.
    turn: usize,
}

impl<D: Doorbell> From<Channel<D>> for Joined<D> {
    fn from(channel: Channel<D>) -> Self {
        Self::new(channel, Box::default())
    }
}

impl<D: Doorbell> Joined<D> {
    /// In this order.
    pub fn new(first: Channel<D>, others: Box<[Channel<D>]>) -> Self {
        Self {
            first,
            others,
            turn: 0,
        }
    }

    /// Slots of all.
    pub fn slots(&self) -> u16 {
        let others = self.others.iter().map(Channel::slots);
        others.fold(self.first.slots(), u16::saturating_add)
    }

    /// The channel and its slot. One beyond the last is beyond the last of that one, too.
    #[inline]
    fn find(&self, slot: SlotIndex) -> (&Channel<D>, SlotIndex) {
        let (mut channel, mut slot) = (&self.first, slot);
        for next in &self.others {
            if slot < channel.slots() {
                break;
            }
            slot -= channel.slots();
            channel = next;
        }
        (channel, slot)
    }

    #[inline]
    fn find_mut(&mut self, slot: SlotIndex) -> (&mut Channel<D>, SlotIndex) {
        let (mut channel, mut slot) = (&mut self.first, slot);
        for next in &mut self.others {
            if slot < channel.slots() {
                break;
            }
            slot -= channel.slots();
            channel = next;
        }
        (channel, slot)
    }

    /// [`Channel::oldest_event`] of each.
    pub fn oldest_events(&self) -> impl Iterator<Item = Option<u32>> {
        let others = self.others.iter().map(Channel::oldest_event);
        core::iter::once(self.first.oldest_event()).chain(others)
    }

    // ---- slots ----

    /// [`Channel::open`]
    pub fn open(&mut self, slot: SlotIndex) {
        let (channel, slot) = self.find_mut(slot);
        channel.open(slot);
    }

    /// [`Channel::close`]
    pub fn close(&mut self, slot: SlotIndex) {
        let (channel, slot) = self.find_mut(slot);
        channel.close(slot);
    }

    /// [`Channel::abandon`]
    pub fn abandon(&mut self, slot: SlotIndex) {
        let (channel, slot) = self.find_mut(slot);
        channel.abandon(slot);
    }

    /// [`Channel::set_status`]
    pub fn set_status(&mut self, slot: SlotIndex, flags: u16) {
        let (channel, slot) = self.find_mut(slot);
        channel.set_status(slot, flags);
    }

    /// [`Channel::peer_status`]
    pub fn peer_status(&self, slot: SlotIndex) -> Status {
        let (channel, slot) = self.find(slot);
        channel.peer_status(slot)
    }

    // ---- bytes ----

    /// [`Channel::readable`]
    ///
    /// # Errors
    /// As there.
    pub fn readable(&self, slot: SlotIndex) -> Result<usize, Misbehaved> {
        let (channel, slot) = self.find(slot);
        channel.readable(slot)
    }

    /// [`Channel::unread`]
    ///
    /// # Errors
    /// As there.
    pub fn unread(&self, slot: SlotIndex) -> Result<usize, Misbehaved> {
        let (channel, slot) = self.find(slot);
        channel.unread(slot)
    }

    /// [`Channel::writable`]
    ///
    /// # Errors
    /// As there.
    pub fn writable(&mut self, slot: SlotIndex) -> Result<usize, Misbehaved> {
        let (channel, slot) = self.find_mut(slot);
        channel.writable(slot)
    }

    /// [`Channel::read`]
    ///
    /// # Errors
    /// As there.
    pub fn read(&mut self, slot: SlotIndex, out: &mut [u8]) -> Result<usize, Misbehaved> {
        let (channel, slot) = self.find_mut(slot);
        channel.read(slot, out)
    }

    /// [`Channel::write`]
    ///
    /// # Errors
    /// As there.
    pub fn write(&mut self, slot: SlotIndex, bytes: &[u8]) -> Result<usize, Misbehaved> {
        let (channel, slot) = self.find_mut(slot);
        channel.write(slot, bytes)
    }

    // ---- events ----

    /// [`Channel::notify`]
    pub fn notify(&mut self, slot: SlotIndex) {
        let (channel, slot) = self.find_mut(slot);
        channel.notify(slot);
    }

    /// [`Channel::flush`], of all.
    pub fn flush(&mut self) {
        self.first.flush();
        self.others.iter_mut().for_each(Channel::flush);
    }

    /// The slot of the next event, of each channel in turn. An event of no slot is
    /// skipped.
    pub fn next_event(&mut self) -> Option<SlotIndex> {
        let count = self.others.len() + 1;
        for _ in 0..count {
            let turn = self.turn;
            self.turn = (turn + 1) % count;
            let (mut channel, mut before) = (&mut self.first, 0);
            for next in self.others.iter_mut().take(turn) {
                before += channel.slots();
                channel = next;
            }
            while let Some(event) = channel.next_event() {
                if let Event::Slot(slot) = event {
                    return Some(before + slot);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::super::local::{LocalChannel, pair};
    use super::*;

    struct Silent;

    impl Doorbell for Silent {
        fn ring(&self) {}
    }

    fn joined() -> (Joined<impl Doorbell>, [LocalChannel<Silent>; 3]) {
        let (a, far_a) = pair(4, 64, 64, Silent, Silent);
        let (b, far_b) = pair(1, 64, 64, Silent, Silent);
        let (c, far_c) = pair(2, 64, 64, Silent, Silent);
        (Joined::new(a, Box::new([b, c])), [far_a, far_b, far_c])
    }

    #[test]
    fn a_slot_is_that_of_its_channel_and_of_no_other() {
        let (mut joined, mut far) = joined();
        assert_eq!(joined.slots(), 7);
        let places = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (2, 0), (2, 1)];
        for (slot, (channel, local)) in (0..).zip(places) {
            joined.open(slot);
            far[channel].follow(local);
            assert_eq!(joined.write(slot, &[slot as u8]), Ok(1));
            far[channel].write(local, &[100 + slot as u8]).unwrap();
        }
        for (slot, (channel, local)) in (0..).zip(places) {
            let mut byte = [0];
            assert_eq!(far[channel].read(local, &mut byte), Ok(1));
            assert_eq!(byte, [slot as u8]);
            assert_eq!(joined.readable(slot), Ok(1));
            assert_eq!(joined.read(slot, &mut byte), Ok(1));
            assert_eq!(byte, [100 + slot as u8]);
            far[channel].set_status(local, Status::END);
            assert!(joined.peer_status(slot).has(Status::END));
        }
        // There is no such slot: nothing is written, and no other slot is touched.
        assert!(joined.write(7, b"x").is_err());
        assert!(joined.writable(u16::MAX).is_err());
        for (channel, local) in places {
            assert_eq!(far[channel].readable(local), Ok(0));
        }
    }

    #[test]
    fn a_peer_with_events_without_an_end_does_not_keep_back_those_of_another() {
        let (mut joined, mut far) = joined();
        for slot in 0..7 {
            joined.open(slot);
        }
        for (channel, local) in [(0, 0), (1, 0), (2, 1)] {
            far[channel].follow(local);
        }
        far[1].notify(0);
        far[2].notify(1);
        far[2].notify_control();
        let mut found = Vec::new();
        for _ in 0..6 {
            far[0].notify(0);
            found.extend(joined.next_event());
        }
        assert_eq!(found, [0, 4, 6, 0, 0, 0]);
    }
}

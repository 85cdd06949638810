//! Bytes on their way to the network stack, cut into segments (R8).

use alloc::vec::Vec;

use ipc::channel::{Channel, Doorbell, SlotIndex};
use ipc::net::{MAX_SEGMENT, SegmentHeader};
use ipc::ring::Misbehaved;

/// Bytes of a buffer that is kept when all has gone.
const KEPT: usize = 256;

/// What rustls wrote and the ring did not take yet.
pub(crate) struct Output {
    pending: Vec<u8>,
    /// Bytes of `pending` that have gone already.
    sent: usize,
    /// TCP sequence number of the next byte, and of the first.
    next: u32,
    first: u32,
    segment_size: u16,
}

impl Output {
    pub(crate) fn new(next: u32, segment_size: u16) -> Self {
        Self {
            pending: Vec::new(),
            sent: 0,
            next,
            first: next,
            segment_size,
        }
    }

    /// Where rustls writes: bytes appended here are sent in order.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Bytes kept until all of them have gone.
    pub(crate) fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Bytes so far, gone or not.
    pub(crate) fn written(&self) -> usize {
        let gone = self.next.wrapping_sub(self.first) as usize;
        gone + self.pending.len() - self.sent
    }

    /// TCP sequence number of the next byte.
    pub(crate) fn next(&self) -> u32 {
        self.next
    }

    /// Whether everything has gone.
    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.pending.len()
    }

    /// Puts as many whole segments into the ring as it has room for, and tells
    /// the network stack.
    pub(crate) fn flush<D: Doorbell>(
        &mut self,
        channel: &mut Channel<D>,
        slot: SlotIndex,
    ) -> Result<(), Misbehaved> {
        let before = self.next;
        self.flush_quietly(channel, slot)?;
        if self.next != before {
            channel.notify(slot);
        }
        Ok(())
    }

    /// The same without telling, unless room is wanted. For what goes with the
    /// connection when that moves on: the network stack takes it then.
    pub(crate) fn flush_quietly<D: Doorbell>(
        &mut self,
        channel: &mut Channel<D>,
        slot: SlotIndex,
    ) -> Result<(), Misbehaved> {
        // No longer than the ring can hold, or it would never leave; and half of that, so
        // that the next one is written while this one goes.
        let most = (channel.tx_capacity() / 2).saturating_sub(SegmentHeader::SIZE);
        let most = most.min(MAX_SEGMENT).min(usize::from(self.segment_size));
        loop {
            let rest = self.pending.get(self.sent..).unwrap_or_default();
            let segment = rest.get(..most).unwrap_or(rest);
            let Some(length) = u16::try_from(segment.len()).ok().filter(|n| *n > 0) else {
                self.sent = 0;
                match self.pending.capacity() > KEPT {
                    // Others may wait as long for their peer, and by the hundred.
                    true => self.pending = Vec::new(),
                    false => self.pending.clear(),
                }
                channel.set_idle(slot, true);
                return Ok(());
            };
            let needed = SegmentHeader::SIZE + segment.len();
            if channel.writable(slot)? < needed {
                channel.set_idle(slot, false);
                if channel.writable(slot)? < needed {
                    channel.notify(slot);
                    return Ok(());
                }
            }
            let header = SegmentHeader {
                sequence: self.next,
                length,
            };
            channel.write_quietly(slot, &header.to_bytes())?;
            channel.write_quietly(slot, segment)?;
            self.sent += segment.len();
            self.next = self.next.wrapping_add(u32::from(length));
        }
    }
}

#[cfg(test)]
mod tests {
    use ipc::channel::local::{Silent, pair};

    use super::*;

    #[test]
    fn segments_are_no_longer_than_asked_and_numbered_on() {
        let (mut offload, mut net) = pair(1, 128, 64, Silent, Silent);
        net.open(0);
        offload.follow(0);
        let mut output = Output::new(u32::MAX - 10, 30);
        let bytes: Vec<u8> = (0..200).collect();
        output.buffer().extend_from_slice(&bytes);
        let mut next = u32::MAX - 10;
        let mut received = Vec::new();
        while received.len() < bytes.len() {
            output.flush(&mut offload, 0).unwrap();
            let mut header = [0; SegmentHeader::SIZE];
            assert_eq!(net.read(0, &mut header), Ok(SegmentHeader::SIZE));
            let header = SegmentHeader::from_bytes(header);
            assert_eq!(header.sequence, next);
            assert!(header.length > 0 && header.length <= 30);
            let mut segment = vec![0; usize::from(header.length)];
            assert_eq!(net.read(0, &mut segment), Ok(segment.len()));
            next = next.wrapping_add(u32::from(header.length));
            received.extend(segment);
        }
        assert_eq!(received, bytes);
        assert_eq!(output.next(), next);
        output.flush(&mut offload, 0).unwrap();
        assert!(output.is_empty());
    }
    #[test]
    fn what_is_longer_than_the_ring_leaves_as_room_comes() {
        let (mut offload, mut net) = pair(1, 128, 64, Silent, Silent);
        net.open(0);
        offload.follow(0);
        let mut output = Output::new(7, 16384);
        let bytes: Vec<u8> = (0..250).collect();
        output.buffer().extend_from_slice(&bytes);
        output.buffer().extend_from_slice(&bytes);
        let mut received = Vec::new();
        while !output.is_empty() {
            output.flush(&mut offload, 0).unwrap();
            let before = received.len();
            while net.readable(0).unwrap() > 0 {
                let mut header = [0; SegmentHeader::SIZE];
                net.read(0, &mut header).unwrap();
                let length = usize::from(SegmentHeader::from_bytes(header).length);
                assert!(length <= 64, "{length}");
                let mut segment = vec![0; length];
                assert_eq!(net.read(0, &mut segment), Ok(length));
                received.extend(segment);
            }
            assert!(received.len() > before, "it stands still");
        }
        assert_eq!(received, [&bytes[..], &bytes].concat());
    }

    #[test]
    fn no_segment_is_longer_than_any_connection_has_room_for() {
        let (mut offload, mut net) = pair(1, 32 * 1024, 64, Silent, Silent);
        net.open(0);
        offload.follow(0);
        let mut output = Output::new(0, u16::MAX);
        output.buffer().extend_from_slice(&[7; 8000]);
        output.flush(&mut offload, 0).unwrap();
        let mut lengths = Vec::new();
        let mut header = [0; SegmentHeader::SIZE];
        while net.read(0, &mut header).unwrap() > 0 {
            let length = usize::from(SegmentHeader::from_bytes(header).length);
            lengths.push(net.read(0, &mut vec![0; length]).unwrap());
        }
        assert_eq!(lengths, [MAX_SEGMENT, MAX_SEGMENT, 8000 - 2 * MAX_SEGMENT]);
    }
}

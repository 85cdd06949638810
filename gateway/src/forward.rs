//! Moves plaintext between a session and its other end.
//!
//! Back-pressure needs no code of its own: what the far ring has no room for
//! stays in the near one, and the rings' owners stop reading.

use ipc::channel::{Channel, Doorbell, SlotIndex, Status};
use ipc::ring::Misbehaved;

/// Bytes moved at a time.
pub(crate) const CHUNK: usize = 16 * 1024;

/// What came of moving one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// This many bytes; more may come.
    Some(usize),
    /// This many bytes, and they were the last: the end was passed on.
    End(usize),
    /// The source was cut off.
    CutOff,
}

/// Moves what can be moved from a slot of one channel to a slot of another,
/// and passes the end on.
pub(crate) fn splice<A: Doorbell, B: Doorbell>(
    from: (&mut Channel<A>, SlotIndex),
    to: (&mut Channel<B>, SlotIndex),
    buffer: &mut [u8; CHUNK],
) -> Result<Moved, Misbehaved> {
    let (from, from_slot) = from;
    let (to, to_slot) = to;
    // Read before the bytes: with END set, none come after those found.
    let status = from.peer_status(from_slot);
    let mut moved = 0;
    loop {
        let count = from.readable(from_slot)?.min(to.writable(to_slot)?);
        let chunk = buffer.get_mut(..count.min(CHUNK)).unwrap_or_default();
        if chunk.is_empty() {
            break;
        }
        let count = from.read(from_slot, chunk)?;
        to.write(to_slot, chunk.get(..count).unwrap_or_default())?;
        moved += count;
    }
    if from.readable(from_slot)? > 0 {
        return Ok(Moved::Some(moved));
    }
    if status.has(Status::END) {
        to.set_status(to_slot, Status::END);
        to.notify(to_slot);
        return Ok(Moved::End(moved));
    }
    if status.has(Status::RESET) {
        return Ok(Moved::CutOff);
    }
    Ok(Moved::Some(moved))
}

#[cfg(test)]
mod tests {
    use ipc::channel::local::{LocalChannel, Silent, pair};

    use super::*;

    type Side = LocalChannel<Silent>;

    /// A client's channel, a backend's channel, both with the gateway's side.
    fn channels() -> (Side, Side, Side, Side) {
        let (mut record, mut plain) = pair(1, 64, 64, Silent, Silent);
        let (mut net, mut backend) = pair(1, 32, 32, Silent, Silent);
        record.open(0);
        plain.follow(0);
        net.open(0);
        backend.follow(0);
        (record, plain, backend, net)
    }

    #[test]
    fn bytes_and_end_are_passed_on_in_order() {
        let (mut record, mut plain, mut backend, mut net) = channels();
        let mut buffer = [0; CHUNK];
        record.write(0, b"request").unwrap();
        record.set_status(0, Status::END);
        let moved = splice((&mut plain, 0), (&mut backend, 0), &mut buffer);
        assert_eq!(moved, Ok(Moved::End(7)));
        assert!(net.peer_status(0).has(Status::END));
        let mut out = [0; 16];
        assert_eq!(net.read(0, &mut out), Ok(7));
        assert_eq!(&out[..7], b"request");
    }

    #[test]
    fn a_full_ring_stops_the_source_and_the_end_waits_for_the_bytes() {
        let (mut record, mut plain, mut backend, mut net) = channels();
        let mut buffer = [0; CHUNK];
        record.write(0, &[7; 50]).unwrap();
        record.set_status(0, Status::END);
        let moved = splice((&mut plain, 0), (&mut backend, 0), &mut buffer);
        assert_eq!(moved, Ok(Moved::Some(32)));
        assert!(!net.peer_status(0).has(Status::END));
        assert_eq!(plain.readable(0), Ok(18));
        net.read(0, &mut [0; 32]).unwrap();
        let moved = splice((&mut plain, 0), (&mut backend, 0), &mut buffer);
        assert_eq!(moved, Ok(Moved::End(18)));
    }

    #[test]
    fn a_source_that_was_cut_off_is_no_end() {
        let (mut record, mut plain, mut backend, net) = channels();
        let mut buffer = [0; CHUNK];
        record.write(0, b"half a").unwrap();
        record.set_status(0, Status::RESET);
        let moved = splice((&mut plain, 0), (&mut backend, 0), &mut buffer);
        assert_eq!(moved, Ok(Moved::CutOff));
        assert!(!net.peer_status(0).has(Status::END));
    }
}

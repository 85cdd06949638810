//! Moves plaintext between the ends of a relay.
//!
//! Back-pressure needs no code of its own: what the far ring has no room for
//! stays in the near one, and the rings' owners stop reading.

use ipc::channel::{Doorbell, Status};
use ipc::ring::Misbehaved;

use crate::relay::{End, Flow, Wires};

/// Bytes moved at a time.
pub(crate) const CHUNK: usize = 16 * 1024;

/// Bytes moved in one direction before others have their turn.
pub(crate) const QUANTUM: usize = 4 * CHUNK;

/// The result of moving one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Bytes.
    pub(crate) count: usize,
    /// How far the direction is then.
    pub(crate) flow: Flow,
    /// There is more to move, and room for it.
    pub(crate) has_more: bool,
}

/// Moves what can be moved from one end of a relay to the other, a quantum at the
/// most, and passes the end on.
pub(crate) fn splice<P: Doorbell, B: Doorbell>(
    wires: &mut Wires<'_, P, B>,
    from: End,
    to: End,
    buffer: &mut [u8; CHUNK],
) -> Result<Moved, Misbehaved> {
    // Read before the bytes: with END set, none come after those found.
    let status = wires.peer_status(from);
    let mut moved = Moved {
        count: 0,
        flow: Flow::Open,
        has_more: false,
    };
    loop {
        let count = wires.readable(from)?.min(wires.writable(to)?);
        let chunk = buffer.get_mut(..count.min(CHUNK)).unwrap_or_default();
        if chunk.is_empty() {
            break;
        }
        if moved.count >= QUANTUM {
            moved.has_more = true;
            return Ok(moved);
        }
        let count = wires.read(from, chunk)?;
        wires.write(to, chunk.get(..count).unwrap_or_default())?;
        moved.count += count;
    }
    if wires.readable(from)? > 0 {
        return Ok(moved);
    }
    if status.has(Status::END) {
        wires.signal(to, Status::END);
        moved.flow = Flow::Ended;
    } else if status.has(Status::RESET) {
        moved.flow = Flow::Cut;
    }
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use ipc::channel::local::{LocalChannel, Silent, pair};
    use ipc::net::ConnectionId;

    use super::*;

    type Side = LocalChannel<Silent>;

    const SESSION: End = End::Session(0);
    const BACKEND: End = End::Connection {
        connection: ConnectionId(1),
        slot: 0,
    };

    fn up(plain: &mut Side, backend: &mut Side) -> Result<Moved, Misbehaved> {
        let mut wires = Wires {
            sessions: plain,
            connections: backend,
        };
        splice(&mut wires, SESSION, BACKEND, &mut [0; CHUNK])
    }

    fn moved(count: usize, flow: Flow) -> Result<Moved, Misbehaved> {
        Ok(Moved {
            count,
            flow,
            has_more: false,
        })
    }

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
        record.write(0, b"request").unwrap();
        record.set_status(0, Status::END);
        let found = up(&mut plain, &mut backend);
        assert_eq!(found, moved(7, Flow::Ended));
        assert!(net.peer_status(0).has(Status::END));
        let mut out = [0; 16];
        assert_eq!(net.read(0, &mut out), Ok(7));
        assert_eq!(&out[..7], b"request");
    }

    #[test]
    fn a_full_ring_stops_the_source_and_the_end_waits_for_the_bytes() {
        let (mut record, mut plain, mut backend, mut net) = channels();
        record.write(0, &[7; 50]).unwrap();
        record.set_status(0, Status::END);
        let found = up(&mut plain, &mut backend);
        assert_eq!(found, moved(32, Flow::Open));
        assert!(!net.peer_status(0).has(Status::END));
        assert_eq!(plain.readable(0), Ok(18));
        net.read(0, &mut [0; 32]).unwrap();
        let found = up(&mut plain, &mut backend);
        assert_eq!(found, moved(18, Flow::Ended));
    }

    #[test]
    fn a_source_that_never_rests_has_no_more_than_its_turn() {
        let size = 2 * QUANTUM as u32;
        let (mut record, mut plain) = pair(1, size, 64, Silent, Silent);
        let (mut net, mut backend) = pair(1, 32, size, Silent, Silent);
        record.open(0);
        plain.follow(0);
        net.open(0);
        backend.follow(0);
        record.write(0, &[7; QUANTUM + 1]).unwrap();
        record.set_status(0, Status::END);
        let found = up(&mut plain, &mut backend).unwrap();
        assert_eq!((found.count, found.flow), (QUANTUM, Flow::Open));
        assert!(found.has_more);
        assert_eq!(up(&mut plain, &mut backend), moved(1, Flow::Ended));
    }

    #[test]
    fn a_source_that_was_cut_off_is_no_end() {
        let (mut record, mut plain, mut backend, net) = channels();
        record.write(0, b"half a").unwrap();
        record.set_status(0, Status::RESET);
        let found = up(&mut plain, &mut backend);
        assert_eq!(found, moved(6, Flow::Cut));
        assert!(!net.peer_status(0).has(Status::END));
    }
}

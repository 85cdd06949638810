//! From the owner's ring to the socket.

use ipc::channel::{Doorbell, Status};
use ipc::net::{MAX_SEGMENT, Owner, SegmentHeader};
use smoltcp::socket::tcp::State;

use super::{Chunk, Connection, Ending, Refused};
use crate::owners::Port;
use crate::sequence::is_after;

impl Connection {
    /// Moves bytes from former owners and the owner's ring to the socket.
    /// True if more may follow once these are on the wire.
    pub(crate) fn feed(&mut self, port: Option<Port<'_, impl Doorbell>>) -> Result<bool, Refused> {
        if !self.is_established() {
            return Ok(false);
        }
        if self.fin_sent {
            self.end();
            return Ok(false);
        }
        let is_drained = self.feed_forward();
        let mut is_empty = true;
        if let Some(mut port) = port {
            // Read before the bytes: with END set, none come after those
            // found.
            let status = port.peer_status();
            if is_drained {
                is_empty = match self.owner {
                    Owner::Offload(_) => self.feed_segment(&mut port)?,
                    _ => self.feed_plain(&mut port)?,
                };
                self.tx_ended |= is_empty && status.has(Status::END);
            }
        }
        if is_drained && is_empty && self.tx_ended {
            self.end();
        }
        Ok(self.keep_apart && !(is_drained && is_empty))
    }

    /// All bytes are with the socket: closes the outgoing direction. A reset waits until
    /// the peer has acknowledged them, since the socket drops what it still holds; where
    /// both sides have closed already it sends nothing any more.
    fn end(&mut self) {
        let Some(wire) = &mut self.wire else {
            return;
        };
        let socket = wire.socket();
        let is_over = matches!(
            socket.state(),
            State::Closing | State::LastAck | State::TimeWait
        );
        match self.ending {
            Ending::Fin => {
                self.fin_sent = true;
                socket.close();
            }
            Ending::Reset if socket.send_queue() == 0 && !is_over => socket.abort(),
            Ending::Reset => {}
        }
    }

    /// Whether bytes may be fed that belong, or do not belong, to a segment
    /// that goes apart.
    fn may_feed(&mut self, apart: bool) -> bool {
        if (self.keep_apart || apart) && !self.is_on_wire() {
            // Comes back after this round of sending.
            self.keep_apart = true;
            return false;
        }
        self.keep_apart = apart;
        true
    }

    /// True when nothing of former owners is left.
    fn feed_forward(&mut self) -> bool {
        while let Some(Chunk { apart, .. }) = self.forward.front() {
            let apart = *apart;
            if self.forward_at == 0 && !self.may_feed(apart) {
                return false;
            }
            let (Some(chunk), Some(wire)) = (self.forward.front(), &mut self.wire) else {
                return false;
            };
            let rest = chunk.bytes.get(self.forward_at..).unwrap_or_default();
            let count = wire.socket().send_slice(rest).unwrap_or(0);
            let whole = count == rest.len();
            self.tx_fed = self.tx_fed.wrapping_add(count as u32);
            self.forward_at += count;
            if !whole {
                return false;
            }
            self.forward.pop_front();
            self.forward_at = 0;
        }
        true
    }

    /// Plain bytes: one copy from the ring into the socket's buffer. True if
    /// the ring is empty.
    fn feed_plain(&mut self, port: &mut Port<'_, impl Doorbell>) -> Result<bool, Refused> {
        loop {
            if port.readable()? == 0 {
                return Ok(true);
            }
            if !self.may_feed(false) {
                return Ok(false);
            }
            let Some(wire) = &mut self.wire else {
                return Ok(false);
            };
            let moved = wire.socket().send(|room| match port.peek(0, room) {
                Ok(count) => (count, Ok(count)),
                Err(broken) => (0, Err(broken)),
            });
            let count = moved.unwrap_or(Ok(0))?;
            if count == 0 {
                return Ok(false);
            }
            port.consume(count)?;
            self.tx_fed = self.tx_fed.wrapping_add(count as u32);
            self.tx_next = self.tx_next.wrapping_add(count as u32);
        }
    }

    /// One segment, if a whole one is there and there is room for it. True if
    /// the ring holds no whole segment.
    fn feed_segment(&mut self, port: &mut Port<'_, impl Doorbell>) -> Result<bool, Refused> {
        let Some(length) = self.next_segment(port)? else {
            return Ok(true);
        };
        if !self.may_feed(true) {
            return Ok(false);
        }
        let Some(wire) = &mut self.wire else {
            return Ok(false);
        };
        let socket = wire.socket();
        if length > socket.send_capacity() - socket.send_queue() {
            self.keep_apart = false;
            return Ok(false);
        }
        let mut done = 0;
        while done < length {
            let moved = socket.send(|room| {
                let most = room.len().min(length - done);
                let room = room.get_mut(..most).unwrap_or_default();
                match port.peek(SegmentHeader::SIZE + done, room) {
                    Ok(count) => (count, Ok(count)),
                    Err(broken) => (0, Err(broken)),
                }
            });
            match moved.unwrap_or(Ok(0))? {
                0 => return Err(Refused::Index),
                count => done += count,
            }
        }
        port.consume(SegmentHeader::SIZE + length)?;
        self.tx_fed = self.tx_fed.wrapping_add(length as u32);
        self.tx_next = self.tx_next.wrapping_add(length as u32);
        Ok(false)
    }

    /// Length of the whole segment that stands first in the ring (R8).
    pub(super) fn next_segment(
        &self,
        port: &Port<'_, impl Doorbell>,
    ) -> Result<Option<usize>, Refused> {
        let mut header = [0; SegmentHeader::SIZE];
        if port.peek(0, &mut header)? < SegmentHeader::SIZE {
            return Ok(None);
        }
        let header = SegmentHeader::from_bytes(header);
        let length = usize::from(header.length);
        let whole = SegmentHeader::SIZE + length;
        let is_possible = (1..=MAX_SEGMENT).contains(&length) && whole <= port.rx_capacity();
        if header.sequence != self.tx_next || !is_possible {
            return Err(Refused::Segment);
        }
        Ok((port.readable()? >= whole).then_some(length))
    }

    /// Whether all bytes written to the socket have been on the wire.
    fn is_on_wire(&self) -> bool {
        !is_after(self.tx_fed, self.tx_wire)
    }
}

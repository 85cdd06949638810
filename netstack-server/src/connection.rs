//! One TCP connection: its socket, its owner, and the bytes between the two.

use core::mem;

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

mod overflow;
mod stand;

pub(crate) use stand::Hello;

use ipc::channel::{SlotIndex, Status};
use ipc::clock::Instant;
use ipc::net::{Owner, Readiness, SegmentHeader, TcpPosition};
use ipc::ring::Misbehaved;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{RecvError, Socket, SocketBuffer, State};
use tls::hello_scan::HelloScan;

use crate::admission::{Peer, Rank};
use crate::config::{Buffers, IDLE, UNANSWERED};
use crate::device::Sent;
use crate::guard::Challenged;
use crate::path::Narrow;
use crate::ports::Port;
use crate::sequence::{Tuple, is_after};

/// A socket in a set of its own (see [`crate::device`]).
pub(crate) struct Wire {
    pub(crate) sockets: SocketSet<'static>,
    handle: SocketHandle,
}

impl Wire {
    pub(crate) fn new(buffers: Buffers) -> Self {
        let bytes = |count| SocketBuffer::new(vec![0; count]);
        let socket = Socket::new(bytes(buffers.receive), bytes(buffers.send));
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Self { sockets, handle }
    }

    pub(crate) fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// The sizes that it was made with.
    pub(crate) fn buffers(&mut self) -> Buffers {
        let socket = self.socket();
        Buffers {
            receive: socket.recv_capacity(),
            send: socket.send_capacity(),
        }
    }

    /// Readies the socket for its next connection.
    pub(crate) fn prepare(&mut self) -> &mut Socket<'static> {
        let socket = self.socket();
        // Records and segments are whole: there is nothing to wait for. There
        // is no `set_timeout`: smoltcp 0.14 ends idle connections by it, too.
        socket.set_nagle_enabled(false);
        socket
    }
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A SYN came to a listener.
    HalfOpen,
    /// Established, and not what its listener waits for, until then.
    Quiet(Instant),
    /// Ready, not accepted yet.
    Waiting,
    /// A SYN went out for a client.
    Opening,
    /// It has an owner.
    Open,
    /// Given up by its owner: what was written still goes out.
    Lingering(Instant),
}

/// What the peer gets after the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// That was all.
    Fin,
    /// That was not all.
    Reset,
}

/// Bytes between a former owner and the socket.
struct Chunk {
    bytes: Vec<u8>,
    /// Goes on the wire apart from its neighbours.
    apart: bool,
}

/// Protocol violation by the owner (an invalid index, or a segment out of order), or more
/// bytes between two owners than there is memory for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Index,
    Segment,
    Memory,
}

impl From<Misbehaved> for Refused {
    fn from(_: Misbehaved) -> Self {
        Self::Index
    }
}

/// One connection.
pub(crate) struct Connection {
    /// The socket; `None` once TCP is done with.
    pub(crate) wire: Option<Wire>,
    pub(crate) tuple: Tuple,
    /// The client that accepted, or will accept, or opened it.
    pub(crate) client: u16,
    pub(crate) owner: Owner,
    pub(crate) phase: Phase,
    pub(crate) deadline: Instant,
    pub(crate) deadline_told: bool,
    pub(crate) last_progress: Instant,
    /// When a segment came last, or when the first of the bytes was sent that
    /// the peer has not acknowledged.
    pub(crate) last_heard: Instant,
    pub(crate) since: Instant,
    /// When the timer is set for; the queue of timers has the same entry.
    pub(crate) armed: Instant,
    pub(crate) is_touched: bool,
    /// It is its client's to give up, and counted.
    pub(crate) is_held: bool,
    /// It is on the list of those that wait for a neighbour's address.
    pub(crate) is_unresolved: bool,
    /// Who its peer is to the listener that it came to.
    pub(crate) peer: Option<Peer>,
    /// Its entry in the list of those that may be evicted.
    pub(crate) yields: Option<(Rank, Instant)>,
    /// How far its ClientHello is, where its listener waits for that.
    hello: HelloScan,
    /// How ready it was when it was offered to its client.
    pub(crate) readiness: Readiness,
    /// Its path, if that is narrower than the link.
    pub(crate) narrow: Option<Narrow>,
    pub(crate) challenged: Challenged,
    /// Bytes of the memory between owners that it is charged for.
    pub(crate) charged: usize,
    /// Sequence number after the last byte that the owners have written.
    tx_next: u32,
    /// Sequence number after the last byte written to the socket.
    tx_fed: u32,
    /// Sequence number after the last byte that was on the wire.
    tx_wire: u32,
    /// Sequence number of the next byte to take from the socket.
    rx_next: u32,
    /// Written by former owners, first to go to the socket.
    forward: VecDeque<Chunk>,
    forward_at: usize,
    /// Not consumed by former owners, first for the next one to read.
    back: Vec<u8>,
    back_at: usize,
    /// What was fed last goes on the wire apart from what follows.
    keep_apart: bool,
    /// No byte follows what the owners have written.
    tx_ended: bool,
    ending: Ending,
    fin_sent: bool,
    end_told: bool,
    established_told: bool,
    /// An owner waits for the connection to be there. The owner of one that is already
    /// there need not be woken for it.
    is_awaited: bool,
    unacknowledged: usize,
}

impl Connection {
    pub(crate) fn new(wire: Wire, tuple: Tuple, client: u16, phase: Phase, now: Instant) -> Self {
        Self {
            wire: Some(wire),
            tuple,
            client,
            owner: Owner::Client,
            phase,
            deadline: Instant::NEVER,
            deadline_told: false,
            last_progress: now,
            last_heard: now,
            since: now,
            armed: Instant::NEVER,
            is_touched: false,
            is_held: false,
            is_unresolved: false,
            peer: None,
            yields: None,
            hello: HelloScan::default(),
            readiness: Readiness::Ready,
            narrow: None,
            challenged: Challenged::default(),
            charged: 0,
            tx_next: 0,
            tx_fed: 0,
            tx_wire: 0,
            rx_next: 0,
            forward: VecDeque::new(),
            forward_at: 0,
            back: Vec::new(),
            back_at: 0,
            keep_apart: false,
            tx_ended: false,
            ending: Ending::Fin,
            fin_sent: false,
            end_told: false,
            established_told: false,
            is_awaited: phase == Phase::Opening,
            unacknowledged: 0,
        }
    }

    pub(crate) fn state(&mut self) -> State {
        self.wire
            .as_mut()
            .map_or(State::Closed, |wire| wire.socket().state())
    }

    /// Where the next owner would begin.
    pub(crate) fn position(&self) -> TcpPosition {
        let waiting = (self.back.len() - self.back_at) as u32;
        TcpPosition {
            tx_next: self.tx_next,
            rx_next: self.rx_next.wrapping_sub(waiting),
        }
    }

    /// The peer's SYN had this sequence number.
    pub(crate) fn note_peer_start(&mut self, sequence: u32) {
        self.rx_next = sequence.wrapping_add(1);
    }

    /// Sequence number of the next byte to take from the socket.
    pub(crate) fn rx_next(&self) -> u32 {
        self.rx_next
    }

    /// Learns from what smoltcp sent.
    pub(crate) fn note_sent(&mut self, sent: &Sent) {
        if let Some(syn) = sent.syn {
            // A repeated SYN has the same number, and nothing was fed before.
            let first = syn.wrapping_add(1);
            (self.tx_next, self.tx_fed, self.tx_wire) = (first, first, first);
        }
        if let Some(end) = sent.end
            && is_after(end, self.tx_wire)
        {
            self.tx_wire = end;
        }
    }

    /// Whether all bytes written to the socket have been on the wire.
    fn is_on_wire(&self) -> bool {
        !is_after(self.tx_fed, self.tx_wire)
    }

    // ---- towards the owner ----

    /// Moves bytes from the socket to the owner's ring, and tells the owner
    /// what became of the connection.
    pub(crate) fn pump_in(&mut self, port: &mut dyn Port, slot: SlotIndex) -> Result<(), Refused> {
        if !self.established_told && self.is_established() {
            self.established_told = true;
            port.set_status(slot, Status::ESTABLISHED);
            if mem::take(&mut self.is_awaited) {
                port.notify(slot);
            }
        }
        let mut waits = self.fill(port, slot)?;
        port.set_idle(slot, !waits);
        if waits {
            // The owner may have made room before it could know of this.
            waits = self.fill(port, slot)?;
            port.set_idle(slot, !waits);
        }
        Ok(())
    }

    /// Moves what the ring has room for; true if bytes are left.
    fn fill(&mut self, port: &mut dyn Port, slot: SlotIndex) -> Result<bool, Refused> {
        while let Some(rest) = self.back.get(self.back_at..).filter(|r| !r.is_empty()) {
            match port.write(slot, rest)? {
                0 => return Ok(true),
                written => self.back_at += written,
            }
        }
        self.back = Vec::new();
        self.back_at = 0;
        let Some(wire) = &mut self.wire else {
            return Ok(false);
        };
        loop {
            let moved = wire.socket().recv(|bytes| match port.write(slot, bytes) {
                Ok(count) => (count, Ok((count, bytes.len()))),
                Err(broken) => (0, Err(broken)),
            });
            match moved {
                Ok(moved) => match moved? {
                    (0, left) => return Ok(left > 0),
                    (count, _) => self.rx_next = self.rx_next.wrapping_add(count as u32),
                },
                Err(RecvError::Finished) => {
                    if !self.end_told {
                        self.end_told = true;
                        port.tell(slot, Status::END);
                    }
                    return Ok(false);
                }
                Err(RecvError::InvalidState) => return Ok(false),
            }
        }
    }

    fn is_established(&mut self) -> bool {
        !matches!(
            self.state(),
            State::Closed | State::Listen | State::SynSent | State::SynReceived
        )
    }

    /// Whether the owner knows that the peer ended its side in order.
    pub(crate) fn ended_cleanly(&self) -> bool {
        self.end_told && self.fin_sent
    }

    /// There is no reader any more: bytes of the peer are dropped, so that its FIN can
    /// come. Before a reset the FIN does not matter, and the window closes.
    pub(crate) fn drain(&mut self) {
        if self.ending == Ending::Fin
            && let Some(wire) = &mut self.wire
        {
            while let Ok(count) = wire.socket().recv(|bytes| (bytes.len(), bytes.len())) {
                if count == 0 {
                    return;
                }
                self.rx_next = self.rx_next.wrapping_add(count as u32);
            }
        }
    }

    // ---- from the owner ----

    /// Moves bytes from former owners and the owner's ring to the socket.
    /// True if more may follow once these are on the wire.
    pub(crate) fn feed(
        &mut self,
        port: Option<(&mut dyn Port, SlotIndex)>,
    ) -> Result<bool, Refused> {
        if !self.is_established() {
            return Ok(false);
        }
        if self.fin_sent {
            self.end();
            return Ok(false);
        }
        let is_drained = self.feed_forward();
        let mut is_empty = true;
        if let Some((port, slot)) = port {
            // Read before the bytes: with END set, none come after those
            // found.
            let status = port.peer_status(slot);
            if is_drained {
                is_empty = match self.owner {
                    Owner::Offload(_) => self.feed_segment(port, slot)?,
                    _ => self.feed_plain(port, slot)?,
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
    fn feed_plain(&mut self, port: &mut dyn Port, slot: SlotIndex) -> Result<bool, Refused> {
        loop {
            if port.readable(slot)? == 0 {
                return Ok(true);
            }
            if !self.may_feed(false) {
                return Ok(false);
            }
            let Some(wire) = &mut self.wire else {
                return Ok(false);
            };
            let moved = wire.socket().send(|room| match port.peek(slot, 0, room) {
                Ok(count) => (count, Ok(count)),
                Err(broken) => (0, Err(broken)),
            });
            let count = moved.unwrap_or(Ok(0))?;
            if count == 0 {
                return Ok(false);
            }
            port.consume(slot, count)?;
            self.tx_fed = self.tx_fed.wrapping_add(count as u32);
            self.tx_next = self.tx_next.wrapping_add(count as u32);
        }
    }

    /// One segment, if a whole one is there and there is room for it. True if
    /// the ring holds no whole segment.
    fn feed_segment(&mut self, port: &mut dyn Port, slot: SlotIndex) -> Result<bool, Refused> {
        let Some(length) = self.next_segment(port, slot)? else {
            return Ok(true);
        };
        if !self.may_feed(true) {
            return Ok(false);
        }
        let Some(wire) = &mut self.wire else {
            return Ok(false);
        };
        let socket = wire.socket();
        if length > socket.send_capacity() {
            return Err(Refused::Segment);
        }
        if length > socket.send_capacity() - socket.send_queue() {
            self.keep_apart = false;
            return Ok(false);
        }
        let mut done = 0;
        while done < length {
            let moved = socket.send(|room| {
                let most = room.len().min(length - done);
                let room = room.get_mut(..most).unwrap_or_default();
                match port.peek(slot, SegmentHeader::SIZE + done, room) {
                    Ok(count) => (count, Ok(count)),
                    Err(broken) => (0, Err(broken)),
                }
            });
            match moved.unwrap_or(Ok(0))? {
                0 => return Err(Refused::Index),
                count => done += count,
            }
        }
        port.consume(slot, SegmentHeader::SIZE + length)?;
        self.tx_fed = self.tx_fed.wrapping_add(length as u32);
        self.tx_next = self.tx_next.wrapping_add(length as u32);
        Ok(false)
    }

    /// Length of the whole segment that stands first in the ring (R8).
    fn next_segment(&self, port: &dyn Port, slot: SlotIndex) -> Result<Option<usize>, Refused> {
        let mut header = [0; SegmentHeader::SIZE];
        if port.peek(slot, 0, &mut header)? < SegmentHeader::SIZE {
            return Ok(None);
        }
        let header = SegmentHeader::from_bytes(header);
        let length = usize::from(header.length);
        let whole = SegmentHeader::SIZE + length;
        if header.sequence != self.tx_next || length == 0 || whole > port.rx_capacity() {
            return Err(Refused::Segment);
        }
        Ok((port.readable(slot)? >= whole).then_some(length))
    }

    /// Notes whether bytes moved or were acknowledged since the last look.
    pub(crate) fn note_progress(&mut self, before: (u32, u32), now: Instant) {
        let queued = self
            .wire
            .as_mut()
            .map_or(0, |wire| wire.socket().send_queue());
        if self.unacknowledged == 0 && queued > 0 {
            self.last_heard = now;
        }
        if before != self.moved() || queued != self.unacknowledged {
            self.unacknowledged = queued;
            self.last_progress = now;
        }
    }

    /// How long the peer has to answer a SYN.
    pub(crate) fn opening_until(&self) -> Instant {
        self.deadline.min(self.since + UNANSWERED)
    }

    /// When the peer is taken for gone.
    pub(crate) fn gone_at(&self) -> Instant {
        let idle = self.last_progress + IDLE;
        match self.unacknowledged {
            0 => idle,
            _ => idle.min(self.last_heard + UNANSWERED),
        }
    }

    /// How far both directions have come.
    pub(crate) fn moved(&self) -> (u32, u32) {
        (self.tx_fed, self.rx_next)
    }
}

//! One TCP connection: its socket, its owner, and the bytes between the two.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

mod inbound;
mod outbound;
mod overflow;
mod stand;

pub(crate) use stand::Hello;

use ipc::clock::Instant;
use ipc::net::{NetError, Owner, Readiness, TcpPosition};
use ipc::ring::Misbehaved;
use smoltcp::socket::tcp::State;
use tls::hello_scan::HelloScan;

use crate::admission::{LEAST_TAKEN, Peer};
use crate::config::{IDLE, UNANSWERED};
use crate::connections::Listed;
use crate::device::Sent;
use crate::guard::Challenged;
use crate::path::Narrow;
use crate::sequence::{Tuple, is_after};
use crate::sockets::Wire;
use crate::timers::Timer;

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
    pub(crate) timer: Timer,
    /// The lists that it is on.
    pub(crate) listed: Listed,
    /// It is its client's to give up, and counted.
    pub(crate) is_held: bool,
    /// Who its peer is to the listener that it came to.
    pub(crate) peer: Option<Peer>,
    /// How far its ClientHello is, where its listener waits for that.
    hello: HelloScan,
    /// How ready it was when it was offered to its client.
    pub(crate) readiness: Readiness,
    /// Its path, if that is narrower than the link.
    pub(crate) narrow: Option<Narrow>,
    pub(crate) challenged: Challenged,
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
    /// Bytes of the peer wait for room in the owner's ring.
    is_waiting: bool,
    /// An owner waits for the connection to be there. The owner of one that is already
    /// there need not be woken for it.
    is_awaited: bool,
    unacknowledged: usize,
    /// What the peer had acknowledged when it got on last.
    taken: u32,
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
            timer: Timer::unset(),
            listed: Listed::default(),
            is_held: false,
            peer: None,
            hello: HelloScan::default(),
            readiness: Readiness::Ready,
            narrow: None,
            challenged: Challenged::default(),
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
            is_waiting: false,
            is_awaited: phase == Phase::Opening,
            unacknowledged: 0,
            taken: 0,
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

    /// Whether it may go on to another owner for `client`: it must be that client's, under
    /// any present owner; one that has a handshake or a session does not get a second one.
    pub(crate) fn check_move(&self, client: u16, to: Owner) -> Result<(), NetError> {
        if self.client != client {
            return Err(NetError::Denied);
        }
        match (self.owner, to) {
            (_, Owner::Application { client: other, .. }) if other != client => {
                Err(NetError::Denied)
            }
            (Owner::Offload(_) | Owner::Record(_), Owner::Offload(_))
            | (Owner::Record(_), Owner::Record(_)) => Err(NetError::SlotInUse),
            _ => Ok(()),
        }
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

    fn is_established(&mut self) -> bool {
        !matches!(
            self.state(),
            State::Closed | State::Listen | State::SynSent | State::SynReceived
        )
    }

    /// Notes whether bytes moved or were acknowledged since the last look. Of one that
    /// lingers only what its peer takes counts, and only so much of it.
    pub(crate) fn note_progress(&mut self, before: (u32, u32), now: Instant) {
        let queued = self.queued();
        if self.unacknowledged == 0 && queued > 0 {
            self.last_heard = now;
        }
        let has_moved = match self.phase {
            Phase::Lingering(_) => self.acknowledged().wrapping_sub(self.taken) >= LEAST_TAKEN,
            _ => before != self.moved() || queued != self.unacknowledged,
        };
        self.unacknowledged = queued;
        if has_moved {
            self.get_on(now);
        }
    }

    /// From now on its peer's time counts.
    pub(crate) fn get_on(&mut self, now: Instant) {
        self.taken = self.acknowledged();
        self.last_progress = now;
    }

    /// Bytes with the socket that the peer has not acknowledged.
    fn queued(&mut self) -> usize {
        let wire = self.wire.as_mut();
        wire.map_or(0, |wire| wire.socket().send_queue())
    }

    /// Sequence number after the last byte that the peer has acknowledged.
    fn acknowledged(&mut self) -> u32 {
        let queued = self.queued();
        self.tx_fed.wrapping_sub(queued as u32)
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

//! A connection's position in the sequence space and in the list of those that may be
//! evicted.

use ipc::clock::Instant;
use ipc::net::{Owner, Readiness};
use smoltcp::socket::tcp::State;

use super::{Connection, Phase};
use crate::admission::Rank;
use crate::guard::{Stand, is_between};
use crate::parse::Segment;
use crate::path::{Narrow, TooBig};
use crate::sequence::is_after;

/// What there is of a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hello {
    /// The rest may come.
    Comes,
    /// The connection is as ready as this.
    Is(Readiness),
    /// The client closed it before it was established.
    Never,
}

impl Connection {
    /// What segments are judged by; `None` once TCP is done with.
    pub(crate) fn stand(&mut self) -> Option<Stand> {
        let socket = self.wire.as_mut()?.socket();
        let state = socket.state();
        let has_fin = matches!(
            state,
            State::CloseWait | State::LastAck | State::Closing | State::TimeWait
        );
        let fin_is_known = matches!(state, State::FinWait2 | State::TimeWait);
        let queued = self.rx_next.wrapping_add(socket.recv_queue() as u32);
        let unsent_fin = u32::from(self.fin_sent && self.tx_wire == self.tx_fed);
        let unacknowledged = match state {
            // The SYN is the only thing in flight; its number is one less than
            // that of the first byte, and the next one is what can follow.
            State::SynReceived => self.tx_fed,
            _ => self.tx_fed.wrapping_sub(socket.send_queue() as u32),
        };
        Some(Stand {
            state,
            expected: queued.wrapping_add(u32::from(has_fin)),
            window: self.rx_next.wrapping_add(socket.recv_capacity() as u32),
            unacknowledged: unacknowledged.wrapping_add(u32::from(fin_is_known)),
            sent: self.tx_wire.wrapping_add(unsent_fin),
            flight: socket.send_capacity() as u32,
        })
    }

    /// Accepts a router's claim that a segment of this connection was too big, if that
    /// segment is in flight; the path as it is from now on.
    pub(crate) fn believe(&mut self, word: &TooBig, link: u16, now: Instant) -> Option<u16> {
        let stand = self.stand()?;
        let current = self.limit(now).unwrap_or(link);
        is_between(stand.unacknowledged, word.sequence, self.tx_wire)
            .then(|| word.lowered(current))
            .flatten()
    }

    /// The path carries no more than `narrow` says.
    pub(crate) fn follow(&mut self, narrow: Narrow, now: Instant) {
        if self.limit(now).is_none_or(|known| narrow.limit <= known) {
            self.narrow = Some(narrow);
        }
    }

    /// Bytes of the largest packet that the path carries, where that is less than
    /// what the link does.
    pub(crate) fn limit(&self, now: Instant) -> Option<u16> {
        let narrow = self.narrow.filter(|narrow| now < narrow.until);
        narrow.map(|narrow| narrow.limit)
    }

    /// How far a connection is that is offered with its ClientHello. Nothing was read of
    /// it yet, so that the socket's buffer begins with its first byte.
    pub(crate) fn hello(&mut self) -> Hello {
        /// A sender does not send less than a segment into a window that is smaller: what
        /// has no room for one more is full.
        const SEGMENT: usize = 1460;
        let Some(wire) = &mut self.wire else {
            return Hello::Never;
        };
        let socket = wire.socket();
        let queued = socket.recv_queue();
        let has_ended = !matches!(socket.state(), State::Established);
        let is_full = queued + SEGMENT > socket.recv_capacity();
        let bytes = socket.peek(queued).unwrap_or_default();
        match self.hello.is_settled(bytes) {
            true => Hello::Is(Readiness::Ready),
            false if has_ended => Hello::Never,
            false if is_full => Hello::Is(Readiness::Long),
            false => Hello::Comes,
        }
    }

    /// Whether it only waits for stray segments.
    fn is_over(&mut self) -> bool {
        self.owner == Owner::Client && self.state() == State::TimeWait
    }

    /// Whether a SYN is newer than all of this connection, which is over.
    pub(crate) fn is_outdated(&mut self, syn: &Segment) -> bool {
        self.is_over() && is_after(syn.sequence, self.rx_next)
    }

    /// Whether the peer has not acknowledged all bytes.
    fn has_to_send(&mut self) -> bool {
        !self.forward.is_empty() || self.queued() > 0
    }

    /// Whether and when this connection may be evicted. One with an owner may not, nor
    /// one that waits for the gateway, which takes it soon.
    pub(crate) fn rank(&mut self) -> Option<(Rank, Instant)> {
        let is_over = self.is_over();
        match self.phase {
            _ if is_over => Some((Rank::Over, self.last_progress)),
            Phase::Lingering(_) => match self.has_to_send() {
                true => Some((Rank::Lingering, self.last_progress)),
                false => Some((Rank::Over, self.last_progress)),
            },
            Phase::HalfOpen => Some((Rank::HalfOpen, self.since)),
            Phase::Quiet(_) => Some((Rank::Quiet, self.since)),
            Phase::Waiting | Phase::Opening | Phase::Open => None,
        }
    }
}

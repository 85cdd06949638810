//! Where a connection stands in the sequence space and in the list of those that
//! may give way.

use ipc::clock::Instant;
use ipc::net::{Owner, Readiness};
use smoltcp::socket::tcp::State;

use super::{Connection, Phase};
use crate::admission::Rank;
use crate::guard::{Stand, is_between};
use crate::path::{Narrow, TooBig};

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

    /// Takes a router's word that a segment of this connection was too big, if
    /// that segment is in flight; the path as it is from now on.
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

    /// Whether nothing more has to come before this connection is offered to a client
    /// that waits for a ClientHello, and how ready it is then. Nothing was read of it
    /// yet, so that the socket's buffer begins with its first byte.
    pub(crate) fn readiness(&mut self) -> Option<Readiness> {
        let Some(wire) = &mut self.wire else {
            return Some(Readiness::Ready);
        };
        let socket = wire.socket();
        let queued = socket.recv_queue();
        let has_ended = !matches!(socket.state(), State::Established);
        let is_full = queued >= socket.recv_capacity();
        let bytes = socket.peek(queued).unwrap_or_default();
        if has_ended || self.hello.is_settled(bytes) {
            Some(Readiness::Ready)
        } else if is_full {
            Some(Readiness::Long)
        } else {
            None
        }
    }

    /// Whether and when this connection gives way to another. What somebody owns
    /// does not, nor what waits for the gateway, which takes it soon.
    pub(crate) fn rank(&mut self) -> Option<(Rank, Instant)> {
        let is_over = self.owner == Owner::Client && self.state() == State::TimeWait;
        match self.phase {
            _ if is_over => Some((Rank::Over, self.last_progress)),
            Phase::Lingering(_) => Some((Rank::Lingering, self.since)),
            Phase::HalfOpen | Phase::Quiet(_) => Some((Rank::HalfOpen, self.since)),
            Phase::Waiting | Phase::Opening | Phase::Open => None,
        }
    }
}

//! Directed handshakes: verdicts to the director, its segments to the offload component.

use director::{Advance, Outgoing};
use ipc::channel::{Doorbell, SlotIndex};
use ipc::clock::Clock;
use ipc::handshake::Directive;
use ipc::segment::Verdict;
use ipc::stats;
use ipc::transport::Transport;

use super::{INTERNAL, Server, Windows, id};
use crate::audit::{Line, Outcome};

impl<T, R, O, A, W, C> Server<'_, T, R, O, A, W, C>
where
    T: Transport,
    R: Transport,
    O: Doorbell,
    A: Doorbell,
    W: Windows,
    C: Clock,
{
    /// The next step of a directed handshake.
    pub(super) fn direct(&mut self, slot: SlotIndex, generation: u16, verdict: &Verdict) {
        let Some(advance) = self.director.advance(slot, generation, verdict) else {
            return;
        };
        if advance.refused.is_some() {
            self.stats.add(stats::shim::REFUSED, 1);
        }
        self.write_audit(slot, generation, verdict, &advance);
        if let Some(turn) = advance.turn {
            self.send_segment(turn);
        }
        if let Some(segment) = advance.segment {
            self.send_segment(Outgoing {
                slot,
                generation,
                segment,
            });
        }
    }

    /// A handshake is over; the director forgets it, if it was a directed one.
    pub(super) fn end_directed(&mut self, slot: SlotIndex, generation: u16) {
        if let Some(turn) = self.director.end(slot, generation) {
            self.send_segment(turn);
        }
    }

    fn write_audit(
        &mut self,
        slot: SlotIndex,
        generation: u16,
        verdict: &Verdict,
        advance: &Advance,
    ) {
        let client = match self.handshakes.find(slot, generation) {
            Some(handshake) => handshake.client,
            None => return,
        };
        if !self.rights.audits(client) {
            return;
        }
        let (at, handshake) = (self.clock.now(), id(slot, generation));
        (self.audit)(&Line {
            at,
            handshake,
            segment: advance.answered,
            outcome: Outcome::Verdict(verdict),
        });
        if let Some((segment, rule)) = advance.refused {
            (self.audit)(&Line {
                at,
                handshake,
                segment,
                outcome: Outcome::Policy(rule),
            });
        }
    }

    fn send_segment(&mut self, outgoing: Outgoing) {
        let Outgoing {
            slot,
            generation,
            segment,
        } = outgoing;
        let directive = Directive::Segment {
            slot,
            generation,
            segment,
        };
        if self.offload.send(&directive).is_err() {
            // One is outstanding at a time: this is no honest offload component.
            self.send_cancel(slot, generation);
            self.failed(slot, generation, INTERNAL);
        }
    }
}

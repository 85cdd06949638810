//! Directed handshakes: verdicts in, segments out.

use ipc::channel::{Doorbell, SlotIndex};
use ipc::clock::Clock;
use ipc::handshake::Directive;
use ipc::segment::{Segment, Verdict};
use ipc::stats;
use ipc::transport::Transport;

use super::{INTERNAL, MAX_COLLECTING, Server, Windows, id};
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
        let Some(handshake) = self.handshakes.find(slot, generation) else {
            return;
        };
        let Some(directed) = handshake.directed.as_mut() else {
            return;
        };
        let audits = self.rights.audits(handshake.client);
        if audits {
            (self.audit)(&Line {
                at: self.clock.now(),
                handshake: id(slot, generation),
                segment: directed.under_way(),
                outcome: Outcome::Verdict(verdict),
            });
        }
        let (segment, refused) = directed.advance(verdict);
        if let Some((segment, rule)) = refused {
            self.stats.add(stats::shim::REFUSED, 1);
            if audits {
                (self.audit)(&Line {
                    at: self.clock.now(),
                    handshake: id(slot, generation),
                    segment,
                    outcome: Outcome::Policy(rule),
                });
            }
        }
        if matches!(segment, Segment::Show { .. }) {
            return self.collect_part(slot, generation, segment);
        }
        self.stop_collecting(slot, generation);
        self.send_segment(slot, generation, segment);
    }

    /// A handshake wants the next part of a long message. A few collect at the same
    /// time; the others wait for their turn with the first part.
    fn collect_part(&mut self, slot: SlotIndex, generation: u16, segment: Segment) {
        let Some(handshake) = self.handshakes.find(slot, generation) else {
            return;
        };
        if !handshake.is_collecting {
            if self.collecting == MAX_COLLECTING {
                self.to_collect.push_back((slot, generation));
                return;
            }
            handshake.is_collecting = true;
            self.collecting += 1;
        }
        self.send_segment(slot, generation, segment);
    }

    /// The message is whole, or no longer wanted: the next may collect.
    pub(super) fn stop_collecting(&mut self, slot: SlotIndex, generation: u16) {
        let Some(handshake) = self.handshakes.find(slot, generation) else {
            return;
        };
        if !core::mem::replace(&mut handshake.is_collecting, false) {
            return;
        }
        self.collecting -= 1;
        while let Some((slot, generation)) = self.to_collect.pop_front() {
            let waiting = self.handshakes.find(slot, generation);
            let next = waiting.and_then(|h| Some(h.directed.as_ref()?.next_part()));
            if let Some(segment) = next {
                return self.collect_part(slot, generation, segment);
            }
        }
    }

    fn send_segment(&mut self, slot: SlotIndex, generation: u16, segment: Segment) {
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

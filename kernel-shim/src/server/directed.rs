//! Directed handshakes: verdicts in, segments out.

use ipc::channel::{Doorbell, SlotIndex};
use ipc::clock::Clock;
use ipc::handshake::Directive;
use ipc::segment::{Segment, Verdict};
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
        self.send_segment(slot, generation, segment);
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

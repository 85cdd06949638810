//! Orders and verdicts in, segments out.

use ipc::channel::{Doorbell, untaken};
use ipc::clock::Clock;
use ipc::control::HandshakeId;
use ipc::director::{DirectedSegment, DirectedVerdict, Order, OrderInbox, SegmentQueue};
use ipc::segment::Verdict;
use ipc::stats;

use crate::audit::{Audit, Line, Outcome};
use crate::director::{Advance, Director};

/// The capabilities of the director.
pub struct Ports<'a, S, O> {
    /// Orders of the shim.
    pub shim: OrderInbox<S>,
    /// Segments out, verdicts in; as many slots.
    pub offload: SegmentQueue<O>,
    /// Handshake slots.
    pub slots: u16,
    /// Takes a line for each segment of the handshakes that are audited.
    pub audit: Audit,
    /// Bytes of heap in use.
    pub heap_used: fn() -> usize,
    /// Counters.
    pub stats: &'a stats::Page,
}

/// Verdicts that are dealt with in one turn.
const VERDICTS_A_TURN: usize = 16;

/// The director.
pub struct Server<'a, S, O, C> {
    shim: OrderInbox<S>,
    offload: SegmentQueue<O>,
    director: Director,
    audit: Audit,
    heap_used: fn() -> usize,
    stats: &'a stats::Page,
    clock: C,
}

impl<'a, S: Doorbell, O: Doorbell, C: Clock> Server<'a, S, O, C> {
    /// A director without handshakes.
    pub fn new(ports: Ports<'a, S, O>, clock: C) -> Self {
        Self {
            shim: ports.shim,
            offload: ports.offload,
            director: Director::new(ports.slots),
            audit: ports.audit,
            heap_used: ports.heap_used,
            stats: ports.stats,
            clock,
        }
    }

    /// Does one turn of what there is to do; call it at each wake-up. True if there is
    /// more: have another turn.
    pub fn run(&mut self) -> bool {
        self.stats.add(stats::director::WAKEUPS, 1);
        // All of them, first: a handshake is known before a verdict on it comes.
        while let Some(order) = self.shim.receive() {
            // What is none costs its own handshake; the deadline ends that.
            if let Ok(order) = order {
                self.obey(order);
            }
        }
        let mut left = VERDICTS_A_TURN;
        while left > 0
            && let Some(verdict) = self.offload.receive()
        {
            left -= 1;
            if let Ok(verdict) = verdict {
                self.direct(&verdict);
            }
        }
        let heap = (self.heap_used)() as u64;
        self.stats.set(stats::director::HEAP, heap);
        self.offload.flush();
        left == 0
    }

    /// Names the oldest event of its queues that was not taken, as [`untaken`] does.
    pub fn untaken(&self) -> u64 {
        untaken([self.shim.oldest_event(), self.offload.oldest_event()])
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Begin {
                slot,
                generation,
                role,
                parameters,
                refused,
                is_audited,
            } => self
                .director
                .begin(slot, generation, role, parameters, refused, is_audited),
            Order::End { slot, generation } => {
                if let Some(turn) = self.director.end(slot, generation) {
                    self.send(&turn);
                }
            }
        }
    }

    /// The next step of a handshake; a verdict on one that is over is dropped.
    fn direct(&mut self, verdict: &DirectedVerdict) {
        let DirectedVerdict {
            slot,
            generation,
            verdict,
        } = verdict;
        let (slot, generation) = (*slot, *generation);
        let Some(advance) = self.director.advance(slot, generation, verdict) else {
            return;
        };
        if advance.refused.is_some() {
            self.stats.add(stats::director::REFUSED, 1);
        }
        if advance.is_audited {
            self.write_audit(HandshakeId::new(slot, generation), verdict, &advance);
        }
        if let Some(turn) = advance.turn {
            self.send(&turn);
        }
        if let Some(segment) = advance.segment {
            self.send(&DirectedSegment {
                slot,
                generation,
                segment,
            });
        }
    }

    fn write_audit(&self, handshake: HandshakeId, verdict: &Verdict, advance: &Advance) {
        let at = self.clock.now();
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

    fn send(&mut self, segment: &DirectedSegment) {
        self.stats.add(stats::director::SEGMENTS, 1);
        // One is outstanding at a time: an offload component without room for it is no
        // honest one, and the shim's deadline ends the handshake.
        self.offload.send(segment).ok();
    }
}

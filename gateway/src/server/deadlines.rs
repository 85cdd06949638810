//! Deadlines: the gateway keeps those of all that it holds, even if another domain keeps
//! them too. All of them are checked together, a few times a second at most, and not at
//! all while none is near.

use ipc::channel::SlotIndex;
use ipc::clock::Instant;
use ipc::control::{self, HandshakeId};
use ipc::stats;

use super::{GRACE, LOOK_PAUSE, Platform, Purpose, Server, Use, milliseconds};
use crate::relay::{Far, Page, Relay, RelayId};
use crate::report::{Ending, Side, Why};
use crate::turned_away::Reason;
use crate::waiting::{ASK_AGAIN, Line};

impl<P: Platform> Server<'_, P> {
    /// Looks at every deadline.
    pub(super) fn look(&mut self) {
        // What is due is closed and has none; the others say when to check next.
        self.look_at = Instant::NEVER;
        self.look_at_waiting();
        self.look_at_handshakes();
        self.look_at_peeks();
        self.look_at_relays();
        self.look_at = self.look_at.max(self.now + LOOK_PAUSE);
    }

    fn look_at_waiting(&mut self) {
        for line in Line::ALL {
            let mut place = 0;
            while let Some(arrived) = self.waiting.line(line).get(place).copied() {
                let until = self.handshake_ends(Purpose::Client(arrived));
                if self.now >= until {
                    self.waiting.remove(line, place);
                    self.dismiss_for(arrived, Reason::Waiting);
                } else {
                    self.watch(until);
                    place += 1;
                }
            }
        }
        let mut place = 0;
        while let Some(secure) = self.waiting.backends().get(place).copied() {
            let until = self.handshake_ends(Purpose::Backend(secure));
            if self.now >= until {
                // It takes itself off the queue.
                self.backend_failed(secure.relay, Why::Room);
            } else {
                self.watch(until);
                place += 1;
            }
        }
        if !self.waiting.is_empty() {
            self.start_waiting();
            self.make_way_again();
            self.watch(self.now + ASK_AGAIN);
        }
    }

    /// Cancels overdue handshakes; retries when that fails.
    fn look_at_handshakes(&mut self) {
        let now = self.now;
        let mut next = Instant::NEVER;
        for place in 0..self.handshakes.len() {
            let Some((number, progress)) = self.handshakes.at(place) else {
                break;
            };
            if now >= progress.cancel_at {
                progress.cancel_at = now + GRACE;
                let cancel = control::Request::Cancel(HandshakeId(number));
                let _ = self.ports.shim.call(&cancel);
                self.ports.stats.add(stats::gateway::OVERDUE, 1);
            }
            next = next.min(progress.cancel_at);
        }
        self.watch(next);
    }

    fn look_at_peeks(&mut self) {
        for slot in 0..self.connections.len() {
            let Some(Use::Peeking(arrived, until)) = self.connections.get(slot).copied() else {
                continue;
            };
            if self.now < until {
                self.watch(until);
                continue;
            }
            self.report_without_hello(arrived, Reason::Late);
            // No channel has more slots than that counts.
            let slot = SlotIndex::try_from(slot).unwrap_or(SlotIndex::MAX);
            self.end_peek(arrived, slot);
        }
    }

    fn look_at_relays(&mut self) {
        for place in 0..self.relays.size() {
            let Some((id, relay)) = self.relays.at(place) else {
                continue;
            };
            let deadline = self.deadline(relay);
            match self.now >= deadline {
                true => self.relay_is_late(id),
                false => self.watch(deadline),
            }
        }
    }

    /// When a relay must have got further, or be over.
    fn deadline(&self, relay: &Relay) -> Instant {
        let idle = milliseconds(self.timeouts(relay.listener).idle_ms);
        match relay.far {
            Far::Open { .. } => relay.until.min(relay.progress + idle),
            _ => relay.until,
        }
    }

    fn relay_is_late(&mut self, id: RelayId) {
        let Some(relay) = self.relays.get(id) else {
            return;
        };
        let is_idle = self.now < relay.until;
        match relay.far {
            Far::Page(Page::Asking(_)) => self.request_is_late(id),
            Far::Opening { .. } => self.backend_failed(id, Why::Unanswered),
            Far::Open { is_established, .. } => {
                if !is_idle && !is_established {
                    return self.backend_failed(id, Why::Unanswered);
                }
                let why = if is_idle {
                    self.ports.stats.add(stats::gateway::IDLE, 1);
                    Why::Idle
                } else {
                    Why::Linger
                };
                self.cut_off(
                    id,
                    Ending {
                        by: Side::Gateway,
                        why,
                    },
                );
            }
            _ => self.cut_off(
                id,
                Ending {
                    by: Side::Gateway,
                    why: Why::Request,
                },
            ),
        }
    }
}

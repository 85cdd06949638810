//! Plaintext between the two ends of a relay.
//!
//! When one end is cut off, all that it sent before still goes to the other, and only
//! then is the other cut off too: it gets all there was, and never mistakes a truncated
//! stream for a complete one.

use ipc::channel::Status;
use ipc::clock::Instant;
use ipc::ring::Misbehaved;
use ipc::stats;

use super::{Platform, Server, milliseconds};
use crate::forward::splice;
use crate::relay::{End, Far, Flow, Relay, RelayId, Wires};
use crate::report::{Ending, Side, Why};

/// What becomes of a relay.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It goes on when something happens.
    Waits,
    /// It has more to do at once.
    HasMore,
    /// It is over.
    Ends,
}

impl<P: Platform> Server<'_, P> {
    /// Moves what can be moved, and ends the relay when both directions are
    /// through.
    pub(super) fn pump(&mut self, id: RelayId) {
        let Some(mut relay) = self.relays.take(id) else {
            return;
        };
        if let Far::Opening { connection, slot } = relay.far {
            let status = self
                .wires()
                .peer_status(End::Connection { connection, slot });
            if status.has(Status::ESTABLISHED) {
                self.backends.answered(relay.listener);
                self.relays.put(id, relay);
                return self.secure(id, connection, slot);
            }
            if status.has(Status::RESET) {
                self.relays.put(id, relay);
                return self.backend_failed(id, unreached(status));
            }
        }
        if relay.ending.is_none() && is_displaced(self.wires().peer_status(relay.near)) {
            relay.note_ending(Side::Gateway, Why::Displaced);
            // Others go first when it comes again.
            self.guests.note_failure(relay.guest, self.now);
        }
        let next = match &relay.far {
            Far::Open { .. } => self.pump_backend(&mut relay).unwrap_or_else(|Misbehaved| {
                relay.note_ending(Side::Gateway, Why::Misbehaved);
                Next::Ends
            }),
            Far::Page(_) => self.pump_page(id, &mut relay),
            // What the client sends meanwhile waits in its ring.
            Far::Opening { .. } | Far::Waiting | Far::Securing(_) => {
                match self.wires().peer_status(relay.near).has(Status::RESET) {
                    true => {
                        relay.note_ending(Side::Client, Why::Reset);
                        Next::Ends
                    }
                    false => Next::Waits,
                }
            }
        };
        if next == Next::Ends {
            return self.end(id, relay);
        }
        if next == Next::HasMore && !relay.is_due {
            relay.is_due = true;
            self.due.push_back(id);
        }
        self.relays.put(id, relay);
    }

    /// # Errors
    /// A ring whose other side lies: the relay is over.
    fn pump_backend(&mut self, relay: &mut Relay) -> Result<Next, Misbehaved> {
        let Far::Open {
            end: far,
            is_established,
        } = &mut relay.far
        else {
            return Ok(Next::Ends);
        };
        let (near, far) = (relay.near, *far);
        let stats = self.ports.stats;
        let mut wires = Wires {
            sessions: &mut self.ports.plain,
            connections: &mut self.ports.backend,
        };
        // Before the bytes, as in `splice`.
        let (of_near, of_far) = (wires.peer_status(near), wires.peer_status(far));
        if of_far.has(Status::RESET) && !*is_established && !of_far.has(Status::ESTABLISHED) {
            let (by, why) = (Side::Backend, unreached(of_far));
            relay.ending.get_or_insert(Ending { by, why });
            // Once.
            if relay.is_opening {
                stats.add(stats::gateway::BACKEND_FAILED, 1);
                self.backends.failed(relay.listener, why, self.now);
                self.backends.end(relay.listener, &mut relay.is_opening);
            }
        }
        if !*is_established && of_far.has(Status::ESTABLISHED) {
            *is_established = true;
            relay.until = Instant::NEVER;
            self.backends.answered(relay.listener);
            self.backends.end(relay.listener, &mut relay.is_opening);
        }
        if *is_established && is_displaced(of_far) {
            relay.ending.get_or_insert(Ending {
                by: Side::Gateway,
                why: Why::Displaced,
            });
        }
        let mut has_more = false;
        if relay.up == Flow::Open {
            if of_far.has(Status::RESET) {
                // There is no reader for it.
                relay.up = Flow::Cut;
                relay.note_flow(Side::Backend, Flow::Cut);
            } else {
                let moved = splice(&mut wires, near, far, &mut self.buffer)?;
                stats.add(stats::gateway::BYTES_UP, moved.count as u64);
                relay.up = moved.flow;
                relay.note_flow(Side::Client, moved.flow);
                relay.bytes.0 += moved.count as u64;
                has_more |= moved.has_more;
                if moved.count > 0 {
                    relay.has_spoken = true;
                    relay.progress = self.now;
                }
            }
        }
        if relay.down == Flow::Open {
            if of_near.has(Status::RESET) {
                relay.down = Flow::Cut;
                relay.note_flow(Side::Client, Flow::Cut);
            } else {
                let moved = splice(&mut wires, far, near, &mut self.buffer)?;
                stats.add(stats::gateway::BYTES_DOWN, moved.count as u64);
                relay.down = moved.flow;
                relay.note_flow(Side::Backend, moved.flow);
                relay.bytes.1 += moved.count as u64;
                has_more |= moved.has_more;
                if moved.count > 0 {
                    relay.progress = self.now;
                }
            }
        }
        if has_more {
            return Ok(Next::HasMore);
        }
        let near_is_out =
            of_near.has(Status::RESET) || relay.down != Flow::Open && wires.unread(near)? == 0;
        let far_is_out =
            of_far.has(Status::RESET) || relay.up != Flow::Open && wires.unread(far)? == 0;
        if near_is_out && far_is_out {
            return Ok(Next::Ends);
        }
        if relay.is_cut() {
            // What is left in the rings goes out, but not for ever.
            let linger = milliseconds(self.timeouts(relay.listener).linger_ms);
            relay.until = relay.until.min(self.now + linger);
            self.watch(relay.until);
        }
        Ok(Next::Waits)
    }
}

/// Why there is no connection to a backend: the network stack tells of the deadline before
/// it cuts a connection off that was not answered by then.
const fn unreached(status: Status) -> Why {
    match status.has(Status::DEADLINE) {
        true => Why::Unanswered,
        false => Why::Refused,
    }
}

/// Whether the record layer has ended a session for others: the rest of its record did not
/// come, and they wait for the memory that it holds.
const fn is_displaced(status: Status) -> bool {
    status.has(Status::RESET | Status::DEADLINE)
}

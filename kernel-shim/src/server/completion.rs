//! How a handshake ends: a completion, or a deadline that no other domain kept.

use alloc::boxed::Box;

use ipc::badge::Badge;
use ipc::channel::{Doorbell, SlotIndex};
use ipc::clock::{Clock, Instant};
use ipc::control::{Established, HandshakeError, PeerError, PolicyError, SessionId, SessionResult};
use ipc::director::Order;
use ipc::handshake::Completion;
use ipc::net::{NetError, Owner};
use ipc::stats;
use ipc::transport::Transport;

use super::{INTERNAL, RESULT_LIFETIME, Server, Windows};

impl<T: Transport, R: Transport, O: Doorbell, A: Doorbell, W: Windows, C: Clock>
    Server<'_, T, R, O, A, W, C>
{
    /// Takes one completion. One for a handshake that is over or was never requested is
    /// ignored.
    pub(super) fn complete(&mut self, completion: Completion) {
        match completion {
            Completion::Established {
                slot,
                generation,
                established,
            } => {
                if self.settle(slot, generation) {
                    self.established(slot, generation, established);
                }
            }
            Completion::Failed {
                slot,
                generation,
                error,
            } => {
                if self.settle(slot, generation) {
                    self.failed(slot, generation, error);
                }
            }
        }
    }

    /// The offload component owes nothing more for this handshake. True if its client
    /// waits for the outcome.
    fn settle(&mut self, slot: SlotIndex, generation: u16) -> bool {
        let Some(handshake) = self.handshakes.find(slot, generation) else {
            return false;
        };
        if !core::mem::replace(&mut handshake.is_owed, false) {
            return false;
        }
        if handshake.outcome.is_none() && !handshake.is_collected {
            return true;
        }
        // It was cancelled here; its session's slot was held back.
        let (session, session_generation) = (handshake.session, handshake.session_generation);
        self.sessions.remove(session, session_generation);
        self.free_if_done(slot, generation);
        self.count_tables();
        false
    }

    fn established(&mut self, slot: SlotIndex, generation: u16, established: Box<Established>) {
        let Some(handshake) = self.handshakes.find(slot, generation) else {
            return;
        };
        let (connection, client) = (handshake.connection, handshake.client);
        let (session, session_generation) = (handshake.session, handshake.session_generation);
        // All wake-ups since the start but this one.
        let shim_wakeups = self.wakeups - handshake.wakeups - 1;
        let started = handshake.started;
        let moved = self.move_connection(
            connection,
            client,
            Owner::Record(session),
            Instant::NEVER,
            Some(established.tcp.tx_next),
        );
        let tcp = match moved {
            Ok(tcp) if tcp == established.tcp => tcp,
            // Gone in the last moment, or not where it should be.
            Ok(_) | Err(NetError::WrongSequence) => {
                return self.failed(slot, generation, INTERNAL);
            }
            Err(_) => {
                let closed = HandshakeError::Peer(PeerError::Closed);
                return self.failed(slot, generation, closed);
            }
        };
        let badge = Badge::Session {
            slot: session,
            generation: session_generation,
        };
        let own = self.own_number(client, session);
        self.windows.grant_session(client, own, badge);
        let result = SessionResult {
            session: SessionId(self.next_session),
            slot: own,
            established,
            shim_wakeups: u32::try_from(shim_wakeups).unwrap_or(u32::MAX),
            tcp,
            started,
            completed: self.clock.now(),
        };
        self.next_session += 1;
        self.finish(slot, generation, Ok(result));
    }

    /// There will be no session.
    pub(super) fn failed(&mut self, slot: SlotIndex, generation: u16, error: HandshakeError) {
        let Some(handshake) = self.handshakes.find(slot, generation) else {
            return;
        };
        if handshake.outcome.is_some() {
            return;
        }
        let (connection, is_owed) = (handshake.connection, handshake.is_owed);
        let (session, session_generation) = (handshake.session, handshake.session_generation);
        self.release(connection);
        self.close_session_slot(session, session_generation);
        if !is_owed {
            self.sessions.remove(session, session_generation);
        }
        self.finish(slot, generation, Err(error));
    }

    /// Keeps the outcome for the client, and tells it.
    fn finish(
        &mut self,
        slot: SlotIndex,
        generation: u16,
        outcome: Result<SessionResult, HandshakeError>,
    ) {
        let until = self.clock.now() + RESULT_LIFETIME;
        if let Some(handshake) = self.handshakes.find(slot, generation) {
            if matches!(outcome, Err(HandshakeError::Policy(PolicyError::Step))) {
                self.stats.add(stats::shim::REFUSED, 1);
            }
            if handshake.is_directed {
                let end = Order::End { slot, generation };
                // Its mailbox has room for one; a director that does not take its orders
                // drives nothing either.
                self.director.send(&end).ok();
            }
            handshake.outcome = Some(outcome);
            handshake.until = until;
            let client = handshake.client;
            self.over.push_back((slot, generation));
            self.earliest = self.earliest.min(until);
            let mut subscribers = self.subscribers.iter();
            if let Some(subscriber) = subscribers.find(|subscriber| subscriber.client == client)
                && subscriber.is_subscribed
            {
                subscriber.bell.ring();
            }
        }
        self.count_tables();
    }

    // ---- what is overdue ----

    /// Ends handshakes whose deadline no other domain kept, and drops uncollected
    /// results.
    pub(super) fn give_up_overdue(&mut self, now: Instant) {
        self.earliest = Instant::NEVER;
        for (slot, generation) in self.handshakes.names() {
            let Some(handshake) = self.handshakes.find(slot, generation) else {
                continue;
            };
            match &handshake.outcome {
                _ if handshake.until > now => {
                    self.earliest = self.earliest.min(handshake.until);
                }
                _ if handshake.is_collected => {}
                None => {
                    self.send_cancel(slot, generation);
                    let error = HandshakeError::Peer(PeerError::Deadline);
                    self.failed(slot, generation, error);
                }
                Some(_) => self.drop_result(slot, generation),
            }
        }
    }

    /// This result is not wanted: its session is closed.
    pub(super) fn drop_result(&mut self, slot: SlotIndex, generation: u16) {
        let Some(handshake) = self.handshakes.find(slot, generation) else {
            return;
        };
        let is_established = matches!(handshake.outcome, Some(Ok(_)));
        let (session, session_generation) = (handshake.session, handshake.session_generation);
        if is_established {
            self.close_session(session, session_generation);
        }
        let _ = self.take_outcome(slot, generation);
        self.over.retain(|over| *over != (slot, generation));
        self.count_tables();
    }
}

//! How a handshake ends: a completion, or a deadline that no other domain kept.

use alloc::boxed::Box;

use ipc::channel::Doorbell;
use ipc::clock::{Clock, Instant};
use ipc::control::{Established, HandshakeError, PeerError, PolicyError, SessionId, SessionResult};
use ipc::net::{self, NetError, Owner};
use ipc::stats;
use ipc::transport::Transport;

use super::sessions::session_badge;
use super::{Failure, INTERNAL, RESULT_LIFETIME, Server, Windows};
use crate::table::Name;

impl<T: Transport, R: Transport, O: Doorbell, A: Doorbell, W: Windows, C: Clock>
    Server<'_, T, R, O, A, W, C>
{
    /// The offload component owes nothing more for this handshake. What it says of one
    /// that is over or was never requested is ignored.
    pub(super) fn complete(&mut self, name: Name, outcome: Result<Box<Established>, Failure>) {
        let Some(handshake) = self.handshakes.find(name) else {
            return;
        };
        if !core::mem::replace(&mut handshake.is_owed, false) {
            return;
        }
        if handshake.outcome.is_some() || handshake.is_collected {
            // It was cancelled here; its session's slot was held back.
            let session = handshake.session;
            self.sessions.remove(session);
            self.free_if_done(name);
            return;
        }
        match outcome {
            Ok(established) => self.established(name, established),
            Err(failure) => self.failed(name, failure),
        }
    }

    fn established(&mut self, name: Name, established: Box<Established>) {
        let Some(handshake) = self.handshakes.find(name) else {
            return;
        };
        let (client, session, started) = (handshake.client, handshake.session, handshake.started);
        // All wake-ups since the start but this one.
        let shim_wakeups = self.wakeups - handshake.wakeups - 1;
        let to_record = net::Request::Move {
            connection: handshake.connection,
            client,
            to: Owner::Record(session.slot),
            deadline: Instant::NEVER,
            expected_tx_next: Some(established.tcp.tx_next),
        };
        let tcp = match self.move_connection(&to_record) {
            Ok(tcp) if tcp == established.tcp => tcp,
            // Not where it should be, or gone in the last moment.
            Ok(_) | Err(NetError::WrongSequence) => return self.failed(name, INTERNAL),
            Err(_) => return self.failed(name, HandshakeError::Peer(PeerError::Closed)),
        };
        let slot = self.own_number(client, session.slot);
        let badge = session_badge(session);
        self.ports.windows.grant_session(client, slot, badge);
        let result = SessionResult {
            session: SessionId(self.next_session),
            slot,
            established,
            shim_wakeups: u32::try_from(shim_wakeups).unwrap_or(u32::MAX),
            tcp,
            started,
            completed: self.clock.now(),
        };
        self.next_session += 1;
        self.finish(name, Ok(result));
    }

    /// There will be no session.
    pub(super) fn failed(&mut self, name: Name, failure: impl Into<Failure>) {
        let handshake = self.handshakes.find(name);
        let Some(handshake) = handshake.filter(|handshake| handshake.outcome.is_none()) else {
            return;
        };
        let failure = failure.into();
        let (connection, session) = (handshake.connection, handshake.session);
        let is_owed = handshake.is_owed;
        self.release(connection);
        self.close_session_slot(session);
        if !is_owed {
            self.sessions.remove(session);
        }
        if matches!(failure.error, HandshakeError::Policy(PolicyError::Step)) {
            self.ports.stats.add(stats::shim::REFUSED, 1);
        }
        self.finish(name, Err(failure));
    }

    /// Keeps the outcome for the client, and tells it.
    fn finish(&mut self, name: Name, outcome: Result<SessionResult, Failure>) {
        let until = self.clock.now() + RESULT_LIFETIME;
        let Some(handshake) = self.handshakes.find(name) else {
            return;
        };
        handshake.outcome = Some(outcome);
        handshake.until = until;
        let (client, is_directed) = (handshake.client, handshake.is_directed);
        if is_directed {
            self.end_directed(name);
        }
        self.over.push_back(name);
        self.earliest = self.earliest.min(until);
        let mut applications = self.ports.applications.iter().zip(&self.subscribed);
        if let Some((application, true)) = applications.find(|(of, _)| of.client == client) {
            application.bell.ring();
        }
    }

    // ---- what is overdue ----

    /// Ends handshakes whose deadline no other domain kept, and drops uncollected
    /// results.
    pub(super) fn give_up_overdue(&mut self, now: Instant) {
        self.earliest = Instant::NEVER;
        for name in self.handshakes.names() {
            let Some(handshake) = self.handshakes.find(name) else {
                continue;
            };
            match &handshake.outcome {
                _ if handshake.until > now => {
                    self.earliest = self.earliest.min(handshake.until);
                }
                _ if handshake.is_collected => {}
                None => {
                    self.send_cancel(name);
                    self.failed(name, HandshakeError::Peer(PeerError::Deadline));
                }
                Some(_) => self.drop_result(name),
            }
        }
    }

    /// This result is not wanted: its session is closed.
    pub(super) fn drop_result(&mut self, name: Name) {
        let Some(handshake) = self.handshakes.find(name) else {
            return;
        };
        let session = handshake.session;
        if matches!(handshake.outcome, Some(Ok(_))) {
            self.close_session(session);
        }
        let _ = self.take_outcome(name);
        self.over.retain(|over| *over != name);
    }
}

//! What the log says of handshakes.

use ipc::control::{HandshakeError, SessionResult};
use ipc::net::Address;
use ipc::stats;

use super::{Arrived, Platform, Purpose, Secure, Server};
use crate::report::{Failure, Success};
use crate::turned_away::Reason;

impl<P: Platform> Server<'_, P> {
    /// A handshake came to nothing.
    pub(super) fn report_failure(&mut self, purpose: Purpose, error: HandshakeError) {
        self.ports.stats.add(stats::gateway::FAILED, 1);
        let Some((listener, remote)) = self.parties(purpose) else {
            return;
        };
        let Some(untold) = self.log_rate.failure(listener, self.now) else {
            return;
        };
        let listener = self.listeners.get(listener).map_or("", |l| &l.name);
        let failure = Failure {
            listener,
            remote,
            error,
        };
        (self.ports.log)(format_args!("{failure}{untold}"));
    }

    /// A client without a whole hello is a failure, without a request to the shim. Many
    /// of them cost one line a second.
    pub(super) fn report_without_hello(&mut self, arrived: Arrived, reason: Reason) {
        self.ports.stats.add(stats::gateway::FAILED, 1);
        // Who leaves in order costs nothing: a check of health, a connection in advance.
        if reason == Reason::Late {
            self.guests.note_failure(arrived.guest, self.now);
        }
        self.turn_away(arrived.listener, reason, arrived.remote);
    }

    /// The listener and the peer of a handshake.
    fn parties(&self, purpose: Purpose) -> Option<(usize, Address)> {
        match purpose {
            Purpose::Client(arrived) => Some((arrived.listener, arrived.remote)),
            Purpose::Backend(Secure { relay, .. }) => {
                let listener = self.relays.get(relay)?.listener;
                Some((listener, self.upstream(relay)?.address))
            }
        }
    }

    /// A handshake led to a session.
    pub(super) fn report_success(&mut self, purpose: Purpose, result: &SessionResult) {
        let Some(untold) = self.log_rate.session(self.now) else {
            return;
        };
        let Some((tls, (listener, remote))) = self.tls(purpose).zip(self.parties(purpose)) else {
            return;
        };
        let success = Success {
            listener: self.listeners.get(listener).map_or("", |l| &l.name),
            remote,
            mode: tls.mode,
            role: tls.role,
            result,
        };
        (self.ports.log)(format_args!("{success}{untold}"));
    }
}

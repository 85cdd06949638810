//! What becomes of handshakes and sessions when the shim, its client, the director or the
//! offload component restarts.

use ipc::channel::{Doorbell, SlotIndex};
use ipc::clock::Clock;
use ipc::control::HandshakeError;
use ipc::handshake::Completion;
use ipc::net;
use ipc::record;
use ipc::stats;
use ipc::transport::Transport;

use super::{Handshake, Ports, Server, Windows};

/// No domain may hold a capability, a session or a connection that this shim does not
/// know: a previous run may have left some.
pub(super) fn begin<T: Transport, R: Transport, O, A, W: Windows>(
    ports: &mut Ports<'_, T, R, O, A, W>,
) {
    let sessions = ports
        .applications
        .iter()
        .map(|application| application.sessions);
    for slot in 0..sessions.sum() {
        ports.windows.revoke_install(slot);
    }
    for application in &ports.applications {
        for slot in 0..application.sessions {
            ports.windows.revoke_session(application.client, slot);
        }
    }
    // A server that does not answer holds nothing of this shim's either.
    let _ = ports.record.call(&record::Request::Begin);
    let _ = ports.net.call(&net::Request::Begin);
    ports.stats.set(stats::shim::IN_PROGRESS, 0);
    ports.stats.set(stats::shim::SESSIONS, 0);
}

impl<T: Transport, R: Transport, O: Doorbell, A: Doorbell, W: Windows, C: Clock>
    Server<'_, T, R, O, A, W, C>
{
    /// The handshakes in progress are lost.
    pub(super) fn fail_all(&mut self, error: HandshakeError) {
        for (slot, generation) in self.handshakes.names() {
            self.complete(Completion::Failed {
                slot,
                generation,
                error,
            });
        }
    }

    /// The director restarted: it knows nothing of the directed handshakes in progress, or
    /// was told of them when it was down.
    pub(super) fn fail_directed(&mut self) {
        for (slot, generation) in self.handshakes.names() {
            let handshake = self.handshakes.find(slot, generation);
            if handshake.is_some_and(|h| h.is_directed && h.outcome.is_none()) {
                self.send_cancel(slot, generation);
                self.failed(slot, generation, HandshakeError::ServerRestarted);
            }
        }
    }

    /// A client restarted: nothing is left of what it had.
    pub(super) fn drop_all(&mut self, client: u16) {
        let mut subscribers = self.subscribers.iter_mut();
        if let Some(subscriber) = subscribers.find(|subscriber| subscriber.client == client) {
            subscriber.is_subscribed = false;
        }
        for (slot, generation) in self.handshakes.names() {
            if self.own(client, slot, generation).is_err() {
                continue;
            }
            self.send_cancel(slot, generation);
            self.failed(slot, generation, HandshakeError::Cancelled);
            self.drop_result(slot, generation);
        }
        for (slot, generation) in self.sessions.names() {
            let session = self.sessions.find(slot, generation);
            let is_meant = session.is_some_and(|session| session.client == client);
            // A session whose handshake is not over is not one yet.
            let is_owed = |_: SlotIndex, h: &Handshake| {
                h.is_owed && (h.session, h.session_generation) == (slot, generation)
            };
            if is_meant && self.handshakes.find_by(is_owed).is_none() {
                self.close_session(slot, generation);
            }
        }
        self.count_tables();
    }
}

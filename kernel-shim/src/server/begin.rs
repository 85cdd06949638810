//! What becomes of handshakes and sessions when the shim, its client, the director or the
//! offload component restarts.

use ipc::channel::Doorbell;
use ipc::clock::Clock;
use ipc::control::HandshakeError;
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
    let sessions = ports.applications.iter().map(|of| of.sessions);
    for slot in 0..sessions.sum() {
        ports.windows.revoke_install(slot);
    }
    for of in &ports.applications {
        for slot in 0..of.sessions {
            ports.windows.revoke_session(of.client, slot);
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
    /// The offload component restarted: the handshakes in progress are lost.
    pub(super) fn fail_all(&mut self) {
        for name in self.handshakes.names() {
            self.complete(name, Err(HandshakeError::ServerRestarted.into()));
        }
    }

    /// The director restarted: it knows nothing of the directed handshakes in progress, or
    /// was told of them when it was down.
    pub(super) fn fail_directed(&mut self) {
        for name in self.handshakes.names() {
            let handshake = self.handshakes.find(name);
            if handshake.is_some_and(|h| h.is_directed && h.outcome.is_none()) {
                self.send_cancel(name);
                self.failed(name, HandshakeError::ServerRestarted);
            }
        }
    }

    /// A client restarted: nothing is left of what it had.
    pub(super) fn drop_all(&mut self, client: u16) {
        self.subscribe(client, false).ok();
        for name in self.handshakes.names() {
            if self.own(client, name).is_ok() {
                self.send_cancel(name);
                self.failed(name, HandshakeError::Cancelled);
                self.drop_result(name);
            }
        }
        for name in self.sessions.names() {
            let session = self.sessions.find(name);
            let is_meant = session.is_some_and(|session| session.client == client);
            // A session whose handshake is not over is not one yet.
            let is_owed = |_, handshake: &Handshake| handshake.is_owed && handshake.session == name;
            if is_meant && self.handshakes.find_by(is_owed).is_none() {
                self.close_session(name);
            }
        }
    }
}

//! What becomes of handshakes and sessions when the shim, its client or the
//! offload component starts anew.

use ipc::channel::Doorbell;
use ipc::clock::Clock;
use ipc::control::HandshakeError;
use ipc::handshake::Directive;
use ipc::net;
use ipc::record;
use ipc::stats;
use ipc::transport::Transport;

use super::{Ports, Server, Windows};

/// Nobody holds a capability, a session or a connection that this shim does not
/// know: another one may have been here before.
pub(super) fn begin<T: Transport, R: Transport, O, A, W: Windows>(
    ports: &mut Ports<'_, T, R, O, A, W>,
) {
    for slot in 0..ports.session_slots {
        ports.windows.revoke_install(slot);
        ports.windows.revoke_session(slot);
    }
    // Whoever does not answer holds nothing of this shim's either.
    let _ = ports.record.call(&record::Request::Begin);
    let _ = ports.net.call(&net::Request::Begin);
    ports.stats.set(stats::shim::IN_PROGRESS, 0);
    ports.stats.set(stats::shim::SESSIONS, 0);
}

impl<T, R, O, A, W, C> Server<'_, T, R, O, A, W, C>
where
    T: Transport,
    R: Transport,
    O: Doorbell,
    A: Doorbell,
    W: Windows,
    C: Clock,
{
    /// Nobody goes on with the handshakes in progress.
    pub(super) fn fail_all(&mut self, error: HandshakeError) {
        for (slot, generation) in self.handshakes.names() {
            self.failed(slot, generation, error);
        }
    }

    /// A client starts anew: nothing is left of what it had.
    pub(super) fn drop_all(&mut self, client: u16) {
        self.is_subscribed = false;
        for (slot, generation) in self.handshakes.names() {
            if self.own(client, slot, generation).is_err() {
                continue;
            }
            // One that is over needs no cancelling; a queue without room only
            // means that this one goes on for nobody until its deadline.
            let cancel = Directive::Cancel { slot, generation };
            self.ports.offload.send(&cancel).ok();
            self.failed(slot, generation, HandshakeError::Cancelled);
            self.over.retain(|over| *over != (slot, generation));
            self.handshakes.remove(slot, generation);
        }
        for (slot, generation) in self.sessions.names() {
            let session = self.sessions.find(slot, generation);
            if session.is_some_and(|session| session.client == client) {
                self.close_session(slot, generation);
            }
        }
        self.count_tables();
    }
}

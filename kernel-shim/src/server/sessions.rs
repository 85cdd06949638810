//! Sessions: what their capabilities may ask for, and their end.

use ipc::channel::{Doorbell, SlotIndex};
use ipc::clock::Clock;
use ipc::control::{Answer, HandshakeError, PolicyError, Request, RequestError};
use ipc::handshake::Forget;
use ipc::record;
use ipc::transport::Transport;

use super::{Server, Windows};

impl<T: Transport, R: Transport, O: Doorbell, A: Doorbell, W: Windows, C: Clock>
    Server<'_, T, R, O, A, W, C>
{
    pub(super) fn answer_session(
        &mut self,
        slot: SlotIndex,
        generation: u16,
        request: &Request,
    ) -> Result<Answer, HandshakeError> {
        let unknown = HandshakeError::Request(RequestError::Unknown);
        self.sessions.find(slot, generation).ok_or(unknown)?;
        match request {
            Request::PeerCertificate { offset } => {
                let offset = *offset;
                let request = record::Request::Certificate {
                    slot,
                    generation,
                    offset,
                };
                match self.record.call(&request) {
                    Ok(Ok(record::Answer::Certificate(part))) => Ok(Answer::Certificate(part)),
                    // The peer has closed the session; the application will.
                    _ => Err(unknown),
                }
            }
            Request::CloseSession => {
                self.close_session(slot, generation);
                Ok(Answer::Done)
            }
            _ => Err(HandshakeError::Policy(PolicyError::Client)),
        }
    }

    pub(super) fn close_session(&mut self, slot: SlotIndex, generation: u16) {
        let Some(session) = self.sessions.find(slot, generation) else {
            return;
        };
        let (connection, client) = (session.connection, session.client);
        self.close_session_slot(slot, generation);
        let own = self.own_number(client, slot);
        self.windows.revoke_session(client, own);
        self.release(connection);
        self.sessions.remove(slot, generation);
        self.count_tables();
    }

    /// Ends the session at the record layer, and the right to install keys.
    pub(super) fn close_session_slot(&mut self, slot: SlotIndex, generation: u16) {
        self.windows.revoke_install(slot);
        // A record layer that does not answer holds no session either.
        let close = record::Request::Close { slot, generation };
        let _ = self.record.call(&close);
        // Without room there are two for this slot that the offload component has
        // not taken; the later of them is of the session before, and this one's
        // secrets are overwritten at the slot's next use.
        let forget = Forget {
            session: slot,
            generation,
        };
        self.forget.send(&forget).ok();
    }
}

//! Sessions: what their capabilities may ask for, and their end.

use ipc::badge::Badge;
use ipc::channel::Doorbell;
use ipc::clock::Clock;
use ipc::control::{Answer, HandshakeError, PolicyError, Request, RequestError};
use ipc::handshake::Forget;
use ipc::record::{self, RecordError};
use ipc::transport::Transport;

use super::{Outcome, Server, Windows};
use crate::table::Name;

impl<T: Transport, R: Transport, O: Doorbell, A: Doorbell, W: Windows, C: Clock>
    Server<'_, T, R, O, A, W, C>
{
    pub(super) fn answer_session(&mut self, name: Name, request: &Request) -> Outcome<Answer> {
        let unknown = HandshakeError::Request(RequestError::Unknown);
        self.sessions.find(name).ok_or(unknown)?;
        let Name { slot, generation } = name;
        let asked = match request {
            Request::PeerCertificate { offset } => record::Request::Certificate {
                slot,
                generation,
                offset: *offset,
            },
            Request::Export(what) => record::Request::Export {
                slot,
                generation,
                what: what.clone(),
            },
            Request::CloseSession => {
                self.close_session(name);
                return Ok(Answer::Done);
            }
            _ => return Err(HandshakeError::Policy(PolicyError::Client)),
        };
        match self.ports.record.call(&asked) {
            Ok(Ok(record::Answer::Certificate(part))) => Ok(Answer::Certificate(part)),
            Ok(Ok(record::Answer::Exported(part))) => Ok(Answer::Exported(part)),
            Ok(Err(RecordError::Reserved | RecordError::TooLong)) => {
                Err(HandshakeError::Request(RequestError::Unsupported))
            }
            // The peer has closed the session; the application will.
            _ => Err(unknown),
        }
    }

    pub(super) fn close_session(&mut self, name: Name) {
        let Some(session) = self.sessions.find(name) else {
            return;
        };
        let (connection, client) = (session.connection, session.client);
        self.close_session_slot(name);
        let own = self.own_number(client, name.slot);
        self.ports.windows.revoke_session(client, own);
        self.release(connection);
        self.sessions.remove(name);
    }

    /// Ends the session at the record layer, and the right to install keys.
    pub(super) fn close_session_slot(&mut self, session: Name) {
        let Name { slot, generation } = session;
        self.ports.windows.revoke_install(slot);
        // A record layer that does not answer holds no session either.
        let close = record::Request::Close { slot, generation };
        let _ = self.ports.record.call(&close);
        // Without room there are two for this slot that the offload component has
        // not taken; the later of them is of the session before, and this one's
        // secrets are overwritten at the slot's next use.
        let forget = Forget {
            session: slot,
            generation,
        };
        self.ports.forget.send(&forget).ok();
    }
}

/// What the record layer and this shim know a session's capabilities by.
pub(super) const fn session_badge(session: Name) -> Badge {
    let Name { slot, generation } = session;
    Badge::Session { slot, generation }
}

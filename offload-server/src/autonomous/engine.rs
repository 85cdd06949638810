//! rustls in one of the two roles, one state at a time.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ipc::tls::Label;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{CommonState, Error};
use tls::Role;

use super::current::{Current, Facts};
use super::resolver::{Choice, OwnCertificate, Resolver};
use super::tickets::AfterHandshake;
use crate::session::TakeTickets;
use crate::session_cache::MAX_CHAIN;

/// A connection of rustls, and what its configuration has to know of it.
pub(crate) struct Engine {
    pub(crate) connection: Connection,
    pub(crate) facts: Facts,
    pub(crate) current: Arc<Current>,
}

/// In one of the roles.
pub(crate) enum Connection {
    Server {
        connection: Box<UnbufferedServerConnection>,
        /// Tells which key ring was chosen.
        resolver: Arc<Resolver>,
    },
    Client {
        connection: Box<UnbufferedClientConnection>,
        /// Known from the start; taken once.
        choice: Option<Box<Choice>>,
        /// Tells which key ring was shown.
        own: Arc<OwnCertificate>,
    },
}

/// What rustls did with its records.
pub(crate) struct Turn {
    /// So many bytes of them are used up.
    pub(crate) discard: usize,
    pub(crate) outcome: Outcome,
}

/// The state that rustls is in.
pub(crate) enum Outcome {
    /// It wrote what follows this offset of the output.
    Said(usize),
    /// It was notified that all it wrote has left.
    Sent,
    /// It wants more records, or is done.
    Stopped,
    /// Early data is never offered; application data and closure can't come
    /// before Finished was good.
    Unexpected,
    Failed(Error),
}

impl Engine {
    pub(crate) const fn role(&self) -> Role {
        match self.connection {
            Connection::Server { .. } => Role::Server,
            Connection::Client { .. } => Role::Client,
        }
    }

    pub(crate) fn state(&self) -> &CommonState {
        match &self.connection {
            Connection::Server { connection, .. } => connection,
            Connection::Client { connection, .. } => connection,
        }
    }

    /// The choice made since the last call, if one was.
    pub(crate) fn take_choice(&mut self) -> Option<Box<Choice>> {
        match &mut self.connection {
            Connection::Server { resolver, .. } => resolver.take_choice(),
            Connection::Client { choice, .. } => choice.take(),
        }
    }

    /// Client: the key ring that was shown.
    pub(crate) fn shown(&self) -> Option<Label> {
        match &self.connection {
            Connection::Server { .. } => None,
            Connection::Client { own, .. } => own.label(self.facts.ring?),
        }
    }

    /// What a client of TLS 1.3 needs to take tickets.
    pub(crate) fn into_tickets(self) -> Option<Box<dyn TakeTickets>> {
        let Connection::Client { connection, .. } = self.connection else {
            return None;
        };
        if self.facts.chain > MAX_CHAIN {
            return None;
        }
        let (_keys, kernel) = connection.dangerous_into_kernel_connection().ok()?;
        Some(Box::new(AfterHandshake {
            connection: kernel,
            facts: self.facts,
            current: self.current,
        }))
    }

    /// Goes on by one state. What rustls says is appended to `output`. Only amid
    /// [`Current::with`]: its parts ask whose state it is.
    pub(crate) fn process(&mut self, incoming: &mut [u8], output: &mut Vec<u8>) -> Turn {
        match &mut self.connection {
            Connection::Server { connection, .. } => {
                let UnbufferedStatus { discard, state } = connection.process_tls_records(incoming);
                let outcome = act(state, output);
                Turn { discard, outcome }
            }
            Connection::Client { connection, .. } => {
                let UnbufferedStatus { discard, state } = connection.process_tls_records(incoming);
                let outcome = act(state, output);
                Turn { discard, outcome }
            }
        }
    }
}

fn act<Data>(state: Result<ConnectionState<'_, '_, Data>, Error>, output: &mut Vec<u8>) -> Outcome {
    match state {
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let start = output.len();
            match encode(output, |room| data.encode(room)) {
                true => Outcome::Said(start),
                false => Outcome::Stopped,
            }
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Outcome::Sent
        }
        Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => {
            Outcome::Stopped
        }
        Ok(_) => Outcome::Unexpected,
        Err(error) => Outcome::Failed(error),
    }
}

/// Appends what rustls encodes; false when it can't.
fn encode(
    buffer: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> bool {
    let start = buffer.len();
    let needed = match write(&mut []) {
        Ok(written) => written,
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        Err(EncodeError::AlreadyEncoded) => return false,
    };
    buffer.resize(start + needed, 0);
    let room = buffer.get_mut(start..).unwrap_or_default();
    match write(room) {
        Ok(written) => {
            buffer.truncate(start + written);
            true
        }
        Err(_) => {
            buffer.truncate(start);
            false
        }
    }
}

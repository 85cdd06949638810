//! Tickets in the server of TLS 1.2 (RFC 5077, RFC 7627 §5.3).

use alloc::boxed::Box;

use ipc::bounded::{Bytes, List};
use ipc::segment::{Fill, Segment, TICKET_LIFETIME};
use tls::codec::Writer;
use tls::{CipherSuite, HandshakeType, Version};

use super::{
    Asked, ClientHello, Facts, INTERNAL, Input, Negotiated, State, TemplateWriter, Transition,
    write_change_cipher_spec,
};

/// A ticket was opened, or not.
pub(in crate::directed) struct TicketOpened {
    facts: Facts,
    session_id: Bytes<32>,
    peer_random: [u8; 32],
    /// What the client offers.
    suites: List<CipherSuite, { CipherSuite::COUNT }>,
}

/// The suite of a handshake that resumes a session is decided.
pub(in crate::directed) struct Resumed(Facts);
/// What a ticket carries was made, or can't be.
pub(in crate::directed) struct TicketPrepared(Facts);
pub(in crate::directed) struct TicketWritten(Facts);

/// Opens the ticket of a hello, if there is one.
pub(super) fn open(hello: &ClientHello, facts: &Facts) -> Option<Segment> {
    let is_ticket = |ticket: &ipc::segment::Place| facts.gives_ticket && ticket.length > 0;
    Some(Segment::OpenTicket {
        ring: facts.ring,
        version: Version::Tls12,
        server_name: facts.server_name.clone().map(Box::new),
        ticket: hello.ticket.filter(is_ticket)?,
    })
}

impl TicketOpened {
    pub(super) fn new(facts: Facts, hello: &ClientHello) -> Self {
        Self {
            facts,
            session_id: hello.session_id.clone(),
            peer_random: hello.random,
            suites: hello.suites.clone(),
        }
    }

    /// RFC 5246 §7.4.1.3: the suite is that of the session.
    pub(super) fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        let Input::Ticket(ticket) = input else {
            return Err(INTERNAL);
        };
        let Self {
            facts,
            session_id,
            peer_random,
            suites,
        } = self;
        let is_good = |suite: &CipherSuite| {
            suites.contains(suite) && asked.offered().any(|ours| ours == *suite)
        };
        match ticket.map(|ticket| ticket.suite).filter(is_good) {
            Some(suite) => {
                let segment = Segment::Negotiate { suite, peer_random };
                let facts = Facts {
                    suite,
                    resumed: Some(session_id),
                    ..facts
                };
                Ok((State::Resumed(Resumed(facts)), segment))
            }
            None => {
                let segment = Segment::Negotiate {
                    suite: facts.suite,
                    peer_random,
                };
                Ok((State::Negotiated(Negotiated(facts)), segment))
            }
        }
    }
}

impl Resumed {
    pub(super) fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let state = State::Negotiated(Negotiated(self.0));
        Ok((state, Segment::Resume { binder: None }))
    }
}

/// What a ticket carries is made before it is written.
pub(super) fn prepare(facts: Facts) -> (State, Segment) {
    let segment = Segment::PrepareTicket {
        server_name: facts.server_name.clone().map(Box::new),
    };
    (State::TicketPrepared(TicketPrepared(facts)), segment)
}

impl TicketPrepared {
    /// RFC 5077 §3.3: it was promised, and is empty if there is none.
    pub(super) fn next(self, input: Input<'_>) -> Transition<State> {
        match input {
            Input::Ticket(None) => {}
            input => input.done()?,
        }
        let [a, b, c, d] = TICKET_LIFETIME.to_be_bytes();
        let mut writer = TemplateWriter::new(HandshakeType::NEW_SESSION_TICKET);
        writer
            .bytes(&[a, b, c, d])
            .hole(2, Fill::NewTicket { nonce: 0 });
        let template = writer.finish().ok_or(INTERNAL)?;
        let state = State::TicketWritten(TicketWritten(self.0));
        Ok((state, Segment::Write(template)))
    }
}

impl TicketWritten {
    pub(super) fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        Ok(write_change_cipher_spec(self.0))
    }
}

//! Tickets in the client of TLS 1.2 (RFC 5077, RFC 7627 §5.3).

use ipc::segment::{Segment, Stage};
use tls::HandshakeType;

use super::{End, ExpectChangeCipherSpec, Facts, Input, State, Transition, receive};

/// The longest NewSessionTicket.
const MAX_TICKET: u16 = 16 * 1024;

/// The suite of the session that is resumed is decided.
pub(in crate::directed) struct ResumptionNegotiated(pub(super) Facts);
/// Its secret is there.
pub(in crate::directed) struct Resumed(Facts);
/// And its keys.
pub(in crate::directed) struct EarlierMaster(Facts);
/// Waits for the ticket that ServerHello promised.
pub(in crate::directed) struct ExpectTicket(End);
pub(in crate::directed) struct TicketKept(End);

impl ResumptionNegotiated {
    pub(super) fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let state = State::Resumed(Resumed(self.0));
        Ok((state, Segment::Resume { binder: None }))
    }
}

impl Resumed {
    pub(super) fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let state = State::EarlierMaster(EarlierMaster(self.0));
        Ok((state, Segment::Derive(Stage::Master)))
    }
}

impl EarlierMaster {
    pub(super) fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        Ok(server_ends(End {
            facts: self.0,
            group: None,
        }))
    }
}

/// The server's last words: a ticket, if it promised one, and Finished.
pub(super) fn server_ends(end: End) -> (State, Segment) {
    match end.facts.gives_ticket {
        true => (State::Ticket(ExpectTicket(end)), receive(MAX_TICKET)),
        false => change_cipher_spec(end),
    }
}

fn change_cipher_spec(end: End) -> (State, Segment) {
    let state = State::ChangeCipherSpec(ExpectChangeCipherSpec(end));
    (state, Segment::ReceiveChangeCipherSpec)
}

impl ExpectTicket {
    pub(super) fn next(self, input: Input<'_>) -> Transition<State> {
        input.message(HandshakeType::NEW_SESSION_TICKET)?;
        Ok((State::TicketKept(TicketKept(self.0)), Segment::KeepTicket))
    }
}

impl TicketKept {
    pub(super) fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        Ok(change_cipher_spec(self.0))
    }
}

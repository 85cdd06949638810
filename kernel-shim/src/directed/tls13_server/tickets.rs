//! Tickets in the server of TLS 1.3: those that a client offers, and those that it gets
//! (RFC 8446 §2.2, §4.2.11, §4.6.1).
//!
//! ```text
//! ClientHello -> [ticket opened ->] suite -> [binder checked ->] ServerHello
//! client's Finished -> [NewSessionTicket ->] the end
//! ```

use alloc::boxed::Box;

use ipc::bounded::List;
use ipc::segment::{Fill, Segment, TICKET_LIFETIME};
use tls::codec::Writer;
use tls::{HandshakeType, Version};

use super::super::client_hello::{MAX_TICKETS, Offer};
use super::{
    Asked, ClientHello, INTERNAL, Input, Negotiated, Plan, Share, State, TemplateWriter,
    Transition, finish,
};

/// Tickets after a full handshake: for two connections at once. After a
/// resumed one comes one, for the one that was used.
const TICKETS: u8 = 2;

/// A ticket was opened, or not.
pub(in crate::directed) struct TicketOpened(Candidates);
/// The suite of a handshake that resumes a session is decided.
pub(in crate::directed) struct ResumptionNegotiated(Plan, Share, Offer);
/// The binder was right.
pub(in crate::directed) struct Resumed(Plan, Share);
/// What tickets carry was made, or can't be.
pub(in crate::directed) struct TicketPrepared(Plan);
/// A ticket was written, and so many are left.
pub(in crate::directed) struct TicketWritten(Plan, u8);

/// A hello's tickets, one of which may be opened.
struct Candidates {
    plan: Plan,
    share: Share,
    offers: List<Offer, MAX_TICKETS>,
    /// How many were tried before.
    tried: u16,
}

/// Goes on from a hello with a share: by its tickets, or without.
pub(super) fn begin(
    hello: &ClientHello,
    plan: Plan,
    share: Share,
    asked: &Asked,
) -> Transition<State> {
    let is_on = asked.parameters.resumption && hello.has_psk_dhe;
    let offers = match is_on {
        true => hello.tickets.clone(),
        false => List::new(),
    };
    Ok(Candidates {
        plan,
        share,
        offers,
        tried: 0,
    }
    .next())
}

impl Candidates {
    fn offer(&self) -> Option<Offer> {
        self.offers.get(usize::from(self.tried)).copied()
    }

    /// The next ticket, or a full handshake.
    fn next(self) -> (State, Segment) {
        let Some(offer) = self.offer() else {
            let segment = negotiate(&self.plan);
            let state = Negotiated(self.plan, self.share);
            return (State::Negotiated(state), segment);
        };
        let segment = Segment::OpenTicket {
            ring: self.plan.ring,
            version: Version::Tls13,
            server_name: self.plan.server_name.clone().map(Box::new),
            ticket: offer.ticket,
        };
        (State::TicketOpened(TicketOpened(self)), segment)
    }
}

fn negotiate(plan: &Plan) -> Segment {
    Segment::Negotiate {
        suite: plan.suite,
        peer_random: plan.client_random,
    }
}

impl TicketOpened {
    /// RFC 8446 §4.2.11: a ticket goes with the hash of its session.
    pub(super) fn next(self, input: Input<'_>) -> Transition<State> {
        let Input::Ticket(ticket) = input else {
            return Err(INTERNAL);
        };
        let Self(candidates) = self;
        let hash_len = candidates.plan.suite.hash_len();
        let is_good = ticket.is_some_and(|ticket| ticket.suite.hash_len() == hash_len);
        match candidates.offer() {
            Some(offer) if is_good => {
                let plan = Plan {
                    resumed: Some(candidates.tried),
                    ..candidates.plan
                };
                let segment = negotiate(&plan);
                let state = ResumptionNegotiated(plan, candidates.share, offer);
                Ok((State::ResumptionNegotiated(state), segment))
            }
            _ => Ok(Candidates {
                tried: candidates.tried + 1,
                ..candidates
            }
            .next()),
        }
    }
}

impl ResumptionNegotiated {
    pub(super) fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let Self(plan, share, offer) = self;
        let binder = Some(offer.binder);
        let state = State::Resumed(Resumed(plan, share));
        Ok((state, Segment::Resume { binder }))
    }
}

impl Resumed {
    pub(super) fn next(self, input: Input<'_>) -> Transition<State> {
        let Self(plan, share) = self;
        Negotiated(plan, share).next(input)
    }
}

// ---- After the client's Finished ----

/// Gives tickets to a client that takes them.
pub(super) fn end(plan: Plan) -> Transition<State> {
    if !plan.gives_tickets {
        return Ok(finish(plan));
    }
    let segment = Segment::PrepareTicket {
        server_name: plan.server_name.clone().map(Box::new),
    };
    Ok((State::TicketPrepared(TicketPrepared(plan)), segment))
}

impl TicketPrepared {
    pub(super) fn next(self, input: Input<'_>) -> Transition<State> {
        if let Input::Ticket(None) = input {
            return Ok(finish(self.0));
        }
        input.done()?;
        let count = match self.0.resumed {
            Some(_) => 1,
            None => TICKETS,
        };
        write(self.0, count)
    }
}

impl TicketWritten {
    pub(super) fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        match self.1 {
            0 => Ok(finish(self.0)),
            left => write(self.0, left),
        }
    }
}

/// NewSessionTicket; `left` counts down, and is its nonce.
fn write(plan: Plan, left: u8) -> Transition<State> {
    let [a, b, c, d] = TICKET_LIFETIME.to_be_bytes();
    let nonce = left - 1;
    let mut writer = TemplateWriter::new(HandshakeType::NEW_SESSION_TICKET);
    writer
        .bytes(&[a, b, c, d])
        .hole(0, Fill::AgeAdd)
        .vec8(&[nonce])
        .hole(2, Fill::NewTicket { nonce })
        .u16(0);
    let template = writer.finish().ok_or(INTERNAL)?;
    let state = State::TicketWritten(TicketWritten(plan, nonce));
    Ok((state, Segment::Write(template)))
}

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

use crate::client_hello::{ClientHello, MAX_TICKETS, Offer, Share};
use crate::negotiation::{Config, Plan};
use crate::script::{INTERNAL, Input, Progress, Refusal, Transition};
use crate::template::TemplateWriter;

/// Tickets after a full handshake: for two connections at once. After a
/// resumed one comes one, for the one that was used.
const TICKETS: u8 = 2;

/// Over: the suite is decided, and whether a session is resumed.
#[derive(Debug)]
pub(crate) enum Resumption {
    /// A ticket was opened, or not.
    Opened(Candidates),
    /// The suite of a handshake that resumes a session is decided.
    Negotiated(Box<Plan>, Share, Offer),
    /// The binder was right; or the suite of a full handshake is decided.
    Decided(Box<Plan>, Share),
}

/// A hello's tickets, one of which may be opened.
#[derive(Debug)]
pub(crate) struct Candidates {
    plan: Box<Plan>,
    share: Share,
    offers: List<Offer, MAX_TICKETS>,
    /// How many were tried before.
    tried: u16,
}

impl Resumption {
    /// Goes on from a hello with a share: by its tickets, or without.
    pub(super) fn begin(
        hello: &ClientHello,
        plan: Box<Plan>,
        share: Share,
        config: &Config,
    ) -> (Self, Segment) {
        let is_on = config.parameters.resumption && hello.has_psk_dhe;
        let offers = match is_on {
            true => hello.tickets.clone(),
            false => List::new(),
        };
        let candidates = Candidates {
            plan,
            share,
            offers,
            tried: 0,
        };
        candidates.open()
    }

    pub(super) fn next(
        self,
        input: Input<'_>,
    ) -> Result<Progress<Self, (Box<Plan>, Share)>, Refusal> {
        let (state, segment) = match self {
            Self::Opened(candidates) => candidates.opened(input)?,
            Self::Negotiated(plan, share, offer) => {
                input.done()?;
                let binder = Some(offer.binder);
                (Self::Decided(plan, share), Segment::Resume { binder })
            }
            Self::Decided(plan, share) => {
                input.done()?;
                return Ok(Progress::Over((plan, share)));
            }
        };
        Ok(Progress::Next(state, segment))
    }
}

impl Candidates {
    fn offer(&self) -> Option<Offer> {
        self.offers.get(usize::from(self.tried)).copied()
    }

    /// The next ticket, or a full handshake.
    fn open(self) -> (Resumption, Segment) {
        let Some(offer) = self.offer() else {
            let segment = negotiate(&self.plan);
            return (Resumption::Decided(self.plan, self.share), segment);
        };
        let segment = Segment::OpenTicket {
            ring: self.plan.ring,
            version: Version::Tls13,
            server_name: self.plan.server_name.clone().map(Box::new),
            ticket: offer.ticket,
        };
        (Resumption::Opened(self), segment)
    }

    /// RFC 8446 §4.2.11: a ticket goes with the hash of its session.
    fn opened(mut self, input: Input<'_>) -> Transition<Resumption> {
        let Input::Ticket(ticket) = input else {
            return Err(INTERNAL);
        };
        let hash_len = self.plan.suite.hash_len();
        let is_good = ticket.is_some_and(|ticket| ticket.suite.hash_len() == hash_len);
        match self.offer() {
            Some(offer) if is_good => {
                self.plan.resumed = Some(self.tried);
                let segment = negotiate(&self.plan);
                let state = Resumption::Negotiated(self.plan, self.share, offer);
                Ok((state, segment))
            }
            _ => Ok(Self {
                tried: self.tried + 1,
                ..self
            }
            .open()),
        }
    }
}

const fn negotiate(plan: &Plan) -> Segment {
    Segment::Negotiate {
        suite: plan.suite,
        peer_random: plan.client_random,
    }
}

/// Tickets after the client's Finished. Over: none is left to write.
#[derive(Debug)]
pub(crate) enum NewTickets {
    /// What tickets carry was made, or can't be.
    Prepared,
    /// A ticket was written, and so many are left.
    Written(u8),
}

impl NewTickets {
    /// For a client that takes them.
    pub(super) fn begin(plan: &Plan) -> (Self, Segment) {
        let segment = Segment::PrepareTicket {
            server_name: plan.server_name.clone().map(Box::new),
        };
        (Self::Prepared, segment)
    }

    pub(super) fn next(self, input: Input<'_>, plan: &Plan) -> Result<Progress<Self, ()>, Refusal> {
        let left = match (self, input) {
            (Self::Prepared, Input::Ticket(None)) => 0,
            (Self::Prepared, input) => {
                input.done()?;
                match plan.resumed {
                    Some(_) => 1,
                    None => TICKETS,
                }
            }
            (Self::Written(left), input) => {
                input.done()?;
                left
            }
        };
        match left.checked_sub(1) {
            None => Ok(Progress::Over(())),
            Some(nonce) => Ok(Progress::Next(Self::Written(nonce), write(nonce)?)),
        }
    }
}

/// NewSessionTicket; its nonce is how many follow.
fn write(nonce: u8) -> Result<Segment, Refusal> {
    let mut writer = TemplateWriter::new(HandshakeType::NEW_SESSION_TICKET);
    writer
        .bytes(&TICKET_LIFETIME.to_be_bytes())
        .hole(0, Fill::AgeAdd)
        .vec8(&[nonce])
        .hole(2, Fill::NewTicket { nonce })
        .u16(0);
    writer.finish().map(Segment::Write).ok_or(INTERNAL)
}

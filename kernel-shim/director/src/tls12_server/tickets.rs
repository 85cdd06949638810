//! Tickets in the server of TLS 1.2 (RFC 5077, RFC 7627 §5.3).

use alloc::boxed::Box;

use ipc::bounded::{Bytes, List};
use ipc::segment::{Fill, Place, RingPlace, Segment, TICKET_LIFETIME};
use ipc::tls::ServerName;
use tls::codec::Writer;
use tls::{CipherSuite, HandshakeType, Version};

use crate::client_hello::ClientHello;
use crate::negotiation::Config;
use crate::script::{INTERNAL, Input, Progress, Refusal};
use crate::template::TemplateWriter;

/// Over: the suite is decided, and whether a session is resumed.
#[derive(Debug)]
pub(crate) enum Resumption {
    /// A ticket was opened, or not.
    Opened(Box<Offer>),
    /// The suite of a handshake that resumes a session is decided.
    Negotiated(Decided),
    /// The session is resumed; or the suite of a full handshake is decided.
    Decided(Decided),
}

/// What comes of the tickets of a hello.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(super) suite: CipherSuite,
    /// The session of a ticket is resumed; its identifier is the client's
    /// (RFC 5077 §3.4).
    pub(super) resumed: Option<Bytes<32>>,
}

impl Decided {
    pub(super) const fn full(suite: CipherSuite) -> Self {
        Self {
            suite,
            resumed: None,
        }
    }
}

/// What a hello with a ticket offers besides.
#[derive(Debug)]
pub(crate) struct Offer {
    /// Of a full handshake.
    suite: CipherSuite,
    session_id: Bytes<32>,
    peer_random: [u8; 32],
    suites: List<CipherSuite, { CipherSuite::COUNT }>,
}

impl Resumption {
    /// Opens the ticket of a hello, if there is one and tickets are on; else decides on a
    /// full handshake with `suite`.
    pub(super) fn begin(
        hello: &ClientHello,
        suite: CipherSuite,
        ring: RingPlace,
        server_name: Option<&ServerName>,
        takes_tickets: bool,
    ) -> (Self, Segment) {
        let is_ticket = |ticket: &Place| takes_tickets && ticket.length > 0;
        let Some(ticket) = hello.ticket.filter(is_ticket) else {
            return full(suite, hello.random);
        };
        let offer = Offer {
            suite,
            session_id: hello.session_id.clone(),
            peer_random: hello.random,
            suites: hello.suites.clone(),
        };
        let segment = Segment::OpenTicket {
            ring,
            version: Version::Tls12,
            server_name: server_name.cloned().map(Box::new),
            ticket,
        };
        (Self::Opened(Box::new(offer)), segment)
    }

    pub(super) fn next(
        self,
        input: Input<'_>,
        config: &Config,
    ) -> Result<Progress<Self, Decided>, Refusal> {
        let (state, segment) = match self {
            Self::Opened(offer) => offer.opened(input, config)?,
            Self::Negotiated(decided) => {
                input.done()?;
                (Self::Decided(decided), Segment::Resume { binder: None })
            }
            Self::Decided(decided) => {
                input.done()?;
                return Ok(Progress::Over(decided));
            }
        };
        Ok(Progress::Next(state, segment))
    }
}

fn full(suite: CipherSuite, peer_random: [u8; 32]) -> (Resumption, Segment) {
    let segment = Segment::Negotiate { suite, peer_random };
    (Resumption::Decided(Decided::full(suite)), segment)
}

impl Offer {
    /// RFC 5246 §7.4.1.3: the suite is that of the session.
    fn opened(self, input: Input<'_>, config: &Config) -> Result<(Resumption, Segment), Refusal> {
        let Input::Ticket(ticket) = input else {
            return Err(INTERNAL);
        };
        let is_good = |suite: &CipherSuite| self.suites.contains(suite) && config.offers(*suite);
        let Some(suite) = ticket.map(|ticket| ticket.suite).filter(is_good) else {
            return Ok(full(self.suite, self.peer_random));
        };
        let segment = Segment::Negotiate {
            suite,
            peer_random: self.peer_random,
        };
        let decided = Decided {
            suite,
            resumed: Some(self.session_id),
        };
        Ok((Resumption::Negotiated(decided), segment))
    }
}

/// The ticket before this side's ChangeCipherSpec. Over: it is written.
#[derive(Debug)]
pub(crate) enum NewTicket {
    /// What a ticket carries was made, or can't be.
    Prepared,
    /// It is written.
    Written,
}

impl NewTicket {
    /// What a ticket carries is made before it is written.
    pub(super) fn begin(server_name: Option<&ServerName>) -> (Self, Segment) {
        let server_name = server_name.cloned().map(Box::new);
        (Self::Prepared, Segment::PrepareTicket { server_name })
    }

    pub(super) fn next(self, input: Input<'_>) -> Result<Progress<Self, ()>, Refusal> {
        match (self, input) {
            // RFC 5077 §3.3: it was promised, and is empty if there is none.
            (Self::Prepared, Input::Ticket(None) | Input::Done) => {
                let mut writer = TemplateWriter::new(HandshakeType::NEW_SESSION_TICKET);
                writer
                    .bytes(&TICKET_LIFETIME.to_be_bytes())
                    .hole(2, Fill::NewTicket { nonce: 0 });
                let template = writer.finish().ok_or(INTERNAL)?;
                Ok(Progress::Next(Self::Written, Segment::Write(template)))
            }
            (Self::Prepared, _) => Err(INTERNAL),
            (Self::Written, input) => input.done().map(Progress::Over),
        }
    }
}

//! HelloRetryRequest, as a client of TLS 1.3 answers it (RFC 8446 §4.1.4).

use ipc::segment::{Fill, Place, Segment, Ticket};
use tls::{CipherSuite, Group, HandshakeType, Version};

use crate::hello::hello;
use crate::negotiation::Config;
use crate::script::{
    ILLEGAL, INTERNAL, Input, MAX_SERVER_HELLO, Progress, Refusal, Transition, UNEXPECTED,
    receive_all,
};
use crate::server_hello::ServerHello;

/// The groups of the key shares of a hello: one, and its classical half.
type Offered = (Group, Option<Group>);

/// Over: the second ServerHello, and what was offered with it.
#[derive(Debug)]
pub(crate) enum Retry {
    /// The suite is decided.
    Negotiated(Wanted),
    /// The transcript was replaced by its hash.
    Restarted(Wanted),
    /// ChangeCipherSpec is written (RFC 8446 §D.4).
    Compatible(Wanted),
    /// The second ClientHello is written.
    Written(Wanted),
    /// Waits for the second ServerHello.
    Hello(Wanted),
}

/// What the server wants, and what comes of it.
#[derive(Debug)]
pub(crate) struct Wanted {
    suite: CipherSuite,
    offered: Offered,
    /// Where the cookie is, in the HelloRetryRequest.
    cookie: Option<Place>,
    /// What is offered again.
    ticket: Option<Ticket>,
}

impl Retry {
    pub(super) fn begin(
        hello: ServerHello,
        ticket: Option<Ticket>,
        first: Offered,
    ) -> Transition<Self> {
        // It must change something.
        let offered = match hello.share {
            Some((group, _)) if group == first.0 || Some(group) == first.1 => return Err(ILLEGAL),
            Some((group, _)) => (group, None),
            None if hello.cookie.is_none() => return Err(ILLEGAL),
            // RFC 8446 §4.1.2: the same shares again.
            None => first,
        };
        let segment = Segment::Negotiate {
            suite: hello.suite,
            peer_random: hello.random,
        };
        let wanted = Wanted {
            suite: hello.suite,
            offered,
            cookie: hello.cookie,
            // One of another hash is of no use.
            ticket: ticket.filter(|ticket| {
                ticket.suite.version() == Version::Tls12
                    || ticket.suite.hash_len() == hello.suite.hash_len()
            }),
        };
        Ok((Self::Negotiated(wanted), segment))
    }

    pub(super) fn next(
        self,
        input: Input<'_>,
        config: &Config,
    ) -> Result<Progress<Self, (ServerHello, Offered)>, Refusal> {
        let (state, segment) = match self {
            Self::Negotiated(wanted) => {
                input.done()?;
                (Self::Restarted(wanted), Segment::Restart)
            }
            Self::Restarted(wanted) => {
                input.done()?;
                (Self::Compatible(wanted), Segment::WriteChangeCipherSpec)
            }
            Self::Compatible(wanted) => {
                input.done()?;
                let Wanted {
                    offered,
                    cookie,
                    ticket,
                    ..
                } = &wanted;
                let hello = hello(config, Fill::SameRandom, *offered, *cookie, ticket.as_ref());
                let segment = hello.map(Segment::Write).ok_or(INTERNAL)?;
                (Self::Written(wanted), segment)
            }
            Self::Written(wanted) => {
                input.done()?;
                (Self::Hello(wanted), receive_all(MAX_SERVER_HELLO))
            }
            Self::Hello(wanted) => return wanted.answer(input, config).map(Progress::Over),
        };
        Ok(Progress::Next(state, segment))
    }
}

impl Wanted {
    /// A second ServerHello keeps to the first.
    fn answer(self, input: Input<'_>, config: &Config) -> Result<(ServerHello, Offered), Refusal> {
        let body = input.message(HandshakeType::SERVER_HELLO)?;
        let hello = ServerHello::parse_second(body, config, self.ticket.as_ref())?;
        if hello.is_retry {
            return Err(UNEXPECTED);
        }
        if hello.suite != self.suite {
            return Err(ILLEGAL);
        }
        Ok((hello, self.offered))
    }
}

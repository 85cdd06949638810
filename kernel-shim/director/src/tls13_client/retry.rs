//! HelloRetryRequest, as a client of TLS 1.3 answers it (RFC 8446 §4.1.4).

use ipc::bounded::Bytes;
use ipc::segment::{Fill, Segment, Ticket};
use tls::{CipherSuite, Group, HandshakeType, Version};

use crate::hello::hello;
use crate::negotiation::Config;
use crate::script::{
    ILLEGAL, INTERNAL, Input, MAX_SERVER_HELLO, Progress, Refusal, Transition, UNEXPECTED,
    receive_all,
};
use crate::server_hello::{MAX_COOKIE, ServerHello};

/// Over: the second ServerHello, and the group that was offered with it.
pub(crate) enum Retry {
    /// The suite is decided.
    Negotiated(Wanted),
    /// The transcript was replaced by its hash.
    Restarted(Wanted),
    /// The second ClientHello is written.
    Written(Wanted),
    /// Waits for the second ServerHello.
    Hello(Wanted),
}

/// What the server wants, and what comes of it.
pub(crate) struct Wanted {
    suite: CipherSuite,
    group: Group,
    cookie: Bytes<MAX_COOKIE>,
    /// What is offered again.
    ticket: Option<Ticket>,
}

impl Retry {
    pub(super) fn begin(
        hello: ServerHello,
        ticket: Option<Ticket>,
        (offered, half): (Group, Option<Group>),
    ) -> Transition<Self> {
        // It must change something.
        let group = match hello.share {
            Some((group, _)) if group == offered || Some(group) == half => return Err(ILLEGAL),
            Some((group, _)) => group,
            None if hello.cookie.is_empty() => return Err(ILLEGAL),
            None => offered,
        };
        let segment = Segment::Negotiate {
            suite: hello.suite,
            peer_random: hello.random,
        };
        let wanted = Wanted {
            suite: hello.suite,
            group,
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
    ) -> Result<Progress<Self, (ServerHello, Group)>, Refusal> {
        let (state, segment) = match self {
            Self::Negotiated(wanted) => {
                input.done()?;
                (Self::Restarted(wanted), Segment::Restart)
            }
            Self::Restarted(wanted) => {
                input.done()?;
                let Wanted {
                    group,
                    cookie,
                    ticket,
                    ..
                } = &wanted;
                let hello = hello(
                    config,
                    Fill::SameRandom,
                    (*group, None),
                    cookie,
                    ticket.as_ref(),
                );
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
    fn answer(self, input: Input<'_>, config: &Config) -> Result<(ServerHello, Group), Refusal> {
        let body = input.message(HandshakeType::SERVER_HELLO)?;
        let hello = ServerHello::parse(body, config, self.ticket.as_ref())?;
        if hello.is_retry {
            return Err(UNEXPECTED);
        }
        if hello.suite != self.suite || hello.version != Version::Tls13 {
            return Err(ILLEGAL);
        }
        Ok((hello, self.group))
    }
}

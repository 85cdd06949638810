//! The client: ClientHello, the server's answer, then the machine of the version.

use ipc::segment::{Fill, Segment, Ticket};
use tls::server_hello::DOWNGRADED;
use tls::{HandshakeType, Version};

use crate::hello::hello;
use crate::negotiation::Config;
use crate::script::{ILLEGAL, INTERNAL, Input, MAX_SERVER_HELLO, Transition, receive_all};
use crate::server_hello::ServerHello;
use crate::{tls12_client, tls13_client};

/// Where the handshake is.
pub(crate) enum State {
    TicketTaken(TicketTaken),
    HelloWritten(HelloWritten),
    ServerHello(ExpectServerHello),
    Tls13(tls13_client::State),
    Tls12(tls12_client::State),
}

/// A ticket of a previous session was looked up.
pub(crate) struct TicketTaken(());

/// ClientHello is on its way to the transcript.
pub(crate) struct HelloWritten(Option<Ticket>);

/// Waits for the first ServerHello.
pub(crate) struct ExpectServerHello(Option<Ticket>);

/// The first step of a client.
pub(crate) fn begin(config: &Config) -> Option<(State, Segment)> {
    match config.parameters.resumption {
        true => Some((State::TicketTaken(TicketTaken(())), Segment::TakeTicket)),
        false => write(config, None),
    }
}

fn write(config: &Config, ticket: Option<Ticket>) -> Option<(State, Segment)> {
    let random = Fill::Random { downgraded: false };
    let template = hello(config, random, config.shares()?, &[], ticket.as_ref())?;
    let state = State::HelloWritten(HelloWritten(ticket));
    Some((state, Segment::Write(template)))
}

impl State {
    pub(crate) fn next(self, input: Input<'_>, config: &Config) -> Transition<Self> {
        match self {
            Self::TicketTaken(state) => state.next(input, config),
            Self::HelloWritten(state) => state.next(input),
            Self::ServerHello(state) => state.next(input, config),
            Self::Tls13(state) => {
                let (state, segment) = state.next(input, config)?;
                Ok((Self::Tls13(state), segment))
            }
            Self::Tls12(state) => {
                let (state, segment) = state.next(input, config)?;
                Ok((Self::Tls12(state), segment))
            }
        }
    }
}

impl TicketTaken {
    fn next(self, input: Input<'_>, config: &Config) -> Transition<State> {
        let Input::Ticket(ticket) = input else {
            return Err(INTERNAL);
        };
        let ticket = ticket.filter(|ticket| config.offers(ticket.suite));
        write(config, ticket.cloned()).ok_or(INTERNAL)
    }
}

impl HelloWritten {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let state = State::ServerHello(ExpectServerHello(self.0));
        Ok((state, receive_all(MAX_SERVER_HELLO)))
    }
}

impl ExpectServerHello {
    fn next(self, input: Input<'_>, config: &Config) -> Transition<State> {
        let body = input.message(HandshakeType::SERVER_HELLO)?;
        let hello = ServerHello::parse(body, config, self.0.as_ref())?;
        match hello.version {
            Version::Tls13 => {
                let (state, segment) = tls13_client::begin(hello, self.0, config)?;
                Ok((State::Tls13(state), segment))
            }
            Version::Tls12 => {
                let is_downgraded = hello.random.ends_with(&DOWNGRADED);
                if is_downgraded && config.accepts(Version::Tls13) {
                    return Err(ILLEGAL);
                }
                let (state, segment) = tls12_client::begin(hello)?;
                Ok((State::Tls12(state), segment))
            }
        }
    }
}

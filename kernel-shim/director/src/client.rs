//! The client: ClientHello, the server's answer, then the machine of the version.

use ipc::segment::{Fill, Segment, Ticket};
use tls::server_hello::{DOWNGRADED, DOWNGRADED_TO_11};
use tls::{HandshakeType, Version};

use crate::hello::hello;
use crate::negotiation::Config;
use crate::script::{ILLEGAL, INTERNAL, Input, MAX_SERVER_HELLO, Transition, receive_all};
use crate::server_hello::ServerHello;
use crate::{tls12_client, tls13_client};

/// Where the handshake is.
#[derive(Debug)]
pub(crate) enum State {
    TicketTaken(TicketTaken),
    HelloWritten(HelloWritten),
    ServerHello(ExpectServerHello),
    Tls13(tls13_client::State),
    Tls12(tls12_client::State),
}

/// A ticket of a previous session was looked up.
#[derive(Debug)]
pub(crate) struct TicketTaken(());

/// ClientHello is on its way to the transcript.
#[derive(Debug)]
pub(crate) struct HelloWritten(Option<Ticket>);

/// Waits for the first ServerHello.
#[derive(Debug)]
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
    let template = hello(config, random, config.shares()?, None, ticket.as_ref())?;
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
                let ends_with = |sentinel| hello.random.ends_with(sentinel);
                let is_downgraded = ends_with(&DOWNGRADED) || ends_with(&DOWNGRADED_TO_11);
                if is_downgraded && config.accepts(Version::Tls13) {
                    return Err(ILLEGAL);
                }
                let (state, segment) = tls12_client::begin(hello)?;
                Ok((State::Tls12(state), segment))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;

    use ipc::bounded::{List, Text};
    use ipc::control::Parameters;
    use ipc::tls::PeerAuthentication;

    use super::*;
    use crate::script::{DECODE, Refusal};

    fn config(versions: &[Version]) -> Config {
        Config::new(Box::new(Parameters {
            versions: List::from_items(versions.iter().copied()).unwrap(),
            suites: List::new(),
            allow_static_rsa: false,
            peer_schemes: List::new(),
            groups: List::new(),
            keyrings: List::new(),
            peer_authentication: PeerAuthentication::None,
            server_name: Text::from_text("server.test").ok(),
            alpn: List::new(),
            segment_size: 1400,
            resumption: false,
            expose_keys: false,
        }))
    }

    /// A ServerHello of TLS 1.2 with a random that ends so, and this session identifier.
    fn answer(config: &Config, end: &[u8; 8], session_id: &[u8]) -> Option<Refusal> {
        let mut body = [&[3, 3], &[5; 24][..], end].concat();
        body.push(u8::try_from(session_id.len()).unwrap());
        body.extend(session_id);
        body.extend([0xc0, 0x2b, 0, 0, 4, 0, 23, 0, 0]);
        let kind = HandshakeType::SERVER_HELLO;
        let input = Input::Message { kind, body: &body };
        ExpectServerHello(None).next(input, config).err()
    }

    #[test]
    fn a_client_that_offers_tls_1_3_refuses_either_sign_of_a_downgrade() {
        let both = config(&[Version::Tls13, Version::Tls12]);
        for sentinel in [b"DOWNGRD\x01", b"DOWNGRD\x00"] {
            assert_eq!(answer(&both, sentinel, &[]), Some(ILLEGAL));
            let old = config(&[Version::Tls12]);
            assert_eq!(answer(&old, sentinel, &[]), None);
        }
        assert_eq!(answer(&both, b"DOWNGRD\x02", &[]), None);
    }

    #[test]
    fn a_version_that_was_not_offered_is_told_before_its_suite() {
        let new = config(&[Version::Tls13]);
        let alert = tls::Alert::PROTOCOL_VERSION;
        let refusal = Refusal::because(alert, ipc::control::Cause::Version);
        assert_eq!(answer(&new, &[5; 8], &[]), Some(refusal));
    }

    /// A ServerHello of TLS 1.2 with one more extension.
    fn answer_with(extension: &[u8]) -> Option<Refusal> {
        let mut config = config(&[Version::Tls12]);
        let name = ipc::bounded::Bytes::from_slice(b"h2").unwrap();
        config.parameters.alpn = List::from_items([name]).unwrap();
        let mut body = [&[3, 3], &[5; 32][..], &[0, 0xc0, 0x2b, 0]].concat();
        let length = u16::try_from(4 + extension.len()).unwrap();
        body.extend(length.to_be_bytes());
        body.extend([0, 23, 0, 0]);
        body.extend(extension);
        let kind = HandshakeType::SERVER_HELLO;
        let input = Input::Message { kind, body: &body };
        ExpectServerHello(None).next(input, &config).err()
    }

    #[test]
    fn groups_in_a_server_hello_of_tls_1_2_are_ignored() {
        assert_eq!(answer_with(&[0, 10, 0, 4, 0, 2, 0, 29]), None);
    }

    #[test]
    fn an_empty_name_of_a_protocol_is_a_decode_error() {
        assert_eq!(answer_with(&[0, 16, 0, 5, 0, 3, 2, b'h', b'2']), None);
        assert_eq!(
            answer_with(&[0, 16, 0, 5, 0, 3, 2, b'h', b'3']),
            Some(ILLEGAL)
        );
        assert_eq!(answer_with(&[0, 16, 0, 3, 0, 1, 0]), Some(DECODE));
    }

    #[test]
    fn a_session_identifier_has_at_most_32_bytes() {
        let both = config(&[Version::Tls13, Version::Tls12]);
        assert_eq!(answer(&both, &[5; 8], &[9; 32]), None);
        assert_eq!(answer(&both, &[5; 8], &[9; 33]), Some(DECODE));
    }
}

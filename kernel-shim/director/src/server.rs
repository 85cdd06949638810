//! The server: ClientHello, key ring, then the machine of the version.

use alloc::boxed::Box;

use ipc::bounded::List;
use ipc::segment::{MAX_RINGS, Segment};
use tls::{Alert, HandshakeType, Version};

use crate::client_hello::ClientHello;
use crate::negotiation::{Config, Fitting};
use crate::script::{INTERNAL, Input, MAX_HELLO, Transition, receive_all};
use crate::{tls12_server, tls13_server};

/// Where the handshake is.
#[derive(Debug)]
pub(crate) enum State {
    ClientHello(ExpectClientHello),
    Identity(ExpectIdentity),
    Issuer(ExpectIssuer),
    Tls13(tls13_server::State),
    Tls12(tls12_server::State),
}

/// Waits for the first ClientHello.
#[derive(Debug)]
pub(crate) struct ExpectClientHello(());

/// Waits for the verdict on which key rings fit the name in it.
#[derive(Debug)]
pub(crate) struct ExpectIdentity {
    hello: Box<ClientHello>,
}

/// Waits for the verdict on which key rings' chains the authorities in it have issued.
#[derive(Debug)]
pub(crate) struct ExpectIssuer {
    hello: Box<ClientHello>,
    named: List<bool, MAX_RINGS>,
}

/// The first step of a server.
pub(crate) fn begin() -> (State, Segment) {
    let state = State::ClientHello(ExpectClientHello(()));
    (state, receive_all(MAX_HELLO))
}

impl State {
    /// Whether the version is decided.
    pub(crate) const fn has_version(&self) -> bool {
        matches!(self, Self::Tls13(_) | Self::Tls12(_))
    }

    pub(crate) fn next(self, input: Input<'_>, config: &Config) -> Transition<Self> {
        match self {
            Self::ClientHello(state) => state.next(input, config),
            Self::Identity(state) => state.next(input, config),
            Self::Issuer(state) => state.next(input, config),
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

impl ExpectClientHello {
    fn next(self, input: Input<'_>, config: &Config) -> Transition<State> {
        let body = input.message(HandshakeType::CLIENT_HELLO)?;
        let hello = ClientHello::parse(body, &config.parameters.alpn)?;
        match &hello.server_name {
            Some(name) if config.rings.len() > 1 => {
                let segment = Segment::FindIdentity {
                    server_name: Box::new(name.clone()),
                };
                let hello = Box::new(hello);
                Ok((State::Identity(ExpectIdentity { hello }), segment))
            }
            _ => find_issuer(Box::new(hello), List::new(), config),
        }
    }
}

impl ExpectIdentity {
    fn next(self, input: Input<'_>, config: &Config) -> Transition<State> {
        match input {
            Input::Named(named) => {
                let named = List::from_items(named.iter().copied()).map_err(|_| INTERNAL)?;
                find_issuer(self.hello, named, config)
            }
            _ => Err(INTERNAL),
        }
    }
}

/// Asks which chains the authorities have issued, if a client of TLS 1.3 names some and
/// there is a choice (RFC 8446 §4.4.2.2).
fn find_issuer(
    hello: Box<ClientHello>,
    named: List<bool, MAX_RINGS>,
    config: &Config,
) -> Transition<State> {
    let version = config.version(&hello)?;
    match hello.authorities {
        Some(authorities) if version == Version::Tls13 && config.rings.len() > 1 => {
            let state = State::Issuer(ExpectIssuer { hello, named });
            Ok((state, Segment::FindIssued { authorities }))
        }
        _ => decide(&hello, &Fitting::named(&named), config),
    }
}

impl ExpectIssuer {
    fn next(self, input: Input<'_>, config: &Config) -> Transition<State> {
        let Input::Named(issued) = input else {
            return Err(INTERNAL);
        };
        let named = &self.named;
        decide(&self.hello, &Fitting { named, issued }, config)
    }
}

fn decide(hello: &ClientHello, fitting: &Fitting<'_>, config: &Config) -> Transition<State> {
    let version = config.version(hello)?;
    let plan = match config.plan(version, hello, fitting) {
        // Static RSA is what is left.
        Err(refusal) if version == Version::Tls12 && refusal.alert == Alert::HANDSHAKE_FAILURE => {
            let plan = config.static_plan(hello, fitting.named)?.ok_or(refusal)?;
            let (state, segment) = tls12_server::begin_static(hello, plan, config)?;
            return Ok((State::Tls12(state), segment));
        }
        plan => plan?,
    };
    match version {
        Version::Tls13 => {
            let (state, segment) = tls13_server::begin(hello, Box::new(plan), config)?;
            Ok((State::Tls13(state), segment))
        }
        Version::Tls12 => {
            let (state, segment) = tls12_server::begin(hello, plan, config)?;
            Ok((State::Tls12(state), segment))
        }
    }
}

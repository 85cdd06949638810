//! The server: ClientHello, key ring, then the machine of the version.

use alloc::boxed::Box;

use ipc::segment::Segment;
use tls::{Alert, HandshakeType, Version};

use crate::client_hello::ClientHello;
use crate::negotiation::Config;
use crate::script::{INTERNAL, Input, MAX_HELLO, Transition, receive_all};
use crate::{tls12_server, tls13_server};

/// Where the handshake is.
#[derive(Debug)]
pub(crate) enum State {
    ClientHello(ExpectClientHello),
    Identity(ExpectIdentity),
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
            _ => decide(&hello, &[], config),
        }
    }
}

impl ExpectIdentity {
    fn next(self, input: Input<'_>, config: &Config) -> Transition<State> {
        match input {
            Input::Named(named) => decide(&self.hello, named, config),
            _ => Err(INTERNAL),
        }
    }
}

fn decide(hello: &ClientHello, named: &[bool], config: &Config) -> Transition<State> {
    let version = config.version(hello)?;
    let plan = match config.plan(version, hello, named) {
        // Static RSA is what is left.
        Err(refusal) if version == Version::Tls12 && refusal.alert == Alert::HANDSHAKE_FAILURE => {
            let plan = config.static_plan(hello, named)?.ok_or(refusal)?;
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

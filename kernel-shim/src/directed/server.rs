//! The server before the version is known: ClientHello, key ring, version.

use alloc::boxed::Box;

use ipc::segment::Segment;
use tls::{HandshakeType, Version};

use super::client_hello::ClientHello;
use super::negotiation::{Asked, NO_COMMON};
use super::{Input, MAX_HELLO, Transition, receive_all, tls12_server, tls13_server};

/// Before the version is known.
pub(super) enum State {
    ClientHello(ExpectClientHello),
    Identity(ExpectIdentity),
}

/// Waits for the first ClientHello.
pub(super) struct ExpectClientHello(());

/// Waits for the verdict on which key rings fit the name in it.
pub(super) struct ExpectIdentity {
    hello: Box<ClientHello>,
}

/// The first step of a server.
pub(super) fn begin() -> (State, Segment) {
    let state = State::ClientHello(ExpectClientHello(()));
    (state, receive_all(MAX_HELLO))
}

impl State {
    pub(super) fn next(self, input: Input<'_>, asked: &Asked) -> Transition<super::State> {
        match self {
            Self::ClientHello(state) => state.next(input, asked),
            Self::Identity(state) => state.next(input, asked),
        }
    }
}

impl ExpectClientHello {
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<super::State> {
        let body = input.message(HandshakeType::CLIENT_HELLO)?;
        let hello = ClientHello::parse(body, &asked.parameters.alpn)?;
        match &hello.server_name {
            Some(name) if asked.rings.len() > 1 => {
                let segment = Segment::FindIdentity {
                    server_name: Box::new(name.clone()),
                };
                let hello = Box::new(hello);
                let state = State::Identity(ExpectIdentity { hello });
                Ok((super::State::Server(state), segment))
            }
            _ => decide(&hello, &[], asked),
        }
    }
}

impl ExpectIdentity {
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<super::State> {
        match input {
            Input::Named(named) => decide(&self.hello, named, asked),
            _ => Err(super::INTERNAL),
        }
    }
}

fn decide(hello: &ClientHello, named: &[bool], asked: &Asked) -> Transition<super::State> {
    let version = asked.version(hello)?;
    let plan = match asked.plan(version, hello, named) {
        // Static RSA is what is left.
        Err(NO_COMMON) if version == Version::Tls12 => {
            let plan = asked.static_plan(hello, named)?;
            let (state, segment) = tls12_server::begin_static(hello, plan, asked)?;
            return Ok((super::State::Server12(state), segment));
        }
        plan => plan?,
    };
    match version {
        Version::Tls13 => {
            let (state, segment) = tls13_server::begin(hello, plan, asked)?;
            Ok((super::State::Server13(state), segment))
        }
        Version::Tls12 => {
            let (state, segment) = tls12_server::begin(hello, plan, asked)?;
            Ok((super::State::Server12(state), segment))
        }
    }
}

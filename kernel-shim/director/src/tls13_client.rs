//! The client of TLS 1.3 (RFC 8446 §2, §A.1).
//!
//! ```text
//! ClientHello -> [HelloRetryRequest -> ClientHello ->] ServerHello
//!   -> EncryptedExtensions -> [CertificateRequest ->] Certificate
//!   -> CertificateVerify -> Finished
//!   -> [own Certificate -> [CertificateVerify ->]] own Finished
//! ```

mod retry;

use alloc::boxed::Box;

use ipc::segment::{Agreed, Place, Segment, Stage, Ticket};
use ipc::tls::Protocol;
use tls::codec::Reader;
use tls::{ExtensionType, Group, HandshakeType, RecordLimit, Version};

use crate::certificate_request::Choice;
use crate::key_agreement::KeyAgreement;
use crate::negotiation::{Config, Proof};
use crate::script::{
    ILLEGAL, INTERNAL, Input, MAX_CERTIFICATE, MAX_EXTENSIONS, MISSING, Transition, UNEXPECTED,
    UNSUPPORTED, receive_all,
};
use crate::server_hello::{ServerHello, protocol, record_limit};
use crate::{certificate_request, own, peer};

use retry::Retry;

/// Where the handshake is: what the segment under way will have done.
#[derive(Debug)]
pub(crate) enum State {
    Retry(Retry),
    Negotiated(Negotiated),
    Resumed(Resumed),
    Compatible(Compatible),
    Keys(KeyAgreement, Facts),
    Extensions(ExpectExtensions),
    CertificateOrRequest(ExpectCertificateOrRequest),
    OwnChoice(Choice, Facts),
    ServerChain(peer::Chain, Facts),
    ServerProof(peer::Proof, Facts),
    ServerFinished(peer::Finished, Facts),
    ApplicationKeys(ApplicationKeys),
    OwnFlight(own::Flight, Facts),
    TicketPrepared(TicketPrepared),
    Finishing,
}

/// What was agreed on so far.
#[derive(Debug)]
pub(crate) struct Facts {
    group: Group,
    alpn: Option<Protocol>,
    /// What a record for the server carries at most, if it says that.
    record_limit: Option<RecordLimit>,
    /// The session of the ticket that was offered is resumed.
    is_resumed: bool,
    /// The server asked for a certificate, and one can be shown with this.
    request: Request,
    /// ChangeCipherSpec went out with the second ClientHello.
    compatibility_sent: bool,
}

/// Whether the server asked for a certificate.
#[derive(Clone, Copy, Debug)]
enum Request {
    None,
    /// None of this side's fits.
    Unmet,
    Met(Proof),
}

#[derive(Debug)]
pub(crate) struct Negotiated(Facts, Place);
#[derive(Debug)]
pub(crate) struct Resumed(Facts, Place);
#[derive(Debug)]
pub(crate) struct Compatible(Facts, Place);
#[derive(Debug)]
pub(crate) struct ExpectExtensions(Facts);
#[derive(Debug)]
pub(crate) struct ExpectCertificateOrRequest(Facts);
#[derive(Debug)]
pub(crate) struct ApplicationKeys(Facts);
#[derive(Debug)]
pub(crate) struct TicketPrepared(Facts);

/// Goes on after a first ServerHello, or a HelloRetryRequest.
pub(crate) fn begin(
    hello: ServerHello,
    ticket: Option<Ticket>,
    config: &Config,
) -> Transition<State> {
    let offered = config.shares().ok_or(INTERNAL)?;
    if !hello.is_retry {
        return negotiated(hello, offered, false);
    }
    let (retry, segment) = Retry::begin(hello, ticket, offered)?;
    Ok((State::Retry(retry), segment))
}

fn negotiated(
    hello: ServerHello,
    (offered, half): (Group, Option<Group>),
    compatibility_sent: bool,
) -> Transition<State> {
    let (group, key) = hello.share.ok_or(MISSING)?;
    if group != offered && Some(group) != half {
        return Err(ILLEGAL);
    }
    let segment = Segment::Negotiate {
        suite: hello.suite,
        peer_random: hello.random,
    };
    let facts = Facts {
        group,
        alpn: None,
        record_limit: None,
        is_resumed: hello.is_resumed,
        request: Request::None,
        compatibility_sent,
    };
    Ok((State::Negotiated(Negotiated(facts, key)), segment))
}

impl State {
    pub(crate) fn next(self, input: Input<'_>, config: &Config) -> Transition<Self> {
        match self {
            Self::Retry(retry) => retry.next(input, config)?.then(
                (),
                |retry, ()| Self::Retry(retry),
                |(hello, offered), ()| negotiated(hello, offered, true),
            ),
            Self::Negotiated(state) => state.next(input),
            Self::Resumed(state) => state.next(input),
            Self::Compatible(state) => state.next(input),
            Self::Keys(keys, facts) => keys.next(input)?.then(facts, Self::Keys, |(), facts| {
                let state = Self::Extensions(ExpectExtensions(facts));
                Ok((state, receive_all(MAX_EXTENSIONS)))
            }),
            Self::Extensions(state) => state.next(input, config),
            Self::CertificateOrRequest(state) => state.next(input, config),
            Self::OwnChoice(choice, facts) => {
                choice.next(input)?.then(facts, Self::OwnChoice, chosen)
            }
            Self::ServerChain(chain, facts) => {
                let terms = peer::Terms::of_server(config);
                let after = |_, facts| {
                    let (proof, segment) = peer::Proof::expect();
                    Ok((Self::ServerProof(proof, facts), segment))
                };
                chain
                    .next(input, &terms)?
                    .then(facts, Self::ServerChain, after)
            }
            Self::ServerProof(proof, facts) => {
                let after = |(), facts| Ok(server_finished(facts));
                proof.next(input)?.then(facts, Self::ServerProof, after)
            }
            Self::ServerFinished(finished, facts) => {
                let after = |(), facts: Facts| {
                    let limit = facts.record_limit.unwrap_or(RecordLimit::NONE);
                    let state = Self::ApplicationKeys(ApplicationKeys(facts));
                    Ok((state, Segment::Derive(Stage::Application, limit)))
                };
                finished
                    .next(input)?
                    .then(facts, Self::ServerFinished, after)
            }
            Self::ApplicationKeys(state) => state.next(input),
            Self::OwnFlight(flight, facts) => {
                let after = |(), facts| prepare_ticket(facts, config);
                flight.next(input)?.then(facts, Self::OwnFlight, after)
            }
            Self::TicketPrepared(state) => state.next(input, config),
            Self::Finishing => Err(INTERNAL),
        }
    }
}

// ---- The server's flight ----

impl Negotiated {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let Self(facts, share) = self;
        let state = Resumed(facts, share);
        match state.0.is_resumed {
            true => Ok((State::Resumed(state), Segment::Resume { binder: None })),
            false => state.next(Input::Done),
        }
    }
}

impl Resumed {
    /// RFC 8446 §D.4: a client that sent a session identifier sends a ChangeCipherSpec
    /// before anything that is protected.
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let Self(facts, share) = self;
        let state = Compatible(facts, share);
        match state.0.compatibility_sent {
            true => state.next(Input::Done),
            false => Ok((State::Compatible(state), Segment::WriteChangeCipherSpec)),
        }
    }
}

impl Compatible {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let Self(facts, share) = self;
        let group = facts.group;
        let segment = Segment::Decapsulate { group, share };
        // What the server takes is in EncryptedExtensions; nothing is sent before.
        let limit = RecordLimit::NONE;
        let (keys, segment) = KeyAgreement::with(segment, Stage::Handshake, limit);
        Ok((State::Keys(keys, facts), segment))
    }
}

impl ExpectExtensions {
    fn next(self, input: Input<'_>, config: &Config) -> Transition<State> {
        let mut body = Reader::new(input.message(HandshakeType::ENCRYPTED_EXTENSIONS)?);
        let mut extensions = body.vec16()?;
        body.end()?;
        let mut facts = self.0;
        let (mut has_name, mut has_groups) = (false, false);
        while let Some((kind, mut content)) = extensions.next_extension()? {
            match kind {
                ExtensionType::SERVER_NAME if config.dns_name().is_some() && !has_name => {
                    has_name = true;
                    content.end()?;
                }
                // What the server would rather have: of no use here.
                ExtensionType::SUPPORTED_GROUPS if !has_groups => has_groups = true,
                ExtensionType::ALPN
                    if !config.parameters.alpn.is_empty() && facts.alpn.is_none() =>
                {
                    facts.alpn = Some(protocol(&mut content, config)?);
                    content.end()?;
                }
                ExtensionType::RECORD_SIZE_LIMIT if facts.record_limit.is_none() => {
                    facts.record_limit = Some(record_limit(&mut content, Version::Tls13)?);
                    content.end()?;
                }
                ExtensionType::RECORD_SIZE_LIMIT => return Err(ILLEGAL),
                ExtensionType::SERVER_NAME
                | ExtensionType::SUPPORTED_GROUPS
                | ExtensionType::ALPN
                    if has_name || has_groups || facts.alpn.is_some() =>
                {
                    return Err(ILLEGAL);
                }
                _ => return Err(UNSUPPORTED),
            }
        }
        // RFC 8446 §2.2: the resumed session says who the server is.
        if facts.is_resumed {
            return Ok(server_finished(facts));
        }
        let state = State::CertificateOrRequest(ExpectCertificateOrRequest(facts));
        // CertificateRequest is parsed here, Certificate elsewhere: both may come.
        Ok((state, receive_all(MAX_CERTIFICATE)))
    }
}

impl ExpectCertificateOrRequest {
    fn next(self, input: Input<'_>, config: &Config) -> Transition<State> {
        let Input::Message { kind, body } = input else {
            return Err(INTERNAL);
        };
        match kind {
            HandshakeType::CERTIFICATE => {
                let (chain, segment) = peer::Chain::decode();
                Ok((State::ServerChain(chain, self.0), segment))
            }
            HandshakeType::CERTIFICATE_REQUEST => {
                let offers = certificate_request::tls13(body, config)?;
                Choice::begin(offers).then(self.0, State::OwnChoice, chosen)
            }
            _ => Err(UNEXPECTED),
        }
    }
}

/// How this side will prove who it is is decided.
fn chosen(proof: Option<Proof>, facts: Facts) -> Transition<State> {
    let request = proof.map_or(Request::Unmet, Request::Met);
    let (chain, segment) = peer::Chain::expect();
    let state = State::ServerChain(chain, Facts { request, ..facts });
    Ok((state, segment))
}

fn server_finished(facts: Facts) -> (State, Segment) {
    let (finished, segment) = peer::Finished::expect_tls13();
    (State::ServerFinished(finished, facts), segment)
}

// ---- This side's flight ----

impl ApplicationKeys {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let (flight, segment) = match self.0.request {
            Request::None => own::Flight::finished()?,
            Request::Unmet => own::Flight::with_empty_certificate()?,
            Request::Met(Proof { ring, scheme }) => own::Flight::with_certificate(ring, scheme)?,
        };
        Ok((State::OwnFlight(flight, self.0), segment))
    }
}

fn prepare_ticket(facts: Facts, config: &Config) -> Transition<State> {
    let state = TicketPrepared(facts);
    if !config.parameters.resumption {
        return state.next(Input::Done, config);
    }
    let server_name = None;
    let segment = Segment::PrepareTicket { server_name };
    Ok((State::TicketPrepared(state), segment))
}

impl TicketPrepared {
    /// Tickets come after the handshake.
    fn next(self, input: Input<'_>, config: &Config) -> Transition<State> {
        match input {
            Input::Ticket(None) => {}
            input => input.done()?,
        }
        let agreed = Agreed {
            group: Some(self.0.group),
            alpn: self.0.alpn,
            server_name: config.parameters.server_name.clone(),
            ring: match self.0.request {
                Request::Met(proof) => proof.ring,
                Request::None | Request::Unmet => 0,
            },
        };
        Ok((State::Finishing, Segment::Finish(Box::new(agreed))))
    }
}

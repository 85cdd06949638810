//! The client of TLS 1.2 (RFC 5246 §7.3, RFC 8422, RFC 7627). With static RSA
//! there is no ServerKeyExchange, and ClientKeyExchange is an encrypted secret.
//!
//! ```text
//! ClientHello -> ServerHello -> Certificate -> [ServerKeyExchange]
//!   -> [CertificateRequest ->] ServerHelloDone
//!   -> [own Certificate ->] ClientKeyExchange -> [CertificateVerify ->]
//!   ChangeCipherSpec, Finished
//!   -> server's [NewSessionTicket ->] ChangeCipherSpec, Finished
//! ```
//!
//! With a ticket of a previous session that the server accepts:
//!
//! ```text
//! ClientHello -> ServerHello
//!   -> server's [NewSessionTicket ->] ChangeCipherSpec, Finished
//!   -> ChangeCipherSpec, Finished
//! ```
//!
//! Asked for a certificate, this client shows that of its first key ring whose key the
//! server accepts, one that an authority issued whom it names before others, and signs the
//! whole transcript (RFC 5246 §7.4.8); or else an empty list, and the server decides whether
//! that is enough.

use alloc::boxed::Box;

use ipc::bounded::Bytes;
use ipc::control::Cause;
use ipc::segment::{Agreed, Fill, MAX_SHARE, RingPlace, Segment, Stage};
use ipc::tls::Protocol;
use tls::codec::{Reader, Writer};
use tls::names::NAMED_CURVE;
use tls::{Alert, Group, HandshakeType, RecordLimit, Role, Version};

use crate::certificate_request::Choice;
use crate::key_agreement::KeyAgreement;
use crate::negotiation::{Config, Proof};
use crate::script::{
    DECODE, ILLEGAL, INTERNAL, Input, Refusal, Transition, UNEXPECTED, receive, receive_all,
};
use crate::server_hello::ServerHello;
use crate::template::TemplateWriter;
use crate::{certificate_request, own, peer};

/// Parameters, a signature, and a list of authorities.
const MAX_EXCHANGE: u16 = 2048;
const MAX_REQUEST: u16 = 16 * 1024;
/// The longest NewSessionTicket.
const MAX_TICKET: u16 = 16 * 1024;

/// Where the handshake is: what the segment under way will have done.
#[derive(Debug)]
pub(crate) enum State {
    ResumptionNegotiated(ResumptionNegotiated),
    ResumedKeys(KeyAgreement, Facts),
    Negotiated(Negotiated),
    ServerChain(peer::Chain, Facts),
    ServerKeyExchange(ExpectServerKeyExchange),
    SignatureVerified(SignatureVerified),
    RequestOrDone(ExpectRequestOrDone),
    OwnChoice(Choice, Exchange),
    Done(ExpectDone),
    CertificateWritten(CertificateWritten),
    ExchangeWritten(ExchangeWritten),
    Keys(KeyAgreement, Exchange),
    SignatureWritten(SignatureWritten),
    OwnFinished(own::Finished, End),
    Ticket(ExpectTicket),
    TicketKept(TicketKept),
    ServerFinished(peer::Finished, End),
    Finishing,
}

/// What ServerHello agreed on.
#[derive(Debug)]
pub(crate) struct Facts {
    alpn: Option<Protocol>,
    is_static_rsa: bool,
    /// The session of the ticket that was offered is resumed.
    is_resumed: bool,
    /// A ticket comes before the server's Finished.
    gives_ticket: bool,
    record_limit: RecordLimit,
}

/// And what the pre-master secret is made with.
#[derive(Debug)]
pub(crate) struct Exchange {
    facts: Facts,
    key: ServerKey,
    /// How this side proves who it is: the server asked for a certificate, and
    /// one can be shown.
    proof: Option<Proof>,
}

/// What is left of it when the keys are there.
#[derive(Debug)]
pub(crate) struct End {
    facts: Facts,
    group: Option<Group>,
    /// The ring that was shown, or the first.
    ring: RingPlace,
}

impl From<Exchange> for End {
    fn from(exchange: Exchange) -> Self {
        Self {
            facts: exchange.facts,
            ring: exchange.proof.map_or(0, |proof| proof.ring),
            group: match exchange.key {
                ServerKey::Share { group, .. } => Some(group),
                ServerKey::Certified => None,
            },
        }
    }
}

/// The server's part in the key exchange.
#[derive(Debug)]
enum ServerKey {
    /// (EC)DHE.
    Share {
        group: Group,
        share: Bytes<MAX_SHARE>,
    },
    /// Static RSA: the key in its certificate.
    Certified,
}

/// The suite of the session that is resumed is decided.
#[derive(Debug)]
pub(crate) struct ResumptionNegotiated(Facts);
#[derive(Debug)]
pub(crate) struct Negotiated(Facts);
#[derive(Debug)]
pub(crate) struct ExpectServerKeyExchange(Facts);
#[derive(Debug)]
pub(crate) struct SignatureVerified(Exchange);
#[derive(Debug)]
pub(crate) struct ExpectRequestOrDone(Exchange);
#[derive(Debug)]
pub(crate) struct ExpectDone(Exchange);
#[derive(Debug)]
pub(crate) struct CertificateWritten(Exchange);
#[derive(Debug)]
pub(crate) struct ExchangeWritten(Exchange);
#[derive(Debug)]
pub(crate) struct SignatureWritten(Exchange);
/// Waits for the ticket that ServerHello promised.
#[derive(Debug)]
pub(crate) struct ExpectTicket(End);
#[derive(Debug)]
pub(crate) struct TicketKept(End);

/// Insists on the extended master secret (RFC 7627 §5.2).
pub(crate) fn begin(hello: ServerHello) -> Transition<State> {
    if !hello.has_extended_master_secret {
        let cause = Cause::ExtendedMasterSecret;
        return Err(Refusal::because(Alert::HANDSHAKE_FAILURE, cause));
    }
    let segment = Segment::Negotiate {
        suite: hello.suite,
        peer_random: hello.random,
    };
    let facts = Facts {
        alpn: hello.alpn,
        is_static_rsa: hello.suite.is_static_rsa(),
        is_resumed: hello.is_resumed,
        gives_ticket: hello.gives_ticket,
        record_limit: hello.record_limit,
    };
    let state = match facts.is_resumed {
        true => State::ResumptionNegotiated(ResumptionNegotiated(facts)),
        false => State::Negotiated(Negotiated(facts)),
    };
    Ok((state, segment))
}

impl State {
    pub(crate) fn next(self, input: Input<'_>, config: &Config) -> Transition<Self> {
        match self {
            Self::ResumptionNegotiated(state) => state.next(input),
            Self::ResumedKeys(keys, facts) => {
                let after = |(), facts| {
                    Ok(server_ends(End {
                        facts,
                        group: None,
                        ring: 0,
                    }))
                };
                keys.next(input)?.then(facts, Self::ResumedKeys, after)
            }
            Self::Negotiated(state) => state.next(input),
            Self::ServerChain(chain, facts) => {
                let terms = peer::Terms::of_server(config);
                let after = |_, facts| Ok(server_key(facts));
                chain
                    .next(input, &terms)?
                    .then(facts, Self::ServerChain, after)
            }
            Self::ServerKeyExchange(state) => state.next(input, config),
            Self::SignatureVerified(state) => state.next(input),
            Self::RequestOrDone(state) => state.next(input, config),
            Self::OwnChoice(choice, exchange) => {
                choice.next(input)?.then(exchange, Self::OwnChoice, chosen)
            }
            Self::Done(state) => state.next(input),
            Self::CertificateWritten(state) => state.next(input),
            Self::ExchangeWritten(state) => state.next(input),
            Self::Keys(keys, exchange) => {
                let after = |(), exchange| prove(exchange);
                keys.next(input)?.then(exchange, Self::Keys, after)
            }
            Self::SignatureWritten(state) => state.next(input),
            Self::OwnFinished(finished, end) => {
                let after = |(), end: End| {
                    Ok(match end.facts.is_resumed {
                        // The server has said it all.
                        true => finish(end, config),
                        false => server_ends(end),
                    })
                };
                finished.next(input)?.then(end, Self::OwnFinished, after)
            }
            Self::Ticket(state) => state.next(input),
            Self::TicketKept(state) => state.next(input),
            Self::ServerFinished(finished, end) => {
                let after = |(), end: End| {
                    Ok(match end.facts.is_resumed {
                        true => own_finished(end),
                        false => finish(end, config),
                    })
                };
                finished.next(input)?.then(end, Self::ServerFinished, after)
            }
            Self::Finishing => Err(INTERNAL),
        }
    }
}

// ---- The server's flight ----

impl ResumptionNegotiated {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let resume = Segment::Resume { binder: None };
        let limit = self.0.record_limit;
        let (keys, segment) = KeyAgreement::with(resume, Stage::Master, limit);
        Ok((State::ResumedKeys(keys, self.0), segment))
    }
}

impl Negotiated {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let (chain, segment) = peer::Chain::expect();
        Ok((State::ServerChain(chain, self.0), segment))
    }
}

fn server_key(facts: Facts) -> (State, Segment) {
    if facts.is_static_rsa {
        let exchange = Exchange {
            facts,
            key: ServerKey::Certified,
            proof: None,
        };
        let state = State::RequestOrDone(ExpectRequestOrDone(exchange));
        return (state, receive_all(MAX_REQUEST));
    }
    let state = State::ServerKeyExchange(ExpectServerKeyExchange(facts));
    (state, receive_all(MAX_EXCHANGE))
}

impl ExpectServerKeyExchange {
    /// RFC 8422 §5.4: parameters, then a signature over them.
    fn next(self, input: Input<'_>, config: &Config) -> Transition<State> {
        let whole = input.message(HandshakeType::SERVER_KEY_EXCHANGE)?;
        let mut body = Reader::new(whole);
        if body.u8()? != NAMED_CURVE {
            return Err(ILLEGAL);
        }
        let group = Group::from_number(body.u16()?)
            .filter(|group| config.groups().contains(group) && group.is_for(Version::Tls12))
            .ok_or(ILLEGAL)?;
        let share = body.vec8()?.rest();
        if share.len() != group.share_len(Role::Server) {
            return Err(ILLEGAL);
        }
        let share = Bytes::from_slice(share).map_err(|_| ILLEGAL)?;
        let offset = u16::try_from(whole.len() - body.rest().len()).map_err(|_| INTERNAL)?;
        let exchange = Exchange {
            facts: self.0,
            key: ServerKey::Share { group, share },
            proof: None,
        };
        let state = State::SignatureVerified(SignatureVerified(exchange));
        Ok((state, Segment::VerifySignature { offset }))
    }
}

impl SignatureVerified {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let state = State::RequestOrDone(ExpectRequestOrDone(self.0));
        Ok((state, receive_all(MAX_REQUEST)))
    }
}

impl ExpectRequestOrDone {
    fn next(self, input: Input<'_>, config: &Config) -> Transition<State> {
        let Input::Message { kind, body } = input else {
            return Err(INTERNAL);
        };
        match kind {
            HandshakeType::SERVER_HELLO_DONE if body.is_empty() => write_exchange(self.0),
            HandshakeType::SERVER_HELLO_DONE => Err(DECODE),
            HandshakeType::CERTIFICATE_REQUEST => {
                let offers = certificate_request::tls12(body, config)?;
                Choice::begin(offers).then(self.0, State::OwnChoice, chosen)
            }
            _ => Err(UNEXPECTED),
        }
    }
}

/// Whether this side will prove who it is is decided.
fn chosen(proof: Option<Proof>, exchange: Exchange) -> Transition<State> {
    let state = ExpectDone(Exchange { proof, ..exchange });
    Ok((State::Done(state), receive(0)))
}

// ---- This side's flight ----

impl ExpectDone {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.message(HandshakeType::SERVER_HELLO_DONE)?;
        let mut writer = TemplateWriter::new(HandshakeType::CERTIFICATE);
        let template = match self.0.proof {
            Some(proof) => writer.hole(3, Fill::Chain(proof.ring)),
            None => writer.bytes(&[0, 0, 0]),
        }
        .finish()
        .ok_or(INTERNAL)?;
        let state = State::CertificateWritten(CertificateWritten(self.0));
        Ok((state, Segment::Write(template)))
    }
}

impl CertificateWritten {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        write_exchange(self.0)
    }
}

fn write_exchange(exchange: Exchange) -> Transition<State> {
    let mut writer = TemplateWriter::new(HandshakeType::CLIENT_KEY_EXCHANGE);
    let template = match exchange.key {
        ServerKey::Share { group, .. } => writer.hole(1, Fill::KeyShare(group)),
        // RFC 5246 §7.4.7.1.
        ServerKey::Certified => writer.hole(2, Fill::EncryptedPreMaster),
    }
    .finish();
    let state = State::ExchangeWritten(ExchangeWritten(exchange));
    Ok((state, Segment::Write(template.ok_or(INTERNAL)?)))
}

impl ExchangeWritten {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let limit = self.0.facts.record_limit;
        let (keys, segment) = match &self.0.key {
            ServerKey::Share { share, .. } => KeyAgreement::agree(share.clone(), limit),
            // The secret is there since the message was written.
            ServerKey::Certified => KeyAgreement::derive(Stage::Master, limit),
        };
        Ok((State::Keys(keys, self.0), segment))
    }
}

/// RFC 7627 §3: after the messages that the master secret stands for.
fn prove(exchange: Exchange) -> Transition<State> {
    let Some(Proof { ring, scheme }) = exchange.proof else {
        return Ok(own_finished(exchange.into()));
    };
    let segment = own::certificate_verify(ring, scheme)?;
    Ok((State::SignatureWritten(SignatureWritten(exchange)), segment))
}

impl SignatureWritten {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        Ok(own_finished(self.0.into()))
    }
}

fn own_finished(end: End) -> (State, Segment) {
    let (finished, segment) = own::Finished::write();
    (State::OwnFinished(finished, end), segment)
}

// ---- The end ----

/// The server's last messages: a ticket, if it promised one (RFC 5077), and Finished.
fn server_ends(end: End) -> (State, Segment) {
    match end.facts.gives_ticket {
        true => (State::Ticket(ExpectTicket(end)), receive(MAX_TICKET)),
        false => server_finished(end),
    }
}

impl ExpectTicket {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.message(HandshakeType::NEW_SESSION_TICKET)?;
        Ok((State::TicketKept(TicketKept(self.0)), Segment::KeepTicket))
    }
}

impl TicketKept {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        Ok(server_finished(self.0))
    }
}

fn server_finished(end: End) -> (State, Segment) {
    let (finished, segment) = peer::Finished::expect_tls12();
    (State::ServerFinished(finished, end), segment)
}

fn finish(end: End, config: &Config) -> (State, Segment) {
    let agreed = Agreed {
        group: end.group,
        alpn: end.facts.alpn,
        server_name: config.parameters.server_name.clone(),
        ring: end.ring,
    };
    (State::Finishing, Segment::Finish(Box::new(agreed)))
}

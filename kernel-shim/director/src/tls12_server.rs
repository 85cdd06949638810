//! The server of TLS 1.2 (RFC 5246 §7.3, RFC 8422, RFC 7627). With static RSA
//! there is no ServerKeyExchange, and ClientKeyExchange is an encrypted secret.
//!
//! ```text
//! ClientHello -> ServerHello -> Certificate -> [CertificateStatus]
//!   -> [ServerKeyExchange] -> [CertificateRequest ->] ServerHelloDone
//!   -> [client's Certificate ->] ClientKeyExchange -> [CertificateVerify ->]
//!   client's ChangeCipherSpec, Finished
//!   -> [NewSessionTicket ->] ChangeCipherSpec, Finished
//! ```
//!
//! With a ticket of a previous session (RFC 5077 §3.1, RFC 7627 §5.3):
//!
//! ```text
//! ClientHello -> ServerHello -> NewSessionTicket -> ChangeCipherSpec, Finished
//!   -> client's ChangeCipherSpec, Finished
//! ```

mod tickets;

use alloc::boxed::Box;

use ipc::bounded::Bytes;
use ipc::control::Cause;
use ipc::keystore::MAX_ENCRYPTED;
use ipc::segment::{Agreed, Fill, RingPlace, Segment, Stage};
use ipc::tls::{Protocol, ServerName};
use tls::codec::{Reader, Writer};
use tls::names::{ECDSA_SIGN, NAMED_CURVE, OCSP, RSA_SIGN};
use tls::{Alert, ExtensionType, Group, HandshakeType, RecordLimit, Role, Scheme, Version};

use crate::client_hello::ClientHello;
use crate::key_agreement::KeyAgreement;
use crate::negotiation::{Config, Plan, StaticPlan};
use crate::script::{ILLEGAL, INTERNAL, Input, Refusal, Transition, receive_all};
use crate::template::TemplateWriter;
use crate::{own, peer};

use tickets::{Decided, NewTicket, Resumption};

/// RFC 8422 §5.5, RFC 5246 §7.4.4: rsa_sign, ecdsa_sign.
const CERTIFICATE_TYPES: [u8; 2] = [RSA_SIGN, ECDSA_SIGN];
/// A public key or an encrypted secret after its length.
const MAX_EXCHANGE: u16 = 2 + MAX_ENCRYPTED as u16;
/// Bytes of the length before an encrypted secret.
const LENGTH_FIELD: u16 = 2;

/// Where the handshake is: what the segment under way will have done.
#[derive(Debug)]
pub(crate) enum State {
    Resumption(Resumption, Box<Facts>),
    HelloWritten(HelloWritten),
    CertificateWritten(CertificateWritten),
    StatusWritten(StatusWritten),
    ExchangeWritten(ExchangeWritten),
    RequestWritten(RequestWritten),
    DoneWritten(DoneWritten),
    ClientChain(peer::Chain, Box<Facts>),
    ClientKeyExchange(ExpectClientKeyExchange),
    Keys(KeyAgreement, Box<Facts>),
    ClientProof(peer::Proof, Box<Facts>),
    ClientFinished(peer::Finished, Box<Facts>),
    NewTicket(NewTicket, Box<Facts>),
    OwnFinished(own::Finished, Box<Facts>),
    Finishing,
}

/// How the pre-master secret comes about.
#[derive(Clone, Copy, Debug)]
enum KeyExchange {
    /// (EC)DHE, signed.
    Ephemeral { group: Group, scheme: Scheme },
    /// Static RSA: the client encrypts it.
    Encrypted { client_version: u16 },
}

/// What every state carries: what was agreed on, and whether the client signs.
#[derive(Debug)]
pub(crate) struct Facts {
    decided: Decided,
    exchange: KeyExchange,
    ring: RingPlace,
    alpn: Option<Protocol>,
    server_name: Option<ServerName>,
    has_secure_renegotiation: bool,
    could_do_13: bool,
    has_certificate: bool,
    gives_ticket: bool,
    staples: bool,
    record_limit: Option<RecordLimit>,
}

#[derive(Debug)]
pub(crate) struct HelloWritten(Box<Facts>);
#[derive(Debug)]
pub(crate) struct CertificateWritten(Box<Facts>);
#[derive(Debug)]
pub(crate) struct StatusWritten(Box<Facts>);
#[derive(Debug)]
pub(crate) struct ExchangeWritten(Box<Facts>);
#[derive(Debug)]
pub(crate) struct RequestWritten(Box<Facts>);
#[derive(Debug)]
pub(crate) struct DoneWritten(Box<Facts>);
#[derive(Debug)]
pub(crate) struct ExpectClientKeyExchange(Box<Facts>);

impl Facts {
    fn limit(&self) -> RecordLimit {
        self.record_limit.unwrap_or(RecordLimit::NONE)
    }
}

/// Insists on the extended master secret (RFC 7627 §5.2).
pub(crate) fn begin(hello: &ClientHello, plan: Plan, config: &Config) -> Transition<State> {
    let facts = Box::new(Facts {
        decided: Decided::full(plan.suite),
        exchange: KeyExchange::Ephemeral {
            group: plan.group,
            scheme: plan.scheme,
        },
        ring: plan.ring,
        alpn: plan.alpn,
        server_name: plan.server_name,
        has_secure_renegotiation: hello.has_secure_renegotiation,
        could_do_13: config.accepts(Version::Tls13),
        has_certificate: false,
        gives_ticket: plan.gives_tickets,
        staples: plan.staples,
        record_limit: plan.record_limit,
    });
    negotiate(facts, hello)
}

/// The same with static RSA.
pub(crate) fn begin_static(
    hello: &ClientHello,
    plan: StaticPlan,
    config: &Config,
) -> Transition<State> {
    let facts = Box::new(Facts {
        decided: Decided::full(plan.suite),
        exchange: KeyExchange::Encrypted {
            client_version: plan.client_version,
        },
        ring: plan.ring,
        alpn: plan.alpn,
        server_name: plan.server_name,
        has_secure_renegotiation: hello.has_secure_renegotiation,
        could_do_13: config.accepts(Version::Tls13),
        has_certificate: false,
        gives_ticket: config.parameters.resumption && hello.ticket.is_some(),
        staples: plan.staples,
        record_limit: plan.record_limit,
    });
    negotiate(facts, hello)
}

fn negotiate(facts: Box<Facts>, hello: &ClientHello) -> Transition<State> {
    if !hello.has_extended_master_secret {
        let cause = Cause::ExtendedMasterSecret;
        return Err(Refusal::because(Alert::HANDSHAKE_FAILURE, cause));
    }
    let (resumption, segment) = Resumption::begin(
        hello,
        facts.decided.suite,
        facts.ring,
        facts.server_name.as_ref(),
        facts.gives_ticket,
    );
    Ok((State::Resumption(resumption, facts), segment))
}

impl State {
    pub(crate) fn next(self, input: Input<'_>, config: &Config) -> Transition<Self> {
        match self {
            Self::Resumption(resumption, facts) => {
                let after = |decided, mut facts: Box<Facts>| {
                    facts.decided = decided;
                    write_hello(facts)
                };
                let progress = resumption.next(input, config)?;
                progress.then(facts, Self::Resumption, after)
            }
            Self::HelloWritten(state) => state.next(input),
            Self::CertificateWritten(state) => state.next(input, config),
            Self::StatusWritten(state) => state.next(input, config),
            Self::ExchangeWritten(state) => state.next(input, config),
            Self::RequestWritten(state) => state.next(input),
            Self::DoneWritten(state) => state.next(input, config),
            Self::ClientChain(chain, facts) => {
                // RFC 5246 §7.4.6.
                let terms = peer::Terms::of_client(config, Alert::HANDSHAKE_FAILURE);
                let after = |has_certificate, mut facts: Box<Facts>| {
                    facts.has_certificate = has_certificate;
                    Ok(key_exchange(facts))
                };
                chain
                    .next(input, &terms)?
                    .then(facts, Self::ClientChain, after)
            }
            Self::ClientKeyExchange(state) => state.next(input),
            Self::Keys(keys, facts) => {
                let after = |(), facts| Ok(keys_derived(facts));
                keys.next(input)?.then(facts, Self::Keys, after)
            }
            Self::ClientProof(proof, facts) => {
                let after = |(), facts| Ok(client_finished(facts));
                proof.next(input)?.then(facts, Self::ClientProof, after)
            }
            Self::ClientFinished(finished, facts) => {
                let after = |(), facts: Box<Facts>| {
                    Ok(match (&facts.decided.resumed, facts.gives_ticket) {
                        (Some(_), _) => finish(facts),
                        (None, true) => new_ticket(facts),
                        (None, false) => own_finished(facts),
                    })
                };
                finished
                    .next(input)?
                    .then(facts, Self::ClientFinished, after)
            }
            Self::NewTicket(ticket, facts) => {
                let after = |(), facts| Ok(own_finished(facts));
                ticket.next(input)?.then(facts, Self::NewTicket, after)
            }
            Self::OwnFinished(finished, facts) => {
                let after = |(), facts: Box<Facts>| {
                    Ok(match facts.decided.resumed {
                        // The client's comes last.
                        Some(_) => client_finished(facts),
                        None => finish(facts),
                    })
                };
                finished.next(input)?.then(facts, Self::OwnFinished, after)
            }
            Self::Finishing => Err(INTERNAL),
        }
    }
}

// ---- The server's flight ----

fn write_hello(facts: Box<Facts>) -> Transition<State> {
    let Decided { suite, resumed } = &facts.decided;
    let session_id = resumed.as_deref().unwrap_or_default();
    let mut writer = TemplateWriter::new(HandshakeType::SERVER_HELLO);
    let downgraded = facts.could_do_13;
    writer
        .u16(Version::Tls12.number())
        .hole(0, Fill::Random { downgraded })
        .vec8(session_id)
        .u16(suite.number())
        .u8(0)
        .nested(0, |w| {
            // RFC 6066 §3: not of a session that is resumed.
            if facts.server_name.is_some() && resumed.is_none() {
                w.extension(ExtensionType::SERVER_NAME).u16(0);
            }
            // RFC 6066 §8: CertificateStatus comes, and only with a Certificate.
            if facts.staples && resumed.is_none() {
                w.extension(ExtensionType::STATUS_REQUEST).u16(0);
            }
            // RFC 5746 §3.6.
            if facts.has_secure_renegotiation {
                w.extension(ExtensionType::RENEGOTIATION_INFO)
                    .u16(1)
                    .vec8(&[]);
            }
            if let Some(name) = &facts.alpn {
                w.extension(ExtensionType::ALPN).nested(0, |w| {
                    w.len16(1 + name.len()).vec8(name);
                });
            }
            w.extension(ExtensionType::EXTENDED_MASTER_SECRET).u16(0);
            if facts.gives_ticket {
                w.extension(ExtensionType::SESSION_TICKET).u16(0);
            }
            // RFC 8449 §4: an answer.
            if facts.record_limit.is_some() {
                w.extension(ExtensionType::RECORD_SIZE_LIMIT)
                    .u16(2)
                    .u16(RecordLimit::own(Version::Tls12));
            }
        });
    let template = writer.finish().ok_or(INTERNAL)?;
    let state = State::HelloWritten(HelloWritten(facts));
    Ok((state, Segment::Write(template)))
}

impl HelloWritten {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        if self.0.decided.resumed.is_some() {
            let (keys, segment) = KeyAgreement::derive(Stage::Master, self.0.limit());
            return Ok((State::Keys(keys, self.0), segment));
        }
        let mut writer = TemplateWriter::new(HandshakeType::CERTIFICATE);
        writer.hole(3, Fill::Chain(self.0.ring));
        let template = writer.finish().ok_or(INTERNAL)?;
        let state = State::CertificateWritten(CertificateWritten(self.0));
        Ok((state, Segment::Write(template)))
    }
}

impl CertificateWritten {
    fn next(self, input: Input<'_>, config: &Config) -> Transition<State> {
        input.done()?;
        if !self.0.staples {
            return StatusWritten(self.0).next(Input::Done, config);
        }
        let mut writer = TemplateWriter::new(HandshakeType::CERTIFICATE_STATUS);
        writer.u8(OCSP).hole(3, Fill::Ocsp(self.0.ring));
        let template = writer.finish().ok_or(INTERNAL)?;
        let state = State::StatusWritten(StatusWritten(self.0));
        Ok((state, Segment::Write(template)))
    }
}

impl StatusWritten {
    fn next(self, input: Input<'_>, config: &Config) -> Transition<State> {
        input.done()?;
        let KeyExchange::Ephemeral { group, scheme } = self.0.exchange else {
            // RFC 5246 §7.4.3: not sent.
            return ExchangeWritten(self.0).next(Input::Done, config);
        };
        let ring = self.0.ring;
        let mut writer = TemplateWriter::new(HandshakeType::SERVER_KEY_EXCHANGE);
        writer
            .u8(NAMED_CURVE)
            .u16(group.number())
            .hole(1, Fill::KeyShare(group))
            .u16(scheme.number())
            .hole(2, Fill::Signature { ring, scheme });
        let template = writer.finish().ok_or(INTERNAL)?;
        let state = State::ExchangeWritten(ExchangeWritten(self.0));
        Ok((state, Segment::Write(template)))
    }
}

impl ExchangeWritten {
    fn next(self, input: Input<'_>, config: &Config) -> Transition<State> {
        input.done()?;
        if !config.asks_client() {
            return RequestWritten(self.0).next(Input::Done);
        }
        let mut writer = TemplateWriter::new(HandshakeType::CERTIFICATE_REQUEST);
        writer
            .vec8(&CERTIFICATE_TYPES)
            .nested(0, |w| {
                for scheme in config.peer_schemes() {
                    w.u16(scheme.number());
                }
            })
            .hole(2, Fill::Authorities(self.0.ring));
        let template = writer.finish().ok_or(INTERNAL)?;
        let state = State::RequestWritten(RequestWritten(self.0));
        Ok((state, Segment::Write(template)))
    }
}

impl RequestWritten {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let template = TemplateWriter::new(HandshakeType::SERVER_HELLO_DONE)
            .finish()
            .ok_or(INTERNAL)?;
        let state = State::DoneWritten(DoneWritten(self.0));
        Ok((state, Segment::Write(template)))
    }
}

impl DoneWritten {
    fn next(self, input: Input<'_>, config: &Config) -> Transition<State> {
        input.done()?;
        if config.asks_client() {
            let (chain, segment) = peer::Chain::expect();
            return Ok((State::ClientChain(chain, self.0), segment));
        }
        Ok(key_exchange(self.0))
    }
}

// ---- The client's flight ----

fn key_exchange(facts: Box<Facts>) -> (State, Segment) {
    let state = State::ClientKeyExchange(ExpectClientKeyExchange(facts));
    (state, receive_all(MAX_EXCHANGE))
}

impl ExpectClientKeyExchange {
    fn next(self, input: Input<'_>) -> Transition<State> {
        let mut body = Reader::new(input.message(HandshakeType::CLIENT_KEY_EXCHANGE)?);
        let segment = match self.0.exchange {
            // RFC 8422 §5.7.
            KeyExchange::Ephemeral { group, .. } => {
                let share = body.vec8()?.rest();
                if share.len() != group.share_len(Role::Client) {
                    return Err(ILLEGAL);
                }
                let share = Bytes::from_slice(share).map_err(|_| INTERNAL)?;
                Segment::Agree { share }
            }
            // RFC 5246 §7.4.7.1: the handshake goes on for any plaintext.
            KeyExchange::Encrypted { client_version } => {
                body.vec16()?;
                Segment::Decrypt {
                    ring: self.0.ring,
                    client_version,
                    offset: LENGTH_FIELD,
                }
            }
        };
        body.end()?;
        let (keys, segment) = KeyAgreement::with(segment, Stage::Master, self.0.limit());
        Ok((State::Keys(keys, self.0), segment))
    }
}

fn keys_derived(facts: Box<Facts>) -> (State, Segment) {
    if facts.decided.resumed.is_some() {
        return new_ticket(facts);
    }
    if facts.has_certificate {
        let (proof, segment) = peer::Proof::expect();
        return (State::ClientProof(proof, facts), segment);
    }
    client_finished(facts)
}

fn client_finished(facts: Box<Facts>) -> (State, Segment) {
    let (finished, segment) = peer::Finished::expect_tls12();
    (State::ClientFinished(finished, facts), segment)
}

// ---- The end ----

fn new_ticket(facts: Box<Facts>) -> (State, Segment) {
    let (ticket, segment) = NewTicket::begin(facts.server_name.as_ref());
    (State::NewTicket(ticket, facts), segment)
}

fn own_finished(facts: Box<Facts>) -> (State, Segment) {
    let (finished, segment) = own::Finished::write();
    (State::OwnFinished(finished, facts), segment)
}

fn finish(facts: Box<Facts>) -> (State, Segment) {
    let facts = *facts;
    let group = match (facts.exchange, &facts.decided.resumed) {
        (KeyExchange::Ephemeral { group, .. }, None) => Some(group),
        // None took part.
        _ => None,
    };
    let agreed = Agreed {
        group,
        alpn: facts.alpn,
        server_name: facts.server_name,
        ring: facts.ring,
    };
    (State::Finishing, Segment::Finish(Box::new(agreed)))
}

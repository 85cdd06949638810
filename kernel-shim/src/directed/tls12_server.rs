//! The server of TLS 1.2 (RFC 5246 §7.3, RFC 8422, RFC 7627). With static RSA
//! there is no ServerKeyExchange, and ClientKeyExchange is an encrypted secret.
//!
//! ```text
//! ClientHello -> ServerHello -> Certificate -> [ServerKeyExchange]
//!   -> [CertificateRequest ->] ServerHelloDone
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
use ipc::keystore::MAX_ENCRYPTED;
use ipc::segment::{Agreed, Fill, RingPlace, Segment, Stage};
use ipc::tls::{PeerAuthentication, Protocol, ServerName};
use tls::codec::{Reader, Writer};
use tls::names::{ECDSA_SIGN, NAMED_CURVE, RSA_SIGN};
use tls::{Alert, CipherSuite, ExtensionType, Group, HandshakeType, Scheme, Version};

use super::client_hello::ClientHello;
use super::negotiation::{Asked, Plan, StaticPlan};
use super::template::TemplateWriter;
use super::{
    INTERNAL, Input, MAX_CERTIFICATE, MAX_SIGNATURE, Refusal, Transition, receive, receive_all,
};

use tickets::{Resumed, TicketOpened, TicketPrepared, TicketWritten};

/// RFC 8422 §5.5, RFC 5246 §7.4.4: rsa_sign, ecdsa_sign.
const CERTIFICATE_TYPES: [u8; 2] = [RSA_SIGN, ECDSA_SIGN];
/// A public key or an encrypted secret after its length.
const MAX_EXCHANGE: u16 = 2 + MAX_ENCRYPTED as u16;
/// Bytes of the length before an encrypted secret.
const LENGTH_FIELD: u16 = 2;
/// RFC 5246 §7.4.9.
const FINISHED: u16 = 12;

/// Where the handshake is: what the segment under way will have done.
pub(super) enum State {
    TicketOpened(TicketOpened),
    Resumed(Resumed),
    Negotiated(Negotiated),
    HelloWritten(HelloWritten),
    CertificateWritten(CertificateWritten),
    ExchangeWritten(ExchangeWritten),
    RequestWritten(RequestWritten),
    DoneWritten(DoneWritten),
    ClientCertificate(ExpectCertificate),
    CertificateDecoded(CertificateDecoded),
    ChainValidated(ChainValidated),
    ClientKeyExchange(ExpectClientKeyExchange),
    Agreed(SharesAgreed),
    MasterSecret(MasterSecret),
    ClientSignature(ExpectCertificateVerify),
    SignatureVerified(SignatureVerified),
    ChangeCipherSpec(ExpectChangeCipherSpec),
    ClientFinished(ExpectFinished),
    MacValidated(MacValidated),
    TicketPrepared(TicketPrepared),
    TicketWritten(TicketWritten),
    CipherSpecChanged(CipherSpecChanged),
    FinishedWritten(FinishedWritten),
    Finishing,
}

/// How the pre-master secret comes about.
#[derive(Clone, Copy)]
enum KeyExchange {
    /// (EC)DHE, signed.
    Ephemeral { group: Group, scheme: Scheme },
    /// Static RSA: the client encrypts it.
    Encrypted { client_version: u16 },
}

/// What every state carries: what was agreed on, and whether the client signs.
pub(super) struct Facts {
    suite: CipherSuite,
    exchange: KeyExchange,
    ring: RingPlace,
    alpn: Option<Protocol>,
    server_name: Option<ServerName>,
    has_secure_renegotiation: bool,
    could_do_13: bool,
    has_certificate: bool,
    gives_ticket: bool,
    /// The session of a ticket is resumed; its identifier is the client's
    /// (RFC 5077 §3.4).
    resumed: Option<Bytes<32>>,
}

pub(super) struct Negotiated(Facts);
pub(super) struct HelloWritten(Facts);
pub(super) struct CertificateWritten(Facts);
pub(super) struct ExchangeWritten(Facts);
pub(super) struct RequestWritten(Facts);
pub(super) struct DoneWritten(Facts);
pub(super) struct ExpectCertificate(Facts);
pub(super) struct CertificateDecoded(Facts);
pub(super) struct ChainValidated(Facts);
pub(super) struct ExpectClientKeyExchange(Facts);
pub(super) struct SharesAgreed(Facts);
pub(super) struct MasterSecret(Facts);
pub(super) struct ExpectCertificateVerify(Facts);
pub(super) struct SignatureVerified(Facts);
pub(super) struct ExpectChangeCipherSpec(Facts);
pub(super) struct ExpectFinished(Facts);
pub(super) struct MacValidated(Facts);
pub(super) struct CipherSpecChanged(Facts);
pub(super) struct FinishedWritten(Facts);

/// Insists on the extended master secret (RFC 7627 §5.2).
pub(super) fn begin(hello: &ClientHello, plan: Plan, asked: &Asked) -> Transition<State> {
    let facts = Facts {
        suite: plan.suite,
        exchange: KeyExchange::Ephemeral {
            group: plan.group,
            scheme: plan.scheme,
        },
        ring: plan.ring,
        alpn: plan.alpn,
        server_name: plan.server_name,
        has_secure_renegotiation: hello.has_secure_renegotiation,
        could_do_13: asked.accepts(Version::Tls13),
        has_certificate: false,
        gives_ticket: plan.gives_tickets,
        resumed: None,
    };
    negotiate(facts, hello)
}

/// The same with static RSA.
pub(super) fn begin_static(
    hello: &ClientHello,
    plan: StaticPlan,
    asked: &Asked,
) -> Transition<State> {
    let facts = Facts {
        suite: plan.suite,
        exchange: KeyExchange::Encrypted {
            client_version: plan.client_version,
        },
        ring: plan.ring,
        alpn: plan.alpn,
        server_name: plan.server_name,
        has_secure_renegotiation: hello.has_secure_renegotiation,
        could_do_13: asked.accepts(Version::Tls13),
        has_certificate: false,
        gives_ticket: asked.parameters.resumption && hello.ticket.is_some(),
        resumed: None,
    };
    negotiate(facts, hello)
}

fn negotiate(facts: Facts, hello: &ClientHello) -> Transition<State> {
    if !hello.has_extended_master_secret {
        return Err(Refusal(Alert::HANDSHAKE_FAILURE));
    }
    let segment = Segment::Negotiate {
        suite: facts.suite,
        peer_random: hello.random,
    };
    match tickets::open(hello, &facts) {
        Some(open) => Ok((State::TicketOpened(TicketOpened::new(facts, hello)), open)),
        None => Ok((State::Negotiated(Negotiated(facts)), segment)),
    }
}

impl State {
    pub(super) fn next(self, input: Input<'_>, asked: &Asked) -> Transition<Self> {
        match self {
            Self::TicketOpened(state) => state.next(input, asked),
            Self::Resumed(state) => state.next(input),
            Self::Negotiated(state) => state.next(input),
            Self::HelloWritten(state) => state.next(input),
            Self::CertificateWritten(state) => state.next(input, asked),
            Self::ExchangeWritten(state) => state.next(input, asked),
            Self::RequestWritten(state) => state.next(input),
            Self::DoneWritten(state) => state.next(input, asked),
            Self::ClientCertificate(state) => state.next(input),
            Self::CertificateDecoded(state) => state.next(input, asked),
            Self::ChainValidated(state) => state.next(input),
            Self::ClientKeyExchange(state) => state.next(input),
            Self::Agreed(state) => state.next(input),
            Self::MasterSecret(state) => state.next(input),
            Self::ClientSignature(state) => state.next(input),
            Self::SignatureVerified(state) => state.next(input),
            Self::ChangeCipherSpec(state) => state.next(input),
            Self::ClientFinished(state) => state.next(input),
            Self::MacValidated(state) => state.next(input),
            Self::TicketPrepared(state) => state.next(input),
            Self::TicketWritten(state) => state.next(input),
            Self::CipherSpecChanged(state) => state.next(input),
            Self::FinishedWritten(state) => state.next(input),
            Self::Finishing => Err(INTERNAL),
        }
    }
}

// ---- The server's flight ----

impl Negotiated {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let Facts {
            suite,
            alpn,
            server_name,
            has_secure_renegotiation,
            could_do_13,
            gives_ticket,
            resumed,
            ..
        } = &self.0;
        let session_id = resumed.as_deref().unwrap_or_default();
        let mut writer = TemplateWriter::new(HandshakeType::SERVER_HELLO);
        let downgraded = *could_do_13;
        writer
            .u16(Version::Tls12.number())
            .hole(0, Fill::Random { downgraded })
            .vec8(session_id)
            .u16(suite.number())
            .u8(0)
            .nested(0, |w| {
                // RFC 6066 §3: not of a session that is resumed.
                if server_name.is_some() && resumed.is_none() {
                    w.extension(ExtensionType::SERVER_NAME).u16(0);
                }
                // RFC 5746 §3.6.
                if *has_secure_renegotiation {
                    w.extension(ExtensionType::RENEGOTIATION_INFO)
                        .u16(1)
                        .vec8(&[]);
                }
                if let Some(name) = alpn {
                    w.extension(ExtensionType::ALPN).nested(0, |w| {
                        w.len16(1 + name.len()).vec8(name);
                    });
                }
                w.extension(ExtensionType::EXTENDED_MASTER_SECRET).u16(0);
                if *gives_ticket {
                    w.extension(ExtensionType::SESSION_TICKET).u16(0);
                }
            });
        let template = writer.finish().ok_or(INTERNAL)?;
        let state = State::HelloWritten(HelloWritten(self.0));
        Ok((state, Segment::Write(template)))
    }
}

impl HelloWritten {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        if self.0.resumed.is_some() {
            let state = State::MasterSecret(MasterSecret(self.0));
            return Ok((state, Segment::Derive(Stage::Master)));
        }
        let mut writer = TemplateWriter::new(HandshakeType::CERTIFICATE);
        writer.hole(3, Fill::Chain(self.0.ring));
        let template = writer.finish().ok_or(INTERNAL)?;
        let state = State::CertificateWritten(CertificateWritten(self.0));
        Ok((state, Segment::Write(template)))
    }
}

impl CertificateWritten {
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        input.done()?;
        let KeyExchange::Ephemeral { group, scheme } = self.0.exchange else {
            // RFC 5246 §7.4.3: not sent.
            return ExchangeWritten(self.0).next(Input::Done, asked);
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
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        input.done()?;
        if !asked.asks_client() {
            return RequestWritten(self.0).next(Input::Done);
        }
        let mut writer = TemplateWriter::new(HandshakeType::CERTIFICATE_REQUEST);
        writer
            .vec8(&CERTIFICATE_TYPES)
            .nested(0, |w| {
                for scheme in Scheme::OFFERED {
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
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        input.done()?;
        if asked.asks_client() {
            let state = State::ClientCertificate(ExpectCertificate(self.0));
            return Ok((state, receive(MAX_CERTIFICATE)));
        }
        Ok(key_exchange(self.0))
    }
}

// ---- The client's flight ----

impl ExpectCertificate {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.message(HandshakeType::CERTIFICATE)?;
        let state = State::CertificateDecoded(CertificateDecoded(self.0));
        Ok((state, Segment::DecodeCertificate))
    }
}

impl CertificateDecoded {
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        let Input::Certificates(count) = input else {
            return Err(INTERNAL);
        };
        match (count, asked.parameters.peer_authentication) {
            // RFC 5246 §7.4.6.
            (0, PeerAuthentication::Require) => Err(Refusal(Alert::HANDSHAKE_FAILURE)),
            (0, _) => Ok(key_exchange(self.0)),
            _ => {
                let facts = Facts {
                    has_certificate: true,
                    ..self.0
                };
                let state = State::ChainValidated(ChainValidated(facts));
                Ok((state, Segment::ValidateChain { server_name: None }))
            }
        }
    }
}

impl ChainValidated {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        Ok(key_exchange(self.0))
    }
}

fn key_exchange(facts: Facts) -> (State, Segment) {
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
                if share.len() != group.share_len() {
                    return Err(Refusal(Alert::ILLEGAL_PARAMETER));
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
        Ok((State::Agreed(SharesAgreed(self.0)), segment))
    }
}

impl SharesAgreed {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let state = State::MasterSecret(MasterSecret(self.0));
        Ok((state, Segment::Derive(Stage::Master)))
    }
}

impl MasterSecret {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        if self.0.resumed.is_some() {
            return Ok(tickets::prepare(self.0));
        }
        if self.0.has_certificate {
            let state = State::ClientSignature(ExpectCertificateVerify(self.0));
            return Ok((state, receive(MAX_SIGNATURE)));
        }
        Ok(change_cipher_spec(self.0))
    }
}

impl ExpectCertificateVerify {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.message(HandshakeType::CERTIFICATE_VERIFY)?;
        let state = State::SignatureVerified(SignatureVerified(self.0));
        Ok((state, Segment::VerifySignature { offset: 0 }))
    }
}

impl SignatureVerified {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        Ok(change_cipher_spec(self.0))
    }
}

fn change_cipher_spec(facts: Facts) -> (State, Segment) {
    let state = State::ChangeCipherSpec(ExpectChangeCipherSpec(facts));
    (state, Segment::ReceiveChangeCipherSpec)
}

impl ExpectChangeCipherSpec {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let state = State::ClientFinished(ExpectFinished(self.0));
        Ok((state, receive(FINISHED)))
    }
}

impl ExpectFinished {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.message(HandshakeType::FINISHED)?;
        let state = State::MacValidated(MacValidated(self.0));
        Ok((state, Segment::ValidateMac))
    }
}

// ---- The end ----

impl MacValidated {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        Ok(match (&self.0.resumed, self.0.gives_ticket) {
            (Some(_), _) => finish(self.0),
            (None, true) => tickets::prepare(self.0),
            (None, false) => write_change_cipher_spec(self.0),
        })
    }
}

fn write_change_cipher_spec(facts: Facts) -> (State, Segment) {
    let state = State::CipherSpecChanged(CipherSpecChanged(facts));
    (state, Segment::WriteChangeCipherSpec)
}

impl CipherSpecChanged {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let mut writer = TemplateWriter::new(HandshakeType::FINISHED);
        writer.hole(0, Fill::VerifyData);
        let template = writer.finish().ok_or(INTERNAL)?;
        let state = State::FinishedWritten(FinishedWritten(self.0));
        Ok((state, Segment::Write(template)))
    }
}

impl FinishedWritten {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        Ok(match self.0.resumed {
            // The client's comes last.
            Some(_) => change_cipher_spec(self.0),
            None => finish(self.0),
        })
    }
}

fn finish(facts: Facts) -> (State, Segment) {
    let segment = Segment::Finish(Box::new(agreed(facts)));
    (State::Finishing, segment)
}

/// What the completion tells.
fn agreed(facts: Facts) -> Agreed {
    let group = match (facts.exchange, &facts.resumed) {
        (KeyExchange::Ephemeral { group, .. }, None) => Some(group),
        // None took part.
        _ => None,
    };
    Agreed {
        group,
        alpn: facts.alpn,
        server_name: facts.server_name,
        ring: facts.ring,
    }
}

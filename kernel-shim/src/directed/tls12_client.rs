//! The client of TLS 1.2 (RFC 5246 §7.3, RFC 8422, RFC 7627). With static RSA
//! there is no ServerKeyExchange, and ClientKeyExchange is an encrypted secret.
//!
//! ```text
//! ClientHello -> ServerHello -> Certificate -> [ServerKeyExchange]
//!   -> [CertificateRequest ->] ServerHelloDone
//!   -> [own empty Certificate ->] ClientKeyExchange -> ChangeCipherSpec, Finished
//!   -> server's ChangeCipherSpec, Finished
//! ```
//!
//! Asked for a certificate, this client shows none: the key store does not sign
//! a whole transcript (RFC 5246 §7.4.8).

use alloc::boxed::Box;

use ipc::bounded::Bytes;
use ipc::segment::{Agreed, Fill, MAX_SHARE, Segment, Stage};
use ipc::tls::{Alert, Group, Protocol};

use super::codec::{Reader, Writer};
use super::negotiation::Asked;
use super::server_hello::ServerHello;
use super::{INTERNAL, Input, MAX_CERTIFICATE, Refusal, Transition, message, receive, receive_all};

/// RFC 8422 §5.4.
const NAMED_CURVE: u8 = 3;
/// Parameters, a signature, and a list of authorities.
const MAX_EXCHANGE: u16 = 2048;
const MAX_REQUEST: u16 = 16 * 1024;
/// RFC 5246 §7.4.9.
const FINISHED: u16 = 12;

const ILLEGAL: Refusal = Refusal(Alert::ILLEGAL_PARAMETER);

/// Where the handshake is: what the segment under way will have done.
pub(super) enum State {
    Negotiated(Negotiated),
    Certificate(ExpectCertificate),
    CertificateDecoded(CertificateDecoded),
    ChainValidated(ChainValidated),
    ServerKeyExchange(ExpectServerKeyExchange),
    SignatureVerified(SignatureVerified),
    RequestOrDone(ExpectRequestOrDone),
    Done(ExpectDone),
    CertificateWritten(CertificateWritten),
    ExchangeWritten(ExchangeWritten),
    Agreed(SharesAgreed),
    MasterSecret(MasterSecret),
    CipherSpecChanged(CipherSpecChanged),
    FinishedWritten(FinishedWritten),
    ChangeCipherSpec(ExpectChangeCipherSpec),
    ServerFinished(ExpectFinished),
    MacValidated(MacValidated),
    Finishing,
}

/// What ServerHello agreed on.
pub(super) struct Facts {
    alpn: Option<Protocol>,
    is_static_rsa: bool,
}

/// And what the pre-master secret is made with.
pub(super) struct Exchange {
    facts: Facts,
    key: ServerKey,
}

/// The server's part in the key exchange.
enum ServerKey {
    /// (EC)DHE.
    Share {
        group: Group,
        share: Bytes<MAX_SHARE>,
    },
    /// Static RSA: the key in its certificate.
    Certified,
}

pub(super) struct Negotiated(Facts);
pub(super) struct ExpectCertificate(Facts);
pub(super) struct CertificateDecoded(Facts);
pub(super) struct ChainValidated(Facts);
pub(super) struct ExpectServerKeyExchange(Facts);
pub(super) struct SignatureVerified(Exchange);
pub(super) struct ExpectRequestOrDone(Exchange);
pub(super) struct ExpectDone(Exchange);
pub(super) struct CertificateWritten(Exchange);
pub(super) struct ExchangeWritten(Exchange);
pub(super) struct SharesAgreed(Exchange);
pub(super) struct MasterSecret(Exchange);
pub(super) struct CipherSpecChanged(Exchange);
pub(super) struct FinishedWritten(Exchange);
pub(super) struct ExpectChangeCipherSpec(Exchange);
pub(super) struct ExpectFinished(Exchange);
pub(super) struct MacValidated(Exchange);

/// Insists on the extended master secret (RFC 7627 §5.2).
pub(super) fn begin(hello: ServerHello) -> Transition<State> {
    if !hello.has_extended_master_secret {
        return Err(Refusal(Alert::HANDSHAKE_FAILURE));
    }
    let segment = Segment::Negotiate {
        suite: hello.suite,
        peer_random: hello.random,
    };
    let facts = Facts {
        alpn: hello.alpn,
        is_static_rsa: hello.suite.is_static_rsa(),
    };
    Ok((State::Negotiated(Negotiated(facts)), segment))
}

impl State {
    pub(super) fn next(self, input: Input<'_>, asked: &Asked) -> Transition<Self> {
        match self {
            Self::Negotiated(state) => state.next(input),
            Self::Certificate(state) => state.next(input),
            Self::CertificateDecoded(state) => state.next(input, asked),
            Self::ChainValidated(state) => state.next(input),
            Self::ServerKeyExchange(state) => state.next(input, asked),
            Self::SignatureVerified(state) => state.next(input),
            Self::RequestOrDone(state) => state.next(input),
            Self::Done(state) => state.next(input),
            Self::CertificateWritten(state) => state.next(input),
            Self::ExchangeWritten(state) => state.next(input),
            Self::Agreed(state) => state.next(input),
            Self::MasterSecret(state) => state.next(input),
            Self::CipherSpecChanged(state) => state.next(input),
            Self::FinishedWritten(state) => state.next(input),
            Self::ChangeCipherSpec(state) => state.next(input),
            Self::ServerFinished(state) => state.next(input),
            Self::MacValidated(state) => state.next(input, asked),
            Self::Finishing => Err(INTERNAL),
        }
    }
}

// ---- The server's flight ----

impl Negotiated {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let state = State::Certificate(ExpectCertificate(self.0));
        Ok((state, receive(MAX_CERTIFICATE)))
    }
}

impl ExpectCertificate {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.message(message::CERTIFICATE)?;
        let state = State::CertificateDecoded(CertificateDecoded(self.0));
        Ok((state, Segment::DecodeCertificate))
    }
}

impl CertificateDecoded {
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        match input {
            Input::Certificates(0) => Err(Refusal(Alert::DECODE_ERROR)),
            Input::Certificates(_) => {
                let segment = Segment::ValidateChain {
                    server_name: asked.parameters.server_name.clone().map(Box::new),
                };
                Ok((State::ChainValidated(ChainValidated(self.0)), segment))
            }
            _ => Err(INTERNAL),
        }
    }
}

impl ChainValidated {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        if self.0.is_static_rsa {
            let exchange = Exchange {
                facts: self.0,
                key: ServerKey::Certified,
            };
            let state = State::RequestOrDone(ExpectRequestOrDone(exchange));
            return Ok((state, receive_all(MAX_REQUEST)));
        }
        let state = State::ServerKeyExchange(ExpectServerKeyExchange(self.0));
        Ok((state, receive_all(MAX_EXCHANGE)))
    }
}

impl ExpectServerKeyExchange {
    /// RFC 8422 §5.4: parameters, then a signature over them.
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        let whole = input.message(message::SERVER_KEY_EXCHANGE)?;
        let mut body = Reader::new(whole);
        if body.u8()? != NAMED_CURVE {
            return Err(ILLEGAL);
        }
        let group = Group::from_number(body.u16()?)
            .filter(|group| asked.groups().contains(group))
            .ok_or(ILLEGAL)?;
        let share = body.vec8()?.rest();
        if share.len() != group.share_len() {
            return Err(ILLEGAL);
        }
        let share = Bytes::from_slice(share).map_err(|_| ILLEGAL)?;
        let offset = u16::try_from(whole.len() - body.rest().len()).map_err(|_| INTERNAL)?;
        let exchange = Exchange {
            facts: self.0,
            key: ServerKey::Share { group, share },
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
    fn next(self, input: Input<'_>) -> Transition<State> {
        let Input::Message { kind, body } = input else {
            return Err(INTERNAL);
        };
        match kind {
            message::SERVER_HELLO_DONE if body.is_empty() => exchange(self.0),
            message::SERVER_HELLO_DONE => Err(Refusal(Alert::DECODE_ERROR)),
            message::CERTIFICATE_REQUEST => {
                // RFC 5246 §7.4.4: types, schemes, authorities.
                let mut body = Reader::new(body);
                body.vec8()?;
                body.vec16()?;
                body.vec16()?;
                body.end()?;
                Ok((State::Done(ExpectDone(self.0)), receive(0)))
            }
            _ => Err(Refusal(Alert::UNEXPECTED_MESSAGE)),
        }
    }
}

// ---- This side's flight ----

impl ExpectDone {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.message(message::SERVER_HELLO_DONE)?;
        let mut writer = Writer::new(message::CERTIFICATE);
        let template = writer.bytes(&[0, 0, 0]).finish().ok_or(INTERNAL)?;
        let state = State::CertificateWritten(CertificateWritten(self.0));
        Ok((state, Segment::Write(template)))
    }
}

impl CertificateWritten {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        exchange(self.0)
    }
}

fn exchange(exchange: Exchange) -> Transition<State> {
    let mut writer = Writer::new(message::CLIENT_KEY_EXCHANGE);
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
        let segment = match &self.0.key {
            ServerKey::Share { share, .. } => Segment::Agree {
                share: share.clone(),
            },
            // The secret is there since the message was written.
            ServerKey::Certified => return SharesAgreed(self.0).next(Input::Done),
        };
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
        let state = State::CipherSpecChanged(CipherSpecChanged(self.0));
        Ok((state, Segment::WriteChangeCipherSpec))
    }
}

impl CipherSpecChanged {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let mut writer = Writer::new(message::FINISHED);
        let template = writer.hole(0, Fill::VerifyData).finish().ok_or(INTERNAL)?;
        let state = State::FinishedWritten(FinishedWritten(self.0));
        Ok((state, Segment::Write(template)))
    }
}

// ---- The end ----

impl FinishedWritten {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let state = State::ChangeCipherSpec(ExpectChangeCipherSpec(self.0));
        Ok((state, Segment::ReceiveChangeCipherSpec))
    }
}

impl ExpectChangeCipherSpec {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let state = State::ServerFinished(ExpectFinished(self.0));
        Ok((state, receive(FINISHED)))
    }
}

impl ExpectFinished {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.message(message::FINISHED)?;
        let state = State::MacValidated(MacValidated(self.0));
        Ok((state, Segment::ValidateMac))
    }
}

impl MacValidated {
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        input.done()?;
        let agreed = Agreed {
            group: match self.0.key {
                ServerKey::Share { group, .. } => Some(group),
                ServerKey::Certified => None,
            },
            alpn: self.0.facts.alpn,
            server_name: asked.parameters.server_name.clone(),
            ring: 0,
        };
        Ok((State::Finishing, Segment::Finish(Box::new(agreed))))
    }
}

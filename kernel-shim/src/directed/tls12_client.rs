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
//! Asked for a certificate, this client shows that of its first key ring, if the
//! server accepts such a key, and signs the whole transcript (RFC 5246 §7.4.8);
//! or else an empty list, and the server decides whether that is enough.

mod tickets;

use alloc::boxed::Box;

use ipc::bounded::{Bytes, List};
use ipc::keystore::KeyKind;
use ipc::segment::{Agreed, Fill, MAX_SHARE, Segment, Stage};
use ipc::tls::Protocol;
use tls::codec::{Reader, Writer};
use tls::names::{ECDSA_SIGN, NAMED_CURVE, RSA_SIGN};
use tls::{Alert, Group, HandshakeType, Scheme, Version};

use super::client;
use super::negotiation::Asked;
use super::server_hello::ServerHello;
use super::template::TemplateWriter;
use super::{INTERNAL, Input, MAX_CERTIFICATE, Refusal, Transition, receive, receive_all};

use tickets::{EarlierMaster, ExpectTicket, Resumed, ResumptionNegotiated, TicketKept};

/// Parameters, a signature, and a list of authorities.
const MAX_EXCHANGE: u16 = 2048;
const MAX_REQUEST: u16 = 16 * 1024;
/// RFC 5246 §7.4.9.
const FINISHED: u16 = 12;

const ILLEGAL: Refusal = Refusal(Alert::ILLEGAL_PARAMETER);

/// Where the handshake is: what the segment under way will have done.
pub(super) enum State {
    ResumptionNegotiated(ResumptionNegotiated),
    Resumed(Resumed),
    EarlierMaster(EarlierMaster),
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
    SignatureWritten(SignatureWritten),
    CipherSpecChanged(CipherSpecChanged),
    FinishedWritten(FinishedWritten),
    Ticket(ExpectTicket),
    TicketKept(TicketKept),
    ChangeCipherSpec(ExpectChangeCipherSpec),
    ServerFinished(ExpectFinished),
    MacValidated(MacValidated),
    Finishing,
}

/// What ServerHello agreed on.
pub(super) struct Facts {
    alpn: Option<Protocol>,
    is_static_rsa: bool,
    /// The session of the ticket that was offered is resumed.
    is_resumed: bool,
    /// A ticket comes before the server's Finished.
    gives_ticket: bool,
}

/// And what the pre-master secret is made with.
pub(super) struct Exchange {
    facts: Facts,
    key: ServerKey,
    /// How this side proves who it is: the server asked for a certificate, and
    /// one can be shown.
    proof: Option<Scheme>,
}

/// What is left of it when the keys are there.
pub(super) struct End {
    facts: Facts,
    group: Option<Group>,
}

impl From<Exchange> for End {
    fn from(exchange: Exchange) -> Self {
        Self {
            facts: exchange.facts,
            group: match exchange.key {
                ServerKey::Share { group, .. } => Some(group),
                ServerKey::Certified => None,
            },
        }
    }
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
pub(super) struct SignatureWritten(Exchange);
pub(super) struct CipherSpecChanged(End);
pub(super) struct FinishedWritten(End);
pub(super) struct ExpectChangeCipherSpec(End);
pub(super) struct ExpectFinished(End);
pub(super) struct MacValidated(End);

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
        is_resumed: hello.is_resumed,
        gives_ticket: hello.gives_ticket,
    };
    let state = match facts.is_resumed {
        true => State::ResumptionNegotiated(ResumptionNegotiated(facts)),
        false => State::Negotiated(Negotiated(facts)),
    };
    Ok((state, segment))
}

impl State {
    pub(super) fn next(self, input: Input<'_>, asked: &Asked) -> Transition<Self> {
        match self {
            Self::ResumptionNegotiated(state) => state.next(input),
            Self::Resumed(state) => state.next(input),
            Self::EarlierMaster(state) => state.next(input),
            Self::Negotiated(state) => state.next(input),
            Self::Certificate(state) => state.next(input),
            Self::CertificateDecoded(state) => state.next(input, asked),
            Self::ChainValidated(state) => state.next(input),
            Self::ServerKeyExchange(state) => state.next(input, asked),
            Self::SignatureVerified(state) => state.next(input),
            Self::RequestOrDone(state) => state.next(input, asked),
            Self::Done(state) => state.next(input),
            Self::CertificateWritten(state) => state.next(input),
            Self::ExchangeWritten(state) => state.next(input),
            Self::Agreed(state) => state.next(input),
            Self::MasterSecret(state) => state.next(input),
            Self::SignatureWritten(state) => state.next(input),
            Self::CipherSpecChanged(state) => state.next(input),
            Self::FinishedWritten(state) => state.next(input, asked),
            Self::Ticket(state) => state.next(input),
            Self::TicketKept(state) => state.next(input),
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
        input.message(HandshakeType::CERTIFICATE)?;
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
                proof: None,
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
        let whole = input.message(HandshakeType::SERVER_KEY_EXCHANGE)?;
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
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        let Input::Message { kind, body } = input else {
            return Err(INTERNAL);
        };
        match kind {
            HandshakeType::SERVER_HELLO_DONE if body.is_empty() => exchange(self.0),
            HandshakeType::SERVER_HELLO_DONE => Err(Refusal(Alert::DECODE_ERROR)),
            HandshakeType::CERTIFICATE_REQUEST => {
                let exchange = Exchange {
                    proof: request(body, asked)?,
                    ..self.0
                };
                Ok((State::Done(ExpectDone(exchange)), receive(0)))
            }
            _ => Err(Refusal(Alert::UNEXPECTED_MESSAGE)),
        }
    }
}

/// How this side can authenticate, of what a CertificateRequest accepts (RFC 5246
/// §7.4.4): types, schemes, authorities. The chain goes out for any authorities: the
/// server decides.
fn request(body: &[u8], asked: &Asked) -> Result<Option<Scheme>, Refusal> {
    let mut body = Reader::new(body);
    let types = body.vec8()?.rest();
    let mut list = body.vec16()?;
    body.vec16()?;
    body.end()?;
    let mut schemes = List::<Scheme, 9>::new();
    while let Some(number) = list.next_u16()? {
        if let Some(scheme) = Scheme::from_number(number).filter(|s| !schemes.contains(s)) {
            // As many places as there are schemes.
            let _ = schemes.push(scheme);
        }
    }
    let scheme = client::scheme_for(asked, &schemes, Version::Tls12);
    Ok(scheme.filter(|scheme| types.contains(&certificate_type(KeyKind::of(*scheme)))))
}

const fn certificate_type(kind: KeyKind) -> u8 {
    match kind {
        KeyKind::Rsa => RSA_SIGN,
        // RFC 8422 §5.5: EdDSA keys too.
        KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::Ed25519 => ECDSA_SIGN,
    }
}

// ---- This side's flight ----

impl ExpectDone {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.message(HandshakeType::SERVER_HELLO_DONE)?;
        let mut writer = TemplateWriter::new(HandshakeType::CERTIFICATE);
        let template = match self.0.proof {
            Some(_) => writer.hole(3, Fill::Chain(0)),
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
        exchange(self.0)
    }
}

fn exchange(exchange: Exchange) -> Transition<State> {
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
        let Some(scheme) = self.0.proof else {
            return Ok(change_cipher_spec(self.0.into()));
        };
        // RFC 7627 §3: after the messages that the master secret stands for.
        let mut writer = TemplateWriter::new(HandshakeType::CERTIFICATE_VERIFY);
        writer
            .u16(scheme.number())
            .hole(2, Fill::Signature { ring: 0, scheme });
        let template = writer.finish().ok_or(INTERNAL)?;
        let state = State::SignatureWritten(SignatureWritten(self.0));
        Ok((state, Segment::Write(template)))
    }
}

impl SignatureWritten {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        Ok(change_cipher_spec(self.0.into()))
    }
}

fn change_cipher_spec(end: End) -> (State, Segment) {
    let state = State::CipherSpecChanged(CipherSpecChanged(end));
    (state, Segment::WriteChangeCipherSpec)
}

impl CipherSpecChanged {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let mut writer = TemplateWriter::new(HandshakeType::FINISHED);
        let template = writer.hole(0, Fill::VerifyData).finish().ok_or(INTERNAL)?;
        let state = State::FinishedWritten(FinishedWritten(self.0));
        Ok((state, Segment::Write(template)))
    }
}

// ---- The end ----

impl FinishedWritten {
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        input.done()?;
        Ok(match self.0.facts.is_resumed {
            // The server has said it all.
            true => finish(self.0, asked),
            false => tickets::server_ends(self.0),
        })
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
        input.message(HandshakeType::FINISHED)?;
        let state = State::MacValidated(MacValidated(self.0));
        Ok((state, Segment::ValidateMac))
    }
}

impl MacValidated {
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        input.done()?;
        Ok(match self.0.facts.is_resumed {
            true => change_cipher_spec(self.0),
            false => finish(self.0, asked),
        })
    }
}

fn finish(end: End, asked: &Asked) -> (State, Segment) {
    let agreed = Agreed {
        group: end.group,
        alpn: end.facts.alpn,
        server_name: asked.parameters.server_name.clone(),
        ring: 0,
    };
    (State::Finishing, Segment::Finish(Box::new(agreed)))
}

#[cfg(test)]
mod tests {
    use ipc::control::Parameters;
    use ipc::tls::PeerAuthentication;

    use super::*;

    /// What an `asked` with a key of `kind` answers to a CertificateRequest of
    /// `types` and `schemes`, without authorities.
    fn answer(kind: Option<KeyKind>, types: &[u8], schemes: &[u16]) -> Option<Scheme> {
        let mut body = vec![u8::try_from(types.len()).unwrap()];
        body.extend(types);
        body.extend(u16::try_from(2 * schemes.len()).unwrap().to_be_bytes());
        body.extend(schemes.iter().flat_map(|scheme| scheme.to_be_bytes()));
        body.extend([0, 0]);
        request(&body, &asked(kind)).ok().unwrap()
    }

    fn asked(kind: Option<KeyKind>) -> Asked {
        let parameters = Parameters {
            versions: List::from_items([Version::Tls12]).unwrap(),
            suites: List::new(),
            allow_static_rsa: false,
            groups: List::new(),
            keyrings: List::new(),
            peer_authentication: PeerAuthentication::None,
            server_name: None,
            alpn: List::new(),
            segment_size: 1400,
            resumption: false,
            expose_keys: false,
        };
        Asked {
            parameters: Box::new(parameters),
            rings: List::from_items([kind]).unwrap(),
            authorities: List::new(),
        }
    }

    #[test]
    fn r24_a_key_is_shown_whose_type_and_scheme_are_both_accepted() {
        let p256 = Some(KeyKind::EcdsaP256);
        let ecdsa = Some(Scheme::EcdsaSecp256r1Sha256);
        assert_eq!(
            answer(p256, &[RSA_SIGN, ECDSA_SIGN], &[0x0401, 0x0403]),
            ecdsa
        );
        assert_eq!(answer(p256, &[RSA_SIGN], &[0x0401, 0x0403]), None);
        assert_eq!(answer(p256, &[ECDSA_SIGN], &[0x0401]), None);
        assert_eq!(answer(p256, &[], &[]), None);
        assert_eq!(answer(None, &[ECDSA_SIGN], &[0x0403]), None);
        let ed25519 = answer(Some(KeyKind::Ed25519), &[ECDSA_SIGN], &[0x0807]);
        assert_eq!(ed25519, Some(Scheme::Ed25519));
        let rsa = answer(Some(KeyKind::Rsa), &[RSA_SIGN], &[0x0401, 0x0401]);
        assert_eq!(rsa, Some(Scheme::RsaPkcs1Sha256));
    }

    #[test]
    fn a_certificate_request_that_can_not_be_parsed_is_refused() {
        for body in [
            &[][..],
            &[2, 1],
            &[1, 64, 0, 2, 4],
            &[1, 64, 0, 1, 4, 0, 0],
            &[1, 64, 0, 2, 4, 3],
            &[1, 64, 0, 2, 4, 3, 0, 0, 0],
        ] {
            assert!(request(body, &asked(None)).is_err(), "{body:?}");
        }
    }
}

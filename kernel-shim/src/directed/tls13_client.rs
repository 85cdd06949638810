//! The client of TLS 1.3 (RFC 8446 §2, §A.1).
//!
//! ```text
//! ClientHello -> [HelloRetryRequest -> ClientHello ->] ServerHello
//!   -> EncryptedExtensions -> [CertificateRequest ->] Certificate
//!   -> CertificateVerify -> Finished
//!   -> [own Certificate -> [CertificateVerify ->]] own Finished
//! ```

use alloc::boxed::Box;

use ipc::bounded::{Bytes, List};
use ipc::segment::{Agreed, Fill, MAX_SHARE, Segment, Stage, Ticket};
use ipc::tls::Protocol;
use tls::codec::{Reader, Writer};
use tls::{Alert, CipherSuite, ExtensionType, Group, HandshakeType, Scheme, Version};

use super::client;
use super::negotiation::Asked;
use super::server_hello::{ServerHello, protocol};
use super::template::TemplateWriter;
use super::{
    INTERNAL, Input, MAX_CERTIFICATE, MAX_EXTENSIONS, MAX_FINISHED, MAX_SERVER_HELLO,
    MAX_SIGNATURE, Refusal, Transition, receive, receive_all,
};

const ILLEGAL: Refusal = Refusal(Alert::ILLEGAL_PARAMETER);
const MISSING: Refusal = Refusal(Alert::MISSING_EXTENSION);
const UNEXPECTED: Refusal = Refusal(Alert::UNEXPECTED_MESSAGE);

/// Where the handshake is: what the segment under way will have done.
pub(super) enum State {
    RetryNegotiated(RetryNegotiated),
    Restarted(Restarted),
    SecondHelloWritten(SecondHelloWritten),
    SecondServerHello(ExpectSecondServerHello),
    Negotiated(Negotiated),
    Resumed(Resumed),
    Agreed(SharesAgreed),
    HandshakeKeys(HandshakeKeys),
    Extensions(ExpectExtensions),
    CertificateOrRequest(ExpectCertificateOrRequest),
    Certificate(ExpectCertificate),
    CertificateDecoded(CertificateDecoded),
    ChainValidated(ChainValidated),
    Signature(ExpectCertificateVerify),
    SignatureVerified(SignatureVerified),
    Finished(ExpectFinished),
    MacValidated(MacValidated),
    ApplicationKeys(ApplicationKeys),
    CertificateWritten(CertificateWritten),
    SignatureWritten(SignatureWritten),
    FinishedWritten(FinishedWritten),
    TicketPrepared(TicketPrepared),
    Finishing,
}

/// A HelloRetryRequest, and what comes of it.
pub(super) struct Retry {
    suite: CipherSuite,
    group: Group,
    cookie: Bytes<{ super::server_hello::MAX_COOKIE }>,
    /// What is offered again.
    ticket: Option<Ticket>,
}

/// What was agreed on so far.
pub(super) struct Facts {
    group: Group,
    alpn: Option<Protocol>,
    /// The session of the ticket that was offered is resumed.
    is_resumed: bool,
    /// The server asked for a certificate, and one can be shown with this.
    request: Request,
}

/// Whether the server asked for a certificate.
#[derive(Clone, Copy)]
enum Request {
    None,
    /// None of this side's fits.
    Unmet,
    Met(Scheme),
}

pub(super) struct RetryNegotiated(Retry);
pub(super) struct Restarted(Retry);
pub(super) struct SecondHelloWritten(Retry);
pub(super) struct ExpectSecondServerHello(Retry);
pub(super) struct Negotiated(Facts, Bytes<MAX_SHARE>);
pub(super) struct Resumed(Facts, Bytes<MAX_SHARE>);
pub(super) struct SharesAgreed(Facts);
pub(super) struct HandshakeKeys(Facts);
pub(super) struct ExpectExtensions(Facts);
pub(super) struct ExpectCertificateOrRequest(Facts);
pub(super) struct ExpectCertificate(Facts);
pub(super) struct CertificateDecoded(Facts);
pub(super) struct ChainValidated(Facts);
pub(super) struct ExpectCertificateVerify(Facts);
pub(super) struct SignatureVerified(Facts);
pub(super) struct ExpectFinished(Facts);
pub(super) struct MacValidated(Facts);
pub(super) struct ApplicationKeys(Facts);
pub(super) struct CertificateWritten(Facts, Scheme);
pub(super) struct SignatureWritten(Facts);
pub(super) struct FinishedWritten(Facts);
pub(super) struct TicketPrepared(Facts);

/// Goes on after a first ServerHello, or a HelloRetryRequest.
pub(super) fn begin(
    hello: ServerHello,
    ticket: Option<Ticket>,
    asked: &Asked,
) -> Transition<State> {
    let offered = asked.groups().first().copied();
    if !hello.is_retry {
        return negotiated(hello, offered);
    }
    // RFC 8446 §4.1.4: it must change something.
    let group = match &hello.share {
        Some((group, _)) if Some(*group) == offered => return Err(ILLEGAL),
        Some((group, _)) => *group,
        None if hello.cookie.is_empty() => return Err(ILLEGAL),
        None => offered.ok_or(INTERNAL)?,
    };
    let segment = Segment::Negotiate {
        suite: hello.suite,
        peer_random: hello.random,
    };
    let retry = Retry {
        suite: hello.suite,
        group,
        cookie: hello.cookie,
        // RFC 8446 §4.1.4: one of another hash is of no use.
        ticket: ticket.filter(|ticket| {
            ticket.suite.version() == Version::Tls12
                || ticket.suite.hash_len() == hello.suite.hash_len()
        }),
    };
    Ok((State::RetryNegotiated(RetryNegotiated(retry)), segment))
}

fn negotiated(hello: ServerHello, offered: Option<Group>) -> Transition<State> {
    let (group, key) = hello.share.ok_or(MISSING)?;
    if Some(group) != offered {
        return Err(ILLEGAL);
    }
    let segment = Segment::Negotiate {
        suite: hello.suite,
        peer_random: hello.random,
    };
    let facts = Facts {
        group,
        alpn: None,
        is_resumed: hello.is_resumed,
        request: Request::None,
    };
    Ok((State::Negotiated(Negotiated(facts, key)), segment))
}

impl State {
    pub(super) fn next(self, input: Input<'_>, asked: &Asked) -> Transition<Self> {
        match self {
            Self::RetryNegotiated(state) => state.next(input),
            Self::Restarted(state) => state.next(input, asked),
            Self::SecondHelloWritten(state) => state.next(input),
            Self::SecondServerHello(state) => state.next(input, asked),
            Self::Negotiated(state) => state.next(input),
            Self::Resumed(state) => state.next(input),
            Self::Agreed(state) => state.next(input),
            Self::HandshakeKeys(state) => state.next(input),
            Self::Extensions(state) => state.next(input, asked),
            Self::CertificateOrRequest(state) => state.next(input, asked),
            Self::Certificate(state) => state.next(input),
            Self::CertificateDecoded(state) => state.next(input, asked),
            Self::ChainValidated(state) => state.next(input),
            Self::Signature(state) => state.next(input),
            Self::SignatureVerified(state) => state.next(input),
            Self::Finished(state) => state.next(input),
            Self::MacValidated(state) => state.next(input),
            Self::ApplicationKeys(state) => state.next(input),
            Self::CertificateWritten(state) => state.next(input),
            Self::SignatureWritten(state) => state.next(input),
            Self::FinishedWritten(state) => state.next(input, asked),
            Self::TicketPrepared(state) => state.next(input, asked),
            Self::Finishing => Err(INTERNAL),
        }
    }
}

// ---- HelloRetryRequest ----

impl RetryNegotiated {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        Ok((State::Restarted(Restarted(self.0)), Segment::Restart))
    }
}

impl Restarted {
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        input.done()?;
        let Retry {
            group,
            cookie,
            ticket,
            ..
        } = &self.0;
        let hello = client::hello(asked, Fill::SameRandom, *group, cookie, ticket.as_ref());
        let template = hello.ok_or(INTERNAL)?;
        let state = State::SecondHelloWritten(SecondHelloWritten(self.0));
        Ok((state, Segment::Write(template)))
    }
}

impl SecondHelloWritten {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let state = State::SecondServerHello(ExpectSecondServerHello(self.0));
        Ok((state, receive_all(MAX_SERVER_HELLO)))
    }
}

impl ExpectSecondServerHello {
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        let body = input.message(HandshakeType::SERVER_HELLO)?;
        let Retry {
            suite,
            group,
            ticket,
            ..
        } = self.0;
        let hello = ServerHello::parse(body, asked, ticket.as_ref())?;
        if hello.is_retry {
            return Err(UNEXPECTED);
        }
        if hello.suite != suite || hello.version != Version::Tls13 {
            return Err(ILLEGAL);
        }
        negotiated(hello, Some(group))
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
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let Self(facts, share) = self;
        let state = State::Agreed(SharesAgreed(facts));
        Ok((state, Segment::Agree { share }))
    }
}

impl SharesAgreed {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let state = State::HandshakeKeys(HandshakeKeys(self.0));
        Ok((state, Segment::Derive(Stage::Handshake)))
    }
}

impl HandshakeKeys {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let state = State::Extensions(ExpectExtensions(self.0));
        Ok((state, receive_all(MAX_EXTENSIONS)))
    }
}

impl ExpectExtensions {
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        let mut body = Reader::new(input.message(HandshakeType::ENCRYPTED_EXTENSIONS)?);
        let mut extensions = body.vec16()?;
        body.end()?;
        let mut facts = self.0;
        let (mut has_name, mut has_groups) = (false, false);
        while let Some((kind, mut content)) = extensions.next_extension()? {
            match kind {
                ExtensionType::SERVER_NAME if asked.dns_name().is_some() && !has_name => {
                    has_name = true;
                    content.end()?;
                }
                // What the server would rather have: of no use here.
                ExtensionType::SUPPORTED_GROUPS if !has_groups => has_groups = true,
                ExtensionType::ALPN
                    if !asked.parameters.alpn.is_empty() && facts.alpn.is_none() =>
                {
                    facts.alpn = Some(protocol(&mut content, asked)?);
                    content.end()?;
                }
                ExtensionType::SERVER_NAME
                | ExtensionType::SUPPORTED_GROUPS
                | ExtensionType::ALPN
                    if has_name || has_groups || facts.alpn.is_some() =>
                {
                    return Err(ILLEGAL);
                }
                _ => return Err(Refusal(Alert::UNSUPPORTED_EXTENSION)),
            }
        }
        // RFC 8446 §2.2: the resumed session says who the server is.
        if facts.is_resumed {
            return SignatureVerified(facts).next(Input::Done);
        }
        let state = State::CertificateOrRequest(ExpectCertificateOrRequest(facts));
        Ok((state, receive_all(MAX_EXTENSIONS_OR_CERTIFICATE)))
    }
}

/// CertificateRequest is parsed here, Certificate elsewhere: both may come.
const MAX_EXTENSIONS_OR_CERTIFICATE: u16 = MAX_CERTIFICATE;

impl ExpectCertificateOrRequest {
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        let Input::Message { kind, body } = input else {
            return Err(INTERNAL);
        };
        match kind {
            HandshakeType::CERTIFICATE => Ok(decode(self.0)),
            HandshakeType::CERTIFICATE_REQUEST => {
                let schemes = request(body)?;
                let scheme = client::scheme_for(asked, &schemes, Version::Tls13);
                let facts = Facts {
                    request: scheme.map_or(Request::Unmet, Request::Met),
                    ..self.0
                };
                let state = State::Certificate(ExpectCertificate(facts));
                Ok((state, receive(MAX_CERTIFICATE)))
            }
            _ => Err(UNEXPECTED),
        }
    }
}

/// The schemes in a CertificateRequest (RFC 8446 §4.3.2).
fn request(body: &[u8]) -> Result<List<Scheme, 9>, Refusal> {
    let mut body = Reader::new(body);
    if !body.vec8()?.is_empty() {
        return Err(ILLEGAL);
    }
    let mut extensions = body.vec16()?;
    body.end()?;
    let mut schemes = None;
    while let Some((kind, mut content)) = extensions.next_extension()? {
        if kind != ExtensionType::SIGNATURE_ALGORITHMS {
            continue;
        }
        let mut list = content.vec16()?;
        content.end()?;
        let known = schemes.insert(List::new());
        while let Some(number) = list.next_u16()? {
            if let Some(scheme) = Scheme::from_number(number).filter(|s| !known.contains(s)) {
                // As many places as there are schemes.
                let _ = known.push(scheme);
            }
        }
    }
    schemes.ok_or(MISSING)
}

fn decode(facts: Facts) -> (State, Segment) {
    let state = State::CertificateDecoded(CertificateDecoded(facts));
    (state, Segment::DecodeCertificate)
}

impl ExpectCertificate {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.message(HandshakeType::CERTIFICATE)?;
        Ok(decode(self.0))
    }
}

impl CertificateDecoded {
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        match input {
            // RFC 8446 §4.4.2.4: a server always shows one.
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
        let state = State::Signature(ExpectCertificateVerify(self.0));
        Ok((state, receive(MAX_SIGNATURE)))
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
        let state = State::Finished(ExpectFinished(self.0));
        Ok((state, receive(MAX_FINISHED)))
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
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let state = State::ApplicationKeys(ApplicationKeys(self.0));
        Ok((state, Segment::Derive(Stage::Application)))
    }
}

// ---- This side's flight ----

impl ApplicationKeys {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let mut writer = TemplateWriter::new(HandshakeType::CERTIFICATE);
        writer.vec8(&[]);
        match self.0.request {
            Request::None => finished(self.0),
            Request::Unmet => {
                let template = writer.bytes(&[0, 0, 0]).finish().ok_or(INTERNAL)?;
                let state = State::SignatureWritten(SignatureWritten(self.0));
                Ok((state, Segment::Write(template)))
            }
            Request::Met(scheme) => {
                let template = writer.hole(3, Fill::Chain(0)).finish().ok_or(INTERNAL)?;
                let state = State::CertificateWritten(CertificateWritten(self.0, scheme));
                Ok((state, Segment::Write(template)))
            }
        }
    }
}

impl CertificateWritten {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let Self(facts, scheme) = self;
        let mut writer = TemplateWriter::new(HandshakeType::CERTIFICATE_VERIFY);
        writer
            .u16(scheme.number())
            .hole(2, Fill::Signature { ring: 0, scheme });
        let template = writer.finish().ok_or(INTERNAL)?;
        let state = State::SignatureWritten(SignatureWritten(facts));
        Ok((state, Segment::Write(template)))
    }
}

impl SignatureWritten {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        finished(self.0)
    }
}

fn finished(facts: Facts) -> Transition<State> {
    let mut writer = TemplateWriter::new(HandshakeType::FINISHED);
    let template = writer.hole(0, Fill::VerifyData).finish();
    let state = State::FinishedWritten(FinishedWritten(facts));
    Ok((state, Segment::Write(template.ok_or(INTERNAL)?)))
}

impl FinishedWritten {
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        input.done()?;
        if !asked.parameters.resumption {
            return TicketPrepared(self.0).next(Input::Done, asked);
        }
        let state = State::TicketPrepared(TicketPrepared(self.0));
        let server_name = None;
        Ok((state, Segment::PrepareTicket { server_name }))
    }
}

impl TicketPrepared {
    /// Tickets come after the handshake.
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        match input {
            Input::Ticket(None) => {}
            input => input.done()?,
        }
        let agreed = Agreed {
            group: Some(self.0.group),
            alpn: self.0.alpn,
            server_name: asked.parameters.server_name.clone(),
            ring: 0,
        };
        Ok((State::Finishing, Segment::Finish(Box::new(agreed))))
    }
}

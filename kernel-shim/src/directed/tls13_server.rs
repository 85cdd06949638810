//! The server of TLS 1.3 (RFC 8446 §2, §A.2).
//!
//! ```text
//! ClientHello -> [HelloRetryRequest -> ClientHello ->] [ticket ->] ServerHello
//!   -> EncryptedExtensions -> [CertificateRequest ->] Certificate
//!   -> CertificateVerify -> Finished
//!   -> [client's Certificate -> [CertificateVerify ->]] client's Finished
//! ```

mod tickets;

use alloc::boxed::Box;

use ipc::segment::{Agreed, Fill, Segment, Stage};
use ipc::tls::PeerAuthentication;
use tls::codec::Writer;
use tls::server_hello::RETRY;
use tls::{Alert, ExtensionType, Group, HandshakeType, LEGACY_VERSION, Scheme, Version};

use super::client_hello::{ClientHello, Share};
use super::negotiation::{Asked, Plan};
use super::template::TemplateWriter;
use super::{
    INTERNAL, Input, MAX_CERTIFICATE, MAX_FINISHED, MAX_HELLO, MAX_SIGNATURE, Refusal, Transition,
    receive, receive_all,
};

use tickets::{Resumed, ResumptionNegotiated, TicketOpened, TicketPrepared, TicketWritten};

/// Where the handshake is: what the segment under way will have done.
pub(super) enum State {
    TicketOpened(TicketOpened),
    ResumptionNegotiated(ResumptionNegotiated),
    Resumed(Resumed),
    RetryNegotiated(RetryNegotiated),
    Restarted(Restarted),
    RetryWritten(RetryWritten),
    RetryCompatible(RetryCompatible),
    SecondHello(ExpectSecondHello),
    Negotiated(Negotiated),
    HelloWritten(HelloWritten),
    Compatible(Compatible),
    Agreed(SharesAgreed),
    HandshakeKeys(HandshakeKeys),
    ExtensionsWritten(ExtensionsWritten),
    RequestWritten(RequestWritten),
    CertificateWritten(CertificateWritten),
    SignatureWritten(SignatureWritten),
    FinishedWritten(FinishedWritten),
    ApplicationKeys(ApplicationKeys),
    ClientCertificate(ExpectCertificate),
    CertificateDecoded(CertificateDecoded),
    ChainValidated(ChainValidated),
    ClientSignature(ExpectCertificateVerify),
    SignatureVerified(SignatureVerified),
    ClientFinished(ExpectFinished),
    MacValidated(MacValidated),
    TicketPrepared(TicketPrepared),
    TicketWritten(TicketWritten),
    Finishing,
}

pub(super) struct RetryNegotiated(Retry);
pub(super) struct Restarted(Retry);
pub(super) struct RetryWritten(Retry);
pub(super) struct RetryCompatible(Retry);
pub(super) struct ExpectSecondHello(Retry);
pub(super) struct Negotiated(Plan, Share);
pub(super) struct HelloWritten(Plan, Share);
pub(super) struct Compatible(Plan, Share);
pub(super) struct SharesAgreed(Plan);
pub(super) struct HandshakeKeys(Plan);
pub(super) struct ExtensionsWritten(Plan);
pub(super) struct RequestWritten(Plan);
pub(super) struct CertificateWritten(Plan);
pub(super) struct SignatureWritten(Plan);
pub(super) struct FinishedWritten(Plan);
pub(super) struct ApplicationKeys(Plan);
pub(super) struct ExpectCertificate(Plan);
pub(super) struct CertificateDecoded(Plan);
pub(super) struct ChainValidated(Plan);
pub(super) struct ExpectCertificateVerify(Plan);
pub(super) struct SignatureVerified(Plan);
pub(super) struct ExpectFinished(Plan);
pub(super) struct MacValidated(Plan);

/// What a second ClientHello must repeat.
pub(super) struct Retry {
    plan: Plan,
    wanted: Group,
}

/// Decides between ServerHello and HelloRetryRequest.
pub(super) fn begin(hello: &ClientHello, plan: Plan, asked: &Asked) -> Transition<State> {
    if !hello.only_null_compression {
        return Err(Refusal(Alert::ILLEGAL_PARAMETER));
    }
    match asked.share(hello)? {
        Some(share) => tickets::begin(hello, plan, share, asked),
        None => {
            let segment = Segment::Negotiate {
                suite: plan.suite,
                peer_random: plan.client_random,
            };
            let wanted = plan.group;
            let retry = Retry { plan, wanted };
            Ok((State::RetryNegotiated(RetryNegotiated(retry)), segment))
        }
    }
}

impl State {
    pub(super) fn next(self, input: Input<'_>, asked: &Asked) -> Transition<Self> {
        match self {
            Self::TicketOpened(state) => state.next(input),
            Self::ResumptionNegotiated(state) => state.next(input),
            Self::Resumed(state) => state.next(input),
            Self::RetryNegotiated(state) => state.next(input),
            Self::Restarted(state) => state.next(input),
            Self::RetryWritten(state) => state.next(input),
            Self::RetryCompatible(state) => state.next(input),
            Self::SecondHello(state) => state.next(input, asked),
            Self::Negotiated(state) => state.next(input),
            Self::HelloWritten(state) => state.next(input),
            Self::Compatible(state) => state.next(input),
            Self::Agreed(state) => state.next(input),
            Self::HandshakeKeys(state) => state.next(input),
            Self::ExtensionsWritten(state) => state.next(input, asked),
            Self::RequestWritten(state) => state.next(input),
            Self::CertificateWritten(state) => state.next(input),
            Self::SignatureWritten(state) => state.next(input),
            Self::FinishedWritten(state) => state.next(input),
            Self::ApplicationKeys(state) => state.next(input, asked),
            Self::ClientCertificate(state) => state.next(input),
            Self::CertificateDecoded(state) => state.next(input, asked),
            Self::ChainValidated(state) => state.next(input),
            Self::ClientSignature(state) => state.next(input),
            Self::SignatureVerified(state) => state.next(input),
            Self::ClientFinished(state) => state.next(input),
            Self::MacValidated(state) => state.next(input),
            Self::TicketPrepared(state) => state.next(input),
            Self::TicketWritten(state) => state.next(input),
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
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let mut writer = TemplateWriter::new(HandshakeType::SERVER_HELLO);
        let Retry { plan, wanted } = &self.0;
        writer
            .u16(LEGACY_VERSION)
            .bytes(&RETRY)
            .vec8(&plan.session_id)
            .u16(plan.suite.number())
            .u8(0)
            .nested(0, |w| {
                w.extension(ExtensionType::KEY_SHARE)
                    .u16(2)
                    .u16(wanted.number());
                w.extension(ExtensionType::SUPPORTED_VERSIONS)
                    .u16(2)
                    .u16(Version::Tls13.number());
            });
        let template = writer.finish().ok_or(INTERNAL)?;
        let state = State::RetryWritten(RetryWritten(self.0));
        Ok((state, Segment::Write(template)))
    }
}

impl RetryWritten {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        match self.0.plan.session_id.is_empty() {
            true => RetryCompatible(self.0).next(Input::Done),
            false => Ok((
                State::RetryCompatible(RetryCompatible(self.0)),
                Segment::WriteChangeCipherSpec,
            )),
        }
    }
}

impl RetryCompatible {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let state = State::SecondHello(ExpectSecondHello(self.0));
        Ok((state, receive_all(MAX_HELLO)))
    }
}

impl ExpectSecondHello {
    /// RFC 8446 §4.1.2: the same but for what was asked for.
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        let body = input.message(HandshakeType::CLIENT_HELLO)?;
        let hello = ClientHello::parse(body, &asked.parameters.alpn)?;
        let Retry { plan, wanted } = self.0;
        let shares = hello.shares.as_ref().map(|shares| &shares[..]);
        let is_same = hello.random == plan.client_random
            && hello.session_id == plan.session_id
            && hello.suites.contains(&plan.suite)
            && hello.server_name == plan.server_name
            && hello.offers_tls13
            && hello.only_null_compression;
        match shares {
            Some([share]) if is_same && share.group == wanted => {
                let share = share.clone();
                // The middlebox has had its ChangeCipherSpec.
                let plan = Plan {
                    compatibility_sent: true,
                    ..plan
                };
                tickets::begin(&hello, plan, share, asked)
            }
            None => Err(Refusal(Alert::MISSING_EXTENSION)),
            _ => Err(Refusal(Alert::ILLEGAL_PARAMETER)),
        }
    }
}

// ---- ServerHello ----

impl Negotiated {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let Self(plan, share) = self;
        let group = share.group;
        let mut writer = TemplateWriter::new(HandshakeType::SERVER_HELLO);
        writer
            .u16(LEGACY_VERSION)
            .hole(0, Fill::Random { downgraded: false })
            .vec8(&plan.session_id)
            .u16(plan.suite.number())
            .u8(0)
            .nested(2 + group.share_len(), |w| {
                // RFC 8446 §4.2.11: by its place in the client's list.
                if let Some(place) = plan.resumed {
                    w.extension(ExtensionType::PRE_SHARED_KEY).u16(2).u16(place);
                }
                w.extension(ExtensionType::KEY_SHARE)
                    .nested(2 + group.share_len(), |w| {
                        w.u16(group.number()).hole(2, Fill::KeyShare(group));
                    });
                w.extension(ExtensionType::SUPPORTED_VERSIONS)
                    .u16(2)
                    .u16(Version::Tls13.number());
            });
        let template = writer.finish().ok_or(INTERNAL)?;
        let plan = Plan { group, ..plan };
        let state = State::HelloWritten(HelloWritten(plan, share));
        Ok((state, Segment::Write(template)))
    }
}

impl HelloWritten {
    /// RFC 8446 §D.4: a client that sends a session identifier wants to see a
    /// ChangeCipherSpec.
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let Self(plan, share) = self;
        let is_due = !plan.session_id.is_empty() && !plan.compatibility_sent;
        let state = Compatible(plan, share);
        match is_due {
            true => Ok((State::Compatible(state), Segment::WriteChangeCipherSpec)),
            false => state.next(Input::Done),
        }
    }
}

impl Compatible {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let Self(plan, share) = self;
        let segment = Segment::Agree { share: share.key };
        Ok((State::Agreed(SharesAgreed(plan)), segment))
    }
}

impl SharesAgreed {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let state = State::HandshakeKeys(HandshakeKeys(self.0));
        Ok((state, Segment::Derive(Stage::Handshake)))
    }
}

// ---- The server's flight ----

impl HandshakeKeys {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let Self(plan) = self;
        let mut writer = TemplateWriter::new(HandshakeType::ENCRYPTED_EXTENSIONS);
        writer.nested(0, |w| {
            // RFC 6066 §3: the name was of use.
            if plan.server_name.is_some() {
                w.extension(ExtensionType::SERVER_NAME).u16(0);
            }
            if let Some(name) = &plan.alpn {
                w.extension(ExtensionType::ALPN).nested(0, |w| {
                    w.len16(1 + name.len()).vec8(name);
                });
            }
        });
        let template = writer.finish().ok_or(INTERNAL)?;
        let state = State::ExtensionsWritten(ExtensionsWritten(plan));
        Ok((state, Segment::Write(template)))
    }
}

impl ExtensionsWritten {
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        input.done()?;
        // RFC 8446 §2.2: the resumed session says who each side is.
        if self.0.resumed.is_some() {
            return SignatureWritten(self.0).next(Input::Done);
        }
        if !asked.asks_client() {
            return RequestWritten(self.0).next(Input::Done);
        }
        let mut writer = TemplateWriter::new(HandshakeType::CERTIFICATE_REQUEST);
        let ring = self.0.ring;
        let names = match asked.authorities.get(usize::from(ring)) {
            None | Some(0) => 0,
            Some(bytes) => 2 + usize::from(*bytes),
        };
        writer.vec8(&[]).nested(names, |w| {
            w.extension(ExtensionType::SIGNATURE_ALGORITHMS)
                .nested(0, |w| {
                    w.nested(0, |w| {
                        // RFC 8446 §4.2.3: those of RSASSA-PKCS1-v1_5 are for the
                        // signatures in certificates.
                        for scheme in Scheme::OFFERED {
                            w.u16(scheme.number());
                        }
                    });
                });
            if names > 0 {
                w.extension(ExtensionType::CERTIFICATE_AUTHORITIES)
                    .nested(names, |w| {
                        w.hole(2, Fill::Authorities(ring));
                    });
            }
        });
        let template = writer.finish().ok_or(INTERNAL)?;
        let state = State::RequestWritten(RequestWritten(self.0));
        Ok((state, Segment::Write(template)))
    }
}

impl RequestWritten {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let mut writer = TemplateWriter::new(HandshakeType::CERTIFICATE);
        writer.vec8(&[]).hole(3, Fill::Chain(self.0.ring));
        let template = writer.finish().ok_or(INTERNAL)?;
        let state = State::CertificateWritten(CertificateWritten(self.0));
        Ok((state, Segment::Write(template)))
    }
}

impl CertificateWritten {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let Plan { ring, scheme, .. } = self.0;
        let mut writer = TemplateWriter::new(HandshakeType::CERTIFICATE_VERIFY);
        writer
            .u16(scheme.number())
            .hole(2, Fill::Signature { ring, scheme });
        let template = writer.finish().ok_or(INTERNAL)?;
        let state = State::SignatureWritten(SignatureWritten(self.0));
        Ok((state, Segment::Write(template)))
    }
}

impl SignatureWritten {
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
        let state = State::ApplicationKeys(ApplicationKeys(self.0));
        Ok((state, Segment::Derive(Stage::Application)))
    }
}

// ---- The client's flight ----

impl ApplicationKeys {
    fn next(self, input: Input<'_>, asked: &Asked) -> Transition<State> {
        input.done()?;
        if asked.asks_client() && self.0.resumed.is_none() {
            let state = State::ClientCertificate(ExpectCertificate(self.0));
            return Ok((state, receive(MAX_CERTIFICATE)));
        }
        Ok(finished(self.0))
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
        let Input::Certificates(count) = input else {
            return Err(INTERNAL);
        };
        match (count, asked.parameters.peer_authentication) {
            // RFC 8446 §4.4.2.4.
            (0, PeerAuthentication::Require) => Err(Refusal(Alert::CERTIFICATE_REQUIRED)),
            (0, _) => Ok(finished(self.0)),
            _ => {
                let state = State::ChainValidated(ChainValidated(self.0));
                Ok((state, Segment::ValidateChain { server_name: None }))
            }
        }
    }
}

impl ChainValidated {
    fn next(self, input: Input<'_>) -> Transition<State> {
        input.done()?;
        let state = State::ClientSignature(ExpectCertificateVerify(self.0));
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
        Ok(finished(self.0))
    }
}

fn finished(plan: Plan) -> (State, Segment) {
    let state = State::ClientFinished(ExpectFinished(plan));
    (state, receive(MAX_FINISHED))
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
        tickets::end(self.0)
    }
}

/// The end, with or without tickets.
fn finish(plan: Plan) -> (State, Segment) {
    let segment = Segment::Finish(Box::new(agreed(plan)));
    (State::Finishing, segment)
}

/// What the completion reports of the plan.
fn agreed(plan: Plan) -> Agreed {
    Agreed {
        group: Some(plan.group),
        alpn: plan.alpn,
        server_name: plan.server_name,
        ring: plan.ring,
    }
}

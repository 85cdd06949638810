//! Sub-scripts that authenticate the peer: its chain, its signature, its Finished.

use alloc::boxed::Box;

use ipc::control::Cause;
use ipc::segment::Segment;
use ipc::tls::{PeerAuthentication, ServerName};
use tls::{Alert, HandshakeType};

use crate::negotiation::Config;
use crate::script::{INTERNAL, Input, MAX_CERTIFICATE, MAX_SIGNATURE, Progress, Refusal, receive};

/// A hash.
const MAX_FINISHED: u16 = 64;

type Step<S, R> = Result<Progress<S, R>, Refusal>;

/// What a chain has to be.
pub(crate) struct Terms<'a> {
    /// The alert for a peer without one, if it has to have one.
    without: Option<Alert>,
    /// Whom it has to name.
    server_name: Option<&'a ServerName>,
}

impl<'a> Terms<'a> {
    /// A client's chain, and the alert when the request insists on one.
    pub(crate) fn of_client(config: &Config, without: Alert) -> Self {
        let is_required = config.parameters.peer_authentication == PeerAuthentication::Require;
        Self {
            without: is_required.then_some(without),
            server_name: None,
        }
    }

    /// A server's chain. RFC 8446 §4.4.2.4: a server always shows one.
    pub(crate) fn of_server(config: &'a Config) -> Self {
        Self {
            without: Some(Alert::DECODE_ERROR),
            server_name: config.parameters.server_name.as_ref(),
        }
    }
}

/// The peer's chain. Over: whether there is one.
#[derive(Debug)]
pub(crate) enum Chain {
    /// Waits for Certificate.
    Expected,
    /// It was decoded.
    Decoded,
    /// It was validated.
    Validated,
}

impl Chain {
    pub(crate) const fn expect() -> (Self, Segment) {
        (Self::Expected, receive(MAX_CERTIFICATE))
    }

    /// From the Certificate message that was received last.
    pub(crate) const fn decode() -> (Self, Segment) {
        (Self::Decoded, Segment::DecodeCertificate)
    }

    pub(crate) fn next(self, input: Input<'_>, terms: &Terms<'_>) -> Step<Self, bool> {
        match self {
            Self::Expected => {
                input.message(HandshakeType::CERTIFICATE)?;
                let (state, segment) = Self::decode();
                Ok(Progress::Next(state, segment))
            }
            Self::Decoded => match (input, terms.without) {
                (Input::Certificates(0), Some(alert)) => {
                    Err(Refusal::because(alert, Cause::CertificateMissing))
                }
                (Input::Certificates(0), None) => Ok(Progress::Over(false)),
                (Input::Certificates(_), _) => {
                    let server_name = terms.server_name.cloned().map(Box::new);
                    let segment = Segment::ValidateChain { server_name };
                    Ok(Progress::Next(Self::Validated, segment))
                }
                _ => Err(INTERNAL),
            },
            Self::Validated => {
                input.done()?;
                Ok(Progress::Over(true))
            }
        }
    }
}

/// The peer's signature over the transcript.
#[derive(Debug)]
pub(crate) enum Proof {
    /// Waits for CertificateVerify.
    Expected,
    /// It was verified.
    Verified,
}

impl Proof {
    pub(crate) const fn expect() -> (Self, Segment) {
        (Self::Expected, receive(MAX_SIGNATURE))
    }

    pub(crate) fn next(self, input: Input<'_>) -> Step<Self, ()> {
        match self {
            Self::Expected => {
                input.message(HandshakeType::CERTIFICATE_VERIFY)?;
                let segment = Segment::VerifySignature { offset: 0 };
                Ok(Progress::Next(Self::Verified, segment))
            }
            Self::Verified => input.done().map(Progress::Over),
        }
    }
}

/// The peer's Finished.
#[derive(Debug)]
pub(crate) enum Finished {
    /// TLS 1.2: waits for ChangeCipherSpec.
    ChangeCipherSpec,
    /// Waits for Finished.
    Expected,
    /// Its MAC was compared.
    Validated,
}

impl Finished {
    pub(crate) const fn expect_tls13() -> (Self, Segment) {
        (Self::Expected, receive(MAX_FINISHED))
    }

    pub(crate) const fn expect_tls12() -> (Self, Segment) {
        (Self::ChangeCipherSpec, Segment::ReceiveChangeCipherSpec)
    }

    pub(crate) fn next(self, input: Input<'_>) -> Step<Self, ()> {
        match self {
            Self::ChangeCipherSpec => {
                input.done()?;
                Ok(Progress::Next(Self::Expected, receive(MAX_FINISHED)))
            }
            Self::Expected => {
                input.message(HandshakeType::FINISHED)?;
                Ok(Progress::Next(Self::Validated, Segment::ValidateMac))
            }
            Self::Validated => input.done().map(Progress::Over),
        }
    }
}

//! What every state machine is made of: inputs, refusals, transitions, sub-scripts.

use ipc::control::Cause;
use ipc::segment::{MAX_PART, Segment, Ticket};
use tls::codec::DecodeError;
use tls::{Alert, HandshakeType};

/// The longest ClientHello that is read.
pub(crate) const MAX_HELLO: u16 = 16 * 1024;
/// The longest ServerHello, a HelloRetryRequest with its cookie among them, and
/// EncryptedExtensions.
pub(crate) const MAX_SERVER_HELLO: u16 = 16 * 1024;
pub(crate) const MAX_EXTENSIONS: u16 = 4096;
/// The longest message that is parsed here.
pub(crate) const MAX_COLLECTED: u16 = 32 * 1024;
/// The longest chain, which is not, and signature.
pub(crate) const MAX_CERTIFICATE: u16 = u16::MAX;
pub(crate) const MAX_SIGNATURE: u16 = 1024;

/// Why a handshake is given up: the alert for the peer, and for the report what it does not
/// tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) alert: Alert,
    pub(crate) cause: Option<Cause>,
}

impl Refusal {
    pub(crate) const fn new(alert: Alert) -> Self {
        Self { alert, cause: None }
    }

    pub(crate) const fn because(alert: Alert, cause: Cause) -> Self {
        Self {
            alert,
            cause: Some(cause),
        }
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::new(error.into())
    }
}

pub(crate) const ILLEGAL: Refusal = Refusal::new(Alert::ILLEGAL_PARAMETER);
pub(crate) const DECODE: Refusal = Refusal::new(Alert::DECODE_ERROR);
pub(crate) const MISSING: Refusal = Refusal::new(Alert::MISSING_EXTENSION);
pub(crate) const UNEXPECTED: Refusal = Refusal::new(Alert::UNEXPECTED_MESSAGE);
pub(crate) const UNSUPPORTED: Refusal = Refusal::new(Alert::UNSUPPORTED_EXTENSION);
/// Not the peer's fault: the offload component answered what was not asked.
pub(crate) const INTERNAL: Refusal = Refusal::new(Alert::INTERNAL_ERROR);

/// What a state has to go on with.
pub(crate) enum Input<'a> {
    /// The peer's message, as much of its body as was asked for.
    Message {
        kind: HandshakeType,
        body: &'a [u8],
    },
    Named(&'a [bool]),
    Certificates(u8),
    Ticket(Option<&'a Ticket>),
    Done,
}

impl<'a> Input<'a> {
    /// The body of a message of this type.
    pub(crate) fn message(self, expected: HandshakeType) -> Result<&'a [u8], Refusal> {
        match self {
            Self::Message { kind, body } if kind == expected => Ok(body),
            Self::Message { .. } => Err(UNEXPECTED),
            _ => Err(INTERNAL),
        }
    }

    /// The step before was done, and nothing else.
    pub(crate) fn done(self) -> Result<(), Refusal> {
        match self {
            Self::Done => Ok(()),
            _ => Err(INTERNAL),
        }
    }
}

/// Where the handshake goes next.
pub(crate) type Transition<S> = Result<(S, Segment), Refusal>;

/// What comes of a step of a sub-script with states `S`.
pub(crate) enum Progress<S, R> {
    /// It goes on, with this segment.
    Next(S, Segment),
    /// It is over, with this result.
    Over(R),
}

impl<S, R> Progress<S, R> {
    /// The transition of the script around it: `within` makes its state of the
    /// sub-script's, `after` says how it goes on when that is over. Either gets
    /// `context`.
    pub(crate) fn then<C, T>(
        self,
        context: C,
        within: impl FnOnce(S, C) -> T,
        after: impl FnOnce(R, C) -> Transition<T>,
    ) -> Transition<T> {
        match self {
            Self::Next(state, segment) => Ok((within(state, context), segment)),
            Self::Over(result) => after(result, context),
        }
    }
}

/// Waits for a message that is not parsed here.
pub(crate) const fn receive(limit: u16) -> Segment {
    Segment::Receive { limit, show: 0 }
}

/// Waits for a message that is parsed here.
pub(crate) const fn receive_all(limit: u16) -> Segment {
    Segment::Receive {
        limit,
        show: MAX_PART as u16,
    }
}

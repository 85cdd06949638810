//! Why a segment can't be done.

use ipc::control::{Cause, HandshakeError, Resource};
use ipc::ring::Misbehaved;
use tls::Alert;
use tls::codec::DecodeError;

pub(super) enum Fault {
    /// The peer's part was wrong; the director decides what to tell it.
    Refused(Alert),
    /// The same, with what the alert does not tell.
    Because(Alert, Option<Cause>),
    /// Not even TLS.
    NotTls,
    /// There is nothing more to decide.
    Over(HandshakeError),
}

impl Fault {
    pub(super) const INTERNAL: Self = Self::Over(HandshakeError::Resource(Resource::Internal));
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<Misbehaved> for Fault {
    fn from(Misbehaved: Misbehaved) -> Self {
        Self::INTERNAL
    }
}

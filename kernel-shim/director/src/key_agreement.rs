//! The sub-script from the peer's key share to keys.

use ipc::bounded::Bytes;
use ipc::segment::{MAX_SHARE, Segment, Stage};
use tls::RecordLimit;

use crate::script::{Input, Progress, Refusal};

/// Over: the keys are there.
#[derive(Debug)]
pub(crate) enum KeyAgreement {
    /// The secret is there.
    Agreed(Stage, RecordLimit),
    /// And the keys.
    Derived,
}

impl KeyAgreement {
    /// TLS 1.2, with the peer's public key.
    pub(crate) fn agree(share: Bytes<MAX_SHARE>, limit: RecordLimit) -> (Self, Segment) {
        Self::with(Segment::Agree { share }, Stage::Master, limit)
    }

    /// With a segment that makes the secret in another way.
    pub(crate) fn with(segment: Segment, stage: Stage, limit: RecordLimit) -> (Self, Segment) {
        (Self::Agreed(stage, limit), segment)
    }

    /// Of a secret that is there.
    pub(crate) const fn derive(stage: Stage, limit: RecordLimit) -> (Self, Segment) {
        (Self::Derived, Segment::Derive(stage, limit))
    }

    pub(crate) fn next(self, input: Input<'_>) -> Result<Progress<Self, ()>, Refusal> {
        input.done()?;
        match self {
            Self::Agreed(stage, limit) => {
                let (state, segment) = Self::derive(stage, limit);
                Ok(Progress::Next(state, segment))
            }
            Self::Derived => Ok(Progress::Over(())),
        }
    }
}

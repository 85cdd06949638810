//! The sub-script from the peer's key share to keys.

use ipc::bounded::Bytes;
use ipc::segment::{MAX_SHARE, Segment, Stage};

use crate::script::{Input, Progress, Refusal};

/// Over: the keys are there.
#[derive(Debug)]
pub(crate) enum KeyAgreement {
    /// The secret is there.
    Agreed(Stage),
    /// And the keys.
    Derived,
}

impl KeyAgreement {
    /// TLS 1.2, with the peer's public key.
    pub(crate) fn agree(share: Bytes<MAX_SHARE>) -> (Self, Segment) {
        Self::with(Segment::Agree { share }, Stage::Master)
    }

    /// With a segment that makes the secret in another way.
    pub(crate) fn with(segment: Segment, stage: Stage) -> (Self, Segment) {
        (Self::Agreed(stage), segment)
    }

    /// Of a secret that is there.
    pub(crate) const fn derive(stage: Stage) -> (Self, Segment) {
        (Self::Derived, Segment::Derive(stage))
    }

    pub(crate) fn next(self, input: Input<'_>) -> Result<Progress<Self, ()>, Refusal> {
        input.done()?;
        match self {
            Self::Agreed(stage) => {
                let (state, segment) = Self::derive(stage);
                Ok(Progress::Next(state, segment))
            }
            Self::Derived => Ok(Progress::Over(())),
        }
    }
}

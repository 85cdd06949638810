//! Segments that wait for the connection; all others are done at once (`act.rs`).

use alloc::boxed::Box;

use ipc::control::{Cause, HandshakeError};
use ipc::segment::{Agreed, Segment};
use tls::Alert;

/// A segment that waits, with what it says.
pub(super) enum Waiting {
    /// For a message.
    Receive { limit: u16, show: u16 },
    /// For ChangeCipherSpec.
    ReceiveChangeCipherSpec,
    /// For room for what was written.
    Finish(Box<Agreed>),
    /// The same, and for the alert.
    Abort {
        alert: Option<Alert>,
        error: HandshakeError,
        cause: Option<Cause>,
    },
}

impl Waiting {
    /// What waits; a segment that does not, as it was.
    pub(super) fn of(segment: Segment) -> Result<Self, Segment> {
        Ok(match segment {
            Segment::Receive { limit, show } => Self::Receive { limit, show },
            Segment::ReceiveChangeCipherSpec => Self::ReceiveChangeCipherSpec,
            Segment::Finish(agreed) => Self::Finish(agreed),
            Segment::Abort {
                alert,
                error,
                cause,
            } => Self::Abort {
                alert,
                error,
                cause,
            },
            other => return Err(other),
        })
    }

    /// Whether it takes bytes of the peer from the connection.
    pub(super) const fn reads(&self) -> bool {
        match self {
            Self::Receive { .. } | Self::ReceiveChangeCipherSpec => true,
            Self::Finish(_) | Self::Abort { .. } => false,
        }
    }
}

//! One line for each segment of directed mode. Never a secret: a segment
//! carries none.

use core::fmt;

use ipc::clock::Instant;
use ipc::control::HandshakeId;
use ipc::segment::{Step, Verdict};

use crate::handshake::Summary;

/// Takes lines of the audit log.
pub type Audit = fn(&Line<'_>);

/// Microseconds, handshake, directive, size, verdict, size.
pub struct Line<'a> {
    pub(crate) at: Instant,
    pub(crate) handshake: HandshakeId,
    pub(crate) segment: Summary,
    pub(crate) outcome: Outcome<'a>,
}

/// What became of a segment.
pub(crate) enum Outcome<'a> {
    /// The offload component's answer.
    Verdict(&'a Verdict),
    /// The policy refused it: it was not sent.
    Policy(Step),
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { name, size } = self.segment;
        let HandshakeId(id) = self.handshake;
        let at = self.at.as_micros();
        write!(f, "{at} {id:08x} {name} {size} ")?;
        let verdict = match self.outcome {
            Outcome::Verdict(verdict) => verdict,
            Outcome::Policy(rule) => return write!(f, "refused policy {}", rule.name()),
        };
        match verdict {
            Verdict::Refused(alert) => write!(f, "refused {}", alert.name()),
            Verdict::Message { kind, length, .. } => write!(f, "message {kind} {length}"),
            Verdict::Certificates { count } => write!(f, "certificates {count}"),
            verdict => f.write_str(verdict.name()),
        }
    }
}

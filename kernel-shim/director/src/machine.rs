//! One handshake without its mailbox, for those that look at the states.

use alloc::boxed::Box;
use core::fmt::Debug;

use ipc::control::Parameters;
use ipc::director::RefusedSteps;
use ipc::segment::{Segment, Verdict};
use tls::Role;

use crate::handshake::Handshake;
use crate::policy::StepPolicy;

/// The state machine of one handshake, of which no step is refused.
pub struct Machine(Handshake);

impl Machine {
    /// Before its first verdict, which is [`Verdict::Begun`].
    pub fn new(role: Role, parameters: Box<Parameters>) -> Self {
        let policy = StepPolicy::new(RefusedSteps::new());
        Self(Handshake::new(role, parameters, policy))
    }

    /// The segment that follows a verdict.
    pub fn advance(&mut self, verdict: &Verdict) -> Segment {
        self.0.advance(verdict).0
    }

    /// Where it is: the names of its states, from the outermost to the innermost, and what
    /// they hold.
    pub fn state(&self) -> &dyn Debug {
        self.0.state()
    }
}

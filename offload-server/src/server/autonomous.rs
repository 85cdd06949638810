//! Autonomous handshakes: records in, and a session out.

use ipc::channel::SlotIndex;
use ipc::clock::Clock;
use ipc::control::{Failure, HandshakeError};
use ipc::handshake::Start;

use super::{Platform, Server};
use crate::autonomous::Step;
use crate::in_progress::{Entry, Handshake, Progress};
use crate::loans::Whose;

impl<P: Platform> Server<'_, P> {
    pub(super) fn start_autonomous(
        &mut self,
        start: &Start,
        entry: Entry,
    ) -> Result<(), HandshakeError> {
        let autonomous = self.autonomous.begin(start, &mut self.credentials)?;
        self.enter(start.slot, entry, Progress::Autonomous(autonomous));
        // The peer may have spoken already.
        self.note_news(start.slot);
        Ok(())
    }

    /// Goes on with an autonomous handshake whose connection has news; true if it ended.
    pub(super) fn step_autonomous(&mut self, slot: SlotIndex) -> bool {
        let Some((entry, autonomous)) = self.in_progress.autonomous_mut(slot) else {
            return false;
        };
        let (clock, loans) = (&self.clock, &mut self.loans);
        let whose = Whose::of(&entry.origin);
        let generation = entry.generation;
        let step = autonomous.step(
            &mut self.net,
            slot,
            || clock.now(),
            |held| loans.charge(slot, whose, held, clock.now()),
        );
        self.end_displaced();
        match step {
            Step::Waiting => {
                self.note_left(slot);
                false
            }
            Step::Busy => {
                self.note_news(slot);
                false
            }
            Step::Failed(error) => {
                let handshake = self.forget(slot);
                let cause = handshake.and_then(|handshake| handshake.progress.cause());
                self.fail_for(slot, generation, Failure { error, cause });
                true
            }
            Step::Finished => {
                if let Some(Handshake { entry, progress }) = self.forget(slot)
                    && let Progress::Autonomous(autonomous) = progress
                {
                    let finished = autonomous.finish(entry.began);
                    self.establish(slot, &entry, finished);
                }
                true
            }
        }
    }
}

//! Directed handshakes: segments in, verdicts out.

use alloc::boxed::Box;

use ipc::channel::SlotIndex;
use ipc::clock::Clock;
use ipc::control::{Failure, HandshakeError, PolicyError, Resource};
use ipc::director::{DirectedSegment, DirectedVerdict};
use ipc::handshake::Start;
use ipc::segment::{Segment, Verdict};
use rustls::time_provider::TimeProvider;

use super::{Platform, Server};
use crate::directed::{Context, Step};
use crate::in_progress::{Entry, Handshake, Progress};
use crate::loans::Whose;
use crate::time::SystemTime;
use crate::work::{Class, Work};

const INTERNAL: HandshakeError = HandshakeError::Resource(Resource::Internal);

impl<P: Platform> Server<'_, P> {
    pub(super) fn start_directed(
        &mut self,
        start: &Start,
        entry: Entry,
    ) -> Result<(), HandshakeError> {
        let slot = start.slot;
        let director = self.director.as_mut();
        let director = director.ok_or(HandshakeError::Policy(PolicyError::Mode))?;
        // A segment that the end of the slot's last handshake overtook.
        director.discard(slot);
        let (directed, begun) = self.directed.begin(start, &mut self.credentials)?;
        self.enter(slot, entry, Progress::Directed(directed));
        self.answer(slot, start.generation, begun);
        self.flush_director();
        Ok(())
    }

    /// A segment waits for its turn, or is done if nothing else waits for one; one for a
    /// handshake that is over is dropped. True if it was done.
    pub(super) fn take_segment(&mut self, step: DirectedSegment) -> bool {
        let DirectedSegment {
            slot,
            generation,
            segment,
        } = step;
        let is_alone = self.work.is_empty() && !self.has_more_to_take_in();
        let directed = self.in_progress.directed_mut(slot);
        let Some((entry, _)) = directed.filter(|(entry, _)| entry.generation == generation) else {
            return false;
        };
        // One at a time is the rule of the queue.
        if entry.has_segment {
            self.give_up(slot, Some(generation), INTERNAL);
            return false;
        }
        let class = match segment {
            // It costs a copy, and others wait until the message is collected.
            Segment::Show { .. } => Class::First,
            _ => entry.class(),
        };
        if is_alone && (!segment.facts().reads || self.needs_nothing(slot)) {
            self.perform(slot, generation, segment);
            return true;
        }
        if let Some(Handshake { entry, .. }) = self.in_progress.get_mut(slot) {
            entry.has_segment = true;
        }
        let segment = Box::new(segment);
        let work = Work::Perform {
            slot,
            generation,
            segment,
        };
        self.work.push(class, work);
        false
    }

    /// Does one segment; one for a handshake that is over is dropped.
    pub(super) fn perform(&mut self, slot: SlotIndex, generation: u16, segment: Segment) {
        let context = Context {
            keystore: &*self.keystore,
            unix_time: unix_time(&self.clock),
            now: self.clock.now(),
        };
        let directed = self.in_progress.directed_mut(slot);
        let Some((_, directed)) = directed.filter(|(entry, _)| entry.generation == generation)
        else {
            return;
        };
        let step = directed.perform(segment, &mut self.net, slot, &context);
        if self.charge_directed(slot) {
            self.directed_step(slot, generation, step);
            self.note_left(slot);
        }
        // The director runs at once and queues the next.
        self.flush_director();
        self.shim.flush();
    }

    /// Goes on with a directed handshake whose connection has news.
    pub(super) fn step_directed(&mut self, slot: SlotIndex) -> bool {
        let Some((entry, directed)) = self.in_progress.directed_mut(slot) else {
            return false;
        };
        let generation = entry.generation;
        let context = Context {
            keystore: &*self.keystore,
            unix_time: unix_time(&self.clock),
            now: self.clock.now(),
        };
        let step = directed.step(&mut self.net, slot, &context);
        if !self.charge_directed(slot) {
            return true;
        }
        let is_over = matches!(step, Step::Finished(_) | Step::Failed(_));
        self.directed_step(slot, generation, step);
        self.note_left(slot);
        is_over
    }

    /// Accounts for what the handshake in `slot` holds; false when it is aborted for
    /// that.
    fn charge_directed(&mut self, slot: SlotIndex) -> bool {
        let Some((entry, directed)) = self.in_progress.directed_mut(slot) else {
            self.loans.give_back(slot);
            return true;
        };
        let whose = Whose::of(&entry.origin);
        let now = self.clock.now();
        let charged = self.loans.charge(slot, whose, directed.held(), now);
        self.end_displaced();
        if charged.is_err() {
            self.give_up(slot, None, HandshakeError::Resource(Resource::Memory));
        }
        charged.is_ok()
    }

    fn directed_step(&mut self, slot: SlotIndex, generation: u16, step: Step) {
        match step {
            Step::Waiting => {}
            Step::Answer(verdict) => self.answer(slot, generation, verdict),
            Step::Failed(error) => {
                let handshake = self.forget(slot);
                let cause = handshake.and_then(|handshake| handshake.progress.cause());
                self.fail_for(slot, generation, Failure { error, cause });
            }
            Step::Finished(agreed) => {
                if let Some(Handshake { entry, progress }) = self.forget(slot)
                    && let Progress::Directed(directed) = progress
                {
                    let finished = directed.finish(entry.began, *agreed);
                    self.establish(slot, &entry, finished);
                }
            }
        }
    }

    fn answer(&mut self, slot: SlotIndex, generation: u16, verdict: Verdict) {
        let verdict = DirectedVerdict {
            slot,
            generation,
            verdict,
        };
        // Its mailbox has room for one, and for one of the slot's last handshake.
        if let Some(director) = &mut self.director {
            director.send(&verdict).ok();
        }
    }

    pub(super) fn flush_director(&mut self) {
        if let Some(director) = &mut self.director {
            director.flush();
        }
    }
}

fn unix_time<C: Clock + Clone + Send + Sync>(clock: &C) -> rustls::pki_types::UnixTime {
    let zero = core::time::Duration::ZERO;
    SystemTime(clock.clone())
        .current_time()
        .unwrap_or_else(|| rustls::pki_types::UnixTime::since_unix_epoch(zero))
}

//! Directed handshakes: segments in, verdicts out.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ipc::channel::SlotIndex;
use ipc::clock::Clock;
use ipc::control::{HandshakeError, Parameters, RequestError, Resource};
use ipc::director::{DirectedSegment, DirectedVerdict};
use ipc::handshake::Start;
use ipc::segment::{Segment, Verdict};
use rustls::time_provider::TimeProvider;
use tls::Role;

use super::{Entry, Platform, Server, session_of};
use crate::by_request::Asked;
use crate::directed::{Context, Directed, Step};
use crate::keyring::Keyring;
use crate::loans::Whose;
use crate::time::SystemTime;
use crate::work::{Class, Work};

const INTERNAL: HandshakeError = HandshakeError::Resource(Resource::Internal);

impl<P: Platform> Server<'_, P> {
    pub(super) fn start_directed(&mut self, start: &Start, entry: Entry) {
        let (slot, generation) = (start.slot, start.generation);
        // A segment that the end of the slot's last handshake overtook.
        self.director.discard(slot);
        let verdict = self
            .rings(start.role, &start.parameters)
            .map(|rings| {
                let resumption = self.profiles.resumption(Asked {
                    client: entry.origin.client,
                    role: start.role,
                    parameters: &start.parameters,
                });
                Directed::new(
                    generation,
                    session_of(start),
                    start.role,
                    rings,
                    &start.parameters,
                    start.position,
                    resumption,
                    entry,
                )
            })
            .and_then(|directed| Ok((directed.begun()?, Box::new(directed))));
        match verdict {
            Ok((verdict, directed)) => {
                if let Some(place) = self.directed.get_mut(usize::from(slot)) {
                    *place = Some(directed);
                }
                self.count_in_progress();
                self.answer(slot, generation, verdict);
            }
            Err(error) => self.fail(slot, generation, error),
        }
        self.director.flush();
    }

    fn rings(
        &self,
        role: Role,
        parameters: &Parameters,
    ) -> Result<Vec<Arc<Keyring>>, HandshakeError> {
        if !Parameters::SEGMENT_SIZES.contains(&parameters.segment_size) {
            return Err(HandshakeError::Request(RequestError::SegmentSize));
        }
        match role {
            Role::Server => self.profiles.rings(parameters),
            // It needs trust anchors; a certificate only if the server asks.
            Role::Client => self
                .profiles
                .named(parameters)
                .ok_or(HandshakeError::Request(RequestError::NoKeyring)),
        }
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
        let place = usize::from(slot);
        let directed = self.directed.get_mut(place).and_then(Option::as_mut);
        let Some(directed) = directed.filter(|directed| directed.generation == generation) else {
            return false;
        };
        let class = match segment {
            // It costs a copy, and others wait until the message is collected.
            Segment::Show { .. } => Class::First,
            _ => directed.entry.class(),
        };
        if is_alone {
            self.perform(slot, generation, segment);
            return true;
        }
        // One at a time is the rule of the queue.
        if core::mem::replace(&mut directed.entry.has_segment, true) {
            self.give_up(slot, Some(generation), INTERNAL);
            return false;
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
        let Some(directed) = self
            .directed
            .get_mut(usize::from(slot))
            .and_then(Option::as_mut)
            .filter(|directed| directed.generation == generation)
        else {
            return;
        };
        let step = directed.perform(segment, &mut self.net, slot, &context);
        if self.charge_directed(slot) {
            self.directed_step(slot, generation, step);
            self.note_left(slot);
        }
        // The director runs at once and queues the next.
        self.director.flush();
        self.shim.flush();
    }

    /// Goes on with a directed handshake whose connection has news.
    pub(super) fn step_directed(&mut self, slot: SlotIndex) -> bool {
        let Some(directed) = self
            .directed
            .get_mut(usize::from(slot))
            .and_then(Option::as_mut)
        else {
            return false;
        };
        let context = Context {
            keystore: &*self.keystore,
            unix_time: unix_time(&self.clock),
            now: self.clock.now(),
        };
        let generation = directed.generation;
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
        let directed = self
            .directed
            .get(usize::from(slot))
            .and_then(Option::as_ref);
        let Some(directed) = directed else {
            self.loans.give_back(slot);
            return true;
        };
        let whose = Whose::of(&directed.entry.origin);
        let charged = self.loans.charge(slot, whose, directed.held());
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
                self.forget_directed(slot);
                self.fail(slot, generation, error);
            }
            Step::Finished(agreed) => {
                let directed = self.forget_directed(slot).ok_or(INTERNAL);
                let finished = directed.and_then(|directed| directed.finish(*agreed));
                self.establish(slot, generation, finished);
            }
        }
    }

    fn answer(&mut self, slot: SlotIndex, generation: u16, verdict: Verdict) {
        // Its mailbox has room for one, and for one of the slot's last handshake.
        self.director
            .send(&DirectedVerdict {
                slot,
                generation,
                verdict,
            })
            .ok();
    }

    pub(super) fn forget_directed(&mut self, slot: SlotIndex) -> Option<Box<Directed>> {
        let directed = self.directed.get_mut(usize::from(slot))?.take();
        if directed.as_ref().is_some_and(|d| d.entry.is_queued()) {
            self.work.forget(slot);
        }
        self.loans.give_back(slot);
        directed
    }
}

fn unix_time<C: Clock + Clone + Send + Sync>(clock: &C) -> rustls::pki_types::UnixTime {
    let zero = core::time::Duration::ZERO;
    SystemTime(clock.clone())
        .current_time()
        .unwrap_or_else(|| rustls::pki_types::UnixTime::since_unix_epoch(zero))
}

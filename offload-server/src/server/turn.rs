//! One turn: what is taken in, and in what order it is worked on.

use ipc::channel::{Event, SlotIndex};
use ipc::clock::Clock;
use ipc::director::VerdictQueue;
use ipc::handshake::Completion;
use ipc::queue::ReceiveError;
use ipc::stats;

use super::{Platform, Server};
use crate::in_progress::{Handshake, Progress};
use crate::ml_kem;
use crate::work::{Class, Work};

/// The result of one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// A secret may have been on the stack.
    pub touched_secrets: bool,
    /// And deeper than anything but ML-KEM goes.
    pub went_deep: bool,
    /// There is more to do: have another turn.
    pub is_busy: bool,
}

/// Messages of the shim, segments and events of connections that are taken in before each
/// piece of work; pieces of work, and questions of sessions, that are dealt with in one
/// turn: each kind gets its turn, however much there is of another.
const DIRECTIVES_AT_ONCE: usize = 16;
const SEGMENTS_AT_ONCE: usize = 16;
const EVENTS_AT_ONCE: usize = 256;
const WORK_A_TURN: usize = 16;
const QUESTIONS_A_TURN: usize = 8;

impl<P: Platform> Server<'_, P> {
    /// Does one turn of what there is to do; call it at each wake-up, and
    /// [`Server::flush`] after it.
    // Its frames are below the caller's, where they can be scrubbed.
    #[inline(never)]
    pub fn run(&mut self) -> Turn {
        self.stats.add(stats::offload::WAKEUPS, 1);
        let mut turn = Turn {
            touched_secrets: false,
            went_deep: false,
            is_busy: false,
        };
        // All of them: the next established session may use such a slot again.
        while let Some(forgotten) = self.forget.receive() {
            if let Ok(forgotten) = forgotten {
                self.sessions
                    .forget(forgotten.session, forgotten.generation);
            }
        }
        let mut left = WORK_A_TURN;
        loop {
            let is_more = self.take_in(&mut turn);
            let Some((class, work)) = self.work.next() else {
                turn.is_busy = is_more;
                break;
            };
            turn.touched_secrets |= self.work_on(work);
            left -= 1;
            let has_work = !self.work.is_empty();
            if !is_more && !has_work && !self.has_more_to_take_in() {
                break;
            }
            // What others wait for leaves before more is done for those behind them.
            if left == 0 || (has_work && class > Class::First) {
                turn.is_busy = true;
                break;
            }
        }
        let mut left = QUESTIONS_A_TURN;
        while left > 0
            && let Some(asked) = self.record.receive()
        {
            left -= 1;
            match asked {
                Ok(asked) => {
                    turn.touched_secrets = true;
                    self.post_handshake(&asked);
                }
                // It costs itself alone.
                Err(ReceiveError::Malformed) => {}
                Err(ReceiveError::Broken) => break,
            }
        }
        turn.is_busy |= left == 0;
        let now = self.clock.now();
        if self.earliest <= now {
            self.give_up_overdue(now);
        }
        // After all that can have given memory back.
        self.take_up();
        turn.is_busy |= !self.work.is_empty();
        turn.went_deep = ml_kem::was_used();
        turn.touched_secrets |= turn.went_deep;
        // Before anybody is told that a handshake is over: whoever asks for the counters
        // then may run before the next turn.
        let heap = (self.heap_used)() as u64;
        self.stats.set(stats::offload::HEAP, heap);
        turn
    }

    /// Tells others what the turn did. Call it when the stack is scrubbed: nobody is told
    /// of a session of which there are traces here. True if keys were told (policy key
    /// `expose_keys`): scrub it again.
    // Its frames are below the caller's, where they can be scrubbed.
    #[inline(never)]
    #[must_use]
    pub fn flush(&mut self) -> bool {
        let mut told_keys = false;
        for completion in core::mem::take(&mut self.established) {
            if let Completion::Established { established, .. } = &completion {
                told_keys |= established.keys.is_some();
            }
            self.complete(&completion);
        }
        self.net.flush();
        self.shim.flush();
        self.flush_director();
        self.record.flush();
        told_keys
    }

    /// Takes in what has come: what is to be done for it is queued, if it is not the only
    /// thing there. True if there may be more.
    fn take_in(&mut self, turn: &mut Turn) -> bool {
        let mut directives = 0;
        while directives < DIRECTIVES_AT_ONCE
            && !self.ignores_directives()
            && let Some(directive) = self.shim.receive()
        {
            directives += 1;
            self.take_directive(directive);
        }
        let mut segments = 0;
        while segments < SEGMENTS_AT_ONCE
            && let Some(director) = &mut self.director
            && let Some(segment) = director.receive()
        {
            segments += 1;
            // What is none costs its own handshake; the deadline ends that.
            if let Ok(segment) = segment {
                turn.touched_secrets |= self.take_segment(segment);
            }
        }
        let mut events = 0;
        while events < EVENTS_AT_ONCE
            && let Some(event) = self.net.next_event()
        {
            events += 1;
            if let Event::Slot(slot) = event {
                self.note_news(slot);
            }
        }
        directives == DIRECTIVES_AT_ONCE || segments == SEGMENTS_AT_ONCE || events == EVENTS_AT_ONCE
    }

    /// Fault injection, for a test of the watchdog: from the fourth handshake after a start
    /// on, the shim's queue is not read.
    fn ignores_directives(&self) -> bool {
        cfg!(feature = "ignore-directives") && self.begun >= 3
    }

    /// Whether something has come that was not taken in.
    pub(super) fn has_more_to_take_in(&self) -> bool {
        let director = self.director.as_ref();
        let has_segments = director.is_some_and(VerdictQueue::has_others);
        self.shim.has_others() || has_segments || self.net.has_events()
    }

    /// The connection of the handshake in `slot` has news.
    pub(super) fn note_news(&mut self, slot: SlotIndex) {
        let Some(Handshake { entry, progress }) = self.in_progress.get_mut(slot) else {
            return;
        };
        entry.has_answered |= progress.has_sent_flight();
        if entry.is_set_aside {
            return self.end_if_cut_off(slot);
        }
        if !core::mem::replace(&mut entry.has_news, true) {
            self.work.push(entry.class(), Work::Look(slot));
        }
    }

    /// True if it touched secrets.
    fn work_on(&mut self, work: Work) -> bool {
        if !self.may_begin(&work) {
            self.set_aside(work);
            return false;
        }
        match work {
            Work::Look(slot) => {
                let Some(handshake) = self.in_progress.get_mut(slot) else {
                    return false;
                };
                handshake.entry.has_news = false;
                match handshake.progress {
                    Progress::Autonomous(_) => self.step_autonomous(slot),
                    Progress::Directed(_) => self.step_directed(slot),
                }
            }
            Work::Perform {
                slot,
                generation,
                segment,
            } => {
                if let Some(handshake) = self.in_progress.get_mut(slot) {
                    handshake.entry.has_segment = false;
                }
                self.perform(slot, generation, *segment);
                true
            }
        }
    }
}

//! The handshakes in progress, of both modes: one table, by their slot.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use ipc::channel::{Channel, Doorbell, SlotIndex};
use ipc::clock::Instant;
use ipc::control::Cause;
use ipc::handshake::{Origin, Start};
use tls::{Alert, Role};

use crate::autonomous::Autonomous;
use crate::directed::Directed;
use crate::session::SessionSlot;
use crate::work::Class;

/// A handshake in progress.
pub(crate) struct Handshake {
    pub(crate) entry: Entry,
    pub(crate) progress: Progress,
}

/// How far it is, in the engine of its mode.
pub(crate) enum Progress {
    Autonomous(Box<Autonomous>),
    Directed(Box<Directed>),
}

/// Whose a handshake is, and how old.
pub(crate) struct Entry {
    pub(crate) generation: u16,
    pub(crate) session: SessionSlot,
    /// Give the keys to the caller, too.
    pub(crate) expose_keys: bool,
    pub(crate) origin: Origin,
    /// Counts handshakes.
    pub(crate) number: u64,
    pub(crate) began: Instant,
    /// Bytes in its ring that the last look left there: of a record that is not whole.
    pub(crate) left: usize,
    /// Its peer has reacted to what was sent to it.
    pub(crate) has_answered: bool,
    /// News of its connection wait to be looked at.
    pub(crate) has_news: bool,
    /// A segment of it waits to be performed.
    pub(crate) has_segment: bool,
    /// All of that waits for memory.
    pub(crate) is_set_aside: bool,
    /// When a look first found a part of the message that is next, and no more.
    part_since: Option<Instant>,
    /// A look found no more than a part [`WHOLE_WITHIN`] after that.
    pub(crate) is_late: bool,
}

impl Entry {
    /// The handshake of this number begins.
    pub(crate) fn new(start: &Start, number: u64, now: Instant) -> Self {
        Self {
            generation: start.generation,
            session: SessionSlot {
                slot: start.session,
                generation: start.session_generation,
            },
            expose_keys: start.parameters.expose_keys,
            origin: start.origin,
            number,
            began: now,
            left: 0,
            has_answered: false,
            has_news: false,
            has_segment: false,
            is_set_aside: false,
            part_since: None,
            is_late: false,
        }
    }

    pub(crate) const fn class(&self) -> Class {
        Class::of(self.origin.standing, self.has_answered)
    }

    pub(crate) const fn is_queued(&self) -> bool {
        self.has_news || self.has_segment
    }

    /// A look has found a part of a message, and no more.
    pub(crate) fn note_part(&mut self, now: Instant) {
        let since = *self.part_since.get_or_insert(now);
        self.is_late = now >= since + WHOLE_WITHIN;
    }

    /// A message was whole, or none has begun.
    pub(crate) const fn note_whole(&mut self) {
        self.part_since = None;
        self.is_late = false;
    }
}

/// A message must be whole so long after its first part was there. Then its peer owes it,
/// whatever else it sends now and then: Apache's `RequestReadTimeout` and nginx'
/// `client_header_timeout` are for the whole handshake or head likewise, not for the pause
/// between two parts. Before that it is kept, as others are that owe an answer.
const WHOLE_WITHIN: Duration = Duration::from_millis(500);

/// What both engines tell of a handshake.
impl Progress {
    pub(crate) fn role(&self) -> Role {
        match self {
            Self::Autonomous(autonomous) => autonomous.role(),
            Self::Directed(directed) => directed.role(),
        }
    }

    /// Whether it goes on with what the peer sends. A directed one waits for its next
    /// segment before.
    pub(crate) const fn is_waiting(&self) -> bool {
        match self {
            Self::Autonomous(_) => true,
            Self::Directed(directed) => directed.is_waiting(),
        }
    }

    /// Whether the peer's first message was whole.
    pub(crate) const fn has_heard(&self) -> bool {
        match self {
            Self::Autonomous(autonomous) => autonomous.has_heard(),
            Self::Directed(directed) => directed.has_heard(),
        }
    }

    /// Whether a part of a message has come, and no more.
    pub(crate) fn has_part(&self) -> bool {
        match self {
            Self::Autonomous(autonomous) => autonomous.has_part(),
            Self::Directed(directed) => directed.has_part(),
        }
    }

    /// Whether a message was whole since this was asked last. The director takes those of
    /// a directed one out one by one.
    pub(crate) const fn take_moved(&mut self) -> bool {
        match self {
            Self::Autonomous(autonomous) => autonomous.take_moved(),
            Self::Directed(_) => false,
        }
    }

    /// Whether the flight has left that costs a server its signature, and not a
    /// HelloRetryRequest.
    pub(crate) fn has_sent_flight(&self) -> bool {
        match self {
            Self::Autonomous(autonomous) => autonomous.has_sent_flight(),
            Self::Directed(directed) => directed.has_sent_flight(),
        }
    }

    /// What of the peer's part was wrong, if it has failed and its alert does not tell.
    pub(crate) const fn cause(&self) -> Option<Cause> {
        match self {
            Self::Autonomous(autonomous) => autonomous.cause(),
            Self::Directed(directed) => directed.cause(),
        }
    }

    /// Bytes held on behalf of the peer, at most.
    pub(crate) fn held(&self) -> usize {
        match self {
            Self::Autonomous(autonomous) => autonomous.held(),
            Self::Directed(directed) => directed.held(),
        }
    }

    /// Whether it takes what the peer sends, once all is sent that was written.
    pub(crate) fn reads(&self) -> bool {
        match self {
            Self::Autonomous(_) => true,
            Self::Directed(directed) => directed.reads(),
        }
    }

    /// Sends what there is room for.
    pub(crate) fn flush<D: Doorbell>(&mut self, channel: &mut Channel<D>, slot: SlotIndex) {
        match self {
            Self::Autonomous(autonomous) => autonomous.flush(channel, slot),
            Self::Directed(directed) => directed.flush(channel, slot),
        }
    }

    /// Whether something is to be sent before more is read.
    pub(crate) fn sends(&self) -> bool {
        match self {
            Self::Autonomous(autonomous) => autonomous.sends(),
            Self::Directed(directed) => directed.sends(),
        }
    }

    /// Sends the peer an alert, if there is room.
    pub(crate) fn say_last<D: Doorbell>(
        &mut self,
        channel: &mut Channel<D>,
        slot: SlotIndex,
        alert: Alert,
    ) {
        match self {
            Self::Autonomous(autonomous) => autonomous.say_last(channel, slot, alert),
            Self::Directed(directed) => directed.say_last(channel, slot, alert),
        }
    }
}

/// All of them.
pub(crate) struct InProgress(Vec<Option<Handshake>>);

impl InProgress {
    /// Bytes of one place.
    pub(crate) const PLACE: usize = size_of::<Option<Handshake>>();

    pub(crate) fn new(slots: u16) -> Self {
        Self((0..slots).map(|_| None).collect())
    }

    pub(crate) fn put(&mut self, slot: SlotIndex, handshake: Handshake) {
        if let Some(place) = self.0.get_mut(usize::from(slot)) {
            *place = Some(handshake);
        }
    }

    pub(crate) fn take(&mut self, slot: SlotIndex) -> Option<Handshake> {
        self.0.get_mut(usize::from(slot))?.take()
    }

    pub(crate) fn get(&self, slot: SlotIndex) -> Option<&Handshake> {
        self.0.get(usize::from(slot))?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: SlotIndex) -> Option<&mut Handshake> {
        self.0.get_mut(usize::from(slot))?.as_mut()
    }

    /// The one in `slot`, if it is autonomous.
    pub(crate) fn autonomous_mut(
        &mut self,
        slot: SlotIndex,
    ) -> Option<(&mut Entry, &mut Autonomous)> {
        let Handshake { entry, progress } = self.get_mut(slot)?;
        match progress {
            Progress::Autonomous(autonomous) => Some((entry, autonomous)),
            Progress::Directed(_) => None,
        }
    }

    /// The one in `slot`, if it is directed.
    pub(crate) fn directed_mut(&mut self, slot: SlotIndex) -> Option<(&mut Entry, &mut Directed)> {
        let Handshake { entry, progress } = self.get_mut(slot)?;
        match progress {
            Progress::Autonomous(_) => None,
            Progress::Directed(directed) => Some((entry, directed)),
        }
    }
}

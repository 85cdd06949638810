//! Calls from shim and offload component, events from network stack and
//! application.

mod ask;
mod pump;
mod tell;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use ipc::badge::Badge;
use ipc::channel::{Channel, Doorbell, Event, Joined, SlotIndex, Status, untaken};
use ipc::clock::Instant;
use ipc::record::{Answer, PostHandshakeQueue, Record, RecordError, Request};
use ipc::stats;
use ipc::transport::{MAX_MESSAGE, dispatch};
use tls::Alert;
use tls::record::{HEADER, MAX_BODY};

use crate::assembly::Assemblies;
use crate::session::{Asking, Keys, Session};
use crate::tickets::Holders;

/// Slots of each side whose events are taken before calls get their turn.
const SLOTS_A_TURN: usize = 64;

/// The capabilities of the record layer. There is one slot for each session on either
/// side.
pub struct Ports<'a, N, A, O> {
    /// Protected records.
    pub net: Channel<N>,
    /// Plaintext: a channel to each application.
    pub app: Joined<A>,
    /// What the offload component has to deal with.
    pub offload: PostHandshakeQueue<O>,
    /// Counters.
    pub stats: &'a stats::Page,
}

/// How many records one AES-GCM key may seal (RFC 8446 §5.5: 2^24.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From here on a new key is asked for.
    pub rekey_at: u64,
    /// From here on the session is closed instead.
    pub end_at: u64,
}

impl Limits {
    /// A new key after so many records, the end of the session after twice as many.
    pub const fn rekey_after(records: u64) -> Self {
        Self {
            rekey_at: records,
            end_at: records.saturating_mul(2),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::rekey_after(1 << 23)
    }
}

enum Slot {
    /// The next session begins with its keys.
    Free,
    Live(Box<Session>),
    /// Ended by an error; the shim has not closed it yet.
    Dead,
}

struct Place {
    /// Of the session in the slot, or of the last one; `None` before the first.
    generation: Option<u16>,
    state: Slot,
    /// It is in the queue of those that have more to do.
    is_busy: bool,
}

impl Place {
    const EMPTY: Self = Self {
        generation: None,
        state: Slot::Free,
        is_busy: false,
    };
}

/// The record layer.
pub struct Server<'a, N, A, O> {
    net: Channel<N>,
    app: Joined<A>,
    offload: PostHandshakeQueue<O>,
    places: Vec<Place>,
    /// Slots with more to do than one turn takes.
    busy: VecDeque<SlotIndex>,
    /// Slots that wait for room in the queue to the offload component, in their
    /// order; each stands there once.
    asking: VecDeque<SlotIndex>,
    /// The sessions that keep tickets.
    holders: Holders,
    /// The sessions whose rings have no room for their records.
    assemblies: Assemblies,
    /// When to look for questions without an answer.
    answers_due: Instant,
    sessions: u64,
    /// The last turn left events.
    has_events: bool,
    now: Instant,
    /// The one record in work.
    record: Box<[u8]>,
    limits: Limits,
    /// Keying material was derived since that was asked last.
    has_exported: bool,
    stats: &'a stats::Page,
}

/// Whether a request by `badge` may bring keys: those of the shim, which opens
/// and closes slots, do not.
pub fn may_carry_keys(badge: u64) -> bool {
    !matches!(Badge::from_word(badge), Some(Badge::Control))
}

impl<'a, N: Doorbell, A: Doorbell, O: Doorbell> Server<'a, N, A, O> {
    /// A record layer without sessions.
    pub fn new(ports: Ports<'a, N, A, O>, limits: Limits) -> Self {
        let slots = usize::from(ports.net.slots().min(ports.app.slots()));
        ports.stats.set(stats::record::SESSIONS, 0);
        Self {
            net: ports.net,
            app: ports.app,
            offload: ports.offload,
            places: (0..slots).map(|_| Place::EMPTY).collect(),
            busy: VecDeque::with_capacity(slots),
            asking: VecDeque::with_capacity(slots),
            holders: Holders::new(),
            assemblies: Assemblies::new(slots),
            answers_due: Instant::NEVER,
            sessions: 0,
            has_events: false,
            now: Instant::default(),
            record: vec![0; HEADER + MAX_BODY].into_boxed_slice(),
            limits,
            has_exported: false,
            stats: ports.stats,
        }
    }

    /// Does one turn of the pending work; call it at each wake-up, and again while
    /// [`Server::is_busy`], when calls had their turn.
    // Its frames are below the caller's, where they can be scrubbed.
    #[inline(never)]
    pub fn run(&mut self, now: Instant) {
        self.now = now;
        self.stats.add(stats::record::WAKEUPS, 1);
        if self.offload.peer_is_new() {
            self.fail_waiting();
        }
        // The offload component rings for room once until this is taken.
        self.offload.note_room();
        self.send_questions();
        self.fail_unanswered();
        // What has come and was not looked at is no reason to end anybody.
        while let Some(slot) = {
            let has_more = |slot| self.net.readable(slot).is_ok_and(|bytes| bytes > 0);
            self.assemblies.evict(now, has_more)
        } {
            match live(&mut self.places, slot) {
                // Its last record is whole, and no other has begun.
                Some(session) if session.assembly.is_none() => session.has_buffer = false,
                _ => {
                    // It was not cut off by its peer.
                    self.app.set_status(slot, Status::DEADLINE);
                    self.fail(slot, Alert::INTERNAL_ERROR);
                }
            }
        }
        // Before those that come.
        for _ in 0..SLOTS_A_TURN {
            if let Some(slot) = self.assemblies.next() {
                self.pump(slot);
            }
        }
        let (mut from_net, mut from_apps) = (SLOTS_A_TURN, SLOTS_A_TURN);
        // Those that had a turn come after those that had none.
        let again = self.busy.len().min(SLOTS_A_TURN);
        while from_net > 0
            && let Some(event) = self.net.next_event()
        {
            from_net -= 1;
            if let Event::Slot(slot) = event {
                self.pump(slot);
            }
        }
        // The network's never keep back those of the applications.
        while from_apps > 0
            && let Some(slot) = self.app.next_event()
        {
            from_apps -= 1;
            self.pump(slot);
        }
        for _ in 0..again {
            if let Some(slot) = self.busy.pop_front() {
                if let Some(place) = self.places.get_mut(usize::from(slot)) {
                    place.is_busy = false;
                }
                self.pump(slot);
            }
        }
        self.has_events = from_net == 0 || from_apps == 0;
        self.flush();
    }

    /// Answers one call: `request` and `reply` are messages of
    /// [`ipc::record`]; returns the reply's length. Call [`Server::run`] if
    /// [`Server::is_busy`] after it.
    // Its frames are below the caller's, where they can be scrubbed.
    #[inline(never)]
    pub fn serve(
        &mut self,
        badge: u64,
        request: &[u8],
        reply: &mut [u8; MAX_MESSAGE],
        now: Instant,
    ) -> usize {
        self.now = now;
        let badge = Badge::from_word(badge);
        let length = dispatch::<Record>(request, reply, |request| self.answer(badge, request));
        self.flush();
        length
    }

    /// Names the oldest event of its queues that was not taken, as [`untaken`] does. The one
    /// to the offload component has one direction.
    pub fn untaken(&self) -> u64 {
        let net = core::iter::once(self.net.oldest_event());
        untaken(net.chain(self.app.oldest_events()))
    }

    /// When [`Server::run`] has something to do though nothing has happened.
    pub fn next_deadline(&self) -> Instant {
        self.assemblies.deadline().min(self.answers_due)
    }

    /// Whether there is more to do than one turn took.
    pub fn is_busy(&self) -> bool {
        self.has_events
            || !self.busy.is_empty()
            || self.assemblies.has_next()
            || self.assemblies.has_overdue(self.now)
    }

    fn flush(&mut self) {
        self.net.flush();
        self.app.flush();
        self.offload.flush();
    }

    // ---- calls ----

    fn answer(&mut self, badge: Option<Badge>, request: Request) -> Result<Answer, RecordError> {
        let done = |()| Answer::Done;
        match (badge, request) {
            (Some(Badge::Control), Request::Close { slot, generation }) => {
                self.close(slot, generation).map(done)
            }
            (Some(Badge::Control), Request::Begin) => {
                self.begin();
                Ok(Answer::Done)
            }
            (
                Some(Badge::Control),
                Request::Certificate {
                    slot,
                    generation,
                    offset,
                },
            ) => self.certificate(slot, generation, offset),
            (
                Some(Badge::Control),
                Request::Export {
                    slot,
                    generation,
                    what,
                },
            ) => self.export(slot, generation, &what),
            (
                Some(Badge::Session { slot, generation }),
                Request::Install {
                    generation: meant,
                    role,
                    suite,
                    tx,
                    rx,
                    record_limit,
                    exporter,
                },
            ) if meant == generation => {
                let keys = Keys {
                    suite,
                    role,
                    tx: &tx,
                    rx: &rx,
                    record_limit,
                    exporter,
                };
                self.install(slot, generation, keys).map(done)
            }
            (Some(Badge::Session { slot, generation }), request) => {
                // An answer to the slot's last session, or keys of its peer, that come
                // through the capability of this one.
                if request.meant().is_some_and(|meant| meant != generation) {
                    return Err(RecordError::Stale);
                }
                self.session(slot, generation)?;
                self.answer_session(slot, request).map(done)
            }
            (
                Some(Badge::Control),
                Request::Install { .. }
                | Request::Rekey { .. }
                | Request::Refuse { .. }
                | Request::Proceed { .. }
                | Request::KeepCertificate { .. },
            )
            | (Some(Badge::Client(_)) | None, _) => Err(RecordError::Denied),
        }
    }

    fn answer_session(&mut self, slot: SlotIndex, request: Request) -> Result<(), RecordError> {
        match request {
            Request::Rekey {
                message, tx, rx, ..
            } => self.rekey(slot, &message, tx, rx),
            Request::Refuse { alert, .. } => {
                self.answered(slot)?;
                self.fail(slot, Alert(alert));
                Ok(())
            }
            Request::Proceed { .. } => {
                self.answered(slot)?;
                self.pump(slot);
                Ok(())
            }
            Request::KeepCertificate { part } => live(&mut self.places, slot)
                .ok_or(RecordError::Stale)?
                .keep_certificate(&part),
            Request::Install { .. }
            | Request::Close { .. }
            | Request::Begin
            | Request::Certificate { .. }
            | Request::Export { .. } => Err(RecordError::Denied),
        }
    }

    /// The shim that knew the sessions is gone.
    fn begin(&mut self) {
        for (slot, place) in (0..).zip(&mut self.places) {
            *place = Place::EMPTY;
            self.net.abandon(slot);
            self.app.abandon(slot);
        }
        self.busy.clear();
        self.asking.clear();
        self.holders = Holders::new();
        self.assemblies = Assemblies::new(self.places.len());
        self.sessions = 0;
        self.count_sessions();
    }

    /// Begins a session with its keys.
    fn install(
        &mut self,
        slot: SlotIndex,
        generation: u16,
        keys: Keys<'_>,
    ) -> Result<(), RecordError> {
        let place = self.place(slot)?;
        if !matches!(place.state, Slot::Free) {
            return Err(RecordError::InUse);
        }
        if place.generation == Some(generation) {
            return Err(RecordError::Stale);
        }
        let session = Session::new(keys)?;
        place.generation = Some(generation);
        place.state = Slot::Live(Box::new(session));
        self.app.open(slot);
        self.sessions += 1;
        self.count_sessions();
        Ok(())
    }

    fn close(&mut self, slot: SlotIndex, generation: u16) -> Result<(), RecordError> {
        if let Slot::Live(session) = &mut self.place(slot)?.state {
            session.send_last(Alert::CLOSE_NOTIFY);
            self.put_urgent(slot).ok();
        }
        // No event: the shim releases the connection next, and the network
        // stack takes what is here then.
        self.net.finish(slot);
        self.app.close(slot);
        self.leave(slot, Slot::Free);
        self.place(slot)?.generation = Some(generation);
        Ok(())
    }

    /// The session in `slot`, which had asked and now has its answer.
    fn answered(&mut self, slot: SlotIndex) -> Result<&mut Session, RecordError> {
        match &mut self.place(slot)?.state {
            Slot::Live(session) if session.asking.is_asked() => {
                session.asking = Asking::No;
                Ok(session)
            }
            Slot::Live(_) => Err(RecordError::NotAsked),
            _ => Err(RecordError::Stale),
        }
    }

    fn place(&mut self, slot: SlotIndex) -> Result<&mut Place, RecordError> {
        self.places
            .get_mut(usize::from(slot))
            .ok_or(RecordError::NoSlot)
    }

    /// The session of that name.
    fn session(&mut self, slot: SlotIndex, generation: u16) -> Result<&mut Session, RecordError> {
        let place = self.place(slot)?;
        match &mut place.state {
            Slot::Live(session) if place.generation == Some(generation) => Ok(session),
            _ => Err(RecordError::Stale),
        }
    }

    // ---- the end of a session ----

    /// The session in `slot`, if there is one, is over: its keys are dropped, and it is
    /// in no queue any more.
    fn leave(&mut self, slot: SlotIndex, state: Slot) {
        let Some(place) = self.places.get_mut(usize::from(slot)) else {
            return;
        };
        if let Slot::Live(session) = core::mem::replace(&mut place.state, state) {
            self.holders.note(slot, false);
            self.assemblies.leave(slot);
            if matches!(session.asking, Asking::Queued(_)) {
                self.asking.retain(|asking| *asking != slot);
            }
            self.sessions -= 1;
            self.count_sessions();
        }
    }

    fn count_sessions(&self) {
        self.stats.set(stats::record::SESSIONS, self.sessions);
    }
}

/// Bytes of a slot's place.
pub(crate) const PLACE: usize = size_of::<Place>();

fn live(places: &mut [Place], slot: SlotIndex) -> Option<&mut Session> {
    match &mut places.get_mut(usize::from(slot))?.state {
        Slot::Live(session) => Some(session),
        _ => None,
    }
}

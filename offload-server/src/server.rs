//! Takes directives and events, runs handshakes, reports completions.

mod directed;
mod establish;
mod give_up;
mod turn;

pub use turn::Turn;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use ipc::channel::{Channel, Doorbell, SlotIndex, Status, untaken};
use ipc::clock::{Clock, Instant};
use ipc::control::{HandshakeError, Parameters, RequestError};
use ipc::director::VerdictQueue;
use ipc::handshake::{Completion, CompletionQueue, Directive, ForgetInbox, Origin, Start};
use ipc::mailbox::Malformed;
use ipc::record::{PostHandshakeInbox, Record};
use ipc::stats;
use ipc::tls::Mode;
use ipc::transport::{Client, Transport};

use crate::autonomous::profile::Profiles;
use crate::autonomous::{Handshake, Step};
use crate::by_request::Asked;
use crate::directed::Directed;
use crate::keyring::{self, Keyring, StartError};
use crate::loans::{Loans, Whose};
use crate::session::SessionSlot;
use crate::session::Sessions;
use crate::signer::{KeystoreClient, Sign};
use crate::time::SystemTime;
use crate::work::{Class, WorkQueue};

/// The capabilities of the offload component.
pub struct Ports<'a, N, S, R, K, W> {
    /// Connections in handshake; its slots are the handshake slots.
    pub net: Channel<N>,
    /// Directives in, completions out.
    pub shim: CompletionQueue<S>,
    /// Segments of directed handshakes in, verdicts out.
    pub director: VerdictQueue<S>,
    /// Sessions that are over.
    pub forget: ForgetInbox<S>,
    /// What sessions need after their handshake.
    pub record: PostHandshakeInbox<R>,
    /// The key store.
    pub keystore: Client<ipc::keystore::Keystore, K>,
    /// The install capability that the shim minted for a session slot.
    pub install: Box<dyn Fn(SlotIndex) -> Client<Record, W> + 'a>,
    /// Session slots at the record layer.
    pub session_slots: u16,
    /// Clients of the shim.
    pub clients: u16,
    /// Bytes of heap in use.
    pub heap_used: fn() -> usize,
    /// Counters.
    pub stats: &'a stats::Page,
}

/// What the offload component runs on: how it reaches other domains, and its clock.
pub trait Platform {
    /// Signals to the network stack.
    type Net: Doorbell;
    /// Signals to the kernel shim and the director.
    type Shim: Doorbell;
    /// Signals to the record layer.
    type Record: Doorbell;
    /// Calls to the record layer, one for each session.
    type Install: Transport;
    /// The time.
    type Clock: Clock + Clone + Send + Sync + 'static;
}

impl<N, S, R, W, C> Platform for (N, S, R, W, C)
where
    N: Doorbell,
    S: Doorbell,
    R: Doorbell,
    W: Transport,
    C: Clock + Clone + Send + Sync + 'static,
{
    type Net = N;
    type Shim = S;
    type Record = R;
    type Install = W;
    type Clock = C;
}

/// The offload component.
pub struct Server<'a, P: Platform> {
    net: Channel<P::Net>,
    shim: CompletionQueue<P::Shim>,
    director: VerdictQueue<P::Shim>,
    forget: ForgetInbox<P::Shim>,
    record: PostHandshakeInbox<P::Record>,
    install: Box<dyn Fn(SlotIndex) -> Client<Record, P::Install> + 'a>,
    profiles: Profiles,
    handshakes: Vec<Option<Box<Handshake>>>,
    directed: Vec<Option<Box<Directed>>>,
    keystore: Arc<dyn Sign + Send + Sync>,
    fetch: Box<dyn Fn() -> Result<Vec<Arc<Keyring>>, StartError> + 'a>,
    sessions: Sessions,
    clock: P::Clock,
    heap_used: fn() -> usize,
    stats: &'a stats::Page,
    /// What handshakes hold on behalf of their peers.
    loans: Loans,
    /// Sessions of this turn, which the shim is told of at its end.
    established: Vec<Completion>,
    /// What is to be done on them.
    work: WorkQueue,
    /// Handshakes begun so far: tells which is the oldest.
    begun: u64,
    /// No handshake's deadline is before this.
    earliest: Instant,
}

/// Whose a handshake is, and how old.
pub(crate) struct Entry {
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
    /// When a look first found a part of the message that is next, and no more.
    part_since: Option<Instant>,
    /// A look found no more than a part [`WHOLE_WITHIN`] after that.
    is_late: bool,
}

impl Entry {
    pub(crate) const fn class(&self) -> Class {
        Class::of(self.origin.standing, self.has_answered)
    }

    pub(crate) const fn is_queued(&self) -> bool {
        self.has_news || self.has_segment
    }

    /// A look has found a part of a message, and no more.
    fn note_part(&mut self, now: Instant) {
        let since = *self.part_since.get_or_insert(now);
        self.is_late = now >= since + WHOLE_WITHIN;
    }

    /// A message was whole, or none has begun.
    const fn note_whole(&mut self) {
        self.part_since = None;
        self.is_late = false;
    }
}

/// A message must be whole so long after its first part was there. Then its peer owes it,
/// whatever else it sends now and then: Apache's `RequestReadTimeout` and nginx'
/// `client_header_timeout` are for the whole handshake or head likewise, not for the pause
/// between two parts. Before that it is kept, as others are that owe an answer.
const WHOLE_WITHIN: Duration = Duration::from_millis(500);

/// How long after its deadline a handshake is cancelled here, if the network stack did
/// not end it.
const GRACE: Duration = Duration::from_secs(1);

const fn session_of(start: &Start) -> SessionSlot {
    SessionSlot {
        slot: start.session,
        generation: start.session_generation,
    }
}

impl<'a, P: Platform> Server<'a, P> {
    /// Fetches the key rings and is ready for directives.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new<K: Transport + Send + Sync + 'static>(
        ports: Ports<'a, P::Net, P::Shim, P::Record, K, P::Install>,
        clock: P::Clock,
    ) -> Result<Self, StartError> {
        let keystore: Arc<KeystoreClient<K>> = Arc::new(ports.keystore);
        let keyrings = keyring::fetch(&keystore)?;
        let time = Arc::new(SystemTime(clock.clone()));
        let slots = ports.net.slots();
        // What was in progress before this start is over.
        let lost = in_progress(ports.stats);
        ports.stats.add(stats::offload::FAILED, lost);
        ports.stats.set(stats::offload::IN_PROGRESS, 0);
        Ok(Self {
            net: ports.net,
            shim: ports.shim,
            director: ports.director,
            forget: ports.forget,
            record: ports.record,
            install: ports.install,
            profiles: Profiles::new(keyrings, ports.clients, time),
            handshakes: (0..slots).map(|_| None).collect(),
            directed: (0..slots).map(|_| None).collect(),
            fetch: Box::new({
                let keystore = keystore.clone();
                move || keyring::fetch(&keystore)
            }),
            keystore,
            sessions: Sessions::new(ports.session_slots),
            clock,
            heap_used: ports.heap_used,
            stats: ports.stats,
            loans: Loans::new(slots),
            established: Vec::new(),
            work: WorkQueue::new(),
            begun: 0,
            earliest: Instant::NEVER,
        })
    }

    /// Fetches the key rings again: some were replaced. Handshakes in progress
    /// go on with those that they began with.
    pub fn refetch(&mut self) {
        if let Ok(keyrings) = (self.fetch)() {
            self.profiles.replace(keyrings);
        }
    }

    /// Names the oldest event of its queues that was not taken, as [`untaken`] does.
    pub fn untaken(&self) -> u64 {
        untaken([
            self.net.oldest_event(),
            self.shim.oldest_event(),
            self.director.oldest_event(),
            self.forget.oldest_event(),
            self.record.oldest_event(),
        ])
    }

    /// When to call [`Server::run`] again at the latest.
    pub fn next_deadline(&self) -> Instant {
        self.earliest
    }

    fn take_directive(&mut self, directive: Result<Directive, Malformed>) {
        // What is none costs its slot; the shim is the one that asks.
        let Ok(directive) = directive else {
            return;
        };
        match directive {
            Directive::Start(start) => self.start(start),
            Directive::Cancel { slot, generation } => {
                self.give_up(slot, Some(generation), HandshakeError::Cancelled);
            }
            Directive::Displace {
                slot,
                generation,
                same_group,
            } => self.displace(slot, generation, same_group),
        }
    }

    fn start(&mut self, start: Start) {
        self.stats.add(stats::offload::STARTED, 1);
        self.net.follow(start.slot);
        let entry = self.enter(start.origin);
        match start.mode {
            Mode::Autonomous => self.start_autonomous(&start, entry),
            Mode::Directed => self.start_directed(&start, entry),
        }
    }

    fn enter(&mut self, origin: Origin) -> Entry {
        self.begun += 1;
        self.earliest = self.earliest.min(origin.deadline + GRACE);
        Entry {
            origin,
            number: self.begun,
            began: self.clock.now(),
            left: 0,
            has_answered: false,
            has_news: false,
            has_segment: false,
            part_since: None,
            is_late: false,
        }
    }

    fn start_autonomous(&mut self, start: &Start, entry: Entry) {
        let slot = start.slot;
        match self.begin_autonomous(start, entry) {
            Ok(handshake) => {
                if let Some(place) = self.handshakes.get_mut(usize::from(slot)) {
                    *place = Some(handshake);
                }
                self.count_in_progress();
                // The peer may have spoken already.
                self.note_news(slot);
            }
            Err(error) => self.fail(slot, start.generation, error),
        }
    }

    fn begin_autonomous(
        &mut self,
        start: &Start,
        entry: Entry,
    ) -> Result<Box<Handshake>, HandshakeError> {
        if !Parameters::SEGMENT_SIZES.contains(&start.parameters.segment_size) {
            return Err(HandshakeError::Request(RequestError::SegmentSize));
        }
        let engine = self.profiles.engine(Asked {
            client: entry.origin.client,
            role: start.role,
            parameters: &start.parameters,
        })?;
        let catch = self.profiles.catch();
        let (session, position) = (session_of(start), start.position);
        let parameters = &start.parameters;
        Ok(Handshake::new(
            start.generation,
            session,
            engine,
            catch,
            position,
            parameters,
            entry,
        ))
    }

    /// Goes on with the handshake in `slot`; true if it ended.
    fn step(&mut self, slot: SlotIndex) -> bool {
        let place = usize::from(slot);
        let Some(handshake) = self.handshakes.get_mut(place).and_then(Option::as_mut) else {
            return false;
        };
        let (clock, loans) = (&self.clock, &mut self.loans);
        let whose = Whose::of(&handshake.entry.origin);
        let step = handshake.step(
            &mut self.net,
            slot,
            || clock.now(),
            |held| loans.charge(slot, whose, held),
        );
        let generation = handshake.generation;
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
                self.forget(slot);
                self.fail(slot, generation, error);
                true
            }
            Step::Finished => {
                if let Some(handshake) = self.forget(slot) {
                    self.establish(slot, generation, handshake.finish());
                }
                true
            }
        }
    }

    /// What there was to read in `slot` was read.
    fn note_left(&mut self, slot: SlotIndex) {
        let left = self.net.readable(slot).unwrap_or(0);
        let place = usize::from(slot);
        let autonomous = self.handshakes.get_mut(place).and_then(Option::as_mut);
        let directed = self.directed.get_mut(place).and_then(Option::as_mut);
        let (entry, has_part, is_next) = match (autonomous, directed) {
            (Some(handshake), _) => {
                let has_part = left > 0 || handshake.has_part();
                let is_next = handshake.take_moved();
                (&mut handshake.entry, has_part, is_next)
            }
            (_, Some(directed)) => {
                // Before the director wants one no message is late.
                let is_wanted = directed.is_waiting();
                let has_part = is_wanted && (left > 0 || directed.has_part());
                (&mut directed.entry, has_part, !is_wanted)
            }
            _ => return,
        };
        entry.left = left;
        if is_next || !has_part {
            entry.note_whole();
        }
        if has_part {
            entry.note_part(self.clock.now());
        }
    }

    fn forget(&mut self, slot: SlotIndex) -> Option<Box<Handshake>> {
        let handshake = self.handshakes.get_mut(usize::from(slot))?.take();
        if handshake.as_ref().is_some_and(|h| h.entry.is_queued()) {
            self.work.forget(slot);
        }
        self.loans.give_back(slot);
        handshake
    }

    fn in_progress(&self) -> u64 {
        in_progress(self.stats)
    }

    fn count_in_progress(&self) {
        let count = self.in_progress();
        self.stats.set(stats::offload::IN_PROGRESS, count);
    }

    /// Ends what was said to the peer, and reports.
    fn fail(&mut self, slot: SlotIndex, generation: u16, error: HandshakeError) {
        self.stats.add(stats::offload::FAILED, 1);
        self.stats
            .set(stats::offload::IN_PROGRESS, self.in_progress());
        self.net.set_status(slot, Status::END);
        self.complete(&Completion::Failed {
            slot,
            generation,
            error,
        });
    }

    fn complete(&mut self, completion: &Completion) {
        // Its mailbox has room for the completion of one handshake. A shim that has not
        // taken that of the slot's last handshake gets none of this one.
        self.shim.send(completion).ok();
    }

    fn post_handshake(&mut self, asked: &ipc::record::PostHandshake) {
        use ipc::record::PostHandshake::{Message, RekeyDue};
        self.stats.add(stats::offload::POST_HANDSHAKE, 1);
        let (Message { slot, .. } | RekeyDue { slot, .. }) = asked;
        let request = self.sessions.answer(asked, self.clock.now());
        // A session that ended meanwhile refuses: nothing to do.
        let _ = (self.install)(*slot).call(&request);
    }
}

fn in_progress(stats: &stats::Page) -> u64 {
    let started = stats.read(stats::offload::STARTED);
    let over = stats.read(stats::offload::FINISHED) + stats.read(stats::offload::FAILED);
    started.saturating_sub(over)
}

//! Takes directives and events, runs handshakes, reports completions.

mod autonomous;
mod directed;
mod establish;
mod give_up;
mod memory;
mod overdue;
mod turn;

pub use turn::Turn;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use ipc::channel::{Channel, Doorbell, SlotIndex, Status, untaken};
use ipc::clock::{Clock, Instant};
use ipc::control::{Failure, HandshakeError, Parameters, RequestError};
use ipc::director::VerdictQueue;
use ipc::handshake::{Completion, CompletionQueue, Directive, ForgetInbox, Start};
use ipc::mailbox::Malformed;
use ipc::record::{PostHandshakeInbox, Record};
use ipc::stats;
use ipc::tls::Mode;
use ipc::transport::{Client, Transport};

use crate::autonomous::Profiles;
use crate::credentials::Credentials;
use crate::directed::Resumptions;
use crate::in_progress::{Entry, Handshake, InProgress, Progress};
use crate::keyring::{self, Keyring, StartError};
use crate::loans::Loans;
use crate::session::Sessions;
use crate::signer::{KeystoreClient, Sign};
use crate::time::SystemTime;
use crate::work::WorkQueue;
use overdue::Overdue;

/// The capabilities of the offload component.
pub struct Ports<'a, N, S, R, K, W> {
    /// Connections in handshake; its slots are the handshake slots.
    pub net: Channel<N>,
    /// Directives in, completions out.
    pub shim: CompletionQueue<S>,
    /// Segments of directed handshakes in, verdicts out. Without it there are none.
    pub director: Option<VerdictQueue<S>>,
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
    director: Option<VerdictQueue<P::Shim>>,
    forget: ForgetInbox<P::Shim>,
    record: PostHandshakeInbox<P::Record>,
    install: Box<dyn Fn(SlotIndex) -> Client<Record, P::Install> + 'a>,
    credentials: Credentials,
    /// When their revocation lists and OCSP responses go out of date.
    overdue: Overdue,
    /// The engines' configurations.
    autonomous: Profiles,
    directed: Resumptions,
    in_progress: InProgress,
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
    /// The generation whose completion was sent last, by handshake slot.
    completed: Vec<Option<u16>>,
    /// What is to be done on them.
    work: WorkQueue,
    /// Handshakes begun so far: tells which is the oldest.
    begun: u64,
    /// No handshake's deadline is before this.
    earliest: Instant,
}

/// How long after its deadline a handshake is cancelled here, if the network stack did
/// not end it.
const GRACE: Duration = Duration::from_secs(1);

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
        let lost = count_in_progress(ports.stats);
        ports.stats.add(stats::offload::FAILED, lost);
        ports.stats.set(stats::offload::IN_PROGRESS, 0);
        let mut server = Self {
            net: ports.net,
            shim: ports.shim,
            director: ports.director,
            forget: ports.forget,
            record: ports.record,
            install: ports.install,
            credentials: Credentials::new(keyrings, ports.clients, time),
            overdue: Overdue::new(),
            autonomous: Profiles::new(),
            directed: Resumptions::new(),
            in_progress: InProgress::new(slots),
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
            completed: vec![None; usize::from(slots)],
            work: WorkQueue::new(),
            begun: 0,
            earliest: Instant::NEVER,
        };
        server.look_at_overdue();
        server.tell_rings();
        Ok(server)
    }

    /// Fetches the key rings again: some were replaced. Handshakes in progress
    /// go on with those that they began with.
    pub fn refetch(&mut self) {
        if let Ok(keyrings) = (self.fetch)() {
            self.credentials.replace(keyrings);
            self.overdue = Overdue::new();
            self.look_at_overdue();
            self.tell_rings();
            self.autonomous.clear();
            self.directed.clear();
            self.sessions.drop_takers();
        }
    }

    /// Names the oldest event of its queues that was not taken, as [`untaken`] does.
    pub fn untaken(&self) -> u64 {
        untaken([
            self.net.oldest_event(),
            self.shim.oldest_event(),
            self.director.as_ref().and_then(VerdictQueue::oldest_event),
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
            // No window has another: the shim does not know this component's size.
            Directive::Start(start) if !self.sessions.has_slot(start.session) => {}
            Directive::Start(start) => self.start(start),
            Directive::Cancel { slot, generation } => self.cancel(slot, generation),
            Directive::Displace {
                slot,
                generation,
                same_group,
            } => self.displace(slot, generation, same_group),
        }
    }

    fn start(&mut self, start: Start) {
        let (slot, generation) = (start.slot, start.generation);
        self.stats.add(stats::offload::STARTED, 1);
        self.net.follow(slot);
        self.look_at_overdue();
        self.begun += 1;
        self.earliest = self.earliest.min(start.origin.deadline + GRACE);
        let entry = Entry::new(&start, self.begun, self.clock.now());
        let has_begun = match start.mode {
            _ if !Parameters::SEGMENT_SIZES.contains(&start.parameters.segment_size) => {
                Err(HandshakeError::Request(RequestError::SegmentSize))
            }
            Mode::Autonomous => self.start_autonomous(&start, entry),
            Mode::Directed => self.start_directed(&start, entry),
        };
        if let Err(error) = has_begun {
            self.fail(slot, generation, error);
        }
    }

    /// The handshake begins in its slot.
    fn enter(&mut self, slot: SlotIndex, entry: Entry, progress: Progress) {
        self.in_progress.put(slot, Handshake { entry, progress });
        self.count_in_progress();
    }

    /// What there was to read in `slot` was read.
    fn note_left(&mut self, slot: SlotIndex) {
        let left = self.net.readable(slot).unwrap_or(0);
        let Some(Handshake { entry, progress }) = self.in_progress.get_mut(slot) else {
            return;
        };
        // Before the director wants one no message is late.
        let is_waiting = progress.is_waiting();
        let has_part = is_waiting && (left > 0 || progress.has_part());
        let is_next = progress.take_moved() || !is_waiting;
        entry.left = left;
        if is_next || !has_part {
            entry.note_whole();
        }
        if has_part {
            entry.note_part(self.clock.now());
        }
    }

    /// It is in progress no more.
    fn forget(&mut self, slot: SlotIndex) -> Option<Handshake> {
        let handshake = self.in_progress.take(slot);
        if handshake.as_ref().is_some_and(|h| h.entry.is_queued()) {
            self.work.forget(slot);
        }
        self.loans.give_back(slot);
        handshake
    }

    fn count_in_progress(&self) {
        let count = count_in_progress(self.stats);
        self.stats.set(stats::offload::IN_PROGRESS, count);
    }

    /// Ends what was said to the peer, and reports.
    fn fail(&mut self, slot: SlotIndex, generation: u16, error: HandshakeError) {
        self.fail_for(slot, generation, error.into());
    }

    /// The same, with what of the peer's part was wrong.
    fn fail_for(&mut self, slot: SlotIndex, generation: u16, failure: Failure) {
        let Failure { error, cause } = failure;
        self.stats.add(stats::offload::FAILED, 1);
        self.count_in_progress();
        self.net.set_status(slot, Status::END);
        self.complete(&Completion::Failed {
            slot,
            generation,
            error,
            cause,
        });
    }

    fn complete(&mut self, completion: &Completion) {
        let (Completion::Established {
            slot, generation, ..
        }
        | Completion::Failed {
            slot, generation, ..
        }) = completion;
        if let Some(last) = self.completed.get_mut(usize::from(*slot)) {
            *last = Some(*generation);
        }
        // Its mailbox has room for the completion of one handshake. A shim that has not
        // taken that of the slot's last handshake gets none of this one.
        self.shim.send(completion).ok();
    }

    fn post_handshake(&mut self, asked: &ipc::record::PostHandshake) {
        use ipc::record::PostHandshake::{Message, RekeyDue};
        self.stats.add(stats::offload::POST_HANDSHAKE, 1);
        let (Message { slot, .. } | RekeyDue { slot, .. }) = asked;
        if !self.sessions.has_slot(*slot) {
            return;
        }
        let request = self.sessions.answer(asked, self.clock.now());
        // A session that ended meanwhile refuses: nothing to do.
        let _ = (self.install)(*slot).call(&request);
    }
}

fn count_in_progress(stats: &stats::Page) -> u64 {
    let started = stats.read(stats::offload::STARTED);
    let over = stats.read(stats::offload::FINISHED) + stats.read(stats::offload::FAILED);
    started.saturating_sub(over)
}

//! Takes directives and events, runs handshakes, reports completions.

mod directed;
mod give_up;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use ipc::bounded::{Blob, Bytes};
use ipc::channel::{Channel, Doorbell, Event, SlotIndex, Status};
use ipc::clock::{Clock, Instant};
use ipc::control::{Established, HandshakeError, Parameters, RequestError, Resource};
use ipc::handshake::{Completion, CompletionQueue, Directive, ForgetInbox, Origin};
use ipc::mailbox::Malformed;
use ipc::net::TcpPosition;
use ipc::record::{Answer, MAX_CERTIFICATE_PART, PostHandshakeInbox, Record, Request};
use ipc::stats;
use ipc::transport::{Client, Transport};
use rustls::HandshakeKind;
use tls::{CipherSuite, Role, TrafficKey};

use crate::by_request::Asked;
use crate::convert;
use crate::directed::Directed;
use crate::handshake::{Handshake, SessionSlot, Step};
use crate::identity::Peer;
use crate::keyring::{self, Keyring, StartError};
use crate::loans::Loans;
use crate::profile::Profiles;
use crate::session::Sessions;
use crate::signer::{KeystoreClient, Sign};
use crate::time::SystemTime;
use crate::work::{Class, Work, WorkQueue};
use directed::Beginning;

/// The capabilities of the offload component.
pub struct Ports<'a, N, S, R, K, W> {
    /// Connections in handshake; its slots are the handshake slots.
    pub net: Channel<N>,
    /// Directives in, completions out.
    pub shim: CompletionQueue<S>,
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

/// The offload component.
pub struct Server<'a, N, S, R, W, C> {
    net: Channel<N>,
    shim: CompletionQueue<S>,
    forget: ForgetInbox<S>,
    record: PostHandshakeInbox<R>,
    install: Box<dyn Fn(SlotIndex) -> Client<Record, W> + 'a>,
    profiles: Profiles,
    handshakes: Vec<Option<Box<Handshake>>>,
    directed: Vec<Option<Box<Directed>>>,
    keystore: Arc<dyn Sign + Send + Sync>,
    fetch: Box<dyn Fn() -> Result<Vec<Arc<Keyring>>, StartError> + 'a>,
    sessions: Sessions,
    clock: C,
    heap_used: fn() -> usize,
    stats: &'a stats::Page,
    /// What handshakes hold on behalf of their peers.
    loans: Loans,
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
}

impl Entry {
    const fn class(&self) -> Class {
        Class::of(self.origin.standing, self.has_answered)
    }

    const fn is_queued(&self) -> bool {
        self.has_news || self.has_segment
    }
}

/// The result of one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// A secret may have been on the stack.
    pub touched_secrets: bool,
    /// There is more to do: have another turn.
    pub is_busy: bool,
}

/// Messages of the shim and events of connections that are taken in before each piece of
/// work; pieces of work, and questions of sessions, that are dealt with in one turn: each
/// kind gets its turn, however much there is of another.
const DIRECTIVES_AT_ONCE: usize = 16;
const EVENTS_AT_ONCE: usize = 64;
const WORK_A_TURN: usize = 16;
const QUESTIONS_A_TURN: usize = 8;

/// How long after its deadline a handshake is cancelled here, if the network stack did
/// not end it.
const GRACE: Duration = Duration::from_secs(1);

impl<'a, N, S, R, W, C> Server<'a, N, S, R, W, C>
where
    N: Doorbell,
    S: Doorbell,
    R: Doorbell,
    W: Transport,
    C: Clock + Clone + Send + Sync + 'static,
{
    /// Fetches the key rings and is ready for directives.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new<K: Transport + Send + Sync + 'static>(
        ports: Ports<'a, N, S, R, K, W>,
        clock: C,
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

    /// Does one turn of what there is to do; call it at each wake-up.
    // Its frames are below the caller's, where they can be scrubbed.
    #[inline(never)]
    pub fn run(&mut self) -> Turn {
        self.stats.add(stats::offload::WAKEUPS, 1);
        let mut turn = Turn {
            touched_secrets: false,
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
            self.take_in();
            let Some((class, work)) = self.work.next() else {
                break;
            };
            turn.touched_secrets |= self.work_on(work);
            left -= 1;
            // What others wait for leaves before more is done for those behind them.
            if left == 0 || (class > Class::First && !self.work.is_empty()) {
                turn.is_busy = true;
                break;
            }
        }
        let mut left = QUESTIONS_A_TURN;
        while left > 0
            && let Some(asked) = self.record.receive()
        {
            let Ok(asked) = asked else { break };
            left -= 1;
            turn.touched_secrets = true;
            self.post_handshake(&asked);
        }
        turn.is_busy |= left == 0;
        let now = self.clock.now();
        if self.earliest <= now {
            self.give_up_overdue(now);
        }
        // Before anybody is told that a handshake is over: whoever asks for the counters
        // then may run before this turn ends.
        let heap = (self.heap_used)() as u64;
        self.stats.set(stats::offload::HEAP, heap);
        self.net.flush();
        self.shim.flush();
        self.record.flush();
        turn
    }

    /// When to call [`Server::run`] again at the latest.
    pub fn next_deadline(&self) -> Instant {
        self.earliest
    }

    /// Takes in what has come: what is to be done for it is queued.
    fn take_in(&mut self) {
        for _ in 0..DIRECTIVES_AT_ONCE {
            let Some(directive) = self.shim.receive() else {
                break;
            };
            self.take_directive(directive);
        }
        for _ in 0..EVENTS_AT_ONCE {
            match self.net.next_event() {
                Some(Event::Slot(slot)) => self.note_news(slot),
                Some(Event::Control) => {}
                None => break,
            }
        }
    }

    /// The connection of the handshake in `slot` has news.
    fn note_news(&mut self, slot: SlotIndex) {
        let place = usize::from(slot);
        let autonomous = self.handshakes.get_mut(place).and_then(Option::as_mut);
        let directed = self.directed.get_mut(place).and_then(Option::as_mut);
        let (entry, has_answered) = match (autonomous, directed) {
            (Some(handshake), _) => {
                let has_answered = handshake.has_heard();
                (&mut handshake.entry, has_answered)
            }
            // Before our flight is complete, what comes is no answer to it.
            (_, Some(directed)) => {
                let has_answered = directed.has_heard() && directed.is_waiting();
                (&mut directed.entry, has_answered)
            }
            _ => return,
        };
        entry.has_answered |= has_answered;
        if !core::mem::replace(&mut entry.has_news, true) {
            self.work.push(entry.class(), Work::Look(slot));
        }
    }

    /// True if it touched secrets.
    fn work_on(&mut self, work: Work) -> bool {
        match work {
            Work::Look(slot) => {
                if let Some(entry) = self.entry_mut(slot) {
                    entry.has_news = false;
                }
                self.step(slot) | self.step_directed(slot)
            }
            Work::Perform {
                slot,
                generation,
                segment,
            } => {
                if let Some(entry) = self.entry_mut(slot) {
                    entry.has_segment = false;
                }
                self.perform(slot, generation, *segment);
                // The shim runs at once and queues the next.
                self.shim.flush();
                true
            }
        }
    }

    fn entry_mut(&mut self, slot: SlotIndex) -> Option<&mut Entry> {
        let place = usize::from(slot);
        let autonomous = self.handshakes.get_mut(place)?.as_mut();
        let directed = self.directed.get_mut(place)?.as_mut();
        autonomous
            .map(|handshake| &mut handshake.entry)
            .or(directed.map(|directed| &mut directed.entry))
    }

    fn take_directive(&mut self, directive: Result<Directive, Malformed>) {
        // What is none costs its slot; the shim is the one that asks.
        let Ok(directive) = directive else {
            return;
        };
        match directive {
            Directive::Start {
                slot,
                generation,
                session,
                session_generation,
                role,
                origin,
                parameters,
                position,
            } => {
                let session = SessionSlot {
                    slot: session,
                    generation: session_generation,
                };
                self.stats.add(stats::offload::STARTED, 1);
                self.net.follow(slot);
                let entry = self.enter(origin);
                match self.start(generation, session, role, &parameters, position, entry) {
                    Ok(handshake) => {
                        if let Some(place) = self.handshakes.get_mut(usize::from(slot)) {
                            *place = Some(handshake);
                        }
                        self.count_in_progress();
                        // The peer may have spoken already.
                        self.note_news(slot);
                    }
                    Err(error) => self.fail(slot, generation, error),
                }
            }
            Directive::Cancel { slot, generation } => {
                self.give_up(slot, Some(generation), HandshakeError::Cancelled);
            }
            Directive::Displace {
                slot,
                generation,
                same_group,
            } => self.displace(slot, generation, same_group),
            Directive::Direct {
                slot,
                generation,
                session,
                session_generation,
                role,
                origin,
                parameters,
                position,
            } => {
                let session = SessionSlot {
                    slot: session,
                    generation: session_generation,
                };
                let beginning = Beginning {
                    generation,
                    session,
                    role,
                    parameters,
                    position,
                    entry: self.enter(origin),
                };
                self.begin_directed(slot, beginning);
                self.shim.flush();
            }
            Directive::Segment {
                slot,
                generation,
                segment,
            } => {
                let work = Work::Perform {
                    slot,
                    generation,
                    segment: Box::new(segment),
                };
                self.queue_segment(slot, generation, work);
            }
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
        }
    }

    fn start(
        &mut self,
        generation: u16,
        session: SessionSlot,
        role: Role,
        parameters: &Parameters,
        position: TcpPosition,
        entry: Entry,
    ) -> Result<Box<Handshake>, HandshakeError> {
        if !Parameters::SEGMENT_SIZES.contains(&parameters.segment_size) {
            return Err(HandshakeError::Request(RequestError::SegmentSize));
        }
        let engine = self.profiles.engine(Asked {
            client: entry.origin.client,
            role,
            parameters,
        })?;
        let catch = self.profiles.catch();
        Ok(Handshake::new(
            generation, session, engine, catch, position, parameters, entry,
        ))
    }

    /// Goes on with the handshake in `slot`; true if it ended.
    fn step(&mut self, slot: SlotIndex) -> bool {
        let place = usize::from(slot);
        let Some(handshake) = self.handshakes.get_mut(place).and_then(Option::as_mut) else {
            return false;
        };
        let (clock, loans) = (&self.clock, &mut self.loans);
        let client = handshake.entry.origin.client;
        let step = handshake.step(
            &mut self.net,
            slot,
            || clock.now(),
            |held| loans.charge(slot, client, held),
        );
        let generation = handshake.generation;
        self.end_displaced();
        match step {
            Step::Waiting => {
                self.note_left(slot);
                false
            }
            Step::Failed(error) => {
                self.forget(slot);
                self.fail(slot, generation, error);
                true
            }
            Step::Finished => {
                if let Some(handshake) = self.forget(slot) {
                    match self.establish(handshake) {
                        Ok(established) => self.established(slot, generation, established),
                        Err(error) => self.fail(slot, generation, error),
                    }
                }
                true
            }
        }
    }

    /// What there was to read in `slot` was read.
    fn note_left(&mut self, slot: SlotIndex) {
        let left = self.net.readable(slot).unwrap_or(0);
        if let Some(entry) = self.entry_mut(slot) {
            entry.left = left;
        }
    }

    fn forget(&mut self, slot: SlotIndex) -> Option<Box<Handshake>> {
        let handshake = self.handshakes.get_mut(usize::from(slot))?.take();
        if handshake.as_ref().is_some_and(|h| h.entry.is_queued()) {
            self.work.forget(slot);
        }
        self.loans.give_back(slot);
        self.count_in_progress();
        handshake
    }

    pub(super) fn established(
        &mut self,
        slot: SlotIndex,
        generation: u16,
        established: Box<Established>,
    ) {
        self.stats.add(stats::offload::FINISHED, 1);
        self.count_in_progress();
        self.net.close(slot);
        self.complete(&Completion::Established {
            slot,
            generation,
            established,
        });
    }

    fn in_progress(&self) -> u64 {
        in_progress(self.stats)
    }

    fn count_in_progress(&self) {
        let count = self.in_progress();
        self.stats.set(stats::offload::IN_PROGRESS, count);
    }

    /// Installs the keys and reports what was negotiated.
    fn establish(
        &mut self,
        mut handshake: Box<Handshake>,
    ) -> Result<Box<Established>, HandshakeError> {
        const INTERNAL: HandshakeError = HandshakeError::Resource(Resource::Internal);
        let choice = handshake.choice.take().ok_or(INTERNAL)?;
        let connection = handshake.connection();
        let suite = connection
            .negotiated_cipher_suite()
            .and_then(|suite| CipherSuite::from_number(u16::from(suite.suite())))
            .ok_or(INTERNAL)?;
        let version = connection
            .protocol_version()
            .and_then(convert::version)
            .ok_or(INTERNAL)?;
        let group = connection
            .negotiated_key_exchange_group()
            .and_then(convert::group);
        let alpn = connection
            .alpn_protocol()
            .and_then(|name| Bytes::from_slice(name).ok());
        let peer = Peer::of(connection.peer_certificates())?;
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let tcp = handshake.position();
        let first_byte = handshake.first_byte.unwrap_or(self.clock.now());
        let session = handshake.session;
        let expose_keys = handshake.expose_keys;

        let (tx, rx) = handshake.caught.keys().ok_or(INTERNAL)?;
        let sequence = (tx.sequence, rx.sequence);
        let key_check = expose_keys.then(|| {
            let check = |key| convert::key_check(suite, key);
            (check(&tx), check(&rx))
        });
        let keys = match expose_keys {
            true => Some((copy(&tx).ok_or(INTERNAL)?, copy(&rx).ok_or(INTERNAL)?)),
            false => None,
        };
        let role = handshake.role();
        self.install(session, role, suite, (tx, rx), &peer.certificate)?;
        if version == tls::Version::Tls13 {
            let secrets = handshake.caught.secrets(suite).ok_or(INTERNAL)?;
            let tickets = handshake.into_tickets();
            self.sessions.keep(session, role, secrets, tickets);
        }
        let established = Box::new(Established {
            version,
            suite,
            group,
            sequence,
            key_check,
            keys,
            peer: peer.identity,
            alpn,
            server_name: choice.server_name,
            keyring: choice.keyring,
            resumed,
            tcp,
            first_byte,
            installed: self.clock.now(),
        });
        Ok(established)
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

    /// Installs the keys of a session at the record layer, and has it keep the peer's
    /// certificate.
    pub(super) fn install(
        &self,
        session: SessionSlot,
        role: Role,
        suite: CipherSuite,
        (tx, rx): (TrafficKey, TrafficKey),
        certificate: &[u8],
    ) -> Result<(), HandshakeError> {
        const INTERNAL: HandshakeError = HandshakeError::Resource(Resource::Internal);
        let record = (self.install)(session.slot);
        let done = |answer| match answer {
            Ok(Ok(Answer::Done)) => Ok(()),
            _ => Err(INTERNAL),
        };
        done(record.call(&Request::Install {
            generation: session.generation,
            role,
            suite,
            tx,
            rx,
        }))?;
        for part in certificate.chunks(MAX_CERTIFICATE_PART) {
            let part = Blob::from_slice(part).map_err(|_| INTERNAL)?;
            done(record.call(&Request::KeepCertificate { part }))?;
        }
        Ok(())
    }

    fn complete(&mut self, completion: &Completion) {
        // Its mailbox has room for a verdict and the completion of one handshake. A shim
        // that has not taken those of the slot's last handshake gets no more of this one.
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

fn copy(key: &TrafficKey) -> Option<TrafficKey> {
    use tls::Secret;
    Some(TrafficKey {
        key: Secret::from_slice(key.key.expose()).ok()?,
        iv: Secret::from_slice(key.iv.expose()).ok()?,
        sequence: key.sequence,
    })
}

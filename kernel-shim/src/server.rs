//! Decode, check, act, reply; and take completions.

mod begin;
mod collect;
mod completion;
mod sessions;
mod start;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use ipc::badge::Badge;
use ipc::channel::{Doorbell, SlotIndex, untaken};
use ipc::clock::{Clock, Instant};
use ipc::control::{
    Answer, Control, Failure, HandshakeError, PolicyError, Request, Resource, SessionResult,
};
use ipc::director::OrderQueue;
use ipc::handshake::{DirectiveQueue, ForgetQueue};
use ipc::net::{self, ConnectionId, Net, NetError, TcpPosition};
use ipc::record::Record;
use ipc::stats;
use ipc::transport::{Client, MAX_MESSAGE, Transport, dispatch};

use crate::rights::Rights;
use crate::table::{Name, Table, place_size};

/// The windows into other domains' capability spaces that the shim fills.
pub trait Windows {
    /// Mints the capability to install keys for the session in `slot`.
    fn grant_install(&mut self, slot: SlotIndex, badge: Badge);
    /// Takes it back.
    fn revoke_install(&mut self, slot: SlotIndex);
    /// Mints a session capability into a slot of the window of the application `client`.
    fn grant_session(&mut self, client: u16, slot: SlotIndex, badge: Badge);
    /// Takes it back.
    fn revoke_session(&mut self, client: u16, slot: SlotIndex);
}

/// The capabilities of the shim.
pub struct Ports<'a, T, R, O, A, W> {
    /// The network stack, with control rights.
    pub net: Client<Net, T>,
    /// The record layer, with control rights.
    pub record: Client<Record, R>,
    /// Directives out, completions in.
    pub offload: DirectiveQueue<O>,
    /// Tells the offload component of sessions that are over.
    pub forget: ForgetQueue<O>,
    /// Has the director begin and end directed handshakes. Without it there are none.
    pub director: Option<OrderQueue<O>>,
    /// Who may have handshakes and sessions.
    pub applications: Vec<Application<A>>,
    /// Where capabilities for sessions are put.
    pub windows: W,
    /// Counters.
    pub stats: &'a stats::Page,
}

/// What a request or a handshake comes to.
type Outcome<T> = Result<T, HandshakeError>;

/// How long a result is kept for a client that does not collect it.
const RESULT_LIFETIME: Duration = Duration::from_secs(30);

/// A handshake in progress, or over and not collected.
///
/// Its slot, and that of its session, are used again when the offload component has
/// sent its completion and the client has its result: until then the capabilities
/// and the mailbox of these slots may be in use.
struct Handshake {
    client: u16,
    group: u32,
    connection: ConnectionId,
    session: Name,
    started: Instant,
    /// When it is cancelled; once it is over, when its result is dropped.
    until: Instant,
    /// The shim's wake-ups when it started.
    wakeups: u64,
    /// The director drives it.
    is_directed: bool,
    outcome: Option<Result<SessionResult, Failure>>,
    /// The offload component has not sent its completion.
    is_owed: bool,
    /// The client has its result, or is gone.
    is_collected: bool,
    /// What one handshake's mailbox has room for once.
    is_cancelled: bool,
}

/// A session, from the start of its handshake on.
struct Session {
    client: u16,
    connection: ConnectionId,
}

/// Bytes of a place in each table.
pub(crate) const HANDSHAKE_PLACE: usize = place_size::<Handshake>();
pub(crate) const SESSION_PLACE: usize = place_size::<Session>();

/// An application, and its part of both tables. Slots of handshakes and of sessions are
/// counted through all applications, in their order; an application counts its own
/// sessions from zero.
pub struct Application<A> {
    /// Its client number.
    pub client: u16,
    /// Tells it of completions.
    pub bell: A,
    /// Handshakes at once.
    pub handshakes: u16,
    /// Sessions at once: slots of its channel of plaintext.
    pub sessions: u16,
}

/// The kernel shim.
pub struct Server<'a, T, R, O, A, W, C> {
    ports: Ports<'a, T, R, O, A, W>,
    /// Which applications are told of completions, in their order.
    subscribed: Box<[bool]>,
    rights: Rights,
    clock: C,
    handshakes: Table<Handshake>,
    sessions: Table<Session>,
    /// Handshakes that are over, in the order of completion.
    over: VecDeque<Name>,
    next_session: u64,
    wakeups: u64,
    /// No handshake's `until` is before this.
    earliest: Instant,
}

impl<'a, T: Transport, R: Transport, O: Doorbell, A: Doorbell, W: Windows, C: Clock>
    Server<'a, T, R, O, A, W, C>
{
    /// A shim without handshakes.
    pub fn new(ports: Ports<'a, T, R, O, A, W>, rights: Rights, clock: C) -> Self {
        let mut ports = ports;
        begin::begin(&mut ports);
        let applications = ports.applications.iter();
        let handshakes = applications.clone().map(|of| of.handshakes);
        let sessions = applications.clone().map(|of| of.sessions);
        let slots = handshakes.clone().map(usize::from).sum();
        Self {
            handshakes: Table::new(handshakes),
            sessions: Table::new(sessions),
            over: VecDeque::with_capacity(slots),
            subscribed: applications.map(|_| false).collect(),
            ports,
            rights,
            clock,
            next_session: 1,
            wakeups: 0,
            earliest: Instant::NEVER,
        }
    }

    /// Takes completions, and cancels what is overdue; call it at each signal.
    pub fn run(&mut self) {
        self.count_wakeup();
        let is_new = self.ports.offload.peer_is_new();
        let is_director_new = self.ports.director.iter_mut().any(OrderQueue::peer_is_new);
        while let Some(completion) = self.ports.offload.receive() {
            // What is none costs its own handshake; the deadline ends that.
            let Ok(completion) = completion else {
                continue;
            };
            let (slot, generation, outcome) = completion.into_parts();
            self.complete(Name { slot, generation }, outcome);
        }
        if is_new {
            self.fail_all();
        } else if is_director_new {
            self.fail_directed();
        }
        let now = self.clock.now();
        if self.earliest <= now {
            self.give_up_overdue(now);
        }
        self.end_turn();
    }

    /// Names the oldest completion that was not taken, as [`untaken`] does. The other
    /// queues are never sent anything.
    pub fn untaken(&self) -> u64 {
        untaken([self.ports.offload.oldest_event()])
    }

    /// When to call [`Server::run`] again at the latest.
    pub fn next_deadline(&self) -> Instant {
        self.earliest
    }

    /// Tells the other domains, and counts.
    fn end_turn(&mut self) {
        let ports = &mut self.ports;
        ports.offload.flush();
        ports.forget.flush();
        let in_progress = self.handshakes.len().saturating_sub(self.over.len());
        let stats = ports.stats;
        stats.set(stats::shim::IN_PROGRESS, in_progress as u64);
        stats.set(stats::shim::SESSIONS, self.sessions.len() as u64);
    }

    /// Answers one call: `request` and `reply` are messages of
    /// [`ipc::control`]; returns the reply's length.
    pub fn serve(&mut self, badge: u64, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> usize {
        self.count_wakeup();
        let length = dispatch::<Control>(request, reply, |request| {
            let answer = match Badge::from_word(badge) {
                Some(Badge::Client(client)) => self.answer(client, request),
                Some(Badge::Session { slot, generation }) => {
                    self.answer_session(Name { slot, generation }, &request)
                }
                _ => Err(HandshakeError::Policy(PolicyError::Client)),
            };
            if let Err(HandshakeError::Policy(_) | HandshakeError::Resource(_)) = answer {
                self.ports.stats.add(stats::shim::REFUSED, 1);
            }
            answer
        });
        self.end_turn();
        length
    }

    fn count_wakeup(&mut self) {
        self.wakeups += 1;
        self.ports.stats.add(stats::shim::WAKEUPS, 1);
    }

    fn answer(&mut self, client: u16, request: Request) -> Outcome<Answer> {
        match request {
            Request::StartHandshake(request) => {
                self.rights.check(client, &request)?;
                return self.start(client, request).map(Answer::Started);
            }
            Request::CollectResult(id) => return self.collect(client, id),
            Request::CollectAny => return Ok(self.collect_any(client)),
            Request::Begin => self.drop_all(client),
            Request::Cancel(id) => self.cancel(client, id)?,
            Request::Subscribe => self.subscribe(client, true)?,
            Request::Displace { group } => self.displace(client, group),
            Request::CloseSession | Request::PeerCertificate { .. } | Request::Export(_) => {
                return Err(HandshakeError::Policy(PolicyError::Client));
            }
        }
        Ok(Answer::Done)
    }

    /// Which part of the tables is this client's.
    fn part(&self, client: u16) -> Outcome<usize> {
        let mut applications = self.ports.applications.iter();
        let part = applications.position(|of| of.client == client);
        part.ok_or(HandshakeError::Policy(PolicyError::Client))
    }

    /// Whether this client is told of completions.
    fn subscribe(&mut self, client: u16, is_told: bool) -> Outcome<()> {
        let part = self.part(client)?;
        if let Some(subscribed) = self.subscribed.get_mut(part) {
            *subscribed = is_told;
        }
        Ok(())
    }

    /// The number that an application has for one of its sessions.
    fn own_number(&self, client: u16, session: SlotIndex) -> SlotIndex {
        let part = self.part(client);
        part.map_or(session, |part| self.sessions.within(part, session))
    }

    /// Gives a connection to another owner.
    fn move_connection(&mut self, request: &net::Request) -> Result<TcpPosition, NetError> {
        match self.ports.net.call(request) {
            Ok(Ok(net::Answer::Moved { position })) => Ok(position),
            Ok(Err(error)) => Err(error),
            _ => Err(NetError::Closed),
        }
    }

    fn release(&mut self, connection: ConnectionId) {
        // A connection that is gone already needs no release.
        let _ = self.ports.net.call(&net::Request::Release { connection });
    }
}

const INTERNAL: HandshakeError = HandshakeError::Resource(Resource::Internal);

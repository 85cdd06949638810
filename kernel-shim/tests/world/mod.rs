//! A shim whose network stack, record layer and windows note what they are asked, and
//! a test that plays the offload component.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "not every test needs all"
)]

mod agreed;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ipc::badge::Badge;
use ipc::bounded::{Blob, List, SecretBlob, Text};
use ipc::channel::local::{LocalDoorbell, pair};
use ipc::channel::{Doorbell, SlotIndex};
use ipc::clock::{Clock, Instant};
use ipc::control::{
    Answer, Control, HandshakeError, HandshakeId, HandshakeRequest, Parameters, PeerError, Request,
    Standing,
};
use ipc::director::{Order, OrderInbox};
use ipc::handshake::{Completion, CompletionQueue, Directive, Forget, ForgetInbox};
use ipc::mailbox::Mailbox;
use ipc::net::{self, ConnectionId, Net, NetError, Owner, TcpPosition};
use ipc::provision::{ClientRights, ShimRights};
use ipc::record::{self, Record};
use ipc::stats;
use ipc::tls::{Mode, PeerAuthentication};
use ipc::transport::{Client, MAX_MESSAGE, Protocol, Transport, TransportError, decode, dispatch};
use kernel_shim::{Application, Ports, Rights, Server, Windows};
use tls::{Role, Version};

pub use agreed::established;

pub type Shared<T> = Rc<RefCell<T>>;

pub const POSITION: TcpPosition = TcpPosition {
    tx_next: 1000,
    rx_next: 2000,
};
pub const APPLICATION: Badge = Badge::Client(1);

#[derive(Clone, Default)]
pub struct FakeNet {
    pub asked: Shared<Vec<net::Request>>,
    pub refuse: Rc<Cell<Option<NetError>>>,
}

impl Transport for FakeNet {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        Ok(dispatch::<Net>(request, reply, |request| {
            let is_move = matches!(request, net::Request::Move { .. });
            self.asked.borrow_mut().push(request);
            match (is_move, self.refuse.get()) {
                (true, Some(error)) => Err(error),
                (true, None) => Ok(net::Answer::Moved { position: POSITION }),
                _ => Ok(net::Answer::Done),
            }
        }))
    }
}

/// The certificate of every session's peer.
pub const CERTIFICATE: [u8; 1000] = [6; 1000];

#[derive(Clone, Default)]
pub struct FakeRecord(pub Shared<Vec<String>>);

impl Transport for FakeRecord {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        Ok(dispatch::<Record>(request, reply, |request| {
            let asked = match request {
                record::Request::Close { slot, generation } => {
                    format!("close {slot} {generation}")
                }
                record::Request::Begin => "begin".into(),
                record::Request::Certificate {
                    slot,
                    generation,
                    offset,
                } => {
                    self.0
                        .borrow_mut()
                        .push(format!("show {slot} {generation}"));
                    let rest = CERTIFICATE.get(usize::from(offset)..).unwrap_or_default();
                    let part = rest.get(..800).unwrap_or(rest);
                    return Ok(record::Answer::Certificate(Blob::from_slice(part).unwrap()));
                }
                record::Request::Export {
                    slot,
                    generation,
                    what,
                } => {
                    self.0
                        .borrow_mut()
                        .push(format!("export {slot} {generation}"));
                    if &*what.label == b"key expansion" {
                        return Err(record::RecordError::Reserved);
                    }
                    let material = vec![7; what.length.into()];
                    return Ok(record::Answer::Exported(
                        SecretBlob::from_slice(&material).unwrap(),
                    ));
                }
                _ => "something else".into(),
            };
            self.0.borrow_mut().push(asked);
            Ok(record::Answer::Done)
        }))
    }
}

/// What is in the windows: of which kind, for which client, in which slot, with which
/// badge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    Install(SlotIndex, Badge),
    Session(u16, SlotIndex, Badge),
}

#[derive(Clone, Default)]
pub struct FakeWindows(pub Shared<Vec<Held>>);

impl Windows for FakeWindows {
    fn grant_install(&mut self, slot: SlotIndex, badge: Badge) {
        self.revoke_install(slot);
        self.0.borrow_mut().push(Held::Install(slot, badge));
    }
    fn revoke_install(&mut self, slot: SlotIndex) {
        let is_it = |held: &Held| matches!(held, Held::Install(of, _) if *of == slot);
        self.0.borrow_mut().retain(|held| !is_it(held));
    }
    fn grant_session(&mut self, client: u16, slot: SlotIndex, badge: Badge) {
        self.revoke_session(client, slot);
        self.0.borrow_mut().push(Held::Session(client, slot, badge));
    }
    fn revoke_session(&mut self, client: u16, slot: SlotIndex) {
        let is_it = |held: &Held| matches!(held, Held::Session(who, of, _) if (*who, *of) == (client, slot));
        self.0.borrow_mut().retain(|held| !is_it(held));
    }
}

pub const fn session_badge(slot: SlotIndex, generation: u16) -> Badge {
    Badge::Session { slot, generation }
}

#[derive(Clone, Default)]
pub struct Count(pub Rc<Cell<u32>>);

impl Doorbell for Count {
    fn ring(&self) {
        self.0.set(self.0.get() + 1);
    }
}

/// Milliseconds.
#[derive(Clone)]
pub struct At(Rc<Cell<u64>>);

impl Clock for At {
    fn now(&self) -> Instant {
        Instant::from_millis(self.0.get())
    }
    fn unix_seconds(&self) -> u64 {
        0
    }
}

pub type Bell = LocalDoorbell<Count>;

/// The channels of `image/system.toml`.
pub const HANDSHAKES: u16 = 224;
pub const SESSIONS: u16 = 1536;

/// Slot and generation of a handshake.
pub type Name = (SlotIndex, u16);

pub struct World {
    pub shim: Server<'static, FakeNet, FakeRecord, Bell, Count, FakeWindows, At>,
    pub net: FakeNet,
    pub record: FakeRecord,
    pub windows: FakeWindows,
    /// The notifications of the clients.
    pub told: Vec<Count>,
    pub offload: CompletionQueue<Bell>,
    pub director: OrderInbox<Bell>,
    /// Its notification.
    pub director_told: Count,
    pub forgotten: ForgetInbox<Bell>,
    time: Rc<Cell<u64>>,
}

pub type Reply = Result<Answer, HandshakeError>;

/// A start directive.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    pub slot: SlotIndex,
    pub generation: u16,
    /// Slot and generation.
    pub session: (SlotIndex, u16),
    pub mode: Mode,
}

impl World {
    /// In the shipped sizes, with so many clients.
    pub fn new(clients: u16) -> Self {
        Self::sized(
            HANDSHAKES,
            SESSIONS,
            clients,
            &[Mode::Autonomous, Mode::Directed],
        )
    }

    /// In an image without a director.
    pub fn without_director() -> Self {
        let modes = [Mode::Autonomous, Mode::Directed];
        Self::built(HANDSHAKES, SESSIONS, 1, &modes, false)
    }

    pub fn sized(handshake_slots: u16, session_slots: u16, clients: u16, modes: &[Mode]) -> Self {
        Self::built(handshake_slots, session_slots, clients, modes, true)
    }

    fn built(
        handshake_slots: u16,
        session_slots: u16,
        clients: u16,
        modes: &[Mode],
        has_director: bool,
    ) -> Self {
        let (none, director_told) = (Count::default, Count::default());
        let (shim_side, offload) = pair(handshake_slots, 1024, 1024, none(), none());
        let (forget, forgotten) = pair(session_slots, 64, 64, none(), none());
        let (orders, director) = pair(handshake_slots, 1024, 64, director_told.clone(), none());
        let (net, record) = (FakeNet::default(), FakeRecord::default());
        let mut windows = FakeWindows::default();
        let told: Vec<_> = (0..clients).map(|_| Count::default()).collect();
        windows.grant_install(2, APPLICATION);
        windows.grant_session(1, 1, APPLICATION);
        let stats: &'static stats::Page = Box::leak(Box::default());
        let rights = |client| ClientRights {
            client,
            keyrings: vec![Text::from_text("web").unwrap()],
            roles: vec![Role::Server],
            modes: modes.to_vec(),
            expose_keys: false,
            static_rsa: true,
            audit: false,
            refused_steps: Vec::new(),
        };
        // One more has rights and neither notification nor window.
        let rights = (1..=clients + 1).map(rights).collect();
        let ports = Ports {
            net: Client::new(net.clone()),
            record: Client::new(record.clone()),
            offload: Mailbox::new(shim_side),
            forget: Mailbox::new(forget),
            director: has_director.then(|| Mailbox::new(orders)),
            applications: (1..)
                .zip(told.clone())
                .map(|(client, bell)| Application {
                    client,
                    bell,
                    handshakes: handshake_slots / clients,
                    sessions: session_slots / clients,
                })
                .collect(),
            windows: windows.clone(),
            stats,
        };
        let time = Rc::new(Cell::new(100));
        let shim = Server::new(ports, Rights::new(ShimRights(rights)), At(time.clone()));
        // What another shim left is gone before anything is asked for.
        assert_eq!(net.asked.take(), [net::Request::Begin]);
        assert_eq!(record.0.take(), ["begin"]);
        assert_eq!(windows.0.take(), []);
        Self {
            shim,
            net,
            record,
            windows,
            told,
            offload: Mailbox::new(offload),
            director: Mailbox::new(director),
            director_told,
            forgotten: Mailbox::new(forgotten),
            time,
        }
    }

    pub fn set_time(&mut self, milliseconds: u64) {
        self.time.set(milliseconds);
    }

    pub fn rung(&self, client: usize) -> u32 {
        self.told[client - 1].0.get()
    }

    pub fn held(&self) -> Vec<Held> {
        self.windows.0.borrow().clone()
    }

    pub fn forgotten(&mut self) -> Vec<Forget> {
        std::iter::from_fn(|| self.forgotten.receive())
            .map(|forget| forget.unwrap())
            .collect()
    }

    /// Slots and generations that were closed at the record layer.
    pub fn closed(&self) -> Vec<(SlotIndex, u16)> {
        let asked = self.record.0.borrow();
        let parse = |line: &String| {
            let mut words = line.strip_prefix("close ")?.split(' ');
            Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        };
        asked.iter().filter_map(parse).collect()
    }

    /// A handshake of that client, on a connection of its own.
    pub fn start(&mut self, badge: Badge) -> Result<HandshakeId, HandshakeError> {
        self.start_in(badge, Mode::Autonomous)
    }

    pub fn start_in(&mut self, badge: Badge, mode: Mode) -> Result<HandshakeId, HandshakeError> {
        self.ask_to_start(badge, request(mode))
    }

    pub fn start_of(&mut self, badge: Badge, group: u32) -> Result<HandshakeId, HandshakeError> {
        let request = HandshakeRequest {
            group,
            ..request(Mode::Autonomous)
        };
        self.ask_to_start(badge, request)
    }

    fn ask_to_start(
        &mut self,
        badge: Badge,
        request: HandshakeRequest,
    ) -> Result<HandshakeId, HandshakeError> {
        match self.call(badge, &Request::StartHandshake(request))? {
            Answer::Started(id) => Ok(id),
            _ => panic!("another answer"),
        }
    }

    /// The last start that the offload component was sent.
    pub fn next_start(&mut self) -> Start {
        loop {
            if let Directive::Start(start) = self.offload.receive().unwrap().unwrap() {
                assert_eq!(start.position, POSITION);
                return Start {
                    slot: start.slot,
                    generation: start.generation,
                    session: (start.session, start.session_generation),
                    mode: start.mode,
                };
            }
        }
    }

    pub fn establish(&mut self, slot: SlotIndex, generation: u16) {
        self.complete(slot, generation, POSITION);
    }

    pub fn send_failed(&mut self, slot: SlotIndex, generation: u16) {
        let completion = Completion::Failed {
            slot,
            generation,
            error: HandshakeError::Peer(PeerError::Closed),
            cause: None,
        };
        self.offload.send(&completion).unwrap();
    }

    pub fn call(&mut self, badge: Badge, request: &Request) -> Reply {
        let request = postcard::to_allocvec(request).unwrap();
        let mut reply = [0; MAX_MESSAGE];
        let length = self.shim.serve(badge.to_word(), &request, &mut reply);
        decode::<<Control as Protocol>::Reply>(&reply[..length]).unwrap()
    }

    /// The offload component ends and restarts, on the same memory.
    pub fn restart_offload(self) -> Self {
        Self {
            offload: Mailbox::new(self.offload.into_channel().restart()),
            ..self
        }
    }

    /// The director ends and restarts, on the same memory.
    pub fn restart_director(self) -> Self {
        Self {
            director: Mailbox::new(self.director.into_channel().restart()),
            ..self
        }
    }

    /// Slots and generations of the handshakes that the director was told to begin, and of
    /// those whose end it was told.
    pub fn orders(&mut self) -> (Vec<Name>, Vec<Name>) {
        let (mut begun, mut ended) = (Vec::new(), Vec::new());
        while let Some(order) = self.director.receive() {
            match order.unwrap() {
                Order::Begin {
                    slot, generation, ..
                } => begun.push((slot, generation)),
                Order::End { slot, generation } => ended.push((slot, generation)),
            }
        }
        (begun, ended)
    }

    pub fn complete(&mut self, slot: SlotIndex, generation: u16, tcp: TcpPosition) {
        let completion = Completion::Established {
            slot,
            generation,
            established: Box::new(established(tcp)),
        };
        self.offload.send(&completion).unwrap();
        self.shim.run();
        assert_eq!(self.shim.untaken(), 0, "it waits for nothing");
    }

    pub fn fail(&mut self, slot: SlotIndex, generation: u16) {
        self.send_failed(slot, generation);
        self.shim.run();
        assert_eq!(self.shim.untaken(), 0, "it waits for nothing");
    }

    pub fn owners(&self) -> Vec<Owner> {
        let asked = self.net.asked.borrow();
        let owner = |request: &net::Request| match request {
            net::Request::Move { to, .. } => Some(*to),
            _ => None,
        };
        asked.iter().filter_map(owner).collect()
    }

    pub fn releases(&self) -> usize {
        let asked = self.net.asked.borrow();
        let is_release = |r: &&net::Request| matches!(r, net::Request::Release { .. });
        asked.iter().filter(is_release).count()
    }
}

pub fn request(mode: Mode) -> HandshakeRequest {
    HandshakeRequest {
        connection: ConnectionId(77),
        role: Role::Server,
        mode,
        parameters: Box::new(Parameters {
            versions: List::from_items([Version::Tls13]).unwrap(),
            suites: List::new(),
            groups: List::new(),
            keyrings: List::from_items([Text::from_text("web").unwrap()]).unwrap(),
            peer_authentication: PeerAuthentication::None,
            server_name: None,
            alpn: List::new(),
            segment_size: 1400,
            resumption: false,
            expose_keys: false,
            allow_static_rsa: false,
            peer_schemes: List::new(),
        }),
        tcp_sequence: None,
        deadline: Instant::from_millis(10_000),
        group: 0,
        standing: Standing::New,
    }
}

pub fn error(reply: Reply) -> HandshakeError {
    match reply {
        Err(error) => error,
        Ok(_) => panic!("it worked"),
    }
}

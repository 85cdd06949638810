//! A gateway with the shipped sizes, between a network stack, a shim and a record layer
//! that do what the test says.
#![allow(dead_code, reason = "each test uses what it needs")]
#![allow(clippy::unwrap_used, reason = "a test that can't be set up fails")]

pub(crate) mod memory;
pub(crate) mod net;
pub(crate) mod shim;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use gateway::{Ports, Server, View};
use image::check::Checked;
use image::load;
use image::workspace;
use ipc::channel::Status;
use ipc::channel::local::{LocalChannel, LocalDoorbell, Silent, pair_of};
use ipc::clock::{Clock, Instant};
use ipc::control::Parameters;
use ipc::net::{Address, ConnectionId};
use ipc::provision::{Backend, Gateway, Limits, Listener, LogWords, Rule, Timeouts, Tls, Upstream};
use ipc::stats;
use ipc::tls::{Mode, PeerAuthentication};
use ipc::transport::{Client, MAX_MESSAGE, Transport, TransportError};
use tls::{Role, Version};

use memory::outside;
use net::Net;
use shim::Shim;

/// The other domains, whose counters the status page shows.
const OTHERS: [&str; 6] = [
    "netstack-server",
    "keystore-server",
    "record-server",
    "kernel-shim",
    "director",
    "offload-server",
];

/// Ports of the listeners.
pub(crate) const STATUS: u16 = 1;
/// TLS in, plaintext out.
pub(crate) const FORWARD: u16 = 2;
/// Plaintext in, TLS out.
pub(crate) const SENDING: u16 = 3;
/// Rules that ask for a name.
pub(crate) const RULES: u16 = 4;

pub(crate) type Side = LocalChannel<Silent>;

/// Takes a request, writes the reply, and says how long it is.
pub(crate) type Serve = dyn Fn(&[u8], &mut [u8; MAX_MESSAGE]) -> usize;

/// A call to what the test plays; its memory is not the gateway's.
pub(crate) struct Link(pub(crate) Rc<Serve>);

impl Transport for Link {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        Ok(outside(|| (self.0)(request, reply)))
    }
}

#[derive(Clone, Default)]
pub(crate) struct Time(Rc<Cell<u64>>);

impl Clock for Time {
    fn now(&self) -> Instant {
        Instant::from_millis(self.0.get())
    }

    fn unix_seconds(&self) -> u64 {
        0
    }
}

type Doorbell = LocalDoorbell<Silent>;

/// What the gateway of the tests runs on.
type Host = (Link, Link, Doorbell, Doorbell, Time);

/// All of it.
pub(crate) struct World {
    pub(crate) server: Server<'static, Host>,
    pub(crate) net: Rc<RefCell<Net>>,
    pub(crate) shim: Rc<RefCell<Shim>>,
    /// The record layer's side.
    pub(crate) plain: Rc<RefCell<Side>>,
    pub(crate) log: Rc<RefCell<Vec<String>>>,
    pub(crate) stats: &'static stats::Page,
    pub(crate) sizes: Sizes,
    time: Time,
}

/// What the system description says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) handshakes: u16,
    pub(crate) sessions: u16,
    pub(crate) connections: u16,
    pub(crate) heap: usize,
}

impl Sizes {
    pub(crate) fn shipped() -> (Self, Checked) {
        let description = load::file(&workspace::description().unwrap()).unwrap();
        let slots = |name| {
            description
                .channels
                .iter()
                .find(|c| c.name == name)
                .unwrap()
                .slots
        };
        let heap = description
            .domains
            .iter()
            .find(|d| d.name == "gateway")
            .unwrap()
            .heap;
        let sizes = Self {
            handshakes: slots("handshake"),
            sessions: slots("plaintext"),
            connections: slots("backend"),
            heap: usize::try_from(heap).unwrap(),
        };
        (sizes, description)
    }
}

pub(crate) fn tls(role: Role) -> Tls {
    Tls {
        role,
        mode: Mode::Autonomous,
        parameters: Parameters {
            versions: ipc::bounded::List::from_items([Version::Tls13]).unwrap(),
            suites: ipc::bounded::List::new(),
            allow_static_rsa: false,
            peer_schemes: ipc::bounded::List::new(),
            groups: ipc::bounded::List::new(),
            keyrings: ipc::bounded::List::new(),
            peer_authentication: PeerAuthentication::None,
            server_name: None,
            alpn: ipc::bounded::List::new(),
            segment_size: 1400,
            resumption: false,
            expose_keys: false,
        },
        handshake_timeout_ms: 10_000,
    }
}

pub(crate) fn listeners() -> Vec<Listener> {
    let upstream = |tls| {
        Backend::Connect(Upstream {
            address: Address("10.9.9.9:80".parse().unwrap()),
            identity: None,
            tls,
        })
    };
    let listener = |port: u16, tls, rules, backend| Listener {
        name: format!("at-{port}"),
        port,
        tls,
        rules,
        backend,
        limits: Limits::default(),
        timeouts: Timeouts::default(),
    };
    let named = Rule {
        from: Vec::new(),
        server_names: vec!["a.test".into()],
        alpn: Vec::new(),
        tls: tls(Role::Server),
    };
    let server = || Some(tls(Role::Server));
    vec![
        listener(STATUS, server(), Vec::new(), Backend::Status),
        listener(FORWARD, server(), Vec::new(), upstream(None)),
        listener(SENDING, None, Vec::new(), upstream(Some(tls(Role::Client)))),
        listener(RULES, None, vec![named], upstream(None)),
    ]
}

impl World {
    pub(crate) fn new(listeners: Vec<Listener>) -> Self {
        Self::with(listeners, Sizes::shipped())
    }

    /// Which logs what the configuration says.
    pub(crate) fn logging(listeners: Vec<Listener>, log: LogWords) -> Self {
        Self::of(listeners, log, Sizes::shipped())
    }

    /// Of a description that has other sizes than the shipped one.
    pub(crate) fn with(listeners: Vec<Listener>, sizes: (Sizes, Checked)) -> Self {
        let all = LogWords {
            sessions: true,
            handshakes: true,
            ..LogWords::default()
        };
        Self::of(listeners, all, sizes)
    }

    fn of(
        listeners: Vec<Listener>,
        words: LogWords,
        (sizes, description): (Sizes, Checked),
    ) -> Self {
        let rings = |name: &str| {
            let mut channels = description.channels.iter();
            channels.find(|c| c.name == name).unwrap().rings()
        };
        let [from_record, to_record] = rings("plaintext");
        let [from_net, to_net] = rings("backend");
        let (plain, near) = pair_of(sizes.sessions, from_record, to_record, Silent, Silent);
        let (side, backend) = pair_of(sizes.connections, from_net, to_net, Silent, Silent);
        let plain = Rc::new(RefCell::new(plain));
        let net = Rc::new(RefCell::new(Net::new(side, sizes.connections)));
        let shim = Rc::new(RefCell::new(Shim::new(sizes, net.clone(), plain.clone())));
        let log = Rc::new(RefCell::new(Vec::new()));
        let stats: &'static stats::Page = Box::leak(Box::default());
        let others = OTHERS.map(|name| (name, &*Box::leak(Box::default())));
        let others = others.into_iter();
        let (to_net, to_shim, to_session) = (net.clone(), shim.clone(), shim.clone());
        let lines = log.clone();
        let ports = Ports {
            net: Client::new(Link(Rc::new(move |request, reply| {
                to_net.borrow_mut().serve(request, reply)
            }))),
            shim: Client::new(Link(Rc::new(move |request, reply| {
                to_shim.borrow_mut().serve(request, reply)
            }))),
            session: Box::new(move |slot| {
                let shim = to_session.clone();
                Client::new(Link(Rc::new(move |request, reply| {
                    shim.borrow_mut().serve_session(slot, request, reply)
                })))
            }),
            plain: near,
            backend,
            view: View::new(b"<svg/>", "seL4", others.chain([("gateway", stats)])),
            log: Box::new(move |line| {
                outside(|| lines.borrow_mut().push(line.to_string()));
            }),
            stats,
            handshakes: sizes.handshakes,
            key: [7; 16],
        };
        let time = Time::default();
        time.0.set(1000);
        let clock = time.clone();
        // Its configuration is the gateway's.
        let config = memory::inside(|| Gateway {
            listeners: listeners.clone(),
            log: words,
        });
        let server = memory::inside(|| Server::new(ports, config, clock));
        Self {
            server,
            net,
            shim,
            plain,
            log,
            stats,
            sizes,
            time,
        }
    }

    /// The gateway works until it has nothing more to do; how often it was called.
    pub(crate) fn settle(&mut self) -> usize {
        for turn in 1..10_000 {
            let is_told = std::mem::take(&mut self.shim.borrow_mut().has_rung);
            let has_more = memory::inside(|| self.server.run(is_told));
            self.net.borrow_mut().pump();
            // What came while it worked has rung for it.
            let is_woken = self.server.untaken() != 0 || self.shim.borrow().has_rung;
            if !has_more && !is_woken && !self.net.borrow().has_work() {
                return turn;
            }
        }
        panic!("the gateway does not come to rest");
    }

    /// Time passes; the gateway is woken when it asked for it, at ticks of the monitor.
    pub(crate) fn pass(&mut self, milliseconds: u64) {
        const TICK: u64 = 125;
        let end = self.time.0.get() + milliseconds;
        while self.time.0.get() < end {
            self.time.0.set((self.time.0.get() + TICK).min(end));
            if self.time.now() >= self.server.next_deadline() {
                self.settle();
            }
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.time.now()
    }

    /// A connection comes to `port`; the gateway does not know of it yet.
    pub(crate) fn arrive(&mut self, port: u16, from: SocketAddr) -> ConnectionId {
        self.net.borrow_mut().arrive(port, from)
    }

    /// A client whose handshake is done; its session's slot.
    pub(crate) fn session(&mut self, port: u16, from: SocketAddr) -> u16 {
        let connection = self.arrive(port, from);
        self.settle();
        let slot = self.shim.borrow_mut().establish(connection);
        self.settle();
        slot.unwrap()
    }

    /// A client sends in its session.
    pub(crate) fn send(&mut self, slot: u16, bytes: &[u8]) {
        assert_eq!(self.plain.borrow_mut().write(slot, bytes), Ok(bytes.len()));
        self.settle();
    }

    /// What a client has got in its session.
    pub(crate) fn receive(&mut self, slot: u16) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let mut buffer = vec![0; 64 * 1024];
            let count = self.plain.borrow_mut().read(slot, &mut buffer).unwrap();
            if count == 0 {
                return all;
            }
            all.extend_from_slice(&buffer[..count]);
            self.settle();
        }
    }

    /// Whether the gateway still has a session, or has closed it.
    pub(crate) fn has_session(&self, slot: u16) -> bool {
        self.shim.borrow().has_session(slot)
    }

    /// The client of a session is gone.
    pub(crate) fn reset(&mut self, slot: u16) {
        let mut plain = self.plain.borrow_mut();
        plain.set_status(slot, Status::RESET);
        plain.notify(slot);
        drop(plain);
        self.settle();
    }

    pub(crate) fn count(&self, counter: stats::Counter) -> u64 {
        self.stats.read(counter)
    }
}

/// An honest client comes, speaks at once and is served, with a session and a backend; of
/// which address, the test says.
#[track_caller]
pub(crate) fn assert_served(world: &mut World, from: SocketAddr) {
    let connection = world.arrive(FORWARD, from);
    world.settle();
    let has_begun = world.shim.borrow_mut().speak(connection);
    assert!(has_begun, "no handshake has begun");
    let slot = world.shim.borrow_mut().establish(connection).unwrap();
    world.settle();
    assert!(world.has_session(slot), "no session");
    let backend = *world.net.borrow().opened.last().unwrap();
    let far = world.net.borrow().slot(backend).unwrap();
    world.send(slot, b"hello");
    let mut buffer = [0; 16];
    let count = world.net.borrow_mut().side.read(far, &mut buffer).unwrap();
    assert_eq!(&buffer[..count], b"hello");
    world.reset(slot);
    world.pass(2000);
}

/// An address of its own for each number.
pub(crate) fn address(number: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    SocketAddr::from(([10, 1, high, low], 40_000))
}

/// One address, a port of its own for each number.
pub(crate) fn same(number: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 2, 2], number))
}

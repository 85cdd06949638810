//! A network stack, its three neighbours, and a peer behind a link that can
//! lose and reorder frames; time is a number.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

pub(crate) mod crowd;
pub(crate) mod frames;
mod link;
mod peer;
mod segments;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ipc::badge::Badge;
use ipc::channel::local::{LocalChannel, Silent, pair, pair_of};
use ipc::channel::{Channel, Doorbell, Event, Pool, SlotIndex, Status};
use ipc::clock::Instant;
use ipc::net::{
    Address, Answer, ConnectionId, NetError, Owner, Ready, Request, Share, TcpPosition,
};
use ipc::provision::{AddressConfig, Network, NetworkRights};
use ipc::stats::{Counter, Page};
use ipc::transport::{MAX_MESSAGE, decode};
use netstack_server::{Application, Channels, Config, Limits, NetStack};
use smoltcp::iface::{self, Interface, SocketHandle, SocketSet};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

use link::End;
use segments::parse;

pub(crate) use link::{Queue, wire};
pub(crate) use peer::Peer;
pub(crate) use segments::{Forged, Sent};

pub(crate) const STACK_MAC: [u8; 6] = [2, 0, 0, 0, 0, 15];
pub(crate) const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const STACK_IP: [u8; 4] = [10, 0, 2, 15];
pub(crate) const PEER_IP: [u8; 4] = [10, 0, 2, 2];
pub(crate) const CLIENT: u16 = 1;
pub(crate) const STRANGER: u16 = 2;
pub(crate) const PORT: u16 = 443;
pub(crate) const BACKEND_PORT: u16 = 8080;
/// As many as in `image/system.toml`.
pub(crate) const SLOTS: u16 = 1568;
pub(crate) const HANDSHAKES: u16 = 256;

thread_local! {
    /// Called when the stack begins to run (true) and when others do; returns the
    /// previous value.
    pub(crate) static RUNS: Cell<fn(bool) -> bool> = const { Cell::new(|_| false) };
}

/// What the stack does, or others while it runs.
pub(crate) fn as_stack<R>(is_stack: bool, act: impl FnOnce() -> R) -> R {
    let runs = RUNS.get();
    let before = runs(is_stack);
    let result = act();
    runs(before);
    result
}

pub(crate) type Stack = NetStack<'static, End, Bell>;
pub(crate) type Bell = ipc::channel::local::LocalDoorbell<Silent>;

pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) gateway: LocalChannel<Silent>,
    pub(crate) offload: LocalChannel<Silent>,
    pub(crate) record: LocalChannel<Silent>,
    pub(crate) peer: Peer,
    /// Frames on their way to the stack, and from it.
    pub(crate) to_stack: Rc<RefCell<Queue>>,
    pub(crate) from_stack: Rc<RefCell<Queue>>,
    pub(crate) now: Instant,
    pub(crate) stats: &'static Page,
    pub(crate) wake: Option<Instant>,
}

pub(crate) fn address(ip: [u8; 4], port: u16) -> Address {
    Address((ip, port).into())
}

pub(crate) fn fixed_address() -> AddressConfig {
    AddressConfig::Static {
        address: STACK_IP.into(),
        prefix: 24,
        gateway: Some(PEER_IP.into()),
    }
}

/// As `gateway.toml` has it without other words.
pub(crate) fn network(address_config: AddressConfig) -> Network {
    let rights = NetworkRights {
        client: CLIENT,
        listen: vec![PORT],
        connect: vec![address(PEER_IP, BACKEND_PORT), address([192, 0, 2, 1], 80)],
    };
    let nothing = NetworkRights {
        client: STRANGER,
        listen: vec![],
        connect: vec![],
    };
    Network {
        mtu: None,
        router_advertisements: address_config == AddressConfig::Dhcp,
        address: address_config,
        rights: vec![rights, nothing],
    }
}

/// Rings of 32 KiB from a pool that guarantees each slot so many KiB, and lends so many MiB.
fn lent(guaranteed: u32, lent: u32) -> (u32, Option<Pool>) {
    let guaranteed = guaranteed << 10;
    let bytes = u32::from(SLOTS) * guaranteed + (lent << 20);
    (32 << 10, Some(Pool { bytes, guaranteed }))
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        Self::made(limits, fixed_address())
    }

    /// One that asks for router advertisements although its address is fixed.
    pub(crate) fn near_routers() -> Self {
        let mut network = network(fixed_address());
        network.router_advertisements = true;
        Self::of(Limits::default(), network)
    }

    pub(crate) fn made(limits: Limits, address_config: AddressConfig) -> Self {
        Self::of(limits, network(address_config))
    }

    /// With any configuration.
    pub(crate) fn of(limits: Limits, network: Network) -> Self {
        let most = limits.connections;
        Self::sharing(limits, network, most, false)
    }

    /// In which the client may have so many connections.
    pub(crate) fn holding(most: usize) -> Self {
        Self::sharing(Limits::default(), network(fixed_address()), most, false)
    }

    /// Both of whose ends have a NIC that finishes checksums and cuts segments.
    pub(crate) fn offloading() -> Self {
        let limits = Limits::default();
        let most = limits.connections;
        Self::sharing(limits, network(fixed_address()), most, true)
    }

    fn sharing(limits: Limits, network: Network, most: usize, offloads: bool) -> Self {
        let to_stack = Rc::new(RefCell::new(Queue::default()));
        let from_stack = Rc::new(RefCell::new(Queue::default()));
        let nic = End {
            incoming: to_stack.clone(),
            outgoing: from_stack.clone(),
            offloads,
        };
        let mut device = End {
            incoming: from_stack.clone(),
            outgoing: to_stack.clone(),
            offloads,
        };
        let now = Instant::from_millis(1000);
        let (to_gateway, gateway) = pair_of(SLOTS, lent(4, 2), lent(2, 2), Silent, Silent);
        let (to_offload, offload) = pair(HANDSHAKES, 32768, 8192, Silent, Silent);
        let (to_record, record) = pair_of(SLOTS, lent(2, 3), lent(2, 3), Silent, Silent);
        let channels = Channels {
            applications: vec![Application {
                client: CLIENT,
                channel: to_gateway,
                most,
            }],
            offload: to_offload,
            record: to_record,
        };
        let config = Config {
            hardware: STACK_MAC,
            network,
            entropy: [9; 24],
            limits,
        };
        let stats: &'static Page = Box::leak(Box::default());
        let stack = as_stack(true, || NetStack::new(config, nic, channels, stats, now));
        let hardware = HardwareAddress::Ethernet(EthernetAddress(PEER_MAC));
        let mut settings = iface::Config::new(hardware);
        settings.random_seed = 77;
        let mut interface = Interface::new(settings, &mut device, wire(now));
        interface.update_ip_addrs(|list| {
            let ip = std::net::Ipv4Addr::from(PEER_IP);
            list.push(IpCidr::new(ip.into(), 24)).unwrap();
        });
        let peer = Peer {
            interface,
            sockets: SocketSet::new(vec![]),
            device,
            next_port: 20000,
        };
        Self {
            stack,
            gateway,
            offload,
            record,
            peer,
            to_stack,
            from_stack,
            now,
            stats,
            wake: None,
        }
    }

    /// One round of both ends, a millisecond later.
    pub(crate) fn step(&mut self) {
        self.step_peer();
        self.poll();
    }

    /// The stack alone, as many turns as it needs.
    pub(crate) fn poll(&mut self) {
        while self.turn() {}
        assert_eq!(self.stack.untaken(), 0, "it waits for nothing");
    }

    /// One turn of the stack; whether it has something left to do.
    pub(crate) fn turn(&mut self) -> bool {
        self.wake = as_stack(true, || self.stack.poll(self.now));
        self.wake == Some(self.now)
    }

    /// One round of the peer alone, a millisecond later.
    pub(crate) fn step_peer(&mut self) {
        self.now = self.now + Duration::from_millis(1);
        let Peer {
            interface,
            sockets,
            device,
            ..
        } = &mut self.peer;
        interface.poll(wire(self.now), device, sockets);
    }

    pub(crate) fn run(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.step();
        }
    }

    /// Lets time pass with the stack alone, from wake-up to wake-up; returns
    /// how many there were.
    pub(crate) fn sleep(&mut self, duration: Duration) -> usize {
        let end = self.now + duration;
        let mut wakeups = 0;
        while let Some(at) = self.wake.filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.poll();
            wakeups += 1;
            assert!(wakeups < 10_000, "the stack does not sleep");
        }
        self.now = end;
        self.poll();
        wakeups
    }

    pub(crate) fn call(&mut self, badge: Badge, request: &Request) -> Result<Answer, NetError> {
        let mut bytes = [0; MAX_MESSAGE];
        let bytes = postcard::to_slice(request, &mut bytes).unwrap();
        self.call_raw(badge.to_word(), bytes)
    }

    pub(crate) fn call_raw(&mut self, badge: u64, request: &[u8]) -> Result<Answer, NetError> {
        let answer = self.serve(badge, request);
        self.poll();
        answer
    }

    fn serve(&mut self, badge: u64, request: &[u8]) -> Result<Answer, NetError> {
        let mut reply = [0; MAX_MESSAGE];
        let serve = || self.stack.serve(badge, request, &mut reply, self.now);
        let length = as_stack(true, serve);
        decode(&reply[..length]).expect("an answer that can be read")
    }

    /// Asks, and gives the stack no turn.
    pub(crate) fn ask_alone(&mut self, request: &Request) -> Result<Answer, NetError> {
        let mut bytes = [0; MAX_MESSAGE];
        let bytes = postcard::to_slice(request, &mut bytes).unwrap();
        self.serve(Badge::Client(CLIENT).to_word(), bytes)
    }

    pub(crate) fn ask(&mut self, request: &Request) -> Result<Answer, NetError> {
        self.call(Badge::Client(CLIENT), request)
    }

    pub(crate) fn listen(&mut self, backlog: u16) {
        self.listen_so(backlog, Ready::Established, None);
    }

    /// Listens for clients that begin with a ClientHello.
    pub(crate) fn listen_for_hellos(&mut self, backlog: u16, within: u32) {
        self.listen_so(backlog, Ready::ClientHello { within }, None);
    }

    pub(crate) fn listen_so(&mut self, backlog: u16, ready: Ready, most: Option<u16>) {
        let request = Request::Listen {
            port: PORT,
            backlog,
            ready,
            share: most.map(|connections| Share {
                connections,
                ipv6_prefix: 64,
            }),
        };
        assert_eq!(self.ask(&request), Ok(Answer::Done));
    }

    pub(crate) fn accept(&mut self) -> Option<ConnectionId> {
        match self.ask(&Request::Accept) {
            Ok(Answer::Accepted { connection, .. }) => Some(connection),
            Ok(Answer::NothingWaits) => None,
            other => panic!("{other:?}"),
        }
    }

    /// A listener, a peer that has connected to it, and the connection.
    pub(crate) fn connected(&mut self) -> (SocketHandle, ConnectionId) {
        if self.stats.read(ipc::stats::netstack::ACCEPTED) == 0 {
            self.listen(64);
        }
        let handle = self.peer.connect(PORT);
        self.run(8);
        (handle, self.accept().expect("a connection waits"))
    }

    pub(crate) fn attach(&mut self, connection: ConnectionId) -> SlotIndex {
        match self.ask(&Request::Attach {
            connection,
            deadline: Instant::NEVER,
        }) {
            Ok(Answer::Connecting { slot, .. }) => {
                self.gateway.follow(slot);
                slot
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn try_move(
        &mut self,
        connection: ConnectionId,
        to: Owner,
        deadline: Instant,
        expected_tx_next: Option<u32>,
    ) -> Result<TcpPosition, NetError> {
        let request = Request::Move {
            connection,
            client: CLIENT,
            to,
            deadline,
            expected_tx_next,
        };
        match self.call(Badge::Control, &request)? {
            Answer::Moved { position } => Ok(position),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn hand_over(&mut self, connection: ConnectionId, to: Owner) -> TcpPosition {
        let position = self.try_move(connection, to, Instant::NEVER, None).unwrap();
        match to {
            Owner::Client => {}
            Owner::Application { slot, .. } => self.gateway.follow(slot),
            Owner::Offload(slot) => self.offload.follow(slot),
            Owner::Record(slot) => self.record.follow(slot),
        }
        position
    }

    pub(crate) fn count(&self, counter: Counter) -> u64 {
        self.stats.read(counter)
    }

    /// The TCP segments that the stack has sent.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        let log = &self.from_stack.borrow().log;
        log.iter().filter_map(|frame| parse(frame)).collect()
    }

    /// Puts a frame on the link that no peer of ours sent.
    pub(crate) fn put(&mut self, frame: Vec<u8>) {
        self.to_stack.borrow_mut().frames.push_back(frame);
    }

    /// Puts a segment on the link that no peer of ours sent.
    pub(crate) fn inject(&mut self, segment: &Forged) {
        self.to_stack.borrow_mut().frames.push_back(segment.frame());
    }
}

// ---- the owners ----

/// Takes all events, as an owner that wakes up does.
pub(crate) fn take_events<D: Doorbell>(channel: &mut Channel<D>) -> Vec<Event> {
    std::iter::from_fn(|| channel.next_event()).collect()
}

pub(crate) fn read_all<D: Doorbell>(channel: &mut Channel<D>, slot: SlotIndex) -> Vec<u8> {
    let mut bytes = vec![0; channel.rx_capacity()];
    let count = channel.read(slot, &mut bytes).unwrap();
    bytes.truncate(count);
    take_events(channel);
    bytes
}

pub(crate) fn end<D: Doorbell>(channel: &mut Channel<D>, slot: SlotIndex, flags: u16) {
    channel.set_status(slot, flags);
    channel.notify(slot);
}

pub(crate) fn segment(sequence: u32, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u16;
    let header = ipc::net::SegmentHeader { sequence, length };
    [&header.to_bytes()[..], bytes].concat()
}

/// Bytes that are not the same at any two places near each other.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 23) as u8)
        .collect()
}

pub(crate) fn has(status: Status, flags: u16) -> bool {
    status.has(flags)
}

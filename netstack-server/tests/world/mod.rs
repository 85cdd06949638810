//! A network stack, its three neighbours, and a peer behind a link that can
//! lose and reorder frames; time is a number.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

pub(crate) mod frames;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use ipc::badge::Badge;
use ipc::channel::local::{LocalChannel, Silent, pair};
use ipc::channel::{Channel, Doorbell, Event, SlotIndex, Status};
use ipc::clock::Instant;
use ipc::net::{
    Address, Answer, ConnectionId, NetError, Owner, Ready, Request, Share, TcpPosition,
};
use ipc::provision::{AddressConfig, Network, NetworkRights};
use ipc::stats::{Counter, Page};
use ipc::transport::{MAX_MESSAGE, decode};
use netstack_server::{Application, Channels, Config, Limits, NetStack};
use smoltcp::iface::{self, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, HardwareAddress, IpCidr, Ipv4Packet,
    TcpPacket,
};

pub(crate) const STACK_MAC: [u8; 6] = [2, 0, 0, 0, 0, 15];
pub(crate) const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const STACK_IP: [u8; 4] = [10, 0, 2, 15];
pub(crate) const PEER_IP: [u8; 4] = [10, 0, 2, 2];
pub(crate) const CLIENT: u16 = 1;
pub(crate) const STRANGER: u16 = 2;
pub(crate) const PORT: u16 = 443;
pub(crate) const BACKEND_PORT: u16 = 8080;
/// As many as in `image/system.toml`.
pub(crate) const SLOTS: u16 = 576;
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

// ---- the link ----

#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) frames: VecDeque<Vec<u8>>,
    /// All that ever came in, for a look afterwards.
    pub(crate) log: Vec<Vec<u8>>,
    /// Out of 100.
    pub(crate) loss: u32,
    /// Out of 100.
    pub(crate) reorder: u32,
    /// Bytes of the longest frame that is carried.
    pub(crate) longest: Option<usize>,
    random: u32,
}

impl Queue {
    fn chance(&mut self, of_hundred: u32) -> bool {
        self.random = self
            .random
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        (self.random >> 16) % 100 < of_hundred
    }

    fn put(&mut self, frame: Vec<u8>) {
        self.log.push(frame.clone());
        let is_long = self.longest.is_some_and(|longest| frame.len() > longest);
        if is_long || self.chance(self.loss) {
            return;
        }
        self.frames.push_back(frame);
        let count = self.frames.len();
        if count >= 2 && self.chance(self.reorder) {
            self.frames.swap(count - 1, count - 2);
        }
    }
}

pub(crate) struct End {
    incoming: Rc<RefCell<Queue>>,
    outgoing: Rc<RefCell<Queue>>,
}

pub(crate) struct Received(Vec<u8>);
pub(crate) struct Sending(Rc<RefCell<Queue>>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Sending {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = as_stack(false, || vec![0; len]);
        let result = f(&mut frame);
        as_stack(false, || self.0.borrow_mut().put(frame));
        result
    }
}

impl Device for End {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Received, Sending)> {
        let frame = self.incoming.borrow_mut().frames.pop_front()?;
        Some((Received(frame), Sending(self.outgoing.clone())))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Sending> {
        Some(Sending(self.outgoing.clone()))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

// ---- the peer ----

pub(crate) struct Peer {
    pub(crate) interface: Interface,
    pub(crate) sockets: SocketSet<'static>,
    device: End,
    next_port: u16,
}

impl Peer {
    pub(crate) fn connect(&mut self, port: u16) -> SocketHandle {
        self.connect_with(port, 64 * 1024)
    }

    pub(crate) fn connect_with(&mut self, port: u16, buffer: usize) -> SocketHandle {
        let handle = self.add(buffer);
        self.next_port += 1;
        let (socket, local) = (self.sockets.get_mut::<tcp::Socket>(handle), self.next_port);
        let to = (
            smoltcp::wire::IpAddress::from(std::net::Ipv4Addr::from(STACK_IP)),
            port,
        );
        socket.connect(self.interface.context(), to, local).unwrap();
        handle
    }

    pub(crate) fn listen(&mut self, port: u16) -> SocketHandle {
        let handle = self.add(64 * 1024);
        self.sockets
            .get_mut::<tcp::Socket>(handle)
            .listen(port)
            .unwrap();
        handle
    }

    /// The next connection is from this port.
    pub(crate) fn take_port(&mut self, port: u16) {
        self.next_port = port - 1;
    }

    fn add(&mut self, buffer: usize) -> SocketHandle {
        let bytes = || tcp::SocketBuffer::new(vec![0; buffer]);
        let mut socket = tcp::Socket::new(bytes(), bytes());
        socket.set_nagle_enabled(false);
        self.sockets.add(socket)
    }

    pub(crate) fn socket(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    pub(crate) fn send(&mut self, handle: SocketHandle, bytes: &[u8]) -> usize {
        self.socket(handle).send_slice(bytes).unwrap_or(0)
    }

    pub(crate) fn receive(&mut self, handle: SocketHandle) -> Vec<u8> {
        let mut bytes = vec![0; 256 * 1024];
        let count = self.socket(handle).recv_slice(&mut bytes).unwrap_or(0);
        bytes.truncate(count);
        bytes
    }
}

// ---- the world ----

pub(crate) type Stack = NetStack<'static, End, Bell, Bell, Bell>;
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
        Self::sharing(limits, network, most)
    }

    /// In which the client may have so many connections.
    pub(crate) fn holding(most: usize) -> Self {
        Self::sharing(Limits::default(), network(fixed_address()), most)
    }

    fn sharing(limits: Limits, network: Network, most: usize) -> Self {
        let to_stack = Rc::new(RefCell::new(Queue::default()));
        let from_stack = Rc::new(RefCell::new(Queue::default()));
        let card = End {
            incoming: to_stack.clone(),
            outgoing: from_stack.clone(),
        };
        let mut device = End {
            incoming: from_stack.clone(),
            outgoing: to_stack.clone(),
        };
        let now = Instant::from_millis(1000);
        let (to_gateway, gateway) = pair(SLOTS, 8192, 8192, Silent, Silent);
        let (to_offload, offload) = pair(HANDSHAKES, 32768, 8192, Silent, Silent);
        let (to_record, record) = pair(SLOTS, 32768, 16384, Silent, Silent);
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
        let stack = as_stack(true, || NetStack::new(config, card, channels, stats, now));
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

    /// The stack alone.
    pub(crate) fn poll(&mut self) {
        self.wake = as_stack(true, || self.stack.poll(self.now));
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
        let mut reply = [0; MAX_MESSAGE];
        let serve = || self.stack.serve(badge, request, &mut reply, self.now);
        let length = as_stack(true, serve);
        let answer = decode(&reply[..length]).expect("an answer that can be read");
        self.poll();
        answer
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

pub(crate) fn wire(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(now.as_micros() as i64)
}

#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) to_port: u16,
    pub(crate) sequence: u32,
    pub(crate) acknowledged: u32,
    pub(crate) window: u16,
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    pub(crate) bytes: Vec<u8>,
}

fn parse(frame: &[u8]) -> Option<Sent> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    if frame.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let ip = Ipv4Packet::new_checked(frame.payload()).ok()?;
    let tcp = TcpPacket::new_checked(ip.payload()).ok()?;
    Some(Sent {
        to_port: tcp.dst_port(),
        sequence: tcp.seq_number().0 as u32,
        acknowledged: tcp.ack_number().0 as u32,
        window: tcp.window_len(),
        syn: tcp.syn(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        bytes: tcp.payload().to_vec(),
    })
}

/// A segment with any source.
pub(crate) struct Forged {
    pub(crate) from: [u8; 4],
    pub(crate) from_port: u16,
    pub(crate) to_port: u16,
    pub(crate) sequence: u32,
    pub(crate) syn: bool,
    pub(crate) rst: bool,
}

impl Forged {
    pub(crate) fn syn(from: [u8; 4], from_port: u16) -> Self {
        Self {
            from,
            from_port,
            to_port: PORT,
            sequence: 1000,
            syn: true,
            rst: false,
        }
    }

    fn frame(&self) -> Vec<u8> {
        let mut bytes = vec![0; 14 + 20 + 20];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
        frame.set_src_addr(EthernetAddress(PEER_MAC));
        frame.set_dst_addr(EthernetAddress(STACK_MAC));
        frame.set_ethertype(EthernetProtocol::Ipv4);
        let mut ip = Ipv4Packet::new_unchecked(frame.payload_mut());
        ip.set_version(4);
        ip.set_header_len(20);
        ip.set_total_len(40);
        ip.set_hop_limit(64);
        ip.set_next_header(smoltcp::wire::IpProtocol::Tcp);
        ip.set_src_addr(self.from.into());
        ip.set_dst_addr(STACK_IP.into());
        ip.fill_checksum();
        let mut tcp = TcpPacket::new_unchecked(ip.payload_mut());
        tcp.set_header_len(20);
        tcp.set_src_port(self.from_port);
        tcp.set_dst_port(self.to_port);
        tcp.set_seq_number(smoltcp::wire::TcpSeqNumber(self.sequence as i32));
        tcp.set_syn(self.syn);
        tcp.set_rst(self.rst);
        tcp.set_window_len(1000);
        let (from, to) = (self.from, STACK_IP);
        let from = smoltcp::wire::IpAddress::from(std::net::Ipv4Addr::from(from));
        let to = smoltcp::wire::IpAddress::from(std::net::Ipv4Addr::from(to));
        tcp.fill_checksum(&from, &to);
        bytes
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

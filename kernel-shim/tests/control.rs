//! The control invocation, with a network stack and a record layer that note
//! what they are asked, and a test that plays the offload component.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ipc::badge::Badge;
use ipc::bounded::{List, Text};
use ipc::channel::local::{LocalDoorbell, Silent, pair};
use ipc::channel::{Doorbell, SlotIndex};
use ipc::clock::{Clock, Instant};
use ipc::control::{
    Answer, Control, Established, HandshakeError, HandshakeId, HandshakeRequest, Parameters,
    PeerError, PeerIdentity, PolicyError, Request, RequestError, Resource,
};
use ipc::handshake::{Completion, CompletionQueue, Directive};
use ipc::net::{self, ConnectionId, Net, NetError, Owner, TcpPosition};
use ipc::provision::{ClientRights, ShimRights};
use ipc::queue::Queue;
use ipc::record::{self, Record};
use ipc::stats;
use ipc::tls::{CipherSuite, Mode, PeerAuthentication, Role, Version};
use ipc::transport::{Client, MAX_MESSAGE, Protocol, Transport, TransportError, decode, dispatch};
use kernel_shim::{Ports, Rights, Server, Windows};

type Shared<T> = Rc<RefCell<T>>;

const POSITION: TcpPosition = TcpPosition {
    tx_next: 1000,
    rx_next: 2000,
};
const APPLICATION: Badge = Badge::Client(1);

#[derive(Clone, Default)]
struct FakeNet {
    asked: Shared<Vec<net::Request>>,
    refuse: Rc<Cell<Option<NetError>>>,
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

#[derive(Clone, Default)]
struct FakeRecord(Shared<Vec<String>>);

impl Transport for FakeRecord {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        Ok(dispatch::<Record>(request, reply, |request| {
            self.0.borrow_mut().push(match request {
                record::Request::Close { slot, .. } => format!("close {slot}"),
                record::Request::Begin => "begin".into(),
                _ => "something else".into(),
            });
            Ok(())
        }))
    }
}

#[derive(Clone, Default)]
struct FakeWindows(Shared<Vec<(&'static str, SlotIndex)>>);

impl Windows for FakeWindows {
    fn grant_install(&mut self, slot: SlotIndex, _: Badge) {
        self.0.borrow_mut().push(("install", slot));
    }
    fn revoke_install(&mut self, slot: SlotIndex) {
        self.0
            .borrow_mut()
            .retain(|held| *held != ("install", slot));
    }
    fn grant_session(&mut self, slot: SlotIndex, _: Badge) {
        self.0.borrow_mut().push(("session", slot));
    }
    fn revoke_session(&mut self, slot: SlotIndex) {
        self.0
            .borrow_mut()
            .retain(|held| *held != ("session", slot));
    }
}

#[derive(Clone, Default)]
struct Count(Rc<Cell<u32>>);

impl Doorbell for Count {
    fn ring(&self) {
        self.0.set(self.0.get() + 1);
    }
}

#[derive(Clone, Copy)]
struct At(u64);

impl Clock for At {
    fn now(&self) -> Instant {
        Instant::from_millis(self.0)
    }
    fn unix_seconds(&self) -> u64 {
        0
    }
}

type Bell = LocalDoorbell<Silent>;

struct World {
    shim: Server<'static, FakeNet, FakeRecord, Bell, Count, FakeWindows, At>,
    net: FakeNet,
    record: FakeRecord,
    windows: FakeWindows,
    told: Count,
    offload: CompletionQueue<Bell>,
}

type Reply = Result<Answer, HandshakeError>;

impl World {
    fn new(handshake_slots: u16) -> Self {
        let (shim_side, offload) = pair(1, 65536, 65536, Silent, Silent);
        let (net, record) = (FakeNet::default(), FakeRecord::default());
        let (mut windows, told) = (FakeWindows::default(), Count::default());
        windows.grant_install(2, APPLICATION);
        windows.grant_session(1, APPLICATION);
        let stats: &'static stats::Page = Box::leak(Box::default());
        let rights = ClientRights {
            client: 1,
            keyrings: vec![Text::from_text("web").unwrap()],
            roles: vec![Role::Server],
            modes: vec![Mode::Autonomous],
            expose_keys: false,
            static_rsa: true,
            audit: false,
            refused_steps: Vec::new(),
        };
        let ports = Ports {
            net: Client::new(net.clone()),
            record: Client::new(record.clone()),
            offload: Queue::new(shim_side),
            application: told.clone(),
            windows: windows.clone(),
            handshake_slots,
            session_slots: 3,
            audit: |_| {},
            stats,
        };
        let shim = Server::new(ports, Rights::new(ShimRights(vec![rights])), At(100));
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
            offload: Queue::new(offload),
        }
    }

    fn call(&mut self, badge: Badge, request: &Request) -> Reply {
        let request = postcard::to_allocvec(request).unwrap();
        let mut reply = [0; MAX_MESSAGE];
        let length = self.shim.serve(badge.to_word(), &request, &mut reply);
        decode::<<Control as Protocol>::Reply>(&reply[..length]).unwrap()
    }

    fn start(&mut self) -> HandshakeId {
        match self.call(APPLICATION, &Request::StartHandshake(request())) {
            Ok(Answer::Started(id)) => id,
            Err(error) => panic!("not started: {error:?}"),
            Ok(_) => panic!("another answer"),
        }
    }

    /// The slot, generation and session of the last start directive.
    fn directive(&mut self) -> (SlotIndex, u16, SlotIndex) {
        match self.offload.receive() {
            Some(Ok(Directive::Start {
                slot,
                generation,
                session,
                position,
                ..
            })) => {
                assert_eq!(position, POSITION);
                (slot, generation, session)
            }
            _ => panic!("no start directive"),
        }
    }

    /// The offload component ends and starts anew, on the same memory.
    fn start_offload_anew(self) -> Self {
        Self {
            offload: Queue::new(self.offload.into_channel().start_anew()),
            ..self
        }
    }

    fn complete(&mut self, slot: SlotIndex, generation: u16, tcp: TcpPosition) {
        let completion = Completion::Established {
            slot,
            generation,
            established: Box::new(established(tcp)),
            peer_certificate: ipc::bounded::Blob::from_slice(&[6; 1000]).unwrap(),
        };
        self.offload.send(&completion).unwrap();
        self.shim.run();
    }

    fn fail(&mut self, slot: SlotIndex, generation: u16) {
        let completion = Completion::Failed {
            slot,
            generation,
            error: HandshakeError::Peer(PeerError::Closed),
        };
        self.offload.send(&completion).unwrap();
        self.shim.run();
    }

    fn owners(&self) -> Vec<Owner> {
        let asked = self.net.asked.borrow();
        let owner = |request: &net::Request| match request {
            net::Request::Move { to, .. } => Some(*to),
            _ => None,
        };
        asked.iter().filter_map(owner).collect()
    }

    fn releases(&self) -> usize {
        let asked = self.net.asked.borrow();
        let is_release = |r: &&net::Request| matches!(r, net::Request::Release { .. });
        asked.iter().filter(is_release).count()
    }
}

fn request() -> HandshakeRequest {
    HandshakeRequest {
        connection: ConnectionId(77),
        role: Role::Server,
        mode: Mode::Autonomous,
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
        }),
        tcp_sequence: None,
        deadline: Instant::from_millis(10_000),
        group: 0,
    }
}

fn established(tcp: TcpPosition) -> Established {
    Established {
        version: Version::Tls13,
        suite: CipherSuite::Aes128GcmSha256,
        group: None,
        sequence: (0, 0),
        key_check: None,
        keys: None,
        peer: Some(PeerIdentity {
            fingerprint: [5; 32],
            certificate_len: 1000,
            subject: Text::from_text("CN=client").unwrap(),
            common_name: Text::from_text("client").unwrap(),
            names: Text::default(),
        }),
        alpn: None,
        server_name: None,
        keyring: Text::from_text("web").unwrap(),
        resumed: false,
        tcp,
        first_byte: Instant::from_millis(101),
        installed: Instant::from_millis(102),
    }
}

fn error(reply: Reply) -> HandshakeError {
    match reply {
        Err(error) => error,
        Ok(_) => panic!("it worked"),
    }
}

#[test]
fn r01_a_start_takes_the_connection_and_tells_the_offload_component() {
    let mut world = World::new(4);
    world.start();
    let (slot, _, session) = world.directive();
    assert_eq!(world.owners(), [Owner::Offload(slot)]);
    assert!(world.record.0.borrow().is_empty());
    assert_eq!(*world.windows.0.borrow(), [("install", session)]);
}

#[test]
fn r09_a_result_is_collected_exactly_once() {
    let mut world = World::new(4);
    assert!(world.call(APPLICATION, &Request::Subscribe).is_ok());
    let id = world.start();
    let (slot, generation, session) = world.directive();
    let pending = world.call(APPLICATION, &Request::CollectResult(id));
    assert_eq!(
        error(pending),
        HandshakeError::Request(RequestError::Pending)
    );
    world.complete(slot, generation, POSITION);
    world.complete(slot, generation, POSITION);
    assert_eq!(world.told.0.get(), 1, "one completion");
    assert_eq!(world.owners()[1..], [Owner::Record(session)]);
    let Ok(Answer::Established(_, result)) = world.call(APPLICATION, &Request::CollectResult(id))
    else {
        panic!("no result");
    };
    assert_eq!(result.slot, session);
    assert_eq!(result.tcp, POSITION);
    assert!(result.established.keys.is_none());
    let again = world.call(APPLICATION, &Request::CollectResult(id));
    assert_eq!(error(again), HandshakeError::Request(RequestError::Unknown));
    let any = world.call(APPLICATION, &Request::CollectAny);
    assert!(matches!(any, Ok(Answer::NothingCompleted)));
}

#[test]
fn r04_wakeups_between_start_and_completion_are_counted() {
    let mut world = World::new(4);
    for others in [0, 3] {
        let id = world.start();
        let (slot, generation, _) = world.directive();
        for _ in 0..others {
            assert!(world.call(APPLICATION, &Request::Subscribe).is_ok());
        }
        world.complete(slot, generation, POSITION);
        let Ok(Answer::Established(_, result)) =
            world.call(APPLICATION, &Request::CollectResult(id))
        else {
            panic!("no result");
        };
        assert_eq!(result.shim_wakeups, others);
    }
}

#[test]
fn r06_a_request_without_the_right_is_refused_and_nothing_is_touched() {
    type Change = fn(&mut HandshakeRequest);
    let cases: [(Change, HandshakeError); 10] = [
        (
            |r| r.role = Role::Client,
            HandshakeError::Policy(PolicyError::Role),
        ),
        (
            |r| r.mode = Mode::Directed,
            HandshakeError::Policy(PolicyError::Mode),
        ),
        (
            |r| {
                let other = Text::from_text("other").unwrap();
                r.parameters.keyrings = List::from_items([other]).unwrap();
            },
            HandshakeError::Policy(PolicyError::Keyring),
        ),
        (
            |r| r.parameters.expose_keys = true,
            HandshakeError::Policy(PolicyError::ExposeKeys),
        ),
        (
            |r| r.parameters.allow_static_rsa = true,
            HandshakeError::Request(RequestError::Unsupported),
        ),
        (
            |r| r.parameters.versions = List::new(),
            HandshakeError::Request(RequestError::NoVersion),
        ),
        (
            |r| r.parameters.keyrings = List::new(),
            HandshakeError::Request(RequestError::NoKeyring),
        ),
        (
            |r| r.parameters.segment_size = 63,
            HandshakeError::Request(RequestError::SegmentSize),
        ),
        (
            |r| r.parameters.segment_size = 16385,
            HandshakeError::Request(RequestError::SegmentSize),
        ),
        (
            |r| r.deadline = Instant::from_millis(100),
            HandshakeError::Request(RequestError::Deadline),
        ),
    ];
    for (change, reason) in cases {
        let mut world = World::new(4);
        let mut wrong = request();
        change(&mut wrong);
        let reply = world.call(APPLICATION, &Request::StartHandshake(wrong));
        assert_eq!(error(reply), reason);
        assert!(world.net.asked.borrow().is_empty());
        assert!(world.record.0.borrow().is_empty());
        assert!(world.offload.receive().is_none());
    }
    let mut world = World::new(4);
    let stranger = world.call(Badge::Client(2), &Request::StartHandshake(request()));
    assert_eq!(error(stranger), HandshakeError::Policy(PolicyError::Client));
}

#[test]
fn r08_a_connection_that_does_not_stand_where_it_should_is_refused() {
    for (refusal, reason) in [
        (NetError::WrongSequence, RequestError::TcpSequence),
        (NetError::NoConnection, RequestError::Connection),
        (NetError::Denied, RequestError::Connection),
    ] {
        let mut world = World::new(4);
        world.net.refuse.set(Some(refusal));
        let reply = world.call(APPLICATION, &Request::StartHandshake(request()));
        assert_eq!(error(reply), HandshakeError::Request(reason));
        assert!(world.record.0.borrow().is_empty());
        assert!(world.windows.0.borrow().is_empty());
        assert!(world.offload.receive().is_none());
    }
}

#[test]
fn a_full_table_is_a_resource_error_and_empties_again() {
    let mut world = World::new(2);
    let ids = [world.start(), world.start()];
    let full = world.call(APPLICATION, &Request::StartHandshake(request()));
    assert_eq!(error(full), HandshakeError::Resource(Resource::Handshakes));
    for id in ids {
        let (slot, generation, _) = world.directive();
        world.fail(slot, generation);
        let reply = world.call(APPLICATION, &Request::CollectResult(id));
        assert_eq!(error(reply), HandshakeError::Peer(PeerError::Closed));
    }
    assert_eq!(world.releases(), 2);
    assert!(world.windows.0.borrow().is_empty());
    let third = world.start();
    assert!(!ids.contains(&third), "a name is not used twice");
}

#[test]
fn r32_a_completion_at_another_byte_than_the_connections_is_no_session() {
    let mut world = World::new(4);
    let id = world.start();
    let (slot, generation, _) = world.directive();
    let elsewhere = TcpPosition {
        tx_next: POSITION.tx_next,
        rx_next: POSITION.rx_next + 1,
    };
    world.complete(slot, generation, elsewhere);
    let reply = world.call(APPLICATION, &Request::CollectResult(id));
    assert_eq!(error(reply), HandshakeError::Resource(Resource::Internal));
    assert!(world.windows.0.borrow().is_empty());
}

#[test]
fn a_session_is_closed_by_its_capability_alone_and_once() {
    let mut world = World::new(4);
    let id = world.start();
    let (slot, generation, session) = world.directive();
    world.complete(slot, generation, POSITION);
    assert!(world.call(APPLICATION, &Request::CollectResult(id)).is_ok());
    let capability = Badge::Session {
        slot: session,
        generation: 1,
    };
    let by_client = world.call(APPLICATION, &Request::CloseSession);
    assert_eq!(
        error(by_client),
        HandshakeError::Policy(PolicyError::Client)
    );
    let mut certificate = Vec::new();
    loop {
        let offset = u16::try_from(certificate.len()).unwrap();
        let request = Request::PeerCertificate { offset };
        let Ok(Answer::Certificate(part)) = world.call(capability, &request) else {
            panic!("no certificate");
        };
        if part.is_empty() {
            break;
        }
        certificate.extend_from_slice(&part);
    }
    assert_eq!(certificate, [6; 1000]);
    assert!(matches!(
        world.call(capability, &Request::CloseSession),
        Ok(Answer::Done)
    ));
    assert!(world.windows.0.borrow().is_empty());
    assert_eq!(world.releases(), 1);
    let forgotten = world.offload.receive();
    assert!(matches!(forgotten, Some(Ok(Directive::Forget { session: s })) if s == session));
    let again = world.call(capability, &Request::CloseSession);
    assert_eq!(error(again), HandshakeError::Request(RequestError::Unknown));
}

#[test]
fn a_cancel_is_passed_on_for_ones_own_handshake_only() {
    let mut world = World::new(4);
    let id = world.start();
    world.directive();
    let other = world.call(Badge::Client(2), &Request::Cancel(id));
    assert_eq!(error(other), HandshakeError::Request(RequestError::Unknown));
    assert!(world.offload.receive().is_none());
    assert!(world.call(APPLICATION, &Request::Cancel(id)).is_ok());
    assert!(matches!(
        world.offload.receive(),
        Some(Ok(Directive::Cancel { .. }))
    ));
}

#[test]
fn a_client_that_begins_anew_has_no_handshake_and_no_session() {
    let mut world = World::new(4);
    let (done, pending) = (world.start(), world.start());
    let (slot, generation, session) = world.directive();
    let (other, other_generation, _) = world.directive();
    world.complete(slot, generation, POSITION);
    assert!(
        world
            .call(APPLICATION, &Request::CollectResult(done))
            .is_ok()
    );
    world.record.0.take();
    assert_eq!(world.windows.0.borrow().len(), 3);

    assert!(world.call(APPLICATION, &Request::Begin).is_ok());
    assert_eq!(world.windows.0.take(), []);
    assert_eq!(world.releases(), 2);
    let closed = world.record.0.take();
    assert!(closed.contains(&format!("close {session}")), "{closed:?}");
    assert_eq!(closed.len(), 2);
    let asked: Vec<_> = core::iter::from_fn(|| world.offload.receive()).collect();
    assert!(matches!(
        asked[..],
        [Ok(Directive::Cancel { slot, generation }), Ok(Directive::Forget { .. })]
            if (slot, generation) == (other, other_generation)
    ));
    let unknown = HandshakeError::Request(RequestError::Unknown);
    assert_eq!(
        error(world.call(APPLICATION, &Request::CollectResult(pending))),
        unknown
    );
    // What the offload component says of it comes too late.
    world.fail(other, other_generation);
    assert!(matches!(
        world.call(APPLICATION, &Request::CollectAny),
        Ok(Answer::NothingCompleted)
    ));
}

#[test]
fn handshakes_of_an_offload_component_that_starts_anew_fail() {
    let mut world = World::new(4);
    let (done, pending) = (world.start(), world.start());
    // It completed the first before it ended, and never saw the second.
    let (slot, generation, _) = world.directive();
    let completion = Completion::Established {
        slot,
        generation,
        established: Box::new(established(POSITION)),
        peer_certificate: ipc::bounded::Blob::from_slice(&[]).unwrap(),
    };
    world.offload.send(&completion).unwrap();
    let mut world = world.start_offload_anew();
    world.shim.run();
    assert!(
        world
            .call(APPLICATION, &Request::CollectResult(done))
            .is_ok()
    );
    let failed = error(world.call(APPLICATION, &Request::CollectResult(pending)));
    assert_eq!(failed, HandshakeError::ServerRestarted);
    assert_eq!(world.windows.0.borrow().len(), 2, "of the session");
    assert_eq!(world.releases(), 1);
    // It hears of new handshakes, and of nothing before.
    assert!(world.offload.receive().is_none());
    world.start();
    world.directive();
}

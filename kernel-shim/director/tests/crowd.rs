//! Full tables and long messages, in the shipped sizes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

#[path = "../../../ipc/tests/heap/mod.rs"]
mod heap;

use director::{Ports, Server};
use ipc::bounded::{Blob, List, Text};
use ipc::channel::SlotIndex;
use ipc::channel::local::{LocalDoorbell, Silent, pair};
use ipc::clock::{Clock, Instant};
use ipc::control::Parameters;
use ipc::director::{
    DirectedSegment, DirectedVerdict, Order, OrderQueue, RefusedSteps, VerdictQueue,
};
use ipc::keystore::KeyKind;
use ipc::mailbox::Mailbox;
use ipc::segment::{MAX_PART, MAX_RINGS, Segment, Verdict};
use ipc::stats;
use ipc::tls::PeerAuthentication;
use tls::{Role, Scheme, Version};

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// Handshake slots; with the rings below, the channels of `image/system.toml`.
const HANDSHAKES: u16 = 224;

type Bell = LocalDoorbell<Silent>;

struct Still;

impl Clock for Still {
    fn now(&self) -> Instant {
        Instant::from_millis(7)
    }
    fn unix_seconds(&self) -> u64 {
        0
    }
}

/// A director between a test that plays the shim and the offload component.
struct World {
    director: Server<'static, Bell, Bell, Still>,
    shim: OrderQueue<Bell>,
    offload: VerdictQueue<Bell>,
    stats: &'static stats::Page,
}

impl World {
    fn new() -> Self {
        let (shim, orders) = pair(HANDSHAKES, 1024, 64, Silent, Silent);
        let (segments, offload) = pair(HANDSHAKES, 2048, 2048, Silent, Silent);
        let stats: &'static stats::Page = Box::leak(Box::default());
        let ports = Ports {
            shim: Mailbox::new(orders),
            offload: Mailbox::new(segments),
            slots: HANDSHAKES,
            audit: |_| {},
            heap_used: || 0,
            stats,
        };
        Self {
            director: Server::new(ports, Still),
            shim: Mailbox::new(shim),
            offload: Mailbox::new(offload),
            stats,
        }
    }

    fn run(&mut self) {
        while self.director.run() {}
        assert_eq!(self.director.untaken(), 0, "it waits for nothing");
    }

    fn begin(&mut self, slot: SlotIndex, generation: u16) {
        let begin = Order::Begin {
            slot,
            generation,
            role: Role::Server,
            parameters: parameters(),
            refused: RefusedSteps::new(),
            is_audited: false,
        };
        self.shim.send(&begin).unwrap();
    }

    fn tell(&mut self, slot: SlotIndex, generation: u16, verdict: Verdict) {
        let verdict = DirectedVerdict {
            slot,
            generation,
            verdict,
        };
        self.offload.send(&verdict).unwrap();
    }

    fn next(&mut self) -> Option<DirectedSegment> {
        self.offload.receive().map(Result::unwrap)
    }
}

fn parameters() -> Box<Parameters> {
    Box::new(Parameters {
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
    })
}

fn begun() -> Verdict {
    Verdict::Begun {
        rings: List::from_items([Some(KeyKind::EcdsaP256)]).unwrap(),
        schemes: List::new(),
        authorities: List::from_items([0]).unwrap(),
        staples: List::from_items([false]).unwrap(),
        session_id: [7; 32],
    }
}

#[test]
fn long_hellos_in_every_slot_are_collected_a_few_at_a_time_within_the_budget() {
    const LENGTH: u16 = 16_000;
    let mut world = World::new();
    let idle = heap::used();
    heap::peak();
    // In every slot at once.
    for slot in 0..HANDSHAKES {
        world.begin(slot, 1);
        world.tell(slot, 1, begun());
    }
    world.run();
    let mut refused = 0;
    while let Some(step) = world.next() {
        let offset = match step.segment {
            Segment::Receive { .. } => 0,
            Segment::Show { offset } => offset,
            Segment::Abort { .. } => {
                refused += 1;
                let (slot, generation) = (step.slot, step.generation);
                world.shim.send(&Order::End { slot, generation }).unwrap();
                world.run();
                continue;
            }
            _ => panic!("another segment"),
        };
        let length = usize::from(LENGTH - offset).min(MAX_PART);
        let part = Verdict::Message {
            kind: 1,
            length: LENGTH,
            part: Blob::from_slice(&vec![3; length]).unwrap(),
        };
        world.tell(step.slot, step.generation, part);
        world.run();
    }
    // None of them is a hello; each was read to its end and refused.
    assert_eq!(refused, HANDSHAKES);
    let peak = heap::peak() - idle;
    let most = ipc::budget::total(&director::budget(HANDSHAKES));
    assert!(peak <= most, "{peak} of {most}");
    assert!(peak < usize::from(HANDSHAKES) * usize::from(LENGTH) / 2);
    assert!(heap::used() - idle < 8 * 1024, "what ended left nothing");
}

#[test]
fn a_verdict_on_no_handshake_of_the_shim_s_is_dropped() {
    let mut world = World::new();
    world.tell(3, 1, begun());
    world.run();
    assert!(world.next().is_none());
    world.begin(3, 2);
    // Of the slot's last handshake, and of this one.
    world.tell(3, 1, begun());
    world.tell(3, 2, begun());
    world.run();
    let segment = world.next().unwrap();
    assert_eq!((segment.slot, segment.generation), (3, 2));
    assert!(world.next().is_none());
    assert_eq!(world.stats.read(stats::director::SEGMENTS), 1);
    let end = Order::End {
        slot: 3,
        generation: 2,
    };
    world.shim.send(&end).unwrap();
    world.tell(3, 2, Verdict::Done);
    world.run();
    assert!(world.next().is_none());
}

#[test]
fn the_longest_messages_of_a_slot_have_room_beside_those_of_its_last_handshake() {
    let mut world = World::new();
    for slot in 0..HANDSHAKES {
        let longest = Verdict::Message {
            kind: 1,
            length: u16::MAX,
            part: Blob::from_slice(&[0xff; MAX_PART]).unwrap(),
        };
        world.tell(slot, 1, longest);
        let begun = Verdict::Begun {
            rings: List::from_items([Some(KeyKind::EcdsaP256); MAX_RINGS]).unwrap(),
            schemes: List::from_items(
                [(); MAX_RINGS].map(|()| List::from_items(Scheme::ALL).unwrap()),
            )
            .unwrap(),
            authorities: List::from_items([u16::MAX; MAX_RINGS]).unwrap(),
            staples: List::from_items([true; MAX_RINGS]).unwrap(),
            session_id: [u8::MAX; 32],
        };
        world.tell(slot, 2, begun);
        for generation in [0, 1] {
            world.shim.send(&Order::End { slot, generation }).unwrap();
        }
        world.begin(slot, 2);
    }
    world.run();
    for _ in 0..HANDSHAKES {
        let first = world.next().unwrap();
        assert_eq!(first.generation, 2);
        assert!(matches!(first.segment, Segment::Receive { .. }));
    }
    assert!(world.next().is_none());
}

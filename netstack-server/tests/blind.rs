//! Segments of an attacker who can't see a connection and guesses (RFC 5961).
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod world;

use std::time::Duration;

use ipc::channel::{SlotIndex, Status};
use ipc::stats::netstack as counters;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::State;
use world::frames::{ACK, RST, SYN, Segment};
use world::{PEER_IP, PORT, STACK_IP, World, has, read_all};

/// A connection, and where it stands as seen by the peer.
struct Stand {
    handle: SocketHandle,
    slot: SlotIndex,
    port: u16,
    /// What the stack expects next.
    expected: u32,
    /// What the stack sends next.
    next: u32,
}

fn connected(world: &mut World) -> Stand {
    let (handle, connection) = world.connected();
    let slot = world.attach(connection);
    world.peer.send(handle, b"hello");
    world.gateway.write(slot, b"welcome").unwrap();
    // Until all is acknowledged.
    world.run(40);
    assert_eq!(read_all(&mut world.gateway, slot), b"hello");
    assert_eq!(world.peer.receive(handle), b"welcome");
    let sent = world.sent();
    let last = sent.last().unwrap();
    Stand {
        handle,
        slot,
        port: last.to_port,
        expected: last.acknowledged,
        next: last.sequence.wrapping_add(last.bytes.len() as u32),
    }
}

impl Stand {
    fn segment(&self, offset: u32, acknowledged: u32, flags: u8) -> Segment {
        Segment {
            from: (PEER_IP.into(), self.port),
            to: (STACK_IP.into(), PORT),
            sequence: self.expected.wrapping_add(offset),
            acknowledged: self.next.wrapping_add(acknowledged),
            flags,
            window: 4096,
            payload: vec![],
        }
    }

    fn is_alive(&self, world: &mut World) -> bool {
        world.peer.send(self.handle, b"still");
        world.gateway.write(self.slot, b"here").unwrap();
        world.run(6);
        !has(world.gateway.peer_status(self.slot), Status::RESET)
            && read_all(&mut world.gateway, self.slot) == b"still"
            && world.peer.receive(self.handle) == b"here"
    }
}

/// Acknowledgements that the stack has sent since the log had `from` frames.
fn challenges(world: &World, stand: &Stand, from: usize) -> usize {
    let sent = world.sent();
    let of_it = sent.iter().skip(from);
    of_it
        .filter(|s| s.to_port == stand.port && s.acknowledged == stand.expected && !s.rst)
        .count()
}

/// Shows the stack alone a segment.
fn show(world: &mut World, segment: &Segment) {
    world.put(segment.frame());
    world.stack.poll(world.now);
    world.from_stack.borrow_mut().frames.clear();
}

#[test]
fn a_reset_counts_at_exactly_the_next_byte_and_nowhere_else() {
    let mut world = World::new();
    let stand = connected(&mut world);
    let before = world.sent().len();
    for offset in (1..16384).chain([16384, 70_000, 1 << 31, u32::MAX, u32::MAX - 99]) {
        show(&mut world, &stand.segment(offset, 0, RST));
        show(&mut world, &stand.segment(offset, 0, RST | ACK));
    }
    assert!(world.count(counters::GUARDED) > 32_000);
    // All of that is answered once a second at the most.
    assert_eq!(challenges(&world, &stand, before), 1);
    assert!(stand.is_alive(&mut world));
    let stand = Stand {
        expected: stand.expected.wrapping_add(5),
        ..stand
    };
    show(&mut world, &stand.segment(0, 0, RST));
    world.run(1);
    assert!(has(world.gateway.peer_status(stand.slot), Status::RESET));
}

#[test]
fn a_syn_ends_nothing_and_is_answered_by_where_the_connection_stands() {
    let mut world = World::new();
    let stand = connected(&mut world);
    for (offset, flags) in [
        (0, SYN),
        (0, SYN | ACK),
        (100, SYN),
        (100, SYN | ACK),
        (1 << 30, SYN),
        (u32::MAX, SYN),
    ] {
        let before = world.sent().len();
        show(&mut world, &stand.segment(offset, 0, flags));
        show(&mut world, &stand.segment(offset, 0, flags));
        assert_eq!(challenges(&world, &stand, before), 1, "{offset} {flags}");
        world.now = world.now + Duration::from_secs(1);
    }
    assert!(stand.is_alive(&mut world));
}

#[test]
fn a_peer_that_has_forgotten_the_connection_gets_a_new_one() {
    let mut world = World::new();
    let stand = connected(&mut world);
    // It starts again, and takes the same port by chance.
    world.peer.sockets.remove(stand.handle);
    world.peer.take_port(stand.port);
    let handle = world.peer.connect(PORT);
    world.run(3000);
    assert!(has(world.gateway.peer_status(stand.slot), Status::RESET));
    assert_eq!(world.peer.socket(handle).state(), State::Established);
    assert!(world.accept().is_some());
}

#[test]
fn bytes_with_an_acknowledgement_that_can_not_be_are_not_taken() {
    let mut world = World::new();
    let stand = connected(&mut world);
    world.gateway.write(stand.slot, b"on its way").unwrap();
    world.gateway.notify(stand.slot);
    world.stack.poll(world.now);
    let before = world.sent().len();
    // Of what was not sent, and older than the send buffer.
    for acknowledged in [
        11,
        12,
        1 << 20,
        1 << 31,
        u32::MAX - 8192,
        0u32.wrapping_sub(1 << 30),
    ] {
        let mut segment = stand.segment(0, acknowledged, ACK);
        segment.payload = b"forged".to_vec();
        show(&mut world, &segment);
        // Without bytes it acknowledges nothing either.
        segment.payload.clear();
        show(&mut world, &segment);
    }
    assert_eq!(world.gateway.readable(stand.slot), Ok(0));
    assert_eq!(challenges(&world, &stand, before), 1);
    world.run(4000);
    assert_eq!(world.peer.receive(stand.handle), b"on its way");
    assert!(stand.is_alive(&mut world));
}

#[test]
fn bytes_that_were_not_sent_can_not_be_acknowledged() {
    let mut world = World::new();
    let stand = connected(&mut world);
    // The peer has little room, so that most waits in the send buffer.
    let narrow = Segment {
        window: 5,
        ..stand.segment(0, 0, ACK)
    };
    show(&mut world, &narrow);
    let bytes = world::pattern(1000);
    world.gateway.write(stand.slot, &bytes).unwrap();
    world.gateway.notify(stand.slot);
    let before = world.sent().len();
    world.stack.poll(world.now);
    let first = world.sent().get(before).unwrap().bytes.len() as u32;
    assert!((1..20).contains(&first));
    for acknowledged in [first + 1, 500, 999, 1000] {
        show(&mut world, &stand.segment(0, acknowledged, ACK));
    }
    let mut received = Vec::new();
    for _ in 0..8000 {
        world.step();
        received.extend(world.peer.receive(stand.handle));
    }
    assert!(received == bytes, "{} bytes", received.len());
}

#[test]
fn a_reset_of_a_half_open_connection_counts_at_exactly_its_place() {
    let mut world = World::new();
    world.listen(8);
    let syn = Segment {
        from: (PEER_IP.into(), 3000),
        to: (STACK_IP.into(), PORT),
        sequence: 1000,
        acknowledged: 0,
        flags: SYN,
        window: 4096,
        payload: vec![],
    };
    show(&mut world, &syn);
    world.stack.poll(world.now);
    assert_eq!(world.count(counters::CONNECTIONS), 1);
    for sequence in [1000, 1002, 1003, 17_384, 17_385, 90_000] {
        for flags in [RST, RST | ACK] {
            let reset = Segment {
                sequence,
                flags,
                payload: vec![],
                ..syn
            };
            show(&mut world, &reset);
        }
    }
    assert_eq!(world.count(counters::CONNECTIONS), 1);
    let reset = Segment {
        sequence: 1001,
        flags: RST,
        ..syn
    };
    show(&mut world, &reset);
    assert_eq!(world.count(counters::CONNECTIONS), 0);
}

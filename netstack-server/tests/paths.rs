//! Paths that carry less than the link, and forged messages.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod world;

use std::net::Ipv6Addr;
use std::time::Duration;

use ipc::channel::SlotIndex;
use ipc::net::{Answer, Request};
use ipc::stats::netstack as counters;
use netstack_server::Limits;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;
use smoltcp::wire::IpCidr;
use world::{PEER_IP, PORT, STACK_IP, World, frames, pattern, take_events};

const ROUTER: [u8; 4] = [192, 0, 2, 77];
const OWN: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 0xf);
const PEER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

/// A connection in whose direction to the peer nothing has been sent yet.
fn connected(world: &mut World) -> (SocketHandle, SlotIndex) {
    let (handle, connection) = world.connected();
    let slot = world.attach(connection);
    world.from_stack.borrow_mut().log.clear();
    (handle, slot)
}

/// The same over IPv6.
fn connected_v6(world: &mut World) -> (SocketHandle, SlotIndex) {
    world.peer.interface.update_ip_addrs(|list| {
        list.push(IpCidr::new(PEER.into(), 64)).unwrap();
    });
    world.listen(8);
    let handle = world.peer.listen(1);
    let interface = &mut world.peer.interface;
    let socket = world.peer.sockets.get_mut::<tcp::Socket>(handle);
    socket.abort();
    let to = (smoltcp::wire::IpAddress::from(OWN), PORT);
    socket.connect(interface.context(), to, 4000).unwrap();
    world.run(10);
    let Ok(Answer::Accepted { connection, .. }) = world.ask(&Request::Accept) else {
        panic!("no connection");
    };
    let slot = world.attach(connection);
    world.from_stack.borrow_mut().log.clear();
    (handle, slot)
}

/// Lets the stack alone send bytes; its frames that are longer than `least`.
fn sent(world: &mut World, slot: SlotIndex, bytes: &[u8], least: usize) -> Vec<Vec<u8>> {
    assert_eq!(world.gateway.write(slot, bytes), Ok(bytes.len()));
    world.gateway.notify(slot);
    world.stack.poll(world.now);
    let log = &world.from_stack.borrow().log;
    log.iter().filter(|f| f.len() > least).cloned().collect()
}

/// "Packet too big" over a frame that the stack has sent.
fn packet_too_big(frame: &[u8], limit: u32) -> Vec<u8> {
    let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);
    let mut message = vec![2, 0, 0, 0];
    message.extend(limit.to_be_bytes());
    message.extend(frames::quoted(frame, 60));
    frames::ipv6(router, OWN, 58, 64, &frames::icmpv6(router, OWN, &message))
}

/// All bytes of a pattern that begins with `first` arrive, in frames of at most
/// `longest` bytes from now on.
fn all_arrive(world: &mut World, handle: SocketHandle, slot: SlotIndex, longest: usize) {
    let bytes = pattern(64 * 1024);
    let (mut written, mut received) = (0, Vec::new());
    let before = world.from_stack.borrow().log.len();
    for _ in 0..60_000 {
        written += world.gateway.write(slot, &bytes[written..]).unwrap();
        take_events(&mut world.gateway);
        world.step();
        received.extend(world.peer.receive(handle));
        if received.len() == bytes.len() {
            break;
        }
    }
    assert!(received == bytes, "{} bytes", received.len());
    let log = &world.from_stack.borrow().log;
    let most = log.iter().skip(before).map(Vec::len).max();
    assert_eq!(most, Some(longest));
}

#[test]
fn a_path_that_carries_less_than_the_link_carries_everything_once_it_says_so() {
    for limit in [576, 1000, 1280, 1499] {
        let mut world = World::new();
        let (handle, slot) = connected(&mut world);
        world.from_stack.borrow_mut().longest = Some(14 + usize::from(limit));
        let first = pattern(8000);
        let lost = sent(&mut world, slot, &first, 1500);
        assert!(!lost.is_empty());
        // Nothing comes through before.
        world.run(500);
        assert_eq!(world.peer.receive(handle), b"");
        world.put(frames::fragmentation_needed(ROUTER, &lost[0], limit));
        let mut received = Vec::new();
        for _ in 0..10_000 {
            world.step();
            received.extend(world.peer.receive(handle));
        }
        assert!(received == first, "{limit}: {} bytes", received.len());
        assert_eq!(world.count(counters::NARROWED), 1);
        all_arrive(&mut world, handle, slot, 14 + usize::from(limit));
        // The next connection there begins with what was learned.
        let (_, next) = connected(&mut world);
        let frames = sent(&mut world, next, &first, 0);
        let most = frames.iter().map(Vec::len).max();
        assert_eq!(most, Some(14 + usize::from(limit)));
    }
}

#[test]
fn a_narrow_path_is_no_wider_for_a_nic_that_cuts_segments() {
    let mut world = World::offloading();
    let (handle, slot) = connected(&mut world);
    let lost = sent(&mut world, slot, &pattern(8000), 1514);
    assert!(!lost.is_empty(), "no frame of several segments");
    world.put(frames::fragmentation_needed(ROUTER, &lost[0], 1000));
    world.run(2000);
    world.peer.receive(handle);
    let before = world.from_stack.borrow().cut.len();
    all_arrive(&mut world, handle, slot, 14 + 1000);
    // They are short already.
    assert_eq!(world.from_stack.borrow().cut.len(), before);
}

#[test]
fn a_path_over_ipv6_is_told_of_alike() {
    let mut world = World::new();
    let (handle, slot) = connected_v6(&mut world);
    world.from_stack.borrow_mut().longest = Some(14 + 1300);
    let first = pattern(8000);
    let lost = sent(&mut world, slot, &first, 1500);
    // Less than every link carries is invalid (RFC 8201 §4).
    for limit in [0, 1, 68, 1279, 1500, 1501, 0x1_0000, u32::MAX] {
        world.put(packet_too_big(&lost[0], limit));
    }
    world.stack.poll(world.now);
    assert_eq!(world.count(counters::NARROWED), 0);
    assert_eq!(world.count(counters::NARROWED_REFUSED), 8);
    world.put(packet_too_big(&lost[0], 1300));
    let mut received = Vec::new();
    for _ in 0..10_000 {
        world.step();
        received.extend(world.peer.receive(handle));
    }
    assert!(received == first, "{} bytes", received.len());
    all_arrive(&mut world, handle, slot, 14 + 1300);
}

#[test]
fn a_lossy_narrow_path_carries_everything() {
    let mut world = World::new();
    let (handle, slot) = connected(&mut world);
    let lost = sent(&mut world, slot, &pattern(3000), 1500);
    world.put(frames::fragmentation_needed(ROUTER, &lost[0], 700));
    world.run(2000);
    world.peer.receive(handle);
    for queue in [&world.to_stack, &world.from_stack] {
        queue.borrow_mut().loss = 3;
        queue.borrow_mut().reorder = 5;
    }
    all_arrive(&mut world, handle, slot, 14 + 700);
}

#[test]
fn a_word_that_does_not_quote_what_is_under_way_is_not_believed() {
    let mut world = World::new();
    let (handle, slot) = connected(&mut world);
    let lost = sent(&mut world, slot, &pattern(8000), 1500);
    let right = frames::fragmentation_needed(ROUTER, &lost[0], 1000);
    let change = |at: usize, byte: u8| {
        let mut frame = lost[0].clone();
        frame[at] ^= byte;
        frames::fragmentation_needed(ROUTER, &frame, 1000)
    };
    // Not TCP, a fragment, a header that is none of ours: not read further.
    for (at, byte) in [(23, 1), (20, 0x20), (21, 1), (14, 1), (14, 0x10)] {
        let frame = change(at, byte);
        world.put(frame);
    }
    let mut forged = vec![
        // Either port, the other end.
        change(34, 1),
        change(37, 1),
        change(33, 1),
        // A byte before what is under way, and one after it.
        change(38, 0x80),
        change(38, 0x01),
        change(39, 0x80),
        // What fits, does fit.
        frames::fragmentation_needed(ROUTER, &lost[0], 1500),
        frames::fragmentation_needed(ROUTER, &lost[0], 2000),
    ];
    let first = u32::from_be_bytes(lost[0][38..42].try_into().unwrap());
    for sequence in [first.wrapping_sub(1), first.wrapping_add(8000)] {
        let mut frame = lost[0].clone();
        frame[38..42].copy_from_slice(&sequence.to_be_bytes());
        forged.push(frames::fragmentation_needed(ROUTER, &frame, 1000));
    }
    let count = forged.len() as u64;
    for frame in forged {
        world.put(frame);
    }
    // With a wrong sum, and cut off within what it quotes: nothing at all.
    let mut damaged = right.clone();
    damaged[50] ^= 1;
    world.put(damaged);
    let mut cut = vec![3, 4, 0, 0, 0, 0, 3, 0xe8];
    cut.extend(frames::quoted(&lost[0], 27));
    world.put(frames::icmpv4(ROUTER, STACK_IP, &cut));
    world.stack.poll(world.now);
    assert_eq!(world.count(counters::NARROWED), 0);
    assert_eq!(world.count(counters::NARROWED_REFUSED), count);
    // A packet that is shorter than what passes did pass.
    let short = sent(&mut world, slot, &pattern(100), 0).pop().unwrap();
    assert!(short.len() < 1000);
    world.put(frames::fragmentation_needed(ROUTER, &short, 1000));
    world.stack.poll(world.now);
    assert_eq!(world.count(counters::NARROWED_REFUSED), count + 1);
    // What was acknowledged is not under way any more.
    world.run(20);
    assert_eq!(world.peer.receive(handle).len(), 8100);
    world.put(right);
    world.run(2);
    assert_eq!(world.count(counters::NARROWED), 0);
    all_arrive(&mut world, handle, slot, 1514);
}

#[test]
fn no_word_makes_a_path_narrower_than_all_paths_are_or_wider_again() {
    let mut world = World::new();
    let (handle, slot) = connected(&mut world);
    let lost = sent(&mut world, slot, &pattern(8000), 1500);
    for limit in [68, 1000, 1, 577, 1499] {
        world.put(frames::fragmentation_needed(ROUTER, &lost[0], limit));
    }
    world.stack.poll(world.now);
    assert_eq!(world.count(counters::NARROWED), 1);
    world.run(20);
    world.peer.receive(handle);
    all_arrive(&mut world, handle, slot, 14 + 576);
}

#[test]
fn a_narrow_path_is_tried_again_after_ten_minutes() {
    let mut world = World::new();
    let (handle, slot) = connected(&mut world);
    let lost = sent(&mut world, slot, &pattern(8000), 1500);
    world.put(frames::fragmentation_needed(ROUTER, &lost[0], 1000));
    world.run(50);
    assert_eq!(world.peer.receive(handle).len(), 8000);
    for _ in 0..5 {
        world.sleep(Duration::from_secs(119));
        world.peer.send(handle, b"x");
        world.run(50);
        take_events(&mut world.gateway);
    }
    all_arrive(&mut world, handle, slot, 14 + 1000);
    world.sleep(Duration::from_secs(20));
    all_arrive(&mut world, handle, slot, 1514);
}

#[test]
fn the_link_is_as_wide_as_the_configuration_says() {
    let mut network = world::network(world::fixed_address());
    network.mtu = Some(1280);
    let mut world = World::of(Limits::default(), network);
    let (handle, connection) = world.connected();
    let slot = world.attach(connection);
    // The peer learns the segment size from the SYN-ACK.
    let log = world.from_stack.borrow().log.clone();
    let answer = log.iter().find(|f| f[12..14] == [8, 0] && f[47] & 2 != 0);
    let size = u16::from_be_bytes(answer.unwrap()[56..58].try_into().unwrap());
    assert_eq!(size, 1280 - 40);
    all_arrive(&mut world, handle, slot, 14 + 1280);
    assert!(!log.iter().any(|frame| frame.len() > 14 + 1280));
    assert_eq!(PEER_IP, [10, 0, 2, 2]);
}

//! Neighbours that move to another Ethernet address, and forged announcements.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod world;

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use ipc::channel::SlotIndex;
use ipc::net::{Answer, Request};
use ipc::stats::netstack as counters;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;
use smoltcp::wire::{EthernetAddress, IpCidr};
use world::{PEER_IP, PEER_MAC, PORT, STACK_IP, World, frames, read_all};

const MOVED: [u8; 6] = [2, 0, 0x5e, 0, 1, 7];
const EVERYBODY: [u8; 6] = [0xff; 6];
const STACK_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 0xf);
const PEER_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The peer answers at another Ethernet address from now on, as the router does
/// that takes over from it.
fn fail_over(world: &mut World) {
    let hardware = EthernetAddress(MOVED).into();
    world.peer.interface.set_hardware_addr(hardware);
}

/// Whether bytes come through at once.
fn is_carried(world: &mut World, handle: SocketHandle, slot: SlotIndex) -> bool {
    world.gateway.write(slot, b"after").unwrap();
    world.run(4);
    let received = world.peer.receive(handle);
    world.peer.send(handle, b"back");
    world.run(4);
    received == b"after" && read_all(&mut world.gateway, slot) == b"back"
}

#[test]
fn a_fail_over_of_the_router_costs_no_session() {
    for operation in [1, 2] {
        let mut world = World::new();
        let (handle, connection) = world.connected();
        let slot = world.attach(connection);
        assert!(is_carried(&mut world, handle, slot));
        fail_over(&mut world);
        world.put(frames::arp(operation, MOVED, PEER_IP, PEER_IP, EVERYBODY));
        world.run(2);
        assert_eq!(world.count(counters::MOVED), 1);
        assert!(is_carried(&mut world, handle, slot));
    }
}

#[test]
fn without_its_word_bytes_go_where_the_router_was() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let slot = world.attach(connection);
    fail_over(&mut world);
    assert!(!is_carried(&mut world, handle, slot));
    assert_eq!(world.count(counters::MOVED), 0);
}

#[test]
fn who_was_never_heard_is_not_listed_for_what_he_tells_everybody() {
    let mut world = World::new();
    world.listen(8);
    let stranger = [10, 0, 2, 77];
    for operation in [1, 2] {
        world.put(frames::arp(operation, MOVED, stranger, stranger, EVERYBODY));
    }
    world.run(2);
    assert_eq!(world.count(counters::MOVED), 0);
    // So he is asked for where he is before he is answered.
    world.inject(&world::Forged::syn(stranger, 3000));
    world.run(2);
    let log = &world.from_stack.borrow().log;
    let asks = |frame: &&Vec<u8>| frame[12..14] == [8, 6] && frame[38..42] == stranger;
    assert_eq!(log.iter().filter(asks).count(), 1);
    assert!(!log.iter().any(|frame| frame[..6] == MOVED));
}

#[test]
fn a_neighbour_that_does_not_answer_keeps_no_other_from_being_asked_for() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let slot = world.attach(connection);
    assert!(is_carried(&mut world, handle, slot));
    // What is known of the peer is too old.
    world.sleep(Duration::from_secs(61));
    // SYNs of 128 addresses where nobody is, and they come again.
    let forged = |world: &mut World| {
        for last in 100..228 {
            world.inject(&world::Forged::syn([10, 0, 2, last], 3000));
        }
    };
    forged(&mut world);
    world.run(1);
    world.sleep(Duration::from_millis(500));
    world.from_stack.borrow_mut().log.clear();
    world.gateway.write(slot, b"after").unwrap();
    // Within two seconds, at any phase of the others.
    for _ in 0..20 {
        forged(&mut world);
        world.run(1);
        world.sleep(Duration::from_millis(100));
        world.run(1);
    }
    assert_eq!(world.peer.receive(handle), b"after");
    // And none is asked for more than once a second.
    let log = &world.from_stack.borrow().log;
    let mut asked = std::collections::BTreeMap::new();
    for frame in log.iter().filter(|frame| frame[12..14] == [8, 6]) {
        *asked.entry(frame[38..42].to_vec()).or_insert(0) += 1;
    }
    assert!(asked.values().all(|count| *count <= 3), "{asked:?}");
}

#[test]
fn a_backend_that_was_never_heard_of_is_asked_for_beside_forged_syns() {
    let backend = [10, 0, 2, 99];
    let mut network = world::network(world::fixed_address());
    let to = world::address(backend, 443);
    network.rights[0].connect.push(to);
    let mut world = World::of(netstack_server::Limits::default(), network);
    world.listen(64);
    let forged = |world: &mut World| {
        for last in 100..228 {
            world.inject(&world::Forged::syn([10, 0, 2, last], 3000));
        }
    };
    let asks = |world: &World| {
        let log = &world.from_stack.borrow().log;
        let asks = |frame: &&Vec<u8>| frame[12..14] == [8, 6] && frame[38..42] == backend;
        log.iter().filter(asks).count()
    };
    forged(&mut world);
    world.run(1);
    let request = Request::Connect {
        to,
        deadline: world.now + Duration::from_secs(5),
    };
    world.ask(&request).unwrap();
    world.run(1);
    // At once, and once a second while SYNs come.
    assert_eq!(asks(&world), 1);
    for _ in 0..15 {
        forged(&mut world);
        world.sleep(Duration::from_millis(100));
        world.run(1);
    }
    assert_eq!(asks(&world), 2);
}

#[test]
fn what_no_neighbour_would_announce_moves_nobody() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let slot = world.attach(connection);
    let group = [0x33, 0x33, 0, 0, 0, 1];
    for hardware in [group, EVERYBODY, [0; 6]] {
        let mut frame = frames::arp(2, hardware, PEER_IP, PEER_IP, EVERYBODY);
        world.put(frame.clone());
        // The same in a frame with a valid source address.
        frame[6..12].copy_from_slice(&MOVED);
        world.put(frame);
    }
    // Of another one's address, and of this system's own.
    world.put(frames::arp(2, MOVED, PEER_IP, [10, 0, 2, 99], EVERYBODY));
    world.put(frames::arp(2, MOVED, STACK_IP, STACK_IP, EVERYBODY));
    // An operation and a form that there are not.
    world.put(frames::arp(3, MOVED, PEER_IP, PEER_IP, EVERYBODY));
    for at in [14, 15, 16, 17, 18, 19, 20] {
        let mut frame = frames::arp(2, MOVED, PEER_IP, PEER_IP, EVERYBODY);
        frame[at] ^= 1;
        world.put(frame);
    }
    world.run(2);
    assert_eq!(world.count(counters::MOVED), 0);
    assert!(is_carried(&mut world, handle, slot));
}

/// A connection over IPv6.
fn connected(world: &mut World) -> (SocketHandle, SlotIndex) {
    world.peer.interface.update_ip_addrs(|list| {
        list.push(IpCidr::new(PEER_LINK_LOCAL.into(), 64)).unwrap();
    });
    world.listen(8);
    let handle = world.peer.listen(1);
    let interface = &mut world.peer.interface;
    let socket = world.peer.sockets.get_mut::<tcp::Socket>(handle);
    socket.abort();
    let to = (smoltcp::wire::IpAddress::from(STACK_LINK_LOCAL), PORT);
    socket.connect(interface.context(), to, 4000).unwrap();
    world.run(10);
    let Ok(Answer::Accepted {
        connection, remote, ..
    }) = world.ask(&Request::Accept)
    else {
        panic!("no connection");
    };
    assert_eq!(remote.ip(), IpAddr::from(PEER_LINK_LOCAL));
    let slot = world.attach(connection);
    (handle, slot)
}

/// An unsolicited advertisement.
fn unsolicited(flags: u8, target: Ipv6Addr, hardware: [u8; 6]) -> Vec<u8> {
    let message = frames::neighbour(flags, target, hardware);
    let message = frames::icmpv6(PEER_LINK_LOCAL, ALL_NODES, &message);
    frames::ipv6(PEER_LINK_LOCAL, ALL_NODES, 58, 255, &message)
}

#[test]
fn a_fail_over_of_a_neighbour_over_ipv6_costs_no_session() {
    let mut world = World::new();
    let (handle, slot) = connected(&mut world);
    assert!(is_carried(&mut world, handle, slot));
    fail_over(&mut world);
    // Router, override: what VRRP sends (RFC 5798 §8.2.3).
    world.put(unsolicited(0xa0, PEER_LINK_LOCAL, MOVED));
    world.run(2);
    assert_eq!(world.count(counters::MOVED), 1);
    assert!(is_carried(&mut world, handle, slot));
}

#[test]
fn an_advertisement_that_may_not_replace_what_is_known_does_not() {
    let mut world = World::new();
    let (handle, slot) = connected(&mut world);
    assert!(is_carried(&mut world, handle, slot));
    world.put(unsolicited(0x80, PEER_LINK_LOCAL, MOVED));
    // To everybody, and yet an answer (RFC 4861 §7.1.2).
    world.put(unsolicited(0xe0, PEER_LINK_LOCAL, MOVED));
    world.put(unsolicited(0xa0, STACK_LINK_LOCAL, MOVED));
    world.put(unsolicited(0xa0, ALL_NODES, MOVED));
    world.put(unsolicited(0xa0, PEER_LINK_LOCAL, EVERYBODY));
    // Of a neighbour that nothing is known of.
    world.put(unsolicited(
        0xa0,
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9),
        MOVED,
    ));
    // From further away than the link.
    let message = frames::neighbour(0xa0, PEER_LINK_LOCAL, MOVED);
    let message = frames::icmpv6(PEER_LINK_LOCAL, ALL_NODES, &message);
    world.put(frames::ipv6(PEER_LINK_LOCAL, ALL_NODES, 58, 254, &message));
    world.run(2);
    assert_eq!(world.count(counters::MOVED), 0);
    assert!(is_carried(&mut world, handle, slot));
    assert_ne!(PEER_MAC, MOVED);
}

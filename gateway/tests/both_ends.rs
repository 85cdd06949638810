//! Both ends of a relay take up places in tables that all clients share: each client is
//! charged for both, and a backend that says nothing keeps nobody else out. With the
//! shipped sizes.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up fails")]
#![allow(clippy::indexing_slicing, reason = "a test that finds less fails")]

mod world;

use std::net::SocketAddr;

use gateway::budget::{most_with_backends, most_with_one};
use ipc::control::{HandshakeError, PeerError};
use ipc::net::{Address, ConnectionId};
use ipc::provision::{Backend, Limits, Listener};
use ipc::stats::gateway as counters;
use tls::Role;
use world::{FORWARD, SENDING, Sizes, World, address, assert_served, listeners, same, tls};

/// TLS in, TLS out.
const BOTH: u16 = 5;
/// Plaintext in, plaintext out.
const PLAIN: u16 = 6;
/// More clients than there are sessions, or connections.
const MANY: u16 = 1600;
/// Plaintext in, TLS out, to backends of their own.
const OTHER: u16 = 7;
const THIRD: u16 = 8;

/// The usual listeners, and some more.
fn world() -> World {
    let mut all = listeners();
    let found = |all: &[Listener], port| all.iter().find(|l| l.port == port).unwrap().clone();
    let (forward, sending) = (found(&all, FORWARD), found(&all, SENDING));
    let named = |port, from: &Listener| Listener {
        name: format!("at-{port}"),
        port,
        ..from.clone()
    };
    let both = Listener {
        tls: Some(tls(Role::Server)),
        ..named(BOTH, &sending)
    };
    let plain = Listener {
        tls: None,
        ..named(PLAIN, &forward)
    };
    let others = [OTHER, THIRD].map(|port| {
        let mut other = named(port, &sending);
        if let Backend::Connect(upstream) = &mut other.backend {
            upstream.address = Address(([10, 9, 9, 8], port).into());
        }
        other
    });
    all.extend([both, plain]);
    all.extend(others);
    World::new(all)
}

/// Clients of a listener whose backend has TLS, each with both handshakes if there is
/// room for it.
fn fill(world: &mut World, port: u16, count: u16, from: impl Fn(u16) -> SocketAddr) {
    for number in 0..count {
        let connection = world.arrive(port, from(number));
        world.settle();
        world.shim.borrow_mut().establish(connection);
        world.settle();
        for backend in to_backends(world) {
            world.shim.borrow_mut().establish(backend);
        }
        world.settle();
    }
}

/// So many sessions are cut off by their peers.
fn leave(world: &mut World, count: usize) {
    let slots = (0..world.sizes.sessions).filter(|slot| world.has_session(*slot));
    let slots: Vec<_> = slots.take(count).collect();
    for slot in slots {
        if world.has_session(slot) {
            world.reset(slot);
        }
    }
    world.pass(12_000);
}

fn to_backends(world: &World) -> Vec<ConnectionId> {
    world.shim.borrow().to_backends()
}

#[test]
fn one_address_can_not_have_all_sessions_by_those_with_backends() {
    for port in [SENDING, BOTH] {
        let mut world = world();
        fill(&mut world, port, MANY, same);
        let taken = world.shim.borrow().sessions();
        let limit = usize::from(Limits::default().sessions);
        assert!(taken <= limit, "{taken} of {limit}");
        assert!(taken > limit - 3, "{taken} of {limit}");
        assert_served(&mut world, address(1));
        // Some leave: as many may come.
        let before = world.net.borrow().held();
        leave(&mut world, 20);
        assert!(world.net.borrow().held() < before);
        fill(&mut world, port, MANY, same);
        assert_eq!(world.shim.borrow().sessions(), taken);
        // When all leave, all may come again.
        world.pass(400_000);
        assert_eq!(world.net.borrow().held(), 0);
        assert_eq!(world.shim.borrow().sessions(), 0);
        assert_eq!(world.count(counters::ADDRESSES), 0);
        fill(&mut world, port, 100, same);
        let each = if port == BOTH { 2 } else { 1 };
        assert_eq!(world.shim.borrow().sessions(), 100 * each);
    }
}

#[test]
fn one_address_can_not_have_all_connections_by_those_with_backends() {
    let mut world = world();
    for number in 0..MANY {
        let connection = world.arrive(PLAIN, same(number));
        world.settle();
        // It says something: it does not make room for another.
        let slot = world.net.borrow().slot(connection);
        if let Some(slot) = slot {
            let mut net = world.net.borrow_mut();
            net.side.write(slot, b"x").unwrap();
            net.side.notify(slot);
        }
        world.settle();
    }
    let limit = usize::from(Limits::default().connections);
    let slots = usize::from(world.sizes.connections);
    let taken = slots - world.net.borrow().free_slots();
    assert!(taken <= limit, "{taken} of {limit}");
    assert!(taken > limit - 3, "{taken} of {limit}");
    assert_served(&mut world, address(1));
}

#[test]
fn a_backend_that_says_nothing_keeps_neither_clients_nor_other_backends_out() {
    let mut world = world();
    for number in 0..250 {
        world.arrive(SENDING, address(number));
        world.settle();
    }
    let first = to_backends(&world);
    assert_eq!(
        first.len(),
        usize::from(most_with_one(world.sizes.handshakes))
    );
    assert_served(&mut world, address(2000));
    assert_eq!(world.shim.borrow().asked, 0, "nobody gives way");
    // Another backend is reached at once.
    world.arrive(OTHER, address(2001));
    world.settle();
    let all = to_backends(&world);
    let new: Vec<_> = all.iter().filter(|one| !first.contains(one)).collect();
    assert_eq!(new.len(), 1);
    assert!(world.shim.borrow_mut().establish(*new[0]).is_some());
    world.settle();
    // That one says nothing either: half of all is left to clients, also when a third
    // backend is wanted.
    let come = |world: &mut World, port, number| {
        world.arrive(port, address(number));
        world.settle();
    };
    (3000..3060).for_each(|number| come(&mut world, OTHER, number));
    (4000..4010).for_each(|number| come(&mut world, THIRD, number));
    let before = to_backends(&world);
    assert_eq!(
        before.len(),
        usize::from(most_with_backends(world.sizes.handshakes))
    );
    assert_served(&mut world, address(5000));
    // One ends: the next of its backend begins, whoever waits before that.
    let closed = HandshakeError::Peer(PeerError::Closed);
    let others = before.iter().find(|one| !first.contains(one)).unwrap();
    for gone in [first[0], *others] {
        let before = to_backends(&world);
        world.shim.borrow_mut().fail(gone, closed);
        world.settle();
        let after = to_backends(&world);
        let new = after.iter().filter(|one| !before.contains(one));
        assert_eq!((after.len(), new.count()), (before.len(), 1));
    }
}

#[test]
fn a_shorter_table_of_handshakes_lowers_what_backends_may_have_of_it() {
    let (mut sizes, description) = Sizes::shipped();
    sizes.handshakes /= 4;
    let mut world = World::with(listeners(), (sizes, description));
    for number in 0..250 {
        world.arrive(SENDING, address(number));
        world.settle();
    }
    let most = usize::from(sizes.handshakes / 4);
    assert_eq!(to_backends(&world).len(), most);
    assert_served(&mut world, address(2000));
    assert_eq!(world.shim.borrow().asked, 0, "nobody gives way");
}

#[test]
fn for_a_thousand_backends_that_wait_room_is_asked_for_sixty_four_times_at_once() {
    const AT_ONCE: usize = 64;
    let mut world = world();
    world.shim.borrow_mut().is_deaf = true;
    for number in 0..world.sizes.handshakes {
        world.arrive(FORWARD, address(number));
        world.settle();
    }
    for number in 0..1000 {
        world.arrive(SENDING, address(1000 + number));
        world.settle();
    }
    let before = world.shim.borrow().asked;
    assert_eq!(before, AT_ONCE, "they came in one moment");
    // Again when nobody gave way, eight times a second.
    world.pass(1000);
    let again = world.shim.borrow().asked - before;
    assert!((2 * AT_ONCE..=8 * AT_ONCE).contains(&again), "{again}");
}

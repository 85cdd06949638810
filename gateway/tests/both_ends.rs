//! Both ends of a relay take up places in tables that all clients share: each client is
//! charged for both, and a backend that says nothing keeps nobody else out. With the
//! shipped sizes.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up fails")]
#![allow(clippy::indexing_slicing, reason = "a test that finds less fails")]

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use gateway::budget::most_with_backends;
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
/// The first of many listeners with plaintext in, TLS out.
const TENANT: u16 = 100;

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
    all.extend([both, plain]);
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

/// So many listeners with plaintext in and TLS out, each to a backend of its own.
fn sending(count: u16) -> World {
    let sending = listeners().into_iter().find(|l| l.port == SENDING).unwrap();
    let mut all = listeners();
    all.retain(|listener| listener.port == FORWARD);
    all.extend((0..count).map(|number| {
        let mut one = Listener {
            name: format!("tenant-{number}"),
            port: TENANT + number,
            ..sending.clone()
        };
        if let Backend::Connect(upstream) = &mut one.backend {
            upstream.address = Address(([10, 9, 9, 8], TENANT + number).into());
        }
        one
    }));
    World::new(all)
}

/// The handshake with a backend that a client of this listener brings; `None` while it
/// waits.
fn come(world: &mut World, port: u16, number: u16) -> Option<ConnectionId> {
    let before = to_backends(world);
    world.arrive(port, address(number));
    world.settle();
    let after = to_backends(world);
    let mut new = after.iter().filter(|one| !before.contains(one));
    let found = new.next().copied();
    assert_eq!(
        new.next(),
        None,
        "port {port} number {number} of {}: {found:?}",
        after.len()
    );
    found
}

#[test]
fn backends_that_say_nothing_keep_neither_clients_nor_other_backends_out() {
    for silent in [1, 2, 10, 28] {
        let mut world = sending(silent + 1);
        let most = usize::from(most_with_backends(world.sizes.handshakes));
        // One listener after another, each with many clients: the first has half.
        let each = 600 / silent;
        for listener in 0..silent {
            for number in 0..each.min(250) {
                world.arrive(TENANT + listener, address(listener * each + number));
                world.settle();
            }
        }
        let in_progress = to_backends(&world).len();
        assert!(in_progress < most, "{silent}: {in_progress} of {most}");
        assert!(in_progress > most / 2 - 2, "{silent}: {in_progress}");
        assert_served(&mut world, address(2000));
        // Who comes last is served at once, and again.
        for number in 0..20 {
            let honest = come(&mut world, TENANT + silent, 3000 + number);
            let honest = honest.unwrap_or_else(|| panic!("{silent}: {number} waits"));
            let slot = world.shim.borrow_mut().establish(honest).unwrap();
            world.settle();
            assert!(world.has_session(slot));
        }
        assert_eq!(world.shim.borrow().asked, 0, "nobody gives way");
    }
}

#[test]
fn of_backends_that_wait_the_listener_with_the_fewest_in_progress_is_next() {
    // As many listeners as there can be: more than there are handshakes with backends.
    let silent = 127;
    let mut world = sending(silent + 1);
    let most = usize::from(most_with_backends(world.sizes.handshakes));
    for number in 0..5 {
        for listener in 0..silent {
            world.arrive(TENANT + listener, address(number * silent + listener));
            world.settle();
        }
    }
    let in_progress = to_backends(&world);
    assert_eq!(in_progress.len(), most);
    assert_served(&mut world, address(2000));
    // It waits as every other whose listener has none does, and for no other: those that
    // have one are behind it, however long they wait.
    world.pass(7000);
    assert_eq!(come(&mut world, TENANT + silent, 3000), None);
    let timeout = HandshakeError::Peer(PeerError::Deadline);
    let without = usize::from(silent) - most;
    for (number, gone) in in_progress.iter().take(without + 1).enumerate() {
        let before = to_backends(&world);
        world.shim.borrow_mut().fail(*gone, timeout);
        world.settle();
        let after = to_backends(&world);
        assert_eq!(before.len(), after.len());
        let new = *after.iter().find(|one| !before.contains(one)).unwrap();
        // Its time begins with it.
        let deadline = world.shim.borrow_mut().deadline(new);
        assert_eq!(deadline, Some(world.now() + Duration::from_secs(10)));
        if number == without {
            let slot = world.shim.borrow_mut().establish(new).unwrap();
            world.settle();
            assert!(world.has_session(slot));
            let log = world.log.borrow();
            let last = log.last().unwrap();
            assert!(last.starts_with("handshake ok tenant-127 "), "{last}");
        }
    }
}

#[test]
fn a_listener_that_has_none_goes_before_one_whose_clients_came_earlier() {
    let mut world = sending(3);
    for number in 0..250 {
        world.arrive(TENANT, address(number));
        world.settle();
    }
    let first = to_backends(&world);
    assert_eq!(first.len(), 55, "half, but for the two that have none");
    // The table is full of clients' handshakes that are not to be had back.
    world.shim.borrow_mut().is_deaf = true;
    for number in 0..world.sizes.handshakes {
        world.arrive(FORWARD, address(1000 + number));
        world.settle();
    }
    let closed = HandshakeError::Peer(PeerError::Closed);
    let full = world.shim.borrow().in_progress();
    assert_eq!(full, usize::from(world.sizes.handshakes));
    for number in 0..10 {
        assert_eq!(come(&mut world, TENANT + 1, 2000 + number), None);
    }
    assert_eq!(come(&mut world, TENANT + 2, 3000), None);
    // One place after another: to the one that has none, in the order of arrival, then to
    // the one with fewer.
    for gone in &first[..4] {
        world.shim.borrow_mut().fail(*gone, closed);
        world.settle();
    }
    let begun: Vec<_> = to_backends(&world);
    let begun = begun.iter().filter(|one| !first.contains(one));
    let begun: Vec<_> = begun.copied().collect();
    assert_eq!(begun.len(), 4);
    for one in begun {
        assert!(world.shim.borrow_mut().establish(one).is_some());
    }
    world.settle();
    let log = world.log.borrow();
    let of = |name: &str| log.iter().filter(|line| line.contains(name)).count();
    assert_eq!((of(" tenant-1 "), of(" tenant-2 ")), (3, 1), "{log:#?}");
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
    let most = usize::from(most_with_backends(sizes.handshakes) / 2);
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

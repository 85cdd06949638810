//! Who was here before goes first, and nobody waits for ever (ADR 0152), with the shipped
//! sizes.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up fails")]
#![allow(clippy::indexing_slicing, reason = "a test that finds less fails")]

mod world;

use std::net::SocketAddr;

use ipc::control::{HandshakeError, PeerError, RequestError, Resource, Standing};
use ipc::net::{ConnectionId, Readiness};
use tls::Alert;
use world::net::State;
use world::{FORWARD, World, address, listeners, same};

/// Clients that wait for a handshake at once, at most.
const WAITING: u16 = 64;

/// All handshakes are those of clients that have shown a whole hello: none is displaced.
fn full() -> (World, Vec<ConnectionId>) {
    let mut world = World::new(listeners());
    let mut busy = Vec::new();
    for number in 0..world.sizes.handshakes {
        begin(&mut world, &mut busy, address(number));
    }
    assert_eq!(world.shim.borrow().in_progress(), busy.len());
    (world, busy)
}

fn come(world: &mut World, from: SocketAddr) -> ConnectionId {
    let connection = world.arrive(FORWARD, from);
    world.settle();
    connection
}

/// A client that has shown a whole hello.
fn begin(world: &mut World, busy: &mut Vec<ConnectionId>, from: SocketAddr) {
    let connection = come(world, from);
    assert!(world.shim.borrow_mut().speak(connection));
    busy.push(connection);
}

/// One handshake is over without anybody's fault.
fn end(world: &mut World, busy: &mut Vec<ConnectionId>) {
    let connection = busy.pop().unwrap();
    let ended = HandshakeError::Resource(Resource::Memory);
    world.shim.borrow_mut().fail(connection, ended);
    world.settle();
}

/// A session of this address, that is over.
fn make_known(world: &mut World, from: SocketAddr) {
    let slot = world.session(FORWARD, from);
    world.reset(slot);
}

fn has_begun(world: &World, connection: ConnectionId) -> bool {
    world.shim.borrow_mut().has(connection)
}

#[test]
fn a_known_address_begins_before_new_ones_that_came_before_it() {
    let (mut world, mut busy) = full();
    end(&mut world, &mut busy);
    make_known(&mut world, same(1));
    begin(&mut world, &mut busy, address(500));
    let new: Vec<_> = (1000..1040)
        .map(|number| come(&mut world, address(number)))
        .collect();
    let known = come(&mut world, same(2));
    end(&mut world, &mut busy);
    assert!(has_begun(&world, known));
    assert!(!new.iter().any(|one| has_begun(&world, *one)));
    assert_eq!(
        world.shim.borrow_mut().standing(known),
        Some(Standing::Known)
    );
}

#[test]
fn sessions_of_ten_thousand_addresses_do_not_make_a_regular_client_forgotten() {
    let mut world = World::new(listeners());
    let regular = |port| SocketAddr::from(([192, 0, 2, 1], port));
    make_known(&mut world, regular(1));
    world.pass(61_000);
    make_known(&mut world, regular(2));
    for number in 0..10_000 {
        make_known(&mut world, address(number));
        if number % 100 == 0 {
            world.pass(125);
        }
    }
    let next = come(&mut world, regular(3));
    assert_eq!(
        world.shim.borrow_mut().standing(next),
        Some(Standing::Known)
    );
    // Who came once is forgotten.
    let first = come(&mut world, address(0));
    assert_eq!(world.shim.borrow_mut().standing(first), Some(Standing::New));
}

#[test]
fn a_new_address_begins_beside_any_number_of_known_ones() {
    let (mut world, mut busy) = full();
    end(&mut world, &mut busy);
    (1000..1040).for_each(|number| make_known(&mut world, address(number)));
    begin(&mut world, &mut busy, address(500));
    let new = come(&mut world, same(1));
    for number in 1000..1040 {
        come(&mut world, address(number));
    }
    // One place in four goes to whoever has waited longest.
    let freed = (1..=4).find(|_| {
        end(&mut world, &mut busy);
        has_begun(&world, new)
    });
    assert!(freed.is_some());
    assert_eq!(world.shim.borrow_mut().standing(new), Some(Standing::New));
}

#[test]
fn many_of_a_known_address_do_not_keep_new_ones_out_of_the_line() {
    let (mut world, mut busy) = full();
    end(&mut world, &mut busy);
    make_known(&mut world, same(0));
    begin(&mut world, &mut busy, address(500));
    let many: Vec<_> = (1..=WAITING)
        .map(|port| come(&mut world, same(port)))
        .collect();
    let new: Vec<_> = (0..WAITING - 8)
        .map(|number| come(&mut world, address(1000 + number)))
        .collect();
    let wait = |all: &[ConnectionId]| {
        let net = world.net.borrow();
        let waiting = all.iter().filter(|one| net.state(**one) != State::Aborted);
        waiting.count()
    };
    assert_eq!(wait(&many), 8);
    assert_eq!(wait(&new), new.len());
    // Among equals the known ones stay.
    come(&mut world, address(3000));
    let net = world.net.borrow();
    let waiting = many.iter().filter(|one| net.state(**one) != State::Aborted);
    assert_eq!(waiting.count(), 8);
}

#[test]
fn the_peer_s_fault_is_remembered_and_nobody_else_s() {
    let peer = [
        HandshakeError::Peer(PeerError::Closed),
        HandshakeError::Peer(PeerError::NotTls),
        HandshakeError::Peer(PeerError::AlertSent(Alert::DECODE_ERROR)),
        // It owed the next message while others waited.
        HandshakeError::Resource(Resource::Displaced),
    ];
    let others = [
        // It may be that it waited for this side.
        HandshakeError::Peer(PeerError::Deadline),
        HandshakeError::Resource(Resource::Memory),
        HandshakeError::Request(RequestError::Connection),
        HandshakeError::Cancelled,
        HandshakeError::ServerRestarted,
    ];
    let mut world = World::new(listeners());
    let mut number = 0;
    let mut after = |world: &mut World, error| {
        number += 1;
        let first = come(world, address(number));
        let is_displaced = error == HandshakeError::Resource(Resource::Displaced);
        world.shim.borrow_mut().displaced += usize::from(is_displaced);
        world.shim.borrow_mut().fail(first, error);
        world.settle();
        let second = come(world, address(number));
        world.shim.borrow_mut().standing(second).unwrap()
    };
    for error in peer {
        assert_eq!(after(&mut world, error), Standing::Penalized, "{error:?}");
    }
    for error in others {
        assert_eq!(after(&mut world, error), Standing::New, "{error:?}");
    }
}

#[test]
fn a_hello_that_came_late_is_remembered_and_an_orderly_end_is_not() {
    for (readiness, expected) in [
        (Readiness::Late, Standing::Penalized),
        (Readiness::Ended, Standing::New),
    ] {
        let mut world = World::new(listeners());
        world
            .net
            .borrow_mut()
            .arrive_as(FORWARD, same(1), readiness);
        world.settle();
        let next = come(&mut world, same(2));
        let standing = world.shim.borrow_mut().standing(next);
        assert_eq!(standing, Some(expected), "{readiness:?}");
        // For a while.
        world.pass(16_000);
        let last = come(&mut world, same(3));
        let standing = world.shim.borrow_mut().standing(last);
        assert_eq!(standing, Some(Standing::New), "{readiness:?}");
    }
}

//! Connections that their owner gives up: what still goes out, and what its peer gets.

mod world;

use std::time::Duration;

use ipc::badge::Badge;
use ipc::channel::Status;
use ipc::clock::Instant;
use ipc::net::{Answer, ConnectionId, NetError, Owner, Request};
use ipc::stats::netstack as counters;
use netstack_server::config;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::State;
use world::{PORT, World, end, has, pattern};

#[test]
fn a_released_connection_still_sends_what_was_written() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let slot = world.attach(connection);
    let bytes = pattern(8192);
    assert_eq!(world.gateway.write(slot, &bytes), Ok(8192));
    assert_eq!(
        world.ask(&Request::Release { connection }),
        Ok(Answer::Done)
    );
    let again = world.ask(&Request::Release { connection });
    assert_eq!(again, Err(NetError::NoConnection));
    world.run(20);
    assert_eq!(world.peer.receive(handle), bytes);
    assert_eq!(world.peer.socket(handle).state(), State::CloseWait);
    world.peer.socket(handle).close();
    world.run(10);
    world.sleep(Duration::from_secs(20));
    assert_eq!(world.count(counters::CONNECTIONS), 0);
}

#[test]
fn a_released_connection_that_its_peer_does_not_close_is_cut_off() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    assert_eq!(
        world.ask(&Request::Release { connection }),
        Ok(Answer::Done)
    );
    world.run(10);
    assert_eq!(world.count(counters::CONNECTIONS), 1);
    world.sleep(config::LINGER + Duration::from_millis(10));
    world.run(2);
    assert_eq!(world.count(counters::CONNECTIONS), 0);
    assert_eq!(world.peer.socket(handle).state(), State::Closed);
}

#[test]
fn connections_that_are_over_keep_no_more_than_sixty_four_sockets() {
    let mut world = World::new();
    for number in 0..100 {
        let (handle, connection) = world.connected();
        let slot = world.attach(connection);
        world.ask(&Request::Release { connection }).unwrap();
        world.run(3);
        world.peer.socket(handle).close();
        world.run(3);
        assert!(!has(world.gateway.peer_status(slot), Status::OPEN));
        world.peer.sockets.remove(handle);
        let left = world.count(counters::CONNECTIONS);
        assert!(left <= 65 && left > number.min(63), "{left} after {number}");
    }
    assert_eq!(world.count(counters::EVICTED), 0, "nobody lacked room");
}

#[test]
fn an_aborted_connection_is_reset_and_gone() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let slot = world.attach(connection);
    assert_eq!(world.ask(&Request::Abort { connection }), Ok(Answer::Done));
    world.run(3);
    assert_eq!(world.peer.socket(handle).state(), State::Closed);
    assert!(!has(world.gateway.peer_status(slot), Status::OPEN));
    assert_eq!(world.count(counters::CONNECTIONS), 0);
    for request in [
        Request::Abort { connection },
        Request::Attach {
            connection,
            deadline: Instant::NEVER,
        },
    ] {
        assert_eq!(world.ask(&request), Err(NetError::NoConnection));
    }
    // The place is used again, the name is not.
    let (_, next) = world.connected();
    assert_ne!(next, connection);
    assert_eq!(
        world.ask(&Request::Attach {
            connection,
            deadline: Instant::NEVER
        }),
        Err(NetError::NoConnection)
    );
}

#[test]
fn a_release_with_a_reset_sends_all_that_was_written_first() {
    let (mut world, handle, connection) = narrow();
    let slot = world.attach(connection);
    let written = vec![b'x'; 20_000];
    // More than the socket holds, and the peer has not read a byte of it yet.
    let count = world.gateway.write(slot, &written).unwrap();
    world
        .ask(&Request::ReleaseWithReset { connection })
        .unwrap();
    assert!(count > 4096, "{count}");
    let mut received = Vec::new();
    for _ in 0..100 {
        world.run(1);
        received.extend(world.peer.receive(handle));
    }
    assert_eq!(received.len(), count);
    // Not a FIN: that would say that it was all.
    assert_eq!(world.peer.socket(handle).state(), State::Closed);
    assert_eq!(world.count(counters::CONNECTIONS), 0);
    // To a client alone: the control right has `Abort`.
    let (_, connection) = world.connected();
    let request = Request::ReleaseWithReset { connection };
    assert_eq!(world.call(Badge::Control, &request), Err(NetError::Denied));
}

/// A connection to a peer that takes 1,024 bytes at a time.
fn narrow() -> (World, SocketHandle, ConnectionId) {
    let mut world = World::new();
    world.listen(64);
    let handle = world.peer.connect_with(PORT, 1024);
    world.run(8);
    let Some(connection) = world.accept() else {
        panic!("no connection waits");
    };
    (world, handle, connection)
}

#[test]
fn a_release_with_a_reset_waits_no_longer_than_a_release() {
    let (mut world, _, connection) = narrow();
    let slot = world.attach(connection);
    world.gateway.write(slot, &[b'x'; 20_000]).unwrap();
    world
        .ask(&Request::ReleaseWithReset { connection })
        .unwrap();
    // The peer reads nothing.
    world.sleep(config::LINGER - Duration::from_secs(1));
    assert_eq!(world.count(counters::CONNECTIONS), 1);
    world.sleep(Duration::from_secs(2));
    assert_eq!(world.count(counters::CONNECTIONS), 0);
}

#[test]
fn a_release_with_a_reset_resets_after_a_half_close_too() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let slot = world.attach(connection);
    end(&mut world.gateway, slot, Status::END);
    world.run(6);
    assert_eq!(world.peer.socket(handle).state(), State::CloseWait);
    world
        .ask(&Request::ReleaseWithReset { connection })
        .unwrap();
    world.run(4);
    assert_eq!(world.peer.socket(handle).state(), State::Closed);
    assert_eq!(world.count(counters::CONNECTIONS), 0);
}

#[test]
fn what_lingers_gives_memory_between_owners_to_who_comes() {
    let mut world = World::new();
    world.listen(64);
    // Peers that read nothing: the socket is full, the ring too.
    for _ in 0..300 {
        world.peer.connect_with(PORT, 1024);
        world.run(8);
        let connection = world.accept().unwrap();
        let slot = world.attach(connection);
        for _ in 0..3 {
            world.gateway.write(slot, &[7; 8192]).unwrap();
            world.gateway.notify(slot);
            world.run(1);
        }
        world
            .ask(&Request::ReleaseWithReset { connection })
            .unwrap();
        world.run(1);
    }
    assert!(world.count(counters::EVICTED) > 30, "the memory was full");
    let handle = world.peer.connect(PORT);
    world.run(8);
    let connection = world.accept().unwrap();
    world.attach(connection);
    world.peer.send(handle, &[22; 1700]);
    world.run(6);
    let moved = world.try_move(connection, Owner::Offload(0), Instant::NEVER, None);
    assert!(moved.is_ok(), "{moved:?}");
}

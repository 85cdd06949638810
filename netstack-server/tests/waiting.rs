//! Bytes of a peer that wait for room in the ring of their owner.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use ipc::channel::{Event, Status};
use world::{World, has, pattern, take_events};

#[test]
fn an_owner_is_told_when_bytes_begin_to_wait_for_room() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let slot = world.attach(connection);
    let bytes = pattern(world.gateway.rx_capacity());
    let mut offered = 0;
    for _ in 0..200 {
        offered += world.peer.send(handle, &bytes[offered..]);
        world.step();
    }
    // The ring is full, and nothing waits.
    assert_eq!(world.gateway.readable(slot), Ok(bytes.len()));
    assert!(has(world.gateway.peer_status(slot), Status::IDLE));
    take_events(&mut world.gateway);
    world.peer.send(handle, b"one more");
    world.run(8);
    assert!(!has(world.gateway.peer_status(slot), Status::IDLE));
    let told = |events: Vec<Event>| events.iter().filter(|e| **e == Event::Slot(slot)).count();
    assert_eq!(told(take_events(&mut world.gateway)), 1);
    // Once.
    world.peer.send(handle, b"and more");
    world.run(8);
    assert_eq!(told(take_events(&mut world.gateway)), 0);
}

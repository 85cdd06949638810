//! Which handshake makes room for another, and which one is late.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

mod client;
mod shipped;
mod world;

use client::{Client, ClientOptions};
use std::time::Duration;

use ipc::clock::Instant;
use ipc::control::{HandshakeError, PeerError, Resource};
use ipc::handshake::{Directive, Origin};
use ipc::tls::Mode;
use world::World;

use shipped::{HANDSHAKES, endless, failed, origin, start, world};

#[test]
fn the_oldest_that_said_no_whole_hello_gives_way() {
    let mut world = world(Mode::Autonomous);
    for slot in 0..HANDSHAKES {
        start(&mut world, slot, origin(u32::from(slot % 2)));
    }
    // The two oldest: one has said half a hello, the other a whole one.
    let hello = endless(4200, 4204, 16_000);
    world_exchange(&mut world, 0, &hello[..2000]);
    let client = Client::new(&world, &ClientOptions::default());
    world_exchange(&mut world, 1, &client.outgoing);
    let displace = |world: &mut World, slot, same_group| {
        let directive = Directive::Displace {
            slot,
            generation: 1,
            same_group,
        };
        world.shim.send(&directive).unwrap();
        world.run();
        failed(world)
    };
    let displaced = HandshakeError::Resource(Resource::Displaced);
    assert_eq!(displace(&mut world, 200, false), Some((0, displaced)));
    assert_eq!(displace(&mut world, 201, false), Some((2, displaced)));
    assert_eq!(displace(&mut world, 203, true), Some((3, displaced)));
    assert_eq!(displace(&mut world, 205, true), Some((5, displaced)));
    let other = Directive::Displace {
        slot: 100,
        generation: 2,
        same_group: false,
    };
    world.shim.send(&other).unwrap();
    world.run();
    assert_eq!(failed(&mut world), None);
}

#[test]
fn who_owes_an_answer_for_half_a_second_gives_way_when_all_have_said_hello() {
    let mut world = world(Mode::Autonomous);
    for slot in 0..3 {
        start(&mut world, slot, origin(0));
        let client = Client::new(&world, &ClientOptions::default());
        world_exchange(&mut world, slot, &client.outgoing);
    }
    let displace = |world: &mut World, slot| {
        let directive = Directive::Displace {
            slot,
            generation: 1,
            same_group: false,
        };
        world.shim.send(&directive).unwrap();
        world.run();
        failed(world)
    };
    world::set_passed(Duration::from_millis(499));
    assert_eq!(displace(&mut world, 2), None);
    world::set_passed(Duration::from_millis(500));
    let displaced = HandshakeError::Resource(Resource::Displaced);
    assert_eq!(displace(&mut world, 2), Some((0, displaced)));
    // What has come and was not looked at yet is no fault of the peer's: the directive
    // is read before the connections are.
    assert_eq!(world.net.write(1, &[22]), Ok(1));
    assert_eq!(displace(&mut world, 1), Some((2, displaced)));
}

/// As [`World::exchange`], for slots that the test started itself.
fn world_exchange(world: &mut World, slot: u16, bytes: &[u8]) {
    assert_eq!(world.net.write(slot, bytes), Ok(bytes.len()));
    world.run();
}

#[test]
fn a_handshake_that_the_network_stack_forgets_is_ended_by_its_deadline() {
    let mut world = world(Mode::Autonomous);
    let past = Origin {
        deadline: Instant::default(),
        ..origin(0)
    };
    start(&mut world, 3, past);
    world.run();
    let overdue = HandshakeError::Peer(PeerError::Deadline);
    assert_eq!(failed(&mut world), Some((3, overdue)));
}

//! Which handshake makes room for another, and which one is late.

use crate::client::{Client, ClientOptions, established};
use std::time::Duration;

use crate::world::{World, parameters};
use ipc::clock::Instant;
use ipc::control::{HandshakeError, PeerError, Resource};
use ipc::handshake::{Directive, Origin};
use ipc::tls::Mode;

use crate::shipped::{HANDSHAKES, endless, failed, origin, start, world};

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
    crate::world::set_passed(Duration::from_millis(499));
    assert_eq!(displace(&mut world, 2), None);
    crate::world::set_passed(Duration::from_millis(500));
    let displaced = HandshakeError::Resource(Resource::Displaced);
    assert_eq!(displace(&mut world, 2), Some((0, displaced)));
    // What has come and was not looked at yet is no fault of the peer's: the directive
    // is read before the connections are.
    assert_eq!(world.net.write(1, &[22]), Ok(1));
    assert_eq!(displace(&mut world, 1), Some((2, displaced)));
}

fn ask_for_room(world: &mut World, slot: u16) {
    let directive = Directive::Displace {
        slot,
        generation: 1,
        same_group: false,
    };
    world.shim.send(&directive).unwrap();
}

/// Room is needed, as the handshake in `slot` says: that is taken in before anything is
/// looked at.
fn displaced_now(world: &mut World, slot: u16) -> Option<u16> {
    ask_for_room(world, slot);
    world.turn();
    let (slot, error) = failed(world)?;
    assert_eq!(error, HandshakeError::Resource(Resource::Displaced));
    Some(slot)
}

#[test]
fn hellos_of_which_a_byte_comes_now_and_then_in_every_slot_give_way() {
    let mut world = world(Mode::Autonomous);
    // Each byte in a record of its own: it is taken, and is no more of a hello than before.
    let records = endless(4200, 100, 1);
    let mut records = records.chunks(6);
    for slot in 0..HANDSHAKES {
        start(&mut world, slot, origin(u32::from(slot)));
    }
    let mut trickle = |world: &mut World, passed| {
        crate::world::set_passed(Duration::from_millis(passed));
        let record = records.next().unwrap();
        // The oldest are looked at last.
        for slot in (0..HANDSHAKES).rev() {
            assert_eq!(world.net.write(slot, record), Ok(6));
            world.net.notify(slot);
        }
    };
    for passed in [0, 100, 200, 300, 400, 499] {
        trickle(&mut world, passed);
        // More has come of each, and was not looked at yet.
        assert_eq!(
            displaced_now(&mut world, HANDSHAKES - 1),
            None,
            "after {passed} ms"
        );
        world.run();
    }
    trickle(&mut world, 500);
    world.run();
    for oldest in 0..3 {
        trickle(&mut world, 600 + u64::from(oldest));
        // Some were looked at; the others wait for that.
        world.turn();
        assert_eq!(displaced_now(&mut world, HANDSHAKES - 1), Some(oldest));
    }
}

#[test]
fn who_has_sent_the_rest_of_its_message_is_kept_until_that_was_looked_at() {
    let mut world = world(Mode::Autonomous);
    let other = HANDSHAKES - 1;
    world.start(0, parameters(&["web"]));
    // It has nothing to say, and is the younger one.
    start(&mut world, other, origin(0));
    let mut client = Client::new(&world, &ClientOptions::default());
    let hello = core::mem::take(&mut client.outgoing);
    world.exchange(0, &hello[..100]);
    crate::world::set_passed(Duration::from_millis(499));
    world.exchange(0, &hello[100..110]);
    // This side was busy for long: the rest is there, and it was not looked at. A part of
    // what is next has come with it.
    crate::world::set_passed(Duration::from_secs(2));
    let next = [20, 3, 3];
    let rest = [&hello[110..], &next].concat();
    assert_eq!(world.net.write(0, &rest), Ok(rest.len()));
    world.net.notify(0);
    assert_eq!(displaced_now(&mut world, other), Some(other));
    // Its hello was whole: what it sends next has as much time.
    let answer = world.exchange(0, &[]);
    client.receive(&answer);
    let rest = client.outgoing.strip_prefix(&next).unwrap();
    assert_eq!(world.net.write(0, rest), Ok(rest.len()));
    world.net.notify(0);
    ask_for_room(&mut world, 0);
    world.run();
    established(world.completion().unwrap());
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

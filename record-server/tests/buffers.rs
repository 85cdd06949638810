//! Who waits for a buffer, for a record that its ring has no room for: with the shipped sizes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod shipped;

use std::time::Duration;

use shipped::stream::Stream;
use shipped::{ALONE, SLOTS, World};
use tls::{CipherSuite, Role};

const RECORD: usize = 16 * 1024;

/// Others hold what is lent; none of them asks for a buffer.
fn fill(world: &mut World, from: u16) {
    for slot in from..SLOTS {
        while world.net.write_quietly(slot, &[23; RECORD]).unwrap() > 0 {}
        world.net.set_idle(slot, true);
    }
}

fn empty(world: &mut World, from: u16) {
    for slot in from..SLOTS {
        world.net.open(slot);
    }
}

fn read(world: &mut World, slot: u16) -> usize {
    world.app.read(slot, &mut [0; 2 * RECORD]).unwrap()
}

fn world() -> World {
    World::new(CipherSuite::Aes128GcmSha256, Role::Server)
}

/// 64 sessions hold a buffer, of records of which the last byte has not come.
fn holders(world: &mut World) -> Vec<Stream> {
    fill(world, 100);
    let mut held: Vec<_> = (0..64)
        .map(|s| Stream::new(world, s, &[&[1; RECORD]]))
        .collect();
    for stream in &mut held {
        for _ in 0..40 {
            stream.go_on(world, RECORD);
            world.run();
        }
        assert_eq!(world.net.unread(stream.slot).unwrap(), 0);
    }
    held
}

#[test]
fn who_waited_and_needs_none_any_more_keeps_nobody_back() {
    let _alone = ALONE.lock().unwrap();
    let mut world = world();
    let mut held = holders(&mut world);
    let mut a = Stream::new(&mut world, 64, &[&[2; RECORD]]);
    assert!(!a.go_on(&mut world, usize::MAX));
    world.run();
    // Others give back what they had, and its record is whole in the ring.
    empty(&mut world, 100);
    assert!(a.go_on(&mut world, usize::MAX));
    world.run();
    assert_eq!(read(&mut world, 64), RECORD);
    world.run();
    fill(&mut world, 100);
    // All buffers come free.
    for stream in &mut held {
        assert!(stream.go_on(&mut world, usize::MAX));
        world.run();
        assert_eq!(read(&mut world, stream.slot), RECORD);
    }
    world.run();
    let mut b = Stream::new(&mut world, 65, &[&[3; RECORD]]);
    let (mut got, mut waited) = (0, false);
    for _ in 0..6_000 {
        // As the network stack does: an event for new bytes, and one for the first wait.
        let before = b.sent;
        let waits = b.write(&mut world, usize::MAX);
        world.net.set_idle(65, !waits);
        if b.sent != before || (waits && !waited) {
            world.net.notify(65);
        }
        waited = waits;
        world.run();
        got += read(&mut world, 65);
        world.now = world.now + Duration::from_millis(10);
        if world.server.next_deadline() <= world.now {
            world.run();
        }
        if got == RECORD {
            break;
        }
    }
    assert_eq!(got, RECORD, "after a minute, with 64 buffers free");
}

#[test]
fn one_that_waits_costs_one_holder() {
    let _alone = ALONE.lock().unwrap();
    let mut world = world();
    let held = holders(&mut world);
    world.now = world.now + Duration::from_secs(100);
    world.run();
    assert!(held.iter().all(|s| world.is_alive(s.slot)));
    let mut a = Stream::new(&mut world, 64, &[&[2; RECORD]]);
    a.go_on(&mut world, RECORD);
    world.run();
    world.now = world.now + Duration::from_millis(1);
    world.run();
    let alive = held.iter().filter(|s| world.is_alive(s.slot)).count();
    assert_eq!(alive, 63);
}

#[test]
fn each_that_waits_ends_one_that_stalls_and_none_that_goes_on() {
    let _alone = ALONE.lock().unwrap();
    let mut world = world();
    fill(&mut world, 100);
    let mut held: Vec<_> = (0..64)
        .map(|s| Stream::new(&mut world, s, &[&[1; RECORD]]))
        .collect();
    let alive = |world: &World| (0..64).filter(|slot| world.is_alive(*slot)).count();
    for _ in 0..2 {
        for stream in &mut held {
            stream.go_on(&mut world, RECORD);
            world.run();
        }
        world.now = world.now + Duration::from_millis(150);
    }
    let mut a = Stream::new(&mut world, 64, &[&[2; RECORD]]);
    a.go_on(&mut world, usize::MAX);
    world.run();
    assert_eq!(alive(&world), 64, "more came of each 0.15 s ago");
    world.now = world.now + Duration::from_millis(300);
    world.run();
    assert_eq!(alive(&world), 63, "for the one that waits");
    let mut b = Stream::new(&mut world, 65, &[&[3; RECORD]]);
    b.go_on(&mut world, usize::MAX);
    world.run();
    assert_eq!(alive(&world), 62, "and for the one that comes");
}

#[test]
fn two_buffers_that_come_free_in_a_turn_go_to_two() {
    let _alone = ALONE.lock().unwrap();
    let mut world = world();
    let mut held = holders(&mut world);
    let mut both: Vec<_> = (64..66)
        .map(|s| Stream::new(&mut world, s, &[&[2; RECORD]]))
        .collect();
    for stream in &mut both {
        stream.go_on(&mut world, RECORD);
        world.run();
    }
    // No event of these comes any more: the network stack waits for room.
    for stream in &mut held[..2] {
        assert!(stream.go_on(&mut world, usize::MAX));
    }
    world.run();
    for _ in 0..100 {
        world.now = world.now + Duration::from_millis(10);
        world.run();
    }
    let unread: Vec<_> = (64..66).map(|s| world.net.unread(s).unwrap()).collect();
    assert_eq!(unread, [0, 0], "a second later, with 1 buffer free");
}

#[test]
fn a_whole_record_that_its_application_has_no_room_for_is_no_fault_of_its_peer() {
    let _alone = ALONE.lock().unwrap();
    let mut world = world();
    // The application's ring: others hold what is lent.
    for slot in 100..SLOTS {
        for _ in 0..6 {
            let mut s = Stream::new(&mut world, slot, &[&[1; 900]]);
            s.go_on(&mut world, usize::MAX);
            world.run();
        }
    }
    let mut held = holders(&mut world);
    // Each of the 64 has a little that is not read.
    for stream in &mut held {
        for _ in 0..40 {
            stream.go_on(&mut world, usize::MAX);
            world.run();
        }
        assert_eq!(stream.sent, stream.bytes.len(), "whole");
    }
    let mut a = Stream::new(&mut world, 64, &[&[2; RECORD]]);
    a.go_on(&mut world, RECORD);
    world.run();
    world.now = world.now + Duration::from_millis(2001);
    world.run();
    let alive = held.iter().filter(|s| world.is_alive(s.slot)).count();
    assert_eq!(alive, 64, "their peers have sent all of it");
}

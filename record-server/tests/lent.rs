//! Records that the rings have no room for, when others hold what is lent: with the shipped
//! sizes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod shipped;

use std::time::Duration;

use ipc::badge::Badge;
use ipc::channel::Status;
use ipc::record::Request;
use ipc::transport::MAX_MESSAGE;
use record_server::budget;
use shipped::stream::Stream;
use shipped::{ALONE, SLOTS, World, heap};
use tls::{CipherSuite, Role};

const RECORD: usize = 16 * 1024;

fn text(seed: u16, length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| (index + usize::from(seed)) as u8)
        .collect()
}

/// The application reads what there is, and appends it; how much it was.
fn read(world: &mut World, slot: u16, to: &mut Vec<u8>) -> usize {
    let mut out = [0; 2 * RECORD];
    let count = world.app.read(slot, &mut out).unwrap();
    to.extend(&out[..count]);
    count
}

#[test]
fn a_record_of_every_session_at_once_gets_through() {
    let _alone = ALONE.lock().unwrap();
    let mut world = World::new(CipherSuite::Aes128GcmSha256, Role::Server);
    let held = world.held();
    // Each session's record has come but for its end.
    let mut streams: Vec<_> = (0..SLOTS)
        .map(|slot| Stream::new(&mut world, slot, &[&text(slot, RECORD)]))
        .collect();
    let mut got = vec![Vec::with_capacity(RECORD); usize::from(SLOTS)];
    got.iter_mut().for_each(|bytes| bytes.reserve_exact(RECORD));
    let of_test = heap::used() - held;
    heap::peak();
    for stream in &mut streams {
        stream.go_on(&mut world, RECORD);
    }
    world.run();
    let held: usize = (0..SLOTS).map(|s| world.net.unread(s).unwrap()).sum();
    assert!(held > 5 << 20, "the pool is full: {held}");
    assert_eq!(
        (0..SLOTS)
            .map(|s| world.app.readable(s).unwrap())
            .sum::<usize>(),
        0
    );
    // Now the rest comes, as there is room.
    for _ in 0..200 {
        for stream in &mut streams {
            stream.go_on(&mut world, usize::MAX);
        }
        world.run();
        for slot in 0..SLOTS {
            read(&mut world, slot, &mut got[usize::from(slot)]);
        }
        world.now = world.now + Duration::from_millis(1);
        world.run();
    }
    for slot in 0..SLOTS {
        assert!(world.is_alive(slot), "{slot}");
        assert!(got[usize::from(slot)] == text(slot, RECORD), "{slot}");
    }
    let (peak, most) = (heap::peak() - of_test, ipc::budget::total(&budget(SLOTS)));
    assert!(peak <= most, "{peak} of {most}");
}

#[test]
fn peers_that_never_end_their_record_make_room_for_those_that_do() {
    let _alone = ALONE.lock().unwrap();
    let mut world = World::new(CipherSuite::Aes128GcmSha256, Role::Server);
    let honest = SLOTS - 1;
    for slot in 0..honest {
        let mut stream = Stream::new(&mut world, slot, &[&[1; RECORD]]);
        stream.go_on(&mut world, RECORD);
        world.run();
    }
    let mut stream = Stream::new(&mut world, honest, &[&text(5, RECORD), &text(6, RECORD)]);
    let mut got = Vec::new();
    // They have come to wait, and nothing more comes of any.
    world.now = world.now + Duration::from_millis(450);
    world.run();
    let begun = world.now;
    while got.len() < 2 * RECORD {
        let waited = world.now.as_nanos() - begun.as_nanos();
        assert!(waited < 300_000_000, "{} bytes", got.len());
        stream.go_on(&mut world, usize::MAX);
        world.run();
        read(&mut world, honest, &mut got);
        if world.server.next_deadline() <= world.now {
            world.run();
        }
        world.now = world.now + Duration::from_millis(10);
    }
    assert!(got == [text(5, RECORD), text(6, RECORD)].concat());
    let ended = (0..honest).filter(|slot| !world.is_alive(*slot)).count();
    // Those that held what it and the others waited for.
    assert!((1..=64).contains(&ended), "{ended}");
    let is_told = |slot: &u16| {
        world
            .app
            .peer_status(*slot)
            .has(Status::RESET | Status::DEADLINE)
    };
    assert_eq!((0..SLOTS).filter(is_told).count(), ended);
    assert!(world.is_alive(honest));
}

#[test]
fn nobody_ends_for_a_slow_record_that_nobody_waits_for() {
    let _alone = ALONE.lock().unwrap();
    let mut world = World::new(CipherSuite::Aes128GcmSha256, Role::Server);
    for slot in 0..64 {
        Stream::new(&mut world, slot, &[&[1; RECORD]]).go_on(&mut world, 9000);
        world.run();
    }
    world.now = world.now + Duration::from_secs(100);
    world.run();
    assert!((0..64).all(|slot| world.is_alive(slot)));
}

#[test]
fn what_the_application_s_ring_has_no_room_for_comes_in_parts() {
    let _alone = ALONE.lock().unwrap();
    for suite in [
        CipherSuite::Aes128GcmSha256,
        CipherSuite::EcdheEcdsaAes128GcmSha256,
    ] {
        let mut world = World::new(suite, Role::Server);
        let honest = SLOTS - 1;
        // Others have plaintext that nobody reads.
        for _ in 0..3 {
            for slot in 0..honest {
                let mut stream = Stream::new(&mut world, slot, &[&[1; 2000]]);
                stream.go_on(&mut world, usize::MAX);
                world.run();
            }
        }
        let texts: Vec<_> = (0..3).map(|seed| text(seed, RECORD)).collect();
        let texts: Vec<_> = texts.iter().map(|text| &text[..]).collect();
        let mut stream = Stream::new(&mut world, honest, &texts);
        let mut got = Vec::new();
        let mut parts = 0;
        for _ in 0..1000 {
            stream.go_on(&mut world, usize::MAX);
            world.run();
            parts += usize::from(read(&mut world, honest, &mut got) > 0);
        }
        assert!(got == texts.concat(), "{}", got.len());
        assert!(parts > 10, "{parts}");
        // The end comes after all of it.
        assert!(!world.app.peer_status(honest).has(Status::END));
        let close = world.seal(honest, 21, &[1, 0]);
        world.net.write(honest, &close).unwrap();
        world.net.notify(honest);
        world.run();
        assert!(world.app.peer_status(honest).has(Status::END));
        assert!(world.is_alive(honest));
    }
}

#[test]
fn who_waits_for_a_buffer_has_its_turn_when_a_record_is_whole() {
    let _alone = ALONE.lock().unwrap();
    let mut world = World::new(CipherSuite::Aes128GcmSha256, Role::Server);
    let mut streams: Vec<_> = (0..SLOTS)
        .map(|slot| Stream::new(&mut world, slot, &[&[1; RECORD]]))
        .collect();
    for stream in &mut streams {
        stream.go_on(&mut world, RECORD);
    }
    world.run();
    // Those with a buffer have everything out of their rings but what waits for room.
    let in_ring = |world: &World, slot| world.net.unread(slot).unwrap() > 0;
    let waiting = |world: &World| (0..SLOTS).filter(|slot| in_ring(world, *slot)).count();
    let before = waiting(&world);
    let holder = (0..SLOTS).find(|slot| !in_ring(&world, *slot)).unwrap();
    while !streams[usize::from(holder)].go_on(&mut world, usize::MAX) {
        world.run();
    }
    world.run();
    assert!(world.app.readable(holder).unwrap() > 0);
    assert_eq!(waiting(&world), before - 1);
}

#[test]
fn what_the_network_stack_s_ring_has_no_room_for_goes_out_in_parts() {
    let _alone = ALONE.lock().unwrap();
    let mut world = World::new(CipherSuite::Aes128GcmSha256, Role::Server);
    let honest = SLOTS - 1;
    // Peers of others read nothing of what they are sent.
    for _ in 0..3 {
        for slot in 0..honest {
            world.app.write(slot, &[1; 2000]).unwrap();
            world.run();
        }
    }
    let mut left = &[7; 3 * RECORD][..];
    let mut got = 0;
    for _ in 0..1000 {
        let count = world.app.write(honest, left).unwrap();
        left = &left[count..];
        world.run();
        let mut out = [0; 2 * RECORD];
        got += world.net.read(honest, &mut out).unwrap();
    }
    assert!(left.is_empty(), "{} bytes", left.len());
    // With what protection adds to each part.
    assert!(got > 3 * RECORD + 10 * 22, "{got}");
    assert!(world.is_alive(honest));
}

#[test]
fn the_last_record_leaves_room_for_close_notify() {
    let _alone = ALONE.lock().unwrap();
    let mut world = World::new(CipherSuite::Aes128GcmSha256, Role::Server);
    for _ in 0..6 {
        for slot in 100..SLOTS {
            world.app.write(slot, &[1; 2000]).unwrap();
            world.run();
        }
    }
    // Peers that take nothing, of answers of every length around what a ring has room for.
    for slot in 0..60 {
        let text = vec![7; 2048 - usize::from(slot)];
        assert_eq!(world.app.write(slot, &text), Ok(text.len()));
        world.run();
        let before = world.net.readable(slot).unwrap();
        let close = Request::Close {
            slot,
            generation: 1,
        };
        let request = postcard::to_allocvec(&close).unwrap();
        let word = Badge::Control.to_word();
        let (now, mut reply) = (world.now, [0; MAX_MESSAGE]);
        world.server.serve(word, &request, &mut reply, now);
        let alert = world.net.readable(slot).unwrap() - before;
        assert_eq!(alert, 5 + 2 + 1 + 16, "after {before} bytes");
    }
}

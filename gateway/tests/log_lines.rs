//! What a flood leaves of the log: a few lines, with counts, and room for others' lines.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up fails")]
#![allow(clippy::indexing_slicing, reason = "a test that finds less fails")]

mod world;

use ipc::control::{HandshakeError, PeerError};
use ipc::provision::LogWords;
use ipc::stats::gateway as counters;
use world::{FORWARD, STATUS, World, address, listeners, same};

#[test]
fn a_flood_of_handshakes_that_fail_is_a_few_lines_a_second_and_hides_nobody() {
    let mut world = World::new(listeners());
    for second in 0..10 {
        for number in 0..350 {
            let connection = world.arrive(FORWARD, same(second * 350 + number));
            world.settle();
            let wrong = HandshakeError::Peer(PeerError::NotTls);
            world.shim.borrow_mut().fail(connection, wrong);
            world.settle();
        }
        // Somebody else, at this listener and at another.
        for port in [FORWARD, STATUS] {
            let slot = world.session(port, address(second));
            world.reset(slot);
        }
        let other = world.arrive(STATUS, address(100 + second));
        world.settle();
        let closed = HandshakeError::Peer(PeerError::Closed);
        world.shim.borrow_mut().fail(other, closed);
        world.pass(1000);
    }
    assert_eq!(world.count(counters::FAILED), 3510);
    let log = world.log.borrow();
    let lines = |start: &str| {
        let found = log.iter().filter(|line| line.starts_with(start));
        found.cloned().collect::<Vec<_>>()
    };
    assert_eq!(lines("handshake ok at-1").len(), 10);
    assert_eq!(lines("handshake ok at-2").len(), 10);
    assert_eq!(lines("handshake failed at-1").len(), 10);
    let failed = lines("handshake failed at-2");
    assert!((80..=120).contains(&failed.len()), "{}", failed.len());
    // None is lost: those that were not logged are counted in the next line.
    let untold = failed.iter().filter_map(|line| line.split_once(" untold="));
    let untold: usize = untold
        .map(|(_, count)| count.parse::<usize>().unwrap())
        .sum();
    assert!((3100..3500).contains(&(untold + failed.len())), "{untold}");
}

#[test]
fn a_flood_at_a_backend_that_is_down_is_a_few_lines() {
    let mut world = World::new(listeners());
    world.net.borrow_mut().refuses = true;
    for number in 0..500 {
        world.session(FORWARD, same(number));
    }
    let log = world.log.borrow();
    let lines = log.iter().filter(|line| line.starts_with("backend "));
    assert!((1..40).contains(&lines.count()), "{log:?}");
    assert_eq!(world.count(counters::BACKEND_FAILED), 500);
}

#[test]
fn failures_that_should_not_be_told_are_counted_all_the_same() {
    let quiet = LogWords {
        failures: false,
        sessions: false,
        ..LogWords::default()
    };
    let mut world = World::logging(listeners(), quiet);
    let connection = world.arrive(FORWARD, address(1));
    world.settle();
    let wrong = HandshakeError::Peer(PeerError::NotTls);
    world.shim.borrow_mut().fail(connection, wrong);
    world.settle();
    world.net.borrow_mut().refuses = true;
    world.session(FORWARD, address(2));
    assert!(world.log.borrow().is_empty(), "{:?}", world.log.borrow());
    assert_eq!(world.count(counters::FAILED), 1);
    assert_eq!(world.count(counters::BACKEND_FAILED), 1);
}

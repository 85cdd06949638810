//! Clients and backends that stop in the middle: what is owed to them is sent, and each
//! is ended in time.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up fails")]
#![allow(clippy::indexing_slicing, reason = "a test that finds less fails")]

mod world;

use gateway::budget::PAGES;
use ipc::channel::Status;
use ipc::stats::gateway as counters;

use world::net::State;
use world::{FORWARD, SENDING, STATUS, World, address, listeners};

#[test]
fn unfinished_requests_are_told_so_in_time_and_leave() {
    let mut world = World::new(listeners());
    let head = [&b"GET / HTTP/1.1\r\nx: "[..], &[b'a'; 8000]].concat();
    let crowd = world.sizes.sessions - 1;
    let slots: Vec<_> = (0..crowd)
        .map(|number| {
            let slot = world.session(STATUS, address(number));
            world.send(slot, &head);
            slot
        })
        .collect();
    let honest = world.session(STATUS, address(1000));
    world.send(
        honest,
        b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text\r\n\r\n",
    );
    assert!(world.receive(honest).ends_with(b"# EOF\n"));
    world.pass(10_200);
    for slot in slots {
        assert!(
            world.receive(slot).starts_with(b"HTTP/1.1 408 "),
            "slot {slot}"
        );
        assert!(!world.has_session(slot));
    }
    assert_eq!(world.count(counters::REQUESTS_LATE), u64::from(crowd));
    assert_eq!(world.count(counters::ADDRESSES), 0);
}

#[test]
fn pages_are_made_for_a_few_at_once_and_for_who_reads() {
    let mut world = World::new(listeners());
    // Rows of a table: the page is longer than the ring, which is not read.
    for number in 0..100 {
        world.session(STATUS, address(1000 + number));
    }
    let ask = |world: &mut World, number| {
        let slot = world.session(STATUS, address(number));
        world.send(slot, b"GET / HTTP/1.1\r\n\r\n");
        slot
    };
    let all = u16::try_from(PAGES).unwrap();
    let slow: Vec<_> = (0..all).map(|number| ask(&mut world, number)).collect();
    let next = ask(&mut world, 100);
    let answer = String::from_utf8(world.receive(next)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: "));
    assert_eq!(world.count(counters::PAGES_BUSY), 1);
    world.pass(1200);
    // One of them reads a little: another is evicted.
    world
        .plain
        .borrow_mut()
        .read(slow[0], &mut [0; 2000])
        .unwrap();
    world.settle();
    let other = ask(&mut world, 101);
    let answer = String::from_utf8(world.receive(other)).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("</a>"),
        "{answer}"
    );
    assert!(world.has_session(slow[0]) && !world.has_session(slow[1]));
    let answer = world.receive(slow[0]);
    assert!(answer.ends_with(b"</a>"));
    // A client that never reads is cut off.
    world.pass(9000);
    assert!(!world.has_session(slow[PAGES - 1]));
}

#[test]
fn what_is_silent_for_too_long_is_ended_by_the_gateway_itself() {
    let mut lists = listeners();
    for listener in &mut lists {
        listener.timeouts.idle_ms = 5000;
        listener.timeouts.connect_ms = 2000;
    }
    let mut world = World::new(lists);
    let slot = world.session(FORWARD, address(1));
    let backend = world.net.borrow().opened[0];
    world.pass(4000);
    world.send(slot, b"x");
    world.pass(4000);
    assert!(world.has_session(slot));
    world.pass(1500);
    assert!(!world.has_session(slot));
    assert_eq!(world.net.borrow().state(backend), State::Aborted);
    assert_eq!(world.count(counters::IDLE), 1);
    // A backend that never answers, although the network stack should have said so.
    world.net.borrow_mut().answers = false;
    let slot = world.session(FORWARD, address(1));
    let client = world.arrive(SENDING, address(2));
    world.settle();
    world.pass(4900);
    assert!(world.has_session(slot));
    world.pass(300);
    assert!(!world.has_session(slot));
    assert_eq!(world.net.borrow().state(client), State::Aborted);
    assert_eq!(world.count(counters::ADDRESSES), 0);
    assert_eq!(world.server.next_deadline(), ipc::clock::Instant::NEVER);
}

#[test]
fn all_that_a_backend_said_arrives_before_its_client_is_cut_off() {
    const LENGTH: usize = 24_000;
    let mut world = World::new(listeners());
    let client = world.arrive(SENDING, address(1));
    world.settle();
    let near = world.net.borrow().slot(client).unwrap();
    let connection = world.shim.borrow().to_backends()[0];
    let far = world.shim.borrow_mut().establish(connection).unwrap();
    world.settle();
    let answer: Vec<u8> = (0..LENGTH).map(|at| at as u8).collect();
    let mut sent = 0;
    let mut received = Vec::new();
    let mut is_reset = false;
    for _ in 0..100 {
        // The record layer opens as much as there is room for, and then tells that the
        // connection was cut off.
        let mut plain = world.plain.borrow_mut();
        sent += plain.write(far, &answer[sent..]).unwrap();
        if sent == LENGTH && !is_reset {
            is_reset = true;
            plain.set_status(far, Status::RESET);
            plain.notify(far);
        }
        drop(plain);
        world.settle();
        let mut buffer = [0; 1500];
        let mut net = world.net.borrow_mut();
        let State::Attached(slot) = net.state(client) else {
            break;
        };
        // As long as bytes are in its ring, they would be lost by a reset.
        let status = net.side.peer_status(slot);
        assert!(!status.has(Status::END), "a cut is no end");
        assert!(!status.has(Status::RESET) || net.side.readable(slot) == Ok(0));
        let count = net.side.read(slot, &mut buffer).unwrap();
        received.extend_from_slice(&buffer[..count]);
        drop(net);
        world.pass(125);
    }
    assert_eq!(received.len(), LENGTH);
    assert!(received == answer);
    let status = world.net.borrow().side.peer_status(near);
    assert!(!status.has(Status::END));
    assert_eq!(world.net.borrow().state(client), State::Aborted);
    assert!(!world.has_session(far));
}

#[test]
fn a_client_that_takes_no_end_of_an_answer_is_cut_off_in_time() {
    let mut world = World::new(listeners());
    let client = world.arrive(SENDING, address(1));
    world.settle();
    let connection = world.shim.borrow().to_backends()[0];
    let far = world.shim.borrow_mut().establish(connection).unwrap();
    world.settle();
    world.send(far, &[7; 16_000]);
    world.reset(far);
    world.pass(9500);
    assert!(world.net.borrow().slot(client).is_some());
    world.pass(1000);
    assert_eq!(world.net.borrow().state(client), State::Aborted);
    assert_eq!(world.count(counters::ADDRESSES), 0);
}

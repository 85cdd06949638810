//! Clients that hold resources and send nothing, against the shipped sizes: all others
//! are served.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up fails")]
#![allow(clippy::indexing_slicing, reason = "a test that finds less fails")]

mod world;

use ipc::channel::Status;
use ipc::control::{HandshakeError, PeerError};
use ipc::net::{Address, Answer, Readiness};
use ipc::provision::Limits;
use ipc::stats::gateway as counters;

use world::net::State;
use world::{FORWARD, RULES, SENDING, STATUS, World, address, assert_served, listeners, same};

/// Plaintext in, plaintext out.
const PLAIN: u16 = 5;
/// Quiet connections, more than any table holds.
const FLOOD: u16 = 1000;

fn shipped() -> World {
    World::new(listeners())
}

#[test]
fn an_honest_client_is_served_while_silent_ones_come_one_by_one_from_its_address() {
    let mut world = shipped();
    for number in 0..FLOOD {
        world.arrive(FORWARD, same(number));
        world.settle();
    }
    let limit = usize::from(Limits::default().handshakes);
    assert_eq!(world.shim.borrow().in_progress(), limit);
    assert_served(&mut world, same(FLOOD));
    assert_served(&mut world, address(1));
    // All evicted ones are counted, and few of them logged.
    let away = world.count(counters::AWAY_SILENT);
    assert_eq!(away, u64::from(FLOOD) - limit as u64 + 1);
    let told = |line: &&String| line.starts_with("turned away at-2 10.0.2.2:");
    let log = world.log.borrow();
    assert!((1..4).contains(&log.iter().filter(told).count()), "{log:?}");
    assert!(!log.iter().any(|line| line.starts_with("handshake failed")));
}

#[test]
fn an_honest_client_is_served_while_silent_ones_come_from_everywhere_at_once() {
    let mut world = shipped();
    for round in 0..3 {
        for number in 0..FLOOD {
            world.arrive(FORWARD, address(round * FLOOD + number));
        }
        world.settle();
        let full = usize::from(world.sizes.handshakes);
        assert_eq!(world.shim.borrow().in_progress(), full);
        assert_served(&mut world, address(60_000 + round));
    }
    // Room is asked for once for each that waits.
    assert!(world.shim.borrow().most_displaced <= 64);
    // They go, and nothing of them is left.
    world.pass(20_000);
    assert_eq!(world.net.borrow().held(), 0);
    assert_eq!(world.count(counters::ADDRESSES), 0);
}

#[test]
fn long_hellos_keep_nobody_out_but_each_other() {
    let mut world = shipped();
    let come = |number| {
        let mut net = world.net.borrow_mut();
        let connection = net.arrive_as(FORWARD, same(number), Readiness::Long);
        drop(net);
        world.settle();
        connection
    };
    let all: Vec<_> = (0..FLOOD).map(come).collect();
    // A quarter of the handshakes, and a line as long as the other.
    assert_eq!(world.shim.borrow().in_progress(), 48);
    assert_eq!(world.net.borrow().held(), 48 + 64);
    assert_eq!(world.shim.borrow().asked, 0, "nobody is asked to give way");
    assert_served(&mut world, same(FLOOD));
    // One of them is over: the first of those that wait has its place.
    let closed = HandshakeError::Peer(PeerError::Closed);
    world.shim.borrow_mut().fail(all[0], closed);
    world.settle();
    assert_eq!(world.shim.borrow().in_progress(), 48);
    assert_eq!(world.net.borrow().held(), 48 + 63);
    world.pass(20_000);
    assert_eq!(world.net.borrow().held(), 0);
}

#[test]
fn a_client_that_is_late_fails_and_those_that_gave_way_are_counted() {
    let mut world = shipped();
    let late = world
        .net
        .borrow_mut()
        .arrive_as(FORWARD, same(1), Readiness::Late);
    world.settle();
    assert_eq!(world.net.borrow().state(late), State::Aborted);
    assert_eq!(world.count(counters::FAILED), 1);
    let expected = "turned away at-2 10.0.2.2:1 late";
    assert_eq!(*world.log.borrow(), [expected]);
    let ended = world
        .net
        .borrow_mut()
        .arrive_as(FORWARD, same(3), Readiness::Ended);
    world.settle();
    assert_eq!(world.net.borrow().state(ended), State::Aborted);
    let expected = "turned away at-2 10.0.2.2:3 ended";
    assert_eq!(world.log.borrow()[1..], [expected]);
    let gave_way = Answer::GaveWay {
        port: FORWARD,
        count: 300,
        last: Address(same(9)),
    };
    world.net.borrow_mut().gave_way.push_back(gave_way);
    world.arrive(FORWARD, same(2));
    world.settle();
    assert_eq!(world.count(counters::AWAY_SILENT), 300);
    let line = "turned away at-2 10.0.2.2:9 silent untold=299";
    assert!(world.log.borrow().iter().any(|l| l == line));
    assert_eq!(world.shim.borrow().in_progress(), 1, "who came after them");
}

#[test]
fn a_flood_of_visits_that_end_before_their_hello_is_a_line_a_second() {
    let mut world = shipped();
    for round in 0..40 {
        for number in 0..25 {
            let port = 1 + round * 25 + number;
            let mut net = world.net.borrow_mut();
            net.arrive_as(FORWARD, same(port), Readiness::Ended);
            net.arrive_as(FORWARD, same(port), Readiness::Late);
            drop(net);
            world.settle();
        }
        world.pass(50);
    }
    // And where a rule depends on the hello.
    for number in 1..=100 {
        let client = world.arrive(RULES, same(number));
        world.settle();
        let slot = world.net.borrow().slot(client).unwrap();
        let mut net = world.net.borrow_mut();
        net.side.set_status(slot, Status::END);
        net.side.notify(slot);
        drop(net);
        world.settle();
        assert_eq!(world.net.borrow().slot(client), None);
    }
    assert_eq!(world.count(counters::AWAY_ENDED), 1100);
    assert_eq!(world.count(counters::AWAY_LATE), 1000);
    assert_eq!(world.count(counters::FAILED), 2100);
    let log = world.log.borrow();
    let of = |ending: &str| log.iter().filter(|line| line.contains(ending)).count();
    let counts = [" ended", " late"].map(of);
    assert!(
        counts.iter().all(|count| (2..=4).contains(count)),
        "{log:#?}"
    );
    assert_eq!(log.len(), counts.iter().sum::<usize>(), "{log:#?}");
    assert!(log.iter().any(|line| line.starts_with("turned away at-4 ")));
}

#[test]
fn clients_whose_hello_is_whole_do_not_give_way_and_the_others_wait_no_longer_than_they_may() {
    let mut world = shipped();
    let handshakes = world.sizes.handshakes;
    let speaking: Vec<_> = (0..handshakes)
        .map(|number| {
            let connection = world.arrive(FORWARD, address(number));
            world.settle();
            assert!(world.shim.borrow_mut().speak(connection));
            connection
        })
        .collect();
    let waiting: Vec<_> = (0..100)
        .map(|n| world.arrive(FORWARD, address(1000 + n)))
        .collect();
    world.settle();
    // The first of them gave way to the last.
    let state = |world: &World, at: usize| world.net.borrow().state(waiting[at]);
    assert_eq!(state(&world, 35), State::Aborted);
    assert_eq!(state(&world, 36), State::Accepted);
    assert_eq!(world.count(counters::AWAY_WAITING), 36);
    // Room comes: the first of those that wait has it.
    let closed = HandshakeError::Peer(PeerError::Closed);
    world.shim.borrow_mut().fail(speaking[7], closed);
    world.settle();
    assert!(world.shim.borrow_mut().speak(waiting[36]));
    assert!(!world.shim.borrow_mut().has(waiting[37]));
    world.pass(9000);
    assert_eq!(state(&world, 37), State::Accepted);
    world.pass(2000);
    assert_eq!(state(&world, 37), State::Aborted);
    // And those that no other domain ended are cancelled.
    assert_eq!(world.shim.borrow().in_progress(), usize::from(handshakes));
    world.pass(3000);
    assert_eq!(world.shim.borrow().in_progress(), 0);
    assert_eq!(world.count(counters::OVERDUE), u64::from(handshakes));
    assert_eq!(world.net.borrow().held(), 0);
}

#[test]
fn a_crowd_of_one_address_waits_for_itself_and_not_in_front_of_another() {
    let mut world = shipped();
    let limit = Limits::default().handshakes;
    let speak = |world: &mut World, from| {
        let connection = world.arrive(FORWARD, from);
        world.settle();
        let has_begun = world.shim.borrow_mut().speak(connection);
        (connection, has_begun)
    };
    // Good hellos, all with a handshake in progress: none of them is evicted.
    let begun: Vec<_> = (0..limit - 1).map(|n| speak(&mut world, same(n))).collect();
    assert!(begun.iter().all(|(_, has_begun)| *has_begun));
    let others = world.sizes.handshakes - (limit - 1);
    for number in 0..others {
        assert!(speak(&mut world, address(2000 + number)).1);
    }
    // One of another address, 80 more of the first than there are places to wait, and
    // one more of another.
    let (early, has_begun) = speak(&mut world, address(1));
    assert!(!has_begun);
    for number in 0..144 {
        world.arrive(FORWARD, same(1000 + number));
    }
    world.settle();
    let (late, _) = speak(&mut world, address(2));
    // Nobody of another address gave way, and they are the next to begin.
    assert_eq!(world.count(counters::AWAY_WAITING), 144 - 64 + 2);
    let closed = HandshakeError::Peer(PeerError::Closed);
    for (number, connection) in [early, late].into_iter().enumerate() {
        world.shim.borrow_mut().fail(begun[number].0, closed);
        world.settle();
        assert!(world.shim.borrow_mut().speak(connection), "{number}");
    }
}

#[test]
fn room_that_did_not_come_is_asked_for_again() {
    let mut world = shipped();
    world.shim.borrow_mut().is_deaf = true;
    for number in 0..world.sizes.handshakes + 10 {
        world.arrive(FORWARD, address(number));
    }
    world.settle();
    assert_eq!(world.shim.borrow().asked, 10);
    world.shim.borrow_mut().is_deaf = false;
    world.pass(1000);
    assert_eq!(world.shim.borrow().asked, 20);
    assert_eq!(world.count(counters::AWAY_SILENT), 10);
    assert_eq!(
        world.shim.borrow().in_progress(),
        usize::from(world.sizes.handshakes)
    );
}

#[test]
fn room_is_asked_for_once_for_each_that_waits() {
    let mut world = shipped();
    world.shim.borrow_mut().is_deaf = true;
    for number in 0..world.sizes.handshakes + FLOOD {
        world.arrive(FORWARD, address(number));
    }
    world.settle();
    // So many wait; the others gave way to them.
    assert_eq!(world.shim.borrow().asked, 64);
    assert_eq!(world.count(counters::AWAY_WAITING), u64::from(FLOOD) - 64);
}

#[test]
fn one_address_has_no_more_sessions_than_it_may_and_the_others_have_theirs() {
    let mut world = shipped();
    let limit = Limits::default().sessions;
    let held: Vec<_> = (0..limit).map(|n| world.session(STATUS, same(n))).collect();
    let refused = world.arrive(STATUS, same(limit));
    world.settle();
    assert_eq!(world.net.borrow().state(refused), State::Aborted);
    assert_eq!(world.count(counters::AWAY_SESSIONS), 1);
    assert_served(&mut world, address(1));
    world.reset(held[0]);
    assert_served(&mut world, same(limit));
}

#[test]
fn backends_go_first_and_never_give_way() {
    let mut world = shipped();
    let client = world.arrive(SENDING, address(1));
    world.settle();
    let slot = world.net.borrow().slot(client).unwrap();
    world.net.borrow_mut().side.write(slot, b"x").unwrap();
    world.settle();
    assert_eq!(world.shim.borrow().to_backends().len(), 1);
    for number in 0..FLOOD {
        world.arrive(FORWARD, address(100 + number));
        world.settle();
    }
    assert_eq!(world.shim.borrow().to_backends().len(), 1);
    // The table is full: one more backend has its turn before all clients.
    world.shim.borrow_mut().is_deaf = true;
    for number in 0..30 {
        world.arrive(FORWARD, address(5000 + number));
    }
    world.arrive(SENDING, address(2));
    world.settle();
    assert_eq!(world.shim.borrow().to_backends().len(), 1);
    world.shim.borrow_mut().is_deaf = false;
    world.pass(600);
    assert_eq!(world.shim.borrow().to_backends().len(), 2);
}

#[test]
fn a_full_channel_of_plaintext_has_room_for_who_speaks() {
    for port in [PLAIN, RULES] {
        let mut all = listeners();
        let mut plain = all.iter().find(|l| l.port == FORWARD).unwrap().clone();
        (plain.port, plain.tls) = (PLAIN, None);
        all.push(plain);
        let mut world = World::new(all);
        for number in 0..world.sizes.connections {
            world.arrive(port, address(number));
            world.settle();
        }
        let client = world.arrive(port, address(world.sizes.connections));
        world.settle();
        let slot = world.net.borrow().slot(client).unwrap();
        world
            .net
            .borrow_mut()
            .side
            .write(slot, b"\x16\x03\x01")
            .unwrap();
        world.net.borrow_mut().side.notify(slot);
        world.settle();
        assert!(world.count(counters::AWAY_SILENT) + world.count(counters::AWAY_ROOM) > 0);
        assert_eq!(world.net.borrow().slot(client), Some(slot), "port {port}");
        world.pass(20_000);
        if port == RULES {
            assert_eq!(world.net.borrow().held(), 0);
            assert_eq!(
                world.net.borrow().free_slots(),
                usize::from(world.sizes.connections)
            );
        }
    }
}

/// A ClientHello of that many bytes, with the name that the rules of [`RULES`] ask for,
/// in records of `size`.
fn hello_of(length: usize, size: usize) -> Vec<u8> {
    let number = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    body.extend(number(length - 4 - body.len() - 2));
    // server_name (RFC 6066 §3), then padding (RFC 7685).
    body.extend([0, 0, 0, 11, 0, 9, 0, 0, 6]);
    body.extend(b"a.test");
    body.extend([0, 21]);
    body.extend(number(length - 4 - body.len() - 2));
    body.resize(length - 4, 0);
    let mut message = vec![1, 0];
    message.extend(number(body.len()));
    message.extend(body);
    let record = |part: &[u8]| [&[22, 3, 1][..], &number(part.len()), part].concat();
    message.chunks(size).flat_map(record).collect()
}

#[test]
fn a_hello_longer_than_is_looked_at_is_refused_at_once() {
    const RECORD_HEADER: usize = 5;
    let mut world = shipped();
    // What the gateway looks at; the ring has room for more.
    let room = 16 * 1024;
    assert!(room < world.net.borrow().side.tx_capacity());
    let mut say = |bytes: &[u8]| {
        let client = world.arrive(RULES, address(7));
        world.settle();
        let slot = world.net.borrow().slot(client).unwrap();
        let mut net = world.net.borrow_mut();
        let written = net.side.write(slot, bytes).unwrap();
        assert_eq!(written, bytes.len());
        net.side.notify(slot);
        drop(net);
        world.settle();
        let mut answer = [0; 16];
        let mut net = world.net.borrow_mut();
        let count = net.side.read(slot, &mut answer).unwrap_or(0);
        (net.state(client), answer[..count].to_vec())
    };
    let (state, answer) = say(&hello_of(room - RECORD_HEADER, room));
    assert_eq!((state, answer), (State::Moved, Vec::new()), "it begins");
    let decode_error = vec![21, 3, 3, 0, 2, 2, 50];
    for bytes in [
        hello_of(room - RECORD_HEADER + 1, room),
        hello_of(room, 1000),
        hello_of(20 * 1024, 20 * 1024),
        hello_of(20 * 1024, 1000),
        // It would fit, were it not for the headers of its records.
        hello_of(room - 100, 100),
    ] {
        let (_, answer) = say(&bytes);
        assert_eq!(answer, decode_error, "{} bytes", bytes.len());
    }
}

#[test]
fn a_flood_of_events_is_worked_off_in_turns_and_none_is_lost() {
    let mut world = shipped();
    let slots: Vec<_> = (0..512).map(|n| world.session(STATUS, same(n))).collect();
    for slot in &slots {
        let request = b"GET /nothing HTTP/1.1\r\n\r\n";
        world.plain.borrow_mut().write(*slot, request).unwrap();
    }
    for number in 0..FLOOD {
        world.arrive(FORWARD, address(number));
    }
    let turns = world.settle();
    assert!(turns > 512 / 64, "{turns} turns");
    for slot in slots {
        let answer = world.receive(slot);
        assert!(answer.starts_with(b"HTTP/1.1 404 "), "slot {slot}");
    }
    assert_served(&mut world, address(FLOOD));
}

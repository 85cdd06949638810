//! Which connections are admitted when there is no room, and which are evicted.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod world;

use std::net::IpAddr;
use std::time::Duration;

use ipc::net::{Answer, Readiness, Ready, Request};
use ipc::stats::netstack as counters;
use netstack_server::Limits;
use smoltcp::socket::tcp::State;
use world::crowd::{accept_all, enter, enter_at, full, knock, near_router, segment, somebody};
use world::frames::ACK;
use world::{PORT, World};

#[test]
fn row_08_a_thousand_silent_connections_are_followed_by_an_answer() {
    let mut world = World::with(Limits::SHIPPED);
    let (handle, connection) = world.connected();
    world.ask(&Request::Abort { connection }).unwrap();
    world.run(3);
    world.peer.sockets.remove(handle);
    let accepted = full(&mut world);
    assert_eq!(accepted.len(), Limits::SHIPPED.connections);
    // All of them are the gateway's: nothing can be evicted, and that is reported.
    let answer = knock(&mut world, [192, 0, 2, 1], 4000).unwrap();
    assert!(answer.rst && !answer.syn && answer.acknowledged == 1001);
    assert_eq!(world.count(counters::TABLE_FULL), 1);
    // The gateway gives one up: the next client is served at once.
    let connection = accepted[17];
    world.ask(&Request::Abort { connection }).unwrap();
    assert!(enter(&mut world, [192, 0, 2, 1], 4001));
    assert_eq!(accept_all(&mut world).len(), 1);
    // One that it released in order is evicted for a new one, although its peer does not
    // close.
    let connection = accepted[18];
    world.ask(&Request::Release { connection }).unwrap();
    assert!(enter(&mut world, [192, 0, 2, 1], 4002));
    assert_eq!(world.count(counters::EVICTED), 1);
    assert_eq!(world.count(counters::TABLE_FULL), 1);
}

#[test]
fn a_table_that_is_used_up_is_said_by_a_reset() {
    let mut world = near_router();
    let accepted = full(&mut world);
    let most = Limits::SHIPPED.connections;
    assert_eq!(accepted.len(), most);
    assert!(knock(&mut world, [192, 0, 2, 1], 4000).unwrap().rst);
    let refused = world.count(counters::TABLE_FULL);
    let connection = accepted[0];
    world.ask(&Request::Abort { connection }).unwrap();
    assert!(enter(&mut world, [192, 0, 2, 1], 4001));
    assert_eq!(world.count(counters::TABLE_FULL), refused);
}

#[test]
fn who_is_half_open_gives_way_to_who_comes() {
    let mut world = near_router();
    world.ask(&Request::Begin).unwrap();
    world.listen(256);
    // The table is full of connections of the gateway, but for 256 that never
    // finish their handshake.
    let most = Limits::SHIPPED.connections;
    for number in 0..most as u32 - 256 {
        assert!(enter(&mut world, somebody(number), 2000));
        accept_all(&mut world);
    }
    for number in 0..2000 {
        assert!(knock(&mut world, somebody(number), 5000).unwrap().syn);
    }
    assert_eq!(world.count(counters::TABLE_FULL), 0);
    assert_eq!(world.count(counters::CONNECTIONS), most as u64);
    // An honest one, in the middle of that.
    assert!(enter(&mut world, [192, 0, 2, 1], 4000));
    assert_eq!(accept_all(&mut world).len(), 1);
}

#[test]
fn one_peer_has_its_share_and_what_is_above_is_offered_as_such() {
    let mut world = World::new();
    let within = Ready::ClientHello { within: 10_000 };
    world.listen_so(64, within, Some(16));
    let handle = world.peer.connect(PORT);
    world.run(8);
    world.peer.socket(handle).abort();
    world.run(4);
    let greedy = [192, 0, 2, 1];
    let offered = |world: &mut World| match world.ask(&Request::Accept) {
        Ok(Answer::Accepted {
            connection,
            readiness,
            ..
        }) => Some((connection, readiness)),
        _ => None,
    };
    // Half-open ones do not count: their address may be another's.
    for port in 0..30 {
        assert!(knock(&mut world, greedy, 1000 + port).unwrap().syn);
    }
    for port in 0..16 {
        assert!(enter(&mut world, greedy, 2000 + port));
        assert_eq!(offered(&mut world), None);
    }
    // Above that, the oldest that has sent nothing is evicted for the next.
    let mut acknowledged = std::collections::BTreeMap::new();
    for port in 16..1000 {
        let number = enter_at(&mut world, greedy, 2000 + port).unwrap();
        acknowledged.insert(port, number);
        let answer = world.ask(&Request::Accept).unwrap();
        let Answer::GaveWay { count: 1, last, .. } = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(last.port(), 2000 + port - 16);
    }
    assert!(enter(&mut world, [192, 0, 2, 2], 2000));
    assert_eq!(offered(&mut world), None);
    // All that it has send something: the next one is above its share.
    for port in 984..1000 {
        let mut spoken = segment(greedy, 2000 + port, 1001, acknowledged[&port], ACK);
        spoken.payload = hello(300);
        world.put(spoken.frame());
        world.stack.poll(world.now);
    }
    let owned: Vec<_> = std::iter::from_fn(|| offered(&mut world)).collect();
    assert_eq!(owned.len(), 16);
    assert!(enter(&mut world, greedy, 4000));
    let (connection, readiness) = offered(&mut world).unwrap();
    assert_eq!(readiness, Readiness::OverShare);
    assert_eq!(world.count(counters::PEER_FULL), 1);
    world.ask(&Request::Abort { connection }).unwrap();
    // However a connection goes, its place is free again; one that lingers is not
    // counted.
    world
        .ask(&Request::Abort {
            connection: owned[0].0,
        })
        .unwrap();
    let connection = owned[1].0;
    world.ask(&Request::Release { connection }).unwrap();
    for port in [4001, 4002] {
        assert!(enter(&mut world, greedy, port));
        // Nor is the first of them evicted for the second.
        assert_eq!(world.ask(&Request::Accept), Ok(Answer::NothingWaits));
    }
    assert_eq!(world.count(counters::PEER_FULL), 1);
}

#[test]
fn forged_syns_drive_out_nobody_who_has_shown_that_he_is_there() {
    let limits = Limits {
        connections: 40,
        spare: 2,
        ..Limits::SHIPPED
    };
    let mut world = near_router_for_hellos_with(limits, 128);
    let honest = ([192, 0, 2, 9], 4000);
    let acknowledged = enter_at(&mut world, honest.0, honest.1).unwrap();
    for port in 0..400 {
        knock(&mut world, [192, 0, 2, 1], 2000 + port);
    }
    let mut spoken = segment(honest.0, honest.1, 1001, acknowledged, ACK);
    spoken.payload = hello(300);
    world.put(spoken.frame());
    world.stack.poll(world.now);
    assert_eq!(accept_all(&mut world).len(), 1);
    // Nor do quiet connections evict all new ones.
    for port in 0..400 {
        enter(&mut world, [192, 0, 2, 2], 2000 + port);
    }
    assert!(enter(&mut world, [192, 0, 2, 3], 2000));
    let answer = world.ask(&Request::Accept);
    assert!(matches!(answer, Ok(Answer::GaveWay { .. })), "{answer:?}");
}

#[test]
fn a_hello_that_came_with_those_that_crowd_it_out_is_offered() {
    let mut world = near_router_for_hellos(8);
    let honest = ([192, 0, 2, 9], 4000);
    let acknowledged = enter_at(&mut world, honest.0, honest.1).unwrap();
    let mut spoken = segment(honest.0, honest.1, 1001, acknowledged, ACK);
    spoken.payload = hello(300);
    let crowd = (2000..2008).map(|port| {
        let answer = knock(&mut world, [192, 0, 2, 1], port).unwrap();
        segment(
            [192, 0, 2, 1],
            port,
            1001,
            answer.sequence.wrapping_add(1),
            ACK,
        )
    });
    let crowd: Vec<_> = crowd.collect();
    world.put(spoken.frame());
    for segment in crowd {
        world.put(segment.frame());
    }
    world.stack.poll(world.now);
    assert_eq!(accept_all(&mut world).len(), 1);
    assert_eq!(world.ask(&Request::Accept), Ok(Answer::NothingWaits));
}

/// A ClientHello of as many bytes, the record's and the message's header with it.
fn hello(length: u16) -> Vec<u8> {
    let [high, low] = (length - 5).to_be_bytes();
    let [.., middle, last] = (length - 9).to_be_bytes();
    let mut bytes = vec![22, 3, 1, high, low, 1, 0, middle, last];
    bytes.resize(usize::from(length), 7);
    bytes
}

/// As [`near_router`], with a listener that waits for hellos.
fn near_router_for_hellos(backlog: u16) -> World {
    near_router_for_hellos_with(Limits::default(), backlog)
}

fn near_router_for_hellos_with(limits: Limits, backlog: u16) -> World {
    let mut world = World::with(limits);
    world.listen_for_hellos(backlog, 10_000);
    let handle = world.peer.connect(PORT);
    world.run(8);
    world.peer.send(handle, &hello(300));
    world.run(8);
    let connection = world.accept().unwrap();
    world.ask(&Request::Abort { connection }).unwrap();
    world.run(3);
    world.peer.sockets.remove(handle);
    world
}

#[test]
fn a_client_is_offered_with_the_last_byte_of_its_hello_and_not_before() {
    let mut world = World::new();
    world.listen_for_hellos(8, 10_000);
    let handle = world.peer.connect(PORT);
    world.run(8);
    let hello = hello(1700);
    for part in [&hello[..3], &hello[3..900], &hello[900..1699]] {
        world.peer.send(handle, part);
        world.run(4);
        assert_eq!(world.ask(&Request::Accept), Ok(Answer::NothingWaits));
    }
    world.sleep(Duration::from_millis(1500));
    world.peer.send(handle, &hello[1699..]);
    world.run(4);
    let Ok(Answer::Accepted {
        readiness, waited, ..
    }) = world.ask(&Request::Accept)
    else {
        panic!("nobody waits");
    };
    assert_eq!(readiness, Readiness::Ready);
    assert!((1500..2000).contains(&waited), "{waited}");
}

#[test]
fn a_hello_longer_than_the_buffer_a_late_one_and_one_that_ends_are_offered_as_such() {
    let mut limits = Limits::SHIPPED;
    limits.accepted.receive = 16 * 1024;
    let mut world = World::with(limits);
    world.listen_for_hellos(8, 10_000);
    let readiness = |world: &mut World| match world.ask(&Request::Accept) {
        Ok(Answer::Accepted { readiness, .. }) => Some(readiness),
        _ => None,
    };
    let long = world.peer.connect(PORT);
    world.run(8);
    let mut bytes = hello(16_000);
    bytes[6] = 0;
    bytes[7] = 0xff;
    for part in bytes[..14_800].chunks(3700) {
        world.peer.send(long, part);
        world.run(8);
    }
    assert_eq!(readiness(&mut world), None, "a segment fits in");
    world.peer.send(long, &bytes[14_800..15_000]);
    world.run(8);
    assert_eq!(readiness(&mut world), Some(Readiness::Long));
    let ending = world.peer.connect(PORT);
    world.run(8);
    world.peer.send(ending, &[22]);
    world.run(4);
    assert_eq!(readiness(&mut world), None);
    world.peer.socket(ending).close();
    world.run(4);
    assert_eq!(readiness(&mut world), Some(Readiness::Ended));
    let whole = world.peer.connect(PORT);
    world.run(8);
    world.peer.send(whole, &hello(300));
    world.peer.socket(whole).close();
    world.run(4);
    assert_eq!(readiness(&mut world), Some(Readiness::Ready));
    let other = world.peer.connect(PORT);
    world.run(8);
    world.peer.send(other, b"GET /");
    world.run(4);
    assert_eq!(readiness(&mut world), Some(Readiness::Ready));
    let quiet = world.peer.connect(PORT);
    let leaving = world.peer.connect(PORT);
    world.run(8);
    world.peer.socket(leaving).abort();
    world.run(4);
    assert_eq!(world.count(counters::RESET_EARLY), 1);
    world.sleep(Duration::from_millis(9_900));
    assert_eq!(readiness(&mut world), None);
    world.sleep(Duration::from_millis(200));
    assert_eq!(readiness(&mut world), Some(Readiness::Late));
    assert_eq!(readiness(&mut world), None, "one of them has gone");
    assert_eq!(world.peer.socket(quiet).state(), State::Established);
}

#[test]
fn a_thousand_syns_push_out_nobody_who_answers_a_round_trip_later() {
    let mut world = near_router_for_hellos_with(Limits::SHIPPED, 128);
    let honest = ([192, 0, 2, 9], 4000);
    let answer = knock(&mut world, honest.0, honest.1).unwrap();
    for number in 0..1000 {
        assert!(knock(&mut world, somebody(number), 5000).unwrap().syn);
    }
    let acknowledged = answer.sequence.wrapping_add(1);
    world.put(segment(honest.0, honest.1, 1001, acknowledged, ACK).frame());
    world.poll();
    // Nor do a thousand that are silent.
    for number in 0..1000 {
        assert!(enter(&mut world, somebody(number), 6000));
    }
    let mut spoken = segment(honest.0, honest.1, 1001, acknowledged, ACK);
    spoken.payload = hello(300);
    world.put(spoken.frame());
    world.poll();
    let Ok(Answer::Accepted { remote, .. }) = world.ask(&Request::Accept) else {
        panic!("nobody waits");
    };
    assert_eq!(remote.port(), honest.1);
    assert_eq!(world.count(counters::HALF_OPEN_DROPPED), 0);
}

#[test]
fn of_quiet_clients_that_fill_the_table_the_oldest_give_way_and_who_speaks_is_offered() {
    let mut world = near_router_for_hellos_with(Limits::SHIPPED, 128);
    let most = Limits::SHIPPED.connections as u32;
    let mut gave_way = 0;
    for number in 0..most + 500 {
        world.now = world.now + Duration::from_millis(1);
        assert!(enter(&mut world, somebody(number), 1000));
        let answer = world.ask(&Request::Accept).unwrap();
        match answer {
            Answer::GaveWay { port, count, last } => {
                assert_eq!((port, count), (PORT, 1));
                // The oldest.
                assert_eq!(last.ip(), IpAddr::from(somebody(number - most)));
                gave_way += count;
            }
            answer => assert_eq!(answer, Answer::NothingWaits),
        }
    }
    assert_eq!(gave_way, 500);
    assert_eq!(world.count(counters::RESET_EARLY), 0);
    assert_eq!(world.count(counters::CONNECTIONS), u64::from(most));
    // An honest one is half open, then quiet, while others come.
    let honest = ([192, 0, 2, 9], 4000);
    let acknowledged = enter_at(&mut world, honest.0, honest.1).unwrap();
    for number in 0..100 {
        assert!(enter(&mut world, [192, 0, 2, 1], 3000 + number));
    }
    let mut spoken = segment(honest.0, honest.1, 1001, acknowledged, ACK);
    spoken.payload = hello(300);
    world.put(spoken.frame());
    world.stack.poll(world.now);
    // Waiting ones are offered before evicted ones are reported.
    let Ok(Answer::Accepted { remote, .. }) = world.ask(&Request::Accept) else {
        panic!("nobody waits");
    };
    assert_eq!(remote.port(), honest.1);
    let answer = world.ask(&Request::Accept);
    assert!(
        matches!(answer, Ok(Answer::GaveWay { count: 101, .. })),
        "{answer:?}"
    );
    // Their time is over, and nothing is left of them.
    world.sleep(Duration::from_secs(12));
    while let Ok(Answer::Accepted { connection, .. }) = world.ask(&Request::Accept) {
        world.ask(&Request::Abort { connection }).unwrap();
    }
    assert_eq!(world.count(counters::CONNECTIONS), 1);
}

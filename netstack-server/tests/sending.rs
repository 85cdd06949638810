//! The end of an answer is not cut off by who comes, as long as its peer takes it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod world;

use std::time::Duration;

use ipc::net::{ConnectionId, Request};
use ipc::stats::netstack as counters;
use netstack_server::config;
use world::crowd::{accept_all, enter, enter_at, full, knock, near_router, segment, somebody};
use world::frames::ACK;
use world::{BACKEND_PORT, PEER_IP, PORT, World, address, pattern};

#[test]
fn forged_syns_cut_off_no_answer_that_is_on_its_way() {
    let mut world = near_router();
    let handle = world.peer.connect_with(PORT, 512);
    world.run(8);
    let connection = accept_all(&mut world)[0];
    let slot = world.attach(connection);
    // All memory is taken but that of a few.
    let others = full(&mut world);
    for connection in others.iter().take(20).copied() {
        world.ask(&Request::Abort { connection }).unwrap();
    }
    let bytes = pattern(8000);
    assert_eq!(world.gateway.write(slot, &bytes), Ok(bytes.len()));
    world.run(4);
    let forge = |world: &mut World, number: u32| knock(world, somebody(20_000 + number), 7);
    (0..20).for_each(|number| drop(forge(&mut world, number)));
    world.ask(&Request::Release { connection }).unwrap();
    // Ten for each segment that the peer takes.
    let mut received = Vec::new();
    for number in 20..2000 {
        assert!(forge(&mut world, number).is_some_and(|answer| answer.syn));
        if number % 10 == 0 {
            received.extend(world.peer.receive(handle));
            world.run(2);
        }
    }
    assert_eq!(received, bytes);
}

#[test]
fn one_that_takes_nothing_makes_room_after_two_seconds() {
    let mut world = near_router();
    let handle = world.peer.connect_with(PORT, 512);
    world.run(8);
    let connection = accept_all(&mut world)[0];
    let slot = world.attach(connection);
    let others = full(&mut world);
    let bytes = pattern(8000);
    assert_eq!(world.gateway.write(slot, &bytes), Ok(bytes.len()));
    world.run(4);
    world.ask(&Request::Release { connection }).unwrap();
    world.run(4);
    world.sleep(Duration::from_millis(2100));
    // Somebody else is half open: that one keeps its place.
    let connection = others[0];
    world.ask(&Request::Abort { connection }).unwrap();
    let answer = knock(&mut world, somebody(20_000), 7);
    assert!(answer.is_some_and(|answer| answer.syn));
    let dropped = world.count(counters::HALF_OPEN_DROPPED);
    let evicted = world.count(counters::EVICTED);
    let answer = knock(&mut world, somebody(20_001), 7);
    assert!(answer.is_some_and(|answer| answer.syn));
    assert_eq!(world.count(counters::EVICTED), evicted + 1);
    assert_eq!(world.count(counters::HALF_OPEN_DROPPED), dropped);
    assert!(world.peer.socket(handle).may_recv(), "it gets no segment");
}

/// All memory is taken, and everybody has an owner but one: that one is released, and
/// sends 8,000 bytes to a peer that acknowledges what the test says.
struct Slow {
    world: World,
    others: Vec<ConnectionId>,
    acknowledged: u32,
    /// Of its own bytes.
    sequence: u32,
}

impl Slow {
    const IP: [u8; 4] = [192, 0, 2, 9];

    fn new() -> Self {
        let mut world = near_router();
        let acknowledged = enter_at(&mut world, Self::IP, 4000).unwrap();
        let connection = accept_all(&mut world)[0];
        let slot = world.attach(connection);
        let others = full(&mut world);
        let bytes = pattern(8000);
        assert_eq!(world.gateway.write(slot, &bytes), Ok(bytes.len()));
        world.gateway.notify(slot);
        world.poll();
        world.ask(&Request::Release { connection }).unwrap();
        Self {
            world,
            others,
            acknowledged,
            sequence: 1001,
        }
    }

    /// Time passes, then so many bytes are acknowledged, and so many come.
    fn take(&mut self, after: Duration, bytes: u32, sends: usize) {
        self.world.sleep(after);
        self.acknowledged = self.acknowledged.wrapping_add(bytes);
        let mut sent = segment(Self::IP, 4000, self.sequence, self.acknowledged, ACK);
        sent.payload = vec![0; sends];
        self.sequence = self.sequence.wrapping_add(sends as u32);
        self.world.put(sent.frame());
        self.world.poll();
    }

    /// A SYN comes, and is answered so: with room for it, with a reset, or not at all.
    fn knock(&mut self, port: u16) -> Option<bool> {
        let answer = knock(&mut self.world, somebody(30_000), port)?;
        assert_ne!(answer.syn, answer.rst);
        Some(answer.syn)
    }
}

#[test]
fn a_syn_waits_for_the_end_of_an_answer_whose_peer_takes_it() {
    let mut slow = Slow::new();
    let refused = slow.world.count(counters::TABLE_FULL);
    for turn in 0..7 {
        assert_eq!(slow.knock(1000 + turn), None);
        slow.take(Duration::from_millis(900), 1000, 0);
    }
    assert_eq!(slow.world.count(counters::DEFERRED), 7);
    assert_eq!(slow.world.count(counters::EVICTED), 0);
    // All has arrived: it makes room.
    slow.take(Duration::from_millis(900), 1000, 0);
    assert_eq!(slow.knock(1007), Some(true));
    assert_eq!(slow.world.count(counters::EVICTED), 1);
    assert_eq!(slow.world.count(counters::TABLE_FULL), refused);
}

#[test]
fn a_peer_that_takes_a_few_bytes_now_and_then_makes_room_after_two_seconds() {
    // What it sends is nothing that it takes.
    for (bytes, sends) in [(10, 0), (0, 10), (48, 100)] {
        let mut slow = Slow::new();
        for turn in 0..19 {
            assert_eq!(slow.knock(1000 + turn), None);
            slow.take(Duration::from_millis(100), bytes, sends);
        }
        slow.take(Duration::from_millis(110), bytes, sends);
        assert_eq!(slow.knock(1100), Some(true), "{bytes} and {sends}");
        assert_eq!(slow.world.count(counters::EVICTED), 1);
    }
}

#[test]
fn a_peer_that_takes_just_enough_makes_room_when_its_time_is_over() {
    let mut slow = Slow::new();
    let pause = Duration::from_millis(1900);
    for turn in 0..5 {
        slow.take(pause, 1024, 0);
        assert_eq!(slow.knock(1000 + turn), None);
    }
    slow.world.sleep(config::LINGER - 5 * pause);
    assert_eq!(slow.knock(1100), Some(true));
}

#[test]
fn a_connection_to_a_backend_takes_the_place_of_who_still_sends() {
    let mut slow = Slow::new();
    assert_eq!(slow.knock(1000), None);
    let request = Request::Connect {
        to: address(PEER_IP, BACKEND_PORT),
        deadline: slow.world.now + Duration::from_secs(5),
    };
    // Those that clients have left are used up first.
    while slow.world.count(counters::EVICTED) == 0 {
        slow.world.ask(&request).unwrap();
    }
    // There is nobody left who sends: that is told.
    assert_eq!(slow.knock(1001), Some(false));
    let connection = slow.others[0];
    slow.world.ask(&Request::Abort { connection }).unwrap();
    assert_eq!(slow.knock(1002), Some(true));
}

#[test]
fn of_one_address_that_lets_go_of_many_no_more_than_sixteen_keep_syns_out() {
    const MANY: u16 = 200;
    const KEPT: u16 = 16;
    let mut world = near_router();
    let mut ends = Vec::new();
    let mut honest = 0;
    let ports = 5000..5000 + MANY;
    let crowd = ports.map(|port| ([192, 0, 2, 7], port));
    for (ip, port) in crowd.chain([(Slow::IP, 4000)]) {
        honest = enter_at(&mut world, ip, port).unwrap();
        let connection = accept_all(&mut world)[0];
        ends.push((connection, world.attach(connection)));
    }
    full(&mut world);
    // The honest client's is the oldest: it is not by its age that it stays.
    for (connection, slot) in ends.into_iter().rev() {
        world.gateway.write(slot, &pattern(8000)).unwrap();
        world.gateway.notify(slot);
        world.poll();
        world.ask(&Request::Release { connection }).unwrap();
    }
    let newcomers = (0..1000).take_while(|number| {
        let is_in = enter(&mut world, somebody(30_000 + number), 2000);
        accept_all(&mut world);
        is_in
    });
    assert_eq!(newcomers.count(), usize::from(MANY - KEPT));
    assert_eq!(world.count(counters::EVICTED), u64::from(MANY - KEPT));
    assert_eq!(world.count(counters::DEFERRED), 1);
    world.from_stack.borrow_mut().log.clear();
    let taken = honest.wrapping_add(1000);
    world.put(segment(Slow::IP, 4000, 1001, taken, ACK).frame());
    world.poll();
    let goes_on = |sent: &world::Sent| sent.to_port == 4000 && !sent.rst;
    assert!(world.sent().iter().any(goes_on));
}

//! Connections that come and go, in plaintext, owned by the gateway.

mod world;

use std::time::Duration;

use ipc::badge::Badge;
use ipc::channel::{Event, Status};
use ipc::clock::Instant;
use ipc::net::{Answer, NetError, Owner, Request};
use ipc::stats::netstack as counters;
use netstack_server::{Limits, config};
use smoltcp::socket::tcp::State;
use world::{
    BACKEND_PORT, Forged, PEER_IP, PORT, SLOTS, World, address, end, has, pattern, read_all,
    take_events,
};

#[test]
fn a_connection_is_accepted_and_carries_bytes_both_ways() {
    let mut world = World::new();
    world.listen(8);
    let handle = world.peer.connect(PORT);
    world.run(8);
    assert!(take_events(&mut world.gateway).contains(&Event::Control));
    let connection = world.accept().unwrap();
    let slot = world.attach(connection);
    assert!(has(world.gateway.peer_status(slot), Status::ESTABLISHED));
    world.peer.send(handle, b"request");
    world.run(4);
    assert_eq!(read_all(&mut world.gateway, slot), b"request");
    world.gateway.write(slot, b"response").unwrap();
    world.run(4);
    assert_eq!(world.peer.receive(handle), b"response");
    assert_eq!(world.accept(), None);
    assert_eq!(world.count(counters::ACCEPTED), 1);
}

#[test]
fn every_syn_of_a_burst_finds_a_listening_socket() {
    let mut world = World::new();
    world.listen(64);
    let handles: Vec<_> = (0..64).map(|_| world.peer.connect(PORT)).collect();
    world.run(40);
    for handle in handles {
        assert_eq!(world.peer.socket(handle).state(), State::Established);
    }
    for _ in 0..64 {
        assert!(world.accept().is_some());
    }
    assert_eq!(world.count(counters::HALF_OPEN_DROPPED), 0);
    assert_eq!(world.count(counters::TABLE_FULL), 0);
}

#[test]
fn syns_that_never_finish_make_room_for_those_that_do() {
    let mut world = World::with(Limits::of(16));
    let most = Limits::of(16).connections as u64;
    world.listen(16);
    for port in 1..2000 {
        world.inject(&Forged::syn([198, 51, 100, 7], port));
        if port % 100 == 0 {
            world.step();
        }
    }
    world.run(4);
    let handle = world.peer.connect(PORT);
    world.run(8);
    assert_eq!(world.peer.socket(handle).state(), State::Established);
    assert!(world.accept().is_some());
    assert_eq!(world.count(counters::CONNECTIONS), most);
    let dropped = world.count(counters::HALF_OPEN_DROPPED);
    assert_eq!(dropped, 2000 - most);
    // The last of them go by time.
    world.sleep(config::HALF_OPEN + Duration::from_secs(1));
    assert_eq!(world.count(counters::CONNECTIONS), 1);
}

#[test]
fn as_long_as_the_backlog_waits_no_more_come() {
    let mut world = World::new();
    world.listen(4);
    let handles: Vec<_> = (0..8).map(|_| world.peer.connect(PORT)).collect();
    world.run(20);
    let established = handles
        .iter()
        .filter(|h| world.peer.socket(**h).state() == State::Established)
        .count();
    // All were half open before one waited.
    assert_eq!(established, 8);
    // The next SYN is dropped, and its sender tries again.
    let late = world.peer.connect(PORT);
    world.run(20);
    assert!(world.count(counters::BACKLOG_FULL) > 0);
    assert_eq!(world.peer.socket(late).state(), State::SynSent);
    let mut accepted = 0;
    for _ in 0..3000 {
        accepted += usize::from(world.accept().is_some());
        world.step();
    }
    assert_eq!(accepted, 9);
    assert_eq!(world.peer.socket(late).state(), State::Established);
}

#[test]
fn half_close_is_carried_from_the_peer_and_the_other_way_stays_open() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let slot = world.attach(connection);
    world.peer.send(handle, b"all I have to say");
    world.peer.socket(handle).close();
    world.run(6);
    assert!(has(world.gateway.peer_status(slot), Status::END));
    assert_eq!(read_all(&mut world.gateway, slot), b"all I have to say");
    world.gateway.write(slot, b"an answer").unwrap();
    world.run(4);
    assert_eq!(world.peer.receive(handle), b"an answer");
    end(&mut world.gateway, slot, Status::END);
    world.run(6);
    assert!(!world.peer.socket(handle).may_recv());
    assert!(!has(world.gateway.peer_status(slot), Status::RESET));
}

#[test]
fn half_close_is_carried_to_the_peer_and_the_other_way_stays_open() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let slot = world.attach(connection);
    world.gateway.write(slot, b"the end").unwrap();
    end(&mut world.gateway, slot, Status::END);
    world.run(6);
    assert_eq!(world.peer.receive(handle), b"the end");
    assert_eq!(world.peer.socket(handle).state(), State::CloseWait);
    world.peer.send(handle, b"not mine");
    world.run(4);
    assert_eq!(read_all(&mut world.gateway, slot), b"not mine");
    world.peer.socket(handle).close();
    world.run(6);
    assert!(has(world.gateway.peer_status(slot), Status::END));
}

#[test]
fn a_reset_is_told_both_ways() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let slot = world.attach(connection);
    world.peer.socket(handle).abort();
    world.run(4);
    assert!(has(world.gateway.peer_status(slot), Status::RESET));

    let (handle, connection) = world.connected();
    let slot = world.attach(connection);
    end(&mut world.gateway, slot, Status::RESET);
    world.run(4);
    assert_eq!(world.peer.socket(handle).state(), State::Closed);
    assert!(world.sent().iter().any(|segment| segment.rst));
}

#[test]
fn a_slot_that_is_used_again_has_no_bytes_of_before() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let slot = world.attach(connection);
    world.peer.send(handle, b"secret of the first");
    world.run(4);
    world.gateway.write(slot, b"answer to the first").unwrap();
    world.ask(&Request::Abort { connection }).unwrap();
    let (handle, connection) = world.connected();
    assert_eq!(world.attach(connection), slot);
    world.run(4);
    assert_eq!(world.gateway.readable(slot), Ok(0));
    assert_eq!(world.peer.receive(handle), b"");
    assert!(!has(world.gateway.peer_status(slot), Status::RESET));
}

#[test]
fn a_stalled_owner_closes_the_window_and_memory_stays_flat() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let slot = world.attach(connection);
    let bytes = pattern(512 * 1024);
    let mut offered = 0;
    for _ in 0..400 {
        offered += world.peer.send(handle, &bytes[offered..]);
        world.step();
    }
    let limit = world.gateway.rx_capacity() + Limits::default().accepted.receive + 64 * 1024;
    assert!(offered <= limit, "{offered}");
    assert_eq!(world.sent().last().unwrap().window, 0);
    let mut received = Vec::new();
    while received.len() < bytes.len() {
        received.extend(read_all(&mut world.gateway, slot));
        world.gateway.notify(slot);
        offered += world.peer.send(handle, &bytes[offered..]);
        world.step();
    }
    assert!(received == bytes);
}

#[test]
fn a_peer_that_does_not_read_leaves_the_bytes_in_the_ring() {
    let mut world = World::new();
    world.listen(8);
    let handle = world.peer.connect_with(PORT, 4096);
    world.run(8);
    let connection = world.accept().unwrap();
    let slot = world.attach(connection);
    let bytes = pattern(256 * 1024);
    let mut written = 0;
    for _ in 0..400 {
        written += world.gateway.write(slot, &bytes[written..]).unwrap();
        take_events(&mut world.gateway);
        world.step();
    }
    let limit = world.gateway.tx_capacity() + Limits::default().accepted.send + 4096;
    assert!(written <= limit, "{written}");
    let mut received = Vec::new();
    for _ in 0..200_000 {
        received.extend(world.peer.receive(handle));
        if received.len() == bytes.len() {
            break;
        }
        written += world.gateway.write(slot, &bytes[written..]).unwrap();
        take_events(&mut world.gateway);
        world.step();
    }
    assert!(received == bytes);
}

#[test]
fn a_lossy_link_carries_a_mebibyte_each_way_intact() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let slot = world.attach(connection);
    for queue in [&world.to_stack, &world.from_stack] {
        queue.borrow_mut().loss = 3;
        queue.borrow_mut().reorder = 5;
    }
    let bytes = pattern(1 << 20);
    let (mut up, mut down) = (0, 0);
    let (mut got_up, mut got_down) = (Vec::new(), Vec::new());
    for _ in 0..2_000_000 {
        up += world.peer.send(handle, &bytes[up..]);
        down += world.gateway.write(slot, &bytes[down..]).unwrap();
        got_up.extend(read_all(&mut world.gateway, slot));
        got_down.extend(world.peer.receive(handle));
        if got_up.len() == bytes.len() && got_down.len() == bytes.len() {
            break;
        }
        world.step();
    }
    assert!(got_up == bytes && got_down == bytes);
}

#[test]
fn a_backend_is_connected_to_and_refusals_are_told() {
    let mut world = World::new();
    let listening = world.peer.listen(BACKEND_PORT);
    let to = address(PEER_IP, BACKEND_PORT);
    let deadline = world.now + Duration::from_secs(5);
    let connect = Request::Connect { to, deadline };
    let Ok(Answer::Connecting { slot, connection }) = world.ask(&connect) else {
        panic!("refused");
    };
    world.gateway.follow(slot);
    // What is written early waits.
    world.gateway.write(slot, b"hello").unwrap();
    world.run(8);
    assert!(has(world.gateway.peer_status(slot), Status::ESTABLISHED));
    assert_eq!(world.peer.receive(listening), b"hello");
    assert_eq!(world.count(counters::CONNECTED), 1);
    world.ask(&Request::Release { connection }).unwrap();
    // There is no listener any more.
    let Ok(Answer::Connecting { slot, .. }) = world.ask(&connect) else {
        panic!("refused");
    };
    world.gateway.follow(slot);
    world.run(8);
    let status = world.gateway.peer_status(slot);
    assert!(has(status, Status::RESET) && !has(status, Status::ESTABLISHED));
}

#[test]
fn a_backend_that_does_not_answer_is_given_up_at_the_deadline() {
    let mut world = World::new();
    let to = address([192, 0, 2, 1], 80);
    let deadline = world.now + Duration::from_secs(5);
    let Ok(Answer::Connecting { slot, .. }) = world.ask(&Request::Connect { to, deadline }) else {
        panic!("refused");
    };
    world.gateway.follow(slot);
    world.sleep(Duration::from_millis(4900));
    assert!(!has(world.gateway.peer_status(slot), Status::RESET));
    world.sleep(Duration::from_millis(200));
    let expected = Status::RESET | Status::DEADLINE;
    assert!(has(world.gateway.peer_status(slot), expected));
}

#[test]
fn an_idle_connection_is_cut_off_and_an_idle_stack_sleeps() {
    let mut world = World::new();
    let (_, connection) = world.connected();
    let slot = world.attach(connection);
    let wakeups = world.sleep(config::IDLE - Duration::from_secs(1));
    assert!(wakeups < 60, "{wakeups} wake-ups in five minutes");
    assert!(!has(world.gateway.peer_status(slot), Status::RESET));
    world.sleep(Duration::from_secs(2));
    assert!(has(world.gateway.peer_status(slot), Status::RESET));
    world.ask(&Request::Release { connection }).unwrap();
    assert_eq!(world.count(counters::CONNECTIONS), 0);
}

#[test]
fn tables_that_are_full_refuse_and_recover() {
    let limits = Limits {
        connections: 4,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    world.listen(64);
    let first = world.peer.connect(PORT);
    world.run(8);
    for _ in 0..8 {
        world.peer.connect(PORT);
    }
    world.run(10);
    assert_eq!(world.count(counters::CONNECTIONS), 4);
    let to = address(PEER_IP, BACKEND_PORT);
    let deadline = Instant::NEVER;
    let connect = Request::Connect { to, deadline };
    assert_eq!(world.ask(&connect), Err(NetError::Full));
    let connection = world.accept().unwrap();
    world.ask(&Request::Abort { connection }).unwrap();
    assert!(matches!(world.ask(&connect), Ok(Answer::Connecting { .. })));
    world.run(2);
    assert_eq!(world.peer.socket(first).state(), State::Closed);
}

#[test]
fn slots_that_are_used_up_refuse() {
    let mut world = World::new();
    let to = address(PEER_IP, BACKEND_PORT);
    let deadline = Instant::NEVER;
    for _ in 0..SLOTS {
        let answer = world.ask(&Request::Connect { to, deadline });
        assert!(
            matches!(answer, Ok(Answer::Connecting { .. })),
            "{answer:?}"
        );
    }
    let answer = world.ask(&Request::Connect { to, deadline });
    assert_eq!(answer, Err(NetError::Full));
}

#[test]
fn a_thousand_connections_in_a_row_leave_nothing_behind() {
    let mut world = World::new();
    world.listen(64);
    for round in 0..1000 {
        let handle = world.peer.connect(PORT);
        world.run(5);
        let connection = world.accept().unwrap();
        let slot = world.attach(connection);
        world.peer.send(handle, b"ping");
        world.run(3);
        assert_eq!(read_all(&mut world.gateway, slot), b"ping");
        world.gateway.write(slot, b"pong").unwrap();
        end(&mut world.gateway, slot, Status::END);
        world.run(3);
        assert_eq!(world.peer.receive(handle), b"pong", "round {round}");
        world.peer.socket(handle).close();
        world.run(3);
        world.ask(&Request::Release { connection }).unwrap();
        world.peer.sockets.remove(handle);
    }
    world.sleep(Duration::from_secs(30));
    assert_eq!(world.count(counters::CONNECTIONS), 0);
}

#[test]
fn first_sequence_numbers_do_not_repeat_and_do_not_follow_each_other() {
    let mut world = World::new();
    world.listen(256);
    for port in 1..=200 {
        world.inject(&Forged::syn(PEER_IP, port));
    }
    world.run(3);
    let mut numbers: Vec<u32> = world
        .sent()
        .iter()
        .filter(|segment| segment.syn)
        .map(|segment| segment.sequence)
        .collect();
    assert!(numbers.len() >= 200);
    numbers.sort_unstable();
    numbers.dedup();
    assert!(numbers.len() >= 199);
    let (low, high) = (numbers[0], numbers[numbers.len() - 1]);
    assert!(high - low > u32::MAX / 2, "spread over the whole space");
}

#[test]
fn a_damaged_segment_is_not_taken() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let slot = world.attach(connection);
    world.peer.send(handle, b"intact");
    // The peer's frame is on the link, the stack has not seen it.
    world.step_peer();
    if let Some(frame) = world.to_stack.borrow_mut().frames.back_mut() {
        let last = frame.len() - 1;
        frame[last] ^= 1;
    }
    world.stack.poll(world.now);
    assert_eq!(world.gateway.readable(slot), Ok(0));
    world.run(3000);
    assert_eq!(read_all(&mut world.gateway, slot), b"intact");
}

#[test]
fn a_table_that_is_full_refuses_and_recovers() {
    let limits = Limits {
        connections: 3,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    world.listen(64);
    for _ in 0..5 {
        world.peer.connect(PORT);
        world.run(8);
    }
    assert_eq!(world.count(counters::CONNECTIONS), 3);
    assert!(world.count(counters::TABLE_FULL) > 0);
    let connection = world.accept().unwrap();
    let (to, deadline) = (address(PEER_IP, BACKEND_PORT), Instant::NEVER);
    let connect = Request::Connect { to, deadline };
    assert_eq!(world.ask(&connect), Err(NetError::Full));
    world.ask(&Request::Abort { connection }).unwrap();
    // A place of one kind serves the other.
    assert!(matches!(world.ask(&connect), Ok(Answer::Connecting { .. })));
}

#[test]
fn c05_a_client_that_restarts_has_no_port_and_no_connection() {
    let mut world = World::new();
    let (attached, first) = world.connected();
    world.attach(first);
    let (accepted, _) = world.connected();
    let (moved, third) = world.connected();
    world
        .try_move(third, Owner::Record(0), Instant::NEVER, None)
        .unwrap();
    let waiting = world.peer.connect(PORT);
    world.run(8);

    assert_eq!(world.ask(&Request::Begin), Ok(Answer::Done));
    world.run(4);
    for handle in [attached, accepted, waiting] {
        assert_eq!(world.peer.socket(handle).state(), State::Closed);
    }
    assert_eq!(world.peer.socket(moved).state(), State::Established);
    assert_eq!(world.count(counters::CONNECTIONS), 1);
    let refused = world.peer.connect(PORT);
    world.run(8);
    assert_eq!(world.peer.socket(refused).state(), State::Closed);
    // It may have all that it had again.
    world.listen(64);
    assert_eq!(world.accept(), None);
    let again = world.peer.connect(PORT);
    world.run(8);
    assert_eq!(world.peer.socket(again).state(), State::Established);
    assert!(world.accept().is_some());

    // The shim's word is about what was moved to other domains.
    let begin = world.call(Badge::Control, &Request::Begin);
    assert_eq!(begin, Ok(Answer::Done));
    world.run(4);
    assert_eq!(world.peer.socket(moved).state(), State::Closed);
    assert_eq!(world.peer.socket(again).state(), State::Established);
    assert_eq!(world.count(counters::CONNECTIONS), 1);
    let session = Badge::Session {
        slot: 0,
        generation: 0,
    };
    let denied = world.call(session, &Request::Begin);
    assert_eq!(denied, Err(NetError::Denied));
}

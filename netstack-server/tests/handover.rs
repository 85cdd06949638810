//! Connections that change hands, segments, deadlines.

mod world;

use std::time::Duration;

use ipc::channel::Status;
use ipc::clock::Instant;
use ipc::net::{Answer, MAX_SEGMENT, NetError, Owner, Request};
use ipc::stats::netstack as counters;
use smoltcp::socket::tcp::State;
use world::{CLIENT, World, end, has, pattern, read_all, segment, take_events};

#[test]
fn a_handshake_is_handed_over_at_an_exact_byte_with_bytes_before_and_after() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let start = world.hand_over(connection, Owner::Offload(3));
    // A hello, a Finished, and application data right after it.
    world.peer.send(handle, b"hello|finished|application data");
    world.run(4);
    let mut hello = [0; 6];
    world.offload.read(3, &mut hello).unwrap();
    assert_eq!(&hello, b"hello|");
    let answer = segment(start.tx_next, b"server hello|");
    world.offload.write(3, &answer).unwrap();
    world.offload.flush();
    let mut finished = [0; 9];
    world.offload.read(3, &mut finished).unwrap();
    // What it writes last is still in its ring at the hand-over.
    let last = segment(start.tx_next + 13, b"ticket|");
    world.offload.write(3, &last).unwrap();
    let position = world.hand_over(connection, Owner::Record(5));
    assert_eq!(position.tx_next, start.tx_next + 13 + 7);
    assert_eq!(position.rx_next, start.rx_next + 6 + 9);
    world.record.write(5, b"protected").unwrap();
    world.run(6);
    assert_eq!(read_all(&mut world.record, 5), b"application data");
    assert_eq!(world.peer.receive(handle), b"server hello|ticket|protected");
    assert!(!has(world.offload.peer_status(3), Status::OPEN));
    // The first protected record leaves in a TCP segment of its own, at the sequence
    // number that was reported.
    let sent = world.sent();
    let record = sent.iter().find(|s| s.bytes == b"protected").unwrap();
    assert_eq!(record.sequence, position.tx_next);
}

#[test]
fn a_hand_over_under_load_loses_and_doubles_nothing() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let bytes = pattern(400_000);
    let (mut up, mut down) = (0, 0);
    let (mut got_up, mut got_down) = (Vec::<u8>::new(), Vec::<u8>::new());
    let owners = [
        Owner::Offload(0),
        Owner::Record(1),
        Owner::Application {
            client: CLIENT,
            slot: 2,
        },
        Owner::Record(3),
        Owner::Client,
    ];
    let mut position = world.hand_over(connection, owners[0]);
    let first = position;
    let mut owner = owners[0];
    for round in 0..20_000 {
        up += world.peer.send(handle, &bytes[up..]);
        got_down.extend(world.peer.receive(handle));
        match owner {
            Owner::Offload(slot) => {
                let length = (round * 37 % 900 + 1).min(bytes.len() - down);
                let sequence = first.tx_next.wrapping_add(down as u32);
                if length > 0 && world.offload.writable(slot).unwrap() >= length + 6 {
                    let chunk = segment(sequence, &bytes[down..down + length]);
                    assert_eq!(world.offload.write(slot, &chunk), Ok(length + 6));
                    down += length;
                }
                let mut some = vec![0; round % 1000];
                let count = world.offload.read(slot, &mut some).unwrap();
                got_up.extend(&some[..count]);
                take_events(&mut world.offload);
            }
            Owner::Record(slot) => {
                down += world.record.write(slot, &bytes[down..]).unwrap();
                let mut some = vec![0; round % 3000];
                let count = world.record.read(slot, &mut some).unwrap();
                got_up.extend(&some[..count]);
                take_events(&mut world.record);
            }
            Owner::Application { slot, .. } => {
                down += world.gateway.write(slot, &bytes[down..]).unwrap();
                let mut some = vec![0; round % 2000];
                let count = world.gateway.read(slot, &mut some).unwrap();
                got_up.extend(&some[..count]);
                take_events(&mut world.gateway);
            }
            Owner::Client => {}
        }
        if round % 23 == 22 && down < bytes.len() {
            owner = owners[round % 5];
            let expected = first.tx_next.wrapping_add(down as u32);
            position = world
                .try_move(connection, owner, Instant::NEVER, Some(expected))
                .unwrap();
            let read = first.rx_next.wrapping_add(got_up.len() as u32);
            assert_eq!(position.rx_next, read, "round {round}");
            match owner {
                Owner::Client => {}
                Owner::Application { slot, .. } => world.gateway.follow(slot),
                Owner::Offload(slot) => world.offload.follow(slot),
                Owner::Record(slot) => world.record.follow(slot),
            }
        }
        world.step();
        if got_up.len() == bytes.len() && got_down.len() == bytes.len() {
            break;
        }
        if down == bytes.len() && owner == Owner::Client {
            owner = Owner::Record(7);
            world.hand_over(connection, owner);
        }
    }
    assert_eq!((got_up.len(), got_down.len()), (bytes.len(), bytes.len()));
    assert!(got_up == bytes && got_down == bytes);
}

#[test]
fn each_handshake_segment_leaves_as_a_tcp_segment_of_its_own() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let position = world.hand_over(connection, Owner::Offload(0));
    let mut next = position.tx_next;
    let mut expected = Vec::new();
    for length in [100, 1, 1200, 7, 300] {
        let bytes = pattern(length);
        world.offload.write(0, &segment(next, &bytes)).unwrap();
        next = next.wrapping_add(length as u32);
        expected.push(bytes);
    }
    world.run(6);
    let sent = world.sent();
    let on_wire = sent
        .iter()
        .map(|s| s.bytes.clone())
        .filter(|b| !b.is_empty());
    let on_wire: Vec<_> = on_wire.collect();
    assert_eq!(on_wire, expected);
    assert_eq!(world.peer.receive(handle), expected.concat());
}

#[test]
fn a_segment_that_is_not_the_next_one_is_refused() {
    for (offset, bytes) in [(1, &b"x"[..]), (u32::MAX, b"x"), (0, b"")] {
        let mut world = World::new();
        let (handle, connection) = world.connected();
        let position = world.hand_over(connection, Owner::Offload(0));
        let wrong = segment(position.tx_next.wrapping_add(offset), bytes);
        world.offload.write(0, &wrong).unwrap();
        world.run(4);
        let refused = Status::REFUSED | Status::RESET;
        assert!(has(world.offload.peer_status(0), refused));
        assert_eq!(world.peer.socket(handle).state(), State::Closed);
        assert_eq!(world.count(counters::SEGMENTS_REFUSED), 1);
        // The next connection is served.
        let (_, connection) = world.connected();
        world.hand_over(connection, Owner::Offload(1));
        let gone = world.try_move(connection, Owner::Offload(0), Instant::NEVER, None);
        assert_eq!(gone, Err(NetError::SlotInUse));
    }
}

#[test]
fn a_refused_segment_found_at_the_hand_over_ends_the_connection_too() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let position = world.hand_over(connection, Owner::Offload(0));
    let wrong = segment(position.tx_next.wrapping_add(9), b"x");
    world.offload.write(0, &wrong).unwrap();
    let moved = world.try_move(connection, Owner::Record(0), Instant::NEVER, None);
    assert_eq!(moved, Err(NetError::Closed));
    world.run(4);
    assert_eq!(world.peer.socket(handle).state(), State::Closed);
}

#[test]
fn a_wrong_expectation_of_the_sequence_number_moves_nothing() {
    let mut world = World::new();
    let (_, connection) = world.connected();
    let position = world.hand_over(connection, Owner::Offload(0));
    let wrong = Some(position.tx_next.wrapping_add(1));
    let moved = world.try_move(connection, Owner::Record(0), Instant::NEVER, wrong);
    assert_eq!(moved, Err(NetError::WrongSequence));
    assert!(has(world.offload.peer_status(0), Status::OPEN));
    let right = Some(position.tx_next);
    let moved = world.try_move(connection, Owner::Record(0), Instant::NEVER, right);
    assert_eq!(moved, Ok(position));
}

#[test]
fn the_sequence_numbers_told_are_those_on_the_wire() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let position = world.hand_over(connection, Owner::Record(0));
    world.record.write(0, b"first").unwrap();
    world.peer.send(handle, b"12345");
    world.run(20);
    let sent = world.sent();
    let first = sent.iter().find(|s| s.bytes == b"first").unwrap();
    assert_eq!(first.sequence, position.tx_next);
    let last = sent.last().unwrap();
    assert_eq!(last.acknowledged, position.rx_next.wrapping_add(5));
}

#[test]
fn the_deadline_is_told_and_then_ends_a_connection_whose_owner_does_nothing() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let deadline = world.now + Duration::from_secs(3);
    let moved = world.try_move(connection, Owner::Offload(0), deadline, None);
    assert!(moved.is_ok());
    world.offload.follow(0);
    world.sleep(Duration::from_millis(2900));
    assert!(!has(world.offload.peer_status(0), Status::DEADLINE));
    world.sleep(Duration::from_millis(200));
    let status = world.offload.peer_status(0);
    assert!(has(status, Status::DEADLINE) && !has(status, Status::RESET));
    assert_eq!(world.count(counters::DEADLINES), 1);
    world.sleep(Duration::from_secs(1));
    assert!(has(world.offload.peer_status(0), Status::RESET));
    world.run(2);
    assert_eq!(world.peer.socket(handle).state(), State::Closed);
}

#[test]
fn an_owner_may_still_send_its_alert_after_the_deadline() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let deadline = world.now + Duration::from_secs(1);
    let position = world
        .try_move(connection, Owner::Offload(0), deadline, None)
        .unwrap();
    world.offload.follow(0);
    world.sleep(Duration::from_millis(1100));
    world
        .offload
        .write(0, &segment(position.tx_next, b"alert"))
        .unwrap();
    end(&mut world.offload, 0, Status::END);
    let release = Request::Release { connection };
    assert_eq!(
        world.call(ipc::badge::Badge::Control, &release),
        Ok(Answer::Done)
    );
    world.run(6);
    assert_eq!(world.peer.receive(handle), b"alert");
    assert_eq!(world.peer.socket(handle).state(), State::CloseWait);
}

#[test]
fn a_move_takes_the_deadline_away() {
    let mut world = World::new();
    let (_, connection) = world.connected();
    let deadline = world.now + Duration::from_secs(1);
    world
        .try_move(connection, Owner::Offload(0), deadline, None)
        .unwrap();
    world.hand_over(connection, Owner::Record(0));
    world.sleep(Duration::from_secs(10));
    let status = world.record.peer_status(0);
    assert!(!has(status, Status::DEADLINE) && !has(status, Status::RESET));
}

#[test]
fn an_end_of_the_peer_reaches_the_next_owner_after_the_bytes() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    world.hand_over(connection, Owner::Offload(0));
    world.peer.send(handle, b"finished|last words");
    world.peer.socket(handle).close();
    world.run(6);
    assert!(has(world.offload.peer_status(0), Status::END));
    world.offload.read(0, &mut [0; 9]).unwrap();
    world.hand_over(connection, Owner::Record(0));
    world.run(2);
    assert!(has(world.record.peer_status(0), Status::END));
    assert_eq!(read_all(&mut world.record, 0), b"last words");
}

#[test]
fn what_has_a_session_or_a_handshake_is_not_handed_on_to_another_one() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    world.hand_over(connection, Owner::Offload(0));
    for to in [Owner::Offload(0), Owner::Offload(1)] {
        let moved = world.try_move(connection, to, Instant::NEVER, None);
        assert_eq!(moved, Err(NetError::SlotInUse));
    }
    world.hand_over(connection, Owner::Record(0));
    let bytes = pattern(30_000);
    world.peer.send(handle, &bytes);
    world.run(60);
    for to in [Owner::Offload(0), Owner::Offload(1), Owner::Record(1)] {
        let moved = world.try_move(connection, to, Instant::NEVER, None);
        assert_eq!(moved, Err(NetError::SlotInUse));
    }
    let mut received = Vec::new();
    while received.len() < bytes.len() {
        received.extend(read_all(&mut world.record, 0));
        world.record.notify(0);
        world.step();
    }
    assert!(received == bytes, "and nothing of it is lost");
}

#[test]
fn a_lost_handshake_segment_comes_again() {
    let mut world = World::new();
    let (handle, connection) = world.connected();
    let position = world.hand_over(connection, Owner::Offload(0));
    world.from_stack.borrow_mut().loss = 100;
    world
        .offload
        .write(0, &segment(position.tx_next, b"hello"))
        .unwrap();
    world.run(3);
    world.from_stack.borrow_mut().loss = 0;
    world.run(3000);
    assert_eq!(world.peer.receive(handle), b"hello");
}

#[test]
fn segments_that_wait_for_the_window_are_not_joined() {
    let mut world = World::new();
    world.listen(8);
    let handle = world.peer.connect_with(world::PORT, 256);
    world.run(8);
    let connection = world.accept().unwrap();
    let position = world.hand_over(connection, Owner::Offload(0));
    let mut ends = vec![position.tx_next];
    let mut expected = Vec::new();
    for length in [200, 100, 50, 120] {
        let (start, bytes) = (ends[ends.len() - 1], pattern(length));
        world.offload.write(0, &segment(start, &bytes)).unwrap();
        ends.push(start.wrapping_add(length as u32));
        expected.extend(bytes);
    }
    world.run(10);
    world.hand_over(connection, Owner::Record(0));
    world.record.write(0, b"protected").unwrap();
    expected.extend(b"protected");
    world.run(10);
    let mut received = Vec::new();
    while received.len() < expected.len() {
        received.extend(world.peer.receive(handle));
        world.step();
    }
    assert_eq!(received, expected);
    for sent in world.sent() {
        let last = sent.sequence.wrapping_add(sent.bytes.len() as u32);
        let crossed = |end: &&u32| (sent.sequence + 1..last).contains(*end);
        assert_eq!(ends.iter().find(crossed), None, "{sent:?}");
    }
}

#[test]
fn peers_that_take_nothing_of_their_flights_keep_no_handshake_from_its_end() {
    // As many tickets with long chains as fit the ring, in the longest segments.
    const FLIGHT: [usize; 3] = [MAX_SEGMENT, MAX_SEGMENT, 2000];
    const SLOTS: u16 = 1504;
    let mut world = World::new();
    world.listen(128);
    let mut begun = 0;
    let mut begin = |world: &mut World, window: usize| {
        let handle = world.peer.connect_with(world::PORT, window);
        world.run(8);
        let connection = world.accept().unwrap();
        let slot = begun % world.offload.slots();
        let position = world.hand_over(connection, Owner::Offload(slot));
        let mut start = position.tx_next;
        for length in FLIGHT {
            let bytes = segment(start, &pattern(length));
            world.offload.write(slot, &bytes).unwrap();
            start = start.wrapping_add(length as u32);
        }
        let to = Owner::Record(begun);
        begun += 1;
        let moved = world.try_move(connection, to, Instant::NEVER, None);
        (handle, moved.is_ok())
    };
    let mut kept = 0;
    for _ in 0..SLOTS {
        // It takes no byte of it.
        kept += usize::from(begin(&mut world, 1).1);
    }
    assert_eq!(kept, usize::from(SLOTS), "none is refused for another");
    let (handle, is_moved) = begin(&mut world, 16 * 1024);
    assert!(is_moved);
    world.run(20);
    assert_eq!(
        world.peer.receive(handle).len(),
        FLIGHT.iter().sum::<usize>()
    );
}

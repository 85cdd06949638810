//! What the NIC can do: checksums, and segments that it cuts and joins.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod world;

use std::cell::RefCell;

use ipc::stats::netstack as counters;
use world::{Forged, World, pattern, read_all, take_events};

/// Sends as many bytes each way and looks whether they arrive unchanged.
fn both_ways(world: &mut World) {
    let (handle, connection) = world.connected();
    let slot = world.attach(connection);
    let bytes = pattern(100_000);
    let (mut written, mut received) = (0, Vec::new());
    let (mut sent, mut read) = (0, Vec::new());
    for _ in 0..20_000 {
        written += world.gateway.write(slot, &bytes[written..]).unwrap();
        sent += world.peer.send(handle, &bytes[sent..]);
        take_events(&mut world.gateway);
        world.gateway.notify(slot);
        world.step();
        received.extend(world.peer.receive(handle));
        read.extend(read_all(&mut world.gateway, slot));
        if received.len() == bytes.len() && read.len() == bytes.len() {
            break;
        }
    }
    assert!(received == bytes, "{} bytes", received.len());
    assert!(read == bytes, "{} bytes", read.len());
}

fn longest(queue: &RefCell<world::Queue>) -> usize {
    let queue = queue.borrow();
    queue.log.iter().map(Vec::len).max().unwrap()
}

#[test]
fn frames_of_several_segments_go_out_and_come_in() {
    let mut world = World::offloading();
    both_ways(&mut world);
    for queue in [&world.from_stack, &world.to_stack] {
        assert!(longest(queue) > 4 * 1460, "{}", longest(queue));
        // Cut as the peer and the link want it.
        let cut = &queue.borrow().cut;
        assert!(!cut.is_empty());
        assert!(
            cut.iter()
                .all(|(length, size)| *length > 1514 && *size == 1460)
        );
    }
}

#[test]
fn a_nic_without_offloads_gets_no_frame_that_it_can_t_send() {
    let mut world = World::new();
    both_ways(&mut world);
    for queue in [&world.from_stack, &world.to_stack] {
        assert_eq!(longest(queue), 1514);
        assert!(queue.borrow().cut.is_empty());
    }
}

#[test]
fn frames_of_several_segments_arrive_over_a_link_that_loses_some() {
    let mut world = World::offloading();
    for queue in [&world.to_stack, &world.from_stack] {
        queue.borrow_mut().loss = 3;
        queue.borrow_mut().reorder = 5;
    }
    both_ways(&mut world);
}

#[test]
fn segments_on_a_narrow_path_are_no_longer_than_the_peer_takes() {
    let mut world = World::offloading();
    world.listen(64);
    world.to_stack.borrow_mut().compared = true;
    let handle = world.peer.connect(world::PORT);
    for _ in 0..8 {
        world.step_peer();
        for frame in &mut world.to_stack.borrow_mut().frames {
            // The peer's maximum segment size, the first option of its SYN.
            if frame.len() > 58 && frame[47] == 2 {
                assert_eq!(frame[54..56], [2, 4]);
                frame[56..58].copy_from_slice(&600_u16.to_be_bytes());
            }
        }
        world.poll();
    }
    let connection = world.accept().unwrap();
    let slot = world.attach(connection);
    // What the stack sends before the peer has acknowledged any of it.
    let send = |world: &mut World| {
        world.from_stack.borrow_mut().log.clear();
        assert_eq!(world.gateway.write(slot, &pattern(8000)), Ok(8000));
        world.gateway.notify(slot);
        world.poll();
        world.from_stack.borrow().log.clone()
    };
    let whole = send(&mut world);
    let sizes = world.from_stack.borrow().cut.clone();
    assert!(sizes.iter().any(|(_, size)| *size == 600), "{sizes:?}");
    let lost = whole.iter().find(|frame| frame.len() > 1514).unwrap();
    // Narrower than the link, and wider than the peer.
    let word = world::frames::fragmentation_needed([192, 0, 2, 77], lost, 1200);
    world.put(word);
    world.run(50);
    world.peer.receive(handle);
    assert_eq!(world.count(counters::NARROWED), 1);
    let pieces = send(&mut world);
    assert!(pieces.len() > 8000 / 600);
    let most = pieces.iter().map(Vec::len).max();
    assert_eq!(most, Some(54 + 600));
}

#[test]
fn a_checksum_is_looked_at_unless_the_nic_has_compared_it() {
    let mut world = World::new();
    world.listen(64);
    let mut wrong = Forged::syn(world::PEER_IP, 4000).frame();
    wrong[50] ^= 1;
    world.put(wrong.clone());
    let dropped = world.count(counters::DROPPED);
    world.run(3);
    assert_eq!(world.count(counters::DROPPED), dropped + 1);
    assert!(!world.sent().iter().any(|sent| sent.syn));
    world.to_stack.borrow_mut().compared = true;
    world.put(wrong);
    world.run(3);
    assert!(
        world
            .sent()
            .iter()
            .any(|sent| sent.syn && sent.to_port == 4000)
    );
    // That says nothing of what is no TCP: an IPv4 header is looked at all the same.
    let mut other = Forged::syn(world::PEER_IP, 4001).frame();
    other[24] ^= 1;
    world.put(other);
    world.run(3);
    assert!(!world.sent().iter().any(|sent| sent.to_port == 4001));
}

#[test]
fn a_reset_in_a_frame_of_several_segments_is_judged_as_any_other() {
    let mut world = World::offloading();
    world.to_stack.borrow_mut().compared = true;
    let (handle, connection) = world.connected();
    let slot = world.attach(connection);
    world.peer.send(handle, b"x");
    world.run(4);
    assert_eq!(read_all(&mut world.gateway, slot), b"x");
    let mut frame = world.to_stack.borrow().log.last().unwrap().clone();
    // A byte after the expected one, 9,000 bytes long.
    let sequence = u32::from_be_bytes(frame[38..42].try_into().unwrap());
    frame[38..42].copy_from_slice(&sequence.wrapping_add(2).to_be_bytes());
    frame[47] = 0x14;
    frame.truncate(54);
    frame.extend(pattern(9000));
    let length = (frame.len() - 14) as u16;
    frame[16..18].copy_from_slice(&length.to_be_bytes());
    smoltcp::wire::Ipv4Packet::new_unchecked(&mut frame[14..]).fill_checksum();
    let guarded = world.count(counters::GUARDED);
    world.put(frame);
    world.run(4);
    assert_eq!(world.count(counters::GUARDED), guarded + 1);
    world.peer.send(handle, b"y");
    world.run(4);
    assert_eq!(read_all(&mut world.gateway, slot), b"y");
}

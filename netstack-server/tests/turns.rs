//! All connections with something to do at once: in turns, so that a call waits for one.

mod world;

use ipc::net::{Answer, Ready, Request};
use ipc::stats::netstack as counters;
use netstack_server::Limits;
use netstack_server::config::MAX_BACKLOG;
use world::crowd::{full, near_router, segment, somebody};
use world::frames::{ACK, SYN};
use world::{PORT, World, pattern};

/// Connections that are served in a turn at the most.
const TURN: usize = 64;

fn resets(world: &World) -> usize {
    let sent = world.sent();
    sent.iter().filter(|sent| sent.rst).count()
}

fn forget_sent(world: &World) {
    let mut sent = world.from_stack.borrow_mut();
    sent.log.clear();
    sent.frames.clear();
}

fn begin(world: &mut World) {
    assert_eq!(world.ask_alone(&Request::Begin), Ok(Answer::Done));
    let listen = Request::Listen {
        port: PORT,
        backlog: MAX_BACKLOG,
        ready: Ready::Established,
        share: None,
    };
    assert_eq!(world.ask_alone(&listen), Ok(Answer::Done));
}

#[test]
fn the_connections_of_a_client_that_restarts_end_in_turns_and_it_listens_again_at_once() {
    let mut world = near_router();
    let held = full(&mut world).len();
    assert_eq!(held, Limits::SHIPPED.connections);
    forget_sent(&world);
    begin(&mut world);
    assert_eq!(resets(&world), 0, "the call itself sends nothing");
    let (mut before, mut turns) = (0, 0);
    while world.turn() {
        let now = resets(&world);
        assert!(now - before <= TURN, "{now} after {before}");
        (before, turns) = (now, turns + 1);
    }
    assert!(turns >= held / TURN - 1, "{turns} turns");
    assert_eq!(resets(&world), held, "each peer has its reset");
    assert_eq!(world.count(counters::CONNECTIONS), 0);
    assert_eq!(full(&mut world).len(), held, "nothing is held any more");
}

#[test]
fn who_comes_during_many_turns_has_one_when_those_that_were_there_had_theirs() {
    let mut world = near_router();
    let held = full(&mut world).len();
    begin(&mut world);
    forget_sent(&world);
    world.put(segment(somebody(held as u32 + 1), 2001, 1000, 0, SYN).frame());
    let mut turns = 1;
    while world.turn() && !world.sent().iter().any(|sent| sent.syn) {
        turns += 1;
    }
    assert!(world.sent().iter().any(|sent| sent.syn), "{turns} turns");
    assert_eq!(turns, held.div_ceil(TURN), "it was evicted for who comes");
}

#[test]
fn a_peer_that_takes_tiny_segments_gets_no_more_frames_than_others() {
    let mut world = near_router();
    let from = somebody(1);
    // Its SYN asks for 48 bytes.
    world.put(segment(from, 2000, 1000, 0, SYN).frame_with(&[2, 4, 0, 48]));
    world.poll();
    let answer = world
        .sent()
        .into_iter()
        .find(|s| s.syn && s.to_port == 2000);
    let acknowledged = answer.unwrap().sequence.wrapping_add(1);
    world.put(segment(from, 2000, 1001, acknowledged, ACK).frame());
    world.poll();
    let connection = world.accept().unwrap();
    let slot = world.attach(connection);
    forget_sent(&world);
    // As much as its window takes.
    let bytes = pattern(4096);
    assert_eq!(world.gateway.write(slot, &bytes), Ok(bytes.len()));
    world.gateway.notify(slot);
    world.poll();
    let sent = world.sent();
    let received: Vec<u8> = sent.iter().flat_map(|s| s.bytes.clone()).collect();
    assert_eq!(received, bytes);
    assert_eq!(sent.len(), 4096_usize.div_ceil(536));
}

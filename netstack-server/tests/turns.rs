//! All connections with something to do at once: in turns, so that a call waits for one.

mod world;

use ipc::net::{Answer, Ready, Request};
use ipc::stats::netstack as counters;
use netstack_server::Limits;
use netstack_server::config::MAX_BACKLOG;
use world::crowd::{full, near_router, segment, somebody};
use world::frames::SYN;
use world::{PORT, World};

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

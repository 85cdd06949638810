//! The budget, against the heap in use with the worst peer in every place of the shipped
//! tables.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up fails")]
#![allow(clippy::indexing_slicing, reason = "a test that finds less fails")]

mod world;

use gateway::budget;
use ipc::channel::Status;
use ipc::provision::Limits;
use ipc::stats::gateway as counters;

use world::memory::{Counting, used};
use world::net::State;
use world::{FORWARD, RULES, SENDING, STATUS, Sizes, World, address, listeners};

#[global_allocator]
static HEAP: Counting = Counting;

fn bound(sizes: Sizes, listeners: usize, rules: usize) -> usize {
    budget::heap(
        sizes.sessions.into(),
        sizes.connections.into(),
        sizes.handshakes.into(),
        listeners,
        rules,
    )
}

#[test]
fn the_shipped_tables_fit_with_as_many_listeners_as_can_be_configured() {
    let (sizes, _) = Sizes::shipped();
    // The most listeners, and rules for a few of them.
    let sum = bound(sizes, 128, 128);
    assert!(sum <= sizes.heap, "{sum} of {}", sizes.heap);
}

#[test]
fn no_address_can_have_a_whole_table() {
    let (sizes, _) = Sizes::shipped();
    let limits = Limits::default();
    assert!(limits.connections < sizes.connections);
    assert!(limits.sessions < sizes.sessions);
    assert!(limits.handshakes < sizes.handshakes);
    // All backends leave half to clients.
    let with_backends = budget::most_with_backends(sizes.handshakes);
    assert!(2 * with_backends <= sizes.handshakes);
    // And one has the sessions that the image is made for, and more.
    assert!(limits.sessions > 1500 && limits.connections > 1500);
}

#[test]
fn the_worst_peer_in_every_place_stays_within_the_budget_and_leaves_nothing() {
    let lists = listeners();
    let rules = lists.iter().map(|l| l.rules.len()).sum();
    let count = lists.len();
    let mut world = World::new(lists);
    let bound = bound(world.sizes, count, rules);
    let (idle, _) = used();
    // Every session: half of them unfinished requests, some of them unread pages, the
    // rest of them with a backend.
    let mut sessions = Vec::new();
    for number in 0..world.sizes.sessions - world.sizes.handshakes {
        let port = if number % 2 == 0 { STATUS } else { FORWARD };
        let slot = world.session(port, address(number));
        if number >= 128 || port == FORWARD {
            world.send(slot, &[b'a'; 8000]);
        }
        sessions.push(slot);
    }
    for slot in sessions.iter().take(128).step_by(2) {
        world.send(*slot, b"GET / HTTP/1.1\r\n\r\n");
    }
    let (busy, pages) = (world.count(counters::PAGES_BUSY), budget::PAGES);
    assert_eq!(busy, 64 - pages as u64, "all others are on their way");
    // A ClientHello that a rule depends on, as long as its ring and full of names.
    let talker = world.arrive(RULES, address(1999));
    world.settle();
    let slot = world.net.borrow().slot(talker).unwrap();
    world
        .net
        .borrow_mut()
        .side
        .write(slot, &hello(8000))
        .unwrap();
    world.net.borrow_mut().side.notify(slot);
    let (before, _) = used();
    world.settle();
    // It was whole: no rule is its own.
    assert_eq!(world.net.borrow().state(talker), State::Released);
    assert!(used().0 <= before);
    // Every slot of the network stack's channel: by those that wait for a backend as far as
    // they may, then by those whose rule depends on what they will say.
    for port in [SENDING, RULES] {
        for number in 0..world.sizes.connections {
            world.arrive(port, address(6000 + 2000 * port + number));
            world.settle();
        }
    }
    // Every handshake, and those that wait, each from an address of its own.
    for number in 0..1000 {
        world.arrive(FORWARD, address(4000 + number));
        world.settle();
    }
    assert_eq!(
        world.shim.borrow().in_progress(),
        usize::from(world.sizes.handshakes)
    );
    assert_eq!(
        world.shim.borrow().sessions(),
        usize::from(world.sizes.sessions)
    );
    assert_eq!(world.net.borrow().free_slots(), 0);
    let (_, peak) = used();
    assert!(peak > idle, "the gateway's heap is counted");
    assert!(usize::try_from(peak).unwrap() <= bound, "{peak} of {bound}");
    // They leave.
    for slot in sessions {
        let mut plain = world.plain.borrow_mut();
        plain.set_status(slot, Status::RESET);
        plain.notify(slot);
    }
    world.settle();
    world.pass(400_000);
    assert_eq!(world.net.borrow().held(), 0);
    assert_eq!(world.count(counters::ADDRESSES), 0);
    assert_eq!(world.count(counters::SESSIONS), 0);
    let (after, _) = used();
    assert!(after <= idle, "{after} bytes in use, {idle} before");
}

/// A ClientHello that offers as many ALPN names of a byte as fit `length` bytes.
fn hello(length: usize) -> Vec<u8> {
    let vector = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length[..], bytes].concat()
    };
    let names = b"\x01a".repeat((length - 80) / 2);
    let extensions = [&[0, 16][..], &vector(&vector(&names))].concat();
    let body = [
        &[3; 34][..],
        &[0, 0, 2, 0x13, 1, 1, 0],
        &vector(&extensions),
    ]
    .concat();
    let size = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1][..], &size[1..], &body].concat();
    [&[22, 3, 1][..], &vector(&message)].concat()
}

//! What peers make the stack hold stays within what `budget` says, with every
//! table of the shipped size full and the worst peer in each place.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use ipc::badge::Badge;
use ipc::clock::Instant;
use ipc::net::{Answer, ConnectionId, Owner, Ready, Request};
use ipc::stats::netstack as counters;
use netstack_server::{Limits, budget, config};
use world::frames::{ACK, SYN, Segment, fragmentation_needed};
use world::{HANDSHAKES, PORT, SLOTS, STACK_IP, World, address, pattern};

// ---- the heap ----

struct Counting;

thread_local! {
    static IS_STACK: Cell<bool> = const { Cell::new(false) };
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

/// As talc rounds: a word besides, in units of 32 bytes.
fn cost(layout: Layout) -> usize {
    (layout.size() + 8).div_ceil(32) * 32
}

/// Before each block: whether the stack asked for it.
fn shifted(layout: Layout) -> (Layout, usize) {
    let shift = layout.align().max(16);
    let whole = Layout::from_size_align(layout.size() + shift, shift).unwrap();
    (whole, shift)
}

// SAFETY: all memory comes from the system's allocator, which keeps the contract;
// a block is shifted by a multiple of its alignment in both directions.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (whole, shift) = shifted(layout);
        let is_stack = IS_STACK.get();
        if is_stack {
            HELD.set(HELD.get() + cost(layout));
            MOST.set(MOST.get().max(HELD.get()));
        }
        // SAFETY: the size is not zero.
        let start = unsafe { System.alloc(whole) };
        // SAFETY: the block has `shift` bytes more than the caller asked for.
        unsafe { start.write(u8::from(is_stack)) };
        // SAFETY: as above.
        unsafe { start.add(shift) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let (whole, shift) = shifted(layout);
        // SAFETY: `alloc` has shifted it by as much.
        let start = unsafe { block.sub(shift) };
        // SAFETY: `alloc` has written there.
        if unsafe { start.read() } == 1 {
            HELD.set(HELD.get() - cost(layout));
        }
        // SAFETY: `alloc` took it with the same layout.
        unsafe { System.dealloc(start, whole) }
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

// ---- peers ----

fn segment(from: [u8; 4], sequence: u32, acknowledged: u32, flags: u8) -> Segment {
    Segment {
        from: (from.into(), 2000),
        to: (STACK_IP.into(), PORT),
        sequence,
        acknowledged,
        flags,
        window: 8192,
        payload: vec![],
    }
}

fn show(world: &mut World, segment: &Segment) {
    world.put(segment.frame());
    world.poll();
}

fn clear(world: &World) {
    let mut sent = world.from_stack.borrow_mut();
    sent.log.clear();
    sent.frames.clear();
}

fn somebody(number: u32) -> [u8; 4] {
    (0x0a00_0300 + number).to_be_bytes()
}

/// A peer that has sent as much as the stack lets it, with holes in between, and
/// acknowledges nothing. Its connection, once the gateway has taken it.
fn enter(world: &mut World, from: [u8; 4]) -> Option<ConnectionId> {
    clear(world);
    // With the largest segments.
    world.put(segment(from, 1000, 0, SYN).frame_with(&[2, 4, 5, 0xb4]));
    world.poll();
    let answer = world.sent().into_iter().find(|sent| sent.syn)?;
    let acknowledged = answer.sequence.wrapping_add(1);
    show(world, &segment(from, 1001, acknowledged, ACK));
    let connection = world.accept();
    for hole in 0..8 {
        let mut bytes = segment(from, 1001 + 40 + hole * 1000, acknowledged, ACK);
        bytes.payload = vec![7; 900];
        show(world, &bytes);
    }
    connection
}

/// Fills every table, with peers from the `first` on; returns the connections from
/// clients.
fn fill(world: &mut World, first: u32) -> Vec<ConnectionId> {
    world.ask(&Request::Begin).unwrap();
    world.call(Badge::Control, &Request::Begin).unwrap();
    world.listen(config::MAX_BACKLOG);
    let (before, pairs) = (HELD.get(), u32::from(SLOTS));
    let mut clients = Vec::new();
    for number in 0..pairs {
        let connection = enter(world, somebody(first + number)).unwrap();
        clients.push(connection);
        let slot = number as u16;
        // Through the handshake, as many as go at once.
        if slot < HANDSHAKES {
            world.hand_over(connection, Owner::Offload(slot));
        }
        world.hand_over(connection, Owner::Record(slot));
    }
    let held = HELD.get() - before;
    assert!(
        held <= clients.len() * budget::WITH_SOCKET + budget::LENT,
        "{held}"
    );
    // No host answers there.
    let (before, to) = (HELD.get(), address([192, 0, 2, 1], 80));
    let deadline = Instant::NEVER;
    for _ in 0..pairs {
        let answer = world.ask(&Request::Connect { to, deadline });
        assert!(matches!(answer, Ok(Answer::Connecting { .. })));
    }
    let held = HELD.get() - before;
    assert!(held <= clients.len() * budget::WITH_SOCKET, "{held}");
    clients
}

/// What was written for peers that read nothing.
fn write_all(world: &mut World) {
    let bytes = pattern(16 * 1024);
    for slot in 0..SLOTS {
        while world.record.write(slot, &bytes).unwrap_or(0) > 0 {
            world.record.notify(slot);
            world.poll();
        }
    }
}

#[test]
fn full_tables_stay_within_the_budget_again_and_again() {
    world::RUNS.set(|is_stack| IS_STACK.replace(is_stack));
    let network = world::network(world::fixed_address());
    let mut world = World::of(Limits::SHIPPED, network);
    let fixed = HELD.get();
    assert!(
        (1..=budget::fixed(&Limits::SHIPPED)).contains(&fixed),
        "{fixed}"
    );
    world.listen_so(config::MAX_BACKLOG, Ready::Established, Some(2));
    let listener = HELD.get() - fixed;
    assert!(listener <= budget::LISTENER, "{listener}");
    // The router's address is known.
    world.peer.connect(PORT);
    world.run(8);

    for round in 0..3 {
        let clients = fill(&mut world, round * 4000);
        assert_eq!(clients.len(), usize::from(SLOTS));
        let connections = Limits::SHIPPED.connections as u64;
        assert_eq!(world.count(counters::CONNECTIONS), connections);
        clear(&world);
        write_all(&mut world);
        // As many paths are narrow as are remembered, and more.
        let log = world.from_stack.borrow().log.clone();
        let under_way = log.iter().filter(|f| f.len() == 1514);
        let before = world.count(counters::NARROWED);
        for frame in under_way {
            world.put(fragmentation_needed([192, 0, 2, 9], frame, 600));
            world.poll();
        }
        assert!(world.count(counters::NARROWED) > before + 100);
        // All owners let go at once, with all that they have written: as many
        // as there is memory for.
        for connection in &clients {
            world
                .call(
                    Badge::Control,
                    &Request::Release {
                        connection: *connection,
                    },
                )
                .unwrap();
        }
        // And new ones come, that finish nothing.
        for number in 0..2000 {
            show(
                &mut world,
                &segment(somebody(round * 4000 + 1600 + number), 1000, 0, SYN),
            );
        }
        clear(&world);
    }
    let most = budget::most(&Limits::SHIPPED, 1);
    println!("{} bytes at the most, {most} in the budget", MOST.get());
    let parts = [
        budget::WITH_SOCKET,
        budget::LENT,
        budget::LISTENER,
        budget::fixed(&Limits::SHIPPED),
    ];
    println!("of a connection, of all together, of a listener, without any: {parts:?}");
    assert!(MOST.get() <= most, "{} of {most}", MOST.get());
    // The bound is of what there is, not of anything.
    assert!(MOST.get() > most / 10 * 9, "{} of {most}", MOST.get());
    // Everything comes back.
    world.ask(&Request::Begin).unwrap();
    world.call(Badge::Control, &Request::Begin).unwrap();
    world.sleep(Duration::from_secs(60));
    assert_eq!(world.count(counters::CONNECTIONS), 0);
    assert!(
        HELD.get() <= budget::fixed(&Limits::SHIPPED) + budget::SPARE,
        "{}",
        HELD.get()
    );
    // And the memory between two owners is there for the next.
    world.listen(config::MAX_BACKLOG);
    world.peer.connect(PORT);
    world.run(8);
    world.accept().unwrap();
    let connection = enter(&mut world, [192, 0, 2, 1]).unwrap();
    world.hand_over(connection, Owner::Offload(0));
    let acknowledged = world.sent().first().unwrap().sequence.wrapping_add(1);
    let mut bytes = segment([192, 0, 2, 1], 1001, acknowledged, ACK);
    bytes.payload = vec![7; 40];
    show(&mut world, &bytes);
    assert!(world.offload.readable(0).unwrap() >= 40);
    world.hand_over(connection, Owner::Record(0));
    assert!(world.record.readable(0).unwrap() >= 40);
    world.record.follow(0);
    let bytes = pattern(16 * 1024);
    while world.record.write(0, &bytes).unwrap() > 0 {
        world.record.notify(0);
        world.poll();
    }
    clear(&world);
    let release = Request::Release { connection };
    world.call(Badge::Control, &release).unwrap();
    assert!(!world.sent().iter().any(|sent| sent.rst));
}

#[test]
fn a_listener_that_waits_for_hellos_stays_within_its_line() {
    world::RUNS.set(|is_stack| IS_STACK.replace(is_stack));
    let mut world = World::new();
    let before = HELD.get();
    world.listen_for_hellos(config::MAX_BACKLOG, 10_000);
    let listener = HELD.get() - before;
    assert!((1..=budget::LISTENER).contains(&listener), "{listener}");
}

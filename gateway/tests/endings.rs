//! The line of a session at its end: what it was, who ended it, and why.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up fails")]
#![allow(clippy::indexing_slicing, reason = "a test that finds less fails")]

mod world;

use ipc::channel::Status;
use ipc::control::Standing;
use ipc::provision::LogWords;

use world::{FORWARD, SENDING, STATUS, World, address, listeners};

/// The lines of ended sessions.
fn ended(world: &World) -> Vec<String> {
    let log = world.log.borrow();
    let lines = log.iter().filter(|line| line.starts_with("session ended "));
    lines.cloned().collect()
}

/// The last of them is of a listener and a client, and ends in this way.
#[track_caller]
fn assert_last(world: &World, (listener, number): (&str, u16), end: &str) {
    let lines = ended(world);
    let last = lines.last().unwrap();
    let start = format!("session ended {listener} {} ", address(number));
    assert!(last.starts_with(&start) && last.ends_with(end), "{last}");
}

/// An end of a connection in the channel to the network stack.
fn set_backend(world: &mut World, connection: usize, flags: u16) {
    let mut net = world.net.borrow_mut();
    let connection = net.opened[connection];
    let slot = net.slot(connection).unwrap();
    net.side.set_status(slot, Status::ESTABLISHED | flags);
    net.side.notify(slot);
    drop(net);
    world.settle();
}

#[test]
fn a_session_is_one_line_at_its_end_and_none_before() {
    let mut world = World::logging(listeners(), LogWords::default());
    let slot = world.session(FORWARD, address(1));
    world.send(slot, b"question");
    assert_eq!(world.log.borrow().len(), 0);
    world.pass(1500);
    {
        let mut net = world.net.borrow_mut();
        let backend = net.opened[0];
        let place = net.slot(backend).unwrap();
        let mut question = [0; 16];
        assert_eq!(net.side.read(place, &mut question), Ok(8));
        net.side.write(place, b"an answer").unwrap();
        net.side.notify(place);
    }
    world.settle();
    assert_eq!(world.receive(slot), b"an answer");
    {
        let mut plain = world.plain.borrow_mut();
        plain.set_status(slot, Status::END);
        plain.notify(slot);
    }
    world.settle();
    set_backend(&mut world, 0, Status::END);
    let lines = world.log.borrow().clone();
    let [line] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert!(line.starts_with("session ended at-2 "), "{line}");
    for word in [
        " TLSv1.3 ",
        " autonomous ",
        " session=1 ",
        " resumed=false ",
        " keyring=",
    ] {
        assert!(line.contains(word), "{word} in {line}");
    }
    assert!(line.contains(" up=8 down=9 ms=1500 "), "{line}");
    assert!(line.ends_with(" by=client why=closed"), "{line}");
}

#[test]
fn who_ended_it_and_why_is_told_of_each_end() {
    let mut lists = listeners();
    for listener in &mut lists {
        listener.timeouts.idle_ms = 5000;
        listener.timeouts.connect_ms = 2000;
    }
    let mut world = World::logging(lists, LogWords::default());

    let slot = world.session(FORWARD, address(1));
    world.reset(slot);
    world.pass(11_000);
    assert_last(&world, ("at-2", 1), " by=client why=reset");

    world.session(FORWARD, address(2));
    set_backend(&mut world, 1, Status::RESET);
    world.pass(11_000);
    assert_last(&world, ("at-2", 2), " by=backend why=reset");

    world.session(FORWARD, address(3));
    set_backend(&mut world, 2, 0);
    world.pass(5500);
    assert_last(&world, ("at-2", 3), " by=gateway why=idle");

    world.net.borrow_mut().answers = false;
    world.session(FORWARD, address(4));
    world.pass(5500);
    assert_last(&world, ("at-2", 4), " by=backend why=backend_timeout");
    world.arrive(SENDING, address(5));
    world.settle();
    world.pass(5500);
    assert_last(&world, ("at-3", 5), " by=backend why=backend_timeout");
    assert!(ended(&world).last().unwrap().contains(" plaintext "));
    world.net.borrow_mut().answers = true;

    world.net.borrow_mut().refuses = true;
    world.session(FORWARD, address(6));
    assert_last(&world, ("at-2", 6), " by=backend why=backend_refused");

    let slot = world.session(STATUS, address(7));
    world.send(slot, b"GET /metrics HTTP/1.1\r\n\r\n");
    world.receive(slot);
    assert_last(&world, ("at-1", 7), " by=backend why=closed");
    assert!(ended(&world).last().unwrap().contains(" backend=status "));
    assert_eq!(ended(&world).len(), 7);
    // A backend that can't be had has a line of its own, whatever is logged of sessions.
    let log = world.log.borrow();
    let failed = log
        .iter()
        .filter(|line| line.starts_with("backend failed "));
    let failed: Vec<_> = failed.filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(
        failed,
        ["backend_timeout", "backend_timeout", "backend_refused"]
    );
}

/// The client of a session says that nothing more comes.
fn half_close(world: &mut World, slot: u16) {
    let mut plain = world.plain.borrow_mut();
    plain.set_status(slot, Status::END);
    plain.notify(slot);
    drop(plain);
    world.settle();
}

#[test]
fn an_end_that_came_after_the_first_half_was_closed_is_told_as_what_it_was() {
    let mut lists = listeners();
    for listener in &mut lists {
        listener.timeouts.idle_ms = 5000;
    }
    let mut world = World::logging(lists, LogWords::default());
    // The backend's answer is cut off.
    let slot = world.session(FORWARD, address(1));
    half_close(&mut world, slot);
    set_backend(&mut world, 0, Status::RESET);
    world.pass(11_000);
    assert_last(&world, ("at-2", 1), " by=backend why=reset");
    // It never comes.
    let slot = world.session(FORWARD, address(2));
    set_backend(&mut world, 1, 0);
    half_close(&mut world, slot);
    world.pass(5500);
    assert_last(&world, ("at-2", 2), " by=gateway why=idle");
    // The backend refuses a client that had said all at once.
    world.net.borrow_mut().answers = false;
    let slot = world.session(FORWARD, address(3));
    half_close(&mut world, slot);
    world.net.borrow_mut().answers = true;
    {
        let mut net = world.net.borrow_mut();
        let backend = net.opened[2];
        let place = net.slot(backend).unwrap();
        net.side.set_status(place, Status::RESET);
        net.side.notify(place);
    }
    world.settle();
    world.pass(11_000);
    assert_last(&world, ("at-2", 3), " by=backend why=backend_refused");
    let log = world.log.borrow();
    let failed = log
        .iter()
        .filter(|line| line.starts_with("backend failed "));
    assert_eq!(failed.count(), 1);
}

#[test]
fn a_session_that_gave_way_is_told_so_and_its_address_goes_after_others() {
    let mut world = World::logging(listeners(), LogWords::default());
    for (number, (listener, name)) in (1..).zip([(FORWARD, "at-2"), (STATUS, "at-1")]) {
        let slot = world.session(listener, address(number));
        world.plain.borrow_mut().set_status(slot, Status::DEADLINE);
        world.reset(slot);
        world.pass(11_000);
        assert_last(&world, (name, number), " by=gateway why=displaced");
        let again = world.arrive(FORWARD, address(number));
        world.settle();
        let standing = world.shim.borrow_mut().standing(again);
        assert_eq!(standing, Some(Standing::Penalized));
    }
}

#[test]
fn a_request_that_is_not_whole_in_time_and_an_answer_that_nobody_takes_are_told() {
    let mut world = World::logging(listeners(), LogWords::default());
    let late = world.session(STATUS, address(1));
    world.send(late, b"GET / HT");
    world.pass(10_200);
    assert!(world.receive(late).starts_with(b"HTTP/1.1 408 "));
    assert_last(&world, ("at-1", 1), " by=gateway why=request_timeout");
    let gone = world.session(STATUS, address(2));
    world.send(gone, b"GET / HTTP/1.1\r\n\r\n");
    world.reset(gone);
    world.pass(11_000);
    assert_last(&world, ("at-1", 2), " by=client why=reset");
}

#[test]
fn nothing_is_told_of_sessions_that_should_not_be() {
    let quiet = LogWords {
        sessions: false,
        handshakes: false,
        ..LogWords::default()
    };
    let mut world = World::logging(listeners(), quiet);
    let slot = world.session(FORWARD, address(1));
    world.reset(slot);
    world.pass(11_000);
    assert!(!world.has_session(slot));
    assert_eq!(world.log.borrow().len(), 0);
}

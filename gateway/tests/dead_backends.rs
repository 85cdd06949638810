//! Backends that do not answer keep nobody else's clients out, and their own clients no
//! longer than they must. With the shipped sizes.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up fails")]
#![allow(clippy::indexing_slicing, reason = "a test that finds less fails")]

mod world;

use std::ops::Range;

use ipc::net::{Address, ConnectionId};
use ipc::provision::{Backend, Listener, Tls};
use ipc::stats::gateway as counters;
use tls::Role;

use world::net::State;
use world::{FORWARD, STATUS, World, address, listeners, tls};

/// The first of many listeners with backends of their own, by the same port.
const TENANT: u16 = 100;

/// So many listeners, beside the one that forwards.
fn world(count: u16, inward: Option<Tls>, outward: Option<Tls>) -> World {
    let mut all = listeners();
    all.retain(|listener| listener.port == FORWARD);
    let one = |number| {
        let mut one = Listener {
            name: format!("tenant-{number}"),
            port: TENANT + number,
            tls: inward.clone(),
            ..all[0].clone()
        };
        if let Backend::Connect(upstream) = &mut one.backend {
            upstream.address = Address(([10, 9, 9, 8], TENANT + number).into());
            upstream.tls.clone_from(&outward);
        }
        one
    };
    let tenants: Vec<_> = (0..count).map(one).collect();
    all.extend(tenants);
    World::new(all)
}

/// A client comes to a listener and does its handshake, if it is let in. Whether it was.
fn come(world: &mut World, port: u16, number: u16) -> bool {
    let connection = world.arrive(port, address(number));
    world.settle();
    let has_begun = world.shim.borrow_mut().speak(connection);
    if has_begun {
        world.shim.borrow_mut().establish(connection);
        world.settle();
    }
    let state = world.net.borrow().state(connection);
    matches!(state, State::Moved | State::Attached(_))
}

/// The last connection to a backend.
fn last(world: &World) -> ConnectionId {
    *world.net.borrow().opened.last().unwrap()
}

/// How many are let in of so many clients.
fn crowd(world: &mut World, port: u16, numbers: Range<u16>) -> usize {
    numbers.filter(|number| come(world, port, *number)).count()
}

#[test]
fn a_backend_that_is_not_there_leaves_sessions_to_clients_of_others() {
    for dead in [1, 2, 10] {
        let mut world = world(dead, Some(tls(Role::Server)), None);
        let sessions = usize::from(world.sizes.sessions);
        let mut held = 0;
        for listener in 0..dead {
            world.net.borrow_mut().silent.insert(TENANT + listener);
            let first = 3000 * (listener + 1);
            let count = crowd(&mut world, TENANT + listener, first..first + 1600);
            // Half of what is left, but for the last places.
            let left = sessions - held;
            assert!(2 * count <= left.max(32), "{dead}: {count} of {left}");
            assert!(
                listener > 0 || count > left / 3,
                "{dead}: {count} of {left}"
            );
            assert!(count >= 16, "{dead}: {count} of {left}");
            held += count;
        }
        assert_eq!(world.shim.borrow().sessions(), held);
        // Clients of another listener are served, and stay.
        assert_eq!(crowd(&mut world, FORWARD, 0..20), 20);
        assert_eq!(world.shim.borrow().sessions(), held + 20);
        let away = u64::from(dead) * 1600 - held as u64;
        assert_eq!(world.count(counters::AWAY_BACKEND), away);
        let log = world.log.borrow();
        let line = |listener: u16| format!("turned away tenant-{listener} ");
        for listener in 0..dead {
            let of = |entry: &&String| entry.starts_with(&line(listener));
            let entry = log.iter().find(of).unwrap();
            assert!(entry.ends_with(" backend"), "{entry}");
        }
    }
}

#[test]
fn a_backend_that_says_nothing_in_its_handshake_leaves_places_to_others() {
    for inward in [None, Some(tls(Role::Server))] {
        let outward = Some(tls(Role::Client));
        let mut world = world(1, inward, outward);
        let count = crowd(&mut world, TENANT, 3000..4600);
        let table = usize::from(world.sizes.sessions);
        assert!(
            (table / 5..table / 2).contains(&count),
            "{count} of {table}"
        );
        assert!(world.net.borrow().free_slots() > table / 3);
        assert_eq!(crowd(&mut world, FORWARD, 0..200), 200);
        assert_eq!(world.count(counters::AWAY_SILENT), 0);
        // Those that were let in time out, and as many may come again.
        world.pass(40_000);
        let again = crowd(&mut world, TENANT, 5000..6600);
        assert!(again.abs_diff(count) <= 200, "{again}, {count} before");
    }
}

#[test]
fn after_five_connections_that_were_not_answered_the_next_clients_need_not_wait_for_that() {
    for outward in [None, Some(tls(Role::Client))] {
        let mut world = world(1, Some(tls(Role::Server)), outward);
        world.net.borrow_mut().silent.insert(TENANT);
        for number in 0..5 {
            assert!(come(&mut world, TENANT, 100 + number), "{number}");
            let connection = last(&world);
            world.net.borrow_mut().time_out(connection);
            world.settle();
            world.pass(200);
        }
        {
            let log = world.log.borrow();
            let lines = log
                .iter()
                .filter(|line| line.starts_with("backend failed "));
            let lines: Vec<_> = lines.collect();
            assert_eq!(lines.len(), 5, "{log:#?}");
            let end = " backend_timeout";
            assert!(lines.iter().all(|line| line.ends_with(end)), "{lines:?}");
        }
        assert_eq!(world.count(counters::BACKEND_FAILED), 5);
        // A second long nobody is let in, with no handshake; others are.
        let handshakes = world.shim.borrow().in_progress();
        assert_eq!(crowd(&mut world, TENANT, 200..220), 0);
        assert_eq!(world.shim.borrow().in_progress(), handshakes);
        assert_eq!(world.count(counters::AWAY_BACKEND), 20);
        assert!(come(&mut world, FORWARD, 1));
        // Then a few, until it answers.
        world.pass(1000);
        assert_eq!(crowd(&mut world, TENANT, 300..340), 16);
        let connection = last(&world);
        world.net.borrow_mut().answer(connection);
        world.settle();
        assert_eq!(crowd(&mut world, TENANT, 400..440), 40);
    }
}

#[test]
fn a_backend_that_refuses_or_answers_in_between_is_no_dead_one() {
    let mut world = world(1, Some(tls(Role::Server)), None);
    world.net.borrow_mut().silent.insert(TENANT);
    for number in 0..20 {
        assert!(come(&mut world, TENANT, 100 + number), "{number}");
        let connection = last(&world);
        let mut net = world.net.borrow_mut();
        if number % 5 < 4 {
            net.time_out(connection);
        } else if number % 2 == 0 {
            net.answer(connection);
        } else {
            let slot = net.slot(connection).unwrap();
            net.side.set_status(slot, ipc::channel::Status::RESET);
            net.side.notify(slot);
        }
        drop(net);
        world.settle();
    }
    assert_eq!(world.count(counters::AWAY_BACKEND), 0);
}

#[test]
fn a_burst_of_clients_whose_backend_answers_can_have_all_sessions() {
    // Beside another listener, the backend answering after each sixteen; then alone, when
    // it answers at last.
    for (others, batch) in [(1, 16), (0, u16::MAX)] {
        let mut world = world(others, None, None);
        world.net.borrow_mut().answers = false;
        let sessions = world.sizes.sessions;
        let mut opened = 0;
        for number in 0..sessions {
            assert!(come(&mut world, FORWARD, 3000 + number), "{number}");
            if (number + 1) % batch == 0 {
                let all = world.net.borrow().opened.clone();
                for connection in &all[opened..] {
                    world.net.borrow_mut().answer(*connection);
                }
                opened = all.len();
                world.settle();
            }
        }
        assert_eq!(world.shim.borrow().sessions(), usize::from(sessions));
        assert_eq!(world.count(counters::AWAY_BACKEND), 0);
    }
}

#[test]
fn the_status_page_waits_for_no_backend() {
    let mut world = World::new(listeners());
    world.net.borrow_mut().answers = false;
    assert!(crowd(&mut world, FORWARD, 3000..4600) < 800);
    for number in 0..200 {
        world.session(STATUS, address(number));
    }
}

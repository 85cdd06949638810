//! Full tables, hostile clients, and an offload component that owes its completions,
//! in the shipped sizes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../../ipc/tests/heap/mod.rs"]
mod heap;
mod world;

use ipc::badge::Badge;
use ipc::channel::SlotIndex;
use ipc::control::{
    Answer, HandshakeError, HandshakeId, PeerError, PolicyError, Request, RequestError, Resource,
};
use ipc::handshake::{Directive, Forget};
use ipc::net::{NetError, Owner};
use ipc::tls::Mode;
use world::{HANDSHAKES, Held, SESSIONS, World, error, request, session_badge};

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

const FIRST: Badge = Badge::Client(1);
const SECOND: Badge = Badge::Client(2);

#[test]
fn what_is_minted_is_of_the_session_that_it_is_for() {
    let mut world = World::new(1);
    // Each slot's generation counts its uses: no badge comes twice.
    let mut seen = Vec::new();
    for round in 0..5 {
        let id = world.start(FIRST).unwrap();
        let start = world.next_start();
        let (session, generation) = start.session;
        let badge = Badge::Session {
            slot: session,
            generation,
        };
        let install = Held::Install(session, badge);
        assert_eq!(world.held(), [install]);
        world.establish(start.slot, start.generation);
        assert_eq!(world.held(), [install, Held::Session(1, session, badge)]);
        assert!(!seen.contains(&badge), "round {round}");
        seen.push(badge);
        let Ok(Answer::Established(_, result)) = world.call(FIRST, &Request::CollectResult(id))
        else {
            panic!("no session");
        };
        assert_eq!(result.slot, session);
        // Only the badge of this session closes it.
        let stale = Badge::Session {
            slot: session,
            generation: (generation + 4095) % 4096,
        };
        let reply = world.call(stale, &Request::CloseSession);
        assert_eq!(error(reply), HandshakeError::Request(RequestError::Unknown));
        assert!(world.call(badge, &Request::CloseSession).is_ok());
        assert_eq!(world.held(), []);
        assert_eq!(
            world.forgotten(),
            [Forget {
                session,
                generation
            }]
        );
        assert!(world.closed().contains(&(session, generation)));
    }
}

#[test]
fn all_handshakes_complete_at_once_in_both_modes_and_none_is_lost() {
    for mode in [Mode::Autonomous, Mode::Directed] {
        let mut world = World::new(1);
        let mut starts = Vec::new();
        for _ in 0..HANDSHAKES {
            world.start_in(FIRST, mode).unwrap();
        }
        let reply = world.start_in(FIRST, mode);
        let full = HandshakeError::Resource(Resource::Handshakes);
        assert_eq!(reply.unwrap_err(), full);
        for _ in 0..HANDSHAKES {
            starts.push(world.next_start());
        }
        // All before the shim looks.
        for start in &starts {
            world.send_failed(start.slot, start.generation);
        }
        world.shim.run();
        let mut failed = 0;
        while let Ok(Answer::Failed(..)) = world.call(FIRST, &Request::CollectAny) {
            failed += 1;
        }
        assert_eq!(failed, HANDSHAKES, "{mode:?}");
        assert_eq!(world.held(), []);
        world.orders();
        for _ in 0..HANDSHAKES {
            world.start_in(FIRST, mode).unwrap();
        }
    }
}

#[test]
fn a_slot_is_used_again_only_after_the_offload_component_has_let_go_of_it() {
    let mut world = World::new(1);
    world.start(FIRST).unwrap();
    let start = world.next_start();
    // The client restarts, at once and often; the offload component is slow.
    for _ in 1..HANDSHAKES {
        assert!(world.call(FIRST, &Request::Begin).is_ok());
        assert_eq!(
            world.held(),
            [],
            "nothing that is given up keeps a capability"
        );
        world.start(FIRST).unwrap();
        let other = world.next_start();
        assert_ne!(other.slot, start.slot);
        assert_ne!(other.session, start.session);
    }
    assert!(world.call(FIRST, &Request::Begin).is_ok());
    let full = HandshakeError::Resource(Resource::Handshakes);
    assert_eq!(world.start(FIRST).unwrap_err(), full);
    // It had installed keys in the last moment: too late.
    world.establish(start.slot, start.generation);
    assert_eq!(world.held(), []);
    assert!(matches!(
        world.call(FIRST, &Request::CollectAny),
        Ok(Answer::NothingCompleted)
    ));
    world.start(FIRST).unwrap();
    let next = world.next_start();
    assert_eq!(next.slot, start.slot);
    assert_ne!(next.generation, start.generation);
    assert_ne!(next.session, start.session);
}

#[test]
fn a_handshake_that_nobody_ends_is_ended_by_its_deadline_here() {
    let mut world = World::new(1);
    let id = world.start(FIRST).unwrap();
    let start = world.next_start();
    assert_eq!(world.shim.next_deadline().as_nanos(), 12_000_000_000);
    world.set_time(11_999);
    world.shim.run();
    let pending = HandshakeError::Request(RequestError::Pending);
    let collect = Request::CollectResult(id);
    assert_eq!(error(world.call(FIRST, &collect)), pending);
    world.set_time(12_000);
    world.shim.run();
    assert!(matches!(
        world.offload.receive(),
        Some(Ok(Directive::Cancel { slot, .. })) if slot == start.slot
    ));
    let overdue = HandshakeError::Peer(PeerError::Deadline);
    assert_eq!(error(world.call(FIRST, &collect)), overdue);
    assert_eq!(world.held(), []);
    // Then it completes, and the slot is free; what it says changes nothing.
    world.send_failed(start.slot, start.generation);
    world.shim.run();
    assert!(matches!(
        world.call(FIRST, &Request::CollectAny),
        Ok(Answer::NothingCompleted)
    ));
    world.set_time(5_000);
    world.start(FIRST).unwrap();
    assert_eq!(world.next_start().slot, start.slot);
}

#[test]
fn a_result_that_nobody_collects_is_dropped_and_its_session_closed() {
    let mut world = World::new(1);
    world.start(FIRST).unwrap();
    let start = world.next_start();
    world.establish(start.slot, start.generation);
    assert_eq!(world.held().len(), 2);
    world.set_time(100_000);
    world.shim.run();
    assert_eq!(world.held(), []);
    assert!(world.closed().contains(&start.session));
    assert!(matches!(
        world.call(FIRST, &Request::CollectAny),
        Ok(Answer::NothingCompleted)
    ));
    assert_eq!(world.shim.next_deadline().as_nanos(), u64::MAX);
}

#[test]
fn a_hostile_client_costs_the_other_nothing() {
    let mut world = World::new(2);
    assert!(world.call(FIRST, &Request::Subscribe).is_ok());
    let id = world.start(FIRST).unwrap();
    let start = world.next_start();
    // All that the other may call, over and over.
    let rung = world.rung(1);
    for _ in 0..3 {
        assert!(world.call(SECOND, &Request::Begin).is_ok());
        assert!(world.call(SECOND, &Request::Subscribe).is_ok());
        let mut started = 0;
        while world.start(SECOND).is_ok() {
            started += 1;
        }
        assert!(started <= HANDSHAKES / 2, "its share");
        for id in 0..300 {
            let id = HandshakeId(id | 1 << 16);
            let _ = world.call(SECOND, &Request::Cancel(id));
            let _ = world.call(SECOND, &Request::CollectResult(id));
        }
        for slot in 0..SESSIONS {
            let close = world.call(SECOND, &Request::CloseSession);
            assert_eq!(error(close), HandshakeError::Policy(PolicyError::Client));
            let _ = slot;
        }
        for group in [None, Some(0)] {
            assert!(world.call(SECOND, &Request::Displace { group }).is_ok());
        }
        let _ = world.call(SECOND, &Request::CollectAny);
    }
    assert_eq!(world.rung(1), rung, "nobody rings for the other's");
    let told = |directive: &Directive| match directive {
        Directive::Cancel { slot, .. } | Directive::Displace { slot, .. } => *slot == start.slot,
        _ => false,
    };
    while let Some(directive) = world.offload.receive() {
        assert!(!told(&directive.unwrap()));
    }
    // The first still has room, and is notified of its own.
    world.establish(start.slot, start.generation);
    assert_eq!(world.rung(1), rung + 1);
    let answer = world.call(FIRST, &Request::CollectResult(id));
    assert!(matches!(answer, Ok(Answer::Established(..))));
    for _ in 0..HANDSHAKES / 2 {
        world.start(FIRST).unwrap();
    }
}

#[test]
fn each_client_has_sessions_of_its_own_counted_from_zero() {
    let mut world = World::new(2);
    let mut begin = |badge| {
        world.start(badge).unwrap();
        let start = world.next_start();
        world.establish(start.slot, start.generation);
        match world.call(badge, &Request::CollectAny) {
            Ok(Answer::Established(_, result)) => (start.session, result.slot),
            _ => panic!("no session"),
        }
    };
    let ((first, generation), number) = begin(FIRST);
    assert_eq!((first, number), (0, 0));
    let ((second, other_generation), number) = begin(SECOND);
    assert_eq!((second, number), (SESSIONS / 2, 0), "the first of its own");
    let badges = [
        session_badge(first, generation),
        session_badge(second, other_generation),
    ];
    let held = |world: &World, client: u16, badge| {
        let capability = Held::Session(client, 0, badge);
        world.held().contains(&capability)
    };
    assert!(held(&world, 1, badges[0]) && held(&world, 2, badges[1]));
    assert_eq!(world.owners().last(), Some(&Owner::Record(second)));
    // The end of one takes nothing from the other.
    world.call(badges[1], &Request::CloseSession).unwrap();
    assert!(held(&world, 1, badges[0]) && !held(&world, 2, badges[1]));
    assert_eq!(world.closed(), [(second, other_generation)]);
}

#[test]
fn a_client_without_a_window_or_a_bell_has_no_handshake() {
    let mut world = World::new(2);
    let reply = world.start(Badge::Client(3));
    assert_eq!(
        reply.unwrap_err(),
        HandshakeError::Policy(PolicyError::Client)
    );
    let reply = world.call(Badge::Client(3), &Request::Subscribe);
    assert_eq!(error(reply), HandshakeError::Policy(PolicyError::Client));
}

#[test]
fn to_make_room_each_handshake_asks_once_at_a_time_and_for_its_client_alone() {
    let mut world = World::new(2);
    for group in 0..4 {
        world.start_of(FIRST, group).unwrap();
        world.next_start();
    }
    world.start_of(SECOND, 0).unwrap();
    let others = world.next_start();
    let ask = |world: &mut World, group| {
        assert!(world.call(FIRST, &Request::Displace { group }).is_ok());
    };
    let asked = |world: &mut World| -> Vec<(SlotIndex, bool)> {
        std::iter::from_fn(|| world.offload.receive())
            .map(|directive| match directive.unwrap() {
                Directive::Displace {
                    slot, same_group, ..
                } => (slot, same_group),
                _ => panic!("another directive"),
            })
            .collect()
    };
    // No mailbox has more than one that was not taken.
    ask(&mut world, Some(2));
    ask(&mut world, Some(2));
    ask(&mut world, Some(9));
    assert_eq!(asked(&mut world), [(2, true)]);
    for _ in 0..10 {
        ask(&mut world, None);
    }
    let all = [(0, false), (1, false), (2, false), (3, false)];
    assert_eq!(asked(&mut world), all);
    // Once they are taken, more can be asked for.
    ask(&mut world, Some(2));
    assert_eq!(asked(&mut world), [(2, true)]);
    assert!(all.iter().all(|(slot, _)| *slot != others.slot));
}

#[test]
fn a_connection_that_is_in_use_is_refused_with_nothing_changed() {
    let mut world = World::new(1);
    world.net.refuse.set(Some(NetError::Denied));
    let reply = world.call(FIRST, &Request::StartHandshake(request(Mode::Autonomous)));
    let refused = HandshakeError::Request(RequestError::Connection);
    assert_eq!(error(reply), refused);
    assert_eq!(world.held(), []);
    assert!(world.offload.receive().is_none());
    world.net.refuse.set(None);
    world.start(FIRST).unwrap();
    assert!(matches!(world.owners()[..], [.., Owner::Offload(0)]));
}

/// What the shim holds at its worst: a result in every place.
#[test]
fn a_full_table_is_within_the_budget() {
    let mut world = World::new(1);
    let idle = heap::used();
    heap::peak();
    for _ in 0..HANDSHAKES {
        world.start_in(FIRST, Mode::Directed).unwrap();
    }
    for _ in 0..HANDSHAKES {
        let start = world.next_start();
        world.establish(start.slot, start.generation);
    }
    let peak = heap::peak() - idle;
    let most = ipc::budget::total(&kernel_shim::budget(HANDSHAKES, SESSIONS));
    assert!(peak <= most, "{peak} of {most}");
}

#[test]
fn the_director_is_told_of_each_directed_handshake_and_of_its_end() {
    let mut world = World::new(1);
    world.start(FIRST).unwrap();
    assert_eq!(world.next_start().slot, 0);
    world.start_in(FIRST, Mode::Directed).unwrap();
    let name = |start: world::Start| (start.slot, start.generation);
    let start = world.next_start();
    assert_eq!(world.orders(), (vec![name(start)], vec![]));
    world.fail(start.slot, start.generation);
    assert_eq!(world.orders(), (vec![], vec![name(start)]));
    world.start_in(FIRST, Mode::Directed).unwrap();
    let start = world.next_start();
    world.establish(start.slot, start.generation);
    assert_eq!(world.orders(), (vec![name(start)], vec![name(start)]));
    // Cancelled by its client, who restarts.
    world.start_in(FIRST, Mode::Directed).unwrap();
    let start = world.next_start();
    assert!(world.call(FIRST, &Request::Begin).is_ok());
    assert_eq!(world.orders(), (vec![name(start)], vec![name(start)]));
}

#[test]
fn the_director_is_woken_for_the_end_of_a_handshake_alone() {
    let mut world = World::new(1);
    world.start_in(FIRST, Mode::Directed).unwrap();
    let start = world.next_start();
    assert_eq!(world.director_told.0.get(), 0);
    world.fail(start.slot, start.generation);
    assert_eq!(world.director_told.0.get(), 1);
    let name = (start.slot, start.generation);
    assert_eq!(world.orders(), (vec![name], vec![name]));
}

#[test]
fn without_a_director_directed_handshakes_are_refused_and_others_are_not() {
    let mut world = World::without_director();
    // The rights would allow it.
    let refused = world.start_in(FIRST, Mode::Directed);
    assert_eq!(refused, Err(HandshakeError::Policy(PolicyError::Mode)));
    assert_eq!(world.net.asked.take(), []);
    assert_eq!(world.held(), []);
    assert!(world.offload.receive().is_none());
    let id = world.start(FIRST).unwrap();
    let start = world.next_start();
    assert_eq!(start.mode, Mode::Autonomous);
    world.establish(start.slot, start.generation);
    let answer = world.call(FIRST, &Request::CollectResult(id));
    assert!(matches!(answer, Ok(Answer::Established(..))));
}

#[test]
fn c05_a_director_that_restarts_loses_its_handshakes_and_no_other() {
    let mut world = World::new(1);
    let autonomous = world.start(FIRST).unwrap();
    let other = world.next_start();
    let directed = world.start_in(FIRST, Mode::Directed).unwrap();
    let start = world.next_start();
    assert_eq!((other.mode, start.mode), (Mode::Autonomous, Mode::Directed));
    let mut world = world.restart_director();
    world.shim.run();
    let lost = world.call(FIRST, &Request::CollectResult(directed));
    assert_eq!(error(lost), HandshakeError::ServerRestarted);
    // The offload component is told, too, and answers.
    let cancel = world.offload.receive().unwrap().unwrap();
    let Directive::Cancel { slot, generation } = cancel else {
        panic!("another directive");
    };
    assert_eq!((slot, generation), (start.slot, start.generation));
    world.fail(slot, generation);
    assert!(world.offload.receive().is_none());
    world.establish(other.slot, other.generation);
    let kept = world.call(FIRST, &Request::CollectResult(autonomous));
    assert!(matches!(kept, Ok(Answer::Established(..))));
    // And it begins new ones.
    world.orders();
    world.start_in(FIRST, Mode::Directed).unwrap();
    let start = world.next_start();
    assert_eq!(world.orders().0, [(start.slot, start.generation)]);
}

//! Memory that is lent to handshakes (ADR 0101): whoever holds nothing any more has no
//! loan that could be called in, and a known peer's is called in last.

use std::time::Duration;

use crate::client::{Client, ClientOptions, established};
use crate::world::{World, parameters, set_passed};
use ipc::channel::Status;
use ipc::control::{HandshakeError, PeerError, Resource, Standing};
use ipc::handshake::{Completion, Directive};
use ipc::keystore::KeyKind;
use ipc::segment::Segment;
use ipc::tls::Mode;
use tls::{Group, Role};

const HANDSHAKES: u16 = 224;
/// How long a loan is left to a peer.
const STEP: Duration = Duration::from_millis(500);
const RINGS: [(&str, &str, KeyKind); 1] = [("web", "localhost", KeyKind::Rsa)];

/// A ClientHello with so many bytes of names for ALPN.
fn long(names: usize) -> ClientOptions {
    let mut alpn = vec![b"http/1.1".to_vec()];
    alpn.extend((0..names / 250).map(|number| vec![b'a' + number as u8; 249]));
    ClientOptions {
        alpn,
        // All of it is names.
        groups: vec![Group::X25519],
        ..ClientOptions::default()
    }
}

fn world(mode: Mode) -> World {
    let world = World::sized(&RINGS, HANDSHAKES, HANDSHAKES);
    match mode {
        Mode::Autonomous => world,
        Mode::Directed => world.with_director(&RINGS, HANDSHAKES, Vec::new()),
    }
}

/// It has its answer, and says nothing for now.
fn begin(world: &mut World, slot: u16, options: &ClientOptions) -> Client {
    world.start(slot, parameters(&["web"]));
    let mut client = Client::new(world, options);
    let flight = world.exchange(slot, &core::mem::take(&mut client.outgoing));
    client.receive(&flight);
    client
}

/// A ClientHello in parts of a record that never has an end.
fn endless() -> Vec<u8> {
    let mut hello = vec![1, 0, 0x3f, 0];
    hello.resize(15_000, 3);
    let [high, low] = (hello.len() as u16).to_be_bytes();
    [&[22, 3, 1, high, low], &hello[..]].concat()
}

/// The slots of those that lost their handshakes for want of memory.
fn ended(world: &mut World) -> Vec<u16> {
    let all = std::iter::from_fn(|| world.completion());
    all.map(|completion| match completion {
        Completion::Failed { slot, error, .. } => {
            assert_eq!(error, HandshakeError::Resource(Resource::Memory));
            slot
        }
        _ => panic!("another completion"),
    })
    .collect()
}

/// More than the pool has, from peers that then say nothing; and time for each of them.
fn flood(world: &mut World, first: u16) {
    for slot in first..first + 50 {
        begin(world, slot, &long(15_000));
    }
    for step in 1..5 {
        set_passed(step * STEP);
        world.run();
    }
    set_passed(Duration::ZERO);
}

#[test]
fn who_waits_for_a_peer_that_has_taken_all_holds_no_loan() {
    for mode in [Mode::Autonomous, Mode::Directed] {
        let mut world = world(mode);
        // With the flight after it this is more than what is guaranteed.
        let options = long(3500);
        let mut honest: Vec<_> = (0..20)
            .map(|slot| begin(&mut world, slot, &options))
            .collect();
        flood(&mut world, 20);
        let ended = ended(&mut world);
        assert!(!ended.is_empty(), "nobody had to go");
        assert!(ended.iter().all(|slot| *slot >= 20), "{mode:?} {ended:?}");
        for (slot, client) in (0..).zip(&mut honest) {
            world.exchange(slot, &client.outgoing);
            established(world.completion().unwrap());
        }
    }
}

#[test]
fn a_known_peer_s_loan_is_called_in_after_those_of_others() {
    let mut world = world(Mode::Autonomous);
    world.standing = Standing::Known;
    let mut known = begin(&mut world, 0, &long(15_000));
    world.standing = Standing::New;
    flood(&mut world, 1);
    let ended = ended(&mut world);
    assert!(!ended.is_empty() && !ended.contains(&0), "{ended:?}");
    world.exchange(0, &core::mem::take(&mut known.outgoing));
    established(world.completion().unwrap());
}

#[test]
fn hellos_without_end_have_their_time_and_one_that_ends_is_served_among_them() {
    for mode in [Mode::Autonomous, Mode::Directed] {
        let mut world = world(mode);
        for slot in 0..100 {
            world.start(slot, parameters(&["web"]));
            world.exchange(slot, &endless());
        }
        let mut client = begin(&mut world, 100, &long(10_000));
        // There is memory for a third of them, and none of those is ended for another yet.
        set_passed(STEP - Duration::from_millis(1));
        world.run();
        assert_eq!(ended(&mut world), []);
        assert!(client.outgoing.is_empty(), "it waits as well");
        let mut count = 0;
        for step in 1..8 {
            set_passed(step * STEP);
            world.run();
            let ended = ended(&mut world).len();
            // As many as make room for others, and they have theirs as long.
            assert!((1..40).contains(&ended), "{mode:?}: {ended}");
            count += ended;
            let flight = world.exchange(100, &[]);
            if !flight.is_empty() {
                client.receive(&flight);
                break;
            }
        }
        assert!(count < 100, "{mode:?}: {count} were ended");
        world.exchange(100, &client.outgoing);
        established(world.completion().unwrap());
        // One whose connection is reset while it waits is over at once.
        world.net.set_status(99, Status::RESET);
        world.net.notify(99);
        world.run();
        let Some(Completion::Failed {
            slot: 99, error, ..
        }) = world.completion()
        else {
            panic!("it goes on waiting");
        };
        assert_eq!(error, HandshakeError::Peer(PeerError::Closed));
        // And one that was reset before it was looked at.
        world.start(99, parameters(&["web"]));
        world.net.write(99, &endless()).unwrap();
        world.net.set_status(99, Status::RESET);
        world.net.notify(99);
        world.run();
        let completion = world.completion();
        assert!(
            matches!(completion, Some(Completion::Failed { slot: 99, .. })),
            "{mode:?}"
        );
        set_passed(Duration::ZERO);
    }
}

#[test]
fn one_that_waits_for_memory_gives_its_place_to_others_in_both_modes() {
    for mode in [Mode::Autonomous, Mode::Directed] {
        let mut world = World::sized(&RINGS, HANDSHAKES, HANDSHAKES);
        for slot in 0..100 {
            // The first have all the memory, the others are of another group.
            world.group = u32::from(slot >= 50);
            match mode {
                Mode::Autonomous => world.start(slot, parameters(&["web"])),
                Mode::Directed => world.begin(slot, Role::Server, parameters(&["web"])),
            }
            world.verdict();
            // All is there before the director asks for it.
            world.net.write(slot, &endless()).unwrap();
            match mode {
                Mode::Autonomous => world.run(),
                Mode::Directed => {
                    let segment = Segment::Receive {
                        limit: 16_384,
                        show: 1024,
                    };
                    world.perform(slot, segment);
                }
            }
        }
        assert_eq!(ended(&mut world), []);
        for slot in 50..90 {
            let directive = Directive::Displace {
                slot: 99,
                generation: 1,
                same_group: true,
            };
            world.shim.send(&directive).unwrap();
            world.run();
            let Some(Completion::Failed {
                slot: gone, error, ..
            }) = world.completion()
            else {
                panic!("{mode:?}: nobody gave way, after {slot}");
            };
            assert_eq!(error, HandshakeError::Resource(Resource::Displaced));
            assert_eq!(gone, slot);
        }
    }
}

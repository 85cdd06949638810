//! Who was here before is worked on before others, and nobody waits for ever (ADR 0152),
//! with the shipped number of handshakes.

use crate::client::{Client, ClientOptions, complete, established};
use crate::world::{POSITION, World, parameters};
use ipc::bounded::List;
use ipc::clock::Instant;
use ipc::control::Standing;
use ipc::handshake::{Directive, Origin, Start};
use ipc::keystore::KeyKind;
use ipc::tls::Mode;
use tls::{Group, Role};

const HANDSHAKES: u16 = 224;
const RINGS: [(&str, &str, KeyKind); 1] = [("web", "localhost", KeyKind::EcdsaP256)];

/// Its hello is there, and nothing was done yet.
fn come(world: &mut World, slot: u16, standing: Standing, is_directed: bool) -> Client {
    let client = Client::new(world, &ClientOptions::default());
    world.net.open(slot);
    assert_eq!(
        world.net.write(slot, &client.outgoing),
        Ok(client.outgoing.len())
    );
    let origin = Origin {
        client: 1,
        group: slot.into(),
        deadline: Instant::NEVER,
        standing,
    };
    let mode = match is_directed {
        true => Mode::Directed,
        false => Mode::Autonomous,
    };
    let directive = Directive::Start(Start {
        slot,
        generation: 1,
        session: slot,
        session_generation: 9,
        mode,
        role: Role::Server,
        origin,
        parameters: Box::new(parameters(&["web"])),
        position: POSITION,
    });
    world.shim.send(&directive).unwrap();
    client
}

/// Slots that have an answer.
fn answered(world: &World) -> Vec<u16> {
    let slots = 0..HANDSHAKES;
    slots
        .filter(|slot| world.net.readable(*slot) != Ok(0))
        .collect()
}

#[test]
fn a_known_peer_is_answered_before_a_crowd_that_came_before_it() {
    for crowd in [Standing::New, Standing::Penalized] {
        let mut world = World::sized(&RINGS, HANDSHAKES, HANDSHAKES);
        for slot in 0..HANDSHAKES - 1 {
            come(&mut world, slot, crowd, false);
        }
        // All are taken in, and a few were worked on.
        let mut turns = 0;
        while turns < 32 {
            assert!(world.turn().is_busy);
            turns += 1;
        }
        let before = answered(&world).len();
        assert!((16..=64).contains(&before), "{before}");
        let last = HANDSHAKES - 1;
        come(&mut world, last, Standing::Known, false);
        world.turn();
        // Not more than one of the others is before it.
        let after = answered(&world);
        assert!(after.contains(&last), "{after:?}");
        assert!(after.len() <= before + 2, "{before} {after:?}");
        while world.turn().is_busy {}
        assert_eq!(answered(&world).len(), usize::from(HANDSHAKES));
    }
}

#[test]
fn new_peers_are_answered_beside_any_number_of_known_ones() {
    let mut world = World::sized(&RINGS, HANDSHAKES, HANDSHAKES);
    for slot in 0..HANDSHAKES {
        // The new ones are the last.
        let standing = match slot < 150 {
            true => Standing::Known,
            false => Standing::New,
        };
        come(&mut world, slot, standing, false);
    }
    while answered(&world).len() < 100 {
        assert!(world.turn().is_busy);
    }
    let new = answered(&world).iter().filter(|slot| **slot >= 150).count();
    assert!((15..40).contains(&new), "{new}");
}

#[test]
fn a_peer_that_answers_goes_on_before_others_begin() {
    let mut world = World::sized(&RINGS, HANDSHAKES, HANDSHAKES);
    world.standing = Standing::New;
    world.start(0, parameters(&["web"]));
    let mut first = Client::new(&world, &ClientOptions::default());
    let flight = world.exchange(0, &core::mem::take(&mut first.outgoing));
    first.receive(&flight);
    for slot in 1..HANDSHAKES {
        come(&mut world, slot, Standing::New, false);
    }
    assert!(world.turn().is_busy);
    // Its Finished: the handshake is over in the next turn.
    world.net.write(0, &first.outgoing).unwrap();
    world.turn();
    let completion = world.completion();
    established(completion.unwrap());
    assert!(answered(&world).len() < 8);
}

#[test]
fn a_peer_that_was_asked_to_retry_is_as_new_as_others() {
    let mut world = World::sized(&RINGS, HANDSHAKES, HANDSHAKES);
    world.standing = Standing::New;
    let mut asked = parameters(&["web"]);
    asked.groups = List::from_items([Group::Secp384r1]).unwrap();
    world.start(0, asked);
    let mut first = Client::new(&world, &ClientOptions::default());
    let retry = world.exchange(0, &core::mem::take(&mut first.outgoing));
    first.receive(&retry);
    assert!(!first.outgoing.is_empty() && !first.is_done());
    for slot in 1..HANDSHAKES {
        come(&mut world, slot, Standing::New, false);
    }
    // All are taken in.
    (0..16).for_each(|_| assert!(world.turn().is_busy));
    world.net.write(0, &first.outgoing).unwrap();
    (0..4).for_each(|_| assert!(world.turn().is_busy));
    assert_eq!(world.net.readable(0), Ok(0));
}

#[test]
fn a_slot_that_is_used_again_has_no_work_of_the_handshake_before() {
    let mut world = World::sized(&RINGS, HANDSHAKES, HANDSHAKES);
    for slot in 0..HANDSHAKES {
        come(&mut world, slot, Standing::Penalized, slot % 2 == 0);
    }
    assert!(world.turn().is_busy);
    for slot in 0..HANDSHAKES {
        let generation = 1;
        let cancel = Directive::Cancel { slot, generation };
        world.shim.send(&cancel).unwrap();
    }
    // As many as it takes to take that in; none for what is over.
    let turns = (0..).take_while(|_| world.turn().is_busy).count();
    assert!(turns < 32, "{turns}");
    let mut over = 0;
    while world.completion().is_some() {
        over += 1;
    }
    assert!(!world.turn().is_busy);
    assert_eq!(over, HANDSHAKES);
    for slot in [0, 1, HANDSHAKES - 1] {
        world.start(slot, parameters(&["web"]));
        let mut client = Client::new(&world, &ClientOptions::default());
        established(complete(&mut world, slot, &mut client));
    }
}

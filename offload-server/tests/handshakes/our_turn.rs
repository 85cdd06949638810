//! Whose turn it is: nobody loses its handshake while it waits for this side, and nobody
//! is told of a session before the stack is scrubbed.

use std::time::Duration;

use crate::client::{Client, ClientOptions, established};
use crate::script::{SLOT, Script};
use crate::world::{World, parameters, set_passed};
use ipc::control::{HandshakeError, Resource};
use ipc::handshake::{Completion, Directive};
use ipc::keystore::KeyKind;
use ipc::segment::{Segment, Verdict};
use ipc::tls::ServerName;
use tls::Role;

const RINGS: [(&str, &str, KeyKind); 1] = [("web", "localhost", KeyKind::EcdsaP256)];
const DISPLACED: HandshakeError = HandshakeError::Resource(Resource::Displaced);

/// Somebody else needs room; the slot that lost its handshake.
fn displace(world: &mut World, slot: u16) -> Option<u16> {
    let directive = Directive::Displace {
        slot,
        generation: 1,
        same_group: false,
    };
    world.shim.send(&directive).unwrap();
    world.run();
    match world.completion()? {
        Completion::Failed { slot, error, .. } => {
            assert_eq!(error, DISPLACED);
            Some(slot)
        }
        _ => panic!("another completion"),
    }
}

/// Another handshake, as client: it never owes anything.
fn other(world: &mut World) -> u16 {
    const OTHER: u16 = 3;
    let mut asked = parameters(&["me"]);
    asked.server_name = Some(ServerName::from_text("server.test").unwrap());
    world.start_session(OTHER, OTHER, Role::Client, asked);
    OTHER
}

#[test]
fn what_was_not_taken_from_a_queue_is_named_for_the_monitor() {
    let mut world = World::new(&RINGS);
    let directive = |world: &mut World| {
        let cancel = Directive::Cancel {
            slot: SLOT,
            generation: 1,
        };
        world.shim.send(&cancel).unwrap();
    };
    let bytes = |world: &mut World| {
        world.net.open(SLOT);
        world.net.notify(SLOT);
    };
    let mut names = [directive as fn(&mut World), bytes].map(|send| {
        send(&mut world);
        let name = world.untaken();
        send(&mut world);
        assert_eq!(world.untaken(), name);
        world.run();
        assert_eq!(world.untaken(), 0);
        name
    });
    names.sort_unstable();
    assert!(0 < names[0] && names[0] < names[1]);
}

#[test]
fn a_directed_handshake_is_kept_while_the_director_has_its_turn() {
    let mut script = Script::server();
    let other = other(&mut script.world);
    set_passed(Duration::from_secs(5));
    // It has not asked for the hello yet.
    assert_eq!(displace(&mut script.world, other), None);
    let hello = Client::new(&script.world, &ClientOptions::default()).outgoing;
    script.send(Segment::Receive {
        limit: 16_000,
        show: 16,
    });
    script.world.net.write(SLOT, &hello).unwrap();
    script.world.run();
    let shown = script.world.verdict();
    assert!(matches!(shown, Some(Verdict::Message { kind: 1, .. })));
    // It has the hello, and takes its time.
    set_passed(Duration::from_secs(10));
    assert_eq!(displace(&mut script.world, other), None);
    // It asks for another message: now the peer owes it.
    script.send(Segment::Receive {
        limit: 16_000,
        show: 16,
    });
    assert_eq!(displace(&mut script.world, other), Some(SLOT));
}

#[test]
fn a_directed_handshake_whose_message_is_late_gives_way_although_bytes_come() {
    let mut script = Script::server();
    let other = other(&mut script.world);
    let hello = Client::new(&script.world, &ClientOptions::default()).outgoing;
    let mut bytes = hello.iter();
    let mut trickle = |script: &mut Script, passed| {
        set_passed(Duration::from_millis(passed));
        let byte = [*bytes.next().unwrap()];
        script.world.net.write(SLOT, &byte).unwrap();
        script.world.net.notify(SLOT);
    };
    // Before the director asks for it, it is no fault of the peer's.
    trickle(&mut script, 0);
    script.world.run();
    set_passed(Duration::from_secs(2));
    script.send(Segment::Receive {
        limit: 16_000,
        show: 16,
    });
    for passed in [2100, 2499] {
        trickle(&mut script, passed);
        assert_eq!(displace(&mut script.world, other), None, "{passed}");
        script.world.run();
    }
    trickle(&mut script, 2600);
    script.world.run();
    trickle(&mut script, 2601);
    assert_eq!(displace(&mut script.world, other), Some(SLOT));
}

#[test]
fn a_handshake_is_kept_while_it_waits_for_a_backend_s_answer() {
    let mut world = World::new(&[("me", "localhost", KeyKind::EcdsaP256)]);
    let other = other(&mut world);
    set_passed(Duration::from_secs(5));
    assert_eq!(displace(&mut world, other), None);
}

#[test]
fn nobody_is_told_of_a_session_before_the_stack_is_scrubbed() {
    let mut world = World::new(&RINGS);
    world.start(SLOT, parameters(&["web"]));
    let mut client = Client::new(&world, &ClientOptions::default());
    let flight = world.exchange(SLOT, &core::mem::take(&mut client.outgoing));
    client.receive(&flight);
    world.net.write(SLOT, &client.outgoing).unwrap();
    let mut turns = 0;
    while world.installed.borrow().get(&SLOT).is_none() {
        assert!(turns < 4, "the handshake does not end");
        assert!(world.turn_untold().touched_secrets);
        turns += 1;
    }
    assert!(world.completion().is_none());
    world.turn();
    established(world.completion().unwrap());
}

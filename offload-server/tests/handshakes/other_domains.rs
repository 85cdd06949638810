//! What other domains say to the offload component that is late or can't be, and what it
//! tells them that is secret.

use crate::client::{Client, ClientOptions, complete, established, failure};
use crate::world::{POSITION, World, parameters};
use ipc::bounded::SecretBlob;
use ipc::clock::Instant;
use ipc::control::{Answer, Control, HandshakeError, HandshakeId, SessionId, SessionResult};
use ipc::handshake::Directive;
use ipc::keystore::KeyKind;
use ipc::record::PostHandshake;
use ipc::transport::Protocol;
use tls::Role;

#[test]
fn r09_a_cancelled_handshake_whose_start_was_lost_is_told_to_be_over_once() {
    let mut world = World::new(&[("web", "localhost", KeyKind::EcdsaP256)]);
    world.start(0, parameters(&["web"]));
    let mut over = Vec::new();
    for (slot, generation) in [(1, 5), (1, 5), (0, 9)] {
        let directive = Directive::Cancel { slot, generation };
        world.shim.send(&directive).unwrap();
        world.run();
        while let Some(completion) = world.completion() {
            assert_eq!(failure(completion), HandshakeError::Cancelled);
            over.push((slot, generation));
        }
    }
    // The one in the slot goes on.
    assert_eq!(over, [(1, 5), (0, 9)]);
    let mut client = Client::new(&world, &ClientOptions::default());
    established(complete(&mut world, 0, &mut client));
}

#[test]
fn r10_an_answer_that_brings_keys_is_told_to_be_secret() {
    let mut world = World::new(&[("web", "localhost", KeyKind::EcdsaP256)]);
    for expose_keys in [false, true] {
        let mut asked = parameters(&["web"]);
        asked.expose_keys = expose_keys;
        world.start(0, asked);
        let mut client = Client::new(&world, &ClientOptions::default());
        let result = SessionResult {
            session: SessionId(1),
            slot: 0,
            established: Box::new(established(complete(&mut world, 0, &mut client))),
            shim_wakeups: 0,
            tcp: POSITION,
            started: Instant::default(),
            completed: Instant::default(),
        };
        let answer = Answer::Established(HandshakeId::new(0, 1), result);
        assert_eq!(Control::is_secret(&Ok(answer)), expose_keys);
    }
    assert!(!Control::is_secret(&Ok(Answer::Done)));
    assert!(Control::is_secret(&Ok(Answer::Exported(
        SecretBlob::from_slice(&[7]).unwrap()
    ))));
}

#[test]
fn what_is_said_of_a_slot_that_there_is_not_costs_nobody_anything() {
    let mut world = World::new(&[("web", "localhost", KeyKind::EcdsaP256)]);
    for slot in [4, u16::MAX] {
        let generation = 9;
        let asked = PostHandshake::RekeyDue { slot, generation };
        world.record.send(&asked).unwrap();
        world.run();
    }
    world.start_session(0, u16::MAX, Role::Server, parameters(&["web"]));
    world.start(1, parameters(&["web"]));
    let mut client = Client::new(&world, &ClientOptions::default());
    established(complete(&mut world, 1, &mut client));
}

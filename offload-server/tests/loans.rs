//! Memory that is lent to handshakes (ADR 0101): whoever holds nothing any more has no
//! loan that could be called in, and a known peer's is called in last.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    missing_docs,
    unreachable_pub,
    reason = "a test"
)]

mod client;
mod world;

use client::{Client, ClientOptions, established};
use ipc::control::{HandshakeError, Resource, Standing};
use ipc::handshake::Completion;
use ipc::keystore::KeyKind;
use ipc::tls::Mode;
use tls::Group;
use world::{World, parameters};

const HANDSHAKES: u16 = 224;
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

/// More than the pool has, from peers that then say nothing.
fn flood(world: &mut World, first: u16) {
    for slot in first..first + 50 {
        begin(world, slot, &long(15_000));
    }
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

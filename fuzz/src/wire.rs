//! What a peer sends during a handshake.

use std::cell::RefCell;

use ipc::bounded::{List, Text};
use ipc::channel::Status;
use ipc::control::Parameters;
use ipc::keystore::KeyKind;
use ipc::stats;
use ipc::tls::PeerAuthentication;
use tls::Version;

use crate::bytes::Bytes;

#[path = "../../offload-server/tests/client/mod.rs"]
#[allow(unreachable_pub, missing_docs, reason = "shared with the tests")]
pub mod client;
#[path = "../../offload-server/tests/world/mod.rs"]
#[allow(unreachable_pub, missing_docs, reason = "shared with the tests")]
pub mod world;

use world::World;

const SLOT: u16 = 0;
const RINGS: [(&str, &str, KeyKind); 3] = [
    ("rsa", "rsa.test", KeyKind::Rsa),
    ("web", "localhost", KeyKind::EcdsaP256),
    ("other", "other.test", KeyKind::Ed25519),
];

/// What a target's first byte asks for.
fn asked(choice: u8) -> Parameters {
    let mut asked = world::parameters(&["web", "other", "rsa"]);
    asked.versions = match choice & 3 {
        0 => List::from_items([Version::Tls12]),
        1 => List::from_items([Version::Tls13]),
        _ => List::from_items([Version::Tls13, Version::Tls12]),
    }
    .unwrap();
    asked.peer_authentication = match choice >> 2 & 3 {
        0 => PeerAuthentication::Request,
        1 => PeerAuthentication::Require,
        _ => PeerAuthentication::None,
    };
    asked.resumption = choice & 16 != 0;
    asked.allow_static_rsa = choice & 128 != 0;
    asked
}

/// Says `bytes` in pieces and hangs up: one completion comes, and nothing is
/// left.
fn hear(world: &mut World, mut bytes: Bytes<'_>) {
    while !bytes.is_empty() {
        let piece = bytes.vector();
        world.exchange(SLOT, piece);
    }
    world.net.set_status(SLOT, Status::RESET);
    world.net.notify(SLOT);
    world.run();
    world.exchange(SLOT, &[]);
    assert!(world.completion().is_some(), "a completion");
    assert!(world.completion().is_none(), "one completion");
    assert_eq!(world.stats.read(stats::offload::IN_PROGRESS), 0);
    world.segments.clear();
    world::director::audit();
}

/// A client's bytes, to a server in the mode that the first byte says.
pub fn server_wire(data: &[u8]) {
    thread_local! {
        static WORLDS: RefCell<Option<&'static mut [World; 2]>> = const { RefCell::new(None) };
    }
    WORLDS.with_borrow_mut(|worlds| {
        let worlds = worlds.get_or_insert_with(|| {
            Box::leak(Box::new([World::new(&RINGS), World::directed(&RINGS)]))
        });
        let mut bytes = Bytes(data);
        let choice = bytes.byte();
        let world = &mut worlds[usize::from(choice >> 7)];
        world.start(SLOT, asked(choice));
        hear(world, bytes);
    });
}

/// A server's bytes, to a directed client.
pub fn client_wire(data: &[u8]) {
    thread_local! {
        static WORLD: RefCell<Option<&'static mut World>> = const { RefCell::new(None) };
    }
    WORLD.with_borrow_mut(|world| {
        let world = world.get_or_insert_with(|| Box::leak(Box::new(World::directed(&RINGS))));
        let mut bytes = Bytes(data);
        let mut asked = asked(bytes.byte() & !28 | 8);
        asked.server_name = Text::from_text("localhost").ok();
        world.start_client(SLOT, asked);
        hear(world, bytes);
    });
}

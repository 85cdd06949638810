//! Two clients of the shim that ask for the same: what one does changes nothing for the
//! other.

use std::sync::Arc;

use crate::client::{Client, ClientOptions, complete, established};
use crate::world::{World, parameters};
use ipc::control::Parameters;
use ipc::keystore::KeyKind;
use rustls::ClientConfig;
use tls::Version;

const RINGS: [(&str, &str, KeyKind); 1] = [("web", "localhost", KeyKind::EcdsaP256)];
/// More than the offload component keeps configurations for.
const MANY: u16 = 100;

fn asked() -> Parameters {
    let mut asked = parameters(&["web"]);
    asked.resumption = true;
    asked
}

/// A handshake for `client` of the shim; whether it was resumed.
fn is_resumed(world: &mut World, client: u16, config: &Arc<ClientConfig>) -> bool {
    world.client = client;
    world.start(0, asked());
    let mut peer = Client::with(config.clone(), "localhost");
    let resumed = established(complete(world, 0, &mut peer)).resumed;
    // The tickets of TLS 1.3.
    peer.receive(&world.exchange(0, &[]));
    resumed
}

#[test]
fn r33_a_session_of_one_client_is_not_resumed_by_another() {
    for version in [Version::Tls13, Version::Tls12] {
        let mut world = World::new(&RINGS);
        let options = ClientOptions {
            versions: vec![match version {
                Version::Tls13 => &rustls::version::TLS13,
                Version::Tls12 => &rustls::version::TLS12,
            }],
            ..ClientOptions::default()
        };
        let config = Client::config(&world, &options);
        assert!(!is_resumed(&mut world, 1, &config), "{version:?}");
        assert!(is_resumed(&mut world, 1, &config), "{version:?}");
        assert!(!is_resumed(&mut world, 2, &config), "{version:?}");
    }
}

#[test]
fn a_client_that_asks_for_many_things_makes_no_other_start_from_nothing() {
    let mut world = World::new(&RINGS);
    let config = Client::config(&world, &ClientOptions::default());
    assert!(!is_resumed(&mut world, 1, &config));
    world.client = 2;
    for number in 0..MANY {
        let mut asked = asked();
        asked.segment_size += number;
        world.start(0, asked);
        let mut peer = Client::new(&world, &ClientOptions::default());
        established(complete(&mut world, 0, &mut peer));
    }
    assert!(is_resumed(&mut world, 1, &config));
}

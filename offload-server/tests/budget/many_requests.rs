//! Handshakes in every slot, each for another request: what they hold stays within the
//! budget, with the shipped sizes.

use crate::client::{Client, ClientOptions};
use crate::world::{World, authority, keyring, parameters, tenant};
use ipc::control::Parameters;
use ipc::keystore::KeyKind;
use ipc::provision::Keyring;
use ipc::tls::PeerAuthentication;
use offload_server::budget;

const HANDSHAKES: u16 = 224;
const SESSIONS: u16 = 1536;
/// Rings of a request, and trust anchors of each.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const ANCHORS: usize = 12;

fn rings() -> (
    Vec<Keyring>,
    rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
) {
    let issuer = authority();
    let ring = |name: &&'static str| {
        let case = (*name, "localhost", KeyKind::EcdsaP256);
        let mut ring = keyring(case, &issuer, issuer.der(), None);
        for number in 0..ANCHORS {
            let anchor = tenant(&format!("tenant {name} {number}"));
            ring.trust.push(anchor.der().to_vec());
        }
        ring
    };
    (NAMES.iter().map(ring).collect(), issuer)
}

fn asked(number: u16) -> Parameters {
    let mut asked = parameters(&NAMES);
    asked.peer_authentication = PeerAuthentication::Require;
    asked.resumption = true;
    asked.segment_size = 1000 + number;
    asked
}

/// Bytes that handshakes hold, each with the number that `number` says.
fn held(number: impl Fn(u16) -> u16) -> usize {
    let (rings, issuer) = rings();
    let mut world = World::with_keyrings(rings, issuer, HANDSHAKES, SESSIONS);
    let mut hello = Client::new(&world, &ClientOptions::default()).outgoing;
    hello.truncate(100);
    let before = crate::heap::used();
    for slot in 0..HANDSHAKES {
        world.start(slot, asked(number(slot)));
    }
    let held = crate::heap::used() - before;
    assert!(world.completion().is_none());
    held
}

#[test]
fn each_handshake_in_progress_may_be_for_another_request() {
    let lines = budget(HANDSHAKES, SESSIONS, 2);
    let most: usize = lines
        .iter()
        .filter(|line| line.what.starts_with("configurations"))
        .map(|line| line.count * line.bytes)
        .sum();
    let (same, different) = (held(|_| 0), held(|slot| slot));
    let configurations = different - same;
    println!(
        "{configurations} of {most}: {} each",
        configurations / usize::from(HANDSHAKES)
    );
    assert!(
        configurations > 0 && configurations <= most,
        "{configurations} of {most}"
    );
}

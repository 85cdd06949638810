//! A director that does not keep to the protocol: the test is in its place.

use crate::client::{Client, ClientOptions, complete, established};
use crate::world::{World, parameters};
use ipc::keystore::KeyKind;
use ipc::segment::Segment;
use ipc::tls::Mode;
use tls::Alert;

const RINGS: [(&str, &str, KeyKind); 1] = [("web", "localhost", KeyKind::EcdsaP256)];

#[test]
fn segments_do_nothing_to_an_autonomous_handshake() {
    let mut world = World::in_mode(Mode::Autonomous, &RINGS);
    let mut client = Client::new(&world, &ClientOptions::default());
    world.start(0, parameters(&["web"]));
    for segment in [
        Segment::Abort {
            alert: Some(Alert::INTERNAL_ERROR),
            error: ipc::control::HandshakeError::Cancelled,
            cause: None,
        },
        Segment::ValidateMac,
        Segment::Receive { limit: 9, show: 9 },
    ] {
        world.perform(0, segment);
        assert!(world.verdict().is_none());
        assert!(world.completion().is_none());
    }
    established(complete(&mut world, 0, &mut client));
}

//! A world of the shipped sizes, and how its slots are filled.

use crate::world::{POSITION, World, parameters};
use ipc::clock::Instant;
use ipc::control::{HandshakeError, Standing};
use ipc::handshake::{Completion, Directive, Origin, Start};
use ipc::keystore::KeyKind;
use ipc::tls::Mode;
use tls::Role;

/// The channels of `image/system.toml`.
pub(crate) const HANDSHAKES: u16 = 224;
pub(crate) const SESSIONS: u16 = 1536;

pub(crate) const RINGS: [(&str, &str, KeyKind); 1] = [("web", "localhost", KeyKind::EcdsaP256)];

pub(crate) fn world(mode: Mode) -> World {
    let world = World::sized(&RINGS, HANDSHAKES, SESSIONS);
    match mode {
        Mode::Autonomous => world,
        Mode::Directed => world.with_director(&RINGS, HANDSHAKES, Vec::new()),
    }
}

/// A ClientHello that claims to be `claimed` bytes long, as far as `given`, in records
/// of `record` bytes.
pub(crate) fn endless(claimed: u32, given: usize, record: usize) -> Vec<u8> {
    let [_, a, b, c] = claimed.to_be_bytes();
    let mut hello = vec![1, a, b, c, 3, 3];
    hello.resize(6 + 32, 7);
    // No session identifier, one suite, no compression, and extensions for ever.
    hello.extend([0, 0, 2, 0x13, 1, 1, 0, 0xf0, 0, 0xfe, 0xfe, 0xef, 0xf0]);
    hello.resize(given, 5);
    let mut bytes = Vec::new();
    for part in hello.chunks(record) {
        let [high, low] = (part.len() as u16).to_be_bytes();
        bytes.extend([22, 3, 1, high, low]);
        bytes.extend_from_slice(part);
    }
    bytes
}

pub(crate) fn origin(group: u32) -> Origin {
    Origin {
        client: 1,
        group,
        deadline: Instant::NEVER,
        standing: Standing::New,
    }
}

pub(crate) fn start(world: &mut World, slot: u16, origin: Origin) {
    world.net.open(slot);
    let directive = Directive::Start(Start {
        slot,
        generation: 1,
        session: slot,
        session_generation: 9,
        mode: Mode::Autonomous,
        role: Role::Server,
        origin,
        parameters: Box::new(parameters(&["web"])),
        position: POSITION,
    });
    world.shim.send(&directive).unwrap();
    world.run();
}

pub(crate) fn failed(world: &mut World) -> Option<(u16, HandshakeError)> {
    match world.completion()? {
        Completion::Failed { slot, error, .. } => Some((slot, error)),
        _ => panic!("another completion"),
    }
}

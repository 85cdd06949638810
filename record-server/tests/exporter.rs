//! Keying material for other protocols (RFC 8446 §7.5, RFC 5705): of one session, for whoever
//! the shim asks for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

mod world;

use ipc::badge::Badge;
use ipc::bounded::Blob;
use ipc::record::{Answer, Export, MAX_EXPORT, RecordError, Request};
use record_server::Limits;
use tls::CipherSuite;

use world::{SESSION, SLOT, World, exporter, tls13};

const LABEL: &[u8] = b"EXPORTER-test";

fn request(label: &[u8], length: usize, offset: usize) -> Request {
    Request::Export {
        slot: SLOT,
        generation: 3,
        what: Export {
            label: Blob::from_slice(label).unwrap(),
            context: Some(Blob::from_slice(b"context").unwrap()),
            length: u16::try_from(length).unwrap(),
            offset: u16::try_from(offset).unwrap(),
        },
    }
}

fn exported(world: &mut World, request: &Request) -> Result<Vec<u8>, RecordError> {
    match world.ask(Badge::Control, request)? {
        Answer::Exported(part) => Ok(part.expose().to_vec()),
        other => panic!("{other:?}"),
    }
}

fn world() -> World {
    World::new(tls13(), None, Limits::default())
}

#[test]
fn keying_material_comes_in_parts_that_are_one() {
    let mut world = world();
    for length in [0, 1, 32, 800, 801, MAX_EXPORT] {
        let mut all = Vec::new();
        loop {
            let part = exported(&mut world, &request(LABEL, length, all.len())).unwrap();
            if part.is_empty() {
                break;
            }
            all.extend(part);
        }
        let mut expected = vec![0; length];
        let suite = CipherSuite::Aes128GcmSha256;
        let made = exporter().export(suite, LABEL, Some(b"context"), &mut expected);
        assert_eq!(made, Ok(()));
        assert!(all == expected, "{length}");
    }
    let after = exported(&mut world, &request(LABEL, 32, 33));
    assert_eq!(after, Ok(Vec::new()));
}

#[test]
fn no_more_is_exported_and_by_no_other_label_than_may_be() {
    let mut world = world();
    let long = exported(&mut world, &request(LABEL, MAX_EXPORT + 1, 0));
    assert_eq!(long, Err(RecordError::TooLong));
    for label in [&b"key expansion"[..], b"c ap traffic", b"master secret"] {
        let reserved = exported(&mut world, &request(label, 32, 0));
        assert_eq!(reserved, Err(RecordError::Reserved));
    }
}

#[test]
fn nothing_is_exported_for_another_session_nor_by_another_badge() {
    let mut world = world();
    assert!(!world.server.take_exported());
    let asked = request(LABEL, 32, 0);
    for badge in [SESSION, Badge::Client(1)] {
        let denied = world.ask(badge, &asked).map(|_| ());
        assert_eq!(denied, Err(RecordError::Denied));
    }
    for (of, generation, error) in [
        (SLOT, 2, RecordError::Stale),
        (SLOT, 4, RecordError::Stale),
        (0, 3, RecordError::Stale),
        (9, 3, RecordError::NoSlot),
    ] {
        let Request::Export { what, .. } = request(LABEL, 32, 0) else {
            unreachable!();
        };
        let other = Request::Export {
            slot: of,
            generation,
            what,
        };
        assert_eq!(
            exported(&mut world, &other),
            Err(error),
            "{of} {generation}"
        );
    }
    assert_eq!(exported(&mut world, &asked).map(|part| part.len()), Ok(32));
    // What is on the stack is cleared, once.
    assert!(world.server.take_exported());
    assert!(!world.server.take_exported());
    let close = Request::Close {
        slot: SLOT,
        generation: 3,
    };
    assert_eq!(world.call(Badge::Control, &close), Ok(()));
    assert_eq!(exported(&mut world, &asked), Err(RecordError::Stale));
}

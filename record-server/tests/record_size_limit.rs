//! Records are no longer than the peer takes them (RFC 8449).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

mod world;

use record_server::Limits;
use tls::{RecordLimit, Version};

use world::{SLOT, World, tls12, tls13};

/// The types and the lengths of the bodies of these records.
fn records(mut bytes: &[u8]) -> Vec<(u8, usize)> {
    let mut records = Vec::new();
    while let [kind, 3, 3, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        records.push((*kind, length));
        bytes = &rest[length..];
    }
    assert_eq!(bytes, [0; 0]);
    records
}

#[test]
fn no_record_is_longer_than_the_peer_takes_it() {
    // The tag; in TLS 1.2 the explicit nonce too, and in TLS 1.3 the content type, which
    // counts.
    for (suite, version, around) in [
        (tls13(), Version::Tls13, 16),
        (tls12(), Version::Tls12, 8 + 16),
    ] {
        for said in [64, 100, 1000, 16_384] {
            let limit = RecordLimit::of_peer(said, version).unwrap();
            let mut world = World::limited(suite, None, Limits::default(), limit);
            let text: Vec<u8> = (0..8000u32).map(|at| (at % 251) as u8).collect();
            let (mut sent, mut pieces, mut got) = (0, Vec::new(), Vec::new());
            while got.len() < text.len() {
                sent += world.app.write(SLOT, &text[sent..]).unwrap();
                world.run();
                let mut bytes = vec![0; 65536];
                let count = world.net.read(SLOT, &mut bytes).unwrap();
                pieces.extend(records(&bytes[..count]));
                let mut rest = &bytes[..count];
                while !rest.is_empty() {
                    world.client.read_tls(&mut rest).unwrap();
                    world.client.process_new_packets().unwrap();
                }
                got.extend(world.client_read());
            }
            assert!(got == text, "{said} {version:?}");
            let most = usize::from(said) + around;
            assert!(
                pieces.iter().all(|(_, length)| *length <= most),
                "{pieces:?}"
            );
            // As long as they may be, where the ring is no reason for less.
            if said <= 1000 {
                let whole = pieces.iter().filter(|(_, length)| *length == most).count();
                assert!(whole >= 8000 / usize::from(said) - 1, "{pieces:?}");
            }
        }
    }
}

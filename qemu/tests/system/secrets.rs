//! Where secrets are in the guest's physical memory, and where they are not.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::client::{Session, Wish};
use crate::harness::site::port;
use crate::harness::{PATIENCE, alone};

/// Bytes that are compared: too many to turn up by chance, few enough to find
/// what is cut by a page's end on one of its sides.
const SAMPLE: usize = 16;

#[test]
fn a_private_key_is_in_the_memory_of_the_key_store_alone() {
    let site = alone();
    // Every key has been used.
    for port in [port::HTTP, port::RSA, port::ED25519, port::P384] {
        let mut session = Wish::any(&site.material)
            .connect(site.address(port))
            .unwrap();
        session.ask("/").unwrap();
    }
    let memory = site.memory();
    for label in ["p256", "p384", "ed25519", "rsa2048"] {
        let key = site.material.key(label);
        let mut places = 0;
        for sample in samples(label, key.secret_der()) {
            // ring keeps numbers with their lowest byte first.
            let reversed: Vec<u8> = sample.iter().rev().copied().collect();
            for sample in [sample, reversed] {
                for holders in memory.owners_of(&sample) {
                    assert_eq!(holders, BTreeSet::from(["keystore-server"]), "{label}");
                    places += 1;
                }
            }
        }
        assert!(places > 0, "{label}: not even in the key store");
    }
}

#[test]
fn a_session_s_keys_are_in_the_record_layer_and_after_a_cut_nowhere() {
    let site = alone();
    for wish in [Wish::tls13(&site.material), Wish::tls12(&site.material)] {
        let mut session = wish.connect(site.address(port::ECHO)).unwrap();
        session.echo(b"in use").unwrap();
        // The client tells its keys only when it is done; the connection stays
        // open meanwhile.
        let socket = session.0.sock.try_clone().unwrap();
        let keys = session.keys();
        let memory = site.memory();
        for key in &keys {
            let holders = memory.owners_of(&key[..SAMPLE]);
            assert!(!holders.is_empty(), "the search finds nothing");
            for holders in holders {
                assert_eq!(holders, BTreeSet::from(["record-server"]));
            }
        }
        drop(socket);
        wait_until_gone(&site, &keys);
    }
}

#[test]
fn the_keys_of_a_session_that_was_closed_properly_are_nowhere() {
    let site = alone();
    for wish in [Wish::tls13(&site.material), Wish::tls12(&site.material)] {
        let session = wish.connect(site.address(port::ECHO)).unwrap();
        wait_until_gone(&site, &closed_properly(session));
    }
}

/// Says close_notify, reads the other side's, and only then tells the keys.
fn closed_properly(mut session: Session) -> [Vec<u8>; 2] {
    session.echo(b"the last words").unwrap();
    session.end().unwrap();
    std::io::copy(&mut session.0, &mut std::io::sink()).unwrap();
    session.keys()
}

#[track_caller]
fn wait_until_gone(site: &crate::harness::site::Site, keys: &[Vec<u8>; 2]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let memory = site.memory();
        let found = keys.iter().flat_map(|key| memory.places_of(&key[..SAMPLE]));
        let found: Vec<_> = found.collect();
        if found.is_empty() {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "keys of a closed session: {found:?}"
        );
        thread::sleep(Duration::from_secs(1));
    }
}

/// Secret parts of a private key in PKCS#8.
fn samples(label: &str, pkcs8: &[u8]) -> Vec<Vec<u8>> {
    // What stands before the secret: version and OCTET STRING of an
    // ECPrivateKey (RFC 5915), or the inner OCTET STRING of RFC 8410.
    let (before, length): (&[u8], usize) = match label {
        "p256" => (&[2, 1, 1, 4, 32], 32),
        "p384" => (&[2, 1, 1, 4, 48], 48),
        "ed25519" => (&[4, 34, 4, 32], 32),
        // Of RSA-2048 (RFC 8017 §A.1.2), behind modulus and exponent, places
        // in the private exponent and in both primes.
        _ => {
            let places = [400, 620, 750];
            return places.map(|at| pkcs8[at..at + SAMPLE].to_vec()).to_vec();
        }
    };
    let at = pkcs8
        .windows(before.len())
        .position(|bytes| bytes == before);
    let start = at.unwrap() + before.len();
    let secret = &pkcs8[start..start + length];
    let middle = length / 2;
    vec![secret[..middle].to_vec(), secret[middle..].to_vec()]
}

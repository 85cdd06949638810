//! Where secrets are in the guest's physical memory, and where they are not.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, ProtocolVersion, Stream};

use crate::harness::breaker::{Breakage, Breaker};
use crate::harness::client::{Session, Wish, tcp};
use crate::harness::site::{Site, port};
use crate::harness::{PATIENCE, alone, own};
use crate::restart::{domains, open};

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
    assert_private_keys_are_at_home(&site);
}

/// The private keys are where the key store has them, and nowhere else.
fn assert_private_keys_are_at_home(site: &Site) {
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
    for (wish, port) in sessions(&site) {
        let mut session = wish.connect(site.address(port)).unwrap();
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
    for (wish, port) in sessions(&site) {
        let session = wish.connect(site.address(port)).unwrap();
        wait_until_gone(&site, &closed_properly(session));
    }
}

#[test]
fn c06_after_any_domain_terminates_no_secret_is_outside_its_owner() {
    let site = own("ends");
    for (domain, survives) in domains() {
        let breaker = Breaker::of(&site, domain).unwrap();
        let mut session = open(&site);
        session.echo(b"in use").unwrap();
        let socket = session.0.sock.try_clone().unwrap();
        let keys = session.keys();
        thread::scope(|scope| {
            // The key store runs for a handshake only, the director for a directed one.
            let directed = site.address(port::directed(port::ECHO));
            let material = &site.material;
            scope.spawn(move || Wish::any(material).connect(directed).ok());
            breaker.end(Breakage::Fault).unwrap();
        });
        if survives {
            let found = holders(&site, &keys);
            assert_eq!(found, BTreeSet::from(["record-server"]), "{domain}");
        } else {
            wait_until_gone(&site, &keys);
        }
        assert_private_keys_are_at_home(&site);
        drop(socket);
    }
}

/// Of each version in each mode.
fn sessions(site: &Site) -> [(Wish<'_>, u16); 4] {
    let (tls13, tls12) = (Wish::tls13, Wish::tls12);
    let directed = port::directed(port::ECHO);
    [
        (tls13(&site.material), port::ECHO),
        (tls12(&site.material), port::ECHO),
        (tls13(&site.material), directed),
        (tls12(&site.material), directed),
    ]
}

#[test]
fn the_shim_and_the_director_hold_no_secret_of_a_directed_handshake() {
    let site = alone();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let heard = Arc::new(Heard::default());
        let mut config = ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(site.material.roots())
            .with_no_client_auth();
        config.key_log = heard.clone();
        let name = "localhost".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut socket = tcp(site.address(port::directed(port::ECHO))).unwrap();
        client.write_tls(&mut socket).unwrap();
        while heard.secrets().is_empty() {
            client.read_tls(&mut socket).unwrap();
            client.process_new_packets().unwrap();
        }
        // The server waits for the client's Finished.
        let found = holders(&site, &heard.secrets());
        if version.version == ProtocolVersion::TLSv1_3 {
            assert_eq!(found, BTreeSet::from(["offload-server"]), "during");
        } else {
            // The client has not sent its key yet.
            assert!(found.is_empty(), "during: {found:?}");
        }
        let mut stream = Stream::new(&mut client, &mut socket);
        stream.write_all(b"over").unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        let found = holders(&site, &heard.secrets());
        // The record layer exports keying material from one of them (ADR 0189).
        let mut homes = BTreeSet::from(["record-server"]);
        if version.version == ProtocolVersion::TLSv1_3 {
            // For KeyUpdates.
            homes.insert("offload-server");
        }
        assert_eq!(found, homes, "after it");
    }
}

/// The domains that have any of `secrets` in their memory.
pub(crate) fn holders(site: &Site, secrets: &[Vec<u8>]) -> BTreeSet<&'static str> {
    let samples: Vec<_> = secrets.iter().map(|secret| &secret[..SAMPLE]).collect();
    site.memory().owners_of_any(&samples)
}

/// The master secret of TLS 1.2, the traffic secrets of TLS 1.3.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<Vec<u8>>>);

impl Heard {
    fn secrets(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().clone()
    }
}

impl rustls::KeyLog for Heard {
    fn log(&self, _: &str, _: &[u8], secret: &[u8]) {
        self.0.lock().unwrap().push(secret.to_vec());
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
fn wait_until_gone(site: &Site, keys: &[Vec<u8>; 2]) {
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
        // Of RSA-2048 (RFC 8017 §A.1.2), after modulus and exponent, places
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

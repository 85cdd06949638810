//! Directed mode: a real shim drives a real offload component, against rustls
//! as client.
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

use client::{Client, ClientOptions, complete, established, failure};
use ipc::bounded::List;
use ipc::keystore::KeyKind;
use ipc::tls::{CipherSuite, Group, Version};
use rustls::crypto::ring as provider;
use world::{World, parameters};

const KINDS: [KeyKind; 4] = [
    KeyKind::EcdsaP256,
    KeyKind::EcdsaP384,
    KeyKind::Ed25519,
    KeyKind::Rsa,
];

#[test]
fn r03_every_suite_with_every_kind_of_key_that_fits_it() {
    let mut count = 0;
    for kind in KINDS {
        for suite in provider::ALL_CIPHER_SUITES {
            let mut world = World::directed(&[("web", "localhost", kind)]);
            let number = u16::from(suite.suite());
            let suite_of_ours = CipherSuite::from_number(number).unwrap();
            let options = ClientOptions {
                suites: vec![*suite],
                versions: vec![suite.version()],
                ..ClientOptions::default()
            };
            let is_rsa = kind == KeyKind::Rsa;
            let name = suite_of_ours.name();
            let fits =
                suite_of_ours.version() == Version::Tls13 || name.contains("_RSA_") == is_rsa;
            world.start(0, parameters(&["web"]));
            let mut client = Client::new(&world, &options);
            let completion = complete(&mut world, 0, &mut client);
            if !fits {
                failure(completion);
                continue;
            }
            let established = established(completion);
            assert!(client.is_done(), "{name}: {:?}", client.error);
            assert_eq!(established.suite, suite_of_ours);
            assert_eq!(established.version, suite_of_ours.version());
            assert_eq!(established.alpn.as_deref(), Some(&b"http/1.1"[..]));
            assert_eq!(established.server_name.as_deref(), Some("localhost"));
            assert_eq!(&*established.keyring, "web");
            count += 1;
        }
    }
    assert_eq!(count, 4 * 6);
}

#[test]
fn r11_every_group_alone_by_either_side() {
    for group in Group::ALL {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let mut world = World::directed(&[("web", "localhost", KeyKind::EcdsaP256)]);
            let mut asked = parameters(&["web"]);
            asked.groups = List::from_items([group]).unwrap();
            world.start(0, asked);
            // The client offers all: where its first guess is wrong, TLS 1.3
            // needs a HelloRetryRequest.
            let options = ClientOptions {
                versions: vec![version],
                ..ClientOptions::default()
            };
            let mut client = Client::new(&world, &options);
            let established = established(complete(&mut world, 0, &mut client));
            assert_eq!(established.group, Some(group));
            assert!(client.is_done());
        }
    }
}

//! What a hybrid key exchange agrees on is in the guest's memory for the handshake alone.

use std::io::{Read, Write};
use std::sync::Arc;
use std::thread;

use peer_groups::Recorded;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use crate::harness::alone;
use crate::harness::client::tcp;
use crate::harness::site::{Site, port};
use crate::upstream::ask;

const GROUPS: [u16; 3] = [0x11ec, 0x11eb, 0x11ed];

fn recorded(number: u16) -> (&'static Recorded, Arc<CryptoProvider>) {
    let group = Recorded::new(peer_groups::group(number).unwrap());
    // The provider wants it to live for ever, too.
    let reference: &'static &'static Recorded = Box::leak(Box::new(group));
    let provider = CryptoProvider {
        kx_groups: vec![reference],
        ..ring::default_provider()
    };
    (group, Arc::new(provider))
}

/// Neither half, nor a part of one, is anywhere.
fn assert_gone(site: &Site, group: &Recorded, case: &str) {
    let secrets = group.secrets();
    assert_eq!(secrets.len(), 1, "{case}");
    let memory = site.memory();
    for part in secrets[0].as_chunks::<16>().0 {
        let places = memory.places_of(part);
        assert!(places.is_empty(), "{case}: {places:?}");
    }
}

#[test]
fn the_secret_of_a_hybrid_key_exchange_does_not_outlive_the_handshake() {
    let site = alone();
    for number in GROUPS {
        let listener = match number {
            0x11ed => port::HYBRID,
            _ => port::ECHO,
        };
        for port in [listener, port::directed(listener)] {
            let (group, provider) = recorded(number);
            let config = ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .with_root_certificates(site.material.roots())
                .with_no_client_auth();
            let name = "localhost".try_into().unwrap();
            let client = ClientConnection::new(Arc::new(config), name).unwrap();
            let socket = tcp(site.address(port)).unwrap();
            let mut session = StreamOwned::new(client, socket);
            session.write_all(b"agreed").unwrap();
            session.read_exact(&mut [0; 6]).unwrap();
            assert_gone(&site, group, &format!("server {port} {number:x}"));
        }
    }
    // As client.
    for port in [port::HELD, port::directed(port::HELD)] {
        let (group, provider) = recorded(0x11ec);
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(site.material.chain("p256"), site.material.key("p256"))
            .unwrap();
        thread::scope(|scope| {
            let answer = scope.spawn(|| ask(&site, port));
            let socket = site.held.accept().unwrap().0;
            let server = ServerConnection::new(Arc::new(config)).unwrap();
            let mut session = StreamOwned::new(server, socket);
            session.read_exact(&mut [0; 4]).unwrap();
            assert_gone(&site, group, &format!("client {port}"));
            session.write_all(b"agreed").unwrap();
            session.conn.send_close_notify();
            session.flush().unwrap();
            drop(session);
            assert_eq!(answer.join().unwrap(), "agreed");
        });
    }
}

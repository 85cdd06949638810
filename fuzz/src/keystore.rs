//! The key store, before and behind its start.

use std::cell::RefCell;

use ipc::badge::Badge;
use ipc::bounded::Text;
use ipc::keystore::{KeyKind, Keystore};
use ipc::provision::{Keyring, Keyrings, PrivateKey, KeystoreData};
use ipc::stats;
use ipc::tls::Role;
use ipc::transport::{MAX_MESSAGE, Protocol, decode};
use keystore_server::{Server, firmware};

use crate::bytes::Bytes;
use crate::wire::world::key_of;

/// Key rings as the key store finds them, and calls to a key store.
pub fn keyrings(data: &[u8]) {
    thread_local! {
        static SERVER: RefCell<Option<&'static mut Server<'static>>> = const { RefCell::new(None) };
    }
    let mut bytes = Bytes(data);
    if bytes.byte() & 1 == 0 {
        let stats = stats::Page::default();
        if let Ok(mut server) = Server::new(bytes.0, &stats, firmware::absent) {
            ask(&mut server, &[0, 0]);
        }
        return;
    }
    SERVER.with_borrow_mut(|server| {
        let server = server.get_or_insert_with(|| Box::leak(Box::new(with_keys())));
        while !bytes.is_empty() {
            ask(server, bytes.vector());
        }
    });
}

fn ask(server: &mut Server<'_>, request: &[u8]) {
    let mut reply = [0; MAX_MESSAGE];
    let length = server.serve(Badge::Client(1).to_word(), request, &mut reply);
    assert!(decode::<<Keystore as Protocol>::Reply>(&reply[..length]).is_some());
}

fn with_keys() -> Server<'static> {
    let ring = |kind| Keyring {
        label: Text::from_text("web").expect("a short label"),
        roles: vec![Role::Server, Role::Client],
        decrypts: kind == KeyKind::Rsa,
        key: Some(PrivateKey {
            kind,
            pkcs8: key_of(kind).serialize_der(),
        }),
        chain: vec![vec![7; 1000]],
        trust: vec![vec![9; 2000]],
    };
    let rings = [KeyKind::EcdsaP256, KeyKind::Ed25519, KeyKind::Rsa].map(ring);
    let blob = postcard::to_allocvec(&KeystoreData::open(Keyrings(rings.into()))).expect("key rings");
    let stats: &'static stats::Page = Box::leak(Box::default());
    Server::new(&blob, stats, firmware::absent).unwrap_or_else(|error| panic!("{error:?}"))
}

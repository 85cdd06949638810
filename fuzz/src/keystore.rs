//! The key store, before and after its start.

use std::cell::RefCell;

use ipc::badge::Badge;
use ipc::bounded::{List, Text};
use ipc::keystore::{KeyKind, Keystore};
use ipc::provision::{Crls, Keyring, Keyrings, KeystoreData, PrivateKey, Rings, update as wire};
use ipc::stats;
use ipc::transport::{MAX_MESSAGE, Protocol, decode};
use keystore_server::rotation::Receiver;
use keystore_server::{Server, firmware};
use ring::signature::{Ed25519KeyPair, KeyPair};
use tls::Role;

use crate::bytes::Bytes;
use crate::wire::world::key_of;

/// Key rings as the key store finds them, updates of them, and calls to a key store.
pub fn keyrings(data: &[u8]) {
    thread_local! {
        static SERVER: RefCell<Option<&'static mut Server<'static>>> = const { RefCell::new(None) };
    }
    let mut bytes = Bytes(data);
    match bytes.byte() % 3 {
        0 => {
            let stats = stats::Page::default();
            if let Ok(mut server) = Server::new(bytes.0, &stats, firmware::absent) {
                ask(&mut server, &[0, 0]);
            }
            return;
        }
        2 => return update(bytes.0),
        _ => {}
    }
    SERVER.with_borrow_mut(|server| {
        let server = server.get_or_insert_with(|| Box::leak(Box::new(with_keys())));
        while !bytes.is_empty() {
            ask(server, bytes.vector());
        }
    });
}

/// Bytes on the line for updates, and after them the same bytes as the signer
/// of the image signs them.
fn update(data: &[u8]) {
    let signer = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key");
    let public = signer.public_key().as_ref().try_into().expect("32 bytes");
    let blob = KeystoreData {
        rings: Rings::Open(rings()),
        signer: Some(public),
    };
    let blob = postcard::to_allocvec(&blob).expect("key rings");
    let stats = stats::Page::default();
    let server = Server::new(&blob, &stats, firmware::absent);
    let mut server = server.unwrap_or_else(|error| panic!("{error:?}"));
    let signature = signer.sign(&[wire::CONTEXT, data].concat());
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes();
    let signed = [&wire::MAGIC, &length, signature.as_ref(), data].concat();
    let mut receiver = Receiver::default();
    for byte in data.iter().chain(&signed) {
        if let Ok(Some(frame)) = receiver.take(*byte) {
            let _ = server.rotate(&frame, firmware::absent);
        }
    }
    ask(&mut server, &[0, 0]);
}

fn ask(server: &mut Server<'_>, request: &[u8]) {
    let mut reply = [0; MAX_MESSAGE];
    let length = server.serve(Badge::Client(1).to_word(), request, &mut reply);
    assert!(decode::<<Keystore as Protocol>::Reply>(&reply[..length]).is_some());
}

fn rings() -> Keyrings {
    let ring = |kind| Keyring {
        label: Text::from_text("web").expect("a short label"),
        roles: vec![Role::Server, Role::Client],
        decrypts: kind == KeyKind::Rsa,
        schemes: List::new(),
        key: Some(PrivateKey {
            kind,
            pkcs8: key_of(kind).serialize_der(),
        }),
        chain: vec![vec![7; 1000]],
        trust: vec![vec![9; 2000]],
        crls: Crls::default(),
        ocsp: None,
    };
    Keyrings(
        [KeyKind::EcdsaP256, KeyKind::Ed25519, KeyKind::Rsa]
            .map(ring)
            .into(),
    )
}

fn with_keys() -> Server<'static> {
    let blob = postcard::to_allocvec(&KeystoreData::open(rings())).expect("key rings");
    let stats: &'static stats::Page = Box::leak(Box::default());
    Server::new(&blob, stats, firmware::absent).unwrap_or_else(|error| panic!("{error:?}"))
}

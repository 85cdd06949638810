//! Messages that no honest offload component sends.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../../ipc/tests/noise/mod.rs"]
mod noise;

use ipc::badge::Badge;
use ipc::bounded::{Blob, Bytes, List, Text};
use ipc::keystore::{
    Answer, CertificateList, KeyKind, KeyringIndex, Keystore, KeystoreError, Request, ToBeSigned,
};
use ipc::provision::{Crls, Keyring, Keyrings, KeystoreData, PrivateKey};
use ipc::stats;
use ipc::transport::{MAX_MESSAGE, Protocol, decode};
use keystore_server::{Server, firmware, refuse};
use noise::{Sufferer, storm};
use rcgen::{CertificateParams, KeyPair};
use tls::{Role, Scheme};

#[test]
fn a_key_store_without_key_rings_refuses_each_call() {
    let stats = stats::Page::default();
    let mut reply = [0; MAX_MESSAGE];
    let mut ask = |message: &[u8]| {
        let length = refuse(&stats, message, &mut reply);
        decode::<<Keystore as Protocol>::Reply>(&reply[..length])
            .unwrap()
            .err()
    };
    for request in [
        Request::Keyring(KeyringIndex(0)),
        transcript(&[1; 4]),
        sign(),
    ] {
        let message = postcard::to_allocvec(&request).unwrap();
        assert_eq!(ask(&message), Some(KeystoreError::NoKeyrings));
    }
    assert_eq!(ask(&[0xff; 9]), Some(KeystoreError::Malformed));
    assert_eq!(stats.read(stats::keystore::CALLS), 4);
    assert_eq!(stats.read(stats::keystore::REFUSED), 4);
}

struct World(Server<'static>);

impl Sufferer for World {
    type Protocol = Keystore;

    fn serve(&mut self, _: &Request, message: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> usize {
        self.0.serve(Badge::Client(1).to_word(), message, reply)
    }

    fn recover(&mut self) {
        let mut reply = [0; MAX_MESSAGE];
        let mut ask = |request: &Request| {
            let message = postcard::to_allocvec(request).unwrap();
            let length = self.serve(request, &message, &mut reply);
            decode::<<Keystore as Protocol>::Reply>(&reply[..length]).unwrap()
        };
        // What is left of a transcript goes with the next.
        assert!(matches!(ask(&transcript(&[1; 4])), Ok(Answer::Taken)));
        assert!(matches!(ask(&sign()), Ok(Answer::Signature(_))));
    }
}

fn sign() -> Request {
    Request::Sign {
        keyring: KeyringIndex(0),
        scheme: Scheme::EcdsaSecp256r1Sha256,
        to_be_signed: ToBeSigned::Tls13CertificateVerify {
            role: Role::Server,
            transcript_hash: Bytes::from_slice(&[5; 32]).unwrap(),
        },
    }
}

fn transcript(part: &[u8]) -> Request {
    Request::Transcript {
        is_first: true,
        part: Blob::from_slice(part).unwrap(),
    }
}

#[test]
fn malformed_messages_get_an_answer_and_cost_nobody_else_anything() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".into()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let ring = Keyring {
        label: Text::from_text("web").unwrap(),
        roles: vec![Role::Server, Role::Client],
        decrypts: false,
        schemes: List::new(),
        key: Some(PrivateKey {
            kind: KeyKind::EcdsaP256,
            pkcs8: key.serialize_der(),
        }),
        chain: vec![certificate.der().to_vec()],
        trust: vec![vec![9; 2000]],
        crls: Crls::default(),
        ocsp: None,
    };
    let blob = postcard::to_allocvec(&KeystoreData::open(Keyrings(vec![ring]))).unwrap();
    let stats: &'static stats::Page = Box::leak(Box::default());
    let mut world = World(Server::new(&blob, stats, firmware::absent).unwrap());
    let exchange = Request::Sign {
        keyring: KeyringIndex(0),
        scheme: Scheme::EcdsaSecp256r1Sha256,
        to_be_signed: ToBeSigned::Tls12ServerKeyExchange {
            client_random: [1; 32],
            server_random: [2; 32],
            group: 0x1d,
            public_key: Bytes::from_slice(&[3; 32]).unwrap(),
        },
    };
    let verify = Request::Sign {
        keyring: KeyringIndex(0),
        scheme: Scheme::EcdsaSecp256r1Sha256,
        to_be_signed: ToBeSigned::Tls12CertificateVerify,
    };
    let part = Request::Certificate {
        keyring: KeyringIndex(0),
        from: CertificateList::Trust,
        index: 0,
        offset: 900,
    };
    let valid = [
        Request::Keyring(KeyringIndex(0)),
        part,
        transcript(&[7; 60]),
        sign(),
        exchange,
        verify,
        Request::Decrypt {
            keyring: KeyringIndex(0),
            client_version: 0x0303,
            encrypted: Bytes::from_slice(&[7; 256]).unwrap(),
        },
    ];
    storm(&mut world, valid);
}

//! The record layer of an established session.

use ipc::badge::Badge;
use ipc::channel::Doorbell;
use ipc::channel::local::{Silent, pair};
use ipc::clock::Instant;
use ipc::queue::Queue;
use ipc::record::{Answer, PostHandshakeInbox, Record, Request};
use ipc::stats;
use ipc::transport::{MAX_MESSAGE, Protocol, decode};
use record_server::{Limits, Ports, Server};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use tls::{CipherSuite, Exporter, RecordLimit, Role, Secret, TrafficKey};

use crate::bytes::Bytes;

const SLOT: u16 = 0;
const KEY: [u8; 16] = [1; 16];
const IV: [u8; 12] = [2; 12];

fn exporter() -> Exporter {
    Exporter::tls13(Secret::from_slice(&[3; 32]).expect("a secret"))
}

fn key() -> TrafficKey {
    TrafficKey {
        key: Secret::from_slice(&KEY).expect("a key"),
        iv: Secret::from_slice(&IV).expect("a nonce base"),
        sequence: 0,
    }
}

/// A record of TLS 1.3 (RFC 8446 §5.2) under the session's key.
fn sealed(sequence: u64, content_type: u8, text: &[u8]) -> Vec<u8> {
    let mut nonce = IV;
    for (byte, of_sequence) in nonce[4..].iter_mut().zip(sequence.to_be_bytes()) {
        *byte ^= of_sequence;
    }
    let mut inner = [text, &[content_type]].concat();
    let length = u16::try_from(inner.len() + 16).unwrap_or(u16::MAX);
    let [high, low] = length.to_be_bytes();
    let header = [23, 3, 3, high, low];
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &KEY).expect("a key"));
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::from(header), &mut inner)
        .expect("a record");
    [&header[..], &inner].concat()
}

/// As a domain does it: turns until there is no more to do.
fn turns<N: Doorbell, A: Doorbell, O: Doorbell>(server: &mut Server<'_, N, A, O>) {
    server.run(Instant::default());
    while server.is_busy() {
        server.run(Instant::default());
    }
}

/// Records, raw or sealed, and calls of the offload component in between.
pub fn records(data: &[u8]) {
    let stats = stats::Page::default();
    let (mut net, net_side) = pair(1, 32768, 16384, Silent, Silent);
    let (mut app, app_side) = pair(1, 16384, 16384, Silent, Silent);
    let (offload, offload_side) = pair(1, 65536, 65536, Silent, Silent);
    let mut offload: PostHandshakeInbox<_> = Queue::new(offload);
    let ports = Ports {
        net: net_side,
        app: app_side.into(),
        offload: Queue::new(offload_side),
        stats: &stats,
    };
    let mut server = Server::new(ports, Limits::default());
    let session = Badge::Session {
        slot: SLOT,
        generation: 3,
    };
    let call = |server: &mut Server<'_, _, _, _>, badge: Badge, request: &[u8]| {
        let mut reply = [0; MAX_MESSAGE];
        let length = server.serve(badge.to_word(), request, &mut reply, Instant::default());
        decode::<<Record as Protocol>::Reply>(&reply[..length]).expect("an answer")
    };
    let mut bytes = Bytes(data);
    let suite = match bytes.byte() & 1 {
        0 => CipherSuite::Aes128GcmSha256,
        _ => CipherSuite::EcdheEcdsaAes128GcmSha256,
    };
    let (tx, rx) = (key(), key());
    net.open(SLOT);
    net.notify(SLOT);
    let install = Request::Install {
        generation: 3,
        role: Role::Server,
        suite,
        tx,
        rx,
        record_limit: RecordLimit::NONE,
        exporter: exporter(),
    };
    let install = postcard::to_allocvec(&install).expect("a request");
    assert_eq!(call(&mut server, session, &install), Ok(Answer::Done));
    app.follow(SLOT);
    let mut sequence = 0;
    while !bytes.is_empty() {
        let choice = bytes.byte();
        let part = bytes.vector();
        match choice & 3 {
            0 => {
                let _ = net.write(SLOT, part);
            }
            1 => {
                let record = sealed(sequence, choice >> 2, part);
                let _ = net.write(SLOT, &record);
                sequence += 1;
            }
            2 => {
                let _ = app.write(SLOT, part);
            }
            _ => {
                let _ = call(&mut server, session, part);
            }
        }
        turns(&mut server);
        let mut out = [0; 16384];
        let _ = net.read(SLOT, &mut out);
        let _ = app.read(SLOT, &mut out);
        while let Some(message) = offload.receive() {
            assert!(message.is_ok(), "its own queue can be read");
        }
    }
    let close = Request::Close {
        slot: SLOT,
        generation: 3,
    };
    let close = postcard::to_allocvec(&close).expect("a request");
    let _ = call(&mut server, Badge::Control, &close);
    turns(&mut server);
}

//! Tickets that come after a handshake of TLS 1.3, on their way through a client's
//! record layer.

use ipc::bounded::Blob;
use ipc::record::{PostHandshake, Request};
use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use tls::{Aead, CipherSuite, TrafficKey};

use super::world::World;

/// Opens `records` under `key` and hands the messages in them over, for the session
/// in `slot`.
pub fn hand_over(
    client: &mut World,
    slot: u16,
    generation: u16,
    suite: CipherSuite,
    key: &TrafficKey,
    records: &[u8],
) {
    for message in open(suite, key, records) {
        let message = PostHandshake::Message {
            slot,
            generation,
            message: Blob::from_slice(&message).unwrap(),
        };
        client.installed.borrow_mut().clear();
        client.record.send(&message).unwrap();
        client.run();
        let answered = client.installed.borrow();
        assert!(
            matches!(answered[&slot][..], [Request::Proceed { .. }]),
            "refused"
        );
    }
}

/// The handshake messages in records under `key`.
fn open(suite: CipherSuite, key: &TrafficKey, mut records: &[u8]) -> Vec<Vec<u8>> {
    let algorithm = match suite.aead() {
        Aead::Aes128Gcm => &AES_128_GCM,
        Aead::Aes256Gcm => &AES_256_GCM,
        Aead::ChaCha20Poly1305 => &CHACHA20_POLY1305,
    };
    let aead = LessSafeKey::new(UnboundKey::new(algorithm, key.key.expose()).unwrap());
    let mut sequence = key.sequence;
    let mut text = Vec::new();
    while !records.is_empty() {
        let (header, rest) = records.split_first_chunk::<5>().unwrap();
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        let (body, rest) = rest.split_at(length);
        records = rest;
        let mut nonce: [u8; 12] = key.iv.expose().try_into().unwrap();
        for (to, from) in nonce[4..].iter_mut().zip(sequence.to_be_bytes()) {
            *to ^= from;
        }
        sequence += 1;
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = aead
            .open_in_place(nonce, Aad::from(header), &mut body)
            .unwrap();
        let (kind, message) = opened.split_last().unwrap();
        assert_eq!(*kind, 22);
        text.extend_from_slice(message);
    }
    let mut messages = Vec::new();
    while !text.is_empty() {
        let length = usize::from(u16::from_be_bytes([text[2], text[3]]));
        let rest = text.split_off(4 + length);
        messages.push(std::mem::replace(&mut text, rest));
    }
    messages
}

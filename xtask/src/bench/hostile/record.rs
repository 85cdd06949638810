//! Records that rustls would not send: sealed here with the keys of its session.

use anyhow::{Context, Result, bail, ensure};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::{ClientConnection, ConnectionTrafficSecrets, ProtocolVersion};

/// Types of records (RFC 8446 §5.1).
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;
/// What every record says of its version (RFC 8446 §5.1, RFC 5246 §6.2.1).
pub(super) const VERSION: [u8; 2] = [3, 3];

/// Seals with ChaCha20-Poly1305, which has the same nonces in both versions
/// (RFC 8446 §5.3, RFC 7905 §2).
pub(super) struct Sealer {
    key: LessSafeKey,
    base: [u8; 12],
    sequence: u64,
    is_tls13: bool,
}

impl Sealer {
    /// Takes over what an established session sends with.
    pub(super) fn new(session: ClientConnection) -> Result<Self> {
        let is_tls13 = session.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let (sequence, secrets) = session.dangerous_extract_secrets()?.tx;
        let ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } = secrets else {
            bail!("the session has another suite");
        };
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_ref());
        let base = iv.as_ref().try_into().context("the nonce's length")?;
        let key = key.map_err(|_| anyhow::anyhow!("the key's length"))?;
        Ok(Self {
            key: LessSafeKey::new(key),
            base,
            sequence,
            is_tls13,
        })
    }

    /// Appends one record to `out`.
    pub(super) fn seal(&mut self, kind: u8, payload: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let mut nonce = self.base;
        let sequence = self.sequence.to_be_bytes();
        for (byte, with) in nonce.iter_mut().rev().zip(sequence.iter().rev()) {
            *byte ^= with;
        }
        self.sequence += 1;
        let mut text = payload.to_vec();
        if self.is_tls13 {
            text.push(kind);
        }
        let sealed = text.len() + CHACHA20_POLY1305.tag_len();
        ensure!(sealed <= 1 << 14, "no record holds so much");
        let shown = if self.is_tls13 {
            APPLICATION_DATA
        } else {
            kind
        };
        let header = header(shown, sealed);
        let with = if self.is_tls13 {
            header.to_vec()
        } else {
            // RFC 5246 §6.2.3.3.
            let [kind, major, minor, ..] = header;
            let length = (payload.len() as u16).to_be_bytes();
            [&sequence[..], &[kind, major, minor], &length].concat()
        };
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(nonce, Aad::from(with), &mut text)
            .map_err(|_| anyhow::anyhow!("sealing a record"))?;
        out.extend_from_slice(&header);
        out.extend_from_slice(&text);
        Ok(())
    }
}

/// A record's header; `length` is at most 2^14 and some.
pub(super) fn header(kind: u8, length: usize) -> [u8; 5] {
    let [high, low] = (length as u16).to_be_bytes();
    [kind, VERSION[0], VERSION[1], high, low]
}

/// The first `length` bytes of a ClientHello that says it has `claimed`, in records.
pub(super) fn endless_hello(claimed: u32, length: usize) -> Vec<u8> {
    const MOST: usize = 1 << 14;
    const CLIENT_HELLO: u8 = 1;
    let [_, claim @ ..] = claimed.to_be_bytes();
    let mut message = [&[CLIENT_HELLO], &claim[..], &VERSION, &[7; 32], &[0]].concat();
    // One suite, no compression, and extensions up to the message's end, the first of
    // which is as long as one can be.
    let rest = (claimed as usize).saturating_sub(44);
    message.extend([0, 2, 0x13, 1, 1, 0]);
    message.extend((rest.min(0xffff) as u16).to_be_bytes());
    message.extend([0, 21]);
    message.extend((rest.saturating_sub(4).min(0xffff) as u16).to_be_bytes());
    message.resize(length, 0);
    let records = message.chunks(MOST);
    records
        .flat_map(|part| [&header(HANDSHAKE, part.len())[..], part].concat())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_hello_goes_on_in_whole_records() {
        let bytes = endless_hello(60_000, 33_000);
        assert_eq!(bytes[..5], [22, 3, 3, 0x40, 0]);
        assert_eq!(bytes[5..9], [1, 0, 0xea, 0x60]);
        assert_eq!(bytes.len(), 33_000 + 3 * 5);
        assert_eq!(bytes[5 + (1 << 14)..][..5], [22, 3, 3, 0x40, 0]);
    }
}

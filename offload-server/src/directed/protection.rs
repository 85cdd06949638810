//! Protection of the handshake's own records, one direction.
//!
//! What comes behind the handshake is the record layer's.

use alloc::vec::Vec;

use ipc::tls::TrafficKey;
use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use tls::record::HEADER;
use tls::{Aead, Alert, CipherSuite, ContentType, Version};

use super::Fault;

const TAG: usize = 16;
/// RFC 5288 §3: bytes of the nonce that each record carries.
const EXPLICIT: usize = 8;

/// A key in use, and how many records it was used for. Its memory is cleared
/// by the allocator of the domain when it is freed: `ring` does not zeroize key
/// schedules.
pub(super) struct Protection {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
    version: Version,
    /// Bytes of the nonce in each record.
    explicit: usize,
}

impl Protection {
    /// `None` when the key does not fit the suite.
    pub(super) fn new(suite: CipherSuite, key: &TrafficKey) -> Option<Self> {
        let algorithm = match suite.aead() {
            Aead::Aes128Gcm => &AES_128_GCM,
            Aead::Aes256Gcm => &AES_256_GCM,
            Aead::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        let version = suite.version();
        let is_gcm12 = version == Version::Tls12 && suite.aead() != Aead::ChaCha20Poly1305;
        Some(Self {
            key: LessSafeKey::new(UnboundKey::new(algorithm, key.key.expose()).ok()?),
            iv: key.iv.expose().try_into().ok()?,
            sequence: key.sequence,
            version,
            explicit: if is_gcm12 { EXPLICIT } else { 0 },
        })
    }

    /// The sequence number of the next record.
    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Appends the record that carries `text` to `out`.
    pub(super) fn seal(
        &mut self,
        kind: ContentType,
        text: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let nonce = self.nonce();
        let inner_type = usize::from(self.version == Version::Tls13);
        let length = self.explicit + text.len() + inner_type + TAG;
        let [high, low] = u16::try_from(length)
            .map_err(|_| Fault::INTERNAL)?
            .to_be_bytes();
        let outer = match self.version {
            Version::Tls13 => ContentType::ApplicationData,
            Version::Tls12 => kind,
        };
        let header = [outer.number(), 3, 3, high, low];
        let sequence = self.count()?;
        out.extend_from_slice(&header);
        out.extend_from_slice(nonce.get(NONCE_LEN - self.explicit..).unwrap_or_default());
        let start = out.len();
        out.extend_from_slice(text);
        if self.version == Version::Tls13 {
            out.push(kind.number());
        }
        let body = out.get_mut(start..).unwrap_or_default();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = match self.version {
            Version::Tls13 => self
                .key
                .seal_in_place_separate_tag(nonce, Aad::from(header), body),
            Version::Tls12 => {
                let aad = Aad::from(aad12(sequence, kind, text.len())?);
                self.key.seal_in_place_separate_tag(nonce, aad, body)
            }
        };
        out.extend_from_slice(tag.map_err(|_| Fault::INTERNAL)?.as_ref());
        Ok(())
    }

    /// Opens a record in place: the type of what it carries, and the text.
    pub(super) fn open<'a>(
        &mut self,
        header: [u8; HEADER],
        body: &'a mut [u8],
    ) -> Result<(ContentType, &'a [u8]), Fault> {
        const BAD_MAC: Fault = Fault::Refused(Alert::BAD_RECORD_MAC);
        let kind =
            ContentType::from_number(header[0]).ok_or(Fault::Refused(Alert::UNEXPECTED_MESSAGE))?;
        let (explicit, sealed) = body.split_at_mut_checked(self.explicit).ok_or(BAD_MAC)?;
        let mut nonce = self.nonce();
        for (to, from) in nonce
            .iter_mut()
            .skip(NONCE_LEN - self.explicit)
            .zip(explicit)
        {
            *to = *from;
        }
        let sequence = self.count()?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let text = match self.version {
            Version::Tls13 => self.key.open_in_place(nonce, Aad::from(header), sealed),
            Version::Tls12 => {
                let length = sealed.len().checked_sub(TAG).ok_or(BAD_MAC)?;
                let aad = Aad::from(aad12(sequence, kind, length)?);
                self.key.open_in_place(nonce, aad, sealed)
            }
        }
        .map_err(|_| BAD_MAC)?;
        match self.version {
            Version::Tls12 => Ok((kind, text)),
            Version::Tls13 => unpad(text),
        }
    }

    /// The sequence number is XORed into the nonce base (RFC 8446 §5.3; for
    /// AES-GCM in TLS 1.2 this makes the explicit part).
    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        let sequence = self.sequence.to_be_bytes();
        for (to, from) in nonce.iter_mut().skip(NONCE_LEN - 8).zip(sequence) {
            *to ^= from;
        }
        nonce
    }

    fn count(&mut self) -> Result<u64, Fault> {
        let sequence = self.sequence;
        self.sequence = sequence.checked_add(1).ok_or(Fault::INTERNAL)?;
        Ok(sequence)
    }
}

/// RFC 8446 §5.4: the last byte that is not 0 is the type.
fn unpad(text: &[u8]) -> Result<(ContentType, &[u8]), Fault> {
    const UNEXPECTED: Fault = Fault::Refused(Alert::UNEXPECTED_MESSAGE);
    let at = text.iter().rposition(|b| *b != 0).ok_or(UNEXPECTED)?;
    let (text, kind) = text.split_at_checked(at).ok_or(UNEXPECTED)?;
    let kind = kind.first().copied().and_then(ContentType::from_number);
    Ok((kind.ok_or(UNEXPECTED)?, text))
}

/// RFC 5246 §6.2.3.3.
fn aad12(sequence: u64, kind: ContentType, length: usize) -> Result<[u8; 13], Fault> {
    let [high, low] = u16::try_from(length)
        .map_err(|_| Fault::Refused(Alert::RECORD_OVERFLOW))?
        .to_be_bytes();
    let mut aad = [0; 13];
    let tail = [kind.number(), 3, 3, high, low];
    for (to, from) in aad
        .iter_mut()
        .zip(sequence.to_be_bytes().iter().chain(&tail))
    {
        *to = *from;
    }
    Ok(aad)
}

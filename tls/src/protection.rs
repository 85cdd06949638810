//! Protection of records, one direction: nonces, additional data, sequence numbers (RFC
//! 8446 §5.2 to §5.4, RFC 5246 §6.2.3.3, RFC 5288 §3, RFC 7905 §2).
//!
//! Records are sealed and opened in place: nothing is copied or allocated.

use alloc::boxed::Box;

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};

use crate::alert::Alert;
use crate::keys::TrafficKey;
use crate::names::{ContentType, Version};
use crate::record::{HEADER, Header, MAX_PLAINTEXT};
use crate::suite::{Aead, CipherSuite};

/// Bytes of the authentication tag of every AEAD here.
const TAG: usize = 16;
/// RFC 5288 §3: bytes of the nonce that each record carries.
const EXPLICIT: usize = 8;
/// The most that a record adds to its content, in bytes: header, explicit nonce, inner
/// content type, tag.
pub const MAX_OVERHEAD: usize = HEADER + EXPLICIT + 1 + TAG;

/// The key does not fit its suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadKey;

/// How records of a session look on the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Form {
    version: Version,
    has_explicit_nonce: bool,
}

impl Form {
    /// The form of a suite's records.
    #[inline]
    pub fn of(suite: CipherSuite) -> Self {
        let version = suite.version();
        Self {
            version,
            has_explicit_nonce: suite.has_explicit_nonce(),
        }
    }

    /// The version of the suite.
    #[inline]
    pub const fn version(self) -> Version {
        self.version
    }

    /// Bytes between header and ciphertext.
    const fn explicit(self) -> usize {
        if self.has_explicit_nonce { EXPLICIT } else { 0 }
    }

    /// Where a sender puts the plaintext in a buffer for [`Key::seal`].
    #[inline]
    pub const fn plaintext_at(self) -> usize {
        HEADER + self.explicit()
    }

    /// Bytes that protection adds to a plaintext, the header included.
    #[inline]
    pub const fn overhead(self) -> usize {
        let inner_type = match self.version {
            Version::Tls13 => 1,
            Version::Tls12 => 0,
        };
        HEADER + self.explicit() + inner_type + TAG
    }

    /// The most bytes of plaintext that can come out of a body of this length.
    #[inline]
    pub fn most_plaintext(self, body: usize) -> usize {
        (body + HEADER)
            .saturating_sub(self.overhead())
            .min(MAX_PLAINTEXT)
    }
}

/// The key of one direction. Its memory is cleared by the allocator of the
/// domain when it is freed: `ring` does not zeroize key schedules.
pub struct Key {
    form: Form,
    /// Apart, so that a key that moves is not copied.
    key: Box<LessSafeKey>,
    iv: [u8; NONCE_LEN],
    sequence: u64,
}

impl Key {
    /// Bytes of a key on the heap.
    pub const HEAP: usize = size_of::<LessSafeKey>();

    /// The key of records of `suite`.
    ///
    /// # Errors
    /// Key or nonce base have another length than the suite's.
    pub fn new(suite: CipherSuite, key: &TrafficKey) -> Result<Self, BadKey> {
        let algorithm = match suite.aead() {
            Aead::Aes128Gcm => &AES_128_GCM,
            Aead::Aes256Gcm => &AES_256_GCM,
            Aead::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        let unbound = UnboundKey::new(algorithm, key.key.expose()).map_err(|_| BadKey)?;
        Ok(Self {
            form: Form::of(suite),
            key: Box::new(LessSafeKey::new(unbound)),
            iv: key.iv.expose().try_into().map_err(|_| BadKey)?,
            sequence: key.sequence,
        })
    }

    /// How its records look.
    #[inline]
    pub const fn form(&self) -> Form {
        self.form
    }

    /// Records that this key has been used for.
    #[inline]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Seals the `length` bytes of plaintext that stand at
    /// [`Form::plaintext_at`] in `buffer`, and puts everything around them.
    /// Returns the record's length; `None` when the buffer or the sequence
    /// numbers are used up.
    pub fn seal(
        &mut self,
        content_type: ContentType,
        buffer: &mut [u8],
        length: usize,
    ) -> Option<usize> {
        let form = self.form;
        let total = length + form.overhead();
        let nonce = self.nonce();
        let (header, rest) = buffer.get_mut(..total)?.split_at_mut_checked(HEADER)?;
        let (explicit, rest) = rest.split_at_mut_checked(form.explicit())?;
        let (text, tag) = rest.split_at_mut_checked(rest.len().checked_sub(TAG)?)?;
        let outer = match form.version {
            Version::Tls13 => {
                *text.last_mut()? = content_type.number();
                ContentType::ApplicationData
            }
            Version::Tls12 => content_type,
        };
        let body = u16::try_from(total - HEADER).ok()?;
        header.copy_from_slice(&Header::new(outer, body).bytes());
        explicit.copy_from_slice(nonce.get(NONCE_LEN - form.explicit()..)?);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let made = match form.version {
            Version::Tls13 => self
                .key
                .seal_in_place_separate_tag(nonce, Aad::from(&*header), text),
            Version::Tls12 => {
                let aad = self.aad12(outer, length)?;
                self.key
                    .seal_in_place_separate_tag(nonce, Aad::from(aad), text)
            }
        };
        tag.copy_from_slice(made.ok()?.as_ref());
        self.sequence = self.sequence.checked_add(1)?;
        Some(total)
    }

    /// Opens the record in `record` (header and body) in place. Returns its
    /// content type and where its plaintext stands.
    ///
    /// # Errors
    /// The alert that the RFC names.
    pub fn open(
        &mut self,
        outer: ContentType,
        record: &mut [u8],
    ) -> Result<(ContentType, core::ops::Range<usize>), Alert> {
        let opened = self.open_uncounted(outer, record)?;
        self.count_opened()?;
        Ok(opened)
    }

    /// The record that was opened last will not be opened again.
    ///
    /// # Errors
    /// internal_error after 2⁶⁴ records.
    #[inline]
    pub fn count_opened(&mut self) -> Result<(), Alert> {
        self.sequence = self.sequence.checked_add(1).ok_or(Alert::INTERNAL_ERROR)?;
        Ok(())
    }

    /// As [`Key::open`] of a record that can be opened again, until
    /// [`Key::count_opened`].
    ///
    /// # Errors
    /// The alert that the RFC names.
    pub fn open_uncounted(
        &self,
        outer: ContentType,
        record: &mut [u8],
    ) -> Result<(ContentType, core::ops::Range<usize>), Alert> {
        let form = self.form;
        let bad = Alert::BAD_RECORD_MAC;
        let start = form.plaintext_at();
        let mut nonce = self.nonce();
        let (front, text) = record.split_at_mut_checked(start).ok_or(bad)?;
        let (header, explicit) = front.split_at_checked(HEADER).ok_or(bad)?;
        let at = NONCE_LEN - explicit.len();
        nonce.get_mut(at..).ok_or(bad)?.copy_from_slice(explicit);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = match form.version {
            Version::Tls13 => self.key.open_in_place(nonce, Aad::from(header), text),
            Version::Tls12 => {
                let length = text.len().checked_sub(TAG).ok_or(bad)?;
                let aad = self.aad12(outer, length).ok_or(bad)?;
                self.key.open_in_place(nonce, Aad::from(aad), text)
            }
        };
        let plaintext = opened.map_err(|_| bad)?;
        let (content_type, length) = match form.version {
            // RFC 8446 §5.4: type and padding count.
            Version::Tls13 if plaintext.len() > MAX_PLAINTEXT + 1 => {
                return Err(Alert::RECORD_OVERFLOW);
            }
            Version::Tls13 => inner_type(plaintext)?,
            Version::Tls12 => (outer, plaintext.len()),
        };
        if length > MAX_PLAINTEXT {
            return Err(Alert::RECORD_OVERFLOW);
        }
        Ok((content_type, start..start + length))
    }

    /// RFC 8446 §5.3; also RFC 7905 §2. For AES-GCM in TLS 1.2 the last 8
    /// bytes are sent along, so the sender may choose them: unique they are.
    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        let tail = nonce.iter_mut().skip(NONCE_LEN - 8);
        for (byte, of_sequence) in tail.zip(self.sequence.to_be_bytes()) {
            *byte ^= of_sequence;
        }
        nonce
    }

    /// RFC 5246 §6.2.3.3.
    fn aad12(&self, content_type: ContentType, length: usize) -> Option<[u8; 13]> {
        let [a, b, c, d, e, f, g, h] = self.sequence.to_be_bytes();
        let [high, low] = u16::try_from(length).ok()?.to_be_bytes();
        let kind = content_type.number();
        Some([a, b, c, d, e, f, g, h, kind, 3, 3, high, low])
    }
}

/// RFC 8446 §5.4: the last byte that is not zero is the type.
fn inner_type(plaintext: &[u8]) -> Result<(ContentType, usize), Alert> {
    let at = plaintext.iter().rposition(|byte| *byte != 0);
    let at = at.ok_or(Alert::UNEXPECTED_MESSAGE)?;
    let number = plaintext.get(at).copied().unwrap_or(0);
    match ContentType::from_number(number) {
        None | Some(ContentType::ChangeCipherSpec) => Err(Alert::UNEXPECTED_MESSAGE),
        Some(content_type) => Ok((content_type, at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn key(suite: CipherSuite) -> Key {
        let traffic = TrafficKey {
            key: Secret::from_slice(&[7; 32][..suite.aead().key_len()]).unwrap(),
            iv: Secret::from_slice(&[9; 12]).unwrap(),
            sequence: 5,
        };
        Key::new(suite, &traffic).unwrap()
    }

    fn sealed(suite: CipherSuite, text: &[u8]) -> Vec<u8> {
        let mut sealer = key(suite);
        let form = Form::of(suite);
        let mut buffer = vec![0; text.len() + form.overhead()];
        let at = form.plaintext_at();
        buffer[at..at + text.len()].copy_from_slice(text);
        let length = sealer.seal(ContentType::ApplicationData, &mut buffer, text.len());
        assert_eq!(length, Some(buffer.len()));
        buffer
    }

    #[test]
    fn what_is_sealed_opens_again_in_every_suite() {
        for suite in CipherSuite::ALL {
            let mut record = sealed(suite, b"plaintext");
            let (content_type, range) = key(suite)
                .open(ContentType::ApplicationData, &mut record)
                .unwrap();
            assert_eq!(content_type, ContentType::ApplicationData);
            assert_eq!(&record[range], b"plaintext");
        }
    }

    /// A record of TLS 1.3 with `text` and so many bytes of padding.
    fn padded(text: usize, padding: usize) -> Vec<u8> {
        let sealer = key(CipherSuite::Aes128GcmSha256);
        let mut body = vec![7; text];
        body.push(ContentType::ApplicationData.number());
        body.resize(text + 1 + padding, 0);
        let length = u16::try_from(body.len() + TAG).unwrap();
        let header = Header::new(ContentType::ApplicationData, length).bytes();
        let nonce = Nonce::assume_unique_for_key(sealer.nonce());
        let tag = sealer
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(header), &mut body)
            .unwrap();
        [&header[..], &body, tag.as_ref()].concat()
    }

    #[test]
    fn text_type_and_padding_are_bounded_together() {
        // RFC 8446 §5.4.
        let open = |mut record: Vec<u8>| {
            let mut key = key(CipherSuite::Aes128GcmSha256);
            let opened = key.open(ContentType::ApplicationData, &mut record);
            opened.map(|(_, range)| range.len())
        };
        assert_eq!(open(padded(MAX_PLAINTEXT, 0)), Ok(MAX_PLAINTEXT));
        assert_eq!(open(padded(1, MAX_PLAINTEXT - 1)), Ok(1));
        assert_eq!(open(padded(1, MAX_PLAINTEXT)), Err(Alert::RECORD_OVERFLOW));
        let most = padded(MAX_PLAINTEXT, 1);
        assert_eq!(open(most), Err(Alert::RECORD_OVERFLOW));
    }

    #[test]
    fn a_record_changed_anywhere_does_not_open() {
        for suite in CipherSuite::ALL {
            let good = sealed(suite, b"plaintext");
            for place in 5..good.len() {
                let mut record = good.clone();
                record[place] ^= 1;
                assert_eq!(
                    key(suite)
                        .open(ContentType::ApplicationData, &mut record)
                        .err(),
                    Some(Alert::BAD_RECORD_MAC)
                );
            }
        }
    }

    #[test]
    fn a_record_too_short_for_its_tag_does_not_open() {
        for suite in CipherSuite::ALL {
            for length in 5..HEADER + 8 + TAG {
                let mut record = vec![23; length];
                assert!(
                    key(suite)
                        .open(ContentType::ApplicationData, &mut record)
                        .is_err()
                );
            }
        }
    }

    #[test]
    fn padding_is_taken_off_and_padding_alone_is_refused() {
        assert_eq!(
            inner_type(&[1, 2, 23, 0, 0]),
            Ok((ContentType::ApplicationData, 2))
        );
        assert_eq!(inner_type(&[0, 0]), Err(Alert::UNEXPECTED_MESSAGE));
        assert_eq!(inner_type(&[]), Err(Alert::UNEXPECTED_MESSAGE));
        assert_eq!(inner_type(&[20]), Err(Alert::UNEXPECTED_MESSAGE));
    }

    #[test]
    fn a_key_of_the_wrong_length_is_refused() {
        let traffic = TrafficKey {
            key: Secret::from_slice(&[7; 16]).unwrap(),
            iv: Secret::from_slice(&[9; 12]).unwrap(),
            sequence: 0,
        };
        assert!(Key::new(CipherSuite::Aes256GcmSha384, &traffic).is_err());
    }
}

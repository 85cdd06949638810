//! What a peer of TLS 1.3 says encrypted, and rustls lets pass or answers with another alert
//! than the RFC names: extensions of certificates that nobody asked for, a CertificateRequest
//! without what has to be in it, bytes after Finished. Seen as records are opened, whatever
//! messages they cut.

use tls::{Alert, ExtensionType, HandshakeType};

use super::lists::Lists;
use super::messages::{Messages, Part};

/// RFC 6066 §8. rustls asks a server for it, and no client.
const STATUS_REQUEST: u16 = 5;

/// RFC 8446 §4.2.4: bytes of the shortest list of authorities, with its length.
const SHORTEST_AUTHORITIES: u32 = 5;

/// Follows the messages of one key.
pub(crate) struct FlightCheck {
    messages: Messages,
    lists: Lists,
    /// EncryptedExtensions came: the peer is a server.
    is_of_server: bool,
    body: Body,
}

impl Default for FlightCheck {
    fn default() -> Self {
        Self {
            messages: Messages::default(),
            lists: Lists::protected(),
            is_of_server: false,
            body: Body::default(),
        }
    }
}

impl FlightCheck {
    /// Looks at what one record holds of messages.
    ///
    /// # Errors
    /// The alert that is due.
    pub(crate) fn look_at(&mut self, record: &[u8]) -> Result<(), Alert> {
        let mut rest = record;
        while let Some(part) = self.messages.next(&mut rest) {
            match part {
                Part::Begins(kind, _) => {
                    self.is_of_server |= kind == HandshakeType::ENCRYPTED_EXTENSIONS;
                    self.body = Body::of(kind);
                }
                Part::Body(part) => self.body.walk(part, self.is_of_server)?,
                Part::Ends(kind) => self.end(kind, rest)?,
            }
        }
        self.lists.look_at(record)
    }

    /// Entries of lists that are kept.
    pub(crate) const fn entries(&self) -> u32 {
        self.lists.kept()
    }

    /// A message is whole; `rest` is after it in the record.
    fn end(&self, kind: HandshakeType, rest: &[u8]) -> Result<(), Alert> {
        // RFC 8446 §4.3.2, §9.2.
        if self.body.lacks_schemes() {
            return Err(Alert::MISSING_EXTENSION);
        }
        // RFC 8446 §5.1: a message before a change of keys ends its record.
        match kind == HandshakeType::FINISHED && !rest.is_empty() {
            true => Err(Alert::UNEXPECTED_MESSAGE),
            false => Ok(()),
        }
    }
}

/// The next field of a body.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Field {
    /// The rest is not looked at.
    #[default]
    None,
    Context,
    CertificateList,
    Certificate,
    Extensions,
    ExtensionType,
    Extension,
}

impl Field {
    /// Bytes of its number or length.
    const fn size(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Context => 1,
            Self::Extensions | Self::ExtensionType | Self::Extension => 2,
            Self::CertificateList | Self::Certificate => 3,
        }
    }
}

/// How far the body of a Certificate or a CertificateRequest is read. What is malformed is
/// left to rustls.
#[derive(Default)]
struct Body {
    is_request: bool,
    has_schemes: bool,
    is_malformed: bool,
    next: Field,
    number: u32,
    /// Bytes of `number` that came.
    have: u8,
    /// Bytes of a field that are passed over.
    skipped: u32,
    /// Bytes of the list of extensions that are to come.
    extensions: u32,
    extension: u16,
}

impl Body {
    fn of(kind: HandshakeType) -> Self {
        let is_request = kind == HandshakeType::CERTIFICATE_REQUEST;
        let is_read = is_request || kind == HandshakeType::CERTIFICATE;
        Self {
            is_request,
            next: if is_read { Field::Context } else { Field::None },
            ..Self::default()
        }
    }

    /// Whether it is a whole request without signature_algorithms.
    const fn lacks_schemes(&self) -> bool {
        let is_whole = matches!(self.next, Field::None) && self.skipped == 0 && !self.is_malformed;
        self.is_request && is_whole && !self.has_schemes
    }

    fn walk(&mut self, mut part: &[u8], is_of_server: bool) -> Result<(), Alert> {
        loop {
            let skipped = part.len().min(self.skipped as usize);
            part = part.get(skipped..).unwrap_or_default();
            self.skipped -= u32::try_from(skipped).unwrap_or(self.skipped);
            let Some((byte, rest)) = part.split_first() else {
                return Ok(());
            };
            if self.next == Field::None {
                return Ok(());
            }
            part = rest;
            self.number = self.number << 8 | u32::from(*byte);
            self.have += 1;
            if self.have == self.next.size() {
                let number = self.number;
                (self.number, self.have) = (0, 0);
                self.enter(number, is_of_server)?;
            }
        }
    }

    /// The number of the next field is known.
    fn enter(&mut self, number: u32, is_of_server: bool) -> Result<(), Alert> {
        self.next = match self.next {
            Field::None => Field::None,
            Field::Context => {
                self.skipped = number;
                match self.is_request {
                    true => Field::Extensions,
                    false => Field::CertificateList,
                }
            }
            Field::CertificateList => Field::Certificate,
            Field::Certificate => {
                self.skipped = number;
                Field::Extensions
            }
            Field::Extensions => {
                self.extensions = number;
                self.after_extension()
            }
            Field::ExtensionType => {
                self.extension = u16::try_from(number).unwrap_or_default();
                Field::Extension
            }
            Field::Extension => {
                self.judge(number, is_of_server)?;
                self.skipped = number;
                match self.extensions.checked_sub(4 + number) {
                    Some(left) => {
                        self.extensions = left;
                        self.after_extension()
                    }
                    None => {
                        self.is_malformed = true;
                        Field::None
                    }
                }
            }
        };
        Ok(())
    }

    const fn after_extension(&self) -> Field {
        match (self.extensions, self.is_request) {
            (1.., _) => Field::ExtensionType,
            (0, true) => Field::None,
            (0, false) => Field::Certificate,
        }
    }

    /// An extension of that length begins.
    fn judge(&mut self, length: u32, is_of_server: bool) -> Result<(), Alert> {
        let kind = ExtensionType(self.extension);
        if self.is_request {
            self.has_schemes |= kind == ExtensionType::SIGNATURE_ALGORITHMS;
            let is_short =
                kind == ExtensionType::CERTIFICATE_AUTHORITIES && length < SHORTEST_AUTHORITIES;
            return if is_short {
                Err(Alert::DECODE_ERROR)
            } else {
                Ok(())
            };
        }
        // RFC 8446 §4.2, §4.4.2: what was not asked for.
        match is_of_server && kind.0 == STATUS_REQUEST {
            true => Ok(()),
            false => Err(Alert::UNSUPPORTED_EXTENSION),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    const ENCRYPTED_EXTENSIONS: &[u8] = &[8, 0, 0, 2, 0, 0];
    const SCHEMES: &[u8] = &[0, 13, 0, 4, 0, 2, 4, 3];
    const STATUS: &[u8] = &[0, 5, 0, 4, 1, 0, 0, 0];
    const TIMESTAMPS: &[u8] = &[0, 18, 0, 0];

    fn vec16(content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap();
        [&length.to_be_bytes(), content].concat()
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[kind, a, b, c], body].concat()
    }

    fn request(extensions: &[&[u8]]) -> Vec<u8> {
        message(13, &[&[0], &vec16(&extensions.concat())[..]].concat())
    }

    /// A chain: each certificate with its extensions.
    fn certificate(chain: &[&[u8]]) -> Vec<u8> {
        let entry = |extensions: &&[u8]| {
            let certificate = [&[0, 1, 44][..], &[0x30; 300]].concat();
            [certificate, vec16(extensions)].concat()
        };
        let chain: Vec<u8> = chain.iter().flat_map(entry).collect();
        let [_, a, b, c] = u32::try_from(chain.len()).unwrap().to_be_bytes();
        message(11, &[&[0, a, b, c], &chain[..]].concat())
    }

    /// What is said of messages, which does not depend on how they are cut.
    fn looked(messages: &[&[u8]]) -> Result<(), Alert> {
        let all = messages.concat();
        let whole = FlightCheck::default().look_at(&all);
        for size in [1, 2, 3, 5, 7, 64, 299, 300] {
            let mut check = FlightCheck::default();
            let cut = all.chunks(size).try_for_each(|part| check.look_at(part));
            // What follows Finished in another record is not its record's.
            if whole != Err(Alert::UNEXPECTED_MESSAGE) {
                assert_eq!(cut, whole, "{size}");
            }
        }
        whole
    }

    #[test]
    fn a_certificate_has_the_extensions_that_were_asked_for() {
        let server = |chain: &[&[u8]]| looked(&[ENCRYPTED_EXTENSIONS, &certificate(chain)]);
        assert_eq!(server(&[&[], &[]]), Ok(()));
        assert_eq!(server(&[STATUS, STATUS]), Ok(()));
        let refused = Err(Alert::UNSUPPORTED_EXTENSION);
        assert_eq!(server(&[TIMESTAMPS]), refused);
        assert_eq!(server(&[&[STATUS, TIMESTAMPS].concat()]), refused);
        assert_eq!(server(&[&[], TIMESTAMPS]), refused);
        // Nothing is asked of a client.
        assert_eq!(looked(&[&certificate(&[&[]])]), Ok(()));
        assert_eq!(looked(&[&certificate(&[STATUS])]), refused);
    }

    #[test]
    fn a_request_names_signature_schemes() {
        let asked = |extensions: &[&[u8]]| {
            let chain = certificate(&[&[]]);
            looked(&[ENCRYPTED_EXTENSIONS, &request(extensions), &chain])
        };
        assert_eq!(asked(&[SCHEMES]), Ok(()));
        assert_eq!(asked(&[TIMESTAMPS, SCHEMES]), Ok(()));
        assert_eq!(asked(&[]), Err(Alert::MISSING_EXTENSION));
        assert_eq!(asked(&[TIMESTAMPS]), Err(Alert::MISSING_EXTENSION));
    }

    #[test]
    fn a_request_names_an_authority_or_does_not_speak_of_them() {
        let authorities = |names: &[u8]| {
            let list = [&[0, 47][..], &vec16(&vec16(names))].concat();
            looked(&[ENCRYPTED_EXTENSIONS, &request(&[&list, SCHEMES])])
        };
        assert_eq!(authorities(&[0, 1, 0x30]), Ok(()));
        assert_eq!(authorities(&[]), Err(Alert::DECODE_ERROR));
    }

    #[test]
    fn nothing_comes_after_finished_in_its_record() {
        let finished = message(20, &[7; 32]);
        let refused = Err(Alert::UNEXPECTED_MESSAGE);
        assert_eq!(looked(&[ENCRYPTED_EXTENSIONS, &finished]), Ok(()));
        assert_eq!(looked(&[&finished, &[0]]), refused);
        assert_eq!(looked(&[&finished, &message(4, &[0; 9])]), refused);
    }

    #[test]
    fn what_can_not_be_read_is_left_to_rustls() {
        // An extension that is longer than their list.
        let long = message(13, &[0, 0, 6, 0, 18, 0, 9, 0, 0]);
        assert_eq!(looked(&[ENCRYPTED_EXTENSIONS, &long]), Ok(()));
        let whole = [ENCRYPTED_EXTENSIONS, &certificate(&[STATUS])].concat();
        for length in 0..whole.len() {
            assert_eq!(FlightCheck::default().look_at(&whole[..length]), Ok(()));
        }
        assert_eq!(looked(&[&vec![0xff; 4000]]), Ok(()));
    }
}

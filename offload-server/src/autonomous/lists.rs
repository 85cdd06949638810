//! How many entries the lists of a peer's messages have.
//!
//! What a peer makes a handshake hold is counted in bytes ([`crate::loans`]). rustls makes an
//! object on the heap of each entry of a list, of some fifty bytes, and an entry may have two:
//! a chain of 13,000 empty certificates is one of 64 KiB. So entries are counted before rustls
//! sees them, as messages come, and a message with too many is refused. OpenSSL bounds the
//! bytes of each message instead, with the same alert (`ssl_max_message_size`,
//! ssl/statem/statem_clnt.c).

use ipc::budget::block;
use rustls::pki_types::CertificateDer;
use tls::{Alert, ExtensionType, HandshakeType};

use super::messages::{Messages, Part};
use crate::loans::COPIES;

/// Certificates of a chain, as in directed mode. No real one has more than ten.
pub(crate) const MOST_CERTIFICATES: u16 = 64;
/// Entries of all lists of any other message: the authorities of a server that trusts whom
/// browsers do are 150.
pub(crate) const MOST_ENTRIES: u16 = 1024;
/// What one takes beside its bytes: its place in the list, and a block of its own.
const ENTRY: usize = size_of::<CertificateDer<'_>>() + block(1);
/// Bytes that its peer is charged for it: each byte is counted as [`COPIES`].
pub(crate) const ENTRY_CHARGE: usize = ENTRY.div_ceil(COPIES);

/// RFC 6066 §3, §8.
const SERVER_NAME: u16 = 0;
const STATUS_REQUEST: u16 = 5;
/// Bytes of the least entry in what is not looked into.
const LEAST: u32 = 2;
/// The same in a message that has no list of any length.
const LEAST_OF_SERVER: u32 = 4;

/// Whether messages are protected, which decides their form: those of TLS 1.3 after
/// ServerHello are.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Form {
    #[default]
    Clear,
    Protected,
    /// After ChangeCipherSpec in the clear: a second ClientHello (RFC 8446 §D.4), or what is
    /// protected in TLS 1.2, and longer than that in no part that counts.
    Changed,
}

/// Counts them, as messages come.
#[derive(Default)]
pub(crate) struct Lists {
    form: Form,
    messages: Messages,
    walk: Walk,
    most: u16,
    /// Entries of chains and requests for one before, which are kept.
    kept: u32,
}

impl Lists {
    /// Of those of TLS 1.3 that are protected; other ones are not.
    pub(crate) fn protected() -> Self {
        Self {
            form: Form::Protected,
            ..Self::default()
        }
    }

    /// ChangeCipherSpec came.
    pub(crate) fn change(&mut self) {
        self.form = Form::Changed;
        self.messages = Messages::default();
    }

    /// Entries of chains, and of requests for one, so far: they are kept. Those of a hello are
    /// dropped with it.
    pub(crate) const fn kept(&self) -> u32 {
        self.kept + self.walk.kept()
    }

    /// Looks at what one record holds of messages.
    ///
    /// # Errors
    /// The alert for a list that is too long.
    pub(crate) fn look_at(&mut self, mut rest: &[u8]) -> Result<(), Alert> {
        while let Some(part) = self.messages.next(&mut rest) {
            match part {
                Part::Begins(kind, length) => {
                    self.kept += self.walk.kept();
                    self.walk = Walk::of(kind, self.form, length);
                    self.most = match kind {
                        HandshakeType::CERTIFICATE => MOST_CERTIFICATES,
                        _ => MOST_ENTRIES,
                    };
                }
                Part::Body(part) => self.walk.walk(part),
                Part::Ends(_) => {}
            }
            if self.walk.entries > u32::from(self.most) {
                return Err(match self.most {
                    // As directed mode does.
                    MOST_CERTIFICATES => Alert::DECODE_ERROR,
                    _ => Alert::ILLEGAL_PARAMETER,
                });
            }
        }
        Ok(())
    }
}

/// A part of a message's body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    /// So many bytes.
    Skip(u8),
    /// A vector whose length has so many bytes.
    Vector(u8),
    /// A list whose length has so many bytes.
    List(u8, Entry),
    Extensions,
}

/// An entry of a list: a vector, with something before it and after it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    before: u8,
    /// Bytes of the vector's length.
    length: u8,
    after: u8,
    /// A vector of extensions comes last.
    has_extensions: bool,
}

const fn entry(before: u8, length: u8, after: u8) -> Entry {
    Entry {
        before,
        length,
        after,
        has_extensions: false,
    }
}

/// RFC 8446 §4.1.2: version and random, session identifier, suites, compression.
const CLIENT_HELLO: &[Op] = &[
    Op::Skip(34),
    Op::Vector(1),
    Op::Vector(2),
    Op::Vector(1),
    Op::Extensions,
];
/// RFC 5246 §7.4.2.
const CHAIN: &[Op] = &[Op::List(3, entry(0, 3, 0))];
/// RFC 8446 §4.4.2.
const PROTECTED_CHAIN: &[Op] = &[
    Op::Vector(1),
    Op::List(
        3,
        Entry {
            before: 0,
            length: 3,
            after: 0,
            has_extensions: true,
        },
    ),
];
const AUTHORITIES: &[Op] = &[Op::List(2, entry(0, 2, 0))];
/// RFC 5246 §7.4.4: types, schemes, authorities.
const REQUEST: &[Op] = &[Op::Vector(1), Op::Vector(2), Op::List(2, entry(0, 2, 0))];
/// RFC 8446 §4.3.2.
const PROTECTED_REQUEST: &[Op] = &[Op::Vector(1), Op::Extensions];
/// RFC 7301 §3.1.
const PROTOCOLS: &[Op] = &[Op::List(2, entry(0, 1, 0))];
/// RFC 8446 §4.2.8.
const KEY_SHARES: &[Op] = &[Op::List(2, entry(2, 2, 0))];
/// RFC 8446 §4.2.11: identities, binders.
const PRE_SHARED_KEYS: &[Op] = &[Op::List(2, entry(0, 2, 4)), Op::List(2, entry(0, 1, 0))];

/// What the number that is read is for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Number {
    /// There is none: go on.
    #[default]
    None,
    Vector,
    List(Entry),
    Entry(Entry),
    /// What comes last in an entry.
    EntryExtensions,
    Extensions,
    /// Type and length.
    Extension,
}

/// How far a body is read. What is malformed is left to rustls.
#[derive(Default)]
struct Walk {
    ops: &'static [Op],
    /// Those of the extension, which come first.
    inner: &'static [Op],
    /// The list, and bytes of it that are to come.
    list: Option<(Entry, u32)>,
    /// Bytes of extensions that are to come.
    extensions: u32,
    number: Number,
    value: u32,
    /// Bytes of `value` that are to come.
    wanted: u8,
    skipped: u32,
    entries: u32,
    is_kept: bool,
}

impl Walk {
    fn of(kind: HandshakeType, form: Form, length: usize) -> Self {
        let ops = match (kind, form) {
            (HandshakeType::CLIENT_HELLO, _) => CLIENT_HELLO,
            (HandshakeType::CERTIFICATE, Form::Clear) => CHAIN,
            (HandshakeType::CERTIFICATE, Form::Protected) => PROTECTED_CHAIN,
            (HandshakeType::CERTIFICATE_REQUEST, Form::Clear) => REQUEST,
            (HandshakeType::CERTIFICATE_REQUEST, Form::Protected) => PROTECTED_REQUEST,
            _ => &[],
        };
        let answers = [
            HandshakeType::SERVER_HELLO,
            HandshakeType::ENCRYPTED_EXTENSIONS,
        ];
        let is_answer = form != Form::Changed && answers.contains(&kind);
        let kept = [
            HandshakeType::CERTIFICATE,
            HandshakeType::CERTIFICATE_REQUEST,
        ];
        Self {
            ops,
            is_kept: kept.contains(&kind),
            entries: match is_answer {
                true => u32::try_from(length).unwrap_or(u32::MAX) / LEAST_OF_SERVER,
                false => 0,
            },
            ..Self::default()
        }
    }

    const fn kept(&self) -> u32 {
        match self.is_kept {
            true => self.entries,
            false => 0,
        }
    }

    fn walk(&mut self, mut part: &[u8]) {
        loop {
            let skipped = part.len().min(self.skipped as usize);
            part = part.get(skipped..).unwrap_or_default();
            self.skipped -= u32::try_from(skipped).unwrap_or(self.skipped);
            if self.skipped > 0 {
                return;
            }
            if self.number == Number::None {
                match self.begin() {
                    true => continue,
                    false => return,
                }
            }
            let Some((byte, rest)) = part.split_first() else {
                return;
            };
            part = rest;
            self.value = self.value << 8 | u32::from(*byte);
            self.wanted -= 1;
            if self.wanted == 0 {
                let number = core::mem::take(&mut self.number);
                let value = core::mem::take(&mut self.value);
                self.enter(number, value);
            }
        }
    }

    fn read(&mut self, number: Number, bytes: u8) {
        (self.number, self.value, self.wanted) = (number, 0, bytes);
    }

    /// Begins the next part; false when none is left that counts.
    fn begin(&mut self) -> bool {
        if let Some((entry, left)) = self.list {
            match left {
                0 => self.list = None,
                _ => {
                    self.skipped = u32::from(entry.before);
                    self.read(Number::Entry(entry), entry.length);
                }
            }
            return true;
        }
        let ops = match self.inner.is_empty() {
            false => &mut self.inner,
            true if self.extensions > 0 => {
                self.read(Number::Extension, 4);
                return true;
            }
            true => &mut self.ops,
        };
        let Some((op, rest)) = ops.split_first() else {
            return false;
        };
        *ops = rest;
        match *op {
            Op::Skip(bytes) => self.skipped = u32::from(bytes),
            Op::Vector(bytes) => self.read(Number::Vector, bytes),
            Op::List(bytes, entry) => self.read(Number::List(entry), bytes),
            Op::Extensions => self.read(Number::Extensions, 2),
        }
        true
    }

    /// So much of the list is passed over.
    fn shorten(&mut self, bytes: u32) {
        if let Some((_, left)) = &mut self.list {
            *left = left.saturating_sub(bytes);
        }
    }

    fn enter(&mut self, number: Number, value: u32) {
        match number {
            Number::None => {}
            Number::Vector => self.skipped = value,
            Number::List(entry) => self.list = Some((entry, value)),
            Number::Entry(entry) => {
                self.entries += 1;
                self.skipped = value + u32::from(entry.after);
                let fixed = u32::from(entry.before + entry.length + entry.after);
                self.shorten(fixed + value);
                if entry.has_extensions {
                    self.read(Number::EntryExtensions, 2);
                }
            }
            Number::EntryExtensions => {
                self.skipped = value;
                self.shorten(2 + value);
            }
            Number::Extensions => self.extensions = value,
            Number::Extension => {
                let (kind, length) = ((value >> 16) as u16, value & 0xffff);
                self.extensions = self.extensions.saturating_sub(4 + length);
                self.inner = match ExtensionType(kind) {
                    ExtensionType::ALPN => PROTOCOLS,
                    ExtensionType::KEY_SHARE => KEY_SHARES,
                    ExtensionType::PRE_SHARED_KEY => PRE_SHARED_KEYS,
                    ExtensionType::CERTIFICATE_AUTHORITIES => AUTHORITIES,
                    _ => &[],
                };
                if self.inner.is_empty() {
                    self.skipped = length;
                }
                // Real ones have a few, and are short.
                if matches!(kind, SERVER_NAME | STATUS_REQUEST) {
                    self.entries += length / LEAST;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    fn vector(bytes: usize, content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u64).to_be_bytes();
        [&length[8 - bytes..], content].concat()
    }

    fn message(kind: HandshakeType, body: &[u8]) -> Vec<u8> {
        [&[kind.0], &vector(3, body)[..]].concat()
    }

    fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
        let start = [&[3, 3][..], &[7; 32], &[2, 9, 9, 0, 2, 0x13, 1, 1, 0]];
        let body = [&start.concat(), &vector(2, &extensions.concat())[..]];
        message(HandshakeType::CLIENT_HELLO, &body.concat())
    }

    fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes(), &vector(2, content)[..]].concat()
    }

    fn list(count: usize, entry: &[u8]) -> Vec<u8> {
        vector(2, &entry.repeat(count))
    }

    fn chain(form: Form, count: usize) -> Vec<u8> {
        let body = match form {
            Form::Clear | Form::Changed => vector(3, &vector(3, &[0x30; 9]).repeat(count)),
            Form::Protected => {
                let entry = [vector(3, &[0x30; 9]), vector(2, &[0, 5, 0, 1, 9])].concat();
                [vec![0], vector(3, &entry.repeat(count))].concat()
            }
        };
        message(HandshakeType::CERTIFICATE, &body)
    }

    /// What is found, which does not depend on how messages are cut.
    fn found(form: Form, messages: &[u8]) -> Result<u32, Alert> {
        let of = |size| {
            let mut lists = Lists {
                form,
                ..Lists::default()
            };
            let mut parts = messages.chunks(size);
            parts.try_for_each(|part| lists.look_at(part))?;
            Ok(lists.kept + lists.walk.entries)
        };
        let whole = of(usize::MAX);
        for size in [1, 2, 3, 5, 7, 64, 300] {
            assert_eq!(of(size), whole, "{size}");
        }
        whole
    }

    #[test]
    fn certificates_are_counted_in_either_form_and_empty_ones_too() {
        for form in [Form::Clear, Form::Protected] {
            let all = [chain(form, 3), chain(form, 2)].concat();
            assert_eq!(found(form, &all), Ok(5));
            assert_eq!(found(form, &chain(form, 64)), Ok(64));
            assert_eq!(found(form, &chain(form, 65)), Err(Alert::DECODE_ERROR));
        }
        let empty = |count: usize| {
            let body = [vec![0], vector(3, &[0; 5].repeat(count))].concat();
            found(Form::Protected, &message(HandshakeType::CERTIFICATE, &body))
        };
        assert_eq!(empty(64), Ok(64));
        assert_eq!(empty(13_000), Err(Alert::DECODE_ERROR));
    }

    #[test]
    fn entries_of_each_list_of_a_hello_are_counted() {
        // Named group and key; identity and age; binder; authority.
        let share = [&[0, 29][..], &vector(2, &[5; 32])].concat();
        let identity = [vector(2, &[6; 50]), vec![0; 4]].concat();
        let keys = |count| [list(count, &identity), list(count, &vector(1, &[4; 32]))].concat();
        let authority = vector(2, &[0x30, 0]);
        let all = [
            extension(43, &[4, 3, 4, 3, 3]),
            extension(51, &list(3, &share)),
            extension(47, &list(5, &authority)),
            extension(0x3a3a, &[]),
            extension(41, &keys(2)),
        ];
        assert_eq!(found(Form::Clear, &hello(&all)), Ok(3 + 5 + 2 + 2));
        let many = |of: &dyn Fn(usize) -> Vec<u8>| {
            let most = usize::from(MOST_ENTRIES);
            let at = |count| found(Form::Clear, &hello(&[of(count)]));
            assert!(at(most / 3).is_ok());
            assert_eq!(at(most + 1), Err(Alert::ILLEGAL_PARAMETER));
        };
        many(&|count| extension(51, &list(count, &[0, 29, 0, 0])));
        many(&|count| extension(47, &list(count, &[0, 1, 7])));
        many(&|count| extension(41, &[list(count, &[0, 1, 7, 0, 0, 0, 0])].concat()));
        many(&|count| extension(41, &[list(1, &identity), list(count, &[1, 7])].concat()));
        many(&|count| extension(16, &list(count, &[1, 7])));
        many(&|count| extension(0, &list(count, &[0, 0, 1, 7])));
        many(&|count| extension(5, &[&[1], &list(count, &[0, 0])[..]].concat()));
    }

    #[test]
    fn a_second_hello_is_looked_at_after_a_change_and_what_tls_1_2_protects_is_not() {
        let many = hello(&[extension(47, &list(2000, &[0, 1, 7]))]);
        let mut lists = Lists::default();
        assert_eq!(lists.look_at(&hello(&[])), Ok(()));
        lists.change();
        assert_eq!(lists.look_at(&many), Err(Alert::ILLEGAL_PARAMETER));
        // A Finished under AES-GCM is 40 bytes, whatever they are.
        for kind in 0..=255 {
            let mut lists = Lists::default();
            lists.change();
            let mut protected = [0xff; 40];
            protected[0] = kind;
            assert_eq!(lists.look_at(&protected), Ok(()), "{kind}");
        }
    }

    #[test]
    fn authorities_of_a_request_are_counted_in_either_form() {
        let authority = vector(2, &[0x30; 20]);
        let request = |form, count| {
            let list = list(count, &authority);
            let body = match form {
                Form::Clear | Form::Changed => [&[2, 1, 64, 0, 2, 4, 3], &list[..]].concat(),
                Form::Protected => {
                    let schemes = extension(13, &[0, 2, 4, 3]);
                    let all = [extension(47, &list), schemes].concat();
                    [vec![0], vector(2, &all)].concat()
                }
            };
            found(form, &message(HandshakeType::CERTIFICATE_REQUEST, &body))
        };
        for form in [Form::Clear, Form::Protected] {
            assert_eq!(request(form, 150), Ok(150));
            assert_eq!(request(form, 1025), Err(Alert::ILLEGAL_PARAMETER));
        }
    }

    #[test]
    fn what_a_server_answers_is_short() {
        for kind in [
            HandshakeType::SERVER_HELLO,
            HandshakeType::ENCRYPTED_EXTENSIONS,
        ] {
            let of = |length| found(Form::Protected, &message(kind, &vec![7; length]));
            assert_eq!(of(4096), Ok(1024));
            assert_eq!(of(4100), Err(Alert::ILLEGAL_PARAMETER));
        }
    }

    #[test]
    fn what_is_malformed_is_read_to_its_end_all_the_same() {
        for byte in [0, 1, 7, 0x30, 0xff] {
            for kind in 0..30 {
                let body = vec![byte; 3000];
                for form in [Form::Clear, Form::Protected] {
                    let _ = found(form, &message(HandshakeType(kind), &body));
                }
            }
        }
    }
}

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
mod tests;

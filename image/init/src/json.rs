//! A line of the log as a JSON object (RFC 8259). Knows no kernel.
//!
//! A line of text is words between single spaces. The last of them that are `name=value` are
//! members of the object, and what is before them is `message`. Whatever a domain writes, one
//! object on one line comes of it, with the moment and the domain that the monitor says.
//!
//! A value is a string: what [`char::escape_default`] made of its text is undone. With
//! `name:=value` a number, `true` or `false` is one.

use ipc::log_ring::LINE;

/// Bytes of the longest object, with the line's end: a word such as `a=` and its space, three
/// bytes, become seven, and nothing grows more.
pub const MOST: usize = 7 * (LINE + 128) / 3 + 256;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The members that the monitor alone says.
const OWN: [&[u8]; 3] = [b"time", b"domain", b"message"];

/// Members of one object at most: each is compared with those before it.
const FIELDS: usize = 48;

/// The line of what `domain` said at `time`; `text` is printable ASCII.
pub fn line<'a>(buffer: &'a mut [u8; MOST], time: &[u8], domain: &[u8], text: &[u8]) -> &'a [u8] {
    let mut object = Object { buffer, len: 0 };
    object.push(b"{\"time\":");
    object.string(time.trim_ascii());
    object.push(b",\"domain\":");
    object.string(domain);
    object.push(b",\"message\":");
    let (message, fields) = split(text);
    object.string(message);
    for (place, field) in words(fields).filter_map(Field::read).enumerate() {
        let mut before = words(fields).filter_map(Field::read).take(place);
        if before.any(|other| other.name == field.name) {
            continue;
        }
        object.push(b",");
        object.string(field.name);
        object.push(b":");
        match field.is_bare {
            true => object.push(field.value),
            false => object.value(field.value),
        }
    }
    object.push(b"}\n");
    let Object { buffer, len } = object;
    buffer.get(..len).unwrap_or_default()
}

fn words(text: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    text.split(|byte| *byte == b' ')
}

/// The message, and the fields after it.
fn split(text: &[u8]) -> (&[u8], &[u8]) {
    let mut start = text.len();
    for word in words(text).rev().take(FIELDS) {
        if Field::read(word).is_none() {
            break;
        }
        start = start.saturating_sub(word.len() + 1);
    }
    let (message, fields) = text.split_at_checked(start).unwrap_or((text, &[]));
    (message, fields.trim_ascii_start())
}

/// A word `name=value`, or `name:=value`.
struct Field<'a> {
    name: &'a [u8],
    value: &'a [u8],
    /// It is a value of JSON as it stands.
    is_bare: bool,
}

impl<'a> Field<'a> {
    fn read(word: &'a [u8]) -> Option<Self> {
        let equals = word.iter().position(|byte| *byte == b'=')?;
        let (name, value) = word.split_at_checked(equals)?;
        let value = value.get(1..)?;
        let (name, says_bare) = match name.strip_suffix(b":") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let is_name = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'_';
        let is_good = !name.is_empty() && name.iter().all(is_name) && !OWN.contains(&name);
        is_good.then_some(Self {
            name,
            value,
            is_bare: says_bare && is_bare(value),
        })
    }
}

/// Whether it is a number without sign and fraction that fits 64 bits, `true` or `false`.
fn is_bare(value: &[u8]) -> bool {
    match value {
        b"0" | b"true" | b"false" => true,
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

struct Object<'a> {
    buffer: &'a mut [u8; MOST],
    len: usize,
}

impl Object<'_> {
    fn push(&mut self, bytes: &[u8]) {
        if let Some(room) = self.buffer.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    /// As it is.
    fn string(&mut self, text: &[u8]) {
        self.push(b"\"");
        for byte in text {
            self.byte(*byte);
        }
        self.push(b"\"");
    }

    fn byte(&mut self, byte: u8) {
        match byte {
            b'"' => self.push(b"\\\""),
            b'\\' => self.push(b"\\\\"),
            byte => self.push(&[byte]),
        }
    }

    /// With what was escaped as it was before.
    fn value(&mut self, mut text: &[u8]) {
        self.push(b"\"");
        while let Some((byte, rest)) = text.split_first() {
            text = rest;
            if *byte != b'\\' {
                self.byte(*byte);
                continue;
            }
            text = match rest {
                [escaped @ (b'\\' | b'"' | b'n' | b'r' | b't'), rest @ ..] => {
                    self.push(&[b'\\', *escaped]);
                    rest
                }
                [b'\'', rest @ ..] => {
                    self.push(b"'");
                    rest
                }
                _ => match character(rest) {
                    Some((character, rest)) => {
                        self.units(character);
                        rest
                    }
                    None => {
                        self.byte(b'\\');
                        rest
                    }
                },
            };
        }
        self.push(b"\"");
    }

    /// RFC 8259 §7: in UTF-16.
    fn units(&mut self, character: char) {
        for unit in character.encode_utf16(&mut [0; 2]) {
            self.push(b"\\u");
            for shift in [12, 8, 4, 0] {
                let digit = DIGITS.get(usize::from(*unit >> shift & 15));
                self.push(digit.map_or(&[], core::slice::from_ref));
            }
        }
    }
}

/// What `u{…}` says, and what is after it.
fn character(text: &[u8]) -> Option<(char, &[u8])> {
    let text = text.strip_prefix(b"u{")?;
    let end = text.iter().take(7).position(|byte| *byte == b'}')?;
    let (digits, rest) = text.split_at_checked(end)?;
    let digits = core::str::from_utf8(digits).ok()?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    Some((char::from_u32(number)?, rest.get(1..)?))
}

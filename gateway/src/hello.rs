//! What a client says before it is known which rule is its own: the name that
//! it asks for, and the ALPN names that it offers.
//!
//! The bytes are peeked at in place and not consumed; the handshake reads them again and
//! checks everything that is not checked here.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use tls::client_hello::ClientHello;
use tls::codec::{MESSAGE_HEADER, Reader};
use tls::record::{HEADER, Header};
use tls::server_name::{HOST_NAME, next_name};
use tls::{Alert, ContentType, ExtensionType, HandshakeType, is_dns_name};

const HANDSHAKE: u8 = ContentType::Handshake.number();
const CLIENT_HELLO: u8 = HandshakeType::CLIENT_HELLO.0;

/// What the bytes so far show.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing yet.
    Incomplete,
    /// They are no ClientHello: the alert to refuse it with.
    Wrong(Alert),
    /// A ClientHello.
    Hello(Hello),
}

/// The parts of a ClientHello that rules are about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    /// In lower case.
    pub(crate) server_name: Option<String>,
    /// As the client wrote the list: each name after its length.
    pub(crate) alpn: Vec<u8>,
}

impl Hello {
    /// The ALPN names that are offered.
    pub(crate) fn protocols(&self) -> impl Iterator<Item = &[u8]> {
        let mut list = Reader::new(&self.alpn);
        core::iter::from_fn(move || list.vec8().ok().map(|name| name.rest()))
    }
}

/// Looks at a connection's first bytes, of which no more than `room` can lie in the ring.
pub(crate) fn look(bytes: &[u8], room: usize) -> Seen {
    match look_at_records(bytes, room) {
        // The ring is full: the rest would be waited for in vain.
        Seen::Incomplete if bytes.len() >= room => Seen::Wrong(Alert::DECODE_ERROR),
        seen => seen,
    }
}

fn look_at_records(mut rest: &[u8], room: usize) -> Seen {
    // No more than once: it never grows.
    let mut message = Vec::with_capacity(rest.len());
    loop {
        if let Some([kind, a, b, c]) = message.first_chunk::<MESSAGE_HEADER>().copied() {
            let length = MESSAGE_HEADER + u32::from_be_bytes([0, a, b, c]) as usize;
            if kind != CLIENT_HELLO {
                return Seen::Wrong(Alert::UNEXPECTED_MESSAGE);
            }
            if length > room.saturating_sub(HEADER) {
                return Seen::Wrong(Alert::DECODE_ERROR);
            }
            if let Some(body) = message.get(MESSAGE_HEADER..length) {
                return match parse(body) {
                    Ok(hello) => Seen::Hello(hello),
                    Err(alert) => Seen::Wrong(alert),
                };
            }
        }
        // What can't be a record is known before it is whole.
        if rest.first().is_some_and(|kind| *kind != HANDSHAKE)
            || rest.get(1).is_some_and(|major| *major != 3)
        {
            return Seen::Wrong(Alert::DECODE_ERROR);
        }
        let Some((header, after)) = Header::split_from(rest) else {
            return Seen::Incomplete;
        };
        let length = header.length();
        if length == 0 || length > room.saturating_sub(HEADER) {
            return Seen::Wrong(Alert::DECODE_ERROR);
        }
        let Some((fragment, after)) = after.split_at_checked(length) else {
            return Seen::Incomplete;
        };
        message.extend_from_slice(fragment);
        rest = after;
    }
}

/// RFC 8446 §4.1.2.
fn parse(body: &[u8]) -> Result<Hello, Alert> {
    let mut hello = Hello::default();
    let mut extensions = ClientHello::parse(body)?.extensions()?;
    while let Some((kind, mut content)) = extensions.next_extension()? {
        match kind {
            ExtensionType::SERVER_NAME if hello.server_name.is_none() => {
                hello.server_name = host_name(&mut content)?;
            }
            ExtensionType::ALPN if hello.alpn.is_empty() => hello.alpn = names(&mut content)?,
            _ => {}
        }
    }
    Ok(hello)
}

/// No host name is none.
fn host_name(content: &mut Reader<'_>) -> Result<Option<String>, Alert> {
    let mut list = content.vec16()?;
    while let Some((kind, name)) = next_name(&mut list)? {
        if kind != HOST_NAME {
            continue;
        }
        let name = core::str::from_utf8(name).map_err(|_| Alert::DECODE_ERROR)?;
        return match is_dns_name(name) {
            true => Ok(Some(name.to_ascii_lowercase())),
            // Some clients write an address (RFC 6066 §3 has none): it is no name.
            false if name.parse::<IpAddr>().is_ok() => Ok(None),
            false => Err(Alert::DECODE_ERROR),
        };
    }
    Ok(None)
}

fn names(content: &mut Reader<'_>) -> Result<Vec<u8>, Alert> {
    let names = content.vec16()?;
    let mut list = names;
    while !list.is_empty() {
        list.vec8()?;
    }
    Ok(names.rest().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 8 * 1024;

    fn look(bytes: &[u8]) -> Seen {
        super::look(bytes, ROOM)
    }

    fn vector(bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length[..], bytes].concat()
    }

    fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &vector(value)].concat()
    }

    fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(0);
        body.extend(vector(&[0x13, 1]));
        body.extend([1, 0]);
        body.extend(vector(&extensions.concat()));
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let mut message = vec![1];
        message.extend(&length[1..]);
        message.extend(body);
        message
    }

    fn records(message: &[u8], size: usize) -> Vec<u8> {
        let record = |part: &[u8]| [&[22, 3, 1][..], &vector(part)].concat();
        message.chunks(size).flat_map(record).collect()
    }

    fn full() -> Vec<u8> {
        hello(&[
            extension(43, &[2, 3, 4]),
            extension(0, &vector(&[&[0][..], &vector(b"Alpha.TEST")].concat())),
            extension(16, &vector(b"\x02h2\x08http/1.1")),
        ])
    }

    #[test]
    fn name_and_alpn_are_seen_however_the_hello_is_cut() {
        let expected = Seen::Hello(Hello {
            server_name: Some("alpha.test".into()),
            alpn: b"\x02h2\x08http/1.1".to_vec(),
        });
        for size in [1, 3, 40, 1000] {
            let bytes = records(&full(), size);
            assert_eq!(look(&bytes), expected, "{size}");
            for length in 0..bytes.len() {
                assert_eq!(look(&bytes[..length]), Seen::Incomplete, "{size} {length}");
            }
        }
    }

    #[test]
    fn alpn_names_are_told_apart() {
        let Seen::Hello(hello) = look(&records(&full(), 1000)) else {
            panic!("no hello");
        };
        let names: Vec<_> = hello.protocols().collect();
        assert_eq!(names, [&b"h2"[..], b"http/1.1"]);
    }

    #[test]
    fn a_hello_without_them_has_none() {
        let seen = look(&records(&hello(&[]), 1000));
        assert_eq!(seen, Seen::Hello(Hello::default()));
    }

    #[test]
    fn what_is_no_hello_is_refused_at_once() {
        for (bytes, alert) in [
            (&b"GET / HTTP/1.1"[..], Alert::DECODE_ERROR),
            (&[22, 2], Alert::DECODE_ERROR),
            (&[22, 3, 1, 0, 0], Alert::DECODE_ERROR),
            (&[22, 3, 1, 0xff, 0xff], Alert::DECODE_ERROR),
            (&[22, 3, 1, 0, 4, 2, 0, 0, 0], Alert::UNEXPECTED_MESSAGE),
            (&[22, 3, 1, 0, 4, 1, 0xff, 0, 0], Alert::DECODE_ERROR),
            (&[22, 3, 1, 0, 5, 1, 0, 0, 1, 3], Alert::DECODE_ERROR),
        ] {
            assert_eq!(look(bytes), Seen::Wrong(alert), "{bytes:?}");
        }
    }

    #[test]
    fn a_hello_that_does_not_fit_is_refused_as_soon_as_it_is_known() {
        let sized = |length: usize| {
            let rest = hello(&[extension(21, &[])]).len();
            hello(&[extension(21, &vec![0; length - rest])])
        };
        let refused = Seen::Wrong(Alert::DECODE_ERROR);
        let longest = records(&sized(ROOM - 5), ROOM);
        assert_eq!(longest.len(), ROOM);
        assert_eq!(look(&longest), Seen::Hello(Hello::default()));
        assert_eq!(look(&longest[..ROOM - 1]), Seen::Incomplete);
        // By the record's length, by the message's, and by the headers of its records.
        assert_eq!(look(&records(&sized(ROOM - 4), ROOM)[..5]), refused);
        assert_eq!(look(&records(&sized(ROOM - 4), 40)[..45]), refused);
        let cut = records(&sized(ROOM - 6), 40);
        assert_eq!(look(&cut[..ROOM - 1]), Seen::Incomplete);
        assert_eq!(look(&cut[..ROOM]), refused);
    }

    #[test]
    fn a_name_is_a_dns_name_or_nothing() {
        let named = |name: &[u8]| {
            let value = vector(&[&[0][..], &vector(name)].concat());
            look(&records(&hello(&[extension(0, &value)]), 1000))
        };
        let unnamed = Seen::Hello(Hello::default());
        assert_eq!(named(b"10.0.2.2"), unnamed);
        for name in [&b"a\nb"[..], b"a b", b"", b"a.", b"\xff", b"a\0"] {
            assert_eq!(named(name), Seen::Wrong(Alert::DECODE_ERROR), "{name:?}");
        }
    }

    #[test]
    fn a_byte_after_the_extensions_is_refused() {
        let mut message = full();
        message.push(0);
        let length = u32::try_from(message.len() - MESSAGE_HEADER).unwrap();
        message[1..4].copy_from_slice(&length.to_be_bytes()[1..]);
        let seen = look(&records(&message, 1000));
        assert_eq!(seen, Seen::Wrong(Alert::DECODE_ERROR));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let good = full();
        for place in MESSAGE_HEADER..good.len() {
            let mut bad = good.clone();
            bad[place] = 0xff;
            // Whatever comes of it, it is not waited for, and nothing panics.
            assert_ne!(look(&records(&bad, 1000)), Seen::Incomplete, "{place}");
        }
        let truncated = hello(&[extension(0, &[0, 9, 0])]);
        let seen = look(&records(&truncated, 1000));
        assert_eq!(seen, Seen::Wrong(Alert::DECODE_ERROR));
    }
}

//! ClientHello, as a server reads it (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2).

use ipc::bounded::{Bytes, List};
use ipc::segment::{Binder, MAX_SHARE, Place};
use ipc::tls::{Protocols, ServerName};
use tls::client_hello::{
    EMPTY_RENEGOTIATION_INFO_SCSV, FALLBACK_SCSV, NULL_COMPRESSION, PSK_DHE_KE,
};
use tls::codec::Reader;
use tls::names::UNCOMPRESSED;
use tls::{Alert, CipherSuite, ExtensionType, Group, Scheme, Version};

use super::Refusal;
use super::server_name::server_name;
use super::template::place;

/// Extensions of one hello that are told apart, to find duplicates.
const MAX_EXTENSIONS: usize = 64;
/// Tickets of one hello that are looked at.
pub(super) const MAX_TICKETS: usize = 3;
/// RFC 8446 §4.2.11: a binder is a hash, and none is shorter.
const MIN_BINDER: usize = 32;

const ILLEGAL: Refusal = Refusal(Alert::ILLEGAL_PARAMETER);
const DECODE: Refusal = Refusal(Alert::DECODE_ERROR);

/// The application protocol, seen from the server's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alpn {
    /// The client does not speak of it.
    Absent,
    /// The first of the server's that the client has, by place.
    Common(usize),
    /// None in common.
    Disjoint,
}

/// What a client offers, as far as this server knows it.
pub(super) struct ClientHello {
    /// What the field of TLS 1.2 says, which an encrypted pre-master secret
    /// repeats.
    pub(super) version: u16,
    pub(super) random: [u8; 32],
    pub(super) session_id: Bytes<32>,
    pub(super) suites: List<CipherSuite, { CipherSuite::COUNT }>,
    pub(super) offers_tls13: bool,
    pub(super) offers_tls12: bool,
    pub(super) is_fallback: bool,
    pub(super) only_null_compression: bool,
    pub(super) server_name: Option<ServerName>,
    /// `None` without the extension.
    pub(super) groups: Option<List<Group, 3>>,
    /// `None` without the extension.
    pub(super) schemes: Option<List<Scheme, 9>>,
    pub(super) alpn: Alpn,
    pub(super) has_extended_master_secret: bool,
    pub(super) has_secure_renegotiation: bool,
    /// `None` without the extension.
    pub(super) shares: Option<List<Share, 3>>,
    /// TLS 1.2: the ticket, empty from a client that would take one.
    pub(super) ticket: Option<Place>,
    /// TLS 1.3: tickets are taken, with (EC)DHE (RFC 8446 §4.2.9).
    pub(super) has_psk_dhe: bool,
    /// TLS 1.3: the first tickets.
    pub(super) tickets: List<Offer, MAX_TICKETS>,
}

/// A ticket that a client of TLS 1.3 offers (RFC 8446 §4.2.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) ticket: Place,
    pub(super) binder: Binder,
}

/// A public key of the client (RFC 8446 §4.2.8).
#[derive(Clone)]
pub(super) struct Share {
    pub(super) group: Group,
    pub(super) key: Bytes<MAX_SHARE>,
}

impl ClientHello {
    /// Parses the body; `ours` are the server's application protocols.
    pub(super) fn parse(body: &[u8], ours: &Protocols) -> Result<Self, Refusal> {
        let parts = tls::client_hello::ClientHello::parse(body)?;
        let version = parts.version;
        let mut numbers = parts.cipher_suites;
        let mut hello = Self {
            version,
            random: parts.random,
            session_id: Bytes::from_slice(parts.session_id).map_err(|_| DECODE)?,
            suites: List::new(),
            offers_tls13: false,
            offers_tls12: version >= Version::Tls12.number(),
            is_fallback: false,
            only_null_compression: parts.compression_methods == [NULL_COMPRESSION],
            server_name: None,
            groups: None,
            schemes: None,
            alpn: Alpn::Absent,
            has_extended_master_secret: false,
            has_secure_renegotiation: false,
            shares: None,
            ticket: None,
            has_psk_dhe: false,
            tickets: List::new(),
        };
        if numbers.is_empty() {
            return Err(DECODE);
        }
        while let Some(number) = numbers.next_u16()? {
            match number {
                EMPTY_RENEGOTIATION_INFO_SCSV => hello.has_secure_renegotiation = true,
                FALLBACK_SCSV => hello.is_fallback = true,
                _ => note(&mut hello.suites, CipherSuite::from_number(number)),
            }
        }
        // RFC 5246 §7.4.1.2: null must be there.
        if !parts.compression_methods.contains(&NULL_COMPRESSION) {
            return Err(ILLEGAL);
        }
        hello.read_extensions(&mut parts.extensions()?, ours)?;
        Ok(hello)
    }

    fn read_extensions(
        &mut self,
        extensions: &mut Reader<'_>,
        ours: &Protocols,
    ) -> Result<(), Refusal> {
        let mut seen = List::<ExtensionType, MAX_EXTENSIONS>::new();
        let (mut has_psk, mut has_modes) = (false, false);
        while let Some((kind, content)) = extensions.next_extension()? {
            // RFC 8446 §4.2: none twice; §4.2.11: pre_shared_key is the last.
            if seen.contains(&kind) || has_psk || seen.push(kind).is_err() {
                return Err(ILLEGAL);
            }
            has_psk = kind == ExtensionType::PRE_SHARED_KEY;
            has_modes |= kind == ExtensionType::PSK_KEY_EXCHANGE_MODES;
            self.read_extension(kind, content, ours)?;
        }
        // RFC 8446 §4.2.9.
        match has_psk && !has_modes {
            true => Err(Refusal(Alert::MISSING_EXTENSION)),
            false => Ok(()),
        }
    }

    fn read_extension(
        &mut self,
        kind: ExtensionType,
        mut content: Reader<'_>,
        ours: &Protocols,
    ) -> Result<(), Refusal> {
        match kind {
            ExtensionType::SERVER_NAME => self.server_name = server_name(&mut content)?,
            ExtensionType::SUPPORTED_GROUPS => {
                let mut list = content.filled16()?;
                let groups = self.groups.insert(List::new());
                while let Some(number) = list.next_u16()? {
                    note(groups, Group::from_number(number));
                }
            }
            ExtensionType::SIGNATURE_ALGORITHMS => {
                let mut list = content.filled16()?;
                let schemes = self.schemes.insert(List::new());
                while let Some(number) = list.next_u16()? {
                    note(schemes, Scheme::from_number(number));
                }
            }
            ExtensionType::ALPN => {
                let mut list = content.filled16()?;
                self.alpn = Alpn::Disjoint;
                while !list.is_empty() {
                    let name = list.vec8()?.rest();
                    if name.is_empty() {
                        return Err(DECODE);
                    }
                    let place = ours.iter().position(|own| **own == *name);
                    self.alpn = match (self.alpn, place) {
                        (Alpn::Common(best), Some(place)) => Alpn::Common(best.min(place)),
                        (_, Some(place)) => Alpn::Common(place),
                        (earlier, None) => earlier,
                    };
                }
            }
            // RFC 8422 §5.1.2: uncompressed is among them. No answer: it is the only
            // one here.
            ExtensionType::EC_POINT_FORMATS => {
                let formats = content.vec8()?.rest();
                if !formats.contains(&UNCOMPRESSED) {
                    return Err(ILLEGAL);
                }
            }
            ExtensionType::EXTENDED_MASTER_SECRET => self.has_extended_master_secret = true,
            ExtensionType::SUPPORTED_VERSIONS => {
                let mut list = content.vec8()?;
                if list.is_empty() {
                    return Err(DECODE);
                }
                self.offers_tls12 = false;
                while let Some(number) = list.next_u16()? {
                    self.offers_tls12 |= number == Version::Tls12.number();
                    self.offers_tls13 |= number == Version::Tls13.number();
                }
            }
            ExtensionType::KEY_SHARE => {
                let mut list = content.vec16()?;
                let shares = self.shares.insert(List::new());
                while let Some(number) = list.next_u16()? {
                    let key = list.vec16()?.rest();
                    let Some(group) = Group::from_number(number) else {
                        continue;
                    };
                    // RFC 8446 §4.2.8: not two for one group.
                    if shares.iter().any(|share| share.group == group) {
                        return Err(ILLEGAL);
                    }
                    let key = Bytes::from_slice(key).map_err(|_| ILLEGAL)?;
                    if key.len() != group.share_len() {
                        return Err(ILLEGAL);
                    }
                    shares.push(Share { group, key }).map_err(|_| ILLEGAL)?;
                }
            }
            // RFC 5746 §3.6: empty in a first handshake.
            ExtensionType::RENEGOTIATION_INFO => {
                if !content.vec8()?.is_empty() {
                    return Err(Refusal(Alert::HANDSHAKE_FAILURE));
                }
                self.has_secure_renegotiation = true;
            }
            ExtensionType::SESSION_TICKET => {
                self.ticket = Some(place(&content)?);
                return Ok(());
            }
            ExtensionType::PSK_KEY_EXCHANGE_MODES => {
                let modes = content.vec8()?.rest();
                if modes.is_empty() {
                    return Err(DECODE);
                }
                self.has_psk_dhe = modes.contains(&PSK_DHE_KE);
            }
            ExtensionType::PRE_SHARED_KEY => self.tickets = offers(&mut content)?,
            _ => return Ok(()),
        }
        Ok(content.end()?)
    }
}

/// OfferedPsks (RFC 8446 §4.2.11): as many binders as identities.
fn offers(content: &mut Reader<'_>) -> Result<List<Offer, MAX_TICKETS>, Refusal> {
    let mut identities = content.filled16()?;
    let list = place(content)?.offset;
    let mut binders = content.filled16()?;
    let mut offers = List::new();
    while !identities.is_empty() {
        let ticket = identities.vec16()?;
        let _age = identities.array::<4>()?;
        if binders.is_empty() {
            return Err(ILLEGAL);
        }
        let binder = binders.vec8()?;
        if ticket.is_empty() || binder.rest().len() < MIN_BINDER {
            return Err(DECODE);
        }
        let binder = Binder {
            list,
            binder: place(&binder)?,
        };
        // More are not looked at.
        let _ = offers.push(Offer {
            ticket: place(&ticket)?,
            binder,
        });
    }
    match binders.is_empty() {
        true => Ok(offers),
        false => Err(ILLEGAL),
    }
}

/// Adds a value that this server knows, once.
fn note<T: PartialEq, const N: usize>(list: &mut List<T, N>, value: Option<T>) {
    if let Some(value) = value.filter(|value| !list.contains(value)) {
        // As many places as there are values.
        let _ = list.push(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANDOM: [u8; 32] = [7; 32];

    fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap();
        [&kind.to_be_bytes(), &length.to_be_bytes(), content].concat()
    }

    fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
        let extensions = extensions.concat();
        let length = u16::try_from(extensions.len()).unwrap();
        let mut body = [&[3, 3], &RANDOM[..], &[2, 0xa, 0xb]].concat();
        body.extend([0, 6, 0x0a, 0x0a, 0x13, 1, 0xc0, 0x2b, 1, 0]);
        body.extend(length.to_be_bytes());
        body.extend(extensions);
        body
    }

    fn good() -> Vec<Vec<u8>> {
        let share = [&[0, 36, 0, 0x1d, 0, 32], &[9; 32][..]].concat();
        vec![
            extension(0, &[0, 7, 0, 0, 4, b'n', b'a', b'm', b'e']),
            extension(10, &[0, 4, 0x0a, 0x0a, 0, 0x1d]),
            extension(11, &[2, 1, 0]),
            extension(13, &[0, 4, 4, 3, 8, 4]),
            extension(16, &[0, 3, 2, b'h', b'2']),
            extension(23, &[]),
            extension(43, &[4, 3, 4, 3, 3]),
            extension(51, &share),
            extension(0xff01, &[0]),
            // None that is known.
            extension(0x0a0a, &[1, 2, 3]),
        ]
    }

    fn parse(body: &[u8]) -> Result<ClientHello, Refusal> {
        let ours = Protocols::from_items([Bytes::from_slice(b"h2").unwrap()]).unwrap();
        ClientHello::parse(body, &ours)
    }

    fn alert(body: &[u8]) -> Option<Alert> {
        parse(body).err().map(|Refusal(alert)| alert)
    }

    #[test]
    fn a_client_hello_tells_what_this_server_knows_of_it() {
        let hello = parse(&hello(&good())).ok().unwrap();
        assert_eq!(hello.random, RANDOM);
        assert_eq!(&hello.session_id[..], [0xa, 0xb]);
        assert_eq!(hello.suites.len(), 2);
        assert!(hello.offers_tls13 && hello.offers_tls12);
        assert_eq!(hello.server_name.as_deref(), Some("name"));
        assert_eq!(hello.groups.as_deref(), Some(&[Group::X25519][..]));
        assert_eq!(hello.schemes.map(|schemes| schemes.len()), Some(2));
        assert_eq!(hello.alpn, Alpn::Common(0));
        assert!(hello.has_extended_master_secret && hello.has_secure_renegotiation);
        assert_eq!(&hello.shares.unwrap()[0].key[..], [9; 32]);
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = hello(&good());
        let without_extensions = 2 + 32 + 3 + 8 + 2;
        for length in (0..whole.len()).filter(|length| *length != without_extensions) {
            let cut = whole.get(..length).unwrap();
            assert_eq!(alert(cut), Some(Alert::DECODE_ERROR), "{length} bytes");
        }
        let long = [&whole[..], &[0]].concat();
        assert_eq!(alert(&long), Some(Alert::DECODE_ERROR));
    }

    #[test]
    fn every_duplicate_is_refused() {
        for place in 0..good().len() {
            let mut extensions = good();
            let again = extensions[place].clone();
            extensions.push(again);
            let body = hello(&extensions);
            assert_eq!(alert(&body), Some(Alert::ILLEGAL_PARAMETER), "{place}");
        }
    }

    #[test]
    fn an_extension_that_can_not_be_is_refused() {
        let share = |length: u8| [&[0, 4 + length, 0, 0x1d, 0, length], &vec![1; 32][..]].concat();
        for (wrong, expected) in [
            (extension(0, &[0, 0]), Alert::DECODE_ERROR),
            (
                extension(0, &[0, 4, 0, 0, 1, 0xff]),
                Alert::ILLEGAL_PARAMETER,
            ),
            (extension(0, &[0, 3, 0, 0, 0]), Alert::ILLEGAL_PARAMETER),
            (extension(10, &[0, 0]), Alert::DECODE_ERROR),
            (extension(10, &[0, 3, 0, 0x1d, 0]), Alert::DECODE_ERROR),
            (extension(11, &[1, 1]), Alert::ILLEGAL_PARAMETER),
            (extension(11, &[2, 0]), Alert::DECODE_ERROR),
            (extension(13, &[0, 2, 4, 3, 0]), Alert::DECODE_ERROR),
            (extension(16, &[0, 1, 0]), Alert::DECODE_ERROR),
            (extension(23, &[0]), Alert::DECODE_ERROR),
            (extension(43, &[0]), Alert::DECODE_ERROR),
            (extension(43, &[3, 3, 4, 3]), Alert::DECODE_ERROR),
            (extension(51, &share(31)), Alert::ILLEGAL_PARAMETER),
            (extension(51, &share(33)), Alert::DECODE_ERROR),
            (
                extension(51, &[0, 5, 0, 0x1d, 0, 1, 1]),
                Alert::ILLEGAL_PARAMETER,
            ),
            (extension(0xff01, &[1, 1]), Alert::HANDSHAKE_FAILURE),
        ] {
            let kind = wrong.get(..2).unwrap().to_vec();
            let mut extensions = good();
            extensions.retain(|other| !other.starts_with(&kind));
            extensions.push(wrong.clone());
            assert_eq!(alert(&hello(&extensions)), Some(expected), "{wrong:?}");
        }
    }

    #[test]
    fn a_server_name_is_a_dns_name_or_nothing() {
        let named = |name: &[u8]| {
            let length = u16::try_from(name.len()).unwrap();
            let [list, length] = [length + 3, length].map(u16::to_be_bytes);
            let content = [&list[..], &[0], &length, name].concat();
            let mut extensions = good();
            extensions[0] = extension(0, &content);
            parse(&hello(&extensions)).map(|hello| hello.server_name)
        };
        for (name, expected) in [
            ("a.test", Some("a.test")),
            ("_service.a.test", Some("_service.a.test")),
            ("a.test.", Some("a.test")),
            ("192.0.2.1", None),
            ("2001:db8::1", None),
        ] {
            let found = named(name.as_bytes()).ok().unwrap();
            assert_eq!(found.as_deref(), expected, "{name}");
        }
        let long = "a.".repeat(127) + "test";
        for name in [
            "a.test\r\nPROXY TCP4 10.0.0.1",
            "a.test keyring=other",
            "a.test\0",
            "a..test",
            "-a.test",
            ".",
            "café.test",
            &long,
        ] {
            let refused = named(name.as_bytes()).err().map(|Refusal(alert)| alert);
            assert_eq!(refused, Some(Alert::ILLEGAL_PARAMETER), "{name:?}");
        }
    }

    #[test]
    fn nothing_may_follow_pre_shared_key() {
        let (modes, psk) = (extension(45, &[1, 1]), psk(&[32]));
        let mut last = good();
        last.extend([modes.clone(), psk.clone()]);
        assert_eq!(alert(&hello(&last)), None);
        let mut first = good();
        first.splice(0..0, [modes, psk.clone()]);
        assert_eq!(alert(&hello(&first)), Some(Alert::ILLEGAL_PARAMETER));
        // RFC 8446 §4.2.9.
        let mut without_modes = good();
        without_modes.push(psk);
        let missing = Some(Alert::MISSING_EXTENSION);
        assert_eq!(alert(&hello(&without_modes)), missing);
    }

    /// A list of as many tickets of two bytes as there are binders, of these
    /// lengths.
    fn psk(binders: &[u8]) -> Vec<u8> {
        let ticket = [0, 2, 0xa, 0xb, 0, 0, 0, 9];
        let identities = ticket.repeat(binders.len());
        let filled = |length: &u8| [vec![*length], vec![7; usize::from(*length)]].concat();
        let binders: Vec<u8> = binders.iter().flat_map(filled).collect();
        let length = |list: &[u8]| u16::try_from(list.len()).unwrap().to_be_bytes();
        let lists = [
            &length(&identities)[..],
            &identities,
            &length(&binders),
            &binders,
        ];
        extension(41, &lists.concat())
    }

    #[test]
    fn r33_tickets_and_binders_are_told_where_they_stand() {
        let mut extensions = good();
        extensions.extend([extension(45, &[1, 1]), psk(&[32, 48, 32, 32])]);
        let body = hello(&extensions);
        let hello = ClientHello::parse(&body, &Protocols::default())
            .ok()
            .unwrap();
        assert!(hello.has_psk_dhe);
        let lengths: Vec<u16> = hello
            .tickets
            .iter()
            .map(|o| o.binder.binder.length)
            .collect();
        assert_eq!(lengths, [32, 48, 32]);
        for offer in hello.tickets.iter() {
            let part = |place: Place| {
                let start = usize::from(place.offset);
                &body[start..start + usize::from(place.length)]
            };
            assert_eq!(part(offer.ticket), [0xa, 0xb]);
            assert!(part(offer.binder.binder).iter().all(|byte| *byte == 7));
            let list = usize::from(offer.binder.list);
            assert_eq!(body[list..list + 2], [0, 33 + 49 + 33 + 33]);
        }
    }

    #[test]
    fn a_list_of_tickets_that_is_wrong_is_refused() {
        let alert_of = |psk: Vec<u8>| {
            let mut extensions = good();
            extensions.extend([extension(45, &[1, 1]), psk]);
            alert(&hello(&extensions))
        };
        let identity = [0, 2, 0xa, 0xb, 0, 0, 0, 9];
        let binder = [[32].as_slice(), &[7; 32]].concat();
        let list = |identities: &[u8], binders: &[u8]| {
            let length = |list: &[u8]| u16::try_from(list.len()).unwrap().to_be_bytes();
            let (first, second) = (length(identities), length(binders));
            extension(41, &[&first, identities, &second, binders].concat())
        };
        assert_eq!(alert_of(list(&identity, &binder)), None);
        let decode = Some(Alert::DECODE_ERROR);
        let illegal = Some(Alert::ILLEGAL_PARAMETER);
        assert_eq!(alert_of(list(&[], &binder)), decode);
        assert_eq!(alert_of(list(&identity, &[])), decode);
        assert_eq!(alert_of(list(&identity[..7], &binder)), decode);
        assert_eq!(alert_of(list(&[0, 0, 0, 0, 0, 9], &binder)), decode);
        assert_eq!(alert_of(list(&identity, &binder[..32])), decode);
        assert_eq!(
            alert_of(list(&identity, &[&[31], &binder[1..32]].concat())),
            decode
        );
        assert_eq!(alert_of(list(&identity.repeat(2), &binder)), illegal);
        assert_eq!(alert_of(list(&identity, &binder.repeat(2))), illegal);
        let mut more = list(&identity, &binder);
        more.push(0);
        more[3] += 1;
        assert_eq!(alert_of(more), decode);
    }
}

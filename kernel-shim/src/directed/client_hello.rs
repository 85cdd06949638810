//! ClientHello, as a server reads it (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2).

use ipc::bounded::{Bytes, List, Text};
use ipc::keystore::Scheme;
use ipc::segment::MAX_SHARE;
use ipc::tls::{Alert, CipherSuite, Group, Protocols, ServerName};

use super::codec::Reader;
use super::{Refusal, extension};

/// RFC 5746 §3.3.
const EMPTY_RENEGOTIATION_INFO_SCSV: u16 = 0x00ff;
/// RFC 7507 §2.
const FALLBACK_SCSV: u16 = 0x5600;
const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;
/// Extensions of one hello that are told apart, to find duplicates.
const MAX_EXTENSIONS: usize = 64;

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
    pub(super) random: [u8; 32],
    pub(super) session_id: Bytes<32>,
    pub(super) suites: List<CipherSuite, 9>,
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
        let mut body = Reader::new(body);
        let version = body.u16()?;
        let random = body.array()?;
        let session_id = body.vec8()?.rest();
        let session_id = Bytes::from_slice(session_id).map_err(|_| DECODE)?;
        let mut numbers = body.vec16()?;
        let mut compression = body.vec8()?;
        let mut hello = Self {
            random,
            session_id,
            suites: List::new(),
            offers_tls13: false,
            offers_tls12: version >= TLS12,
            is_fallback: false,
            only_null_compression: compression.rest() == [0],
            server_name: None,
            groups: None,
            schemes: None,
            alpn: Alpn::Absent,
            has_extended_master_secret: false,
            has_secure_renegotiation: false,
            shares: None,
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
        let mut has_null = false;
        while !compression.is_empty() {
            has_null |= compression.u8()? == 0;
        }
        if !has_null {
            return Err(ILLEGAL);
        }
        if !body.is_empty() {
            let mut extensions = body.vec16()?;
            body.end()?;
            hello.read_extensions(&mut extensions, ours)?;
        }
        Ok(hello)
    }

    fn read_extensions(
        &mut self,
        extensions: &mut Reader<'_>,
        ours: &Protocols,
    ) -> Result<(), Refusal> {
        let mut seen = List::<u16, MAX_EXTENSIONS>::new();
        let mut has_psk = false;
        while let Some((kind, content)) = extensions.next_extension()? {
            // RFC 8446 §4.2: none twice; §4.2.11: pre_shared_key is the last.
            if seen.contains(&kind) || has_psk || seen.push(kind).is_err() {
                return Err(ILLEGAL);
            }
            has_psk = kind == extension::PRE_SHARED_KEY;
            self.read_extension(kind, content, ours)?;
        }
        Ok(())
    }

    fn read_extension(
        &mut self,
        kind: u16,
        mut content: Reader<'_>,
        ours: &Protocols,
    ) -> Result<(), Refusal> {
        match kind {
            extension::SERVER_NAME => self.server_name = server_name(&mut content)?,
            extension::SUPPORTED_GROUPS => {
                let mut list = filled16(&mut content)?;
                let groups = self.groups.insert(List::new());
                while let Some(number) = list.next_u16()? {
                    note(groups, Group::from_number(number));
                }
            }
            extension::SIGNATURE_ALGORITHMS => {
                let mut list = filled16(&mut content)?;
                let schemes = self.schemes.insert(List::new());
                while let Some(number) = list.next_u16()? {
                    note(schemes, Scheme::from_number(number));
                }
            }
            extension::ALPN => {
                let mut list = filled16(&mut content)?;
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
            extension::EXTENDED_MASTER_SECRET => self.has_extended_master_secret = true,
            extension::SUPPORTED_VERSIONS => {
                let mut list = content.vec8()?;
                if list.is_empty() {
                    return Err(DECODE);
                }
                self.offers_tls12 = false;
                while let Some(number) = list.next_u16()? {
                    self.offers_tls12 |= number == TLS12;
                    self.offers_tls13 |= number == TLS13;
                }
            }
            extension::KEY_SHARE => {
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
            extension::RENEGOTIATION_INFO => {
                if !content.vec8()?.is_empty() {
                    return Err(Refusal(Alert::HANDSHAKE_FAILURE));
                }
                self.has_secure_renegotiation = true;
            }
            _ => return Ok(()),
        }
        content.end()
    }
}

/// Adds a value that this server knows, once.
fn note<T: PartialEq, const N: usize>(list: &mut List<T, N>, value: Option<T>) {
    if let Some(value) = value.filter(|value| !list.contains(value)) {
        // As many places as there are values.
        let _ = list.push(value);
    }
}

/// A list of one item at least.
fn filled16<'a>(content: &mut Reader<'a>) -> Result<Reader<'a>, Refusal> {
    let list = content.vec16()?;
    match list.is_empty() {
        true => Err(DECODE),
        false => Ok(list),
    }
}

/// RFC 6066 §3: one DNS name. What is none is as good as not there.
fn server_name(content: &mut Reader<'_>) -> Result<Option<ServerName>, Refusal> {
    const HOST_NAME: u8 = 0;
    let mut list = filled16(content)?;
    let mut found = None;
    while !list.is_empty() {
        let kind = list.u8()?;
        let name = list.vec16()?.rest();
        if kind != HOST_NAME {
            continue;
        }
        if found.is_some() || name.is_empty() {
            return Err(ILLEGAL);
        }
        let text = core::str::from_utf8(name).map_err(|_| DECODE)?;
        found = Some(text);
    }
    let name = found.filter(|name| name.is_ascii());
    Ok(name.and_then(|name| Text::from_text(name).ok()))
}

//! ClientHello, as a server reads it (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2).

use ipc::bounded::{Bytes, List};
use ipc::segment::{Binder, Place};
use ipc::tls::{Protocols, ServerName};
use tls::client_hello::{
    EMPTY_RENEGOTIATION_INFO_SCSV, FALLBACK_SCSV, NULL_COMPRESSION, PSK_DHE_KE,
};
use tls::codec::Reader;
use tls::names::{OCSP, UNCOMPRESSED};
use tls::{Alert, CipherSuite, ExtensionType, Group, RecordLimit, Role, Scheme, Version};

use crate::numbers::{known, note};
use crate::script::{DECODE, ILLEGAL, MISSING, Refusal};
use crate::server_name::server_name;
use crate::template::place;

/// Extensions of one hello that this server does not know and tells apart, to find
/// duplicates. More are ignored, as each of them is (RFC 8446 §4.1.2).
const MAX_UNKNOWN: usize = 64;
/// Those that it knows.
const KNOWN: [ExtensionType; 15] = [
    ExtensionType::SERVER_NAME,
    ExtensionType::STATUS_REQUEST,
    ExtensionType::SUPPORTED_GROUPS,
    ExtensionType::EC_POINT_FORMATS,
    ExtensionType::SIGNATURE_ALGORITHMS,
    ExtensionType::ALPN,
    ExtensionType::EXTENDED_MASTER_SECRET,
    ExtensionType::RECORD_SIZE_LIMIT,
    ExtensionType::SESSION_TICKET,
    ExtensionType::PRE_SHARED_KEY,
    ExtensionType::SUPPORTED_VERSIONS,
    ExtensionType::PSK_KEY_EXCHANGE_MODES,
    ExtensionType::CERTIFICATE_AUTHORITIES,
    ExtensionType::KEY_SHARE,
    ExtensionType::RENEGOTIATION_INFO,
];
/// Tickets of one hello that are looked at.
pub(crate) const MAX_TICKETS: usize = 3;

/// The application protocol, seen from the server's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alpn {
    /// The client does not speak of it.
    Absent,
    /// The first of the server's that the client has, by place.
    Common(usize),
    /// None in common.
    Disjoint,
}

/// What a client offers, as far as this server knows it.
#[derive(Debug)]
pub(crate) struct ClientHello {
    /// What the field of TLS 1.2 says, which an encrypted pre-master secret
    /// repeats.
    pub(crate) version: u16,
    pub(crate) random: [u8; 32],
    pub(crate) session_id: Bytes<32>,
    pub(crate) suites: List<CipherSuite, { CipherSuite::COUNT }>,
    pub(crate) offers_tls13: bool,
    pub(crate) offers_tls12: bool,
    pub(crate) is_fallback: bool,
    pub(crate) only_null_compression: bool,
    pub(crate) server_name: Option<ServerName>,
    /// `None` without the extension.
    pub(crate) groups: Option<List<Group, { Group::COUNT }>>,
    /// `None` without the extension.
    pub(crate) schemes: Option<List<Scheme, 9>>,
    pub(crate) alpn: Alpn,
    pub(crate) has_extended_master_secret: bool,
    pub(crate) has_secure_renegotiation: bool,
    /// TLS 1.3: where the names are of those who should have issued the server's certificate
    /// (RFC 8446 §4.2.4).
    pub(crate) authorities: Option<Place>,
    /// An OCSP response is asked for (RFC 6066 §8).
    pub(crate) asks_for_ocsp: bool,
    /// What its record_size_limit says, where it has one.
    record_size_limit: Option<u16>,
    /// `None` without the extension.
    pub(crate) shares: Option<List<Share, { Group::COUNT }>>,
    /// TLS 1.2: the ticket, empty from a client that would take one.
    pub(crate) ticket: Option<Place>,
    /// TLS 1.3: tickets are taken, with (EC)DHE (RFC 8446 §4.2.9).
    pub(crate) has_psk_dhe: bool,
    /// TLS 1.3: the first tickets.
    pub(crate) tickets: List<Offer, MAX_TICKETS>,
}

/// A ticket that a client of TLS 1.3 offers (RFC 8446 §4.2.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) ticket: Place,
    pub(crate) binder: Binder,
}

/// A key share of the client (RFC 8446 §4.2.8).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) group: Group,
    pub(crate) key: Place,
}

impl ClientHello {
    /// Parses the body; `ours` are the server's application protocols.
    pub(crate) fn parse(body: &[u8], ours: &Protocols) -> Result<Self, Refusal> {
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
            authorities: None,
            asks_for_ocsp: false,
            record_size_limit: None,
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

    /// How long the client's records may be in this version, if it says that.
    pub(crate) fn record_limit(&self, version: Version) -> Option<RecordLimit> {
        RecordLimit::of_peer(self.record_size_limit?, version).ok()
    }

    fn read_extensions(
        &mut self,
        extensions: &mut Reader<'_>,
        ours: &Protocols,
    ) -> Result<(), Refusal> {
        let mut seen = List::<ExtensionType, { KNOWN.len() }>::new();
        let mut unknown = List::<ExtensionType, MAX_UNKNOWN>::new();
        let (mut has_psk, mut has_modes) = (false, false);
        while let Some((kind, content)) = extensions.next_extension()? {
            // RFC 8446 §4.2: none twice; §4.2.11: pre_shared_key is the last.
            if seen.contains(&kind) || unknown.contains(&kind) || has_psk {
                return Err(ILLEGAL);
            }
            let _ = match KNOWN.contains(&kind) {
                true => seen.push(kind),
                false => unknown.push(kind),
            };
            has_psk = kind == ExtensionType::PRE_SHARED_KEY;
            has_modes |= kind == ExtensionType::PSK_KEY_EXCHANGE_MODES;
            self.read_extension(kind, content, ours)?;
        }
        // RFC 8446 §4.2.9.
        match has_psk && !has_modes && self.offers_tls13 {
            true => Err(MISSING),
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
            // The responders that a client trusts are not looked at: there is one response.
            ExtensionType::STATUS_REQUEST => {
                if content.u8()? != OCSP {
                    // What it looks like is not known.
                    return Ok(());
                }
                content.vec16()?;
                content.vec16()?;
                self.asks_for_ocsp = true;
            }
            ExtensionType::SUPPORTED_GROUPS => {
                self.groups = Some(known(&mut content.filled16()?, Group::from_number)?);
            }
            ExtensionType::SIGNATURE_ALGORITHMS => {
                self.schemes = Some(known(&mut content.filled16()?, Scheme::from_number)?);
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
                        (best, None) => best,
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
            // RFC 8449 §4: whatever the version; max_fragment_length is not looked at here.
            ExtensionType::RECORD_SIZE_LIMIT => {
                let said = content.u16()?;
                RecordLimit::of_peer(said, Version::Tls13).map_err(|_| ILLEGAL)?;
                self.record_size_limit = Some(said);
            }
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
                    let key = list.vec16()?;
                    let Some(group) = Group::from_number(number) else {
                        continue;
                    };
                    // RFC 8446 §4.2.8: not two for one group.
                    if shares.iter().any(|share| share.group == group) {
                        return Err(ILLEGAL);
                    }
                    if key.rest().len() != group.share_len(Role::Client) {
                        return Err(ILLEGAL);
                    }
                    let key = place(&key)?;
                    shares.push(Share { group, key }).map_err(|_| ILLEGAL)?;
                }
            }
            // RFC 5746 §3.6: empty in a first handshake.
            ExtensionType::RENEGOTIATION_INFO => {
                if !content.vec8()?.is_empty() {
                    return Err(Refusal::new(Alert::HANDSHAKE_FAILURE));
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
            ExtensionType::CERTIFICATE_AUTHORITIES => {
                self.authorities = Some(crate::certificate_request::names(content)?);
                return Ok(());
            }
            // A client without TLS 1.3 means nothing by it.
            ExtensionType::PRE_SHARED_KEY if !self.offers_tls13 => return Ok(()),
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
        // One that is shorter than a hash is sent with a ticket of TLS 1.2, which does not
        // open; with another it does not match.
        if ticket.is_empty() || binder.is_empty() {
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

#[cfg(test)]
mod tests;

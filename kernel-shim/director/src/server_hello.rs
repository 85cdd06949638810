//! ServerHello and HelloRetryRequest, as a client reads them (RFC 8446 §4.1.3,
//! §4.1.4, RFC 5246 §7.4.1.3).

use ipc::control::Cause;
use ipc::segment::{Place, Ticket};
use ipc::tls::Protocol;
use tls::client_hello::NULL_COMPRESSION;
use tls::codec::Reader;
use tls::names::UNCOMPRESSED;
use tls::server_hello::RETRY;
use tls::{Alert, CipherSuite, ExtensionType, Group, LEGACY_VERSION, RecordLimit, Role, Version};

use crate::negotiation::Config;
use crate::script::{DECODE, ILLEGAL, Refusal, UNSUPPORTED};
use crate::template::place;

/// RFC 8446 §4.1.3, RFC 5246 §7.4.1.3.
const MAX_SESSION_ID: usize = 32;

/// What a server chose.
pub(crate) struct ServerHello {
    pub(crate) version: Version,
    pub(crate) random: [u8; 32],
    pub(crate) suite: CipherSuite,
    pub(crate) is_retry: bool,
    /// TLS 1.3: its group, and where its key share is; nowhere if it asks to retry.
    pub(crate) share: Option<(Group, Place)>,
    /// Where it is, in the body.
    pub(crate) cookie: Option<Place>,
    pub(crate) has_extended_master_secret: bool,
    /// TLS 1.2.
    pub(crate) alpn: Option<Protocol>,
    /// The session of the ticket that was offered is resumed.
    pub(crate) is_resumed: bool,
    /// TLS 1.2: a ticket will come.
    pub(crate) gives_ticket: bool,
    /// TLS 1.2: what a record for the server carries at most.
    pub(crate) record_limit: RecordLimit,
}

impl ServerHello {
    /// Parses the body, and insists that it answers what was asked, with the
    /// ticket that was offered.
    pub(crate) fn parse(
        body: &[u8],
        config: &Config,
        ticket: Option<&Ticket>,
    ) -> Result<Self, Refusal> {
        Self::parse_as(body, config, ticket, |version| config.accepts(version))
    }

    /// The same after a HelloRetryRequest, which chose TLS 1.3 (RFC 8446 §4.1.4).
    pub(crate) fn parse_second(
        body: &[u8],
        config: &Config,
        ticket: Option<&Ticket>,
    ) -> Result<Self, Refusal> {
        let second = Self::parse_as(body, config, ticket, |version| version == Version::Tls13);
        second.map_err(|refusal| match refusal.alert {
            Alert::PROTOCOL_VERSION => ILLEGAL,
            _ => refusal,
        })
    }

    fn parse_as(
        body: &[u8],
        config: &Config,
        ticket: Option<&Ticket>,
        accepts: impl Fn(Version) -> bool,
    ) -> Result<Self, Refusal> {
        let mut body = Reader::new(body);
        let legacy_version = body.u16()?;
        if legacy_version != LEGACY_VERSION {
            let cause = match legacy_version < LEGACY_VERSION {
                true => Cause::OldVersion,
                false => Cause::Version,
            };
            return Err(Refusal::because(Alert::PROTOCOL_VERSION, cause));
        }
        let random = body.array()?;
        let session_id = body.vec8()?.rest();
        if session_id.len() > MAX_SESSION_ID {
            return Err(DECODE);
        }
        let suite = CipherSuite::from_number(body.u16()?);
        let compression = body.u8()?;
        let mut extensions = match body.is_empty() {
            true => body,
            false => body.vec16()?,
        };
        body.end()?;
        // The version decides what all else means, wherever it stands.
        let version = version(extensions)?;
        if !accepts(version) {
            return Err(Refusal::because(Alert::PROTOCOL_VERSION, Cause::Version));
        }
        let suite = suite.filter(|suite| config.offers(*suite)).ok_or(ILLEGAL)?;
        if compression != NULL_COMPRESSION {
            return Err(ILLEGAL);
        }
        let mut hello = Self {
            version,
            random,
            suite,
            is_retry: random == RETRY,
            share: None,
            cookie: None,
            has_extended_master_secret: false,
            alpn: None,
            is_resumed: false,
            gives_ticket: false,
            record_limit: RecordLimit::NONE,
        };
        hello.read_extensions(&mut extensions, config, ticket)?;
        let is_13 = hello.version == Version::Tls13;
        // RFC 8446 §4.1.3: it is echoed. RFC 5077 §3.4: where it need not be,
        // that is how a ticket is accepted.
        let ours = session_id_of(config, ticket);
        let is_echo = !ours.is_empty() && session_id == ours;
        let offers_12 = ticket.is_some_and(|ticket| ticket.suite.version() == Version::Tls12);
        match is_13 {
            true if session_id != ours => return Err(ILLEGAL),
            true => {}
            // There is no such session.
            false if is_echo && !offers_12 => return Err(ILLEGAL),
            false => hello.is_resumed = is_echo,
        }
        if let Some(ticket) = ticket.filter(|_| hello.is_resumed) {
            hello.must_fit(ticket)?;
        }
        if hello.suite.version() != hello.version || (hello.is_retry && !is_13) {
            return Err(ILLEGAL);
        }
        Ok(hello)
    }

    /// The suite of a session that is resumed: TLS 1.3, one with the same hash
    /// (RFC 8446 §4.2.11); TLS 1.2, the same (RFC 5246 §7.4.1.3).
    fn must_fit(&self, ticket: &Ticket) -> Result<(), Refusal> {
        let fits = match self.version {
            Version::Tls13 => self.suite.hash_len() == ticket.suite.hash_len(),
            Version::Tls12 => self.suite == ticket.suite,
        };
        match fits {
            true => Ok(()),
            false => Err(ILLEGAL),
        }
    }

    fn read_extensions(
        &mut self,
        extensions: &mut Reader<'_>,
        config: &Config,
        ticket: Option<&Ticket>,
    ) -> Result<(), Refusal> {
        let offers_13 = ticket.is_some_and(|ticket| ticket.suite.version() == Version::Tls13);
        let mut seen = 0u8;
        while let Some((kind, content)) = extensions.next_extension()? {
            let bit = match (self.version, kind) {
                (Version::Tls13, ExtensionType::SUPPORTED_VERSIONS) => 1,
                (Version::Tls13, ExtensionType::KEY_SHARE) => 2,
                (Version::Tls13, ExtensionType::COOKIE) if self.is_retry => 4,
                (Version::Tls13, ExtensionType::PRE_SHARED_KEY) if offers_13 && !self.is_retry => 8,
                (Version::Tls12, ExtensionType::SERVER_NAME) if config.dns_name().is_some() => 1,
                (Version::Tls12, ExtensionType::EXTENDED_MASTER_SECRET) => 2,
                (Version::Tls12, ExtensionType::RENEGOTIATION_INFO) => 4,
                (Version::Tls12, ExtensionType::EC_POINT_FORMATS) => 8,
                (Version::Tls12, ExtensionType::ALPN) if !config.parameters.alpn.is_empty() => 16,
                (Version::Tls12, ExtensionType::SESSION_TICKET) if config.parameters.resumption => {
                    32
                }
                // Not its place (RFC 8422 §5.2), but servers put it there.
                (Version::Tls12, ExtensionType::SUPPORTED_GROUPS) => 64,
                (Version::Tls12, ExtensionType::RECORD_SIZE_LIMIT) => 128,
                _ => return Err(UNSUPPORTED),
            };
            if seen & bit != 0 {
                return Err(ILLEGAL);
            }
            seen |= bit;
            self.read_extension(kind, content, config)?;
        }
        Ok(())
    }

    fn read_extension(
        &mut self,
        kind: ExtensionType,
        mut content: Reader<'_>,
        config: &Config,
    ) -> Result<(), Refusal> {
        match kind {
            ExtensionType::KEY_SHARE => {
                let group = Group::from_number(content.u16()?);
                let group = group
                    .filter(|group| config.groups().contains(group))
                    .ok_or(ILLEGAL)?;
                let key = match self.is_retry {
                    true => place(&content)?,
                    false => {
                        let key = content.vec16()?;
                        if key.rest().len() != group.share_len(Role::Server) {
                            return Err(ILLEGAL);
                        }
                        place(&key)?
                    }
                };
                self.share = Some((group, key));
            }
            ExtensionType::COOKIE => {
                let cookie = content.vec16()?;
                if cookie.is_empty() {
                    return Err(DECODE);
                }
                self.cookie = Some(place(&cookie)?);
            }
            // RFC 8446 §4.2.11: one was offered, the first.
            ExtensionType::PRE_SHARED_KEY => {
                if content.u16()? != 0 {
                    return Err(ILLEGAL);
                }
                self.is_resumed = true;
            }
            ExtensionType::SESSION_TICKET => self.gives_ticket = true,
            ExtensionType::RECORD_SIZE_LIMIT => {
                self.record_limit = record_limit(&mut content, self.version)?;
            }
            ExtensionType::EXTENDED_MASTER_SECRET => self.has_extended_master_secret = true,
            ExtensionType::ALPN => self.alpn = Some(protocol(&mut content, config)?),
            // RFC 5746 §3.4: empty in a first handshake.
            ExtensionType::RENEGOTIATION_INFO => {
                let first = content.vec8()?;
                first
                    .end()
                    .map_err(|_| Refusal::new(Alert::HANDSHAKE_FAILURE))?;
            }
            // RFC 8422 §5.2: uncompressed is among them.
            ExtensionType::EC_POINT_FORMATS => {
                let formats = content.vec8()?.rest();
                if !formats.contains(&UNCOMPRESSED) {
                    return Err(ILLEGAL);
                }
            }
            ExtensionType::SUPPORTED_VERSIONS => {
                content.u16()?;
            }
            ExtensionType::SUPPORTED_GROUPS => return Ok(()),
            _ => {}
        }
        Ok(content.end()?)
    }
}

/// The version that a server chose (RFC 8446 §4.2.1).
pub(crate) fn version(mut extensions: Reader<'_>) -> Result<Version, Refusal> {
    while let Some((kind, mut content)) = extensions.next_extension()? {
        if kind == ExtensionType::SUPPORTED_VERSIONS {
            let chosen = content.u16()?;
            content.end()?;
            return match chosen == Version::Tls13.number() {
                true => Ok(Version::Tls13),
                false => Err(ILLEGAL),
            };
        }
    }
    Ok(Version::Tls12)
}

/// The session identifier of a hello with this ticket. RFC 8446 §D.4: one that offers TLS
/// 1.3 has one in any case, so that what comes looks like a resumption of TLS 1.2.
pub(crate) fn session_id_of<'a>(config: &'a Config, ticket: Option<&'a Ticket>) -> &'a [u8] {
    match ticket {
        Some(ticket) if ticket.suite.version() == Version::Tls12 => &ticket.session_id,
        _ if config.accepts(Version::Tls13) => &config.session_id,
        _ => &[],
    }
}

/// How long the server's records may be (RFC 8449 §4).
pub(crate) fn record_limit(
    content: &mut Reader<'_>,
    version: Version,
) -> Result<RecordLimit, Refusal> {
    RecordLimit::of_peer(content.u16()?, version).map_err(|_| ILLEGAL)
}

/// The one application protocol that a server chose (RFC 7301 §3.1).
pub(crate) fn protocol(content: &mut Reader<'_>, config: &Config) -> Result<Protocol, Refusal> {
    let mut list = content.vec16()?;
    let name = list.vec8()?.rest();
    list.end()?;
    if name.is_empty() {
        return Err(DECODE);
    }
    let ours = config.parameters.alpn.iter().find(|own| ***own == *name);
    ours.cloned().ok_or(ILLEGAL)
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;

    use ipc::bounded::List;
    use ipc::control::Parameters;
    use ipc::tls::PeerAuthentication;

    use super::*;

    #[test]
    fn a_server_hello_behind_a_retry_is_of_tls_1_3_or_illegal() {
        let config = Config::new(Box::new(Parameters {
            versions: List::from_items([Version::Tls13, Version::Tls12]).unwrap(),
            suites: List::new(),
            allow_static_rsa: false,
            peer_schemes: List::new(),
            groups: List::new(),
            keyrings: List::new(),
            peer_authentication: PeerAuthentication::None,
            server_name: None,
            alpn: List::new(),
            segment_size: 1400,
            resumption: false,
            expose_keys: false,
        }));
        let start = [&[3, 3], &[5; 32][..], &[32], &[0; 32], &[0x13, 1, 0]].concat();
        let share = [&[0, 51, 0, 36, 0, 0x1d, 0, 32], &[9; 32][..]].concat();
        let second = |version: &[u8]| {
            let length = u16::try_from(share.len() + version.len()).unwrap();
            let body = [&start[..], &length.to_be_bytes(), &share, version].concat();
            ServerHello::parse_second(&body, &config, None).err()
        };
        assert_eq!(second(&[0, 43, 0, 2, 3, 4]), None);
        assert_eq!(second(&[]), Some(ILLEGAL));
        assert_eq!(second(&[0, 43, 0, 2, 3, 3]), Some(ILLEGAL));
    }
}

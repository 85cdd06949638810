//! What a server agrees to: version, suite, group, key ring, protocol.

use alloc::boxed::Box;

use ipc::bounded::{Bytes, List};
use ipc::control::{Cause, HandshakeError, Parameters, RequestError};
use ipc::keystore::KeyKind;
use ipc::segment::{MAX_RINGS, RingPlace};
use ipc::tls::{PeerAuthentication, Protocol, Schemes, ServerName};
use tls::{Alert, CipherSuite, Group, RecordLimit, Role, Scheme, Version};

use crate::client_hello::{Alpn, ClientHello, Share};
use crate::script::{ILLEGAL, INTERNAL, MISSING, Refusal};

/// Nothing of that kind is in common.
const fn no_common(cause: Cause) -> Refusal {
    Refusal::because(Alert::HANDSHAKE_FAILURE, cause)
}

/// What was asked for, and what the key rings are good for.
pub(crate) struct Config {
    pub(crate) parameters: Box<Parameters>,
    pub(crate) rings: List<Option<KeyKind>, MAX_RINGS>,
    /// What each of them signs by.
    pub(crate) schemes: List<Schemes, MAX_RINGS>,
    /// Bytes of the list of names that a CertificateRequest carries, by ring.
    pub(crate) authorities: List<u16, MAX_RINGS>,
    /// Which of them have an OCSP response to show.
    pub(crate) staples: List<bool, MAX_RINGS>,
    /// Client: what its hello says where no ticket says it.
    pub(crate) session_id: [u8; 32],
}

/// What the verdicts on the rings said: which are good for the name that the client asks for,
/// and which chains those have issued whom it names. Empty where that was not asked.
#[derive(Default)]
pub(crate) struct Fitting<'a> {
    pub(crate) named: &'a [bool],
    pub(crate) issued: &'a [bool],
}

impl<'a> Fitting<'a> {
    /// Nobody names who should have issued a chain.
    pub(crate) const fn named(named: &'a [bool]) -> Self {
        Self { named, issued: &[] }
    }

    /// How well the ring at that place fits: the name comes before the authorities.
    fn rank(&self, place: usize) -> (bool, bool) {
        let of = |fits: &[bool]| fits.get(place).copied().unwrap_or(false);
        (of(self.named), of(self.issued))
    }
}

/// How a client shows who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) ring: RingPlace,
    pub(crate) scheme: Scheme,
}

/// What a handshake with static RSA agrees on.
pub(crate) struct StaticPlan {
    pub(crate) suite: CipherSuite,
    pub(crate) ring: RingPlace,
    pub(crate) staples: bool,
    pub(crate) alpn: Option<Protocol>,
    pub(crate) server_name: Option<ServerName>,
    pub(crate) record_limit: Option<RecordLimit>,
    pub(crate) client_version: u16,
}

/// What the handshake agrees on.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) suite: CipherSuite,
    pub(crate) group: Group,
    pub(crate) ring: RingPlace,
    pub(crate) scheme: Scheme,
    pub(crate) alpn: Option<Protocol>,
    pub(crate) server_name: Option<ServerName>,
    pub(crate) client_random: [u8; 32],
    pub(crate) session_id: Bytes<32>,
    /// TLS 1.3: ChangeCipherSpec went out with a HelloRetryRequest.
    pub(crate) compatibility_sent: bool,
    /// TLS 1.3: the place of the ticket whose session is resumed.
    pub(crate) resumed: Option<u16>,
    /// The client takes tickets, and is to have some.
    pub(crate) gives_tickets: bool,
    /// The client asks for an OCSP response, and the ring has one.
    pub(crate) staples: bool,
    /// What a record for the client carries at most, if it says that.
    pub(crate) record_limit: Option<RecordLimit>,
}

impl Config {
    pub(crate) fn new(parameters: Box<Parameters>) -> Self {
        Self {
            parameters,
            rings: List::new(),
            schemes: List::new(),
            authorities: List::new(),
            staples: List::new(),
            session_id: [0; 32],
        }
    }

    /// Whether the request can be met at all (R6).
    pub(crate) fn check(&self, role: Role) -> Result<(), HandshakeError> {
        let wrong = |what| Err(HandshakeError::Request(what));
        let has_suite = |version: &Version| {
            let fits = |suite: &CipherSuite| {
                let mut kinds = self.rings.iter().flatten();
                // A client needs no key for its suites.
                suite.version() == *version
                    && !suite.is_static_rsa()
                    && (role == Role::Client || kinds.any(|kind| is_for(*suite, *kind)))
            };
            let has_key = role == Role::Client || self.rings.contains(&Some(KeyKind::Rsa));
            let has_static = self.static_suites().next().is_some() && has_key;
            self.suites().iter().any(fits) || (*version == Version::Tls12 && has_static)
        };
        // No suite is on because it is named alone.
        let is_denied = |suite: &CipherSuite| suite.is_static_rsa();
        if !self.parameters.allow_static_rsa && self.suites().iter().any(is_denied) {
            return wrong(RequestError::NoSuite);
        }
        let has_group = |version: &Version| self.groups().iter().any(|g| g.is_for(*version));
        let versions = &self.parameters.versions;
        if !versions
            .iter()
            .all(|version| has_suite(version) && has_group(version))
        {
            return wrong(RequestError::NoSuite);
        }
        match (role, &self.parameters.server_name) {
            (Role::Client, None) => wrong(RequestError::Unsupported),
            _ => Ok(()),
        }
    }

    /// Client: whether the suite was offered.
    pub(crate) fn offers(&self, suite: CipherSuite) -> bool {
        self.offered().any(|offered| offered == suite)
    }

    /// Client: the suites to offer, those of static RSA at the end.
    pub(crate) fn offered(&self) -> impl Iterator<Item = CipherSuite> {
        let others = self.suites().iter().copied();
        others
            .filter(|suite| !suite.is_static_rsa())
            .chain(self.static_suites())
            .filter(|suite| self.accepts(suite.version()))
    }

    /// Client: the name to ask for (RFC 6066 §3: no address).
    pub(crate) fn dns_name(&self) -> Option<&str> {
        let name = self.parameters.server_name.as_deref()?;
        name.parse::<core::net::IpAddr>().is_err().then_some(name)
    }

    pub(crate) fn accepts(&self, version: Version) -> bool {
        self.parameters.versions.contains(&version)
    }

    /// Suites in the order of preference.
    pub(crate) fn suites(&self) -> &[CipherSuite] {
        match &self.parameters.suites[..] {
            [] => &CipherSuite::ALL,
            suites => suites,
        }
    }

    /// The suites of static RSA that are on.
    fn static_suites(&self) -> impl Iterator<Item = CipherSuite> {
        let named = match &self.parameters.suites[..] {
            [] => &CipherSuite::STATIC_RSA[..],
            suites => suites,
        };
        let is_on = self.parameters.allow_static_rsa;
        let suites = named.iter().copied();
        suites.filter(move |suite| is_on && suite.is_static_rsa())
    }

    /// Groups in the order of preference.
    pub(crate) fn groups(&self) -> &[Group] {
        match &self.parameters.groups[..] {
            [] => &Group::DEFAULT,
            groups => groups,
        }
    }

    /// Client: the group to offer a key share of, and the one whose share comes with it:
    /// its classical half, for a server that does not know the hybrid.
    pub(crate) fn shares(&self) -> Option<(Group, Option<Group>)> {
        let groups = self.groups();
        let first = *groups.first()?;
        let half = first.classical().filter(|half| groups.contains(half));
        Some((first, half))
    }

    /// Whether the client is asked for a certificate.
    pub(crate) fn asks_client(&self) -> bool {
        self.parameters.peer_authentication != PeerAuthentication::None
    }

    /// The highest version in common (RFC 8446 §4.2.1).
    pub(crate) fn version(&self, hello: &ClientHello) -> Result<Version, Refusal> {
        let has_13 = self.accepts(Version::Tls13);
        if has_13 && hello.offers_tls13 {
            return Ok(Version::Tls13);
        }
        // RFC 7507 §3.
        if hello.is_fallback && has_13 {
            return Err(Refusal::new(Alert::INAPPROPRIATE_FALLBACK));
        }
        match self.accepts(Version::Tls12) && hello.offers_tls12 {
            true => Ok(Version::Tls12),
            false => Err(Refusal::because(
                Alert::PROTOCOL_VERSION,
                match hello.offers_tls12 || hello.offers_tls13 {
                    true => Cause::Version,
                    false => Cause::OldVersion,
                },
            )),
        }
    }

    /// Chooses everything but the group.
    pub(crate) fn plan(
        &self,
        version: Version,
        hello: &ClientHello,
        fitting: &Fitting<'_>,
    ) -> Result<Plan, Refusal> {
        let missing = |what| match version {
            Version::Tls13 => MISSING,
            Version::Tls12 => no_common(what),
        };
        let schemes = hello.schemes.as_ref().ok_or(missing(Cause::Scheme))?;
        let groups = hello.groups.as_ref().ok_or(missing(Cause::Group))?;
        let suite = |kind| {
            self.suites().iter().copied().find(|suite| {
                suite.version() == version && hello.suites.contains(suite) && is_for(*suite, kind)
            })
        };
        let common = |place: usize, kind: &Option<KeyKind>| {
            let kind = (*kind)?;
            let scheme = self.scheme(place, schemes, version)?;
            let has_curve = kind.curve().is_none_or(|curve| groups.contains(&curve));
            if version == Version::Tls12 && !has_curve {
                return None;
            }
            Some((scheme, suite(kind)?))
        };
        // Why there is none, in the order in which they would be mended.
        let lacking = || {
            let rings = self.rings.iter().enumerate();
            let rings = rings.filter_map(|(place, kind)| Some((place, (*kind)?)));
            let mut fitting = rings.filter(|(_, kind)| suite(*kind).is_some()).peekable();
            if fitting.peek().is_none() {
                return Cause::Suite;
            }
            let can_sign = |(place, _)| self.scheme(place, schemes, version).is_some();
            match fitting.any(can_sign) {
                true => Cause::Group,
                false => Cause::Scheme,
            }
        };
        let usable = || {
            let rings = self.rings.iter().enumerate();
            rings.filter_map(|(place, kind)| Some((place, common(place, kind)?)))
        };
        // The first of those that fit best.
        let (place, (scheme, suite)) = usable()
            .rev()
            .max_by_key(|(place, _)| fitting.rank(*place))
            .ok_or_else(|| no_common(lacking()))?;
        let mut ours = self.groups().iter();
        let group = ours.find(|group| group.is_for(version) && groups.contains(group));
        Ok(Plan {
            suite,
            group: *group.ok_or(no_common(Cause::Group))?,
            ring: RingPlace::try_from(place).map_err(|_| INTERNAL)?,
            staples: self.staples(hello, place),
            record_limit: hello.record_limit(version),
            scheme,
            alpn: self.protocol(hello)?,
            server_name: hello.server_name.clone(),
            client_random: hello.random,
            session_id: hello.session_id.clone(),
            compatibility_sent: false,
            resumed: None,
            gives_tickets: self.parameters.resumption
                && match version {
                    Version::Tls13 => hello.has_psk_dhe,
                    Version::Tls12 => hello.ticket.is_some(),
                },
        })
    }

    /// Chooses for a client with which nothing better is in common; `None` if this is not
    /// either.
    pub(crate) fn static_plan(
        &self,
        hello: &ClientHello,
        named: &[bool],
    ) -> Result<Option<StaticPlan>, Refusal> {
        let mut suites = self.static_suites();
        let Some(suite) = suites.find(|suite| hello.suites.contains(suite)) else {
            return Ok(None);
        };
        let usable = || {
            let rings = self.rings.iter().enumerate();
            rings.filter_map(|(place, kind)| (*kind == Some(KeyKind::Rsa)).then_some(place))
        };
        let is_named = |place: &usize| named.get(*place).copied().unwrap_or(false);
        let Some(place) = usable().find(is_named).or_else(|| usable().next()) else {
            return Ok(None);
        };
        Ok(Some(StaticPlan {
            suite,
            ring: RingPlace::try_from(place).map_err(|_| INTERNAL)?,
            staples: self.staples(hello, place),
            alpn: self.protocol(hello)?,
            server_name: hello.server_name.clone(),
            record_limit: hello.record_limit(Version::Tls12),
            client_version: hello.version,
        }))
    }

    /// Whether the OCSP response of a ring is shown: never to a client that does not ask
    /// (RFC 6066 §8).
    fn staples(&self, hello: &ClientHello, place: usize) -> bool {
        hello.asks_for_ocsp && self.staples.get(place).copied().unwrap_or(false)
    }

    /// The share to agree with: of the first group that the client sent one
    /// for.
    pub(crate) fn share(&self, hello: &ClientHello) -> Result<Option<Share>, Refusal> {
        let shares = hello.shares.as_ref().ok_or(MISSING)?;
        let offered = hello.groups.as_ref().ok_or(MISSING)?;
        // RFC 8446 §4.2.8: only for groups that are offered.
        if !shares.iter().all(|share| offered.contains(&share.group)) {
            return Err(ILLEGAL);
        }
        let of = |group: &Group| shares.iter().find(|share| share.group == *group);
        Ok(self.groups().iter().find_map(of).copied())
    }

    /// Client: the rings whose keys sign as the server accepts, and how.
    pub(crate) fn proofs(&self, accepted: &[Scheme], version: Version) -> List<Proof, MAX_RINGS> {
        let proofs = (0..self.rings.len()).filter_map(|place| {
            let scheme = self.scheme(place, accepted, version)?;
            let ring = RingPlace::try_from(place).ok()?;
            Some(Proof { ring, scheme })
        });
        // There are no more than rings.
        List::from_items(proofs).unwrap_or_default()
    }

    /// How the key of a ring signs, by one of `accepted`.
    fn scheme(&self, place: usize, accepted: &[Scheme], version: Version) -> Option<Scheme> {
        let kind = (*self.rings.get(place)?)?;
        let own = self.schemes.get(place).map_or(&[][..], |schemes| schemes);
        Scheme::choose(own, |scheme| {
            KeyKind::of(scheme) == kind
                && accepted.contains(&scheme)
                && (version == Version::Tls12 || scheme.in_tls13())
        })
    }

    /// What the peer is told that it may sign by.
    pub(crate) fn peer_schemes(&self) -> &[Scheme] {
        Scheme::offered(&self.parameters.peer_schemes)
    }

    /// RFC 7301 §3.2.
    fn protocol(&self, hello: &ClientHello) -> Result<Option<Protocol>, Refusal> {
        let ours = &self.parameters.alpn;
        match hello.alpn {
            Alpn::Absent => Ok(None),
            Alpn::Common(place) => Ok(ours.get(place).cloned()),
            Alpn::Disjoint if ours.is_empty() => Ok(None),
            Alpn::Disjoint => Err(Refusal::new(Alert::NO_APPLICATION_PROTOCOL)),
        }
    }
}

/// Whether a key of `kind` can authenticate `suite` (RFC 8422 §2: Ed25519 goes
/// with the ECDSA suites).
fn is_for(suite: CipherSuite, kind: KeyKind) -> bool {
    match suite {
        CipherSuite::EcdheRsaAes128GcmSha256
        | CipherSuite::EcdheRsaAes256GcmSha384
        | CipherSuite::EcdheRsaChaCha20Poly1305Sha256 => kind == KeyKind::Rsa,
        CipherSuite::EcdheEcdsaAes128GcmSha256
        | CipherSuite::EcdheEcdsaAes256GcmSha384
        | CipherSuite::EcdheEcdsaChaCha20Poly1305Sha256 => kind != KeyKind::Rsa,
        // No certificate authenticates them; a decryption does.
        CipherSuite::RsaAes128GcmSha256 | CipherSuite::RsaAes256GcmSha384 => false,
        CipherSuite::Aes128GcmSha256
        | CipherSuite::Aes256GcmSha384
        | CipherSuite::ChaCha20Poly1305Sha256 => true,
    }
}

//! The tables `tls`, of listeners and of backends.

use ipc::bounded::List;
use ipc::control::Parameters;
use ipc::keystore::KeyKind;
use ipc::provision::{Keyring, Tls};
use ipc::tls::{Label, Mode, PeerAuthentication, Protocol, ServerName};
use tls::{CipherSuite, Group, Role, Scheme, Version};

use crate::chain;
use crate::keyring::{self, Rings};
use crate::problem::Reported;
use crate::words::{Word, Words, each, if_there};

mod keys;

pub(crate) use keys::{MAX_PROTOCOL, MAX_PROTOCOLS, RINGS, TABLE};

/// What a role can be.
const ROLES: [(&str, Role); 2] = [("server", Role::Server), ("client", Role::Client)];
/// What a version can be.
const VERSIONS: [(&str, Version); 2] = [("1.3", Version::Tls13), ("1.2", Version::Tls12)];
/// Whether a server asks for a certificate.
const CLIENT_AUTH: [(&str, PeerAuthentication); 3] = [
    ("none", PeerAuthentication::None),
    ("request", PeerAuthentication::Request),
    ("require", PeerAuthentication::Require),
];
/// As many key rings as a handshake request can name.
const MAX_RINGS: usize = 4;
const DEFAULT_TIMEOUT_MS: u32 = 10_000;
/// What most servers send at most in one record's fragment (RFC 8446 §5.1).
const DEFAULT_SEGMENT_SIZE: u16 = 16384;

/// What a mode can be.
pub(crate) const MODES: [(&str, Mode); 2] = [
    ("autonomous", Mode::Autonomous),
    ("directed", Mode::Directed),
];

/// Reads the table of a listener (where this system is the server) or of a
/// backend (the client).
pub(crate) fn read(word: Word<'_>, place: Role, keyrings: &Rings<'_>) -> Result<Tls, Reported> {
    let words = word.table()?;
    let there = |name| words.optional(name);
    let role = role(&words, place);
    let mode = if_there(there("mode"), |word| word.choice(&MODES));
    let rings = words.required("keyring");
    let rings = rings.and_then(|word| self::rings(word, place, keyrings));
    let versions = if_there(there("versions"), |word| word.choices(&VERSIONS));
    let alpn = if_there(there("alpn"), alpn);
    let server_name = server_name(&words, place);
    let handshake_timeout_ms = if_there(there("handshake_timeout_ms"), |word| word.number());
    let segment_size = if_there(there("segment_size"), |word| word.number());
    let flag = |name| if_there(there(name), |word| word.flag());
    let (expose_keys, resumption) = (flag("expose_keys"), flag("resumption"));
    // What these can be depends on those before.
    let (mode, versions) = (mode?.unwrap_or(Mode::Autonomous), versions?);
    let versions = versions.unwrap_or_else(|| VERSIONS.map(|(_, version)| version).to_vec());
    let groups = if_there(there("groups"), |word| groups(&word, &versions));
    let rings = rings?;
    let asked = Asked {
        role: place,
        mode,
        versions: &versions,
        used: used(&rings, keyrings),
    };
    let peer_authentication = if_there(there("client_auth"), |word| client_auth(word, &asked));
    let allow_static_rsa = if_there(there("allow_static_rsa"), |word| static_rsa(word, &asked));
    let allow_static_rsa = allow_static_rsa?.unwrap_or(false);
    let suites = if_there(there("suites"), |word| {
        suites(word, &asked, allow_static_rsa)
    });
    let peer_schemes = if_there(there("peer_signature_schemes"), |word| {
        peer_schemes(&word, &versions)
    });
    check_signatures(&word, &asked)?;
    let full = |_| word.problem("a list in tls is too long", "name each value once");
    Ok(Tls {
        role: role?,
        mode,
        parameters: Parameters {
            suites: List::from_items(suites?.unwrap_or_default()).map_err(full)?,
            allow_static_rsa,
            peer_schemes: List::from_items(peer_schemes?.unwrap_or_default()).map_err(full)?,
            groups: List::from_items(groups?.unwrap_or_default()).map_err(full)?,
            versions: List::from_items(versions).map_err(full)?,
            keyrings: List::from_items(rings).map_err(full)?,
            peer_authentication: peer_authentication?.unwrap_or(PeerAuthentication::None),
            server_name: server_name?,
            alpn: alpn?.unwrap_or_default(),
            segment_size: segment_size?.unwrap_or(DEFAULT_SEGMENT_SIZE),
            resumption: resumption?.unwrap_or(true),
            expose_keys: expose_keys?.unwrap_or(false),
        },
        handshake_timeout_ms: handshake_timeout_ms?.unwrap_or(DEFAULT_TIMEOUT_MS),
    })
}

/// What a table says that other keys of it depend on.
struct Asked<'a> {
    role: Role,
    mode: Mode,
    versions: &'a [Version],
    /// The key rings that it names.
    used: Vec<&'a Keyring>,
}

fn used<'a>(labels: &[Label], keyrings: &'a Rings<'_>) -> Vec<&'a Keyring> {
    let rings = keyrings.good.0.iter();
    rings.filter(|ring| labels.contains(&ring.label)).collect()
}

/// Each version needs one that is for it.
fn groups(word: &Word<'_>, versions: &[Version]) -> Result<Vec<Group>, Reported> {
    let groups = word.choices(&Group::ALL.map(|group| (group.name(), group)))?;
    let is_met = |version: &Version| groups.iter().any(|group| group.is_for(*version));
    match versions.iter().all(is_met) {
        true => Ok(groups),
        false => Err(word.problem(
            "these groups are for TLS 1.3 alone, and versions has 1.2",
            "name another group too, or say versions = [\"1.3\"]",
        )),
    }
}

/// A peer needs one for each version.
fn peer_schemes(word: &Word<'_>, versions: &[Version]) -> Result<Vec<Scheme>, Reported> {
    let schemes = word.choices(&Scheme::ALL.map(|scheme| (scheme.name(), scheme)))?;
    match versions.iter().all(|version| signs(&schemes, *version)) {
        true => Ok(schemes),
        false => Err(word.problem(
            "none of these signature schemes is for TLS 1.3, which versions has",
            "name one that is not of PKCS#1 too, or say versions = [\"1.2\"]",
        )),
    }
}

/// A server's key that signs by some schemes alone has one for each version.
fn check_signatures(word: &Word<'_>, asked: &Asked<'_>) -> Result<(), Reported> {
    let mut wrong = asked.used.iter().filter(|ring| {
        let is_met = |version: &Version| signs(&ring.schemes, *version);
        asked.role == Role::Server && !asked.versions.iter().all(is_met)
    });
    match wrong.next() {
        None => Ok(()),
        Some(ring) => Err(word.problem(
            format!(
                "key ring \"{}\" signs by no scheme of TLS 1.3, which versions has",
                ring.label
            ),
            "add one to its signature_schemes, or say versions = [\"1.2\"]",
        )),
    }
}

/// Whether one of `schemes`, or of all, is for a version.
fn signs(schemes: &[Scheme], version: Version) -> bool {
    Scheme::choose(schemes, |scheme| {
        version == Version::Tls12 || scheme.in_tls13()
    })
    .is_some()
}

fn role(words: &Words<'_>, place: Role) -> Result<Role, Reported> {
    let where_to = match place {
        Role::Server => "a listener is a server: role = \"client\" is for a backend",
        Role::Client => "to a backend the gateway is a client: role = \"client\"",
    };
    let word = words.required("role")?;
    let role = word.choice(&ROLES)?;
    match role == place {
        true => Ok(role),
        false => Err(word.problem(
            format!("role = \"{}\" does not belong here", word.text()?),
            where_to,
        )),
    }
}

/// Whom a client expects: a DNS name or an IP address.
fn server_name(words: &Words<'_>, role: Role) -> Result<Option<ServerName>, Reported> {
    const EXAMPLE: &str = "\"backend.example\"";
    let word = match role {
        Role::Client => words.required("server_name")?,
        Role::Server => match words.optional("server_name") {
            Some(word) => {
                return Err(word.problem(
                    "server_name is for a client, which expects one server",
                    "take it out: a server answers to the names of its key rings",
                ));
            }
            None => return Ok(None),
        },
    };
    let text = word.text()?;
    let name = rustls_pki_types::ServerName::try_from(text).ok();
    let name = name.and_then(|_| ServerName::from_text(text).ok());
    name.map(Some).ok_or_else(|| {
        word.problem(
            format!("server_name \"{text}\" is no DNS name and no IP address"),
            format!("write the name in the backend's certificate, such as {EXAMPLE}"),
        )
    })
}

/// The labels of key rings that exist, and serve a `role`.
pub(crate) fn rings(
    word: Word<'_>,
    role: Role,
    keyrings: &Rings<'_>,
) -> Result<Vec<Label>, Reported> {
    let items = word.one_or_more()?;
    if let Some(item) = items.get(MAX_RINGS) {
        return Err(item.problem(
            format!("more than {MAX_RINGS} key rings for one listener"),
            "spread the names over several listeners",
        ));
    }
    let mut labels = Vec::new();
    each(items, |item| {
        let label = keyring::label(item)?;
        let rings = &keyrings.good.0;
        let Some(ring) = rings.iter().find(|ring| ring.label == label) else {
            if let Some(reported) = keyrings.reported(&label) {
                return Err(reported);
            }
            let known: Vec<String> = rings
                .iter()
                .map(|ring| format!("\"{}\"", ring.label))
                .collect();
            return Err(item.problem(
                format!("there is no key ring \"{label}\""),
                format!("add it, or name one of: {}", known.join(", ")),
            ));
        };
        if role == Role::Server && ring.key.is_none() {
            return Err(item.problem(
                format!("key ring \"{label}\" has no key, and a server needs one"),
                "add chain and key to it, or name another",
            ));
        }
        if role == Role::Client && ring.trust.is_empty() {
            return Err(item.problem(
                format!("key ring \"{label}\" trusts nobody: every backend would be refused"),
                "add trust = \"backends-ca.pem\" to it, or name another",
            ));
        }
        chain::check_use(&ring.chain, role).map_err(|complaint| {
            let reason = format!("key ring \"{label}\": {}", complaint.reason);
            item.problem(reason, complaint.remedy)
        })?;
        if labels.contains(&label) {
            return Err(item.problem(
                format!("key ring \"{label}\" is named twice"),
                "name it once; the first of a list is for clients that ask for no name",
            ));
        }
        labels.push(label.clone());
        Ok(label)
    })
}

/// The key that allows suites without forward secrecy, for peers that have no other.
fn static_rsa(word: Word<'_>, asked: &Asked<'_>) -> Result<bool, Reported> {
    if !word.flag()? {
        return Ok(false);
    }
    if asked.mode != Mode::Directed {
        return Err(word.problem(
            "static RSA exists in directed mode alone",
            "write mode = \"directed\", or take allow_static_rsa out",
        ));
    }
    if !asked.versions.contains(&Version::Tls12) {
        return Err(word.problem(
            "static RSA belongs to TLS 1.2, which versions does not name",
            "take allow_static_rsa out, or add \"1.2\"",
        ));
    }
    let is_rsa = |kind: Option<KeyKind>| kind == Some(KeyKind::Rsa);
    let mut used = asked.used.iter();
    let mut has_key = used.any(|ring| is_rsa(ring.key.as_ref().map(|key| key.kind)));
    // As client it is the server's key.
    has_key |= asked.role == Role::Client;
    match has_key {
        true => Ok(true),
        false => Err(word.problem(
            "static RSA needs a key ring with an RSA key",
            "name a key ring with an RSA key, or take allow_static_rsa out",
        )),
    }
}

/// The suites with their names.
fn every_suite() -> Vec<(&'static str, CipherSuite)> {
    let every = CipherSuite::ALL.into_iter().chain(CipherSuite::STATIC_RSA);
    every.map(|suite| (suite.name(), suite)).collect()
}

fn suites(
    word: Word<'_>,
    asked: &Asked<'_>,
    allow_static_rsa: bool,
) -> Result<Vec<CipherSuite>, Reported> {
    let versions = asked.versions;
    let suites = word.choices(&every_suite())?;
    if let Some(suite) = suites.iter().find(|suite| suite.is_static_rsa())
        && !allow_static_rsa
    {
        return Err(word.problem(
            format!("{} is a suite of static RSA, which is off", suite.name()),
            "take it out, or write allow_static_rsa = true",
        ));
    }
    for version in versions {
        let name = version_name(*version);
        let of_version = suites.iter().filter(|suite| suite.version() == *version);
        if of_version.clone().next().is_none() {
            return Err(word.problem(
                format!("no suite of TLS {name} is among the suites, but versions names it"),
                format!("name a suite of TLS {name}, or take \"{name}\" out of versions"),
            ));
        }
        // What fits the server's key, a client learns from the server.
        for ring in asked.used.iter().filter(|_| asked.role == Role::Server) {
            let kind = ring.key.as_ref().map(|key| key.kind);
            if !of_version.clone().any(|suite| fits(*suite, kind)) {
                return Err(word.problem(
                    format!(
                        "no suite of TLS {name} fits the key of key ring \"{}\"",
                        ring.label
                    ),
                    "name a suite whose name has the key's kind: ECDSA (also for Ed25519) or RSA",
                ));
            }
        }
    }
    if let Some(suite) = suites.iter().find(|s| !versions.contains(&s.version())) {
        return Err(word.problem(
            format!(
                "{} is a suite of TLS {}, which versions does not name",
                suite.name(),
                version_name(suite.version())
            ),
            "take it out, or add the version",
        ));
    }
    Ok(suites)
}

fn version_name(version: Version) -> &'static str {
    let mut versions = VERSIONS.iter();
    let found = versions.find(|(_, other)| *other == version);
    found.map_or("?", |(name, _)| name)
}

/// Whether a key can be used with a suite (RFC 8446 §B.4, RFC 8422 §2.1).
fn fits(suite: CipherSuite, key: Option<KeyKind>) -> bool {
    match (suite.version(), key) {
        (_, None) => false,
        (Version::Tls13, _) => true,
        (Version::Tls12, Some(KeyKind::Rsa)) => {
            suite.is_static_rsa() || suite.name().starts_with("TLS_ECDHE_RSA_")
        }
        (Version::Tls12, Some(_)) => suite.name().starts_with("TLS_ECDHE_ECDSA_"),
    }
}

fn alpn(word: Word<'_>) -> Result<List<Protocol, MAX_PROTOCOLS>, Reported> {
    let mut names = List::new();
    for item in word.one_or_more()? {
        let text = item.short_text()?;
        let too_many = |_| {
            item.problem(
                format!("more than {MAX_PROTOCOLS} ALPN names"),
                format!("name {MAX_PROTOCOLS} at most"),
            )
        };
        let name = Protocol::from_slice(text.as_bytes()).map_err(too_many)?;
        if names.contains(&name) {
            return Err(item.problem(
                format!("alpn names \"{text}\" twice"),
                "name it once, where its preference is",
            ));
        }
        names.push(name).map_err(too_many)?;
    }
    Ok(names)
}

fn client_auth(word: Word<'_>, asked: &Asked<'_>) -> Result<PeerAuthentication, Reported> {
    if asked.role == Role::Client {
        return Err(word.problem(
            "client_auth is for a server; a client always has the server's certificate checked",
            "take it out",
        ));
    }
    let wanted = word.choice(&CLIENT_AUTH)?;
    let mut used = asked.used.iter();
    match used.find(|ring| ring.trust.is_empty()) {
        Some(ring) if wanted != PeerAuthentication::None => Err(word.problem(
            format!(
                "client_auth asks for certificates, but key ring \"{}\" trusts nobody",
                ring.label
            ),
            "add trust = \"client-ca.pem\" to the key ring, or write \"none\"",
        )),
        _ => Ok(wanted),
    }
}

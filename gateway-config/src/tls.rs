//! The tables `tls`, of listeners and of backends.

use ipc::bounded::List;
use ipc::control::Parameters;
use ipc::keystore::KeyKind;
use ipc::provision::{Keyrings, Tls};
use ipc::tls::{Label, Mode, PeerAuthentication, Protocol, ServerName};
use tls::{CipherSuite, Group, Role, Version};

use crate::chain;
use crate::keyring;
use crate::problem::Problem;
use crate::words::{Word, Words};

/// The keys of a `tls` table.
const TLS_WORDS: [&str; 14] = [
    "role",
    "mode",
    "keyring",
    "versions",
    "alpn",
    "client_auth",
    "handshake_timeout_ms",
    "suites",
    "groups",
    "segment_size",
    "expose_keys",
    "resumption",
    "server_name",
    "allow_static_rsa",
];
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
pub(crate) fn read(word: Word<'_>, place: Role, keyrings: &Keyrings) -> Result<Tls, Problem> {
    let words = word.table("tls", &TLS_WORDS)?;
    let role = role(&words, place)?;
    let mode = match words.optional("mode") {
        Some(word) => word.choice(&MODES)?,
        None => Mode::Autonomous,
    };
    let rings = rings(words.required("keyring", "\"web\"")?, role, keyrings)?;
    let versions = match words.optional("versions") {
        Some(word) => word.choices(&[("1.3", Version::Tls13), ("1.2", Version::Tls12)])?,
        None => vec![Version::Tls13, Version::Tls12],
    };
    let allow_static_rsa = match words.optional("allow_static_rsa") {
        Some(word) => static_rsa(word, role, mode, &versions, &rings, keyrings)?,
        None => false,
    };
    let suites = match words.optional("suites") {
        Some(word) => suites(word, role, &versions, &rings, keyrings, allow_static_rsa)?,
        None => Vec::new(),
    };
    let groups = match words.optional("groups") {
        Some(word) => groups(&word, &versions)?,
        None => Vec::new(),
    };
    let alpn = match words.optional("alpn") {
        Some(word) => alpn(word)?,
        None => List::new(),
    };
    let peer_authentication = match words.optional("client_auth") {
        Some(word) if role == Role::Client => return Err(of_servers(word)),
        Some(word) => client_auth(word, &rings, keyrings)?,
        None => PeerAuthentication::None,
    };
    let server_name = server_name(&words, role)?;
    let handshake_timeout_ms = match words.optional("handshake_timeout_ms") {
        Some(word) => word.number(100..=600_000)?,
        None => DEFAULT_TIMEOUT_MS,
    };
    let segment_size = match words.optional("segment_size") {
        Some(word) => {
            let sizes = Parameters::SEGMENT_SIZES;
            let number = word.number(u32::from(*sizes.start())..=u32::from(*sizes.end()))?;
            u16::try_from(number).unwrap_or(DEFAULT_SEGMENT_SIZE)
        }
        None => DEFAULT_SEGMENT_SIZE,
    };
    let expose_keys = match words.optional("expose_keys") {
        Some(word) => word.flag()?,
        None => false,
    };
    let resumption = match words.optional("resumption") {
        Some(word) => word.flag()?,
        None => true,
    };
    let full = |_| word.problem("a list in tls is too long", "name each value once");
    Ok(Tls {
        role,
        mode,
        parameters: Parameters {
            versions: List::from_items(versions).map_err(full)?,
            suites: List::from_items(suites).map_err(full)?,
            allow_static_rsa,
            groups: List::from_items(groups).map_err(full)?,
            keyrings: List::from_items(rings).map_err(full)?,
            peer_authentication,
            server_name,
            alpn,
            segment_size,
            resumption,
            expose_keys,
        },
        handshake_timeout_ms,
    })
}

/// Each version needs one that is for it.
fn groups(word: &Word<'_>, versions: &[Version]) -> Result<Vec<Group>, Problem> {
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

fn role(words: &Words<'_>, place: Role) -> Result<Role, Problem> {
    let (name, where_to) = match place {
        Role::Server => (
            "server",
            "a listener is a server: role = \"client\" is for a backend",
        ),
        Role::Client => (
            "client",
            "to a backend the gateway is a client: role = \"client\"",
        ),
    };
    let word = words.required("role", &format!("\"{name}\""))?;
    let role = word.choice(&[("server", Role::Server), ("client", Role::Client)])?;
    match role == place {
        true => Ok(role),
        false => Err(word.problem(
            format!("role = \"{}\" does not belong here", word.text()?),
            where_to,
        )),
    }
}

/// Whom a client expects: a DNS name or an IP address.
fn server_name(words: &Words<'_>, role: Role) -> Result<Option<ServerName>, Problem> {
    const EXAMPLE: &str = "\"backend.example\"";
    let word = match role {
        Role::Client => words.required("server_name", EXAMPLE)?,
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

fn of_servers(word: Word<'_>) -> Problem {
    word.problem(
        "client_auth is for a server; a client always has the server's certificate checked",
        "take it out",
    )
}

/// The labels of key rings that exist.
pub(crate) fn rings(
    word: Word<'_>,
    role: Role,
    keyrings: &Keyrings,
) -> Result<Vec<Label>, Problem> {
    /// As many as a handshake request can name.
    const MAX: usize = 4;
    let mut labels = Vec::new();
    for item in word.one_or_more()? {
        let label = keyring::label(item)?;
        let Some(ring) = keyrings.0.iter().find(|ring| ring.label == label) else {
            let known: Vec<String> = keyrings
                .0
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
        if labels.len() == MAX {
            return Err(item.problem(
                format!("more than {MAX} key rings for one listener"),
                "spread the names over several listeners",
            ));
        }
        labels.push(label);
    }
    Ok(labels)
}

/// The key that allows suites without forward secrecy, for peers that have no other.
fn static_rsa(
    word: Word<'_>,
    role: Role,
    mode: Mode,
    versions: &[Version],
    rings: &[Label],
    keyrings: &Keyrings,
) -> Result<bool, Problem> {
    if !word.flag()? {
        return Ok(false);
    }
    if mode != Mode::Directed {
        return Err(word.problem(
            "static RSA exists in directed mode alone",
            "write mode = \"directed\", or take allow_static_rsa out",
        ));
    }
    if !versions.contains(&Version::Tls12) {
        return Err(word.problem(
            "static RSA belongs to TLS 1.2, which versions does not name",
            "take allow_static_rsa out, or add \"1.2\"",
        ));
    }
    let mut used = keyrings.0.iter().filter(|ring| rings.contains(&ring.label));
    let is_rsa = |kind: Option<KeyKind>| kind == Some(KeyKind::Rsa);
    let mut has_key = used.any(|ring| is_rsa(ring.key.as_ref().map(|key| key.kind)));
    // As client it is the server's key.
    has_key |= role == Role::Client;
    match has_key {
        true => Ok(true),
        false => Err(word.problem(
            "static RSA needs a key ring with an RSA key",
            "name a key ring with an RSA key, or take allow_static_rsa out",
        )),
    }
}

fn suites(
    word: Word<'_>,
    role: Role,
    versions: &[Version],
    rings: &[Label],
    keyrings: &Keyrings,
    allow_static_rsa: bool,
) -> Result<Vec<CipherSuite>, Problem> {
    let every = CipherSuite::ALL.into_iter().chain(CipherSuite::STATIC_RSA);
    let every: Vec<_> = every.map(|suite| (suite.name(), suite)).collect();
    let suites = word.choices(&every)?;
    if let Some(suite) = suites.iter().find(|suite| suite.is_static_rsa())
        && !allow_static_rsa
    {
        return Err(word.problem(
            format!("{} is a suite of static RSA, which is off", suite.name()),
            "take it out, or write allow_static_rsa = true",
        ));
    }
    let used = || keyrings.0.iter().filter(|ring| rings.contains(&ring.label));
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
        for ring in used().filter(|_| role == Role::Server) {
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

const fn version_name(version: Version) -> &'static str {
    match version {
        Version::Tls12 => "1.2",
        Version::Tls13 => "1.3",
    }
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

fn alpn(word: Word<'_>) -> Result<List<Protocol, 4>, Problem> {
    let mut names = List::new();
    for item in word.one_or_more()? {
        let text = item.short_text(32)?;
        let too_many = |_| item.problem("more than 4 ALPN names", "name 4 at most");
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

fn client_auth(
    word: Word<'_>,
    rings: &[Label],
    keyrings: &Keyrings,
) -> Result<PeerAuthentication, Problem> {
    let wanted = word.choice(&[
        ("none", PeerAuthentication::None),
        ("request", PeerAuthentication::Request),
        ("require", PeerAuthentication::Require),
    ])?;
    let without = keyrings
        .0
        .iter()
        .find(|ring| rings.contains(&ring.label) && ring.trust.is_empty());
    match without {
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

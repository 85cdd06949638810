//! The tables `[[listener]]`.

use std::net::SocketAddr;

use ipc::bounded::List;
use ipc::control::Parameters;
use ipc::keystore::KeyKind;
use ipc::net::Address;
use ipc::provision::{Backend, IdentityForm, Keyrings, Listener, Tls, Upstream};
use ipc::tls::{CipherSuite, Group, Label, Mode, PeerAuthentication, Protocol, Role, Version};

use crate::keyring;
use crate::problem::Problem;
use crate::words::{Word, Words};

/// Longest name of a listener in bytes.
const MAX_NAME: usize = 64;
/// Most listeners.
const MAX_LISTENERS: usize = 64;
/// The words of a `tls` table.
const TLS_WORDS: [&str; 11] = [
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
];
const DEFAULT_TIMEOUT_MS: u32 = 10_000;
/// What most servers send at most in one record's fragment (RFC 8446 §5.1).
const DEFAULT_SEGMENT_SIZE: u16 = 16384;

/// Reads all listeners.
pub(crate) fn read(file: &Words<'_>, keyrings: &Keyrings) -> Result<Vec<Listener>, Problem> {
    let list = match file.optional("listener") {
        Some(word) => word.list()?,
        None => Vec::new(),
    };
    if list.is_empty() {
        return Err(file.problem(
            "there is no [[listener]]",
            "add one with name, listen, tls and backend",
        ));
    }
    let mut listeners: Vec<Listener> = Vec::new();
    for word in list {
        if listeners.len() == MAX_LISTENERS {
            return Err(word.problem(
                format!("more than {MAX_LISTENERS} listeners"),
                "run a second gateway for the rest",
            ));
        }
        let words = word.table("[[listener]]", &["name", "listen", "tls", "backend"])?;
        let listener = listener(&words, &listeners, keyrings)?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn listener(
    words: &Words<'_>,
    before: &[Listener],
    keyrings: &Keyrings,
) -> Result<Listener, Problem> {
    let name_word = words.required("name", "\"web\"")?;
    let name = name_word.short_text(MAX_NAME)?;
    if before.iter().any(|other| other.name == name) {
        return Err(name_word.problem(
            format!("a second listener is called \"{name}\""),
            "give each listener a name of its own",
        ));
    }
    let listen = words.required("listen", "443")?;
    // The range ends where u16 does.
    let port = u16::try_from(listen.number(1..=u32::from(u16::MAX))?).unwrap_or_default();
    if let Some(other) = before.iter().find(|other| other.port == port) {
        return Err(listen.problem(
            format!("port {port} is already that of listener \"{}\"", other.name),
            "give each listener a port of its own",
        ));
    }
    let example = "{ role = \"server\", mode = \"autonomous\", keyring = \"web\" }";
    let tls = tls(words.required("tls", example)?, keyrings)?;
    let backend = backend(words.required("backend", "{ connect = \"10.0.2.2:8080\" }")?)?;
    Ok(Listener {
        name: name.to_string(),
        port,
        tls,
        backend,
    })
}

fn tls(word: Word<'_>, keyrings: &Keyrings) -> Result<Tls, Problem> {
    let words = word.table("tls", &TLS_WORDS)?;
    let role = words.required("role", "\"server\"")?;
    let role = role.choice(&[("server", Role::Server)])?;
    let mode = match words.optional("mode") {
        Some(word) => word.choice(&[
            ("autonomous", Mode::Autonomous),
            ("directed", Mode::Directed),
        ])?,
        None => Mode::Autonomous,
    };
    let rings = rings(words.required("keyring", "\"web\"")?, keyrings)?;
    let versions = match words.optional("versions") {
        Some(word) => word.choices(&[("1.3", Version::Tls13), ("1.2", Version::Tls12)])?,
        None => vec![Version::Tls13, Version::Tls12],
    };
    let suites = match words.optional("suites") {
        Some(word) => suites(word, &versions, &rings, keyrings)?,
        None => Vec::new(),
    };
    let groups = match words.optional("groups") {
        Some(word) => word.choices(&Group::ALL.map(|group| (group.name(), group)))?,
        None => Vec::new(),
    };
    let alpn = match words.optional("alpn") {
        Some(word) => alpn(word)?,
        None => List::new(),
    };
    let peer_authentication = match words.optional("client_auth") {
        Some(word) => client_auth(word, &rings, keyrings)?,
        None => PeerAuthentication::None,
    };
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
    let full = |_| word.problem("a list in tls is too long", "name each value once");
    Ok(Tls {
        role,
        mode,
        parameters: Parameters {
            versions: List::from_items(versions).map_err(full)?,
            suites: List::from_items(suites).map_err(full)?,
            groups: List::from_items(groups).map_err(full)?,
            keyrings: List::from_items(rings).map_err(full)?,
            peer_authentication,
            server_name: None,
            alpn,
            segment_size,
            expose_keys,
        },
        handshake_timeout_ms,
    })
}

/// The labels of key rings that exist.
fn rings(word: Word<'_>, keyrings: &Keyrings) -> Result<Vec<Label>, Problem> {
    /// As many as a handshake request can name.
    const MAX: usize = 4;
    let mut labels = Vec::new();
    for item in word.one_or_more()? {
        let label = keyring::label(item)?;
        if !keyrings.0.iter().any(|ring| ring.label == label) {
            let known: Vec<String> = keyrings
                .0
                .iter()
                .map(|ring| format!("\"{}\"", ring.label))
                .collect();
            return Err(item.problem(
                format!("there is no key ring \"{label}\""),
                format!("add it, or name one of: {}", known.join(", ")),
            ));
        }
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

fn suites(
    word: Word<'_>,
    versions: &[Version],
    rings: &[Label],
    keyrings: &Keyrings,
) -> Result<Vec<CipherSuite>, Problem> {
    let suites = word.choices(&CipherSuite::ALL.map(|suite| (suite.name(), suite)))?;
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
        for ring in used() {
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
        (Version::Tls12, Some(KeyKind::Rsa)) => suite.name().starts_with("TLS_ECDHE_RSA_"),
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

fn backend(word: Word<'_>) -> Result<Backend, Problem> {
    let words = word.table("backend", &["connect", "status", "identity"])?;
    match (words.optional("connect"), words.optional("status")) {
        (Some(connect), None) => Ok(Backend::Connect(Upstream {
            address: upstream_address(connect)?,
            identity: match words.optional("identity") {
                Some(word) => Some(word.choice(&[("proxy-v2", IdentityForm::ProxyV2)])?),
                None => None,
            },
        })),
        (None, Some(status)) => {
            if let Some(identity) = words.optional("identity") {
                return Err(identity.problem(
                    "the status page is told nothing of the client",
                    "take identity out, or write connect = \"10.0.2.2:8080\"",
                ));
            }
            match status.flag()? {
                true => Ok(Backend::Status),
                false => Err(status.problem(
                    "status = false leaves the listener without a backend",
                    "write status = true, or connect = \"10.0.2.2:8080\"",
                )),
            }
        }
        _ => Err(words.problem(
            "a backend is one of connect and status",
            "write { connect = \"10.0.2.2:8080\" } or { status = true }",
        )),
    }
}

fn upstream_address(connect: Word<'_>) -> Result<Address, Problem> {
    let text = connect.text()?;
    let address = text.parse::<SocketAddr>().ok();
    let usable = address.filter(|a| a.port() != 0 && !a.ip().is_unspecified());
    usable.map(Address).ok_or_else(|| {
        connect.problem(
            format!("connect \"{text}\" is no address and port"),
            "write an IP address and a port, such as \"10.0.2.2:8080\" or \"[fe80::2]:80\"",
        )
    })
}

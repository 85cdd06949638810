//! The tables `[[listener]]`.

use std::net::SocketAddr;

use ::tls::Role;
use ipc::net::Address;
use ipc::provision::{Backend, IdentityForm, Keyrings, Listener, Upstream};

use crate::limits;
use crate::problem::Problem;
use crate::rule;
use crate::tls;
use crate::words::{Word, Words};

/// Longest name of a listener in bytes.
const MAX_NAME: usize = 64;
/// Most listeners.
const MAX_LISTENERS: usize = 128;
/// The keys of a listener.
const LISTENER_WORDS: [&str; 10] = [
    "name",
    "listen",
    "tls",
    "rule",
    "backend",
    "limits",
    "idle_timeout_ms",
    "request_timeout_ms",
    "connect_timeout_ms",
    "linger_timeout_ms",
];

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
        let words = word.table("[[listener]]", &LISTENER_WORDS)?;
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
    let backend_word = words.required("backend", "{ connect = \"10.0.2.2:8080\" }")?;
    let backend = backend(backend_word, keyrings)?;
    let rules = match words.optional("rule") {
        Some(word) => rule::read(word, keyrings)?,
        None => Vec::new(),
    };
    let tls = match words.optional("tls") {
        Some(word) if !rules.is_empty() => {
            return Err(word.problem(
                "a listener has tls or rules, not both",
                "write tls as the last rule, without from, server_name and alpn",
            ));
        }
        None if !rules.is_empty() => None,
        Some(word) => Some(tls::read(word, Role::Server, keyrings)?),
        // Plaintext in is for TLS out: to take and give plaintext is no work
        // for this system.
        None if backend.is_secured() => None,
        None => Some(tls::read(
            words.required("tls", example)?,
            Role::Server,
            keyrings,
        )?),
    };
    Ok(Listener {
        name: name.to_string(),
        port,
        tls,
        rules,
        limits: limits::read(words)?,
        timeouts: limits::timeouts(words, &backend)?,
        backend,
    })
}

fn backend(word: Word<'_>, keyrings: &Keyrings) -> Result<Backend, Problem> {
    let words = word.table("backend", &["connect", "status", "identity", "tls"])?;
    match (words.optional("connect"), words.optional("status")) {
        (Some(connect), None) => Ok(Backend::Connect(Upstream {
            address: upstream_address(connect)?,
            identity: match words.optional("identity") {
                Some(word) => Some(word.choice(&[("proxy-v2", IdentityForm::ProxyV2)])?),
                None => None,
            },
            tls: match words.optional("tls") {
                Some(word) => Some(tls::read(word, Role::Client, keyrings)?),
                None => None,
            },
        })),
        (None, Some(status)) => {
            let of_connect = words.optional("identity").or(words.optional("tls"));
            if let Some(word) = of_connect {
                return Err(word.problem(
                    "the status page is reached by no connection",
                    "take identity and tls out, or write connect = \"10.0.2.2:8080\"",
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

//! The tables `[[listener]]`.

use std::net::SocketAddr;

use ::tls::Role;
use ipc::net::Address;
use ipc::provision::{Backend, IdentityForm, Listener, Rule, Tls, Upstream};

use crate::keyring::Rings;
use crate::limits::{CONNECT, IDLE, LINGER, REQUEST};
use crate::problem::Reported;
use crate::reference::{Key, Kind, Need, Table};
use crate::words::{Word, Words, if_there};
use crate::{limits, rule, tls};

/// Longest name of a listener in bytes.
const MAX_NAME: usize = 64;
/// Most listeners.
pub(crate) const MAX_LISTENERS: usize = 128;
/// How a backend tells who the client is.
const IDENTITIES: [(&str, IdentityForm); 1] = [("proxy-v2", IdentityForm::ProxyV2)];

/// The table of a listener.
pub(crate) static TABLE: Table = Table {
    name: "[[listener]]",
    about: "A port that is served. A full table does not refuse the newcomer: the oldest \
            connection that has sent nothing is evicted (`docs/adr/0130`).",
    keys: &[
        Key {
            name: "name",
            kind: Kind::Text { most: MAX_NAME },
            need: Need::Required,
            example: "\"web\"",
            meaning: "What the log and the status page call it.",
        },
        Key {
            name: "listen",
            kind: Kind::Number {
                least: 1,
                most: u16::MAX as u32,
                unit: "port",
            },
            need: Need::Required,
            example: "443",
            meaning: "The guest's port.",
        },
        Key {
            name: "tls",
            kind: Kind::Table(&tls::TABLE),
            need: Need::Depends(
                "must be there, but with rules, or for a backend that is reached by TLS: then \
                 the listener takes plaintext",
            ),
            example: "{ role = \"server\", mode = \"autonomous\", keyring = \"web\" }",
            meaning: "How each client is served.",
        },
        Key {
            name: "rule",
            kind: Kind::Tables {
                table: &rule::TABLE,
                count: rule::MAX_RULES,
            },
            need: Need::Depends("then `tls` is for all clients"),
            example: "[{ tls = { role = \"server\", keyring = \"web\" } }]",
            meaning: "How clients are served that match.",
        },
        Key {
            name: "backend",
            kind: Kind::Table(&BACKEND),
            need: Need::Required,
            example: "{ connect = \"10.0.2.2:8080\" }",
            meaning: "Where the plaintext goes.",
        },
        Key {
            name: "limits",
            kind: Kind::Table(&limits::TABLE),
            need: Need::Depends("the defaults of its keys"),
            example: "{ connections = 100 }",
            meaning: "What one client address may have.",
        },
        IDLE,
        REQUEST,
        CONNECT,
        LINGER,
    ],
};

/// The table of a backend.
static BACKEND: Table = Table {
    name: "backend",
    about: "One of `connect` and `status`.",
    keys: &[
        Key {
            name: "connect",
            kind: Kind::Text { most: 64 },
            need: Need::Depends("then `status = true` must be there"),
            example: "\"10.0.2.2:8080\"",
            meaning: "An IP address and a port.",
        },
        Key {
            name: "status",
            kind: Kind::Flag,
            need: Need::Depends("then `connect` must be there"),
            example: "true",
            meaning: "`true`: the status page, with `/metrics`.",
        },
        Key {
            name: "identity",
            kind: Kind::Choice(|| IDENTITIES.map(|(name, _)| name).to_vec()),
            need: Need::Depends("the backend is not told who the client is"),
            example: "\"proxy-v2\"",
            meaning: "A PROXY protocol header before the first byte says who the client is \
                      (`docs/adr/0050`).",
        },
        Key {
            name: "tls",
            kind: Kind::Table(&tls::TABLE),
            need: Need::Depends("the backend gets plaintext"),
            example: "{ role = \"client\", keyring = \"backends\", server_name = \"backend.example\" }",
            meaning: "How the backend is reached by TLS (`docs/adr/0051`).",
        },
    ],
};

/// Reads all listeners; those that are good.
pub(crate) fn read(file: &Words<'_>, keyrings: &Rings<'_>) -> Vec<Listener> {
    let Ok(list) = file.tables("listener") else {
        return Vec::new();
    };
    if list.is_empty() {
        file.problem(
            "there is no [[listener]]",
            "add one with name, listen, tls and backend",
        );
    }
    if let Some(word) = list.get(MAX_LISTENERS) {
        word.problem(
            format!("more than {MAX_LISTENERS} listeners"),
            "run a second gateway for the rest",
        );
    }
    let mut used = Used::default();
    let list = list.into_iter().take(MAX_LISTENERS);
    list.filter_map(|word| listener(&word.table().ok()?, &mut used, keyrings).ok())
        .collect()
}

/// Names and ports that are no longer free, and the names of the ports' listeners.
#[derive(Default)]
struct Used {
    names: Vec<String>,
    ports: Vec<(u16, String)>,
}

impl Used {
    fn name(&mut self, word: Word<'_>) -> Result<String, Reported> {
        let name = word.short_text()?.to_string();
        if self.names.contains(&name) {
            return Err(word.problem(
                format!("a second listener is called \"{name}\""),
                "give each listener a name of its own",
            ));
        }
        self.names.push(name.clone());
        Ok(name)
    }

    fn port(&mut self, word: Word<'_>, name: &str) -> Result<u16, Reported> {
        let port = word.number()?;
        if let Some((_, other)) = self.ports.iter().find(|(other, _)| *other == port) {
            return Err(word.problem(
                format!("port {port} is already that of listener \"{other}\""),
                "give each listener a port of its own",
            ));
        }
        self.ports.push((port, name.to_string()));
        Ok(port)
    }
}

fn listener(
    words: &Words<'_>,
    used: &mut Used,
    keyrings: &Rings<'_>,
) -> Result<Listener, Reported> {
    let name = words.required("name").and_then(|word| used.name(word));
    let known = name.as_deref().unwrap_or("?");
    let port = words.required("listen");
    let port = port.and_then(|word| used.port(word, known));
    let backend = words.required("backend");
    let backend = backend.and_then(|word| self::backend(word, keyrings));
    let served = served(words, backend.as_ref(), keyrings);
    let limits = if_there(words.optional("limits"), limits::read);
    let timeouts = limits::timeouts(words, backend.as_ref().ok());
    let (tls, rules) = served?;
    Ok(Listener {
        name: name?,
        port: port?,
        tls,
        rules,
        limits: limits?.unwrap_or_default(),
        timeouts: timeouts?,
        backend: backend?,
    })
}

/// How a listener serves its clients: all alike, or by rules.
fn served(
    words: &Words<'_>,
    backend: Result<&Backend, &Reported>,
    keyrings: &Rings<'_>,
) -> Result<(Option<Tls>, Vec<Rule>), Reported> {
    match (words.optional("tls"), words.optional("rule")) {
        (Some(word), Some(_)) => Err(word.problem(
            "a listener has tls or rules, not both",
            "write tls as the last rule, without from, server_name and alpn",
        )),
        (None, Some(word)) => Ok((None, rule::read(word, keyrings)?)),
        (Some(word), None) => {
            let tls = tls::read(word, Role::Server, keyrings)?;
            Ok((Some(tls), Vec::new()))
        }
        // Plaintext in is for TLS out: to take and give plaintext is no work
        // for this system.
        (None, None) => match backend {
            Ok(backend) if backend.is_secured() => Ok((None, Vec::new())),
            Ok(_) => words.required("tls").map(|_| (None, Vec::new())),
            // Whether it would need it is not known.
            Err(reported) => Err(*reported),
        },
    }
}

fn backend(word: Word<'_>, keyrings: &Rings<'_>) -> Result<Backend, Reported> {
    let words = word.table()?;
    match (words.optional("connect"), words.optional("status")) {
        (Some(connect), None) => {
            let address = upstream_address(connect);
            let identity = if_there(words.optional("identity"), |word| word.choice(&IDENTITIES));
            let tls = if_there(words.optional("tls"), |word| {
                tls::read(word, Role::Client, keyrings)
            });
            Ok(Backend::Connect(Upstream {
                address: address?,
                identity: identity?,
                tls: tls?,
            }))
        }
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

fn upstream_address(connect: Word<'_>) -> Result<Address, Reported> {
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

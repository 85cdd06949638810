//! The tables `[[application]]`: what domains besides the gateway may ask for.

use ::tls::Role;
use ipc::provision::Listener;
use ipc::tls::{Label, Mode};

use crate::keyring::Rings;
use crate::problem::Reported;
use crate::reference::{Key, Kind, Need, Table};
use crate::tls;
use crate::words::{Word, each};

/// The table; client numbers are those in badges, of which the gateway has the first.
pub(crate) static TABLE: Table = Table {
    name: "[[application]]",
    about: "What a domain besides the gateway may ask for (`docs/porting.md`).",
    keys: &[
        Key {
            name: "client",
            kind: Kind::Number {
                least: 2,
                most: 4095,
                unit: "",
            },
            need: Need::Required,
            example: "2",
            meaning: "Its number in the system description.",
        },
        Key {
            name: "listen",
            kind: Kind::Numbers {
                least: 1,
                most: u16::MAX as u32,
                unit: "ports",
            },
            need: Need::Required,
            example: "[8443]",
            meaning: "The guest's ports that it may listen on.",
        },
        Key {
            name: "keyring",
            kind: tls::RINGS,
            need: Need::Required,
            example: "\"web\"",
            meaning: "The labels of key rings that it may have handshakes with, as a server.",
        },
        Key {
            name: "mode",
            kind: Kind::Choices(|| tls::MODES.map(|(name, _)| name).to_vec()),
            need: Need::Required,
            example: "\"autonomous\"",
            meaning: "The modes of its handshakes.",
        },
    ],
};

/// What an application may ask of the network stack and of the shim: to accept
/// connections, and to have handshakes as a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// The number in its badges, as in the description of its system.
    pub client: u16,
    /// Ports to listen on.
    pub listen: Vec<u16>,
    /// Key rings for its handshakes.
    pub keyrings: Vec<Label>,
    /// Modes of its handshakes.
    pub modes: Vec<Mode>,
}

/// Reads the tables.
pub(crate) fn read(
    tables: Vec<Word<'_>>,
    keyrings: &Rings<'_>,
    listeners: &[Listener],
) -> Result<Vec<Application>, Reported> {
    let mut clients: Vec<u16> = Vec::new();
    let mut ports: Vec<u16> = listeners.iter().map(|listener| listener.port).collect();
    each(tables, |word| {
        let words = word.table()?;
        let client = words.required("client").and_then(|word| {
            let client = word.number()?;
            if clients.contains(&client) {
                return Err(word.problem(
                    format!("client {client} is there twice"),
                    "give each application the number of its badges in the system description",
                ));
            }
            clients.push(client);
            Ok(client)
        });
        let listen = words.required("listen").and_then(|word| word.list());
        let listen = listen.and_then(|items| each(items, |item| port(item, &mut ports)));
        let rings = words.required("keyring");
        let rings = rings.and_then(|word| tls::rings(word, Role::Server, keyrings));
        let modes = words.required("mode");
        let modes = modes.and_then(|word| word.choices(&tls::MODES));
        Ok(Application {
            client: client?,
            listen: listen?,
            keyrings: rings?,
            modes: modes?,
        })
    })
}

/// A port that nobody else uses.
fn port(word: Word<'_>, used: &mut Vec<u16>) -> Result<u16, Reported> {
    let port = word.number()?;
    if used.contains(&port) {
        return Err(word.problem(
            format!("port {port} is listened on already"),
            "give each listener and each application ports of its own",
        ));
    }
    used.push(port);
    Ok(port)
}

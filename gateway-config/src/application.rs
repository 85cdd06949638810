//! The tables `[[application]]`: what domains besides the gateway may ask for.

use std::ops::RangeInclusive;

use ::tls::Role;
use ipc::provision::{Keyrings, Listener};
use ipc::tls::{Label, Mode};

use crate::problem::Problem;
use crate::tls;
use crate::words::{Word, Words};

/// What a table can say.
const WORDS: [&str; 4] = ["client", "listen", "keyring", "mode"];
/// Client numbers in badges; the gateway has the first.
const CLIENTS: RangeInclusive<u32> = 2..=4095;

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
    file: &Words<'_>,
    keyrings: &Keyrings,
    listeners: &[Listener],
) -> Result<Vec<Application>, Problem> {
    let list = match file.optional("application") {
        Some(word) => word.list()?,
        None => Vec::new(),
    };
    let mut applications: Vec<Application> = Vec::new();
    for word in list {
        let words = word.table("[[application]]", &WORDS)?;
        let number = words.required("client", "2")?;
        let client = u16::try_from(number.number(CLIENTS)?).unwrap_or_default();
        if applications.iter().any(|other| other.client == client) {
            return Err(number.problem(
                format!("client {client} is there twice"),
                "give each application the number of its badges in the system description",
            ));
        }
        let mut ports = Vec::new();
        for item in words.required("listen", "[8443]")?.list()? {
            ports.push(port(item, &ports, &applications, listeners)?);
        }
        applications.push(Application {
            client,
            listen: ports,
            keyrings: tls::rings(
                words.required("keyring", "\"web\"")?,
                Role::Server,
                keyrings,
            )?,
            modes: words
                .required("mode", "\"autonomous\"")?
                .choices(&tls::MODES)?,
        });
    }
    Ok(applications)
}

/// A port that no other listener uses.
fn port(
    word: Word<'_>,
    own: &[u16],
    others: &[Application],
    listeners: &[Listener],
) -> Result<u16, Problem> {
    let port = u16::try_from(word.number(1..=u32::from(u16::MAX))?).unwrap_or_default();
    let others = others.iter().flat_map(|other| &other.listen);
    let is_listeners = listeners.iter().any(|listener| listener.port == port);
    if is_listeners || others.chain(own).any(|other| *other == port) {
        return Err(word.problem(
            format!("port {port} is listened on already"),
            "give each listener and each application ports of its own",
        ));
    }
    Ok(port)
}

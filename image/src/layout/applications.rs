//! What applications and their servers learn.

use std::collections::BTreeSet;

use super::builder::Builder;
use super::constant::upper;
use crate::check::application::{Named, named};
use crate::description::Description;

impl Builder<'_> {
    pub(super) fn applications(&mut self) {
        for constant in constants(self.description) {
            let domain = self.domain(&constant.domain);
            domain.constant(constant.doc, constant.name, &constant.kind, constant.value);
        }
    }
}

/// A constant: the name of the domain, of the constant, its type, its value.
struct Told {
    domain: String,
    doc: &'static str,
    name: &'static str,
    kind: String,
    value: String,
}

/// What the servers of all applications learn, in terms of the constants that they
/// have for each call, signal, channel and window; and what each application does.
fn constants(description: &Description) -> Vec<Told> {
    let applications = description.applications.iter();
    // Checked: all is there.
    let all: Vec<_> = applications
        .filter_map(|a| named(description, a).ok())
        .collect();
    let mut constants = Vec::new();
    let mut add = |server: fn(&Named<'_>) -> String,
                   doc,
                   name,
                   kind: &str,
                   value: fn(&Named<'_>) -> String| {
        let servers: BTreeSet<_> = all.iter().map(server).collect();
        for domain in servers {
            let own: Vec<_> = all
                .iter()
                .filter(|named| server(named) == domain)
                .map(value)
                .collect();
            constants.push(Told {
                domain,
                doc,
                name,
                kind: format!("[{kind}; {}]", own.len()),
                value: format!("[{}]", own.join(", ")),
            });
        }
    };
    add(
        |named| named.net.to_string(),
        "The channel of connections of each application.",
        "CONNECTIONS",
        "ipc::application::Connections",
        |named| {
            let domain = upper(&named.application.domain);
            let channel = upper(&named.application.connections);
            let most = named.application.tcp_connections;
            format!(
                "ipc::application::Connections {{ client: CLIENT_{domain}, \
                 signal: SIGNAL_{domain}, channel: CHANNEL_{channel}, most: {most} }}"
            )
        },
    );
    add(
        |named| named.record.to_string(),
        "The channel of plaintext of each application, in the order of their sessions.",
        "PLAINTEXT",
        "ipc::application::Plaintext",
        |named| {
            let domain = upper(&named.application.domain);
            let channel = upper(&named.application.plaintext);
            format!(
                "ipc::application::Plaintext {{ signal: SIGNAL_{domain}, \
                 channel: CHANNEL_{channel} }}"
            )
        },
    );
    add(
        |named| named.shim.to_string(),
        "Each application and its part of the tables, in their order.",
        "APPLICATIONS",
        "ipc::application::Share",
        |named| {
            let domain = upper(&named.application.domain);
            let channel = upper(&named.application.plaintext);
            let window = upper(&named.window.name);
            let handshakes = named.application.handshakes;
            format!(
                "ipc::application::Share {{ client: CLIENT_{domain}, signal: SIGNAL_{domain}, \
                 handshakes: {handshakes}, sessions: SLOTS_{channel}, \
                 window: MANAGE_WINDOW_{window} }}"
            )
        },
    );
    for named in &all {
        constants.push(Told {
            domain: named.application.domain.clone(),
            doc: "Handshakes that this application may have at once.",
            name: "HANDSHAKES",
            kind: "u16".into(),
            value: named.application.handshakes.to_string(),
        });
    }
    constants
}

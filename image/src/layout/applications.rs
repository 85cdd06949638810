//! What applications and their servers learn.

use std::collections::BTreeSet;

use ipc::badge::Badge;
use ipc::description::Share;

use super::builder::Builder;
use super::field::{BELL, CHANNEL, WINDOW};
use crate::check::application::{Named, named};

impl<'a> Builder<'a> {
    pub(super) fn applications(&mut self) {
        let all = self.named();
        self.layout.applications = all.iter().map(|named| self.share(named)).collect();
        self.parts(&all);
        self.array(
            &all,
            |named| named.net,
            "The channel of connections of each application.",
            "connections",
            &format!("ipc::application::Connections<{CHANNEL}>"),
            |builder, named| {
                let client = builder.client(named, named.net);
                let channel = builder.held(named.net, &named.application.connections);
                let most = named.application.tcp_connections;
                format!(
                    "ipc::application::Connections {{ client: {client}, channel: {channel}, \
                     most: {most} }}"
                )
            },
        );
        self.array(
            &all,
            |named| named.record,
            "The channel of plaintext of each application, in the order of their sessions.",
            "plaintext",
            CHANNEL,
            |builder, named| builder.held(named.record, &named.application.plaintext),
        );
        self.array(
            &all,
            |named| named.shim,
            "Each application and its part of the tables, in their order.",
            "applications",
            &format!("ipc::application::Client<{BELL}, {WINDOW}>"),
            |builder, named| {
                let client = builder.client(named, named.shim);
                let bell = builder.bell(named.shim, &named.application.domain);
                let window = builder.held(named.shim, &named.window.name);
                let Share {
                    handshakes,
                    sessions,
                    ..
                } = builder.share(named);
                format!(
                    "ipc::application::Client {{ client: {client}, bell: {bell}, \
                     handshakes: {handshakes}, sessions: {sessions}, window: {window} }}"
                )
            },
        );
    }

    /// Gives each application what its program has to know of its part.
    fn parts(&mut self, all: &[Named<'a>]) {
        for named in all {
            let handshakes = self.share(named).handshakes;
            self.domain(&named.application.domain).handshakes = handshakes;
        }
    }

    /// Gives each server, as `server` names it, a field with the value of each application.
    fn array(
        &mut self,
        all: &[Named<'a>],
        server: fn(&Named<'a>) -> &'a str,
        doc: &str,
        name: &str,
        kind: &str,
        value: fn(&Self, &Named<'a>) -> String,
    ) {
        let servers: BTreeSet<_> = all.iter().map(server).collect();
        for domain in servers {
            let own = all.iter().filter(|named| server(named) == domain);
            let own: Vec<_> = own.map(|named| value(self, named)).collect();
            let kind = format!("[{kind}; {}]", own.len());
            let value = format!("[{}]", own.join(", "));
            self.domain(domain).field(doc, name, &kind, value);
        }
    }

    /// Whether the signal from one domain to the other is a server's to an application.
    pub(super) fn serves_application(&self, from: &str, to: &str) -> bool {
        let mut all = self.named().into_iter();
        all.any(|named| named.shim == from && named.application.domain == to)
    }

    /// Whether the domain holds that channel or window for an application that it serves.
    pub(super) fn is_of_application(&self, domain: &str, name: &str) -> bool {
        self.named().iter().any(|named| {
            let held = [
                (named.net, &named.application.connections),
                (named.record, &named.application.plaintext),
                (named.shim, &named.window.name),
            ];
            held.contains(&(domain, &name.to_string()))
        })
    }

    fn named(&self) -> Vec<Named<'a>> {
        let description = self.description;
        // Checked: all is there.
        let all = description.applications.iter();
        all.filter_map(|a| named(description, a).ok()).collect()
    }

    fn held(&self, server: &str, name: &str) -> String {
        let held = self
            .of_applications
            .get(&(server.to_string(), name.to_string()));
        held.cloned().unwrap_or_default()
    }

    /// The application's client number at a server.
    fn client(&self, named: &Named<'_>, server: &str) -> u16 {
        let mut calls = self.description.calls.iter();
        let call = calls.find(|call| call.from == named.application.domain && call.to == server);
        match call.and_then(|call| Badge::from_word(call.badge)) {
            Some(Badge::Client(client)) => client,
            _ => unreachable!("checked: an application calls its servers as a client"),
        }
    }

    fn share(&self, named: &Named<'_>) -> Share {
        let mut channels = self.description.channels.iter();
        let connections = channels.find(|c| c.name == named.application.connections);
        Share {
            tcp_connections: named.application.tcp_connections,
            connections: connections.map_or(0, |channel| channel.slots),
            handshakes: named.application.handshakes,
            sessions: named.plaintext.slots,
        }
    }
}

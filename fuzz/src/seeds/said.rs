//! What rustls and the engine of directed mode say to each other.

use ipc::bounded::List;
use ipc::keystore::KeyKind;
use ipc::tls::PeerAuthentication;
use rustls::SupportedProtocolVersion;
use tls::{Group, Version};

use super::messages::vector;
use crate::wire::client::{Client, ClientOptions};
use crate::wire::world::{World, parameters};

/// A handshake between rustls and the engine of directed mode.
pub(super) struct Said {
    pub(super) client: Vec<Vec<u8>>,
    pub(super) server: Vec<Vec<u8>>,
}

impl Said {
    pub(super) fn of(version: &'static SupportedProtocolVersion, has_certificate: bool) -> Self {
        let mut world = World::directed(&[("web", "localhost", KeyKind::EcdsaP256)]);
        let mut asked = parameters(&["web"]);
        asked.peer_authentication = PeerAuthentication::Request;
        // A server that could do more would warn a client that could, too.
        asked.versions = List::from_items([match version.version {
            rustls::ProtocolVersion::TLSv1_3 => Version::Tls13,
            _ => Version::Tls12,
        }])
        .expect("one version");
        world.start(0, asked);
        let options = ClientOptions {
            versions: vec![version],
            // A short hello, which is a message of one part.
            groups: vec![Group::X25519, Group::Secp256r1, Group::Secp384r1],
            has_certificate,
            ..ClientOptions::default()
        };
        let mut client = Client::new(&world, &options);
        let mut said = Self {
            client: Vec::new(),
            server: Vec::new(),
        };
        while !client.outgoing.is_empty() {
            let flight = std::mem::take(&mut client.outgoing);
            let answer = world.exchange(0, &flight);
            client.receive(&answer);
            said.client.push(flight);
            said.server.push(answer);
        }
        assert!(client.is_done());
        said
    }

    /// Verdicts of a handshake as server; bytes after the last message, so
    /// that it is not given up there.
    pub(super) fn shim_server(
        &self,
        version: &SupportedProtocolVersion,
        has_certificate: bool,
    ) -> Vec<u8> {
        let mut client = plain_messages(&self.client.concat()).into_iter();
        let is_13 = version.version == rustls::ProtocolVersion::TLSv1_3;
        // Request a certificate; the one ring is good for the name.
        let mut bytes = vec![0];
        bytes.extend(message(&client.next().expect("a hello")));
        bytes.push(0);
        bytes.extend(message(&[11, 0, 0, 0]));
        bytes.push(u8::from(has_certificate));
        if !is_13 {
            let exchange = client.find(|m| m[0] == 16).expect("a key exchange");
            bytes.extend(message(&exchange));
        }
        if has_certificate {
            bytes.extend(message(&[15, 0, 0, 0]));
        }
        bytes.extend(message(&[20, 0, 0, 0]));
        bytes.push(0);
        bytes
    }

    pub(super) fn shim_client(
        &self,
        version: &SupportedProtocolVersion,
        has_certificate: bool,
    ) -> Vec<u8> {
        let server = plain_messages(&self.server.concat());
        let mut bytes = vec![0];
        let is_13 = version.version == rustls::ProtocolVersion::TLSv1_3;
        let request = |body: &[u8]| {
            let length = u8::try_from(body.len()).expect("a short body");
            message(&[&[13, 0, 0, length][..], body].concat())
        };
        // What the director's client named (RFC 8446 §4.1.3); a server of TLS 1.2 names
        // no session.
        let mut hello = server[0].clone();
        let name = usize::from(hello[38]);
        let session_id: &[u8] = if is_13 { &crate::shim::SESSION_ID } else { &[] };
        hello.splice(39..39 + name, session_id.iter().copied());
        hello[38] = u8::try_from(session_id.len()).expect("a short identifier");
        bytes.extend(message(&hello));
        if is_13 {
            // No extension; asked for a certificate by ECDSA.
            bytes.extend(message(&[8, 0, 0, 2, 0, 0]));
            if has_certificate {
                bytes.extend(request(&[0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3]));
            }
        }
        bytes.extend(message(&[11, 0, 0, 0]));
        bytes.push(1);
        if is_13 {
            bytes.extend(message(&[15, 0, 0, 0]));
        } else {
            for body in server.iter().filter(|m| [12, 13].contains(&m[0])) {
                bytes.extend(message(body));
                if body[0] == 13 {
                    // It names authorities: both rings fit.
                    bytes.push(0);
                }
            }
            bytes.extend(message(&[14, 0, 0, 0]));
        }
        bytes.extend(message(&[20, 0, 0, 0]));
        bytes.push(0);
        bytes
    }
}

/// A handshake message.
pub(super) fn message_of(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a short body");
    [&[kind], &length.to_be_bytes()[1..], body].concat()
}

/// A handshake message as the shim's targets read it.
pub(super) fn message(bytes: &[u8]) -> Vec<u8> {
    [vec![bytes[0]], vector(&bytes[4..])].concat()
}

/// The handshake messages in front of the first ChangeCipherSpec.
pub(super) fn plain_messages(mut records: &[u8]) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    while let [22, _, _, high, low, rest @ ..] = records {
        let (body, rest) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        bytes.extend_from_slice(body);
        records = rest;
    }
    let mut messages = Vec::new();
    while let [_, a, b, c, ..] = bytes[..] {
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        messages.push(bytes.drain(..4 + length).collect());
    }
    messages
}

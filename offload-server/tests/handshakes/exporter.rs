//! Keying material for other protocols (RFC 8446 §7.5, RFC 5705) is that of the peer, in both
//! modes, roles and versions, and in sessions that are resumed.

use std::sync::Arc;

use crate::revoking::{BOTH, Person, of_rustls};
use crate::world::{World, parameters};
use ipc::bounded::{List, Text};
use ipc::control::{Established, Parameters};
use ipc::handshake::Completion;
use ipc::keystore::KeyKind;
use ipc::record::Request;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
};
use tls::{Role, Version};

const RING: (&str, &str, KeyKind) = ("web", "localhost", KeyKind::EcdsaP256);
const LABELS: [&[u8]; 2] = [b"EXPORTER-Channel-Binding", b""];
const CONTEXTS: [Option<&[u8]>; 3] = [None, Some(b""), Some(b"context")];

fn asked(version: Version) -> Parameters {
    Parameters {
        versions: List::from_items([version]).unwrap(),
        server_name: Some(Text::from_text("localhost").unwrap()),
        resumption: true,
        ..parameters(&["web"])
    }
}

fn client_config(world: &World, version: Version) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(world.authority.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(&of_rustls(version))
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

fn server_config(world: &World, version: Version) -> Arc<ServerConfig> {
    let person = Person::of(&world.issuer, 9);
    let mut config = ServerConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(&of_rustls(version))
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(person.chain.clone(), person.key())
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// A handshake of `world` in slot 0 with `peer`.
fn complete(world: &mut World, peer: &mut Connection) -> Established {
    let mut heard = world.exchange(0, &[]);
    for _ in 0..10 {
        let mut rest = &heard[..];
        while !rest.is_empty() {
            peer.read_tls(&mut rest).unwrap();
            peer.process_new_packets().unwrap();
        }
        match world.completion() {
            Some(Completion::Established { established, .. }) => return *established,
            Some(Completion::Failed { error, .. }) => panic!("{error:?}"),
            None => {}
        }
        let mut said = Vec::new();
        while peer.wants_write() {
            peer.write_tls(&mut said).unwrap();
        }
        heard = world.exchange(0, &said);
    }
    panic!("no completion");
}

/// What is installed exports as the peer does.
fn is_the_peers(world: &World, peer: &Connection, established: &Established, case: &str) {
    // In one slot or another.
    let installed = world.installed.take().into_values().next().unwrap();
    let Some(Request::Install { exporter, .. }) = installed.first() else {
        panic!("no keys");
    };
    for label in LABELS {
        for context in CONTEXTS {
            for length in [1, 32, 1024] {
                let mut ours = vec![0; length];
                let made = exporter.export(established.suite, label, context, &mut ours);
                assert_eq!(made, Ok(()));
                let theirs = vec![0; length];
                let theirs = peer.export_keying_material(theirs, label, context);
                assert!(
                    ours == theirs.unwrap(),
                    "{case}: {label:?} {context:?} {length}"
                );
            }
        }
    }
}

#[test]
fn a_server_exports_what_its_client_does() {
    for (mode, version) in BOTH {
        let mut world = World::in_mode(mode, &[RING]);
        let config = client_config(&world, version);
        for resumed in [false, true] {
            let request = Parameters {
                server_name: None,
                ..asked(version)
            };
            world.start(0, request);
            let name = ServerName::try_from("localhost").unwrap();
            let client = ClientConnection::new(config.clone(), name).unwrap();
            let mut client = Connection::Client(client);
            let established = complete(&mut world, &mut client);
            let case = format!("{mode:?} {version:?} {resumed}");
            assert_eq!(established.resumed, resumed, "{case}");
            // Its Finished, and tickets.
            let mut rest = &world.exchange(0, &[])[..];
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                client.process_new_packets().unwrap();
            }
            is_the_peers(&world, &client, &established, &case);
        }
    }
}

#[test]
fn a_client_exports_what_its_server_does() {
    for (mode, version) in BOTH {
        let mut world = World::in_mode(mode, &[RING]);
        let config = server_config(&world, version);
        world.start_as(0, Role::Client, asked(version));
        let mut server = Connection::Server(ServerConnection::new(config).unwrap());
        let established = complete(&mut world, &mut server);
        is_the_peers(
            &world,
            &server,
            &established,
            &format!("{mode:?} {version:?}"),
        );
    }
}

//! Which certificate a client shows to a server that names authorities.

use std::sync::Arc;

use crate::credulous::{Naming, Visitor};
use crate::revoking::{Authority, BOTH, Person, intermediate, of_rustls};
use crate::world::{World, authority, keyring, parameters, tenant};
use ipc::bounded::{List, Text};
use ipc::control::Parameters;
use ipc::handshake::Completion;
use ipc::keystore::KeyKind;
use ipc::tls::Mode;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, DistinguishedName, ServerConfig, ServerConnection};
use tls::{Role, Version};

/// A client with three rings: of `one`; of another that `two` authorised; of `two`.
fn client(mode: Mode, one: &Authority, two: &Authority) -> (World, [Vec<u8>; 3]) {
    let servers = authority();
    let ring = |label, issuer: &Authority| {
        keyring(
            (label, "localhost", KeyKind::EcdsaP256),
            issuer,
            servers.der(),
            None,
        )
    };
    let (between, certificate) = intermediate(two, 7);
    let mut rings = vec![
        ring("one", one),
        ring("between", &between),
        ring("two", two),
    ];
    rings[1].chain.push(certificate.to_vec());
    let shown = [0, 1, 2].map(|place: usize| rings[place].chain[0].clone());
    let world = World::with_keyrings(rings, servers, 4, 16);
    let world = match mode {
        Mode::Autonomous => world,
        Mode::Directed => {
            let names = ["one", "between", "two"].map(|name| (name, "", KeyKind::EcdsaP256));
            world.with_director(&names, 4, Vec::new())
        }
    };
    (world, shown)
}

/// How these are called.
fn names(authorities: &[&Authority]) -> Vec<DistinguishedName> {
    let subject = |authority: &&Authority| {
        let anchor = webpki::anchor_from_trusted_cert(authority.der()).unwrap();
        DistinguishedName::in_sequence(anchor.subject.as_ref())
    };
    authorities.iter().map(subject).collect()
}

/// The certificate that is shown to a server that names these, by the ring that the
/// completion tells.
fn shown(world: &mut World, authorities: &[&Authority], version: Version) -> (Vec<u8>, String) {
    let names = Naming(names(authorities));
    let person = Person::of(&world.issuer, 9);
    let provider = rustls::crypto::ring::default_provider();
    let mut config = ServerConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&of_rustls(version))
        .unwrap()
        .with_client_cert_verifier(Arc::new(names))
        .with_single_cert(person.chain.clone(), person.key())
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let request = Parameters {
        versions: List::from_items([version]).unwrap(),
        server_name: Some(Text::from_text("localhost").unwrap()),
        ..parameters(&["one", "between", "two"])
    };
    world.start_as(0, Role::Client, request);
    let mut server = ServerConnection::new(Arc::new(config)).unwrap();
    let mut heard = world.exchange(0, &[]);
    for _ in 0..10 {
        let mut rest = &heard[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut said = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut said).unwrap();
        }
        heard = world.exchange(0, &said);
        match world.completion() {
            Some(Completion::Established { established, .. }) => {
                let mut rest = &heard[..];
                while !rest.is_empty() {
                    server.read_tls(&mut rest).unwrap();
                    server.process_new_packets().unwrap();
                }
                let chain = server.peer_certificates().unwrap();
                return (chain[0].to_vec(), established.keyring.to_string());
            }
            Some(Completion::Failed { error, .. }) => panic!("{error:?}"),
            None => {}
        }
    }
    panic!("no completion");
}

#[test]
fn a_certificate_is_shown_that_one_of_the_authorities_issued() {
    for (mode, version) in BOTH {
        let (one, two, other) = (tenant("one"), tenant("two"), tenant("other"));
        for (authorities, place) in [
            // Anybody's will do.
            (&[][..], 0),
            (&[&one], 0),
            // Also one that it authorised; the first of them.
            (&[&other, &two], 1),
            (&[&two, &one], 0),
            // None fits: the server decides.
            (&[&other], 0),
        ] {
            let (mut world, certificates) = client(mode, &one, &two);
            let (certificate, ring) = shown(&mut world, authorities, version);
            let found = certificates.iter().position(|known| *known == certificate);
            assert_eq!(found, Some(place), "{mode:?} {version:?}");
            assert_eq!(
                ring,
                ["one", "between", "two"][place],
                "{mode:?} {version:?}"
            );
        }
    }
}

// ---- as server ----

/// A server with three rings: of `one`; of `two`; of `two`, for another name.
fn server(mode: Mode, one: &Authority, two: &Authority) -> World {
    let clients = authority();
    let ring = |label, name, issuer: &Authority| {
        let trust = clients.der();
        keyring((label, name, KeyKind::EcdsaP256), issuer, trust, None)
    };
    let rings = vec![
        ring("one", "localhost", one),
        ring("two", "localhost", two),
        ring("three", "other.test", two),
    ];
    let world = World::with_keyrings(rings, clients, 4, 16);
    match mode {
        Mode::Autonomous => world,
        Mode::Directed => {
            let names = ["one", "two", "three"].map(|name| (name, "", KeyKind::EcdsaP256));
            world.with_director(&names, 4, Vec::new())
        }
    }
}

/// The ring that a client is shown which asks for `name`, if it does, and names these.
fn shown_to(
    world: &mut World,
    (name, authorities): (Option<&'static str>, &[&Authority]),
    version: Version,
) -> String {
    let request = Parameters {
        versions: List::from_items([version]).unwrap(),
        ..parameters(&["one", "two", "three"])
    };
    world.start(0, request);
    let visitor = Visitor {
        names: names(authorities),
        ..Visitor::default()
    };
    let provider = rustls::crypto::ring::default_provider();
    let mut config = ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&of_rustls(version))
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(visitor))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.enable_sni = name.is_some();
    let name = ServerName::try_from(name.unwrap_or("localhost")).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    for _ in 0..10 {
        let mut said = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut said).unwrap();
        }
        let heard = world.exchange(0, &said);
        let mut rest = &heard[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
        match world.completion() {
            Some(Completion::Established { established, .. }) => {
                return established.keyring.to_string();
            }
            Some(Completion::Failed { error, .. }) => panic!("{error:?}"),
            None => {}
        }
    }
    panic!("no completion");
}

#[test]
fn a_server_shows_a_chain_that_one_of_the_client_s_authorities_issued() {
    for (mode, version) in BOTH {
        let (one, two, other) = (tenant("one"), tenant("two"), tenant("other"));
        let local = Some("localhost");
        for (name, authorities, expected) in [
            (local, &[][..], "one"),
            (local, &[&one], "one"),
            (local, &[&other, &two], "two"),
            (local, &[&two, &one], "one"),
            // None fits: the client decides.
            (local, &[&other], "one"),
            (None, &[], "one"),
            (None, &[&two], "two"),
            // The name comes first.
            (Some("other.test"), &[&one], "three"),
            (Some("other.test"), &[&two], "three"),
            (Some("nobody.test"), &[&two], "two"),
        ] {
            let mut world = server(mode, &one, &two);
            let ring = shown_to(&mut world, (name, authorities), version);
            // RFC 8446 §4.2.4: nothing that TLS 1.2 has.
            let expected = match (version, name) {
                (Version::Tls13, _) => expected,
                (Version::Tls12, Some("other.test")) => "three",
                (Version::Tls12, _) => "one",
            };
            assert_eq!(ring, expected, "{mode:?} {version:?} {name:?}");
        }
    }
}

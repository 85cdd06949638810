//! Directed mode in the client's role, against rustls as server.

use std::sync::Arc;

use crate::world::{World, key_of, parameters, version_of};
use ipc::bounded::{List, Text};
use ipc::control::{Established, HandshakeError, PeerError, RequestError};
use ipc::handshake::Completion;
use ipc::keystore::KeyKind;
use rustls::crypto::ring as provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{UnbufferedServerConnection, WebPkiClientVerifier};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tls::{Alert, CipherSuite, Group, Version};

const KINDS: [KeyKind; 4] = [
    KeyKind::EcdsaP256,
    KeyKind::EcdsaP384,
    KeyKind::Ed25519,
    KeyKind::Rsa,
];
const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

struct Options {
    kind: KeyKind,
    name: &'static str,
    version: &'static SupportedProtocolVersion,
    group: Group,
    asks: bool,
    /// Whether it accepts signatures by RSA.
    takes_rsa: bool,
    /// Another authority's certificate.
    stranger: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kind: KeyKind::EcdsaP256,
            name: "server.test",
            version: VERSIONS[0],
            group: Group::X25519,
            asks: false,
            takes_rsa: true,
            stranger: false,
        }
    }
}

/// A server, and what it has to say and has not said.
struct Server {
    connection: UnbufferedServerConnection,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    error: Option<rustls::Error>,
}

impl Server {
    fn new(world: &World, options: &Options) -> Self {
        let group = peer_groups::group(options.group.number()).unwrap();
        let provider = Arc::new(rustls::crypto::CryptoProvider {
            kx_groups: vec![group],
            ..provider::default_provider()
        });
        let key = key_of(options.kind);
        let params = rcgen::CertificateParams::new(vec![options.name.into()]).unwrap();
        let certificate = match options.stranger {
            true => {
                let mut other = rcgen::CertificateParams::new(vec![]).unwrap();
                other.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
                other
                    .distinguished_name
                    .push(rcgen::DnType::CommonName, "stranger");
                let issuer =
                    rcgen::CertifiedIssuer::self_signed(other, key_of(KeyKind::EcdsaP256)).unwrap();
                params.signed_by(&key, &issuer).unwrap()
            }
            false => params.signed_by(&key, &world.issuer).unwrap(),
        };
        let builder = ServerConfig::builder_with_details(
            provider.clone(),
            Arc::new(rustls::time_provider::DefaultTimeProvider),
        )
        .with_protocol_versions(&[options.version])
        .unwrap();
        let builder = match options.asks {
            false => builder.with_no_client_auth(),
            true => {
                let mut roots = RootCertStore::empty();
                roots.add(world.authority.clone()).unwrap();
                let mut provider = rustls::crypto::CryptoProvider::clone(&provider);
                if !options.takes_rsa {
                    let algorithms = &mut provider.signature_verification_algorithms;
                    let mapping = algorithms.mapping.iter().copied();
                    let without = mapping.filter(|(scheme, _)| {
                        !matches!(
                            u16::from(*scheme),
                            0x0401 | 0x0501 | 0x0601 | 0x0804..=0x0806
                        )
                    });
                    algorithms.mapping = Box::leak(without.collect());
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.into())
                        .allow_unauthenticated()
                        .build()
                        .unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let mut config = builder
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.enable_secret_extraction = true;
        config.require_ems = true;
        Self {
            connection: UnbufferedServerConnection::new(Arc::new(config)).unwrap(),
            incoming: Vec::new(),
            outgoing: Vec::new(),
            error: None,
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.incoming.extend_from_slice(bytes);
        loop {
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(&mut self.incoming);
            let goes_on = match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let start = self.outgoing.len();
                    let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else {
                        panic!("nothing to encode");
                    };
                    self.outgoing.resize(start + size.required_size, 0);
                    data.encode(&mut self.outgoing[start..]).unwrap();
                    true
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    true
                }
                Err(error) => {
                    let first = self.error.is_none();
                    self.error.get_or_insert(error);
                    first
                }
                Ok(_) => false,
            };
            self.incoming.drain(..discard);
            if !goes_on {
                return;
            }
        }
    }
}

fn world() -> World {
    World::directed(&[("me", "client", KeyKind::EcdsaP256)])
}

fn start(world: &mut World) {
    start_with(world, &[]);
}

fn start_with(world: &mut World, groups: &[Group]) {
    let mut asked = parameters(&["me"]);
    asked.groups = List::from_items(groups.iter().copied()).unwrap();
    asked.server_name = Some(Text::from_text("server.test").unwrap());
    world.start_client(0, asked);
}

/// Runs the handshake in slot 0 to its completion.
fn complete(world: &mut World, server: &mut Server) -> Completion {
    for _ in 0..10 {
        let said = world.exchange(0, &std::mem::take(&mut server.outgoing));
        server.receive(&said);
        if let Some(completion) = world.completion() {
            return completion;
        }
    }
    panic!("no completion; server: {:?}", server.error);
}

fn established(completion: Completion) -> Established {
    match completion {
        Completion::Established { established, .. } => *established,
        Completion::Failed { error, .. } => panic!("failed: {error:?}"),
    }
}

fn failure(completion: Completion) -> HandshakeError {
    match completion {
        Completion::Failed { error, .. } => error,
        _ => panic!("no failure"),
    }
}

#[test]
fn r12_r17_r22_r26_r28_a_handshake_with_every_kind_of_key_and_group_in_each_version() {
    for version in VERSIONS {
        for kind in KINDS {
            for group in Group::ALL {
                if !group.is_for(version_of(version)) {
                    continue;
                }
                let mut world = world();
                start_with(&mut world, &Group::ALL);
                let options = Options {
                    version,
                    kind,
                    group,
                    ..Options::default()
                };
                let mut server = Server::new(&world, &options);
                let established = established(complete(&mut world, &mut server));
                server.receive(&world.exchange(0, &[]));
                assert!(!server.connection.is_handshaking(), "{:?}", server.error);
                assert_eq!(established.group, Some(group));
                // Of its first choice the client sends both halves.
                let is_guessed = matches!(group, Group::X25519 | Group::X25519MlKem768)
                    || version_of(version) == Version::Tls12;
                let kind = match is_guessed {
                    true => HandshakeKind::Full,
                    false => HandshakeKind::FullWithHelloRetryRequest,
                };
                assert_eq!(server.connection.handshake_kind(), Some(kind), "{group:?}");
                assert_eq!(established.alpn.as_deref(), Some(&b"http/1.1"[..]));
                let peer = established.peer.unwrap();
                assert!(peer.certificate_len > 0);
            }
        }
    }
}

/// The types of the records in `bytes`.
fn records(bytes: &[u8]) -> Vec<u8> {
    let (mut kinds, mut rest) = (Vec::new(), bytes);
    while let [kind, _, _, high, low, ..] = *rest {
        kinds.push(kind);
        rest = &rest[5 + usize::from(u16::from_be_bytes([high, low]))..];
    }
    kinds
}

#[test]
fn a_client_looks_to_middleboxes_as_if_it_resumed_tls_1_2() {
    // RFC 8446 §D.4: a session identifier, and one ChangeCipherSpec before the second
    // flight: at the server's first choice of group, and with a HelloRetryRequest.
    for (group, flights) in [
        (Group::X25519, &[&[22][..], &[20, 23]][..]),
        (Group::Secp384r1, &[&[22], &[20, 22], &[23]]),
    ] {
        let mut world = world();
        start(&mut world);
        let options = Options {
            group,
            ..Options::default()
        };
        let mut server = Server::new(&world, &options);
        let mut said = Vec::new();
        for _ in 0..4 {
            let bytes = world.exchange(0, &std::mem::take(&mut server.outgoing));
            if said.is_empty() {
                assert_eq!(bytes[5 + 4 + 2 + 32], 32, "a session identifier");
            }
            // RFC 8446 §5.1: TLS 1.0 in the first record, TLS 1.2 in all others.
            if let Some(version) = bytes.get(1..3) {
                assert_eq!(version, [3, if said.is_empty() { 1 } else { 3 }]);
            }
            if !bytes.is_empty() {
                said.push(records(&bytes));
            }
            server.receive(&bytes);
        }
        assert!(!server.connection.is_handshaking(), "{:?}", server.error);
        assert_eq!(said, flights);
    }
}

#[test]
fn r24_a_client_shows_a_certificate_when_it_is_asked() {
    for version in VERSIONS {
        for kind in KINDS {
            let mut world = World::directed(&[("me", "client", kind)]);
            start(&mut world);
            let options = Options {
                version,
                asks: true,
                ..Options::default()
            };
            let mut server = Server::new(&world, &options);
            established(complete(&mut world, &mut server));
            server.receive(&world.exchange(0, &[]));
            assert!(!server.connection.is_handshaking(), "{:?}", server.error);
            assert!(server.connection.peer_certificates().is_some(), "{kind:?}");
        }
    }
}

#[test]
fn r24_a_client_shows_none_when_the_server_takes_no_such_key() {
    for version in VERSIONS {
        let mut world = World::directed(&[("me", "client", KeyKind::Rsa)]);
        start(&mut world);
        let options = Options {
            version,
            asks: true,
            takes_rsa: false,
            ..Options::default()
        };
        let mut server = Server::new(&world, &options);
        established(complete(&mut world, &mut server));
        server.receive(&world.exchange(0, &[]));
        assert!(!server.connection.is_handshaking(), "{:?}", server.error);
        assert!(server.connection.peer_certificates().is_none());
    }
}

#[test]
fn r17_a_chain_of_another_authority_or_for_another_name_is_refused() {
    for version in VERSIONS {
        for (name, stranger, alert) in [
            ("other.test", false, Alert(42)),
            ("server.test", true, Alert(48)),
        ] {
            let mut world = world();
            start(&mut world);
            let options = Options {
                version,
                name,
                stranger,
                ..Options::default()
            };
            let mut server = Server::new(&world, &options);
            let error = failure(complete(&mut world, &mut server));
            assert_eq!(error, HandshakeError::Peer(PeerError::AlertSent(alert)));
            let heard = format!("{:?}", server.error.unwrap());
            assert!(heard.contains("AlertReceived"), "{heard}");
        }
    }
}

#[test]
fn r06_a_client_offers_what_was_asked_for_and_accepts_nothing_else() {
    let mut world = world();
    let mut asked = parameters(&["me"]);
    asked.server_name = Some(Text::from_text("server.test").unwrap());
    asked.versions = List::from_items([Version::Tls13]).unwrap();
    asked.suites = List::from_items([CipherSuite::ChaCha20Poly1305Sha256]).unwrap();
    world.start_client(0, asked);
    let mut server = Server::new(&world, &Options::default());
    let established = established(complete(&mut world, &mut server));
    assert_eq!(established.suite, CipherSuite::ChaCha20Poly1305Sha256);

    let mut world = self::world();
    world.start_client(0, parameters(&["me"]));
    let error = failure(world.completion().unwrap());
    assert_eq!(error, HandshakeError::Request(RequestError::Unsupported));
    assert!(world.exchange(0, &[]).is_empty());
}

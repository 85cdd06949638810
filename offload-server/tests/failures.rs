//! A thousand failed handshakes of each kind, in both roles and modes: each failure
//! is reported once, and the table of handshakes is empty after them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    missing_docs,
    unreachable_pub,
    reason = "a test"
)]

mod client;
mod lying;
mod world;

use std::sync::Arc;

use client::{established, failure};
use ipc::bounded::{List, Text};
use ipc::channel::Status;
use ipc::control::{HandshakeError, Parameters, PeerError};
use ipc::keystore::KeyKind;
use ipc::stats;
use ipc::tls::{Mode, PeerAuthentication};
use lying::{MACS, lying};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, CipherSuite, ClientConfig, ClientConnection, ConnectionCommon, RootCertStore,
    ServerConfig, ServerConnection, SignatureScheme,
};
use tls::{Alert, Group, Role, Version};
use world::{World, key_of, parameters};

const ROUNDS: u64 = 1000;
const SLOT: u16 = 0;
/// handshake_failure, fatal, in the clear.
const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];

const DECRYPT_ERROR: u8 = 51;
const BAD_RECORD_MAC: u8 = 20;
const HANDSHAKE_FAILURE: u8 = 40;
const CERTIFICATE_REQUIRED: u8 = 116;
const UNKNOWN_CA: u8 = 48;
const PROTOCOL_VERSION: u8 = 70;
const BAD_CERTIFICATE: u8 = 42;

type V = &'static rustls::SupportedProtocolVersion;

/// How the peer ends a handshake.
type Fault<'a> = &'a dyn Fn(&mut World);

/// Everything of one role and mode.
struct Case {
    mode: Mode,
    role: Role,
    asked: Parameters,
    /// The issuer of the trusted certificates.
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Case {
    fn new(mode: Mode, role: Role) -> Self {
        let mut asked = parameters(&["me"]);
        asked.alpn = List::new();
        if role == Role::Client {
            asked.server_name = Some(Text::from_text("server.test").unwrap());
        }
        Self {
            mode,
            role,
            asked,
            issuer: world::authority(),
        }
    }

    fn asking(mode: Mode, role: Role, change: impl FnOnce(&mut Parameters)) -> Self {
        let mut case = Self::new(mode, role);
        change(&mut case.asked);
        case
    }

    /// A thousand times; each ends in one of `errors`, once.
    #[track_caller]
    fn fails(&self, what: &str, errors: &[HandshakeError], fault: Fault<'_>) {
        let what = format!("{what}, {:?} {:?}", self.mode, self.role);
        let mut world = World::in_mode(self.mode, &[("me", "localhost", KeyKind::EcdsaP256)]);
        for _ in 0..ROUNDS {
            world.start_as(SLOT, self.role, self.asked.clone());
            fault(&mut world);
            let Some(completion) = world.completion() else {
                panic!("{what}: it waits");
            };
            let error = failure(completion);
            assert!(errors.contains(&error), "{what}: {error:?}");
            assert!(world.completion().is_none(), "{what}: told twice");
        }
        world::director::audit();
        assert_eq!(world.stats.read(stats::offload::FAILED), ROUNDS, "{what}");
        assert_eq!(world.stats.read(stats::offload::IN_PROGRESS), 0, "{what}");
        // All four slots are free still.
        for slot in 0..4 {
            world.start_as(slot, self.role, self.asked.clone());
        }
        assert_eq!(world.stats.read(stats::offload::IN_PROGRESS), 4, "{what}");
    }

    fn client(&self, version: V, provider: CryptoProvider, shown: Option<Shown>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        match shown {
            Some(shown) => builder.with_client_cert_resolver(Arc::new(shown)),
            None => builder.with_no_client_auth(),
        }
    }

    fn server(version: V, provider: CryptoProvider, shown: Shown) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth();
        Arc::new(builder.with_cert_resolver(Arc::new(shown)))
    }
}

/// A certificate and a key, which need not be of each other.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl Shown {
    fn new(issuer: &CertifiedIssuer<'_, KeyPair>, name: &str, is_its_key: bool) -> Self {
        let key = key_of(KeyKind::EcdsaP256);
        let params = CertificateParams::new(vec![name.into()]).unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap();
        let signs = if is_its_key {
            key
        } else {
            key_of(KeyKind::EcdsaP256)
        };
        let signs = PrivateKeyDer::Pkcs8(signs.serialize_der().into());
        let signs = provider::sign::any_supported_type(&signs).unwrap();
        let chain = vec![certificate.der().clone()];
        Self(Arc::new(CertifiedKey::new(chain, signs)))
    }

    fn of_stranger(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "stranger");
        let issuer = CertifiedIssuer::self_signed(params, key_of(KeyKind::EcdsaP256)).unwrap();
        Self::new(&issuer, name, true)
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

fn peer(errors: &[PeerError]) -> Vec<HandshakeError> {
    errors.iter().copied().map(HandshakeError::Peer).collect()
}

fn sent(alerts: &[u8]) -> Vec<HandshakeError> {
    let sent = |alert: &u8| HandshakeError::Peer(PeerError::AlertSent(Alert(*alert)));
    alerts.iter().map(sent).collect()
}

fn received(alert: u8) -> Vec<HandshakeError> {
    peer(&[PeerError::AlertReceived(Alert(alert))])
}

/// The network stack says something of the connection.
fn ends(world: &mut World, status: u16) {
    world.net.set_status(SLOT, status);
    world.net.notify(SLOT);
    world.run();
}

fn flight<D>(connection: &mut ConnectionCommon<D>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Takes what the component says; the error that comes of it.
fn hear<D>(connection: &mut ConnectionCommon<D>, mut bytes: &[u8]) -> Option<rustls::Error> {
    while !bytes.is_empty() {
        connection.read_tls(&mut bytes).unwrap();
        if let Err(error) = connection.process_new_packets() {
            return Some(error);
        }
    }
    None
}

fn connect(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(config.clone(), name).unwrap()
}

/// What a client says after the server's flight.
fn second_flight(config: &Arc<ClientConfig>, world: &mut World) -> Vec<u8> {
    let mut client = connect(config);
    let answer = world.exchange(SLOT, &flight(&mut client));
    hear(&mut client, &answer);
    flight(&mut client)
}

/// A server that received the client's hello, and its flight.
fn answered(config: &Arc<ServerConfig>, world: &mut World) -> (ServerConnection, Vec<u8>) {
    let mut server = ServerConnection::new(config.clone()).unwrap();
    let hello = world.exchange(SLOT, &[]);
    hear(&mut server, &hello);
    let answer = flight(&mut server);
    (server, answer)
}

fn change_last(bytes: &mut [u8]) {
    *bytes.last_mut().unwrap() ^= 1;
}

const MODES: [Mode; 2] = [Mode::Autonomous, Mode::Directed];
const VERSIONS: [V; 2] = [&TLS13, &TLS12];

fn all() -> CryptoProvider {
    provider::default_provider()
}

// ---- the component as server ----

#[test]
fn r09_a_thousand_clients_that_leave_at_each_flight() {
    for mode in MODES {
        let case = Case::new(mode, Role::Server);
        let closed = peer(&[PeerError::Closed]);
        for version in VERSIONS {
            let config = Arc::new(case.client(version, all(), None));
            let hello = flight(&mut connect(&config));
            for (what, cut, status, error) in [
                ("nothing", 0, Status::END, PeerError::Closed),
                ("part of a hello", 60, Status::END, PeerError::Closed),
                ("a reset", 60, Status::RESET, PeerError::Closed),
                ("the deadline", 60, Status::DEADLINE, PeerError::Deadline),
                ("a hello", hello.len(), Status::END, PeerError::Closed),
                (
                    "a late flight",
                    hello.len(),
                    Status::DEADLINE,
                    PeerError::Deadline,
                ),
            ] {
                case.fails(what, &peer(&[error]), &|world| {
                    world.exchange(SLOT, &hello[..cut]);
                    ends(world, status);
                });
            }
            case.fails("part of Finished", &closed, &|world| {
                let finished = second_flight(&config, world);
                world.exchange(SLOT, &finished[..finished.len() - 1]);
                ends(world, Status::END);
            });
            case.fails("an alert", &received(HANDSHAKE_FAILURE), &|world| {
                world.exchange(SLOT, &[&hello[..], &ALERT].concat());
            });
        }
        case.fails("no TLS", &peer(&[PeerError::NotTls]), &|world| {
            world.exchange(SLOT, b"GET / HTTP/1.1\r\n\r\n");
        });
    }
}

#[test]
fn r28_r29_a_thousand_finished_messages_that_are_wrong() {
    let told = Some(rustls::Error::AlertReceived(AlertDescription::DecryptError));
    for mode in MODES {
        // rustls has one error for this and for a record that does not open. It
        // sends the alert that fits; where that is sealed, the report names the
        // record's.
        let wrong = match mode {
            Mode::Autonomous => sent(&[DECRYPT_ERROR, BAD_RECORD_MAC]),
            Mode::Directed => sent(&[DECRYPT_ERROR]),
        };
        let case = Case::new(mode, Role::Server);
        for version in VERSIONS {
            // After the server's own, which it checks.
            let liar = Arc::new(case.client(version, lying(2, b"client finished"), None));
            case.fails("a wrong MAC", &wrong, &|world| {
                MACS.set(0);
                let mut client = connect(&liar);
                let answer = world.exchange(SLOT, &flight(&mut client));
                hear(&mut client, &answer);
                let back = world.exchange(SLOT, &flight(&mut client));
                assert_eq!(hear(&mut client, &back), told);
            });
            let config = Arc::new(case.client(version, all(), None));
            case.fails("a changed record", &sent(&[BAD_RECORD_MAC]), &|world| {
                let mut finished = second_flight(&config, world);
                change_last(&mut finished);
                world.exchange(SLOT, &finished);
            });
        }
        let case = Case::new(mode, Role::Client);
        for version in VERSIONS {
            let shown = || Shown::new(&case.issuer, "server.test", true);
            let liar = Case::server(version, lying(1, b"server finished"), shown());
            case.fails("a wrong MAC", &wrong, &|world| {
                MACS.set(0);
                let (mut server, answer) = answered(&liar, world);
                let back = world.exchange(SLOT, &answer);
                let heard = hear(&mut server, &back).or_else(|| {
                    // In TLS 1.2 its Finished is in its second flight.
                    let back = world.exchange(SLOT, &flight(&mut server));
                    hear(&mut server, &back)
                });
                assert_eq!(heard, told);
            });
        }
    }
}

#[test]
fn r16_r25_a_thousand_clients_whose_certificate_is_not_believed() {
    for mode in MODES {
        let case = Case::asking(mode, Role::Server, |asked| {
            asked.peer_authentication = PeerAuthentication::Require;
        });
        for version in VERSIONS {
            let nobody = sent(&[CERTIFICATE_REQUIRED, HANDSHAKE_FAILURE]);
            for (what, shown, errors) in [
                ("nobody", None, nobody),
                (
                    "a stranger",
                    Some(Shown::of_stranger("client")),
                    sent(&[UNKNOWN_CA]),
                ),
                (
                    "another's certificate",
                    Some(Shown::new(&case.issuer, "client", false)),
                    sent(&[DECRYPT_ERROR]),
                ),
            ] {
                let config = Arc::new(case.client(version, all(), shown));
                case.fails(what, &errors, &|world| {
                    let second = second_flight(&config, world);
                    world.exchange(SLOT, &second);
                });
            }
        }
    }
}

#[test]
fn r06_a_thousand_clients_with_nothing_in_common() {
    for mode in MODES {
        let only = |versions: &[Version], groups: &[Group]| {
            Case::asking(mode, Role::Server, |asked| {
                asked.versions = List::from_items(versions.iter().copied()).unwrap();
                asked.groups = List::from_items(groups.iter().copied()).unwrap();
            })
        };
        for (version, case) in [
            (&TLS12, only(&[Version::Tls13], &[])),
            (&TLS13, only(&[Version::Tls12], &[])),
        ] {
            let hello = flight(&mut connect(&Arc::new(case.client(version, all(), None))));
            case.fails("a version", &sent(&[PROTOCOL_VERSION]), &|world| {
                world.exchange(SLOT, &hello);
            });
        }
        for version in VERSIONS {
            let case = only(&[Version::Tls13, Version::Tls12], &[Group::Secp384r1]);
            let mut x25519 = all();
            x25519
                .kx_groups
                .retain(|group| group.name() == rustls::NamedGroup::X25519);
            let hello = flight(&mut connect(&Arc::new(case.client(version, x25519, None))));
            case.fails("a group", &sent(&[HANDSHAKE_FAILURE]), &|world| {
                world.exchange(SLOT, &hello);
            });
        }
        let case = Case::asking(mode, Role::Server, |asked| {
            asked.versions = List::from_items([Version::Tls13]).unwrap();
            asked.suites = List::from_items([tls::CipherSuite::ChaCha20Poly1305Sha256]).unwrap();
        });
        let mut aes = all();
        let wanted = CipherSuite::TLS13_AES_128_GCM_SHA256;
        aes.cipher_suites.retain(|suite| suite.suite() == wanted);
        let hello = flight(&mut connect(&Arc::new(case.client(&TLS13, aes, None))));
        case.fails("a suite", &sent(&[HANDSHAKE_FAILURE]), &|world| {
            world.exchange(SLOT, &hello);
        });
    }
}

#[test]
fn r33_a_thousand_binders_that_are_wrong() {
    // Each full handshake gives two tickets, and a world has room for eight.
    const TICKETS: u64 = 8;
    for mode in MODES {
        let case = Case::asking(mode, Role::Server, |asked| asked.resumption = true);
        for _ in 0..ROUNDS / TICKETS {
            let mut world = World::in_mode(mode, &[("me", "localhost", KeyKind::EcdsaP256)]);
            // One that has a ticket already would resume.
            let clients = [0; TICKETS as usize / 2];
            let clients = clients.map(|_| Arc::new(case.client(&TLS13, all(), None)));
            for config in &clients {
                world.start(SLOT, case.asked.clone());
                let mut client = connect(config);
                let answer = world.exchange(SLOT, &flight(&mut client));
                hear(&mut client, &answer);
                let tickets = world.exchange(SLOT, &flight(&mut client));
                hear(&mut client, &tickets);
                established(world.completion().unwrap());
            }
            for config in clients.iter().chain(&clients) {
                world.start(SLOT, case.asked.clone());
                let mut hello = flight(&mut connect(config));
                change_last(&mut hello);
                world.exchange(SLOT, &hello);
                let error = failure(world.completion().unwrap());
                assert!(
                    sent(&[DECRYPT_ERROR]).contains(&error),
                    "{mode:?}: {error:?}"
                );
            }
            world::director::audit();
            assert_eq!(world.stats.read(stats::offload::FAILED), TICKETS);
            assert_eq!(world.stats.read(stats::offload::IN_PROGRESS), 0);
        }
    }
}

// ---- the component as client ----

#[test]
fn r09_a_thousand_servers_that_leave_at_each_flight() {
    for mode in MODES {
        let case = Case::new(mode, Role::Client);
        for (what, status, error) in [
            ("nothing", Status::END, PeerError::Closed),
            ("a reset", Status::RESET, PeerError::Closed),
            ("the deadline", Status::DEADLINE, PeerError::Deadline),
        ] {
            case.fails(what, &peer(&[error]), &|world| ends(world, status));
        }
        case.fails("an alert", &received(HANDSHAKE_FAILURE), &|world| {
            world.exchange(SLOT, &ALERT);
        });
        case.fails("no TLS", &peer(&[PeerError::NotTls]), &|world| {
            world.exchange(SLOT, b"HTTP/1.1 400 Bad Request\r\n\r\n");
        });
        for version in VERSIONS {
            let shown = Shown::new(&case.issuer, "server.test", true);
            let config = Case::server(version, all(), shown);
            for (what, status, error) in [
                ("part of a flight", Status::END, PeerError::Closed),
                ("part, and a reset", Status::RESET, PeerError::Closed),
                (
                    "part, and the deadline",
                    Status::DEADLINE,
                    PeerError::Deadline,
                ),
            ] {
                case.fails(what, &peer(&[error]), &|world| {
                    let (_, answer) = answered(&config, world);
                    world.exchange(SLOT, &answer[..answer.len() - 1]);
                    ends(world, status);
                });
            }
        }
    }
}

#[test]
fn r17_a_thousand_servers_that_are_not_believed() {
    for mode in MODES {
        let case = Case::new(mode, Role::Client);
        for version in VERSIONS {
            for (what, shown, errors) in [
                (
                    "a stranger",
                    Shown::of_stranger("server.test"),
                    sent(&[UNKNOWN_CA]),
                ),
                (
                    "another name",
                    Shown::new(&case.issuer, "other.test", true),
                    sent(&[BAD_CERTIFICATE]),
                ),
                (
                    "another's certificate",
                    Shown::new(&case.issuer, "server.test", false),
                    sent(&[DECRYPT_ERROR]),
                ),
            ] {
                let config = Case::server(version, all(), shown);
                case.fails(what, &errors, &|world| {
                    let (_, answer) = answered(&config, world);
                    world.exchange(SLOT, &answer);
                });
            }
        }
        for (version, asked) in [(&TLS12, Version::Tls13), (&TLS13, Version::Tls12)] {
            let case = Case::asking(mode, Role::Client, |asked_for| {
                asked_for.versions = List::from_items([asked]).unwrap();
            });
            let shown = Shown::new(&case.issuer, "server.test", true);
            let config = Case::server(version, all(), shown);
            case.fails("a version", &received(PROTOCOL_VERSION), &|world| {
                let (_, alert) = answered(&config, world);
                world.exchange(SLOT, &alert);
            });
        }
    }
}

//! What fails a thousand times: a role in a mode, and the peers that it fails with.

use std::sync::Arc;

use crate::client::failure;
use crate::world::{World, key_of, parameters};
use ipc::bounded::{List, Text};
use ipc::control::{HandshakeError, Parameters, PeerError};
use ipc::keystore::KeyKind;
use ipc::stats;
use ipc::tls::Mode;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme,
};
use tls::{Alert, Role};

pub(crate) const ROUNDS: u64 = 1000;
pub(crate) const SLOT: u16 = 0;
/// handshake_failure, fatal, in the clear.
pub(crate) const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];

pub(crate) type V = &'static rustls::SupportedProtocolVersion;

/// How the peer ends a handshake.
pub(crate) type Fault<'a> = &'a dyn Fn(&mut World);

/// Everything of one role and mode.
pub(crate) struct Case {
    pub(crate) mode: Mode,
    pub(crate) role: Role,
    pub(crate) asked: Parameters,
    /// The issuer of the trusted certificates.
    pub(crate) issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Case {
    pub(crate) fn new(mode: Mode, role: Role) -> Self {
        let mut asked = parameters(&["me"]);
        asked.alpn = List::new();
        if role == Role::Client {
            asked.server_name = Some(Text::from_text("server.test").unwrap());
        }
        Self {
            mode,
            role,
            asked,
            issuer: crate::world::authority(),
        }
    }

    pub(crate) fn asking(mode: Mode, role: Role, change: impl FnOnce(&mut Parameters)) -> Self {
        let mut case = Self::new(mode, role);
        change(&mut case.asked);
        case
    }

    /// A thousand times; each ends in one of `errors`, once.
    #[track_caller]
    pub(crate) fn fails(&self, what: &str, errors: &[HandshakeError], fault: Fault<'_>) {
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
        crate::world::director::audit();
        assert_eq!(world.stats.read(stats::offload::FAILED), ROUNDS, "{what}");
        assert_eq!(world.stats.read(stats::offload::IN_PROGRESS), 0, "{what}");
        // All four slots are free still.
        for slot in 0..4 {
            world.start_as(slot, self.role, self.asked.clone());
        }
        assert_eq!(world.stats.read(stats::offload::IN_PROGRESS), 4, "{what}");
    }

    pub(crate) fn client(
        &self,
        version: V,
        provider: CryptoProvider,
        shown: Option<Shown>,
    ) -> ClientConfig {
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

    pub(crate) fn server(version: V, provider: CryptoProvider, shown: Shown) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth();
        Arc::new(builder.with_cert_resolver(Arc::new(shown)))
    }
}

/// A certificate and a key, which need not be of each other.
#[derive(Debug)]
pub(crate) struct Shown(Arc<CertifiedKey>);

impl Shown {
    pub(crate) fn new(issuer: &CertifiedIssuer<'_, KeyPair>, name: &str, is_its_key: bool) -> Self {
        Self::with(issuer, name, is_its_key, &|_| {})
    }

    /// With another certificate.
    pub(crate) fn with(
        issuer: &CertifiedIssuer<'_, KeyPair>,
        name: &str,
        is_its_key: bool,
        change: &dyn Fn(&mut CertificateParams),
    ) -> Self {
        let key = key_of(KeyKind::EcdsaP256);
        let mut params = CertificateParams::new(vec![name.into()]).unwrap();
        change(&mut params);
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

    pub(crate) fn of_stranger(name: &str) -> Self {
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

pub(crate) fn peer(errors: &[PeerError]) -> Vec<HandshakeError> {
    errors.iter().copied().map(HandshakeError::Peer).collect()
}

pub(crate) fn sent(alerts: &[u8]) -> Vec<HandshakeError> {
    let sent = |alert: &u8| HandshakeError::Peer(PeerError::AlertSent(Alert(*alert)));
    alerts.iter().map(sent).collect()
}

pub(crate) fn received(alert: u8) -> Vec<HandshakeError> {
    peer(&[PeerError::AlertReceived(Alert(alert))])
}

/// The network stack says something of the connection.
pub(crate) fn ends(world: &mut World, status: u16) {
    world.net.set_status(SLOT, status);
    world.net.notify(SLOT);
    world.run();
}

pub(crate) fn flight<D>(connection: &mut ConnectionCommon<D>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Takes what the component says; the error that comes of it.
pub(crate) fn hear<D>(
    connection: &mut ConnectionCommon<D>,
    mut bytes: &[u8],
) -> Option<rustls::Error> {
    while !bytes.is_empty() {
        connection.read_tls(&mut bytes).unwrap();
        if let Err(error) = connection.process_new_packets() {
            return Some(error);
        }
    }
    None
}

pub(crate) fn connect(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(config.clone(), name).unwrap()
}

/// What a client says after the server's flight.
pub(crate) fn second_flight(config: &Arc<ClientConfig>, world: &mut World) -> Vec<u8> {
    let mut client = connect(config);
    let answer = world.exchange(SLOT, &flight(&mut client));
    hear(&mut client, &answer);
    flight(&mut client)
}

/// A server that received the client's hello, and its flight.
pub(crate) fn answered(
    config: &Arc<ServerConfig>,
    world: &mut World,
) -> (ServerConnection, Vec<u8>) {
    let mut server = ServerConnection::new(config.clone()).unwrap();
    let hello = world.exchange(SLOT, &[]);
    hear(&mut server, &hello);
    let answer = flight(&mut server);
    (server, answer)
}

pub(crate) fn change_last(bytes: &mut [u8]) {
    *bytes.last_mut().unwrap() ^= 1;
}

pub(crate) const MODES: [Mode; 2] = [Mode::Autonomous, Mode::Directed];
pub(crate) const VERSIONS: [V; 2] = [&TLS13, &TLS12];

pub(crate) fn all() -> CryptoProvider {
    provider::default_provider()
}

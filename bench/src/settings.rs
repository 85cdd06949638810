//! The parameters of both ends of a handshake, the same for rustls alone and for
//! the whole system.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use ipc::clock::Clock;
use ipc::control::Parameters;
use ipc::provision::{Keyring, Keyrings, Listener};
use offload_server::key_exchange_group;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring as provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use sel4::runtime::SystemClock;
use tls::{Group, Version};

/// One kind of handshake.
pub(crate) struct Case {
    /// As in the names of the figures.
    pub(crate) name: String,
    pub(crate) port: u16,
    /// What the system is asked for.
    pub(crate) parameters: Parameters,
    pub(crate) client: Arc<ClientConfig>,
    /// The same as the system's own, with the key at hand.
    pub(crate) server: Arc<ServerConfig>,
}

#[derive(Debug)]
struct Time;

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = Duration::from_secs(SystemClock.unix_seconds());
        Some(UnixTime::since_unix_epoch(seconds))
    }
}

impl Case {
    /// # Panics
    /// If the configuration is not that of `bench/gateway.toml`.
    pub(crate) fn new(listener: &Listener, Keyrings(rings): &Keyrings) -> Self {
        let parameters = listener
            .tls
            .as_ref()
            .unwrap_or_else(|| panic!("no tls"))
            .parameters
            .clone();
        let asked = parameters.keyrings.first();
        let Some(ring) = rings.iter().find(|ring| Some(&ring.label) == asked) else {
            panic!("no key ring");
        };
        let versions: Vec<_> = parameters.versions.iter().map(version).collect();
        Self {
            name: listener.name.clone(),
            port: listener.port,
            client: client(ring, &versions, &parameters.groups),
            server: server(ring, &versions, &parameters.groups),
            parameters,
        }
    }
}

fn version(version: &Version) -> &'static SupportedProtocolVersion {
    match version {
        Version::Tls12 => &rustls::version::TLS12,
        Version::Tls13 => &rustls::version::TLS13,
    }
}

fn provider(groups: &[Group]) -> Arc<CryptoProvider> {
    let groups = groups.iter().copied();
    Arc::new(CryptoProvider {
        kx_groups: groups.map(key_exchange_group).collect(),
        ..provider::default_provider()
    })
}

fn alpn() -> Vec<Vec<u8>> {
    vec![b"http/1.1".to_vec()]
}

fn client(
    ring: &Keyring,
    versions: &[&'static SupportedProtocolVersion],
    groups: &[Group],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for anchor in &ring.trust {
        if roots.add(CertificateDer::from(anchor.clone())).is_err() {
            panic!("bad trust anchor");
        }
    }
    // After those that are measured, which are preferred: a server of TLS 1.2 shows a
    // certificate on a curve that is offered, or none (RFC 8422 §5.3).
    let curve = ring.key.as_ref().and_then(|key| key.kind.curve());
    let curve = curve.filter(|curve| !groups.contains(curve));
    let groups: Vec<_> = groups.iter().copied().chain(curve).collect();
    let builder = ClientConfig::builder_with_details(provider(&groups), Arc::new(Time));
    let Ok(builder) = builder.with_protocol_versions(versions) else {
        panic!("bad versions");
    };
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn();
    Arc::new(config)
}

fn server(
    ring: &Keyring,
    versions: &[&'static SupportedProtocolVersion],
    groups: &[Group],
) -> Arc<ServerConfig> {
    let key = ring.key.as_ref().and_then(|key| {
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.pkcs8.clone()));
        provider::sign::any_supported_type(&der).ok()
    });
    let Some(key) = key else { panic!("bad key") };
    let chain = ring.chain.iter().cloned().map(CertificateDer::from);
    let certified = CertifiedKey::new(chain.collect(), key);
    let builder = ServerConfig::builder_with_details(provider(groups), Arc::new(Time));
    let Ok(builder) = builder.with_protocol_versions(versions) else {
        panic!("bad versions");
    };
    let resolver = Arc::new(SingleCertAndKey::from(certified));
    let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = alpn();
    config.ignore_client_order = true;
    config.require_ems = true;
    config.enable_secret_extraction = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

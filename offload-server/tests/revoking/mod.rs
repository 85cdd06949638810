//! Authorities that revoke, those whom they authorised, and backends.

#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::Arc;
use std::time::Duration;

use ipc::bounded::{List, Text};
use ipc::control::{HandshakeError, Parameters};
use ipc::handshake::Completion;
use ipc::keystore::KeyKind;
use ipc::provision::{Crls, Keyring};
use ipc::tls::{Mode, PeerAuthentication, Revocation};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection};
use time::OffsetDateTime;
use tls::{Role, Version};

use crate::world::{World, authority, key_of, keyring, parameters};

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) const RING: (&str, &str, KeyKind) = ("web", "localhost", KeyKind::EcdsaP256);
pub(crate) const BOTH: [(Mode, Version); 4] = [
    (Mode::Autonomous, Version::Tls13),
    (Mode::Autonomous, Version::Tls12),
    (Mode::Directed, Version::Tls13),
    (Mode::Directed, Version::Tls12),
];
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// The list of an authority: these numbers are revoked; good for so many hours.
pub(crate) fn crl(by: &Authority, revoked: &[u64], hours: u32) -> Vec<u8> {
    let now = OffsetDateTime::now_utc();
    let revoked = revoked.iter().map(|number| RevokedCertParams {
        serial_number: SerialNumber::from(*number),
        revocation_time: now,
        reason_code: None,
        invalidity_date: None,
    });
    let list = CertificateRevocationListParams {
        this_update: now - HOUR,
        next_update: now + HOUR * hours,
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(by).unwrap().der().to_vec()
}

/// A server's ring that trusts these, with their lists.
pub(crate) fn ring(
    issuer: &Authority,
    trust: &[&Authority],
    revocation: Revocation,
    lists: Vec<Vec<u8>>,
) -> Keyring {
    Keyring {
        trust: trust.iter().map(|anchor| anchor.der().to_vec()).collect(),
        crls: Crls { revocation, lists },
        ..keyring(RING, issuer, trust[0].der(), None)
    }
}

/// A client's.
pub(crate) fn ring_of(servers: &Authority, revocation: Revocation, lists: Vec<Vec<u8>>) -> Keyring {
    ring(servers, &[servers], revocation, lists)
}

/// A world with one ring.
pub(crate) fn world(mode: Mode, ring: impl FnOnce(&Authority) -> Keyring) -> World {
    let issuer = authority();
    let ring = ring(&issuer);
    let world = World::with_keyrings(vec![ring], issuer, 4, 16);
    match mode {
        Mode::Autonomous => world,
        Mode::Directed => world.with_director(&[RING], 4, Vec::new()),
    }
}

pub(crate) fn asked(version: Version) -> Parameters {
    let mut asked = parameters(&["web"]);
    asked.versions = List::from_items([version]).unwrap();
    asked.peer_authentication = PeerAuthentication::Require;
    asked.resumption = true;
    asked
}

/// Somebody with a certificate.
pub(crate) struct Person {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

impl Person {
    /// With this serial number.
    pub(crate) fn of(issuer: &Authority, number: u64) -> Self {
        Self::with(issuer, number, |_| {})
    }

    /// Whose certificate is not valid any more.
    pub(crate) fn expired(issuer: &Authority) -> Self {
        Self::with(issuer, 1, |params| {
            params.not_after = OffsetDateTime::now_utc() - HOUR;
        })
    }

    fn with(issuer: &Authority, number: u64, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = key_of(KeyKind::EcdsaP256);
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.serial_number = Some(SerialNumber::from(number));
        change(&mut params);
        let certificate = params.signed_by(&key, issuer).unwrap();
        Self {
            chain: vec![certificate.der().clone()],
            key,
        }
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

/// An authority that `root` authorised, and its certificate.
pub(crate) fn intermediate(root: &Authority, number: u64) -> (Authority, CertificateDer<'static>) {
    let key = key_of(KeyKind::EcdsaP256);
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.serial_number = Some(SerialNumber::from(number));
    params
        .distinguished_name
        .push(DnType::CommonName, "between");
    let issuer = CertifiedIssuer::signed_by(params, key, root).unwrap();
    let certificate = issuer.der().clone();
    (issuer, certificate)
}

pub(crate) fn of_rustls(version: Version) -> [&'static rustls::SupportedProtocolVersion; 1] {
    match version {
        Version::Tls13 => [&rustls::version::TLS13],
        Version::Tls12 => [&rustls::version::TLS12],
    }
}

/// Those that share one resume each other's sessions.
pub(crate) fn client_config(world: &World, person: &Person, version: Version) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(world.authority.clone()).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let mut config = ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&of_rustls(version))
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(person.chain.clone(), person.key())
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// A server with a certificate of this number.
pub(crate) fn backend(servers: &Authority, number: u64, version: Version) -> Arc<ServerConfig> {
    let person = Person::of(servers, number);
    let provider = rustls::crypto::ring::default_provider();
    let mut server = ServerConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&of_rustls(version))
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(person.chain.clone(), person.key())
        .unwrap();
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    server.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
    Arc::new(server)
}

/// The world as its client: whether it was resumed.
pub(crate) fn meet(
    world: &mut World,
    server: &Arc<ServerConfig>,
    version: Version,
) -> Result<bool, HandshakeError> {
    let mut asked = asked(version);
    asked.peer_authentication = PeerAuthentication::None;
    asked.server_name = Some(Text::from_text("localhost").unwrap());
    world.start_as(0, Role::Client, asked);
    let mut server = ServerConnection::new(server.clone()).unwrap();
    let mut heard = world.exchange(0, &[]);
    for _ in 0..10 {
        let mut rest = &heard[..];
        while !rest.is_empty() && server.read_tls(&mut rest).is_ok() {
            if server.process_new_packets().is_err() {
                break;
            }
        }
        let mut said = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut said).unwrap();
        }
        heard = world.exchange(0, &said);
        match world.completion() {
            Some(Completion::Established { established, .. }) => return Ok(established.resumed),
            Some(Completion::Failed { error, .. }) => return Err(error),
            None => {}
        }
    }
    panic!("no completion");
}

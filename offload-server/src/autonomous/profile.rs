//! What a request asks for, as a rustls configuration. Requests that ask the
//! same share one.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ipc::control::{HandshakeError, Parameters, RequestError, Resource};
use ipc::handshake::Start;
use ipc::keystore::KeyKind;
use ipc::tls::PeerAuthentication;
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::ServerName;
use rustls::server::{NoServerSessionStorage, UnbufferedServerConnection};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use tls::{CipherSuite, Group, Role, Version};

use super::Autonomous;
use super::current::{Current, Facts};
use super::engine::{Connection, Engine};
use super::key_capture::KeyCapture;
use super::resolver::{Choice, OwnCertificate, Resolver};
use super::tickets::Remembered;
use super::verifier::{ClientVerifier, Notes, ServerVerifier};
use crate::by_request::{Asked, ByRequest, KEPT};
use crate::convert;
use crate::credentials::Credentials;
use crate::keyring::Keyring;

/// Tickets sent after a handshake of TLS 1.3: for two connections at once.
const TICKETS: usize = 2;

/// Configurations by what was asked for, the latest used first.
pub(crate) struct Profiles {
    current: Arc<Current>,
    capture: Arc<KeyCapture>,
    kept: ByRequest<Profile>,
}

const INTERNAL: HandshakeError = HandshakeError::Resource(Resource::Internal);

/// A configuration for one of the roles.
#[derive(Clone)]
enum Profile {
    Server {
        config: Arc<ServerConfig>,
        resolver: Arc<Resolver>,
    },
    Client {
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        own: Arc<OwnCertificate>,
    },
}

impl Profiles {
    pub(crate) fn new() -> Self {
        Self {
            current: Arc::default(),
            capture: Arc::new(KeyCapture::new()),
            kept: ByRequest::new(KEPT),
        }
    }

    /// Other key rings count from here on. What began with those before goes on.
    pub(crate) fn clear(&mut self) {
        self.kept.clear();
    }

    /// The handshake that is asked for, or why there can be none.
    ///
    /// # Errors
    /// What is asked for can't be had.
    pub(crate) fn begin(
        &mut self,
        start: &Start,
        credentials: &mut Credentials,
    ) -> Result<Box<Autonomous>, HandshakeError> {
        let engine = self.engine(Asked::by(start), credentials)?;
        let capture = self.capture.clone();
        Ok(Autonomous::new(
            engine,
            capture,
            start.position,
            &start.parameters,
        ))
    }

    fn engine(
        &mut self,
        asked: Asked<'_>,
        credentials: &mut Credentials,
    ) -> Result<Engine, HandshakeError> {
        match self.profile(asked, credentials)? {
            Profile::Server { config, resolver } => {
                let connection = UnbufferedServerConnection::new(config).map_err(|_| INTERNAL)?;
                let connection = Box::new(connection);
                let connection = Connection::Server {
                    connection,
                    resolver,
                };
                Ok(self.engine_of(connection, Facts::default()))
            }
            Profile::Client { config, name, own } => {
                let mut facts = Facts::default();
                // It looks for a session to resume.
                let begin = || UnbufferedClientConnection::new(config, name);
                let connection = self.current.with(&mut facts, begin);
                let parameters = asked.parameters;
                let connection = Connection::Client {
                    connection: Box::new(connection.map_err(|_| INTERNAL)?),
                    own,
                    choice: parameters.keyrings.first().map(|ring| {
                        Box::new(Choice {
                            keyring: ring.clone(),
                            server_name: parameters.server_name.clone(),
                        })
                    }),
                };
                Ok(self.engine_of(connection, facts))
            }
        }
    }

    fn engine_of(&self, connection: Connection, facts: Facts) -> Engine {
        Engine {
            connection,
            facts,
            current: self.current.clone(),
        }
    }

    fn notes(&self, credentials: &Credentials, parameters: &Parameters) -> Notes {
        Notes {
            schemes: parameters.peer_schemes.clone(),
            current: self.current.clone(),
            time: credentials.time().clone(),
        }
    }

    fn profile(
        &mut self,
        asked: Asked<'_>,
        credentials: &mut Credentials,
    ) -> Result<Profile, HandshakeError> {
        if let Some(profile) = self.kept.get(asked) {
            return Ok(profile);
        }
        let profile = match asked.role {
            Role::Server => self.build_server(asked, credentials)?,
            Role::Client => self.build_client(asked.parameters, credentials)?,
        };
        self.kept.put(asked, profile.clone());
        Ok(profile)
    }

    fn build_client(
        &self,
        parameters: &Parameters,
        credentials: &Credentials,
    ) -> Result<Profile, HandshakeError> {
        let rings = credentials.rings_with_or_without_key(parameters)?;
        let name = parameters
            .server_name
            .as_ref()
            .and_then(|name| ServerName::try_from(&**name).ok())
            .ok_or(HandshakeError::Request(RequestError::NoServerName))?
            .to_owned();
        let provider = Arc::new(provider(parameters, None, &self.capture)?);
        let versions = versions(parameters);
        let verifier = ServerVerifier::new(
            &rings,
            provider.clone(),
            self.notes(credentials, parameters),
        )?;
        let builder = ClientConfig::builder_with_details(provider, credentials.time().clone())
            .with_protocol_versions(&versions)
            .map_err(|_| HandshakeError::Request(RequestError::NoSuite))?
            // Our own verifier is rustls', and notes when it was asked.
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let own = Arc::new(OwnCertificate::new(&rings, self.current.clone()));
        let mut config = builder.with_client_cert_resolver(own.clone());
        config.alpn_protocols = parameters.alpn.iter().map(|name| name.to_vec()).collect();
        config.require_ems = true;
        config.key_log = self.capture.key_log();
        // For the tickets that come after the handshake.
        config.enable_secret_extraction = true;
        config.resumption = match parameters.resumption {
            true => Resumption::store(Arc::new(Remembered::new(
                self.current.clone(),
                credentials.time().clone(),
                credentials.places().clone(),
            ))),
            false => Resumption::disabled(),
        };
        Ok(Profile::Client {
            config: Arc::new(config),
            name,
            own,
        })
    }

    fn build_server(
        &self,
        asked: Asked<'_>,
        credentials: &mut Credentials,
    ) -> Result<Profile, HandshakeError> {
        let parameters = asked.parameters;
        let rings = credentials.rings(parameters)?;
        let provider = Arc::new(provider(parameters, Some(&rings), &self.capture)?);
        let versions = versions(parameters);
        let builder =
            ServerConfig::builder_with_details(provider.clone(), credentials.time().clone())
                .with_protocol_versions(&versions)
                .map_err(|_| HandshakeError::Request(RequestError::NoSuite))?;
        let builder = match parameters.peer_authentication {
            PeerAuthentication::None => builder.with_no_client_auth(),
            asked => {
                let is_mandatory = asked == PeerAuthentication::Require;
                let verifier =
                    ClientVerifier::new(&rings, is_mandatory, self.notes(credentials, parameters))?;
                builder.with_client_cert_verifier(Arc::new(verifier))
            }
        };
        let time = credentials.time().clone();
        let resolver = Arc::new(Resolver::new(rings.clone(), self.current.clone(), time));
        let mut config = builder.with_cert_resolver(resolver.clone());
        config.alpn_protocols = parameters.alpn.iter().map(|name| name.to_vec()).collect();
        config.ignore_client_order = true;
        config.require_ems = true;
        config.key_log = self.capture.key_log();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        if parameters.resumption
            && let Some(keys) = credentials.ticket_keys(asked.client)
        {
            config.ticketer = keys.ticketer(parameters, &rings, self.current.clone());
            config.send_tls13_tickets = TICKETS;
        }
        Ok(Profile::Server {
            config: Arc::new(config),
            resolver,
        })
    }
}

fn versions(parameters: &Parameters) -> Vec<&'static SupportedProtocolVersion> {
    let versions = parameters.versions.iter();
    versions.map(|v| convert::protocol_version(*v)).collect()
}

/// What is used of the cryptography. `rings` are a server's: a suite must fit
/// the key of one of them.
fn provider(
    parameters: &Parameters,
    rings: Option<&[Arc<Keyring>]>,
    capture: &KeyCapture,
) -> Result<CryptoProvider, HandshakeError> {
    let wanted: &[CipherSuite] = match &parameters.suites[..] {
        [] => &CipherSuite::ALL,
        suites => suites,
    };
    let cipher_suites: Vec<_> = wanted
        .iter()
        .filter(|suite| parameters.versions.contains(&suite.version()))
        .filter(|suite| rings.is_none_or(|rings| rings.iter().any(|ring| fits(**suite, ring.kind))))
        .filter_map(|suite| capture.suite(*suite))
        .collect();
    // Each version asked for needs a suite, or it could never be agreed on.
    let has_suite = |version: &Version| {
        cipher_suites
            .iter()
            .any(|suite| convert::version(suite.version().version) == Some(*version))
    };
    if !parameters.versions.iter().all(has_suite) {
        return Err(HandshakeError::Request(RequestError::NoSuite));
    }
    let groups: &[Group] = match &parameters.groups[..] {
        [] => &Group::DEFAULT,
        groups => groups,
    };
    let has_group = |version: &Version| groups.iter().any(|group| group.is_for(*version));
    if !parameters.versions.iter().all(has_group) {
        return Err(HandshakeError::Request(RequestError::NoSuite));
    }
    Ok(CryptoProvider {
        cipher_suites,
        kx_groups: groups
            .iter()
            .map(|g| convert::supported_group(*g))
            .collect(),
        ..provider::default_provider()
    })
}

/// Whether a key of `kind` can authenticate `suite` (RFC 8422 §2: Ed25519 goes
/// with the ECDSA suites).
fn fits(suite: CipherSuite, kind: Option<KeyKind>) -> bool {
    let Some(kind) = kind else {
        return false;
    };
    match suite {
        CipherSuite::EcdheRsaAes128GcmSha256
        | CipherSuite::EcdheRsaAes256GcmSha384
        | CipherSuite::EcdheRsaChaCha20Poly1305Sha256 => kind == KeyKind::Rsa,
        CipherSuite::EcdheEcdsaAes128GcmSha256
        | CipherSuite::EcdheEcdsaAes256GcmSha384
        | CipherSuite::EcdheEcdsaChaCha20Poly1305Sha256 => kind != KeyKind::Rsa,
        _ => true,
    }
}

//! What a request asks for, as a rustls configuration. Requests that ask the
//! same share one.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ipc::control::{HandshakeError, Parameters, RequestError, Resource};
use ipc::keystore::KeyKind;
use ipc::tls::PeerAuthentication;
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::ServerName;
use rustls::server::{NoServerSessionStorage, UnbufferedServerConnection};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use tls::{CipherSuite, Group, Role, Version};

use super::caught::Catch;
use super::current::{Current, Facts};
use super::engine::{Connection, Engine};
use super::resolver::{Choice, OwnCertificate, Resolver};
use super::tickets::Remembered;
use super::verifier::{ClientVerifier, Notes, ServerVerifier};
use crate::by_request::{Asked, ByRequest, KEPT};
use crate::convert;
use crate::directed;
use crate::keyring::Keyring;
use crate::session_cache::Places;
use crate::ticket_keys::TicketKeys;
use crate::time::Time;

/// Tickets sent after a handshake of TLS 1.3: for two connections at once.
const TICKETS: usize = 2;

/// Configurations by what was asked for, the latest used first.
pub(crate) struct Profiles {
    keyrings: Vec<Arc<Keyring>>,
    time: Arc<dyn Time>,
    current: Arc<Current>,
    catch: Arc<Catch>,
    /// Clients of the shim.
    clients: u16,
    /// Of each client that asked for resumption: no other makes its keys change.
    tickets: Vec<(u16, Arc<TicketKeys>)>,
    /// Of all sessions that can be resumed as client.
    places: Arc<Places>,
    kept: ByRequest<Profile>,
    resumptions: ByRequest<directed::Resumption>,
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
    },
}

impl Profiles {
    pub(crate) fn new(keyrings: Vec<Arc<Keyring>>, clients: u16, time: Arc<dyn Time>) -> Self {
        Self {
            keyrings,
            clients,
            tickets: Vec::new(),
            time,
            current: Arc::default(),
            catch: Arc::new(Catch::new()),
            places: Arc::default(),
            kept: ByRequest::new(KEPT),
            resumptions: ByRequest::new(KEPT),
        }
    }

    /// Takes key rings that replace others. What began with those goes on; no
    /// session is resumed whose peer was judged by them.
    pub(crate) fn replace(&mut self, keyrings: Vec<Arc<Keyring>>) {
        self.keyrings = keyrings;
        self.kept.clear();
        self.resumptions.clear();
        self.tickets.clear();
    }

    /// Where the keys of all suites are captured.
    pub(crate) fn catch(&self) -> Arc<Catch> {
        self.catch.clone()
    }

    /// What runs the handshake that is asked for, or why there can be none.
    pub(crate) fn engine(&mut self, asked: Asked<'_>) -> Result<Engine, HandshakeError> {
        match self.profile(asked)? {
            Profile::Server { config, resolver } => {
                let connection = UnbufferedServerConnection::new(config).map_err(|_| INTERNAL)?;
                let connection = Box::new(connection);
                let connection = Connection::Server {
                    connection,
                    resolver,
                };
                Ok(self.engine_of(connection, Facts::default()))
            }
            Profile::Client { config, name } => {
                let mut facts = Facts::default();
                // It looks for a session to resume.
                let begin = || UnbufferedClientConnection::new(config, name);
                let connection = self.current.with(&mut facts, begin);
                let parameters = asked.parameters;
                let connection = Connection::Client {
                    connection: Box::new(connection.map_err(|_| INTERNAL)?),
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

    fn notes(&self) -> Notes {
        Notes {
            current: self.current.clone(),
            time: self.time.clone(),
        }
    }

    /// How directed handshakes for this request are resumed.
    pub(crate) fn resumption(&mut self, asked: Asked<'_>) -> directed::Resumption {
        if !asked.parameters.resumption {
            return directed::Resumption::Off;
        }
        if let Some(resumption) = self.resumptions.get(asked) {
            return resumption;
        }
        let resumption = match asked.role {
            Role::Client => directed::Resumption::client(&self.places),
            Role::Server => match self.ticket_keys(asked.client) {
                Some(keys) => directed::Resumption::server(asked.parameters, keys),
                None => directed::Resumption::Off,
            },
        };
        self.resumptions.put(asked, resumption.clone());
        resumption
    }

    /// The keys of this client's tickets.
    fn ticket_keys(&mut self, client: u16) -> Option<Arc<TicketKeys>> {
        if let Some((_, keys)) = self.tickets.iter().find(|(of, _)| *of == client) {
            return Some(keys.clone());
        }
        // The shim has no more of them.
        if self.tickets.len() >= usize::from(self.clients) {
            return None;
        }
        let keys = TicketKeys::new(self.time.clone());
        self.tickets.push((client, keys.clone()));
        Some(keys)
    }

    fn profile(&mut self, asked: Asked<'_>) -> Result<Profile, HandshakeError> {
        if let Some(profile) = self.kept.get(asked) {
            return Ok(profile);
        }
        let profile = match asked.role {
            Role::Server => self.build_server(asked)?,
            Role::Client => self.build_client(asked.parameters)?,
        };
        self.kept.put(asked, profile.clone());
        Ok(profile)
    }

    fn keyring_of(&self, label: &str) -> Option<&Arc<Keyring>> {
        self.keyrings.iter().find(|ring| *ring.label == *label)
    }

    fn build_client(&self, parameters: &Parameters) -> Result<Profile, HandshakeError> {
        let rings = self.rings_with_or_without_key(parameters)?;
        let name = parameters
            .server_name
            .as_ref()
            .and_then(|name| ServerName::try_from(&**name).ok())
            .ok_or(HandshakeError::Request(RequestError::NoServerName))?
            .to_owned();
        let provider = Arc::new(provider(parameters, None, &self.catch)?);
        let versions = versions(parameters);
        let verifier = ServerVerifier::new(&rings, provider.clone(), self.notes())?;
        let builder = ClientConfig::builder_with_details(provider, self.time.clone())
            .with_protocol_versions(&versions)
            .map_err(|_| HandshakeError::Request(RequestError::NoSuite))?
            // Our own verifier is rustls', and notes when it was asked.
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = builder.with_client_cert_resolver(Arc::new(OwnCertificate::new(&rings)));
        config.alpn_protocols = parameters.alpn.iter().map(|name| name.to_vec()).collect();
        config.require_ems = true;
        config.key_log = self.catch.key_log();
        // For the tickets that come after the handshake.
        config.enable_secret_extraction = true;
        config.resumption = match parameters.resumption {
            true => Resumption::store(Arc::new(Remembered::new(
                self.current.clone(),
                self.time.clone(),
                self.places.clone(),
            ))),
            false => Resumption::disabled(),
        };
        Ok(Profile::Client {
            config: Arc::new(config),
            name,
        })
    }

    fn build_server(&mut self, asked: Asked<'_>) -> Result<Profile, HandshakeError> {
        let parameters = asked.parameters;
        let rings = self.rings(parameters)?;
        let provider = Arc::new(provider(parameters, Some(&rings), &self.catch)?);
        let versions = versions(parameters);
        let builder = ServerConfig::builder_with_details(provider.clone(), self.time.clone())
            .with_protocol_versions(&versions)
            .map_err(|_| HandshakeError::Request(RequestError::NoSuite))?;
        let builder = match parameters.peer_authentication {
            PeerAuthentication::None => builder.with_no_client_auth(),
            asked => {
                let is_mandatory = asked == PeerAuthentication::Require;
                let verifier = ClientVerifier::new(&rings, &provider, is_mandatory, self.notes())?;
                builder.with_client_cert_verifier(Arc::new(verifier))
            }
        };
        let resolver = Arc::new(Resolver::new(rings.clone(), self.current.clone()));
        let mut config = builder.with_cert_resolver(resolver.clone());
        config.alpn_protocols = parameters.alpn.iter().map(|name| name.to_vec()).collect();
        config.ignore_client_order = true;
        config.require_ems = true;
        config.key_log = self.catch.key_log();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        if parameters.resumption
            && let Some(keys) = self.ticket_keys(asked.client)
        {
            config.ticketer = keys.ticketer(parameters, &rings, self.current.clone());
            config.send_tls13_tickets = TICKETS;
        }
        Ok(Profile::Server {
            config: Arc::new(config),
            resolver,
        })
    }

    /// The rings of a request, if there are all of them.
    pub(crate) fn named(&self, parameters: &Parameters) -> Option<Vec<Arc<Keyring>>> {
        let labels = parameters.keyrings.iter();
        labels
            .map(|label| self.keyring_of(label).cloned())
            .collect()
    }

    /// The rings of a request; one of them can be shown.
    pub(crate) fn rings(
        &self,
        parameters: &Parameters,
    ) -> Result<Vec<Arc<Keyring>>, HandshakeError> {
        let rings = self.rings_with_or_without_key(parameters)?;
        match rings.iter().any(|ring| ring.kind.is_some()) {
            true => Ok(rings),
            false => Err(HandshakeError::Request(RequestError::NoKeyring)),
        }
    }

    /// The rings of a request; a client needs no key.
    fn rings_with_or_without_key(
        &self,
        parameters: &Parameters,
    ) -> Result<Vec<Arc<Keyring>>, HandshakeError> {
        if parameters.versions.is_empty() {
            return Err(HandshakeError::Request(RequestError::NoVersion));
        }
        self.named(parameters)
            .filter(|rings| !rings.is_empty())
            .ok_or(HandshakeError::Request(RequestError::NoKeyring))
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
    catch: &Catch,
) -> Result<CryptoProvider, HandshakeError> {
    let wanted: &[CipherSuite] = match &parameters.suites[..] {
        [] => &CipherSuite::ALL,
        suites => suites,
    };
    let cipher_suites: Vec<_> = wanted
        .iter()
        .filter(|suite| parameters.versions.contains(&suite.version()))
        .filter(|suite| rings.is_none_or(|rings| rings.iter().any(|ring| fits(**suite, ring.kind))))
        .filter_map(|suite| catch.suite(*suite))
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

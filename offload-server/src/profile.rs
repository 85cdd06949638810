//! What a request asks for, as a rustls configuration. Requests that ask the
//! same share one.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ipc::control::{HandshakeError, Parameters, RequestError};
use ipc::keystore::KeyKind;
use ipc::tls::{CipherSuite, Group, PeerAuthentication, Version};
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{RootCertStore, ServerConfig};

use crate::caught::Catch;
use crate::convert;
use crate::keyring::{Keyring, Resolver};

/// Configurations kept for requests to come.
const KEPT: usize = 16;

/// Configurations by what was asked for, the latest used first.
pub(crate) struct Profiles {
    keyrings: Vec<Arc<Keyring>>,
    time: Arc<dyn TimeProvider>,
    catch: Arc<Catch>,
    kept: VecDeque<(Box<Parameters>, Profile)>,
}

/// A configuration, and which key ring it chose.
#[derive(Clone)]
pub(crate) struct Profile {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) resolver: Arc<Resolver>,
    /// What the keys of its suites are caught in.
    pub(crate) catch: Arc<Catch>,
}

impl Profiles {
    pub(crate) fn new(keyrings: Vec<Arc<Keyring>>, time: Arc<dyn TimeProvider>) -> Self {
        Self {
            keyrings,
            time,
            catch: Arc::new(Catch::new()),
            kept: VecDeque::new(),
        }
    }

    /// The configuration for a server that must meet `parameters`, or why none
    /// can.
    pub(crate) fn server(&mut self, parameters: &Parameters) -> Result<Profile, HandshakeError> {
        let found = self.kept.iter().position(|(p, _)| **p == *parameters);
        if let Some(entry) = found.and_then(|place| self.kept.remove(place)) {
            let profile = entry.1.clone();
            self.kept.push_front(entry);
            return Ok(profile);
        }
        let profile = self.build(parameters)?;
        self.kept.truncate(KEPT - 1);
        self.kept
            .push_front((Box::new(parameters.clone()), profile.clone()));
        Ok(profile)
    }

    fn keyring_of(&self, label: &str) -> Option<&Arc<Keyring>> {
        self.keyrings.iter().find(|ring| *ring.label == *label)
    }

    fn build(&self, parameters: &Parameters) -> Result<Profile, HandshakeError> {
        let rings = self.rings(parameters)?;
        let provider = Arc::new(provider(parameters, &rings, &self.catch)?);
        let versions: Vec<_> = parameters
            .versions
            .iter()
            .map(|version| convert::protocol_version(*version))
            .collect();
        let builder = ServerConfig::builder_with_details(provider.clone(), self.time.clone())
            .with_protocol_versions(&versions)
            .map_err(|_| HandshakeError::Request(RequestError::NoSuite))?;
        let builder = match parameters.peer_authentication {
            PeerAuthentication::None => builder.with_no_client_auth(),
            asked => {
                let roots = Arc::new(roots(&rings)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = match asked {
                    PeerAuthentication::Request => verifier.allow_unauthenticated(),
                    _ => verifier,
                };
                let verifier = verifier
                    .build()
                    .map_err(|_| HandshakeError::Request(RequestError::NoTrustAnchor))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let resolver = Arc::new(Resolver::new(rings));
        let mut config = builder.with_cert_resolver(resolver.clone());
        config.alpn_protocols = parameters.alpn.iter().map(|name| name.to_vec()).collect();
        config.ignore_client_order = true;
        config.require_ems = true;
        config.key_log = self.catch.key_log();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Profile {
            config: Arc::new(config),
            resolver,
            catch: self.catch.clone(),
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
        if parameters.versions.is_empty() {
            return Err(HandshakeError::Request(RequestError::NoVersion));
        }
        self.named(parameters)
            .filter(|rings| rings.iter().any(|ring| ring.kind.is_some()))
            .ok_or(HandshakeError::Request(RequestError::NoKeyring))
    }
}

fn provider(
    parameters: &Parameters,
    rings: &[Arc<Keyring>],
    catch: &Catch,
) -> Result<CryptoProvider, HandshakeError> {
    let wanted: &[CipherSuite] = match &parameters.suites[..] {
        [] => &CipherSuite::ALL,
        suites => suites,
    };
    let cipher_suites: Vec<_> = wanted
        .iter()
        .filter(|suite| parameters.versions.contains(&suite.version()))
        .filter(|suite| rings.iter().any(|ring| fits(**suite, ring.kind)))
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
        [] => &Group::ALL,
        groups => groups,
    };
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

/// The trust anchors of `rings`.
pub(crate) fn roots(rings: &[Arc<Keyring>]) -> Result<RootCertStore, HandshakeError> {
    let mut roots = RootCertStore::empty();
    for anchor in rings.iter().flat_map(|ring| &ring.trust) {
        roots
            .add(anchor.clone())
            .map_err(|_| HandshakeError::Request(RequestError::NoTrustAnchor))?;
    }
    if roots.is_empty() {
        return Err(HandshakeError::Request(RequestError::NoTrustAnchor));
    }
    Ok(roots)
}

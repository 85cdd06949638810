//! Who judges a peer's certificate: the trust anchors of a key ring. They are read once,
//! when the ring is fetched, and all configurations and handshakes use them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ipc::control::{HandshakeError, RequestError};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, Error, RootCertStore};

use crate::keyring::Keyring;

pub(crate) const NO_TRUST_ANCHOR: HandshakeError =
    HandshakeError::Request(RequestError::NoTrustAnchor);

/// The trust anchors of one ring.
pub(crate) struct Judge {
    pub(crate) of_clients: Arc<dyn ClientCertVerifier>,
    pub(crate) of_servers: Arc<WebPkiServerVerifier>,
}

impl Judge {
    /// `None` when there is no trust anchor, or one that is none.
    pub(crate) fn new(
        trust: &[CertificateDer<'_>],
        provider: &Arc<CryptoProvider>,
    ) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        for anchor in trust {
            roots.add(anchor.clone()).ok()?;
        }
        // Without one, neither can be built.
        let roots = Arc::new(roots);
        let of_clients =
            WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
        let of_servers = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
        Some(Self {
            of_clients: of_clients.build().ok()?,
            of_servers: of_servers.build().ok()?,
        })
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}

/// Those of `rings` that judge servers, with all of which a server is judged: it is good if
/// it is for one of them.
///
/// # Errors
/// There are none.
pub(crate) fn of_servers(
    rings: &[Arc<Keyring>],
) -> Result<Vec<Arc<WebPkiServerVerifier>>, HandshakeError> {
    let judges = rings.iter().filter_map(|ring| ring.judge.as_ref());
    let all: Vec<_> = judges.map(|judge| judge.of_servers.clone()).collect();
    match all.is_empty() {
        true => Err(NO_TRUST_ANCHOR),
        false => Ok(all),
    }
}

/// Whether one of them accepts the server.
///
/// # Errors
/// Why not: of the one that knows the issuer, if one does.
pub(crate) fn judge_server(
    judges: &[Arc<WebPkiServerVerifier>],
    first: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<(), Error> {
    let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
    let mut refused = unknown.clone();
    for judge in judges {
        match judge.verify_server_cert(first, intermediates, name, &[], now) {
            Ok(_) => return Ok(()),
            Err(error) if error != unknown => refused = error,
            Err(_) => {}
        }
    }
    Err(refused)
}

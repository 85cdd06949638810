//! Who judges a peer's certificate: the trust anchors of a key ring. They are read once,
//! when the ring is fetched, and all configurations and handshakes use them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ipc::control::{HandshakeError, RequestError};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, Error, PeerMisbehaved, RootCertStore};

use crate::certified;
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
    let intermediates = &certified::issuers(intermediates);
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

/// Whether `judge` accepts the client.
///
/// # Errors
/// Why not.
pub(crate) fn judge_client(
    judge: &Arc<dyn ClientCertVerifier>,
    first: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<ClientCertVerified, Error> {
    judge.verify_client_cert(first, &certified::issuers(intermediates), now)
}

/// What rustls makes of the signature of a peer: `verify` checks it. A key that is not for
/// that, or not for the scheme, is told apart from a wrong signature.
///
/// # Errors
/// Why it does not hold.
pub(crate) fn judge_signature(
    certificate: &CertificateDer<'_>,
    verify: impl FnOnce() -> Result<HandshakeSignatureValid, Error>,
) -> Result<HandshakeSignatureValid, Error> {
    use CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext as OtherKey;
    use PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme as OtherScheme;
    if !certified::may_sign(certificate) {
        return Err(CertificateError::InvalidPurpose.into());
    }
    verify().map_err(|error| match error {
        // RFC 8446 §4.4.3: the scheme has to be one for the key.
        Error::InvalidCertificate(OtherKey { .. }) => OtherScheme.into(),
        error => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(usages: &[rcgen::KeyUsagePurpose]) -> CertificateDer<'static> {
        let mut params = rcgen::CertificateParams::default();
        params.key_usages = usages.to_vec();
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn a_good_signature_by_a_key_that_may_not_sign_is_refused() {
        let good = || Ok(HandshakeSignatureValid::assertion());
        assert!(judge_signature(&certificate(&[]), good).is_ok());
        let other = certificate(&[rcgen::KeyUsagePurpose::KeyAgreement]);
        let refused = judge_signature(&other, good).err();
        assert_eq!(refused, Some(CertificateError::InvalidPurpose.into()));
    }

    #[test]
    fn a_scheme_for_another_key_is_illegal_and_a_wrong_signature_is_not() {
        let certificate = certificate(&[]);
        let told =
            |error: CertificateError| judge_signature(&certificate, || Err(error.into())).err();
        let other = CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: Vec::new(),
            public_key_algorithm_id: Vec::new(),
        };
        let illegal = PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme;
        assert_eq!(told(other), Some(illegal.into()));
        let wrong = CertificateError::BadSignature;
        assert_eq!(told(wrong.clone()), Some(wrong.into()));
    }
}

//! Who judges a peer's certificate: the trust anchors of a key ring, and its revocation
//! lists. They are fetched once, with the ring, and all configurations and handshakes use
//! them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ipc::control::{HandshakeError, RequestError};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, Error, PeerMisbehaved, RootCertStore};
use webpki::{EndEntityCert, KeyUsage};

use crate::certified;
use crate::issuers::issuers;
use crate::keyring::Keyring;
use crate::revocation::Crls;

pub(crate) const NO_TRUST_ANCHOR: HandshakeError =
    HandshakeError::Request(RequestError::NoTrustAnchor);

/// The trust anchors of one ring, and its revocation lists.
pub(crate) struct Judge {
    pub(crate) of_clients: Arc<dyn ClientCertVerifier>,
    of_servers: Arc<WebPkiServerVerifier>,
    anchors: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    crls: Option<Crls>,
}

/// Until when a peer that is good now may be resumed, as far as revocation lists go: in
/// seconds since 1970.
pub(crate) type Until = u64;

impl Judge {
    /// `None` when there is no trust anchor, or one that is none.
    pub(crate) fn new(
        trust: &[CertificateDer<'_>],
        crls: Option<Crls>,
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
        let of_servers =
            WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone());
        Some(Self {
            of_clients: of_clients.build().ok()?,
            of_servers: of_servers.build().ok()?,
            anchors: roots,
            algorithms: provider.signature_verification_algorithms,
            crls,
        })
    }

    pub(crate) const fn crls(&self) -> Option<&Crls> {
        self.crls.as_ref()
    }

    /// Whether the client is accepted.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn judge_client(
        &self,
        first: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Until, Error> {
        let intermediates = &issuers(first, intermediates);
        let plain = || {
            self.of_clients
                .verify_client_cert(first, intermediates, now)
        };
        let path = (first, &intermediates[..]);
        self.judge(path, KeyUsage::client_auth(), None, now, || {
            plain().map(drop)
        })
    }

    /// Whether the server is accepted under this name.
    ///
    /// # Errors
    /// Why not.
    fn judge_server(
        &self,
        (first, intermediates): Path<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<Until, Error> {
        let judge = &self.of_servers;
        let plain = || judge.verify_server_cert(first, intermediates, name, &[], now);
        let path = (first, intermediates);
        self.judge(path, KeyUsage::server_auth(), Some(name), now, || {
            plain().map(drop)
        })
    }

    /// `plain` judges by all but the revocation lists.
    fn judge(
        &self,
        path: Path<'_>,
        usage: KeyUsage,
        name: Option<&ServerName<'_>>,
        now: UnixTime,
        plain: impl FnOnce() -> Result<(), Error>,
    ) -> Result<Until, Error> {
        let Some(crls) = &self.crls else {
            return plain().map(|()| Until::MAX);
        };
        match self.walk(crls, path, usage, name, now) {
            Ok(()) => Ok(crls.enough_until()),
            Err(error) => {
                // What else is wrong is told as it is without lists.
                plain()?;
                Err(Error::InvalidCertificate(match error {
                    webpki::Error::CertRevoked => CertificateError::Revoked,
                    _ => CertificateError::UnknownRevocationStatus,
                }))
            }
        }
    }

    /// The same as rustls' verifiers, and asks the lists about each certificate on the way.
    fn walk(
        &self,
        crls: &Crls,
        (first, intermediates): Path<'_>,
        usage: KeyUsage,
        name: Option<&ServerName<'_>>,
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        let peer = EndEntityCert::try_from(first)?;
        let (algorithms, anchors) = (self.algorithms.all, &self.anchors.roots);
        crls.with(|lists| {
            peer.verify_for_usage(
                algorithms,
                anchors,
                intermediates,
                now,
                usage,
                Some(lists),
                None,
            )
            .map(drop)
        })?;
        name.map_or(Ok(()), |name| peer.verify_is_valid_for_subject_name(name))
    }
}

/// The first certificate of a chain, and those that may have issued it.
type Path<'a> = (&'a CertificateDer<'a>, &'a [CertificateDer<'a>]);

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
pub(crate) fn of_servers(rings: &[Arc<Keyring>]) -> Result<Vec<Arc<Judge>>, HandshakeError> {
    let all: Vec<_> = rings.iter().filter_map(|ring| ring.judge.clone()).collect();
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
    judges: &[Arc<Judge>],
    first: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<Until, Error> {
    let intermediates = &issuers(first, intermediates);
    let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
    let mut refused = unknown.clone();
    for judge in judges {
        match judge.judge_server((first, intermediates), name, now) {
            Ok(until) => return Ok(until),
            Err(error) if error != unknown => refused = error,
            Err(_) => {}
        }
    }
    Err(refused)
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

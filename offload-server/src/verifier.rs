//! Which trust anchors accept a peer, autonomous: those of the chosen key ring, and no
//! others.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ipc::control::{HandshakeError, RequestError};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::current::Current;
use crate::full_handshake::FullHandshake;
use crate::keyring::Keyring;
use crate::profile::roots;
use crate::time::Time;

const NO_TRUST_ANCHOR: HandshakeError = HandshakeError::Request(RequestError::NoTrustAnchor);

/// What a verifier reports of the handshake in progress.
pub(crate) struct Notes {
    pub(crate) current: Arc<Current>,
    pub(crate) time: Arc<dyn Time>,
}

impl Notes {
    /// The peer is who its chain says.
    fn authenticated(&self, first: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) {
        let chain: Vec<_> = core::iter::once(first).chain(rest).cloned().collect();
        let full = FullHandshake::new(self.time.now(), &chain);
        self.current.set_full(Some(full));
        let bytes = chain.iter().map(|certificate| certificate.len());
        self.current.set_chain(bytes.sum());
    }
}

/// Judges clients by the ring that was chosen for them.
pub(crate) struct ClientVerifier {
    /// By the ring's place in the request; `None` of one that can't be chosen.
    of_rings: Vec<Option<Arc<dyn ClientCertVerifier>>>,
    schemes: Vec<SignatureScheme>,
    is_mandatory: bool,
    notes: Notes,
}

impl ClientVerifier {
    /// # Errors
    /// A ring that can be chosen has no trust anchors.
    pub(crate) fn new(
        rings: &[Arc<Keyring>],
        provider: &Arc<CryptoProvider>,
        is_mandatory: bool,
        notes: Notes,
    ) -> Result<Self, HandshakeError> {
        let of_ring = |ring: &Arc<Keyring>| {
            let roots = Arc::new(roots(core::slice::from_ref(ring))?);
            WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
                .build()
                .map_err(|_| NO_TRUST_ANCHOR)
        };
        let can_be_chosen = |ring: &&Arc<Keyring>| ring.kind.is_some();
        let of_rings = rings
            .iter()
            .map(|ring| Some(ring).filter(can_be_chosen).map(of_ring).transpose());
        Ok(Self {
            of_rings: of_rings.collect::<Result<_, _>>()?,
            schemes: provider
                .signature_verification_algorithms
                .supported_schemes(),
            is_mandatory,
            notes,
        })
    }

    fn chosen(&self) -> Option<&Arc<dyn ClientCertVerifier>> {
        let ring = self.notes.current.facts().ring?;
        self.of_rings.get(ring)?.as_ref()
    }

    fn must_be_chosen(&self) -> Result<&Arc<dyn ClientCertVerifier>, Error> {
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        self.chosen().ok_or(unknown)
    }
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientVerifier({} key rings)", self.of_rings.len())
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chosen()
            .map_or(&[], |verifier| verifier.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .must_be_chosen()?
            .verify_client_cert(end_entity, intermediates, now)?;
        self.notes.authenticated(end_entity, intermediates);
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.must_be_chosen()?
            .verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.must_be_chosen()?
            .verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// Judges servers, and notes when.
pub(crate) struct ServerVerifier {
    verifier: Arc<WebPkiServerVerifier>,
    notes: Notes,
}

impl ServerVerifier {
    /// # Errors
    /// The rings have no trust anchors.
    pub(crate) fn new(
        rings: &[Arc<Keyring>],
        provider: Arc<CryptoProvider>,
        notes: Notes,
    ) -> Result<Self, HandshakeError> {
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots(rings)?), provider)
                .build()
                .map_err(|_| NO_TRUST_ANCHOR)?;
        Ok(Self { verifier, notes })
    }
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerVerifier")
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        self.notes.authenticated(end_entity, intermediates);
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

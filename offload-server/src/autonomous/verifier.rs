//! Which trust anchors accept a peer, autonomous: those of the chosen key ring, and no
//! others.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ipc::budget::block;
use ipc::control::HandshakeError;
use ipc::tls::Schemes;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    SignatureScheme,
};
use tls::Scheme;

use super::current::Current;
use crate::convert;
use crate::full_handshake::FullHandshake;
use crate::judge::{self, Judge, NO_TRUST_ANCHOR, Until};
use crate::keyring::Keyring;
use crate::time::Time;

/// What a verifier reports of the handshake in progress.
pub(crate) struct Notes {
    pub(crate) current: Arc<Current>,
    pub(crate) time: Arc<dyn Time>,
    /// What the peer may sign by; all, if it is empty.
    pub(crate) schemes: Schemes,
}

impl Notes {
    /// What the peer is told.
    fn offered(&self) -> Vec<SignatureScheme> {
        let offered = Scheme::offered(&self.schemes).iter().copied();
        offered.map(convert::signature_scheme).collect()
    }

    /// The peer signed, by a scheme that it was told of; `judge` has the rest to say.
    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
        judge: impl FnOnce() -> Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        let scheme = convert::scheme(signed.scheme);
        let offered = Scheme::offered(&self.schemes);
        if !scheme.is_some_and(|scheme| offered.contains(&scheme)) {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        let valid = judge::judge_signature(certificate, judge)?;
        self.current.set_scheme(scheme);
        Ok(valid)
    }

    /// The peer is who its chain says.
    fn authenticated(&self, first: &CertificateDer<'_>, rest: &[CertificateDer<'_>], until: Until) {
        let chain: Vec<_> = core::iter::once(first).chain(rest).cloned().collect();
        let full = FullHandshake::new(self.time.now(), &chain).no_longer_than(until);
        self.current.set_full(Some(full));
        let place = size_of::<CertificateDer<'_>>();
        let bytes = chain.iter().map(|entry| place + block(entry.len()));
        self.current.set_chain(bytes.sum());
    }
}

/// Judges clients by the ring that was chosen for them.
pub(crate) struct ClientVerifier {
    /// By the ring's place in the request; `None` of one that can't be chosen.
    of_rings: Vec<Option<Arc<Judge>>>,
    is_mandatory: bool,
    notes: Notes,
}

impl ClientVerifier {
    /// # Errors
    /// A ring that can be chosen has no trust anchors.
    pub(crate) fn new(
        rings: &[Arc<Keyring>],
        is_mandatory: bool,
        notes: Notes,
    ) -> Result<Self, HandshakeError> {
        let of_ring = |ring: &Arc<Keyring>| match (ring.kind, &ring.judge) {
            // It can't be chosen.
            (None, _) => Ok(None),
            (Some(_), None) => Err(NO_TRUST_ANCHOR),
            (Some(_), Some(judge)) => Ok(Some(judge.clone())),
        };
        Ok(Self {
            of_rings: rings.iter().map(of_ring).collect::<Result<_, _>>()?,
            is_mandatory,
            notes,
        })
    }

    fn chosen(&self) -> Option<&Arc<Judge>> {
        let ring = self.notes.current.facts().ring?;
        self.of_rings.get(ring)?.as_ref()
    }

    fn must_be_chosen(&self) -> Result<&Arc<Judge>, Error> {
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
            .map_or(&[], |judge| judge.of_clients.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let judge = self.must_be_chosen()?;
        let until = judge.judge_client(end_entity, intermediates, now)?;
        self.notes.authenticated(end_entity, intermediates, until);
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let judge = self.must_be_chosen()?;
        self.notes.judge(cert, dss, || {
            judge.of_clients.verify_tls12_signature(message, cert, dss)
        })
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let judge = self.must_be_chosen()?;
        self.notes.judge(cert, dss, || {
            judge.of_clients.verify_tls13_signature(message, cert, dss)
        })
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.notes.offered()
    }
}

/// Judges servers, and notes when.
pub(crate) struct ServerVerifier {
    judges: Vec<Arc<Judge>>,
    provider: Arc<CryptoProvider>,
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
        Ok(Self {
            judges: judge::of_servers(rings)?,
            provider,
            notes,
        })
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
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judges = &self.judges;
        let until = judge::judge_server(judges, end_entity, intermediates, server_name, now)?;
        self.notes.authenticated(end_entity, intermediates, until);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.notes.judge(cert, dss, || {
            verify_tls12_signature(message, cert, dss, algorithms)
        })
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.notes.judge(cert, dss, || {
            verify_tls13_signature(message, cert, dss, algorithms)
        })
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.notes.offered()
    }
}

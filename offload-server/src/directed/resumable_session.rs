//! What a session is resumed with (R33), as a ticket carries it or a client keeps it.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use rustls::pki_types::CertificateDer;
use tls::{CipherSuite, Secret};
use zeroize::Zeroizing;

use crate::full_handshake::FullHandshake;

/// A pre-shared key or a master secret.
const MAX_SECRET: usize = 48;
/// A longer certificate goes into no ticket: the next ClientHello has to carry
/// it back.
const MAX_CERTIFICATE: usize = crate::session_cache::MAX_CHAIN;

/// What a session is resumed with.
pub(super) struct ResumableSession {
    pub(super) suite: CipherSuite,
    /// TLS 1.3: the pre-shared key. TLS 1.2: the master secret.
    secret: Box<Secret<MAX_SECRET>>,
    /// The peer's certificate, which was validated and proved.
    peer: Option<CertificateDer<'static>>,
    /// When.
    full: FullHandshake,
}

impl ResumableSession {
    /// `None` when the secret is too long to be one, or the certificate too
    /// long to be in a ticket.
    pub(super) fn new(
        suite: CipherSuite,
        secret: &[u8],
        peer: Option<&CertificateDer<'static>>,
        full: FullHandshake,
    ) -> Option<Self> {
        if peer.is_some_and(|peer| !fits(peer)) {
            return None;
        }
        Some(Self {
            suite,
            secret: Box::new(Secret::from_slice(secret).ok()?),
            peer: peer.cloned(),
            full,
        })
    }

    pub(super) fn secret(&self) -> &[u8] {
        self.secret.expose()
    }

    pub(super) const fn full(&self) -> FullHandshake {
        self.full
    }

    pub(super) fn into_peer(self) -> Option<CertificateDer<'static>> {
        self.peer
    }

    /// What is sealed in a ticket.
    pub(super) fn to_plain(&self) -> Option<Zeroizing<Vec<u8>>> {
        let peer = self.peer.as_deref();
        let most = MAX_SECRET + peer.map_or(0, <[u8]>::len) + 16;
        let mut plain = Zeroizing::new(vec![0; FullHandshake::SIZE + most]);
        let (full, rest) = plain.split_first_chunk_mut()?;
        *full = self.full.to_bytes();
        let content = (self.suite, self.secret(), peer);
        let length = postcard::to_slice(&content, rest).ok()?.len();
        plain.truncate(FullHandshake::SIZE + length);
        Some(plain)
    }

    pub(super) fn from_plain(plain: &[u8]) -> Option<Self> {
        let (full, plain) = FullHandshake::split_from(plain)?;
        let (suite, secret, peer): (CipherSuite, &[u8], Option<&[u8]>) =
            postcard::from_bytes(plain).ok()?;
        let peer = peer.map(|der| CertificateDer::from(der.to_vec()));
        Self::new(suite, secret, peer.as_ref(), full)
    }
}

/// Whether a peer's certificate can be in a ticket.
pub(super) fn fits(certificate: &[u8]) -> bool {
    certificate.len() <= MAX_CERTIFICATE
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::time::Moment;

    pub(in crate::directed) const NOW: Moment = Moment {
        uptime: 5,
        unix: 1_800_000_000,
    };

    pub(in crate::directed) fn now() -> FullHandshake {
        FullHandshake::new(NOW, &[])
    }

    pub(in crate::directed) fn resumable(certificate: usize) -> Option<ResumableSession> {
        let certificate = CertificateDer::from(vec![3; certificate]);
        ResumableSession::new(
            CipherSuite::Aes128GcmSha256,
            &[7; 32],
            Some(&certificate),
            now(),
        )
    }

    #[test]
    fn a_certificate_that_is_too_long_is_in_no_ticket() {
        assert!(resumable(MAX_CERTIFICATE).is_some());
        assert!(resumable(MAX_CERTIFICATE + 1).is_none());
    }
}

//! The full handshake that a chain of resumed sessions began with bounds the chain.
//!
//! A resumed session gets a ticket as good as the one it used. Without a bound a peer
//! with an expired certificate could resume for ever.

use core::time::Duration;

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::time::Moment;

/// How long after its full handshake a session can be resumed, by however many tickets.
/// RFC 8446 §4.6.1 bounds one ticket (seven days) and warns of the chain; BoringSSL ends a
/// chain of TLS 1.3 after seven days (`SSL_DEFAULT_SESSION_AUTH_TIMEOUT`), one of TLS 1.2
/// after two hours. OpenSSL (two hours) and nginx (`ssl_session_timeout`, five minutes)
/// bound each ticket alone, as [`TICKET_LIFETIME`] does.
///
/// [`TICKET_LIFETIME`]: ipc::segment::TICKET_LIFETIME
pub(crate) const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// When a peer was authenticated by a full handshake, and how long its certificates are
/// valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FullHandshake {
    at: Moment,
    /// Seconds since 1970; the last second of all certificates of its chain, and of the
    /// revocation lists that had to be asked. The greatest number for a peer that showed
    /// none.
    not_after: u64,
}

impl FullHandshake {
    /// Bytes in a ticket.
    pub(crate) const SIZE: usize = 24;

    /// Now, of a peer that showed `chain`.
    pub(crate) fn new(now: Moment, chain: &[CertificateDer<'_>]) -> Self {
        let (first, rest) = match chain.split_first() {
            Some((first, rest)) => (Some(first), rest),
            None => (None, chain),
        };
        // One that was over when the chain was validated was no part of it.
        let issuers = rest.iter().map(not_after).filter(|end| *end > now.unix);
        let ends = first.map(not_after).into_iter().chain(issuers);
        Self {
            at: now,
            not_after: ends.min().unwrap_or(u64::MAX),
        }
    }

    /// The same, for resumptions before this moment (seconds since 1970) alone.
    pub(crate) fn no_longer_than(self, until: u64) -> Self {
        Self {
            not_after: self.not_after.min(until),
            ..self
        }
    }

    /// Whether its session can be resumed: it was not too long ago, and the peer's
    /// certificates are still valid. By both clocks: setting one back extends nothing.
    pub(crate) fn can_be_resumed(&self, now: Moment) -> bool {
        let Some(age) = now.uptime.checked_sub(self.at.uptime) else {
            return false;
        };
        age < MAX_AGE.as_secs()
            && now.unix >= self.at.unix
            && self.is_valid_at(now.unix.max(self.at.unix.saturating_add(age)))
    }

    /// Whether the peer's certificates are valid at this moment, in seconds since 1970.
    pub(crate) const fn is_valid_at(&self, unix: u64) -> bool {
        unix < self.not_after
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let numbers = [self.at.uptime, self.at.unix, self.not_after];
        let parts = bytes.as_chunks_mut::<8>().0.iter_mut();
        for (to, number) in parts.zip(numbers) {
            *to = number.to_be_bytes();
        }
        bytes
    }

    /// Also what is after it.
    pub(crate) fn split_from(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (uptime, bytes) = bytes.split_first_chunk()?;
        let (unix, bytes) = bytes.split_first_chunk()?;
        let (not_after, bytes) = bytes.split_first_chunk()?;
        let full = Self {
            at: Moment {
                uptime: u64::from_be_bytes(*uptime),
                unix: u64::from_be_bytes(*unix),
            },
            not_after: u64::from_be_bytes(*not_after),
        };
        Some((full, bytes))
    }
}

/// Zero of a certificate that can't be read: no session of its owner is resumed.
fn not_after(certificate: &CertificateDer<'_>) -> u64 {
    Certificate::from_der(certificate).map_or(0, |certificate| {
        let validity = certificate.tbs_certificate().validity();
        validity.not_after.to_unix_duration().as_secs()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment {
        uptime: 1000,
        unix: 1_800_000_000,
    };

    fn certificate(not_after: u64) -> CertificateDer<'static> {
        let mut params = rcgen::CertificateParams::default();
        let end = std::time::UNIX_EPOCH + Duration::from_secs(not_after);
        params.not_after = end.into();
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn later(seconds: u64) -> Moment {
        Moment {
            uptime: NOW.uptime + seconds,
            unix: NOW.unix + seconds,
        }
    }

    #[test]
    fn a_session_can_be_resumed_for_a_day() {
        let full = FullHandshake::new(NOW, &[]);
        assert!(full.can_be_resumed(NOW));
        assert!(full.can_be_resumed(later(MAX_AGE.as_secs() - 1)));
        assert!(!full.can_be_resumed(later(MAX_AGE.as_secs())));
    }

    #[test]
    fn a_session_can_be_resumed_as_long_as_all_certificates_of_the_peer_are_valid() {
        let chain = [certificate(NOW.unix + 500), certificate(NOW.unix + 300)];
        let full = FullHandshake::new(NOW, &chain);
        assert!(full.can_be_resumed(later(299)));
        assert!(!full.can_be_resumed(later(300)));
        // It can't have been needed.
        let cross_signed = [certificate(NOW.unix + 500), certificate(NOW.unix - 1)];
        let full = FullHandshake::new(NOW, &cross_signed);
        assert!(full.can_be_resumed(later(499)));
        assert!(!full.can_be_resumed(later(500)));
    }

    #[test]
    fn a_peer_whose_certificate_can_not_be_read_is_not_resumed() {
        let full = FullHandshake::new(NOW, &[CertificateDer::from(vec![7; 100])]);
        assert!(!full.can_be_resumed(NOW));
    }

    #[test]
    fn a_clock_that_is_set_back_lengthens_nothing() {
        let full = FullHandshake::new(NOW, &[certificate(NOW.unix + 300)]);
        let is_good = |uptime, unix| full.can_be_resumed(Moment { uptime, unix });
        // The certificate has expired, even if the wall clock disagrees.
        assert!(is_good(NOW.uptime + 299, NOW.unix));
        assert!(!is_good(NOW.uptime + 300, NOW.unix));
        // The wall clock is before the handshake.
        assert!(!is_good(NOW.uptime + 10, NOW.unix - 1));
        assert!(!is_good(NOW.uptime - 1, NOW.unix));
        let full = FullHandshake::new(NOW, &[]);
        let a_day = NOW.uptime + MAX_AGE.as_secs();
        let now = Moment {
            uptime: a_day,
            unix: NOW.unix,
        };
        assert!(!full.can_be_resumed(now));
    }

    #[test]
    fn what_a_ticket_carries_is_read_as_it_was_written() {
        let full = FullHandshake::new(NOW, &[certificate(NOW.unix + 300)]);
        let bytes = [&full.to_bytes()[..], b"state"].concat();
        let (read, rest) = FullHandshake::split_from(&bytes).unwrap();
        assert_eq!((read, rest), (full, &b"state"[..]));
        assert_eq!(FullHandshake::split_from(&bytes[..23]), None);
    }
}

//! How sessions of one request are resumed (R33), and the tickets that this component
//! issues.
//!
//! The sealing, its keys and the bit that makes a ticket good for once are
//! [`crate::ticket_keys`]', as in autonomous mode; what is sealed is this module's
//! (ADR 0071).

use alloc::sync::Arc;
use alloc::vec::Vec;

use ipc::control::Parameters;
use ipc::segment::RingPlace;
use ring::digest::{Context as Sha, Digest, SHA256};
use tls::Version;
use zeroize::Zeroizing;

use super::received::TicketCache;
use super::resumable_session::ResumableSession;
use crate::session_cache::Places;
use crate::ticket_keys::TicketKeys;
use crate::time::Moment;

/// Keeps tickets of the two modes apart: they carry different things.
const DIRECTED: &[u8] = b"directed";

/// How sessions of one request are resumed.
#[derive(Clone)]
pub(crate) enum Resumption {
    /// They are not.
    Off,
    /// As server: by tickets that this component seals.
    Server {
        keys: Arc<TicketKeys>,
        /// SHA-256 of what was asked for.
        request: Digest,
    },
    /// As client: by tickets that servers gave.
    Client(Arc<TicketCache>),
}

impl Resumption {
    /// Of a client: with what servers give.
    pub(crate) fn client(places: &Arc<Places>) -> Self {
        Self::Client(Arc::new(TicketCache::new(places.clone())))
    }

    /// Of a server: with tickets under these keys.
    pub(crate) fn server(parameters: &Parameters, keys: Arc<TicketKeys>) -> Self {
        let mut buffer = [0; ipc::transport::MAX_MESSAGE];
        match postcard::to_slice(parameters, &mut buffer) {
            Ok(bytes) => Self::Server {
                keys,
                request: ring::digest::digest(&SHA256, bytes),
            },
            Err(_) => Self::Off,
        }
    }

    /// What a ticket is sealed for: another version, request, ring or name opens
    /// it not.
    pub(super) fn context(
        &self,
        version: Version,
        ring: RingPlace,
        server_name: Option<&str>,
    ) -> Option<Digest> {
        let Self::Server { request, .. } = self else {
            return None;
        };
        let mut sha = Sha::new(&SHA256);
        sha.update(DIRECTED);
        sha.update(&[match version {
            Version::Tls12 => 2,
            Version::Tls13 => 3,
        }]);
        sha.update(request.as_ref());
        // The request has the labels, by their places.
        sha.update(&[ring]);
        sha.update(server_name.unwrap_or_default().as_bytes());
        Some(sha.finish())
    }

    /// A new ticket.
    pub(super) fn seal(&self, context: &Digest, resumable: &ResumableSession) -> Option<Vec<u8>> {
        let Self::Server { keys, .. } = self else {
            return None;
        };
        keys.seal(context.as_ref(), &resumable.to_plain()?)
    }

    /// Opens a ticket, once, if its session can still be resumed.
    pub(super) fn open(
        &self,
        context: &Digest,
        ticket: &[u8],
        now: Moment,
    ) -> Option<ResumableSession> {
        let Self::Server { keys, .. } = self else {
            return None;
        };
        let plain = Zeroizing::new(keys.open(context.as_ref(), ticket)?);
        ResumableSession::from_plain(&plain)
            .filter(|resumable| resumable.full().can_be_resumed(now))
    }

    pub(super) fn kept(&self) -> Option<&Arc<TicketCache>> {
        match self {
            Self::Client(kept) => Some(kept),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use ipc::bounded::{List, Text};
    use ipc::tls::PeerAuthentication;
    use rustls::pki_types::UnixTime;
    use rustls::time_provider::TimeProvider;
    use tls::CipherSuite;

    use super::*;
    use crate::directed::resumable_session::tests::{NOW, resumable};
    use crate::time::Time;

    #[derive(Debug)]
    struct Still;

    impl Time for Still {
        fn now(&self) -> Moment {
            NOW
        }
    }

    impl TimeProvider for Still {
        fn current_time(&self) -> Option<UnixTime> {
            let seconds = core::time::Duration::from_secs(1_800_000_000);
            Some(UnixTime::since_unix_epoch(seconds))
        }
    }

    fn server() -> Resumption {
        let parameters = Parameters {
            versions: List::from_items([Version::Tls13, Version::Tls12]).unwrap(),
            suites: List::new(),
            allow_static_rsa: false,
            peer_schemes: List::new(),
            groups: List::new(),
            keyrings: List::from_items([Text::from_text("web").unwrap()]).unwrap(),
            peer_authentication: PeerAuthentication::None,
            server_name: None,
            alpn: List::new(),
            segment_size: 1400,
            resumption: true,
            expose_keys: false,
        };
        let keys = TicketKeys::new(Arc::new(Still));
        Resumption::server(&parameters, keys)
    }

    #[test]
    fn r33_a_ticket_opens_for_its_version_ring_and_name_alone_and_once() {
        let resumption = server();
        let context = |version, ring, name| resumption.context(version, ring, name).unwrap();
        let own = context(Version::Tls13, 0, Some("web.test"));
        let ticket = resumption.seal(&own, &resumable(500).unwrap()).unwrap();
        for other in [
            context(Version::Tls12, 0, Some("web.test")),
            context(Version::Tls13, 1, Some("web.test")),
            context(Version::Tls13, 0, Some("mail.test")),
            context(Version::Tls13, 0, None),
        ] {
            assert!(resumption.open(&other, &ticket, NOW).is_none());
        }
        let opened = resumption.open(&own, &ticket, NOW).unwrap();
        assert_eq!(opened.suite, CipherSuite::Aes128GcmSha256);
        assert_eq!(opened.secret(), [7; 32]);
        assert_eq!(opened.into_peer().unwrap().as_ref(), [3; 500]);
        assert!(resumption.open(&own, &ticket, NOW).is_none());
    }

    #[test]
    fn a_ticket_of_autonomous_mode_is_none_here() {
        let resumption = server();
        let Resumption::Server { keys, request } = &resumption else {
            panic!("off");
        };
        let ticket = keys.seal(request.as_ref(), b"state of rustls").unwrap();
        let context = resumption.context(Version::Tls13, 0, None).unwrap();
        assert!(resumption.open(&context, &ticket, NOW).is_none());
    }
}

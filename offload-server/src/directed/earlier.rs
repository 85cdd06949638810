//! Session resumption (R33): the state in tickets that this component issues, and the
//! session kept with each ticket that it received.
//!
//! The sealing, its keys and the bit that makes a ticket good for once are
//! [`crate::tickets`]', as in autonomous mode; what is sealed is this module's
//! (ADR 0071).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use ipc::clock::Instant;
use ipc::control::Parameters;
use ipc::segment::RingPlace;
use ring::digest::{Context as Sha, Digest, SHA256};
use rustls::pki_types::CertificateDer;
use spin::Mutex;
use tls::codec::Reader;
use tls::schedule13::ResumptionSecret;
use tls::{Alert, CipherSuite, Secret, Version};
use zeroize::Zeroizing;

use crate::full_handshake::FullHandshake;
use crate::session_cache::{Places, SessionCache};
use crate::ticket_keys::TicketKeys;
use crate::time::Moment;

/// A pre-shared key or a master secret.
const MAX_SECRET: usize = 48;
/// A longer certificate goes into no ticket: the next ClientHello has to carry
/// it back.
const MAX_CERTIFICATE: usize = crate::tickets::MAX_CHAIN;
/// RFC 8446 §4.6.1: seconds for which a client may keep a ticket.
const LONGEST: u32 = 7 * 24 * 3600;
/// Keeps tickets of the two modes apart: they carry different things.
const DIRECTED: &[u8] = b"directed";

/// What a session is resumed with.
pub(super) struct Earlier {
    pub(super) suite: CipherSuite,
    /// TLS 1.3: the pre-shared key. TLS 1.2: the master secret.
    secret: Box<Secret<MAX_SECRET>>,
    /// The peer's certificate, which was validated and proved.
    peer: Option<CertificateDer<'static>>,
    /// When.
    full: FullHandshake,
}

impl Earlier {
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
    fn to_plain(&self) -> Option<Zeroizing<Vec<u8>>> {
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

    fn from_plain(plain: &[u8]) -> Option<Self> {
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
    Client(Arc<Kept>),
}

impl Resumption {
    /// Of a client: with what servers give.
    pub(crate) fn client(places: &Arc<Places>) -> Self {
        Self::Client(Arc::new(Kept::new(places.clone())))
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

    /// Whether there can be a new ticket.
    pub(super) fn may_promise(&self) -> bool {
        match self {
            Self::Server { keys, .. } => keys.may_promise(),
            _ => true,
        }
    }

    /// A new ticket, where it was promised.
    pub(super) fn seal(&self, context: &Digest, earlier: &Earlier) -> Option<Vec<u8>> {
        let Self::Server { keys, .. } = self else {
            return None;
        };
        keys.seal_promised(context.as_ref(), &earlier.to_plain()?)
    }

    /// Opens a ticket, once, if its session can still be resumed.
    pub(super) fn open(&self, context: &Digest, ticket: &[u8], now: Moment) -> Option<Earlier> {
        let Self::Server { keys, .. } = self else {
            return None;
        };
        let plain = Zeroizing::new(keys.open(context.as_ref(), ticket)?);
        Earlier::from_plain(&plain).filter(|earlier| earlier.full.can_be_resumed(now))
    }

    pub(super) fn kept(&self) -> Option<&Arc<Kept>> {
        match self {
            Self::Client(kept) => Some(kept),
            _ => None,
        }
    }
}

/// Tickets that servers gave for one request, the latest at the end.
pub(crate) struct Kept(Mutex<SessionCache<(Given, Earlier)>>);

/// A ticket as a server gave it.
pub(super) struct Given {
    pub(super) ticket: Vec<u8>,
    /// TLS 1.3: what obfuscates its age.
    age_add: u32,
    at: Instant,
    /// Seconds.
    lifetime: u32,
}

impl Given {
    fn is_good(&self, now: Instant) -> bool {
        self.age_ms(now) < u64::from(self.lifetime) * 1000
    }

    fn age_ms(&self, now: Instant) -> u64 {
        now.as_micros().saturating_sub(self.at.as_micros()) / 1000
    }

    /// RFC 8446 §4.2.11.1: modulo 2^32.
    pub(super) fn obfuscated_age(&self, now: Instant) -> u32 {
        let [.., a, b, c, d] = self.age_ms(now).to_be_bytes();
        u32::from_be_bytes([a, b, c, d]).wrapping_add(self.age_add)
    }

    /// NewSessionTicket of TLS 1.2 (RFC 5077 §3.3); `None` when the server
    /// changed its mind, or it is too long to be remembered.
    pub(super) fn parse12(body: &[u8], now: Instant) -> Result<Option<Self>, Alert> {
        let fits = body.len() <= crate::tickets::MAX_TICKET;
        let mut body = Reader::new(body);
        let lifetime = body.u32()?;
        let ticket = body.vec16()?.rest();
        body.end()?;
        let given = Self {
            ticket: ticket.to_vec(),
            age_add: 0,
            at: now,
            // §3.3: 0 is unspecified.
            lifetime: match lifetime {
                0 => ipc::segment::TICKET_LIFETIME,
                lifetime => lifetime.min(LONGEST),
            },
        };
        Ok((fits && !ticket.is_empty()).then_some(given))
    }
}

impl Kept {
    /// Bytes of the list in it.
    pub(crate) const LIST: usize = SessionCache::<(Given, Earlier)>::LIST;

    fn new(places: Arc<Places>) -> Self {
        Self(Mutex::new(SessionCache::new(places)))
    }

    fn keep(&self, given: Given, earlier: Earlier) {
        self.0.lock().push((given, earlier));
    }

    /// The latest that is still good: no other handshake offers it until this one has
    /// ended (RFC 8446 §C.4).
    pub(super) fn take(&self, now: Instant, moment: Moment) -> Option<(Given, Earlier)> {
        let mut kept = self.0.lock();
        kept.retain(|(given, earlier)| given.is_good(now) && earlier.full.can_be_resumed(moment));
        kept.take(|_| true)
    }

    /// Keeps what a session of TLS 1.2 is resumed with.
    pub(super) fn keep12(&self, given: Given, earlier: Option<Earlier>) {
        if let Some(earlier) = earlier {
            self.keep(given, earlier);
        }
    }
}

/// Takes the tickets that a server sends after a handshake of TLS 1.3.
pub(crate) struct Tickets {
    pub(super) suite: CipherSuite,
    pub(super) secret: ResumptionSecret,
    pub(super) peer: Option<CertificateDer<'static>>,
    pub(super) full: FullHandshake,
    pub(super) kept: Arc<Kept>,
}

impl Tickets {
    /// Keeps the ticket in the body of a NewSessionTicket (RFC 8446 §4.6.1).
    ///
    /// # Errors
    /// The alert for the server.
    pub(crate) fn take(&self, body: &[u8], now: Instant) -> Result<(), Alert> {
        let mut body = Reader::new(body);
        let lifetime = body.u32()?;
        let age_add = body.u32()?;
        let nonce = body.vec8()?.rest();
        let ticket = body.vec16()?.rest();
        let mut extensions = body.vec16()?;
        if ticket.is_empty() || !body.is_empty() {
            return Err(Alert::DECODE_ERROR);
        }
        while extensions.next_extension()?.is_some() {}
        let given = Given {
            ticket: ticket.to_vec(),
            age_add,
            at: now,
            lifetime: lifetime.min(LONGEST),
        };
        let key = self.secret.pre_shared_key(nonce);
        let key = key.ok_or(Alert::INTERNAL_ERROR)?;
        let earlier = Earlier::new(self.suite, key.expose(), self.peer.as_ref(), self.full);
        if let Some(earlier) = earlier {
            self.kept.keep(given, earlier);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ipc::bounded::{List, Text};
    use ipc::tls::PeerAuthentication;
    use rustls::pki_types::UnixTime;
    use rustls::time_provider::TimeProvider;

    use super::*;
    use crate::time::Time;

    const NOW: Moment = Moment {
        uptime: 5,
        unix: 1_800_000_000,
    };

    fn now() -> FullHandshake {
        FullHandshake::new(NOW, &[])
    }

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

    fn earlier(certificate: usize) -> Option<Earlier> {
        let certificate = CertificateDer::from(vec![3; certificate]);
        Earlier::new(
            CipherSuite::Aes128GcmSha256,
            &[7; 32],
            Some(&certificate),
            now(),
        )
    }

    #[test]
    fn r33_a_ticket_opens_for_its_version_ring_and_name_alone_and_once() {
        let resumption = server();
        let context = |version, ring, name| resumption.context(version, ring, name).unwrap();
        let own = context(Version::Tls13, 0, Some("web.test"));
        let ticket = resumption.seal(&own, &earlier(500).unwrap()).unwrap();
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

    #[test]
    fn a_certificate_that_is_too_long_is_in_no_ticket() {
        assert!(earlier(MAX_CERTIFICATE).is_some());
        assert!(earlier(MAX_CERTIFICATE + 1).is_none());
    }

    #[test]
    fn r33_a_ticket_is_used_once_and_not_when_it_is_old() {
        let kept = Kept::new(Arc::default());
        let at = Instant::from_millis;
        let body = |lifetime: u32| {
            let [a, b, c, d] = lifetime.to_be_bytes();
            [a, b, c, d, 0, 2, 9, 9]
        };
        for lifetime in [10, 20] {
            let given = Given::parse12(&body(lifetime), at(0)).unwrap();
            kept.keep12(given.unwrap(), earlier(5));
        }
        let (given, _) = kept.take(at(10_000), NOW).unwrap();
        assert_eq!((given.lifetime, given.age_ms(at(10_000))), (20, 10_000));
        assert!(kept.take(at(10_000), NOW).is_none());
        // RFC 8446 §4.6.1.
        let given = Given::parse12(&body(u32::MAX), at(0)).unwrap().unwrap();
        assert_eq!(given.lifetime, LONGEST);
    }

    #[test]
    fn as_many_tickets_are_kept_as_there_is_room_for() {
        let kept = Kept::new(Arc::default());
        let now = Instant::from_millis(0);
        for number in 0..20 {
            let given = Given::parse12(&[0, 0, 0, 9, 0, 1, number], now).unwrap();
            kept.keep12(given.unwrap(), earlier(5));
        }
        let taken = core::iter::from_fn(|| kept.take(now, NOW));
        let numbers: Vec<u8> = taken.map(|(given, _)| given.ticket[0]).collect();
        assert_eq!(numbers, [19, 18, 17, 16]);
    }

    #[test]
    fn r33_an_age_is_obfuscated() {
        let mut given = Given::parse12(&[0, 0, 0, 9, 0, 1, 0], Instant::from_millis(500))
            .unwrap()
            .unwrap();
        given.age_add = u32::MAX - 10;
        assert_eq!(given.obfuscated_age(Instant::from_millis(1500)), 989);
    }

    #[test]
    fn a_ticket_that_can_not_be_parsed_is_a_decode_error() {
        let now = Instant::from_millis(0);
        assert!(matches!(Given::parse12(&[0, 0, 0, 9, 0, 0], now), Ok(None)));
        for body in [
            &[][..],
            &[0, 0, 0, 9],
            &[0, 0, 0, 9, 0, 2, 1],
            &[0, 0, 0, 9, 0, 1, 1, 1],
        ] {
            let wrong = Given::parse12(body, now);
            assert!(matches!(wrong, Err(Alert::DECODE_ERROR)), "{body:?}");
        }
    }

    #[test]
    fn r33_tickets_behind_a_handshake_are_kept_or_refused() {
        let suite = CipherSuite::Aes128GcmSha256;
        let hash = ring::digest::digest(&SHA256, b"");
        let schedule = tls::schedule13::Schedule::new(suite.hash());
        let tickets = Tickets {
            suite,
            secret: schedule.resumption(hash.as_ref()).unwrap(),
            peer: None,
            full: now(),
            kept: Arc::new(Kept::new(Arc::default())),
        };
        let now = Instant::from_millis(0);
        let good = [
            0, 0, 0, 9, 1, 2, 3, 4, 1, 0, 0, 2, 8, 8, 0, 5, 0, 42, 0, 1, 7,
        ];
        assert_eq!(tickets.take(&good, now), Ok(()));
        let (given, earlier) = tickets.kept.take(now, NOW).unwrap();
        assert_eq!(
            (&given.ticket[..], given.age_add),
            (&[8, 8][..], 0x0102_0304)
        );
        let key = tickets.secret.pre_shared_key(&[0]).unwrap();
        assert_eq!(earlier.secret(), key.expose());
        for length in 0..good.len() {
            let cut = tickets.take(&good[..length], now);
            assert_eq!(cut, Err(Alert::DECODE_ERROR), "{length}");
        }
        let empty = [0, 0, 0, 9, 1, 2, 3, 4, 1, 0, 0, 0, 0, 0];
        assert_eq!(tickets.take(&empty, now), Err(Alert::DECODE_ERROR));
        let more = [&good[..], &[0]].concat();
        assert_eq!(tickets.take(&more, now), Err(Alert::DECODE_ERROR));
        assert!(tickets.kept.take(now, NOW).is_none());
    }
}

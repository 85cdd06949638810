//! Tickets that servers gave (R33), each with the session that it resumes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ipc::clock::Instant;
use rustls::pki_types::CertificateDer;
use spin::Mutex;
use tls::codec::Reader;
use tls::schedule13::ResumptionSecret;
use tls::{Alert, CipherSuite, ExtensionType};

use super::resumable_session::ResumableSession;
use crate::full_handshake::FullHandshake;
use crate::session::TakeTickets;
use crate::session_cache::{Places, SessionCache};
use crate::time::Moment;

/// RFC 8446 §4.6.1: seconds for which a client may keep a ticket.
const LONGEST: u32 = 7 * 24 * 3600;

/// Tickets that servers gave for one request, the latest at the end.
pub(crate) struct TicketCache(Mutex<SessionCache<(ReceivedTicket, ResumableSession)>>);

/// A ticket as a server gave it.
pub(super) struct ReceivedTicket {
    pub(super) ticket: Vec<u8>,
    /// TLS 1.3: what obfuscates its age.
    age_add: u32,
    at: Instant,
    /// Seconds.
    lifetime: u32,
}

impl ReceivedTicket {
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
        let fits = body.len() <= crate::session_cache::MAX_TICKET;
        let mut body = Reader::new(body);
        let lifetime = body.u32()?;
        let ticket = body.vec16()?.rest();
        body.end()?;
        let received = Self {
            ticket: ticket.to_vec(),
            age_add: 0,
            at: now,
            // §3.3: 0 is unspecified.
            lifetime: match lifetime {
                0 => ipc::segment::TICKET_LIFETIME,
                lifetime => lifetime.min(LONGEST),
            },
        };
        Ok((fits && !ticket.is_empty()).then_some(received))
    }
}

impl TicketCache {
    /// Bytes of the list in it.
    pub(crate) const LIST: usize = SessionCache::<(ReceivedTicket, ResumableSession)>::LIST;

    pub(super) fn new(places: Arc<Places>) -> Self {
        Self(Mutex::new(SessionCache::new(places)))
    }

    fn keep(&self, received: ReceivedTicket, resumable: ResumableSession) {
        self.0.lock().push((received, resumable));
    }

    /// The latest that is still good: no other handshake offers it until this one has
    /// ended (RFC 8446 §C.4).
    pub(super) fn take(
        &self,
        now: Instant,
        moment: Moment,
    ) -> Option<(ReceivedTicket, ResumableSession)> {
        let mut kept = self.0.lock();
        kept.retain(|(received, resumable)| {
            received.is_good(now) && resumable.full().can_be_resumed(moment)
        });
        kept.take(|_| true)
    }

    /// Keeps what a session of TLS 1.2 is resumed with.
    pub(super) fn keep12(&self, received: ReceivedTicket, resumable: Option<ResumableSession>) {
        if let Some(resumable) = resumable {
            self.keep(received, resumable);
        }
    }
}

/// Takes the tickets that a server sends after a handshake of TLS 1.3.
pub(crate) struct Tickets {
    pub(super) suite: CipherSuite,
    pub(super) secret: ResumptionSecret,
    pub(super) peer: Option<CertificateDer<'static>>,
    pub(super) full: FullHandshake,
    pub(super) kept: Arc<TicketCache>,
}

impl TakeTickets for Tickets {
    fn take(&mut self, body: &[u8], now: Instant) -> Result<(), Alert> {
        let mut body = Reader::new(body);
        let lifetime = body.u32()?;
        let age_add = body.u32()?;
        let nonce = body.vec8()?.rest();
        let ticket = body.vec16()?.rest();
        let mut extensions = body.vec16()?;
        if ticket.is_empty() || !body.is_empty() {
            return Err(Alert::DECODE_ERROR);
        }
        let mut has_early_data = false;
        while let Some((kind, mut content)) = extensions.next_extension()? {
            // RFC 8446 §4.2: none twice, of those that are known here.
            if kind == ExtensionType::EARLY_DATA {
                content.u32()?;
                content.end()?;
                if core::mem::replace(&mut has_early_data, true) {
                    return Err(Alert::ILLEGAL_PARAMETER);
                }
            }
        }
        let received = ReceivedTicket {
            ticket: ticket.to_vec(),
            age_add,
            at: now,
            lifetime: lifetime.min(LONGEST),
        };
        let key = self.secret.pre_shared_key(nonce);
        let key = key.ok_or(Alert::INTERNAL_ERROR)?;
        let resumable =
            ResumableSession::new(self.suite, key.expose(), self.peer.as_ref(), self.full);
        if let Some(resumable) = resumable {
            self.kept.keep(received, resumable);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ring::digest::SHA256;

    use super::*;
    use crate::directed::resumable_session::tests::{NOW, now, resumable};

    #[test]
    fn r33_a_ticket_is_used_once_and_not_when_it_is_old() {
        let kept = TicketCache::new(Arc::default());
        let at = Instant::from_millis;
        let body = |lifetime: u32| {
            let [a, b, c, d] = lifetime.to_be_bytes();
            [a, b, c, d, 0, 2, 9, 9]
        };
        for lifetime in [10, 20] {
            let received = ReceivedTicket::parse12(&body(lifetime), at(0)).unwrap();
            kept.keep12(received.unwrap(), resumable(5));
        }
        let (received, _) = kept.take(at(10_000), NOW).unwrap();
        assert_eq!(
            (received.lifetime, received.age_ms(at(10_000))),
            (20, 10_000)
        );
        assert!(kept.take(at(10_000), NOW).is_none());
        // RFC 8446 §4.6.1.
        let received = ReceivedTicket::parse12(&body(u32::MAX), at(0))
            .unwrap()
            .unwrap();
        assert_eq!(received.lifetime, LONGEST);
    }

    #[test]
    fn as_many_tickets_are_kept_as_there_is_room_for() {
        let kept = TicketCache::new(Arc::default());
        let now = Instant::from_millis(0);
        for number in 0..20 {
            let received = ReceivedTicket::parse12(&[0, 0, 0, 9, 0, 1, number], now).unwrap();
            kept.keep12(received.unwrap(), resumable(5));
        }
        let taken = core::iter::from_fn(|| kept.take(now, NOW));
        let numbers: Vec<u8> = taken.map(|(received, _)| received.ticket[0]).collect();
        assert_eq!(numbers, [19, 18, 17, 16]);
    }

    #[test]
    fn r33_an_age_is_obfuscated() {
        let mut received =
            ReceivedTicket::parse12(&[0, 0, 0, 9, 0, 1, 0], Instant::from_millis(500))
                .unwrap()
                .unwrap();
        received.age_add = u32::MAX - 10;
        assert_eq!(received.obfuscated_age(Instant::from_millis(1500)), 989);
    }

    #[test]
    fn a_ticket_that_can_not_be_parsed_is_a_decode_error() {
        let now = Instant::from_millis(0);
        assert!(matches!(
            ReceivedTicket::parse12(&[0, 0, 0, 9, 0, 0], now),
            Ok(None)
        ));
        for body in [
            &[][..],
            &[0, 0, 0, 9],
            &[0, 0, 0, 9, 0, 2, 1],
            &[0, 0, 0, 9, 0, 1, 1, 1],
        ] {
            let wrong = ReceivedTicket::parse12(body, now);
            assert!(matches!(wrong, Err(Alert::DECODE_ERROR)), "{body:?}");
        }
    }

    #[test]
    fn r33_tickets_after_a_handshake_are_kept_or_refused() {
        let suite = CipherSuite::Aes128GcmSha256;
        let hash = ring::digest::digest(&SHA256, b"");
        let schedule = tls::schedule13::Schedule::new(suite.hash());
        let mut tickets = Tickets {
            suite,
            secret: schedule.resumption(hash.as_ref()).unwrap(),
            peer: None,
            full: now(),
            kept: Arc::new(TicketCache::new(Arc::default())),
        };
        let now = Instant::from_millis(0);
        let good = [
            0, 0, 0, 9, 1, 2, 3, 4, 1, 0, 0, 2, 8, 8, 0, 8, 0, 42, 0, 4, 0, 0, 0, 7,
        ];
        assert_eq!(tickets.take(&good, now), Ok(()));
        let (received, resumable) = tickets.kept.take(now, NOW).unwrap();
        assert_eq!(
            (&received.ticket[..], received.age_add),
            (&[8, 8][..], 0x0102_0304)
        );
        let key = tickets.secret.pre_shared_key(&[0]).unwrap();
        assert_eq!(resumable.secret(), key.expose());
        for length in 0..good.len() {
            let cut = tickets.take(&good[..length], now);
            assert_eq!(cut, Err(Alert::DECODE_ERROR), "{length}");
        }
        let empty = [0, 0, 0, 9, 1, 2, 3, 4, 1, 0, 0, 0, 0, 0];
        assert_eq!(tickets.take(&empty, now), Err(Alert::DECODE_ERROR));
        let (start, data) = good.split_at(14);
        let twice = [start, &[0, 16], &data[2..], &data[2..]].concat();
        assert_eq!(tickets.take(&twice, now), Err(Alert::ILLEGAL_PARAMETER));
        let more = [&good[..], &[0]].concat();
        assert_eq!(tickets.take(&more, now), Err(Alert::DECODE_ERROR));
        assert!(tickets.kept.take(now, NOW).is_none());
    }
}

//! The keys that seal tickets: each for an hour at most, and opening until two hours after
//! it was made; a bit for each ticket tells whether it was used (RFC 8446 §8.1). A key that
//! has sealed as many as it has bits for is replaced at once, and of [`KEYS`] the oldest
//! goes. So there is a ticket for everybody, always: whoever takes tickets as fast as this
//! component can give them makes all of them good for a shorter time, and for none shorter
//! than it takes to seal seven keys' full.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use spin::Mutex;
use zeroize::Zeroizing;

use crate::time::{Moment, Time};

/// Seconds for which a key seals; it opens for as long again.
pub(crate) const ROTATION: u32 = ipc::segment::TICKET_LIFETIME;
/// Tickets that one key seals at most: so many bits are kept for it.
const MOST: u32 = 1 << 17;
/// Keys whose tickets may be opened, at most.
pub(crate) const KEYS: usize = 8;
/// The tickets that were sealed last, so many of them at least, are good whatever others
/// take: 917,504. At 300 full handshakes a second with two tickets each, they are those of
/// 25 minutes.
#[cfg(test)]
const LATEST: u32 = (KEYS as u32 - 1) * MOST;
/// Bytes of one key: a bit for each ticket.
pub(crate) const KEY: usize = MOST as usize / 8;
/// Tells keys apart on the wire.
const KEY_NAME: usize = 8;
/// Prefix of the sealed state: the ticket's number under its key.
const NUMBER: usize = 4;

/// The keys of all tickets, for the latest two hours.
pub(crate) struct TicketKeys {
    random: SystemRandom,
    time: Arc<dyn Time>,
    keys: Mutex<Keys>,
}

/// The newest is the last.
struct Keys(VecDeque<Key>);

struct Key {
    name: [u8; KEY_NAME],
    aead: LessSafeKey,
    /// Seconds of uptime.
    made: u64,
    issued: u32,
    /// A bit for each ticket.
    used: Box<[u64]>,
}

impl TicketKeys {
    pub(crate) fn new(time: Arc<dyn Time>) -> Arc<Self> {
        Arc::new(Self {
            random: SystemRandom::new(),
            time,
            keys: Mutex::new(Keys(VecDeque::with_capacity(KEYS))),
        })
    }

    pub(crate) fn now(&self) -> Moment {
        self.time.now()
    }

    fn make(&self, now: u64) -> Option<Key> {
        let mut name = [0; KEY_NAME];
        self.random.fill(&mut name).ok()?;
        let mut key = Zeroizing::new([0; 32]);
        self.random.fill(&mut *key).ok()?;
        let key = UnboundKey::new(&AES_256_GCM, &*key).ok()?;
        Some(Key {
            name,
            aead: LessSafeKey::new(key),
            made: now,
            issued: 0,
            used: vec![0; MOST as usize / 64].into_boxed_slice(),
        })
    }

    /// A ticket that carries `plain`, and opens for `context` alone; `None` without random
    /// numbers.
    pub(crate) fn seal(&self, context: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let now = self.now().uptime;
        let mut keys = self.keys.lock();
        keys.expire(now);
        if keys.0.back().is_none_or(|key| !key.may_seal(now)) {
            let key = self.make(now)?;
            keys.push(key);
        }
        let key = keys.0.back_mut()?;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut ticket = Vec::with_capacity(KEY_NAME + NONCE_LEN + NUMBER + plain.len() + 16);
        ticket.extend(key.name);
        ticket.extend(nonce);
        let start = ticket.len();
        ticket.extend(key.issued.to_be_bytes());
        ticket.extend(plain);
        let sealed = ticket.get_mut(start..)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key
            .aead
            .seal_in_place_separate_tag(nonce, Aad::from(context), sealed)
            .ok()?;
        ticket.extend(tag.as_ref());
        key.issued += 1;
        Some(ticket)
    }

    /// Opens a ticket, once.
    pub(crate) fn open(&self, context: &[u8], ticket: &[u8]) -> Option<Vec<u8>> {
        let now = self.now().uptime;
        let (name, rest) = ticket.split_first_chunk::<KEY_NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let mut keys = self.keys.lock();
        keys.expire(now);
        let key = keys.0.iter_mut().find(|key| key.name == *name)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key
            .aead
            .open_in_place(nonce, Aad::from(context), &mut sealed)
            .ok()?;
        let (number, plain) = opened.split_first_chunk::<NUMBER>()?;
        key.use_up(u32::from_be_bytes(*number))?;
        Some(plain.to_vec())
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKeys")
    }
}

impl Keys {
    /// Forgets keys whose tickets are all too old.
    fn expire(&mut self, now: u64) {
        self.0.retain(|key| {
            let end = key.made + 2 * u64::from(ROTATION);
            (key.made..end).contains(&now)
        });
    }

    /// The newest, in place of the oldest if there are [`KEYS`].
    fn push(&mut self, key: Key) {
        if self.0.len() >= KEYS {
            self.0.pop_front();
        }
        self.0.push_back(key);
    }
}

impl Key {
    fn may_seal(&self, now: u64) -> bool {
        now < self.made + u64::from(ROTATION) && self.issued < MOST
    }

    /// `None` when the ticket was used before.
    fn use_up(&mut self, number: u32) -> Option<()> {
        let word = self.used.get_mut(number as usize / 64)?;
        let bit = 1 << (number % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new.then_some(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use core::sync::atomic::{AtomicU64, Ordering};
    use core::time::Duration;

    use rustls::pki_types::UnixTime;
    use rustls::time_provider::TimeProvider;

    use super::*;

    #[derive(Debug)]
    pub(crate) struct Hand(pub(crate) AtomicU64);

    impl TimeProvider for Hand {
        fn current_time(&self) -> Option<UnixTime> {
            Some(UnixTime::since_unix_epoch(Duration::ZERO))
        }
    }

    impl Time for Hand {
        fn now(&self) -> Moment {
            let uptime = self.0.load(Ordering::Relaxed);
            Moment { uptime, unix: 0 }
        }
    }

    pub(crate) fn keys() -> (Arc<TicketKeys>, Arc<Hand>) {
        let time = Arc::new(Hand(AtomicU64::new(1_800_000_000)));
        (TicketKeys::new(time.clone()), time)
    }

    #[test]
    fn r33_a_ticket_is_good_once() {
        let (keys, _) = keys();
        let ticket = keys.seal(b"web", b"state").unwrap();
        assert_eq!(keys.open(b"web", &ticket).unwrap(), b"state");
        assert_eq!(keys.open(b"web", &ticket), None);
        let other = keys.seal(b"web", b"state").unwrap();
        assert!(keys.open(b"web", &other).is_some());
    }

    #[test]
    fn a_ticket_is_good_under_the_configuration_that_gave_it_alone() {
        let (keys, _) = keys();
        let ticket = keys.seal(b"open to all", b"state").unwrap();
        assert_eq!(keys.open(b"with a certificate", &ticket), None);
        assert!(keys.open(b"open to all", &ticket).is_some());
    }

    #[test]
    fn a_ticket_that_was_changed_anywhere_is_not_opened() {
        let (keys, _) = keys();
        let ticket = keys.seal(b"web", b"state").unwrap();
        for place in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[place] ^= 1;
            assert_eq!(keys.open(b"web", &changed), None, "{place}");
            assert_eq!(keys.open(b"web", &ticket[..place]), None, "{place}");
        }
        assert!(keys.open(b"web", &ticket).is_some());
    }

    #[test]
    fn keys_are_replaced_and_their_tickets_end() {
        let (keys, time) = keys();
        let first = keys.seal(b"web", b"1").unwrap();
        let kept = keys.seal(b"web", b"2").unwrap();
        time.0.fetch_add(u64::from(ROTATION), Ordering::Relaxed);
        let second = keys.seal(b"web", b"3").unwrap();
        assert_ne!(first[..KEY_NAME], second[..KEY_NAME]);
        assert_eq!(keys.open(b"web", &first).unwrap(), b"1");
        time.0.fetch_add(u64::from(ROTATION), Ordering::Relaxed);
        assert_eq!(keys.open(b"web", &kept), None);
        assert_eq!(keys.open(b"web", &second).unwrap(), b"3");
    }

    /// Tickets that others take; their nonces and tags are what takes long.
    fn flood(keys: &TicketKeys, mut count: u32) {
        while count > 0 {
            assert!(keys.seal(b"web", b"flood").is_some());
            let mut all = keys.keys.lock();
            let key = all.0.back_mut().unwrap();
            let more = (count - 1).min(MOST - key.issued);
            key.issued += more;
            count -= 1 + more;
        }
    }

    #[test]
    fn who_takes_tickets_as_fast_as_they_are_given_leaves_one_for_everybody() {
        let (keys, _) = keys();
        for _ in 0..3 * KEYS {
            let own = keys.seal(b"web", b"honest").unwrap();
            flood(&keys, LATEST - 1);
            assert_eq!(keys.open(b"web", &own).unwrap(), b"honest");
            assert_eq!(keys.open(b"web", &own), None, "once");
            assert!(keys.keys.lock().0.len() <= KEYS);
        }
    }

    #[test]
    fn a_ticket_is_good_until_all_keys_are_full() {
        let (keys, _) = keys();
        flood(&keys, MOST - 1);
        let last = keys.seal(b"web", b"of the first key").unwrap();
        flood(&keys, LATEST);
        assert!(keys.open(b"web", &last).is_some());
        let next = keys.seal(b"web", b"of the second").unwrap();
        assert!(keys.open(b"web", &next).is_some());
        let (other, _) = self::keys();
        let first = other.seal(b"web", b"1").unwrap();
        flood(&other, LATEST + MOST);
        assert_eq!(other.open(b"web", &first), None);
    }
}

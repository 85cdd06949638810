//! What is known of a client's address from the handshakes that it had before.
//!
//! A flood of addresses that begin handshakes and never finish one can't be told from
//! clients while it begins; it can be told from those that were here before. So an address
//! that had a session is served before others for a while, and one from which a handshake
//! failed after all others, as in OpenSSH (`PerSourcePenalties` of sshd_config(5)): here,
//! and by the offload component. Nobody is refused for his standing.
//!
//! Which known address is forgotten for another is decided by its visits: sessions that
//! began [`VISIT`] apart at least. Addresses that come for one session, in any number, so
//! make those forgotten that came for one, and of each set of [`WAYS`] one other at most.
//! Caches keep out scans likewise (2Q, segmented LRU).

use alloc::vec;
use alloc::vec::Vec;
use core::num::NonZeroU8;
use core::time::Duration;

use ipc::clock::Instant;
use ipc::control::Standing;
use siphasher::sip::SipHasher24;

/// How long an address is known after its last session began.
const KNOWN: Duration = Duration::from_secs(3600);
/// How long one failure is remembered; those that follow add to it.
const PENALTY: Duration = Duration::from_secs(15);
/// How long an address is penalized at most after its last failure.
const MOST: Duration = Duration::from_secs(60);
/// Sessions that begin within this time are one visit. Longer than a page takes with all
/// that belongs to it, shorter than a reader stays away.
const VISIT: Duration = Duration::from_secs(60);

/// The standing of addresses.
pub(crate) struct Standings {
    known: Addresses,
    penalized: Addresses,
    /// Nobody can choose addresses that have one hash.
    hasher: SipHasher24,
}

impl Standings {
    /// Bytes of the tables.
    pub(crate) const TABLES: usize = 2 * Addresses::TABLE;

    /// With a key that nobody knows.
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self {
            known: Addresses::new(),
            penalized: Addresses::new(),
            hasher: SipHasher24::new_with_key(&key),
        }
    }

    /// Where in both tables this address is.
    fn place(&self, address: u128) -> Place {
        let hash = self.hasher.hash(&address.to_be_bytes());
        let set = usize::try_from(hash % SETS as u64).unwrap_or(0);
        Place { set, address }
    }

    pub(crate) fn of(&self, address: u128, now: Instant) -> Standing {
        let address = self.place(address);
        if self.penalized.until(address) > now {
            Standing::Penalized
        } else if self.known.until(address) > now {
            Standing::Known
        } else {
            Standing::New
        }
    }

    /// A handshake of this address came to nothing.
    pub(crate) fn note_failure(&mut self, address: u128, now: Instant) {
        let address = self.place(address);
        let until = self.penalized.until(address).max(now) + PENALTY;
        let failed = Entry {
            until: until.min(now + MOST),
            ..Entry::new(address.address, now)
        };
        self.penalized.set(address.set, failed, now);
    }

    /// A handshake of this address led to a session, which makes up for one that failed.
    pub(crate) fn note_session(&mut self, address: u128, now: Instant) {
        let address = self.place(address);
        let until = self.penalized.until(address) - PENALTY;
        match self.penalized.get_mut(address) {
            Some(entry) if until > now => entry.until = until,
            _ => self.penalized.remove(address),
        }
        let known = self.known.get_mut(address).copied();
        let mut known = known.filter(|known| known.until > now);
        let known = known.get_or_insert(Entry::new(address.address, now));
        known.until = now + KNOWN;
        if now >= known.visited + VISIT {
            known.visits = known.visits.saturating_add(1);
            known.visited = now;
        }
        self.known.set(address.set, *known, now);
    }
}

/// Addresses that can have the same hash.
const WAYS: usize = 4;
/// Hashes.
const SETS: usize = 1024;

#[derive(Clone, Copy)]
struct Entry {
    address: u128,
    until: Instant,
    /// When the last visit began.
    visited: Instant,
    /// Of those that failed, one.
    visits: NonZeroU8,
}

// A place without one is no larger.
const _: () = assert!(size_of::<Option<Entry>>() == size_of::<Entry>());

impl Entry {
    /// At its first visit.
    const fn new(address: u128, now: Instant) -> Self {
        Self {
            address,
            until: now,
            visited: now,
            visits: NonZeroU8::MIN,
        }
    }
}

/// An address, and the set that it is in.
#[derive(Clone, Copy)]
struct Place {
    set: usize,
    address: u128,
}

type Set = [Option<Entry>; WAYS];

/// Some thousand addresses, each until a moment. One that there is no room for takes the
/// place of one that is over, else of the one with the fewest visits, and of those of the
/// one that would be over first.
struct Addresses {
    sets: Vec<Set>,
}

impl Addresses {
    const TABLE: usize = SETS * size_of::<Set>();

    fn new() -> Self {
        Self {
            sets: vec![[None; WAYS]; SETS],
        }
    }

    /// Zero for one that is not there.
    fn until(&self, place: Place) -> Instant {
        let set = self.sets.get(place.set);
        let mut entries = set.into_iter().flatten().flatten();
        let found = entries.find(|entry| entry.address == place.address);
        found.map_or(Instant::default(), |entry| entry.until)
    }

    fn get_mut(&mut self, place: Place) -> Option<&mut Entry> {
        let set = self.sets.get_mut(place.set);
        let mut entries = set.into_iter().flatten().flatten();
        entries.find(|entry| entry.address == place.address)
    }

    fn set(&mut self, set: usize, entry: Entry, now: Instant) {
        let Some(set) = self.sets.get_mut(set) else {
            return;
        };
        let is_it =
            |place: &Option<Entry>| place.is_some_and(|found| found.address == entry.address);
        let place = match set.iter().position(is_it) {
            Some(place) => set.get_mut(place),
            None => set.iter_mut().min_by_key(|place| {
                let found = place.filter(|found| found.until > now);
                found.map(|found| (found.visits, found.until))
            }),
        };
        if let Some(place) = place {
            *place = Some(entry);
        }
    }

    fn remove(&mut self, place: Place) {
        for entry in self.sets.get_mut(place.set).into_iter().flatten() {
            entry.take_if(|entry| entry.address == place.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 16] = *b"0123456789abcdef";

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    #[test]
    fn an_address_is_penalized_for_a_while_and_longer_when_it_goes_on() {
        let mut standings = Standings::new(KEY);
        assert_eq!(standings.of(1, at(1)), Standing::New);
        standings.note_failure(1, at(1));
        assert_eq!(standings.of(1, at(15)), Standing::Penalized);
        assert_eq!(standings.of(2, at(15)), Standing::New);
        assert_eq!(standings.of(1, at(16)), Standing::New);
        for _ in 0..100 {
            standings.note_failure(1, at(20));
        }
        assert_eq!(standings.of(1, at(79)), Standing::Penalized);
        assert_eq!(standings.of(1, at(80)), Standing::New);
    }

    #[test]
    fn a_session_makes_an_address_known_until_a_handshake_fails() {
        let mut standings = Standings::new(KEY);
        standings.note_failure(1, at(0));
        standings.note_session(1, at(1));
        assert_eq!(standings.of(1, at(2)), Standing::Known);
        assert_eq!(standings.of(1, at(3601)), Standing::New);
        // One session makes up for one failure.
        (0..3).for_each(|_| standings.note_failure(2, at(10)));
        standings.note_session(2, at(11));
        assert_eq!(standings.of(2, at(39)), Standing::Penalized);
        standings.note_session(2, at(12));
        assert_eq!(standings.of(2, at(24)), Standing::Penalized);
        standings.note_session(2, at(13));
        assert_eq!(standings.of(2, at(14)), Standing::Known);
        standings.note_session(1, at(10));
        standings.note_failure(1, at(20));
        assert_eq!(standings.of(1, at(34)), Standing::Penalized);
        assert_eq!(standings.of(1, at(35)), Standing::Known);
    }

    #[test]
    fn most_of_a_thousand_neighbours_are_remembered_and_the_table_does_not_grow() {
        for first in [0xffff_0a00_0001_u128, 0x2001_0db8 << 96] {
            let step = if first < 1 << 64 { 1 } else { 1 << 64 };
            let all = |count: u128| (0..count).map(move |number| first + number * step);
            let mut standings = Standings::new(KEY);
            all(1000).for_each(|address| standings.note_session(address, at(1)));
            let is_known = |address: &u128| standings.of(*address, at(2)) == Standing::Known;
            assert!(all(1000).filter(is_known).count() > 950);
            all(100_000).for_each(|address| standings.note_session(address, at(1)));
            let size = standings.known.sets.len() * size_of::<Set>();
            assert_eq!(size, Addresses::TABLE);
        }
    }

    /// Regular clients that come twice, some minutes before the hundredth second.
    fn regulars(standings: &mut Standings, count: u128) {
        for second in [10, 80] {
            (0..count).for_each(|address| standings.note_session(address, at(second)));
        }
    }

    fn known(standings: &Standings, addresses: core::ops::Range<u128>, second: u64) -> usize {
        let is_known = |address: &u128| standings.of(*address, at(second)) == Standing::Known;
        addresses.filter(is_known).count()
    }

    #[test]
    fn a_hundred_thousand_that_come_once_make_no_regular_client_forgotten() {
        let mut standings = Standings::new(KEY);
        regulars(&mut standings, 100);
        for address in 1000..101_000 {
            standings.note_session(address, at(100));
            // At once a second time: that is one visit.
            standings.note_session(address, at(159));
        }
        assert_eq!(known(&standings, 0..100, 160), 100);
        // Of sets that were full of regular ones, one each.
        let mut standings = Standings::new(KEY);
        regulars(&mut standings, 1000);
        let before = known(&standings, 0..1000, 81);
        assert!(before > 950, "{before}");
        (1000..101_000).for_each(|address| standings.note_session(address, at(100)));
        let after = known(&standings, 0..1000, 160);
        assert!(after > before - 30, "{after} of {before}");
    }

    #[test]
    fn regular_clients_keep_no_other_from_becoming_one() {
        let mut standings = Standings::new(KEY);
        // All places are theirs.
        for second in [10, 80] {
            (0..40_000).for_each(|address| standings.note_session(address, at(second)));
        }
        let most = SETS * WAYS;
        assert_eq!(known(&standings, 0..40_000, 90), most);
        standings.note_session(1 << 100, at(100));
        assert_eq!(standings.of(1 << 100, at(101)), Standing::Known);
        assert!(known(&standings, 0..40_000, 101) < most);
        // It comes more often than they did: it stays beside any number of others.
        for second in [160, 220] {
            standings.note_session(1 << 100, at(second));
        }
        for second in [230, 300] {
            (50_000..90_000).for_each(|address| standings.note_session(address, at(second)));
        }
        assert_eq!(standings.of(1 << 100, at(301)), Standing::Known);
        // Who comes no more leaves room after an hour, however often he came.
        (90_000..92_000).for_each(|address| standings.note_session(address, at(4000)));
        assert_eq!(standings.of(1 << 100, at(4000)), Standing::New);
        let new = known(&standings, 90_000..92_000, 4001);
        assert!(new > 1800, "{new}");
    }

    #[test]
    fn which_addresses_share_a_set_depends_on_the_key() {
        let [one, other] = [KEY, [7; 16]].map(Standings::new);
        let victim = 7;
        let share = |standings: &Standings, address: &u128| {
            standings.place(*address).set == standings.place(victim).set
        };
        let chosen: Vec<_> = (1000..50_000).filter(|one_| share(&one, one_)).collect();
        assert!(chosen.len() > 2 * WAYS, "{}", chosen.len());
        let still = chosen.iter().filter(|address| share(&other, address));
        assert!(still.count() < WAYS);
    }

    #[test]
    fn failures_of_a_hundred_thousand_addresses_make_no_known_one_forgotten() {
        let mut standings = Standings::new(KEY);
        standings.note_session(7, at(0));
        (1000..101_000).for_each(|address| standings.note_failure(address, at(1)));
        assert_eq!(standings.of(7, at(2)), Standing::Known);
    }
}

//! What is known of a client's address from the handshakes that it had before.
//!
//! A flood of addresses that begin handshakes and never finish one can't be told from
//! clients while it begins; it can be told from those that were here before. So an address
//! that had a session is served before others for a while, and one from which a handshake
//! failed after all others, as in OpenSSH (`PerSourcePenalties` of sshd_config(5)): here,
//! and by the offload component. Nobody is refused for his standing.

use alloc::vec;
use alloc::vec::Vec;
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
        self.penalized.set(address, until.min(now + MOST));
    }

    /// A handshake of this address led to a session, which makes up for one that failed.
    pub(crate) fn note_session(&mut self, address: u128, now: Instant) {
        let address = self.place(address);
        let until = self.penalized.until(address) - PENALTY;
        match until > now {
            true => self.penalized.set(address, until),
            false => self.penalized.remove(address),
        }
        self.known.set(address, now + KNOWN);
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
}

/// An address, and the set that it is in.
#[derive(Clone, Copy)]
struct Place {
    set: usize,
    address: u128,
}

type Set = [Option<Entry>; WAYS];

/// Some thousand addresses, each until a moment. One that there is no room for takes the
/// place of the one that would be over first.
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

    fn set(&mut self, place: Place, until: Instant) {
        let address = place.address;
        let Some(set) = self.sets.get_mut(place.set) else {
            return;
        };
        let is_it = |place: &Option<Entry>| place.is_some_and(|entry| entry.address == address);
        let place = match set.iter().position(is_it) {
            Some(place) => set.get_mut(place),
            None => set
                .iter_mut()
                .min_by_key(|place| place.map(|entry| entry.until)),
        };
        if let Some(place) = place {
            *place = Some(Entry { address, until });
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

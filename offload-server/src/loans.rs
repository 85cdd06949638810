//! Memory that peers make handshakes hold.
//!
//! What a handshake holds on behalf of its peer is made of the bytes that it has taken
//! from it and of those that the peer has not taken from us. Each handshake may hold
//! [`GUARANTEED`] of them. More is lent out of a pool of [`POOL`] bytes, up to [`MOST`]
//! for one handshake. When the pool is empty, a loan of the client with the most of it
//! (whoever asks counted with what is asked for) is called in: of a peer with the worst
//! standing (ADR 0152), of those of the group with the most, and of those the oldest. Before
//! more is taken from a peer, it waits until there is room for it: loans are called in when
//! they are so old as [`Loans::age`] has it. No standing keeps a loan for good: who was here
//! before has it for longer, and a group that has less than another need not wait for that.
//! An honest peer with a long hello or chain needs one for some round trips, a hostile one
//! keeps it as long as it can, and gets the next no sooner than others theirs.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};
use core::time::Duration;

use ipc::channel::SlotIndex;
use ipc::clock::Instant;
use ipc::control::Standing;
use ipc::handshake::Origin;

/// Copies of each byte that a peer makes a handshake hold: as received, until its message
/// is whole; then as a part of the transcript (TLS 1.2 with a client's certificate), and
/// decoded. The handshake that is being processed holds a third copy.
pub(crate) const COPIES: usize = 2;

/// Bytes that each handshake may hold: a hello with a post-quantum share, and a chain
/// of two certificates.
pub(crate) const GUARANTEED: usize = 4 * 1024;
/// Bytes that all handshakes together may hold beyond that.
pub(crate) const POOL: usize = 384 * 1024;
/// Bytes that one handshake may hold: a chain of 64 KiB, and what is around it.
pub(crate) const MOST: usize = 96 * 1024;

/// How long a loan is left to a peer, whatever its equals ask for: what is asked for is there
/// already, and the rest of a flight takes less on most links.
pub(crate) const LEAST: Duration = Duration::from_millis(500);
/// The same where others are to go first: for what is on its way already.
const SHORTEST: Duration = Duration::from_millis(100);
/// The same of a peer that was here before, whatever newcomers ask for.
const LONGEST: Duration = Duration::from_secs(2);

/// A handshake holds more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMuch;

/// What a handshake has borrowed.
#[derive(Clone, Copy, Default)]
struct Loan {
    bytes: usize,
    /// Its number: loans are counted.
    number: u64,
    began: Instant,
    whose: Whose,
    /// Where the sum of its group is.
    group: usize,
}

/// Whose handshake it is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Whose {
    /// The client of the shim.
    pub(crate) client: u16,
    /// Of that client, what its peer belongs to: an address, a backend.
    pub(crate) group: u32,
    /// Its peer's.
    pub(crate) standing: Standing,
}

impl Whose {
    pub(crate) const fn of(origin: &Origin) -> Self {
        Self {
            client: origin.client,
            group: origin.group,
            standing: origin.standing,
        }
    }
}

/// How much each handshake has borrowed.
pub(crate) struct Loans {
    /// By handshake slot.
    lent: Vec<Loan>,
    total: usize,
    /// Bytes of each client that has borrowed some.
    by_client: Vec<(u16, usize)>,
    /// Bytes of each group that has; as many places as slots.
    by_group: Vec<(Whose, usize)>,
    /// Counts loans.
    begun: u64,
    /// Slots whose loans were called in.
    called_in: VecDeque<SlotIndex>,
}

impl Loans {
    pub(crate) fn new(slots: u16) -> Self {
        Self {
            lent: vec![Loan::default(); usize::from(slots)],
            total: 0,
            by_client: Vec::new(),
            by_group: vec![(Whose::default(), 0); usize::from(slots)],
            begun: 0,
            called_in: VecDeque::new(),
        }
    }

    /// Notes that the handshake in `slot`, of `whose`, holds so many bytes. Loans of
    /// others may be called in for it: see [`Loans::next_called_in`].
    ///
    /// # Errors
    /// [`TooMuch`]: abort it.
    pub(crate) fn charge(
        &mut self,
        slot: SlotIndex,
        whose: Whose,
        held: usize,
        now: Instant,
    ) -> Result<(), TooMuch> {
        let own = self.lent.get(usize::from(slot)).ok_or(TooMuch)?;
        if held.saturating_sub(GUARANTEED) == own.bytes {
            return Ok(());
        }
        if held > MOST {
            return Err(TooMuch);
        }
        self.lend(slot, whose, held, now);
        while self.total > POOL {
            // It may be its own.
            let given_up = self
                .next_to_call_in(|other| other != slot && self.gives_way(other, slot, now))
                .or_else(|| self.next_to_call_in(|_| true));
            let Some(oldest) = given_up else {
                return Err(TooMuch);
            };
            self.give_back(oldest);
            if oldest == slot {
                return Err(TooMuch);
            }
            self.called_in.push_back(oldest);
        }
        Ok(())
    }

    /// Lends what the handshake in `slot`, of `whose`, needs to hold so many bytes; false if
    /// it has to wait for others.
    pub(crate) fn reserve(
        &mut self,
        slot: SlotIndex,
        whose: Whose,
        wanted: usize,
        now: Instant,
    ) -> bool {
        if self.covers(slot, wanted) {
            return true;
        }
        let Some(own) = self.lent.get(usize::from(slot)).copied() else {
            return true;
        };
        self.lend(slot, whose, wanted.min(MOST), now);
        // Nobody is ended for one that waits all the same.
        let mut next = Vec::new();
        let mut total = self.total;
        while total > POOL {
            let found = self.next_to_call_in(|other| {
                other != slot && !next.contains(&other) && self.gives_way(other, slot, now)
            });
            let Some(found) = found else {
                self.set(slot, own);
                return false;
            };
            total -= self
                .lent
                .get(usize::from(found))
                .map_or(0, |loan| loan.bytes);
            next.push(found);
        }
        for slot in next {
            self.give_back(slot);
            self.called_in.push_back(slot);
        }
        true
    }

    /// Whether the handshake in `slot` has borrowed some.
    pub(crate) fn has_one(&self, slot: SlotIndex) -> bool {
        let own = self.lent.get(usize::from(slot));
        own.is_some_and(|own| own.bytes > 0)
    }

    /// Whether the handshake in `slot` may hold so many bytes as it is. One that goes beyond
    /// [`MOST`] is ended when it does.
    pub(crate) fn covers(&self, slot: SlotIndex, wanted: usize) -> bool {
        let bytes = wanted.min(MOST).saturating_sub(GUARANTEED);
        let own = self.lent.get(usize::from(slot));
        bytes == 0 || own.is_some_and(|own| bytes <= own.bytes)
    }

    /// Whether the loan of `slot` is called in for that of `other`, which could wait.
    fn gives_way(&self, slot: SlotIndex, other: SlotIndex, now: Instant) -> bool {
        let of = |slot: SlotIndex| self.lent.get(usize::from(slot)).copied();
        let (Some(loan), Some(other)) = (of(slot), of(other)) else {
            return false;
        };
        loan.whose.client != other.whose.client || now >= loan.began + self.age(&loan, &other)
    }

    /// How old a loan must be to be called in for another of the same client.
    fn age(&self, loan: &Loan, other: &Loan) -> Duration {
        let (has, asks) = (self.of_group(loan), self.of_group(other));
        match loan.whose.standing.cmp(&other.whose.standing) {
            // What others ask for beyond what they have is no more than what these have.
            _ if has > asks => SHORTEST,
            Ordering::Greater if asks == other.bytes => SHORTEST,
            Ordering::Greater | Ordering::Equal => LEAST,
            Ordering::Less => LONGEST,
        }
    }

    /// Bytes of all loans of its group.
    fn of_group(&self, loan: &Loan) -> usize {
        self.by_group.get(loan.group).map_or(0, |(_, bytes)| *bytes)
    }

    /// The place of this group's sum: one that is in use, or one that is free.
    fn place_of_group(&self, whose: Whose) -> usize {
        let is_same = |of: &Whose| (of.client, of.group) == (whose.client, whose.group);
        let mut all = self.by_group.iter();
        let found = all.position(|(of, bytes)| *bytes > 0 && is_same(of));
        let is_free = |(_, bytes): &(Whose, usize)| *bytes == 0;
        // There are no more groups than loans.
        let free = || self.by_group.iter().position(is_free);
        found.or_else(free).unwrap_or_default()
    }

    /// When the next loan is old enough for some other, after `now`.
    pub(crate) fn next_due(&self, now: Instant) -> Instant {
        let loans = self.lent.iter().filter(|loan| loan.bytes > 0);
        let ages = [SHORTEST, LEAST, LONGEST];
        let due = loans.flat_map(|loan| ages.map(|age| loan.began + age));
        due.filter(|due| *due > now).min().unwrap_or(Instant::NEVER)
    }

    fn lend(&mut self, slot: SlotIndex, whose: Whose, held: usize, now: Instant) {
        let own = self.lent.get(usize::from(slot)).copied();
        let (number, began) = match own {
            Some(own) if own.bytes > 0 => (own.number, own.began),
            _ => {
                self.begun += 1;
                (self.begun, now)
            }
        };
        let bytes = held.saturating_sub(GUARANTEED);
        self.set(
            slot,
            Loan {
                bytes,
                number,
                began,
                whose,
                group: 0,
            },
        );
    }

    /// The handshake in `slot` is over.
    pub(crate) fn give_back(&mut self, slot: SlotIndex) {
        let own = self.lent.get(usize::from(slot));
        if own.is_some_and(|loan| loan.bytes > 0) {
            self.set(slot, Loan::default());
        }
    }

    /// A handshake to abort, because its loan was called in.
    pub(crate) fn next_called_in(&mut self) -> Option<SlotIndex> {
        self.called_in.pop_front()
    }

    /// Of the client that has borrowed most, of those with the worst standing, and of those of
    /// the group with the most, the slot with the oldest loan that is `meant`.
    fn next_to_call_in(&self, meant: impl Fn(SlotIndex) -> bool) -> Option<SlotIndex> {
        let (greatest, _) = self.by_client.iter().max_by_key(|(_, bytes)| *bytes)?;
        let own = (0..).zip(&self.lent);
        let own = own.filter(|(_, loan)| loan.whose.client == *greatest && loan.bytes > 0);
        let own = own.filter(|(slot, _)| meant(*slot));
        let next = own.min_by_key(|(_, loan)| {
            let group = self.of_group(loan);
            (Reverse(loan.whose.standing), Reverse(group), loan.number)
        });
        next.map(|(slot, _)| slot)
    }

    fn set(&mut self, slot: SlotIndex, mut loan: Loan) {
        let Some(place) = self.lent.get_mut(usize::from(slot)) else {
            return;
        };
        let before = core::mem::take(place);
        self.total -= before.bytes;
        if let Some((_, bytes)) = self.by_group.get_mut(before.group) {
            *bytes -= before.bytes;
        }
        if let Some((_, bytes)) = self
            .by_client
            .iter_mut()
            .find(|of| of.0 == before.whose.client)
        {
            *bytes -= before.bytes;
        }
        if loan.bytes > 0 {
            loan.group = self.place_of_group(loan.whose);
            if let Some((whose, bytes)) = self.by_group.get_mut(loan.group) {
                *whose = loan.whose;
                *bytes += loan.bytes;
            }
        }
        self.total += loan.bytes;
        if let Some(place) = self.lent.get_mut(usize::from(slot)) {
            *place = loan;
        }
        match self
            .by_client
            .iter_mut()
            .find(|of| of.0 == loan.whose.client)
        {
            Some((_, bytes)) => *bytes += loan.bytes,
            None => self.by_client.push((loan.whose.client, loan.bytes)),
        }
        self.by_client.retain(|(_, bytes)| *bytes > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: u16 = 256;
    const CLIENT: Whose = whose(1, Standing::New);
    const OTHER: Whose = whose(2, Standing::New);

    const AT: Instant = Instant::from_millis(1000);

    const fn whose(client: u16, standing: Standing) -> Whose {
        of_group(client, 0, standing)
    }

    const fn of_group(client: u16, group: u32, standing: Standing) -> Whose {
        Whose {
            client,
            group,
            standing,
        }
    }

    #[test]
    fn a_known_peer_s_loan_outlives_those_of_any_number_of_others() {
        let mut loans = Loans::new(SLOTS);
        let known = whose(1, Standing::Known);
        assert_eq!(loans.charge(0, known, 3 * GUARANTEED, AT), Ok(()));
        for slot in 1..SLOTS {
            let standing = match slot % 2 {
                0 => Standing::New,
                _ => Standing::Penalized,
            };
            // One that is worse than all others may have none itself.
            let _ = loans.charge(slot, whose(1, standing), 4 * GUARANTEED, AT);
            assert!(loans.total <= POOL);
        }
        let ended: Vec<_> = core::iter::from_fn(|| loans.next_called_in()).collect();
        assert!(ended.len() > 60 && !ended.contains(&0), "{ended:?}");
        // As long as there are any, those go whose handshakes failed before.
        let is_penalized = |slot: &&u16| **slot % 2 == 1;
        let there = |slot: &u16| loans.lent[usize::from(*slot)].bytes > 0;
        let left: Vec<_> = (1..SLOTS).filter(|slot| there(slot)).collect();
        assert!(left.iter().filter(is_penalized).count() <= 1, "{left:?}");
    }

    #[test]
    fn what_is_guaranteed_is_there_for_all_at_once() {
        let mut loans = Loans::new(SLOTS);
        for slot in 0..SLOTS {
            assert_eq!(loans.charge(slot, CLIENT, GUARANTEED, AT), Ok(()));
        }
        assert_eq!((loans.total, loans.next_called_in()), (0, None));
    }

    #[test]
    fn the_pool_is_never_exceeded_and_the_oldest_loan_is_called_in_first() {
        let mut loans = Loans::new(SLOTS);
        let mut ended = Vec::new();
        for slot in 0..SLOTS {
            for held in (0..=MOST).step_by(16 * 1024) {
                assert_eq!(
                    loans.charge(slot, CLIENT, held, AT),
                    Ok(()),
                    "{slot} {held}"
                );
                let sum: usize = loans.lent.iter().map(|loan| loan.bytes).sum();
                assert_eq!(sum, loans.total);
                let sum: usize = loans.by_group.iter().map(|(_, bytes)| bytes).sum();
                assert_eq!(sum, loans.total);
                assert!(loans.total <= POOL);
            }
            while let Some(slot) = loans.next_called_in() {
                ended.push(slot);
            }
        }
        let expected: Vec<_> = (0..ended.len() as u16).collect();
        assert_eq!(ended, expected);
        assert!(ended.len() > 200);
    }

    #[test]
    fn one_that_holds_more_than_any_may_is_ended_and_costs_nobody_else() {
        let mut loans = Loans::new(SLOTS);
        assert_eq!(loans.charge(1, CLIENT, 20_000, AT), Ok(()));
        assert_eq!(loans.charge(2, CLIENT, MOST + 1, AT), Err(TooMuch));
        assert_eq!(loans.next_called_in(), None);
        loans.give_back(2);
        loans.give_back(1);
        assert_eq!(loans.total, 0);
    }

    #[test]
    fn the_oldest_loan_gives_way_when_it_grows_itself() {
        let mut loans = Loans::new(SLOTS);
        assert_eq!(loans.charge(0, CLIENT, 2 * GUARANTEED, AT), Ok(()));
        let mut slot = 1;
        while loans.total + MOST - GUARANTEED <= POOL {
            assert_eq!(loans.charge(slot, CLIENT, MOST, AT), Ok(()));
            slot += 1;
        }
        assert_eq!(loans.charge(0, CLIENT, MOST, AT), Err(TooMuch));
        assert_eq!(loans.next_called_in(), None);
    }

    #[test]
    fn who_can_wait_waits_for_equals_until_they_had_their_time() {
        const ALL: u16 = 8;
        // All of them together have all.
        let held = GUARANTEED + POOL / usize::from(ALL);
        let later = AT + Duration::from_millis(1);
        let new = |slot: u16| of_group(1, slot.into(), Standing::New);
        let mut loans = Loans::new(SLOTS);
        for slot in 0..ALL {
            let at = if slot == 0 { AT } else { later };
            assert!(loans.reserve(slot, new(slot), held, at));
        }
        assert!(!loans.reserve(ALL, new(ALL), held, later));
        assert_eq!(loans.next_called_in(), None);
        assert_eq!(loans.next_due(later), AT + SHORTEST);
        assert_eq!(loans.next_due(later + SHORTEST), AT + LEAST);
        // It is not charged, and has what all have.
        assert!(loans.reserve(ALL, new(ALL), GUARANTEED, later));
        assert!(loans.reserve(ALL, new(ALL), held, AT + LEAST));
        assert_eq!(loans.next_called_in(), Some(0));
        assert!(!loans.reserve(0, new(0), held, AT + LEAST));
        // One that grows does not wait for its own loan, which is the oldest now.
        assert!(!loans.reserve(1, new(1), held + 1, AT + LEAST));
        assert!(loans.reserve(1, new(1), held + 1, later + LEAST));
        assert_eq!(loans.next_called_in(), Some(2));
        loans.give_back(1);
        assert!(loans.reserve(1, new(1), 2 * held - GUARANTEED, later + LEAST));
        assert_eq!(loans.next_called_in(), None);
        // Another client does not wait.
        assert!(loans.reserve(22, OTHER, held, AT));
        assert!(loans.next_called_in().is_some());
        // What is given back is there at once.
        loans.give_back(5);
        assert!(loans.reserve(20, new(20), held, AT));
        assert_eq!(loans.next_called_in(), None);
        assert!(loans.total <= POOL);
    }

    /// How old the loans of eight others are when one of `asks` has as much as each of them.
    fn waits(holds: Standing, asks: Standing, bytes: usize) -> Duration {
        const ALL: u16 = 8;
        let held = GUARANTEED + POOL / usize::from(ALL);
        let steps = (0..).map(|step| Duration::from_millis(50 * step));
        steps
            .take(100)
            .find(|age| {
                let mut loans = Loans::new(SLOTS);
                for slot in 0..ALL {
                    assert!(loans.reserve(slot, of_group(1, slot.into(), holds), held, AT));
                }
                loans.reserve(ALL, of_group(1, 99, asks), bytes, AT + *age)
            })
            .unwrap()
    }

    #[test]
    fn no_standing_keeps_a_loan_for_good() {
        use Standing::{Known, New, Penalized};
        let all = GUARANTEED + POOL / 8;
        for standing in [Known, New, Penalized] {
            assert_eq!(waits(standing, standing, all), LEAST);
        }
        for (better, worse) in [(Known, New), (Known, Penalized), (New, Penalized)] {
            assert_eq!(waits(worse, better, all), SHORTEST);
            assert_eq!(waits(better, worse, all), LONGEST);
            // Who asks for less than each of them has need not wait for that.
            assert_eq!(waits(better, worse, all - 1), SHORTEST);
        }
    }

    #[test]
    fn who_has_most_of_it_gives_way_to_who_has_less_whatever_its_standing() {
        let hog = |group| of_group(1, group, Standing::Known);
        let mut loans = Loans::new(SLOTS);
        // Four loans of one address, as long as they may be; a small one of another.
        for slot in 0..4 {
            assert_eq!(loans.charge(slot, hog(7), MOST, AT), Ok(()));
        }
        assert_eq!(loans.charge(4, hog(8), 2 * GUARANTEED, AT), Ok(()));
        let new = of_group(1, 9, Standing::New);
        let wanted = GUARANTEED + POOL / 8;
        assert!(!loans.reserve(5, new, wanted, AT));
        assert!(loans.reserve(5, new, wanted, AT + SHORTEST));
        assert_eq!(loans.next_called_in(), Some(0));
        // Nor does it lose that to the same address, before it has had its time.
        assert!(!loans.reserve(6, hog(7), MOST, AT + SHORTEST + SHORTEST));
        assert_eq!(loans.next_called_in(), None);
        // One that goes beyond what is guaranteed by what is said to it does not go itself.
        assert_eq!(loans.charge(7, new, MOST, AT + SHORTEST), Ok(()));
        assert_eq!(loans.next_called_in(), Some(1));
    }

    #[test]
    fn a_client_that_borrows_all_gives_way_to_another_and_to_nobody_when_it_goes_on() {
        let mut loans = Loans::new(SLOTS);
        // An honest one, older than all of the other's.
        assert_eq!(loans.charge(0, CLIENT, 3 * GUARANTEED, AT), Ok(()));
        let mut ended = Vec::new();
        for slot in 1..128 {
            assert_eq!(loans.charge(slot, OTHER, MOST, AT), Ok(()));
            ended.extend(core::iter::from_fn(|| loans.next_called_in()));
        }
        assert!(ended.len() > 100 && !ended.contains(&0), "{ended:?}");
        // More of the same: half of the pool is theirs, if they want it.
        let half = POOL / (MOST - GUARANTEED) / 2;
        let own: Vec<_> = (200..).take(half).collect();
        for slot in &own {
            assert_eq!(loans.charge(*slot, CLIENT, MOST, AT), Ok(()));
        }
        for slot in 128..200 {
            assert_eq!(loans.charge(slot, OTHER, MOST, AT), Ok(()));
        }
        let ended: Vec<_> = core::iter::from_fn(|| loans.next_called_in()).collect();
        assert!(ended.iter().all(|slot| *slot != 0 && !own.contains(slot)));
        assert!(loans.total <= POOL);
        // What is given back is nobody's.
        (0..SLOTS).for_each(|slot| loans.give_back(slot));
        assert_eq!((loans.total, loans.by_client.len()), (0, 0));
    }
}

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
mod tests;

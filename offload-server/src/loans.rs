//! Memory that peers make handshakes hold.
//!
//! What a handshake holds on behalf of its peer is made of the bytes that it has taken
//! from it and of those that the peer has not taken from us. Each handshake may hold
//! [`GUARANTEED`] of them. More is lent out of a pool of [`POOL`] bytes, up to [`MOST`]
//! for one handshake. When the pool is empty, the oldest loan is called in: an honest
//! peer with a long hello or chain needs one for some round trips, a hostile one keeps it
//! as long as it can.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use ipc::channel::SlotIndex;

/// Bytes that each handshake may hold: a hello with a post-quantum share, and a chain
/// of two certificates.
pub(crate) const GUARANTEED: usize = 4 * 1024;
/// Bytes that all handshakes together may hold beyond that.
pub(crate) const POOL: usize = 384 * 1024;
/// Bytes that one handshake may hold: a chain of 64 KiB, and what is around it.
pub(crate) const MOST: usize = 96 * 1024;

/// A handshake holds more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMuch;

/// How much each handshake has borrowed.
pub(crate) struct Loans {
    /// By handshake slot: bytes, and when the loan began.
    lent: Vec<(usize, u64)>,
    total: usize,
    /// Counts loans.
    begun: u64,
    /// Slots whose loans were called in.
    called_in: VecDeque<SlotIndex>,
}

impl Loans {
    pub(crate) fn new(slots: u16) -> Self {
        Self {
            lent: vec![(0, 0); usize::from(slots)],
            total: 0,
            begun: 0,
            called_in: VecDeque::new(),
        }
    }

    /// Notes that the handshake in `slot` holds so many bytes. Loans of others may be
    /// called in for it: see [`Loans::next_called_in`].
    ///
    /// # Errors
    /// [`TooMuch`]: abort it.
    pub(crate) fn charge(&mut self, slot: SlotIndex, held: usize) -> Result<(), TooMuch> {
        let needed = held.saturating_sub(GUARANTEED);
        let Some(&(own, since)) = self.lent.get(usize::from(slot)) else {
            return Err(TooMuch);
        };
        if needed == own {
            return Ok(());
        }
        if held > MOST {
            return Err(TooMuch);
        }
        let since = match own {
            0 => {
                self.begun += 1;
                self.begun
            }
            _ => since,
        };
        self.total -= own;
        while self.total + needed > POOL {
            let others = (0..).zip(&self.lent);
            let oldest = others
                .filter(|(other, (bytes, _))| *other != slot && *bytes > 0)
                .min_by_key(|(_, (_, since))| *since)
                .map(|(other, (bytes, since))| (other, *bytes, *since));
            match oldest {
                Some((other, bytes, began)) if began < since => {
                    self.total -= bytes;
                    self.set(other, (0, 0));
                    self.called_in.push_back(other);
                }
                _ => {
                    self.set(slot, (0, 0));
                    return Err(TooMuch);
                }
            }
        }
        self.total += needed;
        self.set(slot, (needed, since));
        Ok(())
    }

    /// The handshake in `slot` is over.
    pub(crate) fn give_back(&mut self, slot: SlotIndex) {
        if let Some(&(own, _)) = self.lent.get(usize::from(slot)) {
            self.total -= own;
            self.set(slot, (0, 0));
        }
    }

    /// A handshake to abort, because its loan was called in.
    pub(crate) fn next_called_in(&mut self) -> Option<SlotIndex> {
        self.called_in.pop_front()
    }

    fn set(&mut self, slot: SlotIndex, loan: (usize, u64)) {
        if let Some(place) = self.lent.get_mut(usize::from(slot)) {
            *place = loan;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: u16 = 256;

    #[test]
    fn what_is_guaranteed_is_there_for_all_at_once() {
        let mut loans = Loans::new(SLOTS);
        for slot in 0..SLOTS {
            assert_eq!(loans.charge(slot, GUARANTEED), Ok(()));
        }
        assert_eq!((loans.total, loans.next_called_in()), (0, None));
    }

    #[test]
    fn the_pool_is_never_exceeded_and_the_oldest_loan_is_called_in_first() {
        let mut loans = Loans::new(SLOTS);
        let mut ended = Vec::new();
        for slot in 0..SLOTS {
            for held in (0..=MOST).step_by(16 * 1024) {
                assert_eq!(loans.charge(slot, held), Ok(()), "{slot} {held}");
                let sum: usize = loans.lent.iter().map(|(bytes, _)| bytes).sum();
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
        assert_eq!(loans.charge(1, 20_000), Ok(()));
        assert_eq!(loans.charge(2, MOST + 1), Err(TooMuch));
        assert_eq!(loans.next_called_in(), None);
        loans.give_back(2);
        loans.give_back(1);
        assert_eq!(loans.total, 0);
    }

    #[test]
    fn the_oldest_loan_gives_way_when_it_grows_itself() {
        let mut loans = Loans::new(SLOTS);
        assert_eq!(loans.charge(0, 2 * GUARANTEED), Ok(()));
        let mut slot = 1;
        while loans.total + MOST - GUARANTEED <= POOL {
            assert_eq!(loans.charge(slot, MOST), Ok(()));
            slot += 1;
        }
        assert_eq!(loans.charge(0, MOST), Err(TooMuch));
        assert_eq!(loans.next_called_in(), None);
    }
}

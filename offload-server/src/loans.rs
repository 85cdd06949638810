//! Memory that peers make handshakes hold.
//!
//! What a handshake holds on behalf of its peer is made of the bytes that it has taken
//! from it and of those that the peer has not taken from us. Each handshake may hold
//! [`GUARANTEED`] of them. More is lent out of a pool of [`POOL`] bytes, up to [`MOST`]
//! for one handshake. When the pool is empty, a loan of the client with the most of it
//! (whoever asks counted with what is asked for) is called in, the oldest: an honest
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

/// What a handshake has borrowed.
#[derive(Clone, Copy, Default)]
struct Loan {
    bytes: usize,
    /// When it began: loans are counted.
    since: u64,
    /// The client of the shim whose handshake it is.
    client: u16,
}

/// How much each handshake has borrowed.
pub(crate) struct Loans {
    /// By handshake slot.
    lent: Vec<Loan>,
    total: usize,
    /// Bytes of each client that has borrowed some.
    by_client: Vec<(u16, usize)>,
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
            begun: 0,
            called_in: VecDeque::new(),
        }
    }

    /// Notes that the handshake of `client` in `slot` holds so many bytes. Loans of
    /// others may be called in for it: see [`Loans::next_called_in`].
    ///
    /// # Errors
    /// [`TooMuch`]: abort it.
    pub(crate) fn charge(
        &mut self,
        slot: SlotIndex,
        client: u16,
        held: usize,
    ) -> Result<(), TooMuch> {
        let bytes = held.saturating_sub(GUARANTEED);
        let own = self.lent.get(usize::from(slot)).ok_or(TooMuch)?;
        if bytes == own.bytes {
            return Ok(());
        }
        if held > MOST {
            return Err(TooMuch);
        }
        let since = match own.bytes {
            0 => {
                self.begun += 1;
                self.begun
            }
            _ => own.since,
        };
        self.set(
            slot,
            Loan {
                bytes,
                since,
                client,
            },
        );
        while self.total > POOL {
            let Some(oldest) = self.oldest_of_the_greatest() else {
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

    /// Of the client that has borrowed most, the slot with the oldest loan.
    fn oldest_of_the_greatest(&self) -> Option<SlotIndex> {
        let (greatest, _) = self.by_client.iter().max_by_key(|(_, bytes)| *bytes)?;
        let own = (0..).zip(&self.lent);
        let own = own.filter(|(_, loan)| loan.client == *greatest && loan.bytes > 0);
        own.min_by_key(|(_, loan)| loan.since).map(|(slot, _)| slot)
    }

    fn set(&mut self, slot: SlotIndex, loan: Loan) {
        let Some(place) = self.lent.get_mut(usize::from(slot)) else {
            return;
        };
        let before = core::mem::replace(place, loan);
        self.total -= before.bytes;
        self.total += loan.bytes;
        if let Some((_, bytes)) = self.by_client.iter_mut().find(|of| of.0 == before.client) {
            *bytes -= before.bytes;
        }
        match self.by_client.iter_mut().find(|of| of.0 == loan.client) {
            Some((_, bytes)) => *bytes += loan.bytes,
            None => self.by_client.push((loan.client, loan.bytes)),
        }
        self.by_client.retain(|(_, bytes)| *bytes > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: u16 = 256;
    const CLIENT: u16 = 1;
    const OTHER: u16 = 2;

    #[test]
    fn what_is_guaranteed_is_there_for_all_at_once() {
        let mut loans = Loans::new(SLOTS);
        for slot in 0..SLOTS {
            assert_eq!(loans.charge(slot, CLIENT, GUARANTEED), Ok(()));
        }
        assert_eq!((loans.total, loans.next_called_in()), (0, None));
    }

    #[test]
    fn the_pool_is_never_exceeded_and_the_oldest_loan_is_called_in_first() {
        let mut loans = Loans::new(SLOTS);
        let mut ended = Vec::new();
        for slot in 0..SLOTS {
            for held in (0..=MOST).step_by(16 * 1024) {
                assert_eq!(loans.charge(slot, CLIENT, held), Ok(()), "{slot} {held}");
                let sum: usize = loans.lent.iter().map(|loan| loan.bytes).sum();
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
        assert_eq!(loans.charge(1, CLIENT, 20_000), Ok(()));
        assert_eq!(loans.charge(2, CLIENT, MOST + 1), Err(TooMuch));
        assert_eq!(loans.next_called_in(), None);
        loans.give_back(2);
        loans.give_back(1);
        assert_eq!(loans.total, 0);
    }

    #[test]
    fn the_oldest_loan_gives_way_when_it_grows_itself() {
        let mut loans = Loans::new(SLOTS);
        assert_eq!(loans.charge(0, CLIENT, 2 * GUARANTEED), Ok(()));
        let mut slot = 1;
        while loans.total + MOST - GUARANTEED <= POOL {
            assert_eq!(loans.charge(slot, CLIENT, MOST), Ok(()));
            slot += 1;
        }
        assert_eq!(loans.charge(0, CLIENT, MOST), Err(TooMuch));
        assert_eq!(loans.next_called_in(), None);
    }

    #[test]
    fn a_client_that_borrows_all_gives_way_to_another_and_to_nobody_when_it_goes_on() {
        let mut loans = Loans::new(SLOTS);
        // An honest one, older than all of the other's.
        assert_eq!(loans.charge(0, CLIENT, 3 * GUARANTEED), Ok(()));
        let mut ended = Vec::new();
        for slot in 1..128 {
            assert_eq!(loans.charge(slot, OTHER, MOST), Ok(()));
            ended.extend(core::iter::from_fn(|| loans.next_called_in()));
        }
        assert!(ended.len() > 100 && !ended.contains(&0), "{ended:?}");
        // More of the same: half of the pool is theirs, if they want it.
        let half = POOL / (MOST - GUARANTEED) / 2;
        let own: Vec<_> = (200..).take(half).collect();
        for slot in &own {
            assert_eq!(loans.charge(*slot, CLIENT, MOST), Ok(()));
        }
        for slot in 128..200 {
            assert_eq!(loans.charge(slot, OTHER, MOST), Ok(()));
        }
        let ended: Vec<_> = core::iter::from_fn(|| loans.next_called_in()).collect();
        assert!(ended.iter().all(|slot| *slot != 0 && !own.contains(slot)));
        assert!(loans.total <= POOL);
        // What is given back is nobody's.
        (0..SLOTS).for_each(|slot| loans.give_back(slot));
        assert_eq!((loans.total, loans.by_client.len()), (0, 0));
    }
}

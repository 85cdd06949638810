//! What handshakes in progress are for: a table of fixed size.

use alloc::vec;
use alloc::vec::Vec;

use ipc::clock::Instant;

use crate::server::Purpose;

/// Of so many handshakes at once, those with backends: backends that say nothing leave the
/// other half to clients.
pub const fn most_with_backends(handshakes: u16) -> u16 {
    handshakes / 2
}

/// Of so many handshakes at once, those with the backend of one listener: one that says
/// nothing leaves the other half to others.
pub const fn most_with_one(handshakes: u16) -> u16 {
    most_with_backends(handshakes) / 2
}

/// A handshake in progress.
#[derive(Clone, Copy)]
pub(crate) struct Progress {
    pub(crate) purpose: Purpose,
    /// When the gateway cancels it, because no other domain ended it.
    pub(crate) cancel_at: Instant,
}

/// Handshakes in progress, by the number that the shim gave.
pub(crate) struct Handshakes {
    /// Apart from the rest: looked through for each result.
    numbers: Vec<u32>,
    rest: Vec<Progress>,
    /// As many as the shim has room for.
    most: u16,
    /// How many of them are with backends, and with the backend of each listener.
    with_backends: u16,
    with_one: Vec<u16>,
}

impl Handshakes {
    /// Bytes for one handshake.
    pub(crate) const PLACE: usize = size_of::<u32>() + size_of::<Progress>();

    /// Bytes for one listener.
    pub(crate) const LISTENER: usize = size_of::<u16>();

    /// At most so many at once, for so many listeners.
    pub(crate) fn new(most: u16, listeners: usize) -> Self {
        Self {
            most,
            with_backends: 0,
            with_one: vec![0; listeners],
            numbers: Vec::with_capacity(usize::from(most)),
            rest: Vec::with_capacity(usize::from(most)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.numbers.len() >= usize::from(self.most)
    }

    /// Whether there may be one more with the backend of this listener.
    pub(crate) fn may_secure(&self, listener: usize) -> bool {
        let with_one = self.with_one.get(listener).copied();
        self.with_backends < most_with_backends(self.most)
            && with_one.is_some_and(|one| one < most_with_one(self.most))
    }

    /// Notes one; there must be room.
    pub(crate) fn insert(&mut self, number: u32, progress: Progress) {
        if !self.is_full() {
            if let Some((all, one)) = self.with(&progress.purpose) {
                (*all, *one) = (*all + 1, *one + 1);
            }
            self.numbers.push(number);
            self.rest.push(progress);
        }
    }

    /// The counts that are concerned.
    fn with(&mut self, purpose: &Purpose) -> Option<(&mut u16, &mut u16)> {
        let Purpose::Backend(secure) = purpose else {
            return None;
        };
        let one = self.with_one.get_mut(secure.listener)?;
        Some((&mut self.with_backends, one))
    }

    /// It is over.
    pub(crate) fn remove(&mut self, number: u32) -> Option<Purpose> {
        let place = self.numbers.iter().position(|found| *found == number)?;
        self.numbers.swap_remove(place);
        let purpose = self.rest.swap_remove(place).purpose;
        if let Some((all, one)) = self.with(&purpose) {
            (*all, *one) = (*all - 1, *one - 1);
        }
        Some(purpose)
    }

    /// The one at a place, below [`Handshakes::len`].
    pub(crate) fn at(&mut self, place: usize) -> Option<(u32, &mut Progress)> {
        let number = self.numbers.get(place).copied()?;
        Some((number, self.rest.get_mut(place)?))
    }
}

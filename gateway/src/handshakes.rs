//! What handshakes in progress are for: a table of fixed size.

use alloc::vec::Vec;

use ipc::clock::Instant;

use crate::server::Purpose;

/// Handshakes at once; as many as the shim has room for, or more.
pub const MAX_HANDSHAKES: usize = 256;

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
}

impl Handshakes {
    /// Bytes for one handshake.
    pub(crate) const PLACE: usize = size_of::<u32>() + size_of::<Progress>();

    pub(crate) fn new() -> Self {
        Self {
            numbers: Vec::with_capacity(MAX_HANDSHAKES),
            rest: Vec::with_capacity(MAX_HANDSHAKES),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.numbers.len() >= MAX_HANDSHAKES
    }

    /// Notes one; there must be room.
    pub(crate) fn insert(&mut self, number: u32, progress: Progress) {
        if !self.is_full() {
            self.numbers.push(number);
            self.rest.push(progress);
        }
    }

    /// It is over.
    pub(crate) fn remove(&mut self, number: u32) -> Option<Purpose> {
        let place = self.numbers.iter().position(|found| *found == number)?;
        self.numbers.swap_remove(place);
        Some(self.rest.swap_remove(place).purpose)
    }

    /// The one at a place, below [`Handshakes::len`].
    pub(crate) fn at(&mut self, place: usize) -> Option<(u32, &mut Progress)> {
        let number = self.numbers.get(place).copied()?;
        Some((number, self.rest.get_mut(place)?))
    }
}

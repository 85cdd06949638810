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

/// Of so many with backends, those that listeners which have some leave to listeners that
/// have none, one for each of these at the most.
const fn most_reserved(with_backends: u16) -> u16 {
    with_backends / 4
}

/// A handshake in progress.
#[derive(Clone, Copy)]
pub(crate) struct Progress {
    pub(crate) purpose: Purpose,
    /// When the gateway cancels it, because no other domain ended it.
    pub(crate) cancel_at: Instant,
}

/// Handshakes with the backend of one listener.
#[derive(Clone, Copy, Default)]
struct OfListener {
    in_progress: u16,
    /// Which of all with backends began last there; zero for none.
    last: u64,
}

/// Handshakes in progress, by the number that the shim gave.
pub(crate) struct Handshakes {
    /// Apart from the rest: looked through for each result.
    numbers: Vec<u32>,
    rest: Vec<Progress>,
    /// As many as the shim has room for.
    most: u16,
    /// How many of them are with backends, how many ever were, and those with the backend of
    /// each listener.
    with_backends: u16,
    begun: u64,
    with_one: Vec<OfListener>,
    /// Listeners whose backend has TLS and no handshake in progress.
    without: u16,
}

impl Handshakes {
    /// Bytes for one handshake.
    pub(crate) const PLACE: usize = size_of::<u32>() + size_of::<Progress>();

    /// Bytes for one listener.
    pub(crate) const LISTENER: usize = size_of::<OfListener>();

    /// At most so many at once, for so many listeners, of which so many have a backend with
    /// TLS.
    pub(crate) fn new(most: u16, listeners: usize, with_tls: usize) -> Self {
        Self {
            most,
            with_backends: 0,
            begun: 0,
            with_one: vec![OfListener::default(); listeners],
            without: u16::try_from(with_tls).unwrap_or(u16::MAX),
            numbers: Vec::with_capacity(usize::from(most)),
            rest: Vec::with_capacity(usize::from(most)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Those with clients.
    pub(crate) fn with_clients(&self) -> usize {
        self.numbers.len() - usize::from(self.with_backends)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.numbers.len() >= usize::from(self.most)
    }

    /// Whether there may be one more with the backend of this listener: it may have as many
    /// as are still free (a dynamic threshold, as in `ipc::channel`'s pools), so that one
    /// gets half of them, two a third each. Some are not free but for a listener that has
    /// none: thresholds alone are full when a few grow one after another.
    pub(crate) fn may_secure(&self, listener: usize) -> bool {
        let most = most_with_backends(self.most);
        let free = most.saturating_sub(self.with_backends);
        match self.with_one.get(listener) {
            None => false,
            Some(OfListener { in_progress: 0, .. }) => free > 0,
            Some(one) => {
                one.in_progress < free.saturating_sub(self.without.min(most_reserved(most)))
            }
        }
    }

    /// Whose turn it is of listeners that may have one more: the one with the fewest, and
    /// of those the one whose turn was longest ago.
    pub(crate) fn turn(&self, listener: usize) -> Option<(u16, u64)> {
        let one = self.with_one.get(listener)?;
        self.may_secure(listener)
            .then_some((one.in_progress, one.last))
    }

    /// Notes one; there must be room.
    pub(crate) fn insert(&mut self, number: u32, progress: Progress) {
        if self.is_full() {
            return;
        }
        if let Purpose::Backend(secure) = &progress.purpose
            && let Some(one) = self.with_one.get_mut(secure.listener)
        {
            self.without -= u16::from(one.in_progress == 0).min(self.without);
            self.with_backends += 1;
            self.begun += 1;
            (one.in_progress, one.last) = (one.in_progress + 1, self.begun);
        }
        self.numbers.push(number);
        self.rest.push(progress);
    }

    /// It is over.
    pub(crate) fn remove(&mut self, number: u32) -> Option<Purpose> {
        let place = self.numbers.iter().position(|found| *found == number)?;
        self.numbers.swap_remove(place);
        let purpose = self.rest.swap_remove(place).purpose;
        if let Purpose::Backend(secure) = &purpose
            && let Some(one) = self.with_one.get_mut(secure.listener)
        {
            one.in_progress -= 1;
            self.with_backends -= 1;
            self.without += u16::from(one.in_progress == 0);
        }
        Some(purpose)
    }

    /// The one at a place, below [`Handshakes::len`].
    pub(crate) fn at(&mut self, place: usize) -> Option<(u32, &mut Progress)> {
        let number = self.numbers.get(place).copied()?;
        Some((number, self.rest.get_mut(place)?))
    }
}

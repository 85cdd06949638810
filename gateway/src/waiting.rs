//! Connections that wait until a handshake can begin. Backends go first and are never
//! evicted: a client was admitted for each of them.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use core::time::Duration;

use ipc::clock::Instant;
use ipc::control::Standing;

use crate::relay::RelayId;
use crate::server::{Arrived, Secure};

/// Clients that wait in one line at most; then one is evicted: of an address that has more
/// than [`MANY`] there, else of those with the worst standing; then of the address that has
/// the most, and of these the one that has waited longest.
const MAX_CLIENTS: usize = 64;
/// So many of one address leave room for others, whatever its standing.
const MANY: usize = 8;
/// Of those that wait, so many are taken in the order of their standing, then one in the
/// order of arrival: nobody waits for ever.
const BY_STANDING: u32 = 3;
/// Handshakes in progress at once that begin with a ClientHello longer than the network
/// stack holds. About one in four: clients that send only the beginning of such hellos
/// keep out only others with long hellos.
pub(crate) const MAX_LONG: usize = 48;
/// Requests for room that are under way at once: each is a call to the shim, which looks for
/// a handshake to evict.
const MOST_ASKED: usize = 64;
/// When the requested room does not become free in this time, nobody could be evicted
/// then: it is requested again.
pub(crate) const ASK_AGAIN: Duration = Duration::from_millis(125);

/// A line of clients.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Their ClientHello is there: room is asked for.
    Ready,
    /// Theirs is a long one. They wait for each other alone.
    Long,
}

impl Line {
    pub(crate) const ALL: [Self; 2] = [Self::Ready, Self::Long];
}

/// All queues.
pub(crate) struct Waiting {
    clients: [VecDeque<Arrived>; Line::ALL.len()],
    backends: VecDeque<Secure>,
    /// How many of them there are, by listener.
    backends_of: Box<[usize]>,
    /// When the shim was asked to evict a handshake, for each that has no result yet.
    asked: VecDeque<Instant>,
    /// So many were taken in the order of their standing.
    by_standing: u32,
}

impl Waiting {
    /// Clients that wait at once.
    pub(crate) const MOST: usize = Line::ALL.len() * MAX_CLIENTS;
    /// Bytes for one relay.
    pub(crate) const PLACE: usize = size_of::<Secure>();
    /// Bytes for clients.
    pub(crate) const FIXED: usize =
        (Self::MOST + Line::ALL.len()) * size_of::<Arrived>() + MOST_ASKED * size_of::<Instant>();
    /// Bytes for one listener.
    pub(crate) const OF_LISTENER: usize = size_of::<usize>();

    /// Room for so many relays of so many listeners.
    pub(crate) fn new(relays: usize, listeners: usize) -> Self {
        Self {
            clients: Line::ALL.map(|_| VecDeque::with_capacity(MAX_CLIENTS + 1)),
            backends: VecDeque::with_capacity(relays),
            backends_of: vec![0; listeners].into_boxed_slice(),
            asked: VecDeque::with_capacity(MOST_ASKED),
            by_standing: 0,
        }
    }

    /// A backend waits.
    pub(crate) fn add_backend(&mut self, secure: Secure) {
        if let Some(count) = self.backends_of.get_mut(secure.listener) {
            *count += 1;
        }
        self.backends.push_back(secure);
    }

    /// Those that wait, in the order of arrival.
    pub(crate) const fn backends(&self) -> &VecDeque<Secure> {
        &self.backends
    }

    /// Whose turn it is of the listeners that may have one more, and so have a rank: the
    /// one with the lowest, and of its own the one that has waited longest.
    pub(crate) fn next_backend<R: Ord>(&self, rank: impl Fn(usize) -> Option<R>) -> Option<Secure> {
        let of = self.backends_of.iter().enumerate();
        let waiting = of.filter(|(_, count)| **count > 0);
        let ranks = waiting.filter_map(|(listener, _)| Some((rank(listener)?, listener)));
        let (_, listener) = ranks.min()?;
        let mut backends = self.backends.iter();
        backends.find(|one| one.listener == listener).copied()
    }

    /// How many wait of the listeners for which this holds.
    pub(crate) fn backends_of(&self, is_meant: impl Fn(usize) -> bool) -> usize {
        let of = self.backends_of.iter().enumerate();
        let meant = of.filter(|(listener, count)| **count > 0 && is_meant(*listener));
        meant.map(|(_, count)| count).sum()
    }

    /// A backend does not wait any more: its connection, if it did.
    pub(crate) fn forget_backend(&mut self, relay: RelayId) -> Option<Secure> {
        let mut waiting = self.backends.iter();
        let place = waiting.position(|secure| secure.relay == relay)?;
        let secure = self.backends.remove(place)?;
        if let Some(count) = self.backends_of.get_mut(secure.listener) {
            *count -= 1;
        }
        Some(secure)
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.backends.is_empty() && self.clients.iter().all(VecDeque::is_empty)
    }

    /// Whether the shim may be asked to make room: once for each client that waits, and
    /// for each of so many backends; not more often than [`MOST_ASKED`] at a time.
    pub(crate) fn may_ask(&mut self, now: Instant, backends: usize) -> bool {
        let is_in_vain = |at: &mut Instant| now >= *at + ASK_AGAIN;
        while self.asked.pop_front_if(is_in_vain).is_some() {}
        let most = self.line(Line::Ready).len() + backends;
        if self.asked.len() >= most.min(MOST_ASKED) {
            return false;
        }
        self.asked.push_back(now);
        true
    }

    /// One place became free.
    pub(crate) fn note_displaced(&mut self) {
        self.asked.pop_front();
    }

    /// Those of one line, in the order of arrival.
    pub(crate) const fn line(&self, line: Line) -> &VecDeque<Arrived> {
        let [ready, long] = &self.clients;
        match line {
            Line::Ready => ready,
            Line::Long => long,
        }
    }

    /// Whether the next is the one with the best standing, or the next in order of
    /// arrival.
    pub(crate) const fn is_by_standing(&self) -> bool {
        self.by_standing < BY_STANDING
    }

    /// Takes a client out whose handshake has begun.
    pub(crate) fn take(&mut self, line: Line, place: usize) {
        self.by_standing = match self.is_by_standing() {
            true => self.by_standing + 1,
            false => 0,
        };
        self.remove(line, place);
    }

    /// Takes a client out.
    pub(crate) fn remove(&mut self, line: Line, place: usize) {
        self.line_mut(line).remove(place);
    }

    /// Adds a client; returns the one that is evicted, if any.
    pub(crate) fn add(
        &mut self,
        arrived: Arrived,
        standing: impl Fn(&Arrived) -> Standing,
    ) -> Option<Arrived> {
        let line = self.line_mut(arrived.line);
        line.push_back(arrived);
        if line.len() <= MAX_CLIENTS {
            return None;
        }
        let of_its_address = |one: &Arrived| {
            let same = line.iter().filter(|other| other.guest == one.guest);
            same.count()
        };
        // The last of the greatest in reverse is the first of them.
        let places = line.iter().enumerate().rev();
        let (place, _) = places.max_by_key(|(_, one)| {
            let count = of_its_address(one);
            (count > MANY, standing(one), count)
        })?;
        line.remove(place)
    }

    /// Whose turn it is among those of a line that may begin, and so have a rank: the one
    /// with the lowest, and of those the one that has waited longest.
    pub(crate) fn next<R: Ord>(
        &self,
        line: Line,
        rank: impl Fn(&Arrived) -> Option<R>,
    ) -> Option<(usize, Arrived)> {
        let places = self.line(line).iter().enumerate();
        let able = places.filter_map(|(place, one)| Some((rank(one)?, place, *one)));
        let (_, place, arrived) = able.min_by(|(a, ..), (b, ..)| a.cmp(b))?;
        Some((place, arrived))
    }

    const fn line_mut(&mut self, line: Line) -> &mut VecDeque<Arrived> {
        let [ready, long] = &mut self.clients;
        match line {
            Line::Ready => ready,
            Line::Long => long,
        }
    }
}

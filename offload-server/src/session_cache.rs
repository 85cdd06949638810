//! Room for what is remembered of servers (R33).
//!
//! All configurations of both modes share it: for any number of them, kept for later
//! requests or still in use by handshakes and sessions, no more is cached than
//! [`crate::budget`] counts.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use ipc::record::MAX_POST_HANDSHAKE;

use crate::by_request::KEPT;

/// Sessions that are remembered of one server.
pub(crate) const FOR_EACH: usize = 4;
/// Cached sessions in all: one for each configuration that is kept, and as many again,
/// first come, first served.
pub(crate) const PLACES: usize = 2 * KEPT;

/// Bytes of a NewSessionTicket that is kept, without its header: those of TLS 1.3 are not
/// longer, and a longer one of TLS 1.2 is not cached.
pub(crate) const MAX_TICKET: usize = MAX_POST_HANDSHAKE;
/// Bytes of a server's chain that is kept with its tickets, and by each session that
/// takes some. No tickets are taken from a server whose chain is longer.
pub(crate) const MAX_CHAIN: usize = 4096;

/// The room, by the places that are taken.
#[derive(Default)]
pub(crate) struct Places(AtomicUsize);

impl Places {
    /// A place, for the first session of a list or for one more.
    fn take(self: &Arc<Self>, is_first: bool) -> Option<Place> {
        let most = match is_first {
            true => PLACES,
            false => PLACES - KEPT,
        };
        let next = |taken: usize| (taken < most).then_some(taken + 1);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        taken.is_ok().then(|| Place(self.clone()))
    }
}

/// One place, as long as it lives.
struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is remembered of the sessions with one server, the latest at the end.
pub(crate) struct SessionCache<T> {
    places: Arc<Places>,
    sessions: VecDeque<(Place, T)>,
}

impl<T> SessionCache<T> {
    /// Bytes of the list itself: as many elements as a `VecDeque` begins with.
    pub(crate) const LIST: usize = FOR_EACH * size_of::<(Place, T)>();

    pub(crate) const fn new(places: Arc<Places>) -> Self {
        Self {
            places,
            sessions: VecDeque::new(),
        }
    }

    /// Remembers a session. When there is no room, the oldest of this server is
    /// forgotten for it; a server of which nothing is remembered has to wait.
    pub(crate) fn push(&mut self, session: T) {
        let place = match self.sessions.len() < FOR_EACH {
            true => self.places.take(self.sessions.is_empty()),
            false => None,
        };
        let place = place.or_else(|| Some(self.sessions.pop_front()?.0));
        if let Some(place) = place {
            self.sessions.push_back((place, session));
        }
    }

    /// Takes the latest that is `wanted`.
    pub(crate) fn take(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        let at = self.sessions.iter().rposition(|(_, s)| wanted(s))?;
        Some(self.sessions.remove(at)?.1)
    }

    /// Forgets all but those.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&T) -> bool) {
        self.sessions.retain(|(_, session)| wanted(session));
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn all(list: &mut SessionCache<u32>) -> Vec<u32> {
        core::iter::from_fn(|| list.take(|_| true)).collect()
    }

    #[test]
    fn a_server_has_the_latest_few_and_its_places_come_back() {
        let places = Arc::default();
        let mut list = SessionCache::new(Arc::clone(&places));
        for round in 0..100 {
            (0..10).for_each(|number| list.push(number));
            assert_eq!(list.take(|number| number % 2 == 0), Some(8));
            list.retain(|number| *number != 7);
            assert_eq!(all(&mut list), [9, 6], "{round}");
            assert_eq!(places.0.load(Ordering::Relaxed), 0);
        }
        list.push(1);
        drop(list);
        assert_eq!(places.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn any_number_of_servers_has_the_places_that_are_counted_and_each_kept_one_has_one() {
        let places = Arc::default();
        let list = || SessionCache::new(Arc::clone(&places));
        let greedy = (PLACES - KEPT) / FOR_EACH;
        let mut lists: Vec<_> = (0..PLACES).map(|_| list()).collect();
        // Those that come first have all that they may.
        for list in &mut lists[..greedy] {
            (0..10).for_each(|number| list.push(number));
        }
        assert_eq!(places.0.load(Ordering::Relaxed), PLACES - KEPT);
        // Those that come after them have one each, as many as are kept.
        for list in &mut lists {
            list.push(10);
            list.push(11);
        }
        assert_eq!(places.0.load(Ordering::Relaxed), PLACES);
        let held: Vec<_> = lists.iter_mut().map(all).collect();
        assert!(held[..greedy].iter().all(|held| held[..] == [11, 10, 9, 8]));
        assert!(
            held[greedy..greedy + KEPT]
                .iter()
                .all(|held| held[..] == [11])
        );
        assert!(held[greedy + KEPT..].iter().all(Vec::is_empty));
    }
}

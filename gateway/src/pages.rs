//! The bodies that are on their way to clients of the status page: a few at once. A
//! client that does not read delays no other's page for longer than [`PATIENCE`].

use alloc::string::String;
use core::time::Duration;

use ipc::clock::Instant;

use crate::page::MAX_BODY;
use crate::relay::RelayId;

/// Bodies at once.
pub(crate) const MAX_PAGES: usize = 6;
/// A body that did not move for so long may be evicted for another.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// A body on its way.
pub(crate) struct Answering {
    pub(crate) relay: RelayId,
    pub(crate) body: String,
    /// When some of it moved last.
    pub(crate) progress: Instant,
}

/// All of them, and the memory for those that are not there, had at the start: among what
/// sessions hold there may be no such large piece later.
pub(crate) struct Pages {
    held: [Option<Answering>; MAX_PAGES],
    free: [String; MAX_PAGES],
}

impl Default for Pages {
    fn default() -> Self {
        Self {
            held: [const { None }; MAX_PAGES],
            free: core::array::from_fn(|_| String::with_capacity(MAX_BODY)),
        }
    }
}

/// Names a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageId(u8);

impl Pages {
    /// A place for one more, and the relay that has to give it up, if one has; `None`
    /// when all places are in use.
    pub(crate) fn place(&self, now: Instant) -> Option<(PageId, Option<RelayId>)> {
        let name = |place| u8::try_from(place).ok().map(PageId);
        if let Some(place) = self.held.iter().position(Option::is_none) {
            return Some((name(place)?, None));
        }
        let places = self.held.iter().enumerate();
        let held = places.filter_map(|(place, held)| Some((place, held.as_ref()?)));
        let (place, slowest) = held.min_by_key(|(_, answering)| answering.progress)?;
        let gives_way = now > slowest.progress + PATIENCE;
        gives_way.then_some((name(place)?, Some(slowest.relay)))
    }

    /// The memory of a place that [`Pages::place`] named and nobody holds: a body is made
    /// in it, and [`Pages::put`] or [`Pages::give_back`] takes it back.
    pub(crate) fn memory(&mut self, id: PageId) -> String {
        let place = self.free.get_mut(usize::from(id.0));
        place.map(core::mem::take).unwrap_or_default()
    }

    /// A body is not needed any more.
    pub(crate) fn give_back(&mut self, id: PageId, mut body: String) {
        body.clear();
        if let Some(place) = self.free.get_mut(usize::from(id.0)) {
            *place = body;
        }
    }

    /// Puts a body into a place that [`Pages::place`] named.
    pub(crate) fn put(&mut self, id: PageId, answering: Answering) {
        if let Some(place) = self.held.get_mut(usize::from(id.0)) {
            *place = Some(answering);
        }
    }

    /// The body of a relay, unless it was evicted.
    pub(crate) fn of(&mut self, id: PageId, relay: RelayId) -> Option<&mut Answering> {
        let place = self.held.get_mut(usize::from(id.0))?;
        place.as_mut().filter(|answering| answering.relay == relay)
    }

    /// The relay is over.
    pub(crate) fn free(&mut self, id: PageId, relay: RelayId) {
        if let Some(place) = self.held.get_mut(usize::from(id.0))
            && let Some(held) = place.take_if(|held| held.relay == relay)
        {
            self.give_back(id, held.body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;

    #[test]
    fn a_client_that_does_not_read_gives_way_and_one_that_reads_does_not() {
        let mut table = Table::new(MAX_PAGES + 1);
        let mut pages = Pages::default();
        let second = |seconds: u64| Instant::from_millis(seconds * 1000);
        let mut relays = (0..MAX_PAGES + 1).map(|_| table.insert(()).unwrap());
        let held: [RelayId; MAX_PAGES] = core::array::from_fn(|_| relays.next().unwrap());
        for relay in held {
            let (place, None) = pages.place(second(0)).unwrap() else {
                panic!("a free place");
            };
            let answering = Answering {
                relay,
                body: String::new(),
                progress: second(0),
            };
            pages.put(place, answering);
        }
        assert_eq!(pages.place(second(1)), None);
        for (place, relay) in held
            .into_iter()
            .enumerate()
            .filter(|(place, _)| *place != 3)
        {
            let id = PageId(place as u8);
            pages.of(id, relay).unwrap().progress = second(2);
        }
        assert_eq!(pages.place(second(3)), Some((PageId(3), Some(held[3]))));
        let relay = relays.next().unwrap();
        let answering = Answering {
            relay,
            body: String::new(),
            progress: second(3),
        };
        pages.put(PageId(3), answering);
        assert!(pages.of(PageId(3), held[3]).is_none());
        // What gave way frees nothing that is another's.
        pages.free(PageId(3), held[3]);
        assert!(pages.of(PageId(3), relay).is_some());
        assert_eq!(pages.place(second(3)), None);
    }
}

//! Lists of places of a table, from which any one can be taken in constant time.

use alloc::boxed::Box;
use alloc::vec;

/// The end of a list.
const NONE: u32 = u32::MAX;
/// In place of what is before a place that is on no list.
const OFF: u32 = u32::MAX - 1;

/// Where a place stands in the list that it is on.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    before: u32,
    after: u32,
}

/// The links of all places of a table, for lists of which a place is on one at most.
pub(crate) struct Links(Box<[Link]>);

impl Links {
    pub(crate) fn new(places: usize) -> Self {
        let link = Link {
            before: OFF,
            after: NONE,
        };
        Self(vec![link; places].into_boxed_slice())
    }

    fn get(&self, place: u32) -> Option<&Link> {
        let link = self.0.get(place as usize)?;
        (link.before != OFF).then_some(link)
    }

    fn get_mut(&mut self, place: u32) -> Option<&mut Link> {
        self.0.get_mut(place as usize)
    }

    /// The one after it in its list.
    pub(crate) fn after(&self, place: u32) -> Option<u32> {
        self.get(place).and_then(|link| some(link.after))
    }
}

/// A list of places, in the order in which they came. It is worked on with the same
/// [`Links`] always.
#[derive(Clone, Copy)]
pub(crate) struct List {
    first: u32,
    last: u32,
}

impl Default for List {
    fn default() -> Self {
        Self {
            first: NONE,
            last: NONE,
        }
    }
}

impl List {
    pub(crate) fn first(self) -> Option<u32> {
        some(self.first)
    }

    /// Adds a place at the end. One that is on a list stays where it is.
    pub(crate) fn push(&mut self, links: &mut Links, place: u32) {
        let last = self.last;
        match links.get_mut(place) {
            Some(link) if link.before == OFF => {
                *link = Link {
                    before: last,
                    after: NONE,
                };
            }
            _ => return,
        }
        match links.get_mut(last) {
            Some(link) => link.after = place,
            None => self.first = place,
        }
        self.last = place;
    }

    /// Takes a place out, if it is on this list; it must not be on another one.
    pub(crate) fn remove(&mut self, links: &mut Links, place: u32) {
        let Some(&Link { before, after, .. }) = links.get(place) else {
            return;
        };
        match links.get_mut(before) {
            Some(link) => link.after = after,
            None => self.first = after,
        }
        match links.get_mut(after) {
            Some(link) => link.before = before,
            None => self.last = before,
        }
        if let Some(link) = links.get_mut(place) {
            link.before = OFF;
        }
    }
}

/// A list with links of its own.
pub(crate) struct Queue {
    list: List,
    links: Links,
}

impl Queue {
    /// For as many places.
    pub(crate) fn new(places: usize) -> Self {
        Self {
            list: List::default(),
            links: Links::new(places),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.first().is_none()
    }

    /// Adds a place at the end, unless it is there.
    pub(crate) fn push(&mut self, place: u32) {
        self.list.push(&mut self.links, place);
    }

    /// Takes the first one out.
    pub(crate) fn pop(&mut self) -> Option<u32> {
        let first = self.list.first()?;
        self.remove(first);
        Some(first)
    }

    /// Takes a place out, if it is there.
    pub(crate) fn remove(&mut self, place: u32) {
        self.list.remove(&mut self.links, place);
    }
}

fn some(place: u32) -> Option<u32> {
    (place != NONE).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(list: List, links: &Links) -> Vec<u32> {
        core::iter::successors(list.first(), |place| links.after(*place)).collect()
    }

    #[test]
    fn places_leave_in_the_order_in_which_they_came() {
        let mut queue = Queue::new(4);
        for place in [2, 0, 3, 0, 4, OFF, NONE] {
            queue.push(place);
        }
        queue.remove(1);
        assert_eq!(
            [(); 4].map(|()| queue.pop()),
            [Some(2), Some(0), Some(3), None]
        );
        assert!(queue.is_empty());
        queue.push(3);
        assert!(!queue.is_empty());
        assert_eq!(queue.pop(), Some(3));
    }

    #[test]
    fn a_place_is_taken_out_at_any_place_of_one_of_two_lists() {
        for gone in 0..5 {
            let mut links = Links::new(8);
            let [mut one, mut other] = [List::default(); 2];
            (0..5).for_each(|place| one.push(&mut links, place));
            (5..8).for_each(|place| other.push(&mut links, place));
            one.remove(&mut links, gone);
            one.remove(&mut links, gone);
            let left: Vec<_> = (0..5).filter(|place| *place != gone).collect();
            assert_eq!(places(one, &links), left);
            assert_eq!(places(other, &links), [5, 6, 7]);
            // It goes to the other list, and both still end where they did.
            other.push(&mut links, gone);
            let last = left.last().copied().unwrap();
            one.remove(&mut links, last);
            one.push(&mut links, last);
            assert_eq!(places(one, &links), left);
            assert_eq!(places(other, &links), [5, 6, 7, gone]);
        }
    }
}

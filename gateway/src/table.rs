//! A table of fixed size, whose memory is had at the start.

use alloc::vec::Vec;
use core::num::NonZeroU32;

/// Names an entry: a place and a generation, so that a name is never used twice in
/// 2³² entries of one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id {
    index: u32,
    generation: NonZeroU32,
}

struct Place<T> {
    generation: NonZeroU32,
    /// Whether it is in use, even while the entry is taken out.
    is_used: bool,
    /// The next free place, in a place that is free.
    next: u32,
    entry: Option<T>,
}

/// No place.
const NONE: u32 = u32::MAX;

/// Entries by [`Id`].
pub(crate) struct Table<T> {
    places: Vec<Place<T>>,
    free: u32,
}

impl<T> Table<T> {
    /// Bytes of one place.
    pub(crate) const PLACE: usize = size_of::<Place<T>>();

    /// A table with `size` places.
    pub(crate) fn new(size: usize) -> Self {
        // No table has so many slots: no channel has.
        let size = u32::try_from(size).unwrap_or(0);
        let place = |index: u32| Place {
            generation: NonZeroU32::MIN,
            is_used: false,
            next: if index + 1 < size { index + 1 } else { NONE },
            entry: None,
        };
        Self {
            places: (0..size).map(place).collect(),
            free: if size > 0 { 0 } else { NONE },
        }
    }

    /// Puts an entry in a free place; gives it back where there is none.
    pub(crate) fn insert(&mut self, entry: T) -> Result<Id, T> {
        let index = self.free;
        let Some(place) = self.places.get_mut(index as usize) else {
            return Err(entry);
        };
        self.free = place.next;
        place.is_used = true;
        place.entry = Some(entry);
        Ok(Id {
            index,
            generation: place.generation,
        })
    }

    fn place(&mut self, id: Id) -> Option<&mut Place<T>> {
        let place = self.places.get_mut(id.index as usize)?;
        (place.is_used && place.generation == id.generation).then_some(place)
    }

    /// The entry.
    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        let place = self.places.get(id.index as usize)?;
        place
            .entry
            .as_ref()
            .filter(|_| place.generation == id.generation)
    }

    /// The entry, to change it.
    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        self.place(id)?.entry.as_mut()
    }

    /// Takes the entry out for a while; its place stays its own until
    /// [`Table::put`] or [`Table::free`].
    pub(crate) fn take(&mut self, id: Id) -> Option<T> {
        self.place(id)?.entry.take()
    }

    /// Puts back what was taken out.
    pub(crate) fn put(&mut self, id: Id, entry: T) {
        if let Some(place) = self.place(id) {
            place.entry = Some(entry);
        }
    }

    /// Gives the place up.
    pub(crate) fn free(&mut self, id: Id) {
        let free = self.free;
        let Some(place) = self.place(id) else {
            return;
        };
        place.entry = None;
        place.is_used = false;
        place.generation = place.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        place.next = free;
        self.free = id.index;
    }

    /// How many places there are.
    pub(crate) fn size(&self) -> usize {
        self.places.len()
    }

    /// The entry at a place, with its name.
    pub(crate) fn at(&self, index: usize) -> Option<(Id, &T)> {
        let place = self.places.get(index)?;
        let id = Id {
            index: u32::try_from(index).ok()?,
            generation: place.generation,
        };
        Some((id, place.entry.as_ref()?))
    }

    /// All entries that are in.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| place.entry.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_refuses_and_a_freed_place_has_another_name() {
        let mut table = Table::new(2);
        let a = table.insert('a').unwrap();
        let b = table.insert('b').unwrap();
        assert_eq!(table.insert('c'), Err('c'));
        table.free(a);
        assert_eq!(table.get(a), None);
        let c = table.insert('c').unwrap();
        assert_ne!(a, c);
        assert_eq!(
            (table.get(a), table.get(b), table.get(c)),
            (None, Some(&'b'), Some(&'c'))
        );
        // The second time it is already free.
        table.free(a);
        assert_eq!(table.insert('d'), Err('d'));
    }

    #[test]
    fn the_place_of_what_was_taken_out_stays_its_own() {
        let mut table = Table::new(1);
        let id = table.insert('a').unwrap();
        assert_eq!(table.take(id), Some('a'));
        assert_eq!(table.get(id), None);
        assert_eq!(table.insert('b'), Err('b'));
        table.put(id, 'c');
        assert_eq!(table.get(id), Some(&'c'));
        assert_eq!(table.iter().count(), 1);
    }
}

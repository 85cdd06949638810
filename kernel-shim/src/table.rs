//! A table of fixed size whose places are named by index and generation. Its places are
//! divided into parts, one after another: no client takes a place of another part.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ipc::badge::GENERATIONS;
use ipc::channel::SlotIndex;

/// Names one use of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) slot: SlotIndex,
    pub(crate) generation: u16,
}

struct Place<T> {
    generation: u16,
    value: Option<T>,
}

/// Bytes that a table holds for each value.
pub(crate) const fn place_size<T>() -> usize {
    size_of::<Place<T>>() + size_of::<SlotIndex>()
}

/// A table; nothing is allocated after its start.
pub(crate) struct Table<T> {
    places: Vec<Place<T>>,
    parts: Box<[Part]>,
}

struct Part {
    /// Its first place.
    first: SlotIndex,
    free: Vec<SlotIndex>,
}

impl<T> Table<T> {
    /// With parts of so many places.
    pub(crate) fn new(parts: impl Iterator<Item = u16>) -> Self {
        let mut slots = 0;
        let part = |places: u16| {
            let first = slots;
            slots += places;
            Part {
                first,
                free: (first..slots).rev().collect(),
            }
        };
        let parts = parts.map(part).collect();
        let place = |_| Place {
            generation: 0,
            value: None,
        };
        Self {
            places: (0..slots).map(place).collect(),
            parts,
        }
    }

    /// The name of what [`Table::insert`] would put into a part.
    pub(crate) fn next(&self, part: usize) -> Option<Name> {
        let slot = *self.parts.get(part)?.free.last()?;
        let generation = (self.places.get(usize::from(slot))?.generation + 1) % GENERATIONS;
        Some(Name { slot, generation })
    }

    /// Puts a value at [`Table::next`].
    pub(crate) fn insert(&mut self, part: usize, value: T) -> Option<()> {
        let Name { slot, generation } = self.next(part)?;
        self.parts.get_mut(part)?.free.pop();
        *self.places.get_mut(usize::from(slot))? = Place {
            generation,
            value: Some(value),
        };
        Some(())
    }

    /// The value, if its place was not used again.
    pub(crate) fn find(&mut self, name: Name) -> Option<&mut T> {
        self.place(name)?.value.as_mut()
    }

    /// Takes the value out, if its place was not used again.
    pub(crate) fn remove(&mut self, name: Name) -> Option<T> {
        let value = self.place(name)?.value.take()?;
        // The last part that does not begin after it.
        let part = self
            .parts
            .iter_mut()
            .rfind(|part| part.first <= name.slot)?;
        part.free.push(name.slot);
        Some(value)
    }

    fn place(&mut self, name: Name) -> Option<&mut Place<T>> {
        let place = self.places.get_mut(usize::from(name.slot))?;
        (place.generation == name.generation).then_some(place)
    }

    /// Each value, with its name.
    fn values(&self) -> impl Iterator<Item = (Name, &T)> {
        (0..).zip(&self.places).filter_map(|(slot, place)| {
            let generation = place.generation;
            Some((Name { slot, generation }, place.value.as_ref()?))
        })
    }

    /// The names of all values: the budget has room for one of each place.
    pub(crate) fn names(&self) -> Vec<Name> {
        let mut names = Vec::with_capacity(self.values().count());
        names.extend(self.values().map(|(name, _)| name));
        names
    }

    /// The name of a value that `is_meant`.
    pub(crate) fn find_by(&self, is_meant: impl Fn(Name, &T) -> bool) -> Option<Name> {
        let mut values = self.values();
        Some(values.find(|(name, value)| is_meant(*name, value))?.0)
    }

    /// The number of `slot` within its part.
    pub(crate) fn within(&self, part: usize, slot: SlotIndex) -> SlotIndex {
        let first = self.parts.get(part).map_or(0, |part| part.first);
        slot.saturating_sub(first)
    }

    /// Places in use.
    pub(crate) fn len(&self) -> usize {
        let free = self.parts.iter().map(|part| part.free.len());
        self.places.len() - free.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_not_used_twice_in_a_row() {
        let mut table = Table::new([1].into_iter());
        let first = table.next(0).unwrap();
        table.insert(0, 'a').unwrap();
        assert_eq!(table.next(0), None);
        assert_eq!(table.remove(first), Some('a'));
        let second = table.next(0).unwrap();
        table.insert(0, 'b').unwrap();
        assert_ne!(first, second);
        assert_eq!(table.find(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.find(second), Some(&mut 'b'));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_place_is_one_of_its_part_for_ever() {
        let mut table = Table::new([2, 0, 3].into_iter());
        let mut names = Vec::new();
        for (part, places) in [(0, 2), (1, 0), (2, 3)] {
            for number in 0..places {
                let name = table.next(part).unwrap();
                table.insert(part, part).unwrap();
                assert_eq!(table.within(part, name.slot), number);
                names.push((part, name));
            }
            assert_eq!(table.next(part), None);
            assert_eq!(table.insert(part, part), None);
        }
        assert_eq!((table.next(3), table.len()), (None, 5));
        for (part, name) in names {
            assert_eq!(table.remove(name), Some(part));
            for other in 0..3 {
                let next = table.next(other).map(|next| next.slot);
                assert_eq!(next, (other == part).then_some(name.slot));
            }
            table.insert(part, part).unwrap();
        }
    }
}

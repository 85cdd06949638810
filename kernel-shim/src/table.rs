//! A table of fixed size whose places are named by index and generation. Its places are
//! divided into parts, one after another: no client takes a place of another part.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ipc::channel::SlotIndex;

/// Generations count modulo this: as many bits as a badge has for them.
const GENERATIONS: u16 = 1 << 12;

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

    /// The place that [`Table::insert`] would use in a part: its index and generation.
    pub(crate) fn next(&self, part: usize) -> Option<(SlotIndex, u16)> {
        let slot = *self.parts.get(part)?.free.last()?;
        let generation = self.places.get(usize::from(slot))?.generation;
        Some((slot, (generation + 1) % GENERATIONS))
    }

    /// Puts a value at [`Table::next`].
    pub(crate) fn insert(&mut self, part: usize, value: T) -> Option<()> {
        let (slot, generation) = self.next(part)?;
        self.parts.get_mut(part)?.free.pop();
        *self.places.get_mut(usize::from(slot))? = Place {
            generation,
            value: Some(value),
        };
        Some(())
    }

    /// The value at `slot`, if it is of this generation.
    pub(crate) fn find(&mut self, slot: SlotIndex, generation: u16) -> Option<&mut T> {
        self.places
            .get_mut(usize::from(slot))
            .filter(|place| place.generation == generation)?
            .value
            .as_mut()
    }

    /// Takes the value at `slot` out, if it is of this generation.
    pub(crate) fn remove(&mut self, slot: SlotIndex, generation: u16) -> Option<T> {
        let place = self.places.get_mut(usize::from(slot))?;
        if place.generation != generation {
            return None;
        }
        let value = place.value.take()?;
        // The last part that does not begin after it.
        let part = self.parts.iter_mut().rfind(|part| part.first <= slot)?;
        part.free.push(slot);
        Some(value)
    }

    /// Index and generation of every place in use.
    pub(crate) fn names(&self) -> Vec<(SlotIndex, u16)> {
        let used = |(slot, place): (usize, &Place<T>)| {
            place.value.as_ref()?;
            Some((SlotIndex::try_from(slot).ok()?, place.generation))
        };
        self.places.iter().enumerate().filter_map(used).collect()
    }

    /// Index and generation of a value that `is_meant`.
    pub(crate) fn find_by(
        &self,
        is_meant: impl Fn(SlotIndex, &T) -> bool,
    ) -> Option<(SlotIndex, u16)> {
        let mut places = (0..).zip(&self.places);
        places.find_map(|(slot, place)| {
            let value = place.value.as_ref()?;
            is_meant(slot, value).then_some((slot, place.generation))
        })
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
        assert_eq!(table.remove(first.0, first.1), Some('a'));
        let second = table.next(0).unwrap();
        table.insert(0, 'b').unwrap();
        assert_ne!(first, second);
        assert_eq!(table.find(first.0, first.1), None);
        assert_eq!(table.remove(first.0, first.1), None);
        assert_eq!(table.find(second.0, second.1), Some(&mut 'b'));
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
                assert_eq!(table.within(part, name.0), number);
                names.push((part, name));
            }
            assert_eq!(table.next(part), None);
            assert_eq!(table.insert(part, part), None);
        }
        assert_eq!((table.next(3), table.len()), (None, 5));
        for (part, (slot, generation)) in names {
            assert_eq!(table.remove(slot, generation), Some(part));
            for other in 0..3 {
                let next = table.next(other).map(|(slot, _)| slot);
                assert_eq!(next, (other == part).then_some(slot));
            }
            table.insert(part, part).unwrap();
        }
    }
}

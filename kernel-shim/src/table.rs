//! A table of fixed size whose places are named by index and generation.

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
    free: Vec<SlotIndex>,
}

impl<T> Table<T> {
    pub(crate) fn new(slots: u16) -> Self {
        let place = |_| Place {
            generation: 0,
            value: None,
        };
        Self {
            places: (0..slots).map(place).collect(),
            free: (0..slots).rev().collect(),
        }
    }

    /// The place that [`Table::insert`] would use: its index and generation.
    pub(crate) fn next(&self) -> Option<(SlotIndex, u16)> {
        let slot = *self.free.last()?;
        let generation = self.places.get(usize::from(slot))?.generation;
        Some((slot, (generation + 1) % GENERATIONS))
    }

    /// Puts a value at [`Table::next`].
    pub(crate) fn insert(&mut self, value: T) -> Option<()> {
        let (slot, generation) = self.next()?;
        self.free.pop();
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
        self.free.push(slot);
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

    /// Places, in use or not.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    /// Places in use.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_not_used_twice_in_a_row() {
        let mut table = Table::new(1);
        let first = table.next().unwrap();
        table.insert('a').unwrap();
        assert_eq!(table.next(), None);
        assert_eq!(table.remove(first.0, first.1), Some('a'));
        let second = table.next().unwrap();
        table.insert('b').unwrap();
        assert_ne!(first, second);
        assert_eq!(table.find(first.0, first.1), None);
        assert_eq!(table.remove(first.0, first.1), None);
        assert_eq!(table.find(second.0, second.1), Some(&mut 'b'));
        assert_eq!(table.len(), 1);
    }
}

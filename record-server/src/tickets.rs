//! Which sessions hold one of the shared buffers for tickets.
//!
//! A ticket that comes in several records, or waits for its turn, takes a buffer. There
//! are [`BUFFERS`]; the session that has held one for longest is evicted, and its ticket
//! is skipped.

use alloc::collections::VecDeque;

use ipc::channel::SlotIndex;

/// Sessions that may keep tickets at the same time.
pub(crate) const BUFFERS: usize = 16;

/// The sessions that hold a buffer, the oldest first.
pub(crate) struct Holders(VecDeque<SlotIndex>);

impl Holders {
    pub(crate) fn new() -> Self {
        Self(VecDeque::with_capacity(BUFFERS))
    }

    /// Notes whether `slot` needs a buffer. Returns the session that is evicted for it,
    /// if any.
    pub(crate) fn note(&mut self, slot: SlotIndex, needs: bool) -> Option<SlotIndex> {
        let place = self.0.iter().position(|holder| *holder == slot);
        match (needs, place) {
            (true, None) => {
                let oldest = match self.0.len() < BUFFERS {
                    true => None,
                    false => self.0.pop_front(),
                };
                self.0.push_back(slot);
                oldest
            }
            (false, Some(place)) => {
                self.0.remove(place);
                None
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_holder_gives_way() {
        let mut holders = Holders::new();
        let buffers = BUFFERS as SlotIndex;
        for slot in 0..buffers {
            assert_eq!(holders.note(slot, true), None);
            assert_eq!(holders.note(slot, true), None, "it has one");
        }
        assert_eq!(holders.note(100, true), Some(0));
        assert_eq!(holders.note(101, true), Some(1));
        assert_eq!(holders.note(2, false), None);
        assert_eq!(holders.note(102, true), None);
        assert_eq!(holders.note(103, true), Some(3));
        assert_eq!(holders.0.len(), BUFFERS);
    }
}

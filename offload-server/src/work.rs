//! What there is to do, the most important first.
//!
//! A hello costs the peer nothing and this domain a signature, so work waits in order of
//! what the caller knows of the peer ([`Standing`]). A peer that has answered our flight is
//! one better. Nothing waits for ever: every fourth piece of work is taken from those
//! behind, and every second of these from the last.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use ipc::channel::SlotIndex;
use ipc::control::Standing;
use ipc::segment::Segment;

/// One piece of work.
pub(crate) enum Work {
    /// The connection of the handshake in this slot has news.
    Look(SlotIndex),
    /// A step of the directed handshake in `slot`, if it is of this generation.
    Perform {
        slot: SlotIndex,
        generation: u16,
        segment: Box<Segment>,
    },
}

impl Work {
    pub(crate) const fn slot(&self) -> SlotIndex {
        match self {
            Self::Look(slot) | Self::Perform { slot, .. } => *slot,
        }
    }
}

/// How important the work of one handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    First,
    Second,
    Third,
}

impl Class {
    const ALL: [Self; 3] = [Self::First, Self::Second, Self::Third];

    pub(crate) const fn of(standing: Standing, has_answered: bool) -> Self {
        match (standing, has_answered) {
            (Standing::Known, _) | (Standing::New, true) => Self::First,
            (Standing::New, false) | (Standing::Penalized, true) => Self::Second,
            (Standing::Penalized, false) => Self::Third,
        }
    }
}

/// After so many, one of those behind is taken.
const FIRST_IN_A_ROW: u32 = 3;

/// All work: of each handshake one of each kind at most.
pub(crate) struct WorkQueue {
    queues: [VecDeque<Work>; Class::ALL.len()],
    /// What waits for memory, in order of arrival.
    set_aside: VecDeque<(Class, Work)>,
    /// So many were taken while others waited behind them.
    in_a_row: u32,
    /// Of those behind, the last in every second turn of theirs.
    takes_last: bool,
    /// The next that has memory is the one that has waited longest.
    takes_oldest: bool,
}

impl WorkQueue {
    /// Bytes of the places that one handshake can need: a queue grows by doubling.
    pub(crate) const PLACES: usize =
        2 * 2 * (Class::ALL.len() * size_of::<Work>() + size_of::<(Class, Work)>());

    pub(crate) const fn new() -> Self {
        Self {
            queues: [const { VecDeque::new() }; Class::ALL.len()],
            set_aside: VecDeque::new(),
            in_a_row: 0,
            takes_last: false,
            takes_oldest: false,
        }
    }

    pub(crate) fn push(&mut self, class: Class, work: Work) {
        let [first, second, third] = &mut self.queues;
        match class {
            Class::First => first.push_back(work),
            Class::Second => second.push_back(work),
            Class::Third => third.push_back(work),
        }
    }

    /// The next piece of work, taken out.
    pub(crate) fn next(&mut self) -> Option<(Class, Work)> {
        if self.is_empty() {
            return None;
        }
        let mut waiting = Class::ALL
            .into_iter()
            .zip(&mut self.queues)
            .filter(|(_, queue)| !queue.is_empty());
        let (mut class, mut queue) = waiting.next()?;
        match waiting.next() {
            None => self.in_a_row = 0,
            Some(_) if self.in_a_row < FIRST_IN_A_ROW => self.in_a_row += 1,
            Some(behind) => {
                self.in_a_row = 0;
                self.takes_last = !self.takes_last;
                (class, queue) = match waiting.next() {
                    Some(last) if self.takes_last => last,
                    _ => behind,
                };
            }
        }
        queue.pop_front().map(|work| (class, work))
    }

    /// Keeps work until there is memory for it: nobody waits behind it meanwhile.
    pub(crate) fn set_aside(&mut self, class: Class, work: Work) {
        self.set_aside.push_back((class, work));
    }

    /// The handshakes whose turn it is to have memory: the one that has waited longest of the
    /// most important, and the one that has waited longest of all. They take turns: who is
    /// important does not keep others out for good.
    pub(crate) fn next_set_aside(&self) -> [Option<SlotIndex>; 2] {
        let important = self.set_aside.iter().min_by_key(|(class, _)| *class);
        let oldest = self.set_aside.front();
        let slot = |one: Option<&(Class, Work)>| one.map(|(_, work)| work.slot());
        match self.takes_oldest {
            false => [slot(important), slot(oldest)],
            true => [slot(oldest), slot(important)],
        }
    }

    /// Whether one of this class, or of a better one, waits for memory.
    pub(crate) fn is_waited_for(&self, class: Class) -> bool {
        self.set_aside.iter().any(|(other, _)| *other <= class)
    }

    /// All work of this handshake waits for its turn again.
    pub(crate) fn take_up(&mut self, slot: SlotIndex) {
        self.takes_oldest = !self.takes_oldest;
        let mut kept = VecDeque::new();
        for (class, work) in core::mem::take(&mut self.set_aside) {
            match work.slot() == slot {
                true => self.push(class, work),
                false => kept.push_back((class, work)),
            }
        }
        self.set_aside = kept;
    }

    /// Whether there is nothing to be done now.
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }

    /// Drops the work of a handshake that is over.
    pub(crate) fn forget(&mut self, slot: SlotIndex) {
        for queue in &mut self.queues {
            queue.retain(|work| work.slot() != slot);
        }
        self.set_aside.retain(|(_, work)| work.slot() != slot);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn next(work: &mut WorkQueue) -> Option<SlotIndex> {
        work.next().map(|(_, work)| work.slot())
    }

    #[test]
    fn the_important_goes_first_and_what_waits_after_it_has_a_part() {
        let mut work = WorkQueue::new();
        (0..4).for_each(|slot| work.push(Class::Third, Work::Look(20 + slot)));
        (0..4).for_each(|slot| work.push(Class::Second, Work::Look(10 + slot)));
        (0..8).for_each(|slot| work.push(Class::First, Work::Look(slot)));
        let order: Vec<_> = core::iter::from_fn(|| next(&mut work)).collect();
        let expected = [0, 1, 2, 20, 3, 4, 5, 10, 6, 7, 11, 21, 12, 13, 22, 23];
        assert_eq!(order, expected);
        assert!(work.is_empty());
    }

    #[test]
    fn what_was_set_aside_is_taken_up_in_order_of_importance_and_of_time_in_turn() {
        let mut work = WorkQueue::new();
        work.set_aside(Class::Third, Work::Look(1));
        for slot in 2..6 {
            work.set_aside(Class::Second, Work::Look(slot));
        }
        work.set_aside(Class::Second, Work::Look(2));
        assert!(work.is_empty());
        let waited_for = Class::ALL.map(|class| work.is_waited_for(class));
        assert_eq!(waited_for, [false, true, true]);
        let mut order = Vec::new();
        while let [Some(slot), other] = work.next_set_aside() {
            assert!(other.is_some());
            work.take_up(slot);
            order.extend(core::iter::from_fn(|| next(&mut work)));
        }
        assert_eq!(order, [2, 2, 1, 3, 4, 5]);
        work.set_aside(Class::First, Work::Look(4));
        work.forget(4);
        assert_eq!(work.next_set_aside(), [None, None]);
    }

    #[test]
    fn what_is_over_is_not_worked_on() {
        let mut work = WorkQueue::new();
        work.push(Class::First, Work::Look(1));
        work.push(Class::Third, Work::Look(1));
        work.push(Class::First, Work::Look(2));
        work.forget(1);
        assert_eq!((next(&mut work), next(&mut work)), (Some(2), None));
    }

    #[test]
    fn a_peer_that_has_answered_is_one_better() {
        use Standing::{Known, New, Penalized};
        let of = |standing| [false, true].map(|answered| Class::of(standing, answered));
        assert_eq!(of(Known), [Class::First, Class::First]);
        assert_eq!(of(New), [Class::Second, Class::First]);
        assert_eq!(of(Penalized), [Class::Third, Class::Second]);
    }
}

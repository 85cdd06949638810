//! The queue by which one side of a channel tells the other what changed.
//!
//! One side posts and the other takes; `posted` keeps each slot down to one event
//! at a time. What must hold, whatever the order in which two processors see each
//! other's stores (`tests/loom.rs`):
//!
//! - a side that takes an event sees what was written before it was posted, or
//!   before a post that found it outstanding;
//! - a side that finds no event and waits is rung for when there is one.

use crate::sync::{AtomicU16, AtomicU32, Ordering, fence, load_acquire};

/// One direction's queue as one side sees it. Both indices count events from zero
/// and wrap at 2³²; the queue holds `head - tail` events.
pub(crate) struct Events<'a> {
    /// Events ever posted; written by the side that posts.
    pub(crate) head: &'a AtomicU32,
    /// Events ever taken; written by the side that takes.
    pub(crate) tail: &'a AtomicU32,
    /// `capacity` entries, written by the side that posts.
    pub(crate) entries: *const AtomicU16,
    /// A power of two, more than there are slots.
    pub(crate) capacity: u32,
}

/// Names the oldest event that was not taken of the first of these queues that has one
/// ([`Channel::oldest_event`](super::Channel::oldest_event)), for the monitor; zero for
/// none. As long as it is not taken, and none of a queue before it, the name stays.
#[inline]
pub fn untaken(queues: impl IntoIterator<Item = Option<u32>>) -> u64 {
    let mut queues = (1..).zip(queues);
    let first = queues.find_map(|(number, oldest)| Some((number, oldest?)));
    first.map_or(0, |(number, oldest): (u64, u32)| {
        number << 32 | u64::from(oldest)
    })
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    /// The last one of its slot has not been taken: it covers this one too.
    Before,
    /// The other side claims what no honest one can: there is no room.
    NoRoom,
    /// It is at this position.
    Now {
        /// Where the next post of this slot looks for it.
        position: u32,
        /// The other side had taken all that was there, and may wait.
        rings: bool,
    },
}

impl Events<'_> {
    /// Posts `entry`, whose last event is at `posted`.
    #[inline]
    pub(crate) fn post(&self, posted: u32, entry: u16) -> Posted {
        // Pairs with the fence in `end_first`: an event that is skipped because its
        // last one is outstanding has its bytes written before those are read.
        fence(Ordering::SeqCst);
        let head = self.head.load(Ordering::Relaxed);
        let tail = load_acquire(self.tail);
        let outstanding = head.wrapping_sub(tail);
        // The last event is outstanding if it lies in tail..head, and if it was
        // not 2³² events ago.
        let is_there = posted.wrapping_sub(tail) < outstanding
            && outstanding <= self.capacity
            && self.entry(posted).load(Ordering::Relaxed) == entry;
        if is_there {
            return Posted::Before;
        }
        if outstanding >= self.capacity {
            // No honest tail leaves no room for a slot that is not there.
            return Posted::NoRoom;
        }
        self.entry(head).store(entry, Ordering::Relaxed);
        self.head.store(head.wrapping_add(1), Ordering::Release);
        // Pairs with the fence in `end_first`: either the other side sees this event
        // before it waits, or this one sees that it has taken all others.
        fence(Ordering::SeqCst);
        let rings = load_acquire(self.tail) == head;
        Posted::Now {
            position: head,
            rings,
        }
    }

    /// The oldest event; `None` when there is none. It stays outstanding, and covers what is
    /// posted for its slot, until [`Events::end_first`].
    #[inline]
    pub(crate) fn first(&self) -> Option<u16> {
        let tail = self.tail.load(Ordering::Relaxed);
        let head = load_acquire(self.head);
        let pending = head.wrapping_sub(tail);
        if pending == 0 {
            return None;
        }
        if pending > self.capacity {
            // An honest peer is never that far ahead. Nothing is lost that the peer did
            // not discard itself.
            self.tail.store(head, Ordering::Release);
            return None;
        }
        Some(self.entry(tail).load(Ordering::Relaxed))
    }

    /// The oldest event is taken. What it covered is seen by whoever looks after this.
    #[inline]
    pub(crate) fn end_first(&self) {
        let tail = self.tail.load(Ordering::Relaxed);
        self.tail.store(tail.wrapping_add(1), Ordering::Release);
        // Pairs with both fences in `post`.
        fence(Ordering::SeqCst);
    }

    /// How many there are to take.
    #[inline]
    pub(crate) fn due(&self) -> u32 {
        load_acquire(self.head).wrapping_sub(self.tail.load(Ordering::Relaxed))
    }

    /// The position of the oldest event that was not taken. What [`Events::first`] takes
    /// for a lie is none here, too.
    #[inline]
    pub(crate) fn oldest(&self) -> Option<u32> {
        let tail = self.tail.load(Ordering::Relaxed);
        let pending = load_acquire(self.head).wrapping_sub(tail);
        (1..=self.capacity).contains(&pending).then_some(tail)
    }

    /// The events that were posted and not taken, with their positions.
    pub(crate) fn outstanding(&self) -> impl Iterator<Item = (u32, u16)> {
        let head = self.head.load(Ordering::Relaxed);
        let tail = load_acquire(self.tail);
        let count = head.wrapping_sub(tail).min(self.capacity);
        (0..count).map(move |further| {
            let position = tail.wrapping_add(further);
            (position, self.entry(position).load(Ordering::Relaxed))
        })
    }

    fn entry(&self, position: u32) -> &AtomicU16 {
        let index = position & (self.capacity - 1);
        // SAFETY: `index` is below the capacity, and there are as many entries.
        let entry = unsafe { self.entries.add(index as usize) };
        // SAFETY: the entry is mapped and aligned for as long as the channel
        // lives, and only ever accessed atomically; the side that takes only loads.
        unsafe { &*entry }
    }
}

//! Records that a ring has no room for.
//!
//! A ring whose blocks are lent may hold less than a record (`ipc::channel::Pool`). As long
//! as the pool has some, it holds a whole one. When it has none, the record is put together
//! here, in one of a few buffers that all sessions share. Who waits for a buffer gets one
//! when a record is whole; for each that waits a session ends whose record is not whole
//! after [`PATIENCE`], so that nobody waits for a peer that never sends the rest of its
//! record.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use core::time::Duration;

use ipc::channel::SlotIndex;
use ipc::clock::Instant;
use tls::record::{HEADER, Header, Source};

/// Records that are put together at the same time.
pub(crate) const BUFFERS: usize = 64;

/// How long one may take while another session waits. A whole record takes as long on a
/// line of 64 kbit/s.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// How long a whole one may wait for its application to take some of it: as long as TCP's user
/// timeout here.
const READER: Duration = Duration::from_secs(30);

/// A record of which a part has come.
pub(crate) struct Assembly {
    header: Header,
    bytes: Box<[u8]>,
    filled: usize,
}

impl Assembly {
    /// The record with this header, which was consumed.
    pub(crate) fn new(header: Header) -> Self {
        let mut bytes = vec![0; header.record_length()].into_boxed_slice();
        if let Some(start) = bytes.first_chunk_mut::<HEADER>() {
            *start = header.bytes();
        }
        Self {
            header,
            bytes,
            filled: HEADER,
        }
    }

    /// Takes what has come of the rest.
    ///
    /// # Errors
    /// As the source's.
    pub(crate) fn fill<S: Source>(&mut self, source: &mut S) -> Result<(), S::Error> {
        let rest = self.bytes.get_mut(self.filled..).unwrap_or_default();
        let count = source.peek(0, rest)?;
        source.consume(count)?;
        self.filled += count;
        Ok(())
    }

    pub(crate) const fn header(&self) -> Header {
        self.header
    }

    /// The record, when it is whole.
    pub(crate) fn whole(&self) -> Option<&[u8]> {
        (self.filled >= self.bytes.len()).then_some(&self.bytes)
    }
}

/// Which sessions hold a buffer, and which wait for one.
pub(crate) struct Assemblies {
    /// With the moment when each ends if another waits.
    holders: VecDeque<(SlotIndex, Instant)>,
    /// In the order in which they came.
    waiting: VecDeque<SlotIndex>,
    is_last_next: bool,
}

impl Assemblies {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            holders: VecDeque::with_capacity(BUFFERS),
            waiting: VecDeque::with_capacity(slots),
            is_last_next: false,
        }
    }

    fn free(&self) -> usize {
        BUFFERS.saturating_sub(self.holders.len())
    }

    /// Whether `slot` may have a buffer now; if not, it waits for one.
    pub(crate) fn take(&mut self, slot: SlotIndex, now: Instant) -> bool {
        if self.free() == 0 {
            if !self.waiting.contains(&slot) {
                self.waiting.push_back(slot);
            }
            return false;
        }
        self.leave(slot);
        self.holders.push_back((slot, now + PATIENCE));
        true
    }

    /// The record of `slot` is whole, or its application took some of it.
    pub(crate) fn note_progress(&mut self, slot: SlotIndex, now: Instant) {
        let mut holders = self.holders.iter_mut();
        if let Some((_, until)) = holders.find(|(holder, _)| *holder == slot) {
            *until = now + READER;
        }
    }

    /// `slot` neither holds a buffer nor waits for one any more.
    pub(crate) fn leave(&mut self, slot: SlotIndex) {
        self.waiting.retain(|waiting| *waiting != slot);
        self.holders.retain(|(holder, _)| *holder != slot);
    }

    /// Whether somebody waits, and need not.
    pub(crate) fn has_next(&self) -> bool {
        self.free() > 0 && !self.waiting.is_empty()
    }

    /// Who may take a buffer that is free. It waits no more: if it needs one, it takes it.
    ///
    /// Who came last and who came first, in turn: a client whose record is about to be whole
    /// does not stand after all those whose never will be, nor is it overtaken by them for
    /// ever.
    pub(crate) fn next(&mut self) -> Option<SlotIndex> {
        if !self.has_next() {
            return None;
        }
        self.is_last_next = !self.is_last_next;
        match self.is_last_next {
            true => self.waiting.pop_back(),
            false => self.waiting.pop_front(),
        }
    }

    /// The one that is to end first, and when, if somebody waits for it.
    fn first(&self) -> Option<(SlotIndex, Instant)> {
        let first = self.holders.iter().min_by_key(|(_, until)| *until);
        first.filter(|_| self.waiting.len() > self.free()).copied()
    }

    /// When the oldest is to end.
    pub(crate) fn deadline(&self) -> Instant {
        self.first().map_or(Instant::NEVER, |(_, until)| until)
    }

    /// The session whose record takes too long.
    pub(crate) fn overdue(&self, now: Instant) -> Option<SlotIndex> {
        let (slot, until) = self.first()?;
        (until <= now).then_some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_gets_what_comes_free_and_the_oldest_is_overdue() {
        let mut all = Assemblies::new(4);
        let at = Instant::from_millis;
        let buffers = BUFFERS as SlotIndex;
        for slot in 0..buffers {
            assert!(all.take(slot, at(u64::from(slot))));
        }
        assert_eq!(all.deadline(), Instant::NEVER);
        assert_eq!(all.overdue(at(100_000)), None, "nobody waits");
        assert!(!all.take(500, at(1000)));
        assert!(!all.take(501, at(1000)));
        assert!(!all.take(500, at(1000)), "it waits once");
        assert_eq!(all.next(), None);
        assert_eq!(all.deadline(), at(2000));
        assert_eq!(all.overdue(at(1999)), None);
        // As many end as wait.
        assert_eq!(all.overdue(at(9000)), Some(0));
        all.leave(0);
        assert_eq!(all.overdue(at(9000)), Some(1));
        all.leave(1);
        assert_eq!(all.overdue(at(9000)), None);
        assert_eq!(all.next(), Some(501));
        assert!(all.take(501, at(2000)));
        // One that needs none any more is in nobody's way.
        assert!(all.has_next());
        assert_eq!(all.next(), Some(500));
        assert!(!all.has_next());
        assert!(all.take(502, at(2000)));
        assert!(!all.take(503, at(2000)));
        all.leave(503);
        assert_eq!(all.overdue(at(9000)), None);
    }
}

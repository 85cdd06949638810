//! Records that a ring has no room for.
//!
//! A ring whose blocks are lent may hold less than a record (`ipc::channel::Pool`). As long
//! as the pool has some, it holds a whole one. When it has none, the record is put together
//! here, in one of a few buffers that all sessions share. Who waits for a buffer gets one
//! when a record is whole. For each that waits a session ends of whose record nothing has
//! come for [`STALL`], or which is not whole after [`PATIENCE`], so that nobody waits for a
//! peer that never sends the rest of its record. [`RESERVE`] of those that stall are left for
//! who comes next, so that a crowd that waits is no reason for others to. Whose record is whole
//! keeps the buffer for the next ones, [`IN_A_ROW`] at the most: it does not stand in line for
//! each.

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

/// How long nothing of one may come while another session waits: a long round trip.
pub(crate) const STALL: Duration = Duration::from_millis(400);

/// So many that stall end for who comes to wait alone.
const RESERVE: usize = BUFFERS / 4;

/// Records that one session puts together before it stands in line again: 128 KiB.
const IN_A_ROW: u8 = 8;

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

    /// Takes what has come of the rest; how much that was.
    ///
    /// # Errors
    /// As the source's.
    pub(crate) fn fill<S: Source>(&mut self, source: &mut S) -> Result<usize, S::Error> {
        let rest = self.bytes.get_mut(self.filled..).unwrap_or_default();
        let count = source.peek(0, rest)?;
        source.consume(count)?;
        self.filled += count;
        Ok(count)
    }

    pub(crate) const fn header(&self) -> Header {
        self.header
    }

    /// The record, when it is whole.
    pub(crate) fn whole(&self) -> Option<&[u8]> {
        (self.filled >= self.bytes.len()).then_some(&self.bytes)
    }
}

/// Who holds a buffer.
#[derive(Clone, Copy)]
struct Holder {
    slot: SlotIndex,
    /// When it ends if another waits.
    until: Instant,
    /// When it may be if nothing comes.
    stalls: Instant,
    /// Records that it had it for.
    records: u8,
}

impl Holder {
    /// A record begins.
    fn begin(&mut self, now: Instant) {
        self.records += 1;
        self.until = now + PATIENCE;
        self.stalls = now + STALL;
    }
}

/// Which sessions hold a buffer, and which wait for one.
pub(crate) struct Assemblies {
    holders: VecDeque<Holder>,
    /// In the order in which they came.
    waiting: VecDeque<SlotIndex>,
    /// So many of them came and did not ask for anybody's buffer yet.
    came: usize,
    /// So many buffers came free for the last that came.
    cleared: usize,
    is_last_next: bool,
}

impl Assemblies {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            holders: VecDeque::with_capacity(BUFFERS),
            waiting: VecDeque::with_capacity(slots),
            came: 0,
            cleared: 0,
            is_last_next: false,
        }
    }

    fn free(&self) -> usize {
        BUFFERS.saturating_sub(self.holders.len())
    }

    /// Whether `slot` may have a buffer for a record now; if not, it waits for one.
    pub(crate) fn take(&mut self, slot: SlotIndex, now: Instant) -> bool {
        let mut has_had_its_turn = false;
        if let Some(holder) = self.holder(slot) {
            if holder.records < IN_A_ROW {
                holder.begin(now);
                return true;
            }
            self.leave(slot);
            has_had_its_turn = !self.waiting.is_empty();
        }
        if self.free() == 0 || has_had_its_turn {
            if !self.waiting.contains(&slot) {
                self.waiting.push_back(slot);
                self.came += 1;
            }
            return false;
        }
        self.leave(slot);
        let mut holder = Holder {
            slot,
            until: now,
            stalls: now,
            records: 0,
        };
        holder.begin(now);
        self.holders.push_back(holder);
        true
    }

    fn holder(&mut self, slot: SlotIndex) -> Option<&mut Holder> {
        self.holders.iter_mut().find(|holder| holder.slot == slot)
    }

    /// More of the record of `slot` has come.
    pub(crate) fn note_bytes(&mut self, slot: SlotIndex, now: Instant) {
        if let Some(holder) = self.holder(slot) {
            holder.stalls = now + STALL;
        }
    }

    /// The record of `slot` is whole, or its application took some of it.
    pub(crate) fn note_progress(&mut self, slot: SlotIndex, now: Instant) {
        if let Some(holder) = self.holder(slot) {
            holder.until = now + READER;
            holder.stalls = Instant::NEVER;
        }
    }

    /// The record of `slot` was read: it may keep its buffer for the next.
    pub(crate) fn note_whole(&mut self, slot: SlotIndex, now: Instant) {
        if let Some(holder) = self.holder(slot) {
            holder.until = now + STALL;
            holder.stalls = holder.until;
        }
    }

    /// `slot` neither holds a buffer nor waits for one any more.
    pub(crate) fn leave(&mut self, slot: SlotIndex) {
        self.waiting.retain(|waiting| *waiting != slot);
        self.came = self.came.min(self.waiting.len());
        self.cleared = self.cleared.min(self.waiting.len());
        self.holders.retain(|holder| holder.slot != slot);
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
        if self.cleared > 0 {
            self.cleared -= 1;
            return self.waiting.pop_back();
        }
        self.is_last_next = !self.is_last_next;
        match self.is_last_next {
            true => self.waiting.pop_back(),
            false => self.waiting.pop_front(),
        }
    }

    /// Takes a buffer from the session that is to end for one that waits. `has_more` says of
    /// a session whether more of its record is there to be taken: then it goes on.
    pub(crate) fn evict(
        &mut self,
        now: Instant,
        has_more: impl Fn(SlotIndex) -> bool,
    ) -> Option<SlotIndex> {
        while self.came > 0 {
            let stalled = self.first(|holder| holder.stalls);
            let stalled = stalled.filter(|(_, stalls)| *stalls <= now);
            if let Some((slot, _)) = stalled
                && has_more(slot)
            {
                self.note_bytes(slot, now);
                continue;
            }
            self.came -= 1;
            if let Some((slot, _)) = stalled {
                self.leave(slot);
                self.cleared += 1;
                return Some(slot);
            }
        }
        while self.crowd_ends() <= now {
            let (slot, _) = self.first(|holder| holder.stalls)?;
            if has_more(slot) {
                self.note_bytes(slot, now);
                continue;
            }
            self.leave(slot);
            return Some(slot);
        }
        let (slot, _) = self.late().filter(|(_, until)| *until <= now)?;
        self.leave(slot);
        Some(slot)
    }

    /// Whether [`Assemblies::evict`] has something to do.
    pub(crate) fn has_overdue(&self, now: Instant) -> bool {
        self.came > 0 || self.deadline() <= now
    }

    /// When the next is to end.
    pub(crate) fn deadline(&self) -> Instant {
        let late = self.late().map_or(Instant::NEVER, |(_, until)| until);
        late.min(self.crowd_ends())
    }

    /// When more than [`RESERVE`] stall, while somebody waits.
    fn crowd_ends(&self) -> Instant {
        if self.waiting.len() <= self.free() {
            return Instant::NEVER;
        }
        let mut all = [Instant::NEVER; BUFFERS];
        let stalls = self.holders.iter().map(|holder| holder.stalls);
        all.iter_mut().zip(stalls).for_each(|(to, from)| *to = from);
        *all.select_nth_unstable(RESERVE).1
    }

    /// The one that is to end first whatever comes, and when.
    fn late(&self) -> Option<(SlotIndex, Instant)> {
        self.first(|holder| holder.until)
    }

    /// The first to end by `when`, if somebody waits for it.
    fn first(&self, when: fn(&Holder) -> Instant) -> Option<(SlotIndex, Instant)> {
        let ends = self
            .holders
            .iter()
            .map(|holder| (holder.slot, when(holder)));
        let first = ends.min_by_key(|(_, when)| *when);
        first.filter(|_| self.waiting.len() > self.free())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing has come since.
    fn evict(all: &mut Assemblies, now: Instant) -> Option<SlotIndex> {
        all.evict(now, |_| false)
    }

    fn full() -> Assemblies {
        let mut all = Assemblies::new(4);
        for slot in 0..BUFFERS as SlotIndex {
            assert!(all.take(slot, Instant::from_millis(slot.into())));
        }
        all
    }

    #[test]
    fn one_that_stalls_ends_for_each_that_comes_and_for_a_crowd_all_but_a_reserve() {
        let mut all = full();
        let at = Instant::from_millis;
        assert_eq!(all.deadline(), Instant::NEVER);
        assert_eq!(evict(&mut all, at(100_000)), None, "nobody waits");
        assert!(!all.take(500, at(150)));
        assert!(!all.take(501, at(150)));
        assert!(!all.take(500, at(150)), "it waits once");
        assert!(all.has_overdue(at(150)), "they ask");
        assert_eq!(evict(&mut all, at(150)), None, "all of them go on");
        assert_eq!(all.next(), None);
        // The first sixteen that stall are for who comes.
        assert_eq!(all.deadline(), at(400 + RESERVE as u64));
        assert!(!all.has_overdue(at(415)));
        assert!(!all.take(502, at(415)));
        assert!(all.has_overdue(at(415)));
        assert_eq!(evict(&mut all, at(415)), Some(0));
        assert_eq!(evict(&mut all, at(415)), None, "one for each");
        assert_eq!(all.next(), Some(502), "who came has it");
        assert!(all.take(502, at(415)));
        // Those that waited before have the next.
        assert_eq!(evict(&mut all, at(416)), None);
        assert_eq!(evict(&mut all, at(417)), Some(1));
        assert_eq!(evict(&mut all, at(417)), None);
        assert_eq!(evict(&mut all, at(9000)), Some(2));
        assert_eq!(evict(&mut all, at(9000)), None, "as many as wait");
        // Who came last and who came first, in turn.
        assert_eq!(all.next(), Some(501));
        assert!(all.take(501, at(420)));
        // One that needs none any more is in nobody's way.
        assert!(all.has_next());
        assert_eq!(all.next(), Some(500));
        assert!(!all.has_next());
        assert!(all.take(503, at(420)));
        assert!(!all.take(504, at(420)));
        all.leave(504);
        assert_eq!(evict(&mut all, at(9000)), None);
    }

    #[test]
    fn whose_record_goes_on_ends_after_two_seconds() {
        let mut all = full();
        let at = Instant::from_millis;
        assert!(!all.take(500, at(100)));
        for now in (300..2000).step_by(300) {
            (0..64).for_each(|slot| all.note_bytes(slot, at(now)));
            assert_eq!(evict(&mut all, at(now)), None);
        }
        (0..64).for_each(|slot| all.note_bytes(slot, at(1999)));
        assert_eq!(all.deadline(), at(2000));
        // More of it is there, which decides nothing any more.
        assert_eq!(all.evict(at(2000), |_| true), Some(0));
        assert_eq!(all.evict(at(2000), |_| true), None);
    }

    #[test]
    fn more_that_was_not_taken_yet_is_no_stall() {
        let mut all = full();
        let at = Instant::from_millis;
        (0..60).for_each(|slot| all.note_bytes(slot, at(400)));
        assert!(!all.take(500, at(470)));
        assert!(!all.take(501, at(470)));
        assert_eq!(all.evict(at(470), |slot| slot == 60), Some(61));
        assert_eq!(evict(&mut all, at(470)), Some(62));
        assert_eq!(evict(&mut all, at(470)), None, "one for each");
        assert!(all.next().is_some() && all.next().is_some());
        assert_eq!(all.next(), None);
        assert!(all.take(500, at(470)) && all.take(501, at(470)));
        // A whole one waits for its reader.
        (0..64).for_each(|slot| all.note_progress(slot, at(480)));
        all.note_bytes(500, at(480));
        all.note_progress(501, at(480));
        assert!(!all.take(502, at(879)));
        assert_eq!(evict(&mut all, at(879)), None);
        assert!(!all.take(503, at(880)));
        assert_eq!(evict(&mut all, at(880)), Some(500));
        assert_eq!(evict(&mut all, at(880)), None);
    }

    #[test]
    fn a_crowd_of_halves_is_gone_as_fast_as_it_can_stall_and_a_client_waits_for_few() {
        let mut all = Assemblies::new(2000);
        let at = Instant::from_millis;
        let mut served = None;
        // 1,400 come at once, and whoever has a buffer stalls. A client comes amid that.
        (0..1400).for_each(|slot| {
            all.take(slot, at(0));
        });
        let mut ended = 0;
        for now in (10..).step_by(10) {
            if now == 1_010 {
                assert!(!all.take(1999, at(now)));
            }
            while evict(&mut all, at(now)).is_some() {
                ended += 1;
            }
            while let Some(slot) = all.next() {
                if slot == 1999 {
                    served = served.or(Some(now));
                    continue;
                }
                assert!(all.take(slot, at(now)));
            }
            if all.waiting.is_empty() {
                assert_eq!((ended, served), (1336, Some(1_010)));
                assert!((8_000..13_000).contains(&now), "{now}");
                break;
            }
        }
    }

    #[test]
    fn who_puts_together_record_after_record_stands_in_line_after_eight() {
        let mut all = full();
        let at = Instant::from_millis;
        assert!(!all.take(500, at(100)));
        for record in 1..IN_A_ROW {
            all.note_whole(7, at(100));
            assert!(all.take(7, at(100)), "{record}");
        }
        all.note_whole(7, at(100));
        assert!(!all.take(7, at(100)), "another waits");
        assert_eq!(all.next(), Some(7));
        // It came last, and another has it first where they take turns.
        assert!(all.take(500, at(100)));
        assert_eq!(all.next(), None);
        // Where nobody waits it goes on.
        all.leave(7);
        for _ in 0..3 * IN_A_ROW {
            all.note_whole(500, at(200));
            assert!(all.take(500, at(200)));
        }
        // Whose record is whole keeps its buffer for no longer than one that stalls.
        all.note_whole(500, at(300));
        (0..64).for_each(|slot| all.note_bytes(slot, at(290)));
        all.note_whole(500, at(200));
        assert!(!all.take(501, at(600)));
        assert_eq!(evict(&mut all, at(600)), Some(500));
    }
}

//! Lines in a domain's log ring: the domain writes them, the monitor reads them.
//!
//! A line is a record of whole words in [`LogRing::data`]: how many bytes its text has,
//! the processor's time-stamp counter when it was written, and the text, the last word
//! filled up with zeros. The reader trusts nothing of it. No reader is woken for a line:
//! it looks at each tick of its clock, and is called only when a quarter of the ring has
//! been written since then.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering, fence};

use crate::boot::LogRing;

/// Bytes of the longest line; what is after them is cut off.
pub const LINE: usize = 1024;
/// Words before the text.
const HEADER: u64 = 2;
const WORD: usize = 8;
/// Words after which the reader is called.
const QUARTER: u64 = CAPACITY / 4;
/// Words that the ring holds.
pub const CAPACITY: u64 = LogRing::WORDS as u64;

const _: () = assert!(HEADER + (LINE / WORD) as u64 <= QUARTER);

fn word(ring: &LogRing, at: u64) -> Option<&AtomicU64> {
    ring.data.get((at % CAPACITY) as usize)
}

/// Writes one line, which nobody sees before [`Writer::end`].
pub struct Writer<'a> {
    ring: &'a LogRing,
    start: u64,
    len: usize,
    /// The bytes of the last word that is not full.
    part: u64,
}

impl<'a> Writer<'a> {
    /// Begins a line in `ring`, whose only writer this is.
    pub fn begin(ring: &'a LogRing) -> Self {
        Self {
            ring,
            start: ring.written.load(Ordering::Relaxed),
            len: 0,
            part: 0,
        }
    }

    fn store(&self, at: u64, value: u64) {
        if let Some(word) = word(self.ring, self.start.wrapping_add(at)) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// The line is whole; it was written when the counter was at `ticks`. Whether the
    /// reader has to be called.
    pub fn end(self, ticks: u64) -> bool {
        if !self.len.is_multiple_of(WORD) {
            self.store(HEADER + (self.len / WORD) as u64, self.part);
        }
        self.store(0, self.len as u64);
        self.store(1, ticks);
        let end = self.start.wrapping_add(words(self.len));
        self.ring.written.store(end, Ordering::Release);
        self.start / QUARTER != end / QUARTER
    }
}

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let text = text.as_bytes();
        let mut rest = text.get(..LINE - self.len).unwrap_or(text);
        while !rest.is_empty() {
            // As many as the word has room for.
            let at = self.len % WORD;
            let (next, after) = rest.split_at(rest.len().min(WORD - at));
            let mut word = [0; WORD];
            let room = word.get_mut(at..at + next.len()).unwrap_or_default();
            room.copy_from_slice(next);
            self.part |= u64::from_le_bytes(word);
            self.len += next.len();
            if self.len.is_multiple_of(WORD) {
                self.store(HEADER + (self.len / WORD - 1) as u64, self.part);
                self.part = 0;
            }
            rest = after;
        }
        Ok(())
    }
}

/// Words of a record with so many bytes of text.
const fn words(len: usize) -> u64 {
    HEADER + len.div_ceil(WORD) as u64
}

/// A line as its reader gets it.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The counter, as the writer claims.
    pub ticks: u64,
    /// The text, of any bytes.
    pub text: &'a [u8],
}

/// How far a ring has been read.
#[derive(Debug, Default)]
pub struct Reader {
    read: u64,
}

impl Reader {
    /// Nothing was read.
    pub const fn new() -> Self {
        Self { read: 0 }
    }

    /// The counter of the next line, as the writer claims; `None` when there is none. A
    /// ring that was overrun, or holds what no writer leaves there, is read on from its
    /// end; `lost` then counts one more.
    pub fn peek(&mut self, ring: &LogRing, lost: &mut u64) -> Option<u64> {
        // Read-only memory here: no `Acquire` load (`core::sync::atomic`).
        let written = ring.written.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        if written == self.read {
            return None;
        }
        let fresh = written.wrapping_sub(self.read);
        match self.length(ring) {
            Some(len) if fresh <= CAPACITY && words(len) <= fresh => self.load(ring, 1),
            _ => {
                self.read = written;
                *lost += 1;
                None
            }
        }
    }

    /// Takes the line of which [`Reader::peek`] told; its text is put into `text`.
    pub fn take<'a>(&mut self, ring: &LogRing, text: &'a mut [u8; LINE]) -> Option<Line<'a>> {
        // Only the writer changes the ring, and it does not run meanwhile: should it have
        // changed since, the line is another, and no longer than it may be.
        let len = self.length(ring)?;
        let ticks = self.load(ring, 1)?;
        for (chunk, at) in text.chunks_exact_mut(WORD).zip(HEADER..words(len)) {
            chunk.copy_from_slice(&self.load(ring, at)?.to_le_bytes());
        }
        self.read = self.read.wrapping_add(words(len));
        let text = text.get(..len)?;
        Some(Line { ticks, text })
    }

    /// Takes all lines that are there, unread.
    pub fn skip(&mut self, ring: &LogRing) {
        self.read = ring.written.load(Ordering::Relaxed);
    }

    fn length(&self, ring: &LogRing) -> Option<usize> {
        let len = usize::try_from(self.load(ring, 0)?).ok()?;
        (len <= LINE).then_some(len)
    }

    fn load(&self, ring: &LogRing, at: u64) -> Option<u64> {
        let word = word(ring, self.read.wrapping_add(at))?;
        Some(word.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use core::fmt::Write as _;

    use super::*;

    fn put(ring: &LogRing, ticks: u64, text: &str) -> bool {
        let mut writer = Writer::begin(ring);
        writer.write_str(text).unwrap();
        writer.end(ticks)
    }

    fn next(reader: &mut Reader, ring: &LogRing) -> Option<(u64, Vec<u8>)> {
        let mut lost = 0;
        let ticks = reader.peek(ring, &mut lost);
        assert_eq!(lost, 0);
        ticks?;
        let mut text = [0; LINE];
        let line = reader.take(ring, &mut text)?;
        assert_eq!(Some(line.ticks), ticks);
        Some((line.ticks, line.text.to_vec()))
    }

    #[test]
    fn a_line_is_read_as_it_was_written_wherever_it_lies_in_the_ring() {
        let (ring, mut reader) = (LogRing::default(), Reader::new());
        let text: String = ('a'..='z').cycle().take(LINE).collect();
        for number in 0..5000 {
            let len = (number * 37) as usize % (LINE + 1);
            put(&ring, number, &text[..len]);
            let expected = (number, text.as_bytes()[..len].to_vec());
            assert_eq!(next(&mut reader, &ring), Some(expected));
            assert_eq!(next(&mut reader, &ring), None);
        }
    }

    #[test]
    fn pieces_of_any_length_make_one_line_and_what_is_too_long_is_cut() {
        let (ring, mut reader) = (LogRing::default(), Reader::new());
        let mut writer = Writer::begin(&ring);
        for piece in 0..100 {
            write!(writer, "{}", "x".repeat(piece)).unwrap();
        }
        writer.end(7);
        assert_eq!(next(&mut reader, &ring), Some((7, vec![b'x'; LINE])));
    }

    #[test]
    fn nothing_is_seen_of_a_line_before_its_end() {
        let (ring, mut reader) = (LogRing::default(), Reader::new());
        Writer::begin(&ring).write_str("half of it").unwrap();
        assert_eq!(next(&mut reader, &ring), None);
        put(&ring, 1, "whole");
        assert_eq!(next(&mut reader, &ring), Some((1, b"whole".to_vec())));
    }

    #[test]
    fn the_reader_is_called_before_anything_is_overwritten() {
        let (ring, mut reader) = (LogRing::default(), Reader::new());
        let (mut calls, mut lines) = (0, 0);
        for number in 0..10_000 {
            if put(&ring, number, &"y".repeat(number as usize % 300)) {
                calls += 1;
                while next(&mut reader, &ring).is_some() {
                    lines += 1;
                }
            }
        }
        while next(&mut reader, &ring).is_some() {
            lines += 1;
        }
        assert_eq!(lines, 10_000);
        // Not for each line.
        assert!(calls < 600, "{calls}");
    }

    #[test]
    fn what_is_skipped_is_not_read_and_what_comes_after_it_is() {
        let (ring, mut reader) = (LogRing::default(), Reader::new());
        put(&ring, 1, "one");
        put(&ring, 2, "two");
        reader.skip(&ring);
        assert_eq!(next(&mut reader, &ring), None);
        put(&ring, 3, "three");
        assert_eq!(next(&mut reader, &ring), Some((3, b"three".to_vec())));
    }

    #[test]
    fn whatever_a_hostile_writer_leaves_is_read_within_the_ring() {
        let mut state = 1_u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state >> 33
        };
        let (ring, mut reader, mut lost) = (LogRing::default(), Reader::new(), 0);
        for _ in 0..20_000 {
            for word in &ring.data {
                word.store(random() % 1100, Ordering::Relaxed);
            }
            let written = match random() % 3 {
                0 => random() << 31 | random(),
                1 => ring.written.load(Ordering::Relaxed).wrapping_sub(1),
                _ => reader.read.wrapping_add(random() % CAPACITY),
            };
            ring.written.store(written, Ordering::Relaxed);
            let mut text = [0; LINE];
            let mut lines = 0;
            while reader.peek(&ring, &mut lost).is_some() {
                assert!(reader.take(&ring, &mut text).is_some());
                lines += 1;
                assert!(lines <= CAPACITY / HEADER);
            }
            assert_eq!(reader.read, written);
        }
        assert!(lost > 0);
    }
}

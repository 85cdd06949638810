//! Where the log goes when the system runs: a device that takes blocks. Knows no kernel.
//!
//! A block has whole lines. It is handed over when it is full, or when nobody has more to
//! say; the device returns it when the host has it. A device that returns nothing costs
//! the lines that there is no room for, and the time that the monitor has patience for.

/// Bytes of a block.
pub const BLOCK: usize = 4096;

/// A device that takes blocks, used and returned in turn.
pub trait Device {
    /// How many blocks it has.
    const BLOCKS: usize;
    /// Whether it has returned that block.
    fn is_free(&mut self, block: usize) -> bool;
    /// Writes into a free block.
    fn put(&mut self, block: usize, at: usize, bytes: &[u8]);
    /// Hands over the first `len` bytes of a block; false if it does not take them.
    fn send(&mut self, block: usize, len: usize) -> bool;
    /// Tells it that there are blocks.
    fn notify(&mut self);
}

/// Fills blocks with lines.
#[derive(Debug)]
pub struct Outlet<D> {
    device: D,
    /// The block that is filled, and how far.
    block: usize,
    len: usize,
    /// Lines in it.
    lines: u64,
    /// Blocks were sent of which the device was not told.
    is_silent: bool,
    /// Lines of blocks that the device refused.
    lost: u64,
}

impl<D: Device> Outlet<D> {
    /// Nothing was written to `device`.
    pub const fn new(device: D) -> Self {
        Self {
            device,
            block: 0,
            len: 0,
            lines: 0,
            is_silent: false,
            lost: 0,
        }
    }

    /// Whether there is room for who has said much already: half of the blocks are kept
    /// for the others.
    pub fn has_plenty(&mut self) -> bool {
        self.free() > D::BLOCKS / 2
    }

    /// Writes a line, which is `parts` and shorter than a block; false if there was no room,
    /// and the line is not written. `keeps` blocks stay free for others. Waits `patience` ticks of the processor's counter at most, and takes off what it
    /// waited.
    pub fn write(
        &mut self,
        parts: &[&[u8]],
        keeps: usize,
        patience: &mut u64,
        now: impl Fn() -> u64,
    ) -> bool {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if self.len + len > BLOCK {
            self.send();
        }
        if len > BLOCK || self.len == 0 && !self.wait(keeps, patience, now) {
            return false;
        }
        self.lines += 1;
        for part in parts {
            self.device.put(self.block, self.len, part);
            self.len += part.len();
        }
        true
    }

    /// Hands over what was written.
    pub fn flush(&mut self) {
        self.send();
        if self.is_silent {
            self.device.notify();
            self.is_silent = false;
        }
    }

    /// How many lines the device refused after they were written, since the last time.
    pub fn take_refused(&mut self) -> u64 {
        core::mem::take(&mut self.lost)
    }

    /// Whether the device holds all blocks.
    pub fn is_full(&mut self) -> bool {
        self.len == 0 && self.free() == 0
    }

    fn send(&mut self) {
        if self.len == 0 {
            return;
        }
        if self.device.send(self.block, self.len) {
            self.block = (self.block + 1) % D::BLOCKS;
            self.is_silent = true;
        } else {
            self.lost += self.lines;
        }
        (self.len, self.lines) = (0, 0);
    }

    /// Whether the next block is free, and so many others.
    fn is_next_free(&mut self, keeps: usize) -> bool {
        self.device.is_free(self.block) && (keeps == 0 || self.free() > keeps)
    }

    fn free(&mut self) -> usize {
        let free = (0..D::BLOCKS).filter(|block| self.device.is_free(*block));
        free.count()
    }

    /// Waits until it is so.
    fn wait(&mut self, keeps: usize, patience: &mut u64, now: impl Fn() -> u64) -> bool {
        if self.is_next_free(keeps) {
            return true;
        }
        self.flush();
        let began = now();
        loop {
            let waited = now().wrapping_sub(began);
            if self.is_next_free(keeps) {
                *patience = patience.saturating_sub(waited);
                return true;
            }
            if waited >= *patience {
                *patience = 0;
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec::Vec;
    use alloc::{format, vec};
    use core::cell::Cell;

    use super::*;

    /// What a host gets, which returns the oldest block at each look when it is willing.
    struct Host {
        blocks: Vec<Vec<u8>>,
        held: Vec<usize>,
        is_willing: bool,
        got: String,
        told: usize,
    }

    impl Host {
        fn new(is_willing: bool) -> Self {
            Self {
                blocks: vec![vec![0; BLOCK]; Self::BLOCKS],
                held: Vec::new(),
                is_willing,
                got: String::new(),
                told: 0,
            }
        }
    }

    impl Device for Host {
        const BLOCKS: usize = 4;

        fn is_free(&mut self, block: usize) -> bool {
            if self.is_willing && !self.held.is_empty() {
                self.held.remove(0);
            }
            !self.held.contains(&block)
        }

        fn put(&mut self, block: usize, at: usize, bytes: &[u8]) {
            assert!(!self.held.contains(&block));
            self.blocks[block][at..at + bytes.len()].copy_from_slice(bytes);
        }

        fn send(&mut self, block: usize, len: usize) -> bool {
            assert!(!self.held.contains(&block) && len > 0);
            self.held.push(block);
            self.got += core::str::from_utf8(&self.blocks[block][..len]).unwrap();
            true
        }

        fn notify(&mut self) {
            self.told += 1;
        }
    }

    #[test]
    fn lines_arrive_whole_in_their_order_and_few_notifications_are_made() {
        let mut outlet = Outlet::new(Host::new(true));
        let mut expected = String::new();
        for number in 0..1000 {
            let text = format!("line {number} {}\n", "x".repeat(number % 200));
            let (first, rest) = text.split_at(4);
            let parts = [first.as_bytes(), rest.as_bytes()];
            outlet.write(&parts, 1, &mut 0, || 0);
            expected += &text;
        }
        outlet.flush();
        outlet.flush();
        assert_eq!(outlet.device.got, expected);
        assert_eq!(outlet.take_refused(), 0);
        assert!(outlet.device.told <= expected.len() / BLOCK + 2);
    }

    #[test]
    fn a_device_that_returns_nothing_costs_patience_and_lines_and_nothing_else() {
        let mut outlet = Outlet::new(Host::new(false));
        let time = Cell::new(0);
        let now = || {
            time.set(time.get() + 1);
            time.get()
        };
        let mut patience = 1000;
        let line = [b'y'; 1000];
        let written = (0..100).filter(|_| outlet.write(&[&line, b"\n"], 0, &mut patience, now));
        // Four lines in each of four blocks.
        assert_eq!(written.count(), 16);
        assert!(outlet.is_full());
        assert_eq!(patience, 0);
        assert!(time.get() < 1000 + 2 * 84 + 10, "{}", time.get());
        // It comes back, and so does the log.
        outlet.device.is_willing = true;
        outlet.device.got.clear();
        assert!(outlet.write(&[b"again\n"], 0, &mut 10, now));
        outlet.flush();
        assert_eq!(outlet.device.got, "again\n");
        assert!(!outlet.is_full());
    }

    #[test]
    fn the_last_block_is_for_who_keeps_none() {
        let mut outlet = Outlet::new(Host::new(false));
        let line = [&[b'y'; 1000][..], b"\n"];
        let written = (0..100).filter(|_| outlet.write(&line, 1, &mut 0, || 0));
        assert_eq!(written.count(), 12);
        let written = (0..100).filter(|_| outlet.write(&line, 0, &mut 0, || 0));
        assert_eq!(written.count(), 4);
    }

    #[test]
    fn half_of_the_blocks_are_for_those_who_have_said_little() {
        let mut outlet = Outlet::new(Host::new(false));
        let mut lines = 0;
        while outlet.has_plenty() {
            assert!(outlet.write(&[&[b'y'; 1000], b"\n"], 0, &mut 0, || 0));
            lines += 1;
        }
        // Two blocks are away, and the third is begun.
        assert_eq!(lines, 9);
        for _ in 0..7 {
            assert!(outlet.write(&[&[b'z'; 1000], b"\n"], 0, &mut 0, || 0));
        }
        assert!(!outlet.write(&[&[b'z'; 1000], b"\n"], 0, &mut 0, || 0));
    }

    #[test]
    fn a_line_longer_than_a_block_is_lost_alone() {
        let mut outlet = Outlet::new(Host::new(true));
        assert!(outlet.write(&[b"a\n"], 0, &mut 0, || 0));
        assert!(!outlet.write(&[&[b'z'; BLOCK + 1]], 0, &mut 0, || 0));
        assert!(outlet.write(&[b"b\n"], 0, &mut 0, || 0));
        outlet.flush();
        assert_eq!(outlet.device.got, "a\nb\n");
    }
}

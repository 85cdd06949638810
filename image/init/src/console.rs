//! How long the monitor waits for a console that is slower than what is logged: it stands
//! above all domains, so that while it waits nobody runs.

/// Bytes that a 16550 takes at once.
pub const FIFO_BYTES: usize = 16;

/// Part of the time that may be spent waiting, and part of a second that may be at once:
/// 3 KiB of a line of 115,200 baud.
const PART: u64 = 8;
const AT_ONCE: u64 = 4;

/// What there is for waiting after a tick, of which there are `ticks` a second, if so much
/// was left before it.
#[must_use]
pub fn patience(left: u64, tsc_hz: u64, ticks: u64) -> u64 {
    let more = tsc_hz / ticks.max(1) / PART;
    left.saturating_add(more).min(tsc_hz / AT_ONCE)
}

/// Sends bytes, waiting `patience` ticks of the processor's counter at most, which it takes
/// off; how many bytes were sent.
pub fn send(
    bytes: &[u8],
    patience: &mut u64,
    is_empty: impl Fn() -> bool,
    put: impl Fn(u8),
    now: impl Fn() -> u64,
) -> usize {
    let mut sent = 0;
    for piece in bytes.chunks(FIFO_BYTES) {
        if !is_empty() {
            let began = now();
            let waited = loop {
                let waited = now().wrapping_sub(began);
                if is_empty() {
                    break Some(waited);
                }
                if waited >= *patience {
                    break None;
                }
            };
            let Some(waited) = waited else {
                *patience = 0;
                return sent;
            };
            *patience = patience.saturating_sub(waited);
        }
        piece.iter().for_each(|byte| put(*byte));
        sent += piece.len();
    }
    sent
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    /// A line that takes so long for 16 bytes; the clock goes on with each look.
    struct Slow {
        now: Cell<u64>,
        free_at: Cell<u64>,
        each: u64,
        got: Cell<usize>,
    }

    impl Slow {
        fn new(each: u64) -> Self {
            Self {
                now: Cell::new(0),
                free_at: Cell::new(0),
                each,
                got: Cell::new(0),
            }
        }

        fn send(&self, bytes: &[u8], patience: &mut u64) -> usize {
            let now = || {
                self.now.set(self.now.get() + 1);
                self.now.get()
            };
            let is_empty = || now() >= self.free_at.get();
            let put = |_| {
                self.got.set(self.got.get() + 1);
                self.free_at.set(self.now.get() + self.each);
            };
            send(bytes, patience, is_empty, put, now)
        }
    }

    #[test]
    fn a_line_that_takes_all_at_once_is_not_waited_for() {
        let line = Slow::new(0);
        let mut patience = 10;
        assert_eq!(line.send(&[0; 1000], &mut patience), 1000);
        assert_eq!((line.got.get(), patience), (1000, 10));
    }

    #[test]
    fn a_slow_line_is_waited_for_as_long_as_there_is_patience_and_the_rest_is_dropped() {
        let line = Slow::new(100);
        let mut patience = 1000;
        let sent = line.send(&[0; 1000], &mut patience);
        assert!((160..=192).contains(&sent), "{sent}");
        assert_eq!((line.got.get(), patience), (sent, 0));
        let before = line.now.get();
        assert_eq!(line.send(&[0; 1000], &mut patience), 0);
        assert!(line.now.get() - before < 5);
        // At the next tick there is more.
        patience = 1000;
        assert!(line.send(&[0; 1000], &mut patience) > 100);
    }

    #[test]
    fn one_that_never_takes_anything_costs_an_eighth_of_the_time() {
        let line = Slow::new(u64::MAX / 2);
        let mut left = u64::MAX;
        for tick in 0..80 {
            left = patience(left, 8_000_000, 8);
            line.send(&[0; 64], &mut left);
            assert_eq!(left, 0, "{tick}");
        }
        // Ten seconds, and what is there at once.
        let allowed = 10 * 8_000_000 / 8 + 2_000_000;
        assert!(line.now.get() < allowed, "{}", line.now.get());
        assert!(line.now.get() > allowed * 9 / 10);
    }
}

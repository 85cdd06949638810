//! What a domain holds, counted before it starts.
//!
//! Each server's library lists, as a table of [`Line`]s, what it holds for each
//! connection, handshake, session or key ring: a count from the system description, times
//! the most bytes of one, a constant made of the library's own limits. The domain's
//! `main.rs` compares their sum with its heap at compile time ([`fits`]), and `cargo
//! xtask policy` prints the table.

/// Bytes of a block's header on the heap (talc: one word for each chunk).
const HEADER: usize = 8;
/// Blocks begin at multiples of this.
const ALIGNMENT: usize = 16;
/// The smallest block.
const SMALLEST: usize = 32;
/// One part in so many of a heap is left for the gaps between blocks, ...
const GAPS: usize = 8;
/// ... up to so many bytes: what makes a heap large is many blocks of one size, which
/// leave no gap that the next does not fit into.
const MOST_GAPS: usize = 1 << 20;

/// Something that is held a number of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it is, for people.
    pub what: &'static str,
    /// How many at once, at most.
    pub count: usize,
    /// Bytes of one on the heap, at most.
    pub bytes: usize,
}

/// Bytes on the heap for a block of `size`.
pub const fn block(size: usize) -> usize {
    let whole = (size + HEADER).next_multiple_of(ALIGNMENT);
    if size == 0 {
        0
    } else if whole < SMALLEST {
        SMALLEST
    } else {
        whole
    }
}

/// The sum of a table, in bytes.
pub const fn total(mut lines: &[Line]) -> usize {
    let mut sum = 0;
    while let [line, rest @ ..] = lines {
        sum += line.count * line.bytes;
        lines = rest;
    }
    sum
}

/// The heap that a table needs, with the gaps between blocks.
pub const fn needed(lines: &[Line]) -> usize {
    let sum = total(lines);
    let gaps = sum / GAPS;
    sum + if gaps < MOST_GAPS { gaps } else { MOST_GAPS }
}

/// Stops the build when a table does not fit its heap.
///
/// # Panics
/// When it does not; at compile time, where the call is in a constant.
pub const fn fits(lines: &[Line], heap: usize) {
    assert!(
        needed(lines) <= heap,
        "this domain can be made to hold more than its heap: see `cargo xtask policy`"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [Line; 2] = [
        Line {
            what: "sessions",
            count: 500,
            bytes: block(1000),
        },
        Line {
            what: "rings",
            count: 3,
            bytes: 7,
        },
    ];

    #[test]
    fn a_table_is_summed_with_headers_and_gaps() {
        assert_eq!(block(0), 0);
        assert_eq!(block(1), 32);
        assert_eq!(block(40), 48);
        assert_eq!(block(41), 64);
        assert_eq!(total(&LINES), 500 * 1008 + 21);
        fits(&LINES, needed(&LINES));
    }

    #[test]
    #[should_panic(expected = "more than its heap")]
    fn a_byte_too_few_is_refused() {
        fits(&LINES, needed(&LINES) - 1);
    }
}

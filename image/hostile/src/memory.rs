//! Lies in all memory that others read: ring indexes, lengths, messages.

use ipc::boot::slot;
use ipc::channel::Doorbell;
use sel4::runtime::Bell;

use crate::Held;
use crate::random::Random;

/// Words at the start of a region that are filled in each round: the indexes.
const HEADER_WORDS: u64 = 4096;

/// Fills the memory that the domain may write, its own stack and heap left out,
/// with numbers that could be indexes, and signals all notifications.
pub(crate) fn lie(held: &Held, random: &mut Random) {
    for (start, bytes) in held.writable {
        let words = (bytes / 8).min(HEADER_WORDS);
        for index in 0..words {
            let value = match random.below(8) {
                0 => 0,
                1 => u64::MAX,
                2 => 1 << random.below(64),
                3 => random.below(1 << 17),
                4 => random.below(1 << 17) << 32 | random.below(1 << 17),
                _ => random.next(),
            };
            let place = (start + index * 8) as *mut u64;
            // SAFETY: the description lets this domain write that region, and
            // nothing else in this program uses it.
            unsafe { place.write_volatile(value) };
        }
    }
    for number in held.signals {
        // SAFETY: the description gives this domain that signal.
        unsafe { Bell::new(slot::cptr(*number)) }.ring();
    }
}

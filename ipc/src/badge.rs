//! How a badge is read.
//!
//! A badge has 28 bits on the embedded kernel. Bit 27 tells a call (set) from a
//! notification (clear), so that a server can wait for both at once. Bits 24–26 of a
//! call's badge say what its holder may request; the rest names the client, or the
//! session and its generation.

/// Set in the badge of every endpoint capability.
pub const CALL: u64 = 1 << 27;

const KIND_SHIFT: u32 = 24;
const KIND_MASK: u64 = 0b111;
const CLIENT_BITS: u32 = 12;
/// Slots have so many bits, generations those that are left.
const SLOT_BITS: u32 = 14;
const GENERATION_BITS: u32 = KIND_SHIFT - SLOT_BITS;

/// Sessions at once that badges can tell apart.
pub const MAX_SESSIONS: u16 = 1 << SLOT_BITS;
/// Generations of a session's slot.
pub const GENERATIONS: u16 = 1 << GENERATION_BITS;

const fn low(word: u64, bits: u32) -> u16 {
    (word & ((1 << bits) - 1)) as u16
}

/// What the holder of an endpoint capability may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Badge {
    /// A client with the rights declared for its number (1–4095).
    Client(u16),
    /// The control authority: the kernel shim at the network stack and at the
    /// record layer.
    Control,
    /// One session in one slot; the generation tells it from previous ones.
    Session {
        /// The session's slot.
        slot: u16,
        /// Counts the uses of the slot, modulo [`GENERATIONS`].
        generation: u16,
    },
}

impl Badge {
    /// The word that the kernel keeps in the capability.
    pub const fn to_word(self) -> u64 {
        CALL | match self {
            Self::Client(number) => number as u64,
            Self::Control => 1 << KIND_SHIFT,
            Self::Session { slot, generation } => {
                (2 << KIND_SHIFT)
                    | (low(generation as u64, GENERATION_BITS) as u64) << SLOT_BITS
                    | low(slot as u64, SLOT_BITS) as u64
            }
        }
    }

    /// Reads a badge that the kernel delivered; `None` for a notification's
    /// badge and for kinds that do not exist.
    pub const fn from_word(word: u64) -> Option<Self> {
        if word & CALL == 0 {
            return None;
        }
        match (word >> KIND_SHIFT) & KIND_MASK {
            0 => Some(Self::Client(low(word, CLIENT_BITS))),
            1 => Some(Self::Control),
            2 => Some(Self::Session {
                slot: low(word, SLOT_BITS),
                generation: low(word >> SLOT_BITS, GENERATION_BITS),
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badge_survives_the_kernel() {
        let session = Badge::Session {
            slot: MAX_SESSIONS - 1,
            generation: GENERATIONS - 1,
        };
        for badge in [Badge::Client(7), Badge::Control, session] {
            assert_eq!(Badge::from_word(badge.to_word()), Some(badge));
            assert!(badge.to_word() < 1 << 28);
        }
    }

    #[test]
    fn a_notification_is_no_badge() {
        assert_eq!(Badge::from_word(1 << 22), None);
        assert_eq!(Badge::from_word(CALL | 5 << KIND_SHIFT), None);
    }
}

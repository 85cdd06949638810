//! What the build tells a program of the system description: numbers alone, no right.

/// The numbers that a program is built with.
pub struct Facts {
    /// Bytes of its heap.
    pub heap: usize,
    /// Each channel of the system, and its slots.
    pub channels: &'static [(&'static str, u16)],
    /// Each domain that signals this one, and the bit of its signals. Interrupts have the
    /// name of their device.
    pub signals: &'static [(&'static str, u64)],
    /// Each application's part of the tables, in their order.
    pub applications: &'static [Share],
    /// An application: handshakes that it may have at once.
    pub handshakes: u16,
}

/// What one application may have at once (`[[application]]` of the system description).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// TCP connections, in any domain that works on them for it.
    pub tcp_connections: u16,
    /// Connections without TLS: slots of their channel.
    pub connections: u16,
    /// Handshakes.
    pub handshakes: u16,
    /// Sessions: slots of its channel of plaintext.
    pub sessions: u16,
}

impl Facts {
    /// Slots of a channel.
    ///
    /// # Panics
    /// There is no such channel: in a constant the program is not built.
    pub const fn slots(&self, channel: &str) -> u16 {
        let mut channels = self.channels;
        while let [(name, slots), rest @ ..] = channels {
            if is(name, channel) {
                return *slots;
            }
            channels = rest;
        }
        panic!("no such channel")
    }

    /// The bit of signals from a domain or a device.
    ///
    /// # Panics
    /// It does not signal this domain: in a constant the program is not built.
    pub const fn signal_from(&self, peer: &str) -> u64 {
        let mut signals = self.signals;
        while let [(name, bit), rest @ ..] = signals {
            if is(name, peer) {
                return *bit;
            }
            signals = rest;
        }
        panic!("nobody of this name signals this domain")
    }
}

const fn is(name: &str, other: &str) -> bool {
    let (mut left, mut right) = (name.as_bytes(), other.as_bytes());
    while let ([a, rest_left @ ..], [b, rest_right @ ..]) = (left, right) {
        if *a != *b {
            return false;
        }
        (left, right) = (rest_left, rest_right);
    }
    left.is_empty() && right.is_empty()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const FACTS: Facts = Facts {
        heap: 0,
        channels: &[("orders", 3), ("order", 5)],
        signals: &[("director", 1), ("nic", 2)],
        applications: &[],
        handshakes: 0,
    };

    #[test]
    fn numbers_are_found_by_the_whole_name() {
        assert_eq!((FACTS.slots("order"), FACTS.slots("orders")), (5, 3));
        assert_eq!(FACTS.signal_from("nic"), 2);
    }

    #[test]
    #[should_panic(expected = "no such channel")]
    fn a_channel_that_is_none_has_no_slots() {
        let _ = FACTS.slots("orders-");
    }

    #[test]
    #[should_panic(expected = "nobody of this name")]
    fn who_does_not_signal_has_no_bit() {
        let _ = FACTS.signal_from("dir");
    }
}

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

    /// Whether so many handshakes and sessions are what all applications have together:
    /// every slot is one application's.
    pub const fn is_shared_out(&self, handshakes: u16, sessions: u16) -> bool {
        let (mut all_handshakes, mut all_sessions) = (0_u32, 0_u32);
        let mut applications = self.applications;
        while let [share, rest @ ..] = applications {
            all_handshakes += share.handshakes as u32;
            all_sessions += share.sessions as u32;
            applications = rest;
        }
        all_handshakes == handshakes as u32 && all_sessions == sessions as u32
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
    fn slots_are_shared_out_when_each_is_one_application_s() {
        const fn share(handshakes: u16, sessions: u16) -> Share {
            Share {
                tcp_connections: 0,
                connections: 0,
                handshakes,
                sessions,
            }
        }
        const SHARES: &[Share] = &[share(2, 30), share(1, 12)];
        let facts = Facts {
            applications: SHARES,
            ..FACTS
        };
        assert!(facts.is_shared_out(3, 42));
        for (handshakes, sessions) in [(2, 42), (4, 42), (3, 41), (3, 43), (0, 0)] {
            assert!(!facts.is_shared_out(handshakes, sessions));
        }
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

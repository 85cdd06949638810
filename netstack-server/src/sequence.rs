//! TCP sequence numbers: comparing them, and seeds for the first one.

use core::cmp::Ordering;
use core::net::IpAddr;

use ipc::clock::Instant;
use siphasher::sip::SipHasher24;

/// Whether `a` is after `b` in the sequence space (RFC 9293 §3.4).
pub(crate) fn is_after(a: u32, b: u32) -> bool {
    let distance = a.wrapping_sub(b);
    distance != 0 && distance < 1 << 31
}

/// The two ends of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tuple {
    pub(crate) remote_port: u16,
    pub(crate) local_port: u16,
    pub(crate) remote: IpAddr,
    pub(crate) local: IpAddr,
}

impl Tuple {
    /// The remote port first: it tells most connections apart.
    fn ports(&self) -> u32 {
        u32::from(self.remote_port) << 16 | u32::from(self.local_port)
    }

    #[inline(never)]
    fn by_addresses(&self, other: &Self) -> Ordering {
        // Mostly it is the one that was looked for; equality is quicker to see.
        if self == other {
            return Ordering::Equal;
        }
        (self.remote, self.local).cmp(&(other.remote, other.local))
    }
}

impl Ord for Tuple {
    /// Written down because each frame looks for its connection: ports are compared at
    /// once and without a call, addresses only where ports are the same.
    #[inline(always)]
    fn cmp(&self, other: &Self) -> Ordering {
        match self.ports().cmp(&other.ports()) {
            Ordering::Equal => self.by_addresses(other),
            apart => apart,
        }
    }
}

impl PartialOrd for Tuple {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Makes numbers that can't be guessed without the key, whatever other numbers of this
/// source are known (RFC 6528 §3, with SipHash-2-4 as the function and a counter instead
/// of the clock).
pub(crate) struct Unpredictable {
    hasher: SipHasher24,
    drawn: u64,
    ports: u64,
}

impl Unpredictable {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self {
            hasher: SipHasher24::new_with_key(&key),
            drawn: 0,
            ports: 0,
        }
    }

    /// A number for one connection, never the same twice.
    pub(crate) fn draw(&mut self, tuple: &Tuple, now: Instant) -> u64 {
        self.drawn = self.drawn.wrapping_add(1);
        self.hash(tuple, [self.drawn, now.as_nanos()])
    }

    /// A number for the local port of a connection, whatever port `tuple` has. To one
    /// destination they count up from a start that can't be guessed, so that a port is
    /// reused as late as possible: the other end may keep the last connection in
    /// TIME-WAIT (RFC 6056 §3.3.3).
    pub(crate) fn local_port(&mut self, tuple: &Tuple) -> u64 {
        self.ports = self.ports.wrapping_add(1);
        let destination = Tuple {
            local_port: 0,
            ..*tuple
        };
        self.hash(&destination, [0, 0]).wrapping_add(self.ports)
    }

    fn hash(&self, tuple: &Tuple, [count, time]: [u64; 2]) -> u64 {
        let words = |ip: IpAddr| {
            let bits = match ip {
                IpAddr::V4(ip) => u128::from(u32::from(ip)),
                IpAddr::V6(ip) => u128::from(ip),
            };
            [(bits >> 64) as u64, bits as u64]
        };
        let [a, b] = words(tuple.remote);
        let [c, d] = words(tuple.local);
        let ports = u64::from(tuple.remote_port) << 16 | u64::from(tuple.local_port);
        let mut bytes = [0; 7 * 8];
        let words = [a, b, c, d, ports, count, time];
        for (place, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        self.hasher.hash(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_ports_count_and_time_are_hashed_under_the_key() {
        let key = core::array::from_fn(|place| place as u8);
        let mut source = Unpredictable::new(key);
        let tuple = Tuple {
            remote_port: 1,
            local_port: 2,
            remote: IpAddr::from([10, 0, 0, 1]),
            local: IpAddr::from([10, 0, 0, 2]),
        };
        // Another implementation's, over the words of all of them.
        let expected = 0x9a0d_1d1d_d746_ec73;
        assert_eq!(source.draw(&tuple, Instant::from_millis(5)), expected);
    }

    #[test]
    fn tuples_are_in_the_order_of_ports_and_then_of_addresses() {
        let ips = ["10.0.2.1", "10.0.2.2", "::1", "fe80::1"].map(|ip| ip.parse().unwrap());
        let mut parts = Vec::new();
        for remote_port in [1, 2, 0x100, u16::MAX] {
            for local_port in [1, 443, u16::MAX] {
                for (remote, local) in ips.iter().flat_map(|a| ips.map(|b| (*a, b))) {
                    parts.push((remote_port, local_port, remote, local));
                }
            }
        }
        let tuple = |(remote_port, local_port, remote, local)| Tuple {
            remote_port,
            local_port,
            remote,
            local,
        };
        for a in &parts {
            for b in &parts {
                assert_eq!(tuple(*a).cmp(&tuple(*b)), a.cmp(b));
            }
        }
    }

    #[test]
    fn the_sequence_space_wraps() {
        assert!(is_after(5, u32::MAX - 5));
        assert!(!is_after(u32::MAX - 5, 5));
        assert!(!is_after(7, 7));
    }

    #[test]
    fn local_ports_to_one_destination_come_again_only_after_all_others() {
        let tuple = Tuple {
            remote_port: 443,
            local_port: 0,
            remote: IpAddr::from([10, 0, 0, 1]),
            local: IpAddr::from([10, 0, 0, 2]),
        };
        let mut source = Unpredictable::new([7; 16]);
        let mut seen = std::collections::HashSet::new();
        let ports = 1 << 14;
        for _ in 0..ports {
            assert!(seen.insert(source.local_port(&tuple) % ports));
        }
        let elsewhere = Tuple {
            remote_port: 444,
            ..tuple
        };
        let apart = source
            .local_port(&elsewhere)
            .abs_diff(source.local_port(&tuple));
        assert!(apart > ports, "the start is the same everywhere");
    }

    #[test]
    fn the_same_connection_never_gets_the_same_number_again() {
        let tuple = Tuple {
            remote_port: 1,
            local_port: 2,
            remote: IpAddr::from([10, 0, 0, 1]),
            local: IpAddr::from([10, 0, 0, 2]),
        };
        let mut source = Unpredictable::new([7; 16]);
        let now = Instant::default();
        assert_ne!(source.draw(&tuple, now), source.draw(&tuple, now));
    }
}

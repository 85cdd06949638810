//! TCP sequence numbers: comparing them, and seeds for the first one.

use core::cmp::Ordering;
use core::net::IpAddr;

use ipc::clock::Instant;

/// Whether `a` is behind `b` in the sequence space (RFC 9293 §3.4).
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
    key: [u64; 2],
    drawn: u64,
    ports: u64,
}

impl Unpredictable {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        let [a, b] = [0, 8].map(|at| {
            let mut half = [0; 8];
            half.copy_from_slice(key.get(at..at + 8).unwrap_or(&[0; 8]));
            u64::from_le_bytes(half)
        });
        Self {
            key: [a, b],
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
        siphash(self.key, &[a, b, c, d, ports, count, time])
    }
}

/// SipHash-2-4 (Aumasson and Bernstein, 2012) over whole words.
fn siphash(key: [u64; 2], words: &[u64]) -> u64 {
    let [k0, k1] = key;
    let mut state = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let length = (words.len() as u64 * 8) << 56;
    for word in words.iter().copied().chain([length]) {
        let [a, b, c, d] = state;
        let [a, b, c, d] = sip_round(sip_round([a, b, c, d ^ word]));
        state = [a ^ word, b, c, d];
    }
    let [a, b, c, d] = state;
    let mut state = [a, b, c ^ 0xff, d];
    for _ in 0..4 {
        state = sip_round(state);
    }
    state.into_iter().fold(0, |sum, word| sum ^ word)
}

fn sip_round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siphash_agrees_with_its_published_vectors() {
        // Appendix A's key 00..0f; inputs of 0 and 8 bytes from the reference
        // implementation's table.
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        assert_eq!(siphash(key, &[]), 0x726f_db47_dd0e_0e31);
        assert_eq!(
            siphash(key, &[0x0706_0504_0302_0100]),
            0x93f5_f579_9a93_2462
        );
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

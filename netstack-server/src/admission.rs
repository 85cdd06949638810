//! How many connections a peer has, and who gives way.
//!
//! A SYN is answered as long as there is something that can give way: first a
//! connection that is over, then one that nobody owns any more, then the oldest
//! that is half open. What somebody owns is his to give up. Where nothing can
//! give way, and where one peer has its share, the answer is a reset.

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::{IpAddr, Ipv6Addr};

use ipc::clock::Instant;
use ipc::provision::PortLimit;

/// One peer of one port: an IPv4 address, or the 64 bits of an IPv6 address that
/// a network is given as a whole (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Peer {
    port: u16,
    prefix: IpAddr,
}

impl Peer {
    pub(crate) fn new(port: u16, ip: IpAddr) -> Self {
        let prefix = match ip {
            IpAddr::V4(_) => ip,
            IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) >> 64 << 64).into(),
        };
        Self { port, prefix }
    }
}

/// How many connections each peer has. Those without any are not in the table,
/// so that it has no more entries than there are connections.
pub(crate) struct Peers {
    limits: BTreeMap<u16, u16>,
    counts: BTreeMap<Peer, u16>,
}

impl Peers {
    pub(crate) fn new(limits: &[PortLimit]) -> Self {
        let limits = limits.iter().map(|limit| (limit.port, limit.per_peer));
        Self {
            limits: limits.collect(),
            counts: BTreeMap::new(),
        }
    }

    /// Whether the peer may have one more.
    pub(crate) fn has_room(&self, peer: Peer) -> bool {
        let count = self.counts.get(&peer).copied().unwrap_or(0);
        self.limits.get(&peer.port).is_none_or(|most| count < *most)
    }

    /// Counts one more, where that matters.
    pub(crate) fn add(&mut self, peer: Peer) {
        if self.limits.contains_key(&peer.port) {
            let count = self.counts.entry(peer).or_insert(0);
            *count = count.saturating_add(1);
        }
    }

    /// Counts one less.
    pub(crate) fn remove(&mut self, peer: Peer) {
        if let Some(count) = self.counts.get_mut(&peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&peer);
            }
        }
    }
}

/// Why a connection may give way, those that go first first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// It waits for stray segments alone.
    Over,
    /// Nobody owns it; it sends what was written.
    Lingering,
    /// Its peer has not shown that it is there.
    HalfOpen,
}

/// Connections that may give way, each once: by rank, then the oldest first.
pub(crate) struct Yielding(BTreeSet<(Rank, Instant, u32)>);

impl Yielding {
    pub(crate) const fn new() -> Self {
        Self(BTreeSet::new())
    }

    /// The connection at `index` stands at `now` instead of `before`.
    pub(crate) fn change(
        &mut self,
        index: u32,
        before: Option<(Rank, Instant)>,
        now: Option<(Rank, Instant)>,
    ) {
        if before == now {
            return;
        }
        if let Some((rank, since)) = before {
            self.0.remove(&(rank, since, index));
        }
        if let Some((rank, since)) = now {
            self.0.insert((rank, since, index));
        }
    }

    /// Who gives way next.
    pub(crate) fn first(&self) -> Option<u32> {
        self.0.first().map(|(_, _, index)| *index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: PortLimit = PortLimit {
        port: 443,
        per_peer: 3,
    };

    #[test]
    fn a_peer_has_its_share_of_a_port_and_no_more() {
        let mut peers = Peers::new(&[LIMIT]);
        let peer = Peer::new(443, IpAddr::from([192, 0, 2, 1]));
        let other = Peer::new(443, IpAddr::from([192, 0, 2, 2]));
        for _ in 0..3 {
            assert!(peers.has_room(peer));
            peers.add(peer);
        }
        assert!(!peers.has_room(peer) && peers.has_room(other));
        peers.remove(peer);
        assert!(peers.has_room(peer));
        for _ in 0..5 {
            peers.remove(peer);
        }
        assert!(peers.counts.is_empty());
        // Nobody counts where there is no limit.
        let free = Peer::new(80, IpAddr::from([192, 0, 2, 1]));
        peers.add(free);
        assert!(peers.counts.is_empty() && peers.has_room(free));
    }

    #[test]
    fn a_peer_of_ipv6_is_its_network() {
        let peer = |ip: &str| Peer::new(443, ip.parse().unwrap());
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:0:0:2"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
    }

    #[test]
    fn who_is_over_gives_way_before_who_lingers_and_both_before_who_is_half_open() {
        let mut yielding = Yielding::new();
        let at = Instant::from_millis;
        yielding.change(1, None, Some((Rank::HalfOpen, at(1))));
        yielding.change(2, None, Some((Rank::Lingering, at(9))));
        yielding.change(3, None, Some((Rank::Lingering, at(8))));
        yielding.change(4, None, Some((Rank::Over, at(7))));
        for (expected, rank, since) in [
            (4, Rank::Over, 7),
            (3, Rank::Lingering, 8),
            (2, Rank::Lingering, 9),
            (1, Rank::HalfOpen, 1),
        ] {
            assert_eq!(yielding.first(), Some(expected));
            yielding.change(expected, Some((rank, at(since))), None);
        }
        assert_eq!(yielding.first(), None);
    }
}

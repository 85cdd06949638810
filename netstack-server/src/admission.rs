//! How many connections a peer has, and which one is evicted.
//!
//! A SYN is answered as long as something can be evicted: first a connection that is
//! over, then one without an owner whose peer takes too little, then the oldest that is
//! half open or quiet. One without an owner that still sends is evicted for a SYN only if
//! its peer has many of them: else the SYN has no answer, and comes again. Only the owner can give up a connection that has
//! one. Where all have, and where one peer has its share, the answer is a reset.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::net::IpAddr;
use core::time::Duration;

use ipc::clock::Instant;

use crate::list::{Links, List};

/// One peer of one port: an IPv4 address, or the prefix of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Peer {
    port: u16,
    /// Of the address in IPv6's form, in the order of the network.
    prefix: [u8; 16],
}

impl Peer {
    pub(crate) fn new(port: u16, ip: IpAddr, ipv6_prefix: u8) -> Self {
        let (address, bits) = match ip {
            IpAddr::V4(ip) => (ip.to_ipv6_mapped().to_bits(), 128),
            IpAddr::V6(ip) => (ip.to_bits(), ipv6_prefix.min(128)),
        };
        let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
        Self {
            port,
            prefix: (address & mask).to_be_bytes(),
        }
    }
}

/// What one peer has.
#[derive(Clone, Copy, Default)]
pub(crate) struct Count {
    /// Connections that count against its share.
    open: u16,
    /// Those that their owner has released, and that are not gone yet.
    released: u16,
    /// The same, in that order.
    list: List,
    /// Those of the first that are quiet, the oldest first.
    quiet: List,
}

/// A peer with more released connections than [`MOST_RELEASED`], in order of those.
pub(crate) type Crowd = (u16, Peer);

/// How many connections each peer has. Those without any are not in the table,
/// so that it has no more entries than there are connections.
pub(crate) struct Peers {
    counts: BTreeMap<Peer, Count>,
    crowds: BTreeSet<Crowd>,
    links: Links,
}

impl Peers {
    /// For as many connections.
    pub(crate) fn new(connections: usize) -> Self {
        Self {
            counts: BTreeMap::new(),
            crowds: BTreeSet::new(),
            links: Links::new(connections),
        }
    }

    /// Counts one more; how many are open.
    pub(crate) fn add(&mut self, peer: Peer) -> u16 {
        let count = self.counts.entry(peer).or_default();
        count.open = count.open.saturating_add(1);
        count.open
    }

    /// The one at `index`, which was counted, is released by its owner.
    pub(crate) fn release(&mut self, peer: Peer, index: u32) {
        if let Some(count) = self.counts.get_mut(&peer) {
            count.open = count.open.saturating_sub(1);
            count.quiet.remove(&mut self.links, index);
            count.list.push(&mut self.links, index);
            let before = count.released;
            count.released = before.saturating_add(1);
            let now = count.released;
            self.rank(peer, before, now);
        }
    }

    /// The one at `index`, which is open, is quiet, or is not so any more.
    pub(crate) fn note_quiet(&mut self, peer: Peer, index: u32, is_quiet: bool) {
        if let Some(count) = self.counts.get_mut(&peer) {
            match is_quiet {
                true => count.quiet.push(&mut self.links, index),
                false => count.quiet.remove(&mut self.links, index),
            }
        }
    }

    /// The quiet one of a peer that has been so for longest.
    pub(crate) fn oldest_quiet(&self, peer: Peer) -> Option<u32> {
        self.counts.get(&peer)?.quiet.first()
    }

    /// The one at `index`, which is open, is gone.
    pub(crate) fn remove(&mut self, peer: Peer, index: u32) {
        if let Some(count) = self.counts.get_mut(&peer) {
            count.open = count.open.saturating_sub(1);
            count.quiet.remove(&mut self.links, index);
            self.clean(peer);
        }
    }

    /// The one at `index`, which is released, is gone.
    pub(crate) fn remove_released(&mut self, peer: Peer, index: u32) {
        if let Some(count) = self.counts.get_mut(&peer) {
            count.list.remove(&mut self.links, index);
            let before = count.released;
            count.released = before.saturating_sub(1);
            let now = count.released;
            self.rank(peer, before, now);
            self.clean(peer);
        }
    }

    /// A peer has so many released connections `now`.
    fn rank(&mut self, peer: Peer, before: u16, now: u16) {
        if before > MOST_RELEASED {
            self.crowds.remove(&(before, peer));
        }
        if now > MOST_RELEASED {
            self.crowds.insert((now, peer));
        }
    }

    fn clean(&mut self, peer: Peer) {
        let count = self.counts.get(&peer);
        if count.is_some_and(|count| (count.open, count.released) == (0, 0)) {
            self.counts.remove(&peer);
        }
    }

    /// The connection that was released first of the peer that has most, if those are more
    /// than [`MOST_RELEASED`].
    pub(crate) fn crowding(&self) -> Option<u32> {
        let (_, peer) = self.crowds.last()?;
        self.counts.get(peer)?.list.first()
    }
}

/// Why a connection may be evicted, in the order of eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rank {
    /// It waits for stray segments, or for the peer's end alone.
    Over,
    /// It has no owner; it sends what was written. By when its peer had taken
    /// [`LEAST_TAKEN`] last.
    Lingering,
    /// Its peer has not shown that it is there.
    HalfOpen,
    /// It has, and has not said what its listener waits for.
    Quiet,
}

/// Connections that may be evicted, each once: by rank, then the oldest first. Most are
/// added and removed near an end, and there is room for all from the start: an ordered
/// list costs less than a tree.
pub(crate) struct Yielding(VecDeque<u128>);

/// A peer that takes less than [`LEAST_TAKEN`] of a released connection for so long makes
/// room for others: longer than the first retransmission (RFC 6298 §2).
pub(crate) const STALLED: Duration = Duration::from_secs(2);

/// Bytes within [`STALLED`]: 512 a second, as Apache's `RequestReadTimeout` asks of a
/// client (`MinRate=500`).
pub(crate) const LEAST_TAKEN: u32 = 1024;

/// Released connections of one peer that send, and that no SYN evicts: two browsers with
/// six connections each have fewer. Of the peer that has most, those above give way.
pub(crate) const MOST_RELEASED: u16 = 16;

/// Connections that are over and keep their socket at once: Linux bounds them too
/// (`tcp_max_tw_buckets`). Its memory is worth more to those that are not.
pub(crate) const MOST_OVER: usize = 64;

fn place((rank, since): (Rank, Instant), index: u32) -> u128 {
    (rank as u128) << 96 | u128::from(since.as_nanos()) << 32 | u128::from(index)
}

impl Yielding {
    /// With room for as many.
    pub(crate) fn new(connections: usize) -> Self {
        Self(VecDeque::with_capacity(connections))
    }

    /// The connection at `index` is at `now` instead of `before`.
    #[inline]
    pub(crate) fn change(
        &mut self,
        index: u32,
        before: Option<(Rank, Instant)>,
        now: Option<(Rank, Instant)>,
    ) {
        if before != now {
            self.put(index, before, now);
        }
    }

    fn put(&mut self, index: u32, before: Option<(Rank, Instant)>, now: Option<(Rank, Instant)>) {
        if let Some(before) = before
            && let Ok(at) = self.0.binary_search(&place(before, index))
        {
            self.0.remove(at);
        }
        if let Some(now) = now
            && let Err(at) = self.0.binary_search(&place(now, index))
        {
            self.0.insert(at, place(now, index));
        }
    }

    /// Those of one rank, the oldest first, and since when they have it.
    pub(crate) fn of(&self, rank: Rank) -> impl Iterator<Item = (u32, Instant)> {
        let from = self
            .0
            .partition_point(|at| *at < place((rank, Instant::default()), 0));
        let places = self.0.range(from..);
        places
            .take_while(move |at| **at >> 96 == rank as u128)
            .map(|at| (*at as u32, Instant::from_nanos((*at >> 32) as u64)))
    }

    /// Which connection is evicted next. Of the half-open and the quiet the larger group:
    /// neither forged SYNs nor quiet clients evict the others. The end of an answer that
    /// is on its way is not among them.
    pub(crate) fn first(&self, half_open: usize, quiet: usize, now: Instant) -> Option<u32> {
        let [then, last] = match quiet > half_open {
            true => [Rank::Quiet, Rank::HalfOpen],
            false => [Rank::HalfOpen, Rank::Quiet],
        };
        let oldest = |rank| self.of(rank).next().map(|(index, _)| index);
        let stalled = self.of(Rank::Lingering).next();
        let stalled = stalled.filter(|(_, since)| now >= *since + STALLED);
        oldest(Rank::Over)
            .or(stalled.map(|(index, _)| index))
            .or_else(|| oldest(then))
            .or_else(|| oldest(last))
    }

    /// The oldest that is over, if there are more than [`MOST_OVER`].
    pub(crate) fn superfluous(&self) -> Option<u32> {
        let over = self.of(Rank::Over).next();
        let beyond = self.0.get(MOST_OVER);
        let is_over = |at: &&u128| **at < place((Rank::Lingering, Instant::default()), 0);
        beyond.filter(is_over).and(over).map(|(index, _)| index)
    }

    /// The one without an owner that sends, and whose peer has got on least.
    pub(crate) fn first_sending(&self) -> Option<u32> {
        self.of(Rank::Lingering).next().map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(ip: &str) -> Peer {
        Peer::new(443, ip.parse().unwrap(), 64)
    }

    #[test]
    fn a_peer_is_counted_as_long_as_it_has_a_connection() {
        let mut peers = Peers::new(0);
        let one = peer("192.0.2.1");
        assert_eq!([(); 3].map(|()| peers.add(one)), [1, 2, 3]);
        assert_eq!(peers.add(peer("192.0.2.2")), 1);
        peers.remove(one, 0);
        assert_eq!(peers.add(one), 3);
        for _ in 0..5 {
            peers.remove(one, 0);
        }
        assert_eq!(peers.counts.len(), 1);
    }

    #[test]
    fn of_released_connections_those_of_the_peer_that_has_most_give_way() {
        const MOST: u32 = MOST_RELEASED as u32;
        let mut peers = Peers::new(100);
        let [few, many] = ["192.0.2.1", "192.0.2.2"].map(peer);
        let mut release = |peer, indexes: core::ops::Range<u32>| {
            for index in indexes {
                peers.add(peer);
                peers.release(peer, index);
            }
            peers.crowding()
        };
        assert_eq!(release(few, 0..MOST), None);
        // The first of those that have more.
        assert_eq!(release(many, 50..51 + MOST), Some(50));
        assert_eq!(release(few, MOST..MOST + 2), Some(0));
        peers.remove_released(few, 0);
        peers.remove_released(many, 51);
        assert_eq!(peers.crowding(), Some(1));
        // They do not count against a peer's share.
        assert_eq!(peers.add(few), 1);
        peers.remove_released(few, 1);
        assert_eq!(peers.crowding(), None);
        for index in 0..100 {
            let whose = if index < 50 { few } else { many };
            let is_left =
                index > 1 && index < 2 + MOST || index == 50 || index > 51 && index < 51 + MOST;
            if is_left {
                peers.remove_released(whose, index);
            }
        }
        peers.remove(few, 99);
        assert!(peers.counts.is_empty() && peers.crowds.is_empty());
    }

    #[test]
    fn a_peer_of_ipv6_is_its_network() {
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:0:0:2"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
        let whole = |ip: &str, bits| Peer::new(443, ip.parse().unwrap(), bits);
        assert_ne!(whole("2001:db8::1", 128), whole("2001:db8::2", 128));
        assert_eq!(whole("2001:db8::1", 0), whole("::2", 0));
        assert_ne!(whole("192.0.2.1", 0), whole("192.0.2.2", 0));
    }

    #[test]
    fn of_those_that_are_over_the_oldest_is_one_too_many() {
        const MOST: u32 = MOST_OVER as u32;
        let mut yielding = Yielding::new(100);
        let at = |number| Some((Rank::Over, Instant::from_millis(number)));
        for number in 0..MOST {
            yielding.change(number, None, at(90 - u64::from(number)));
        }
        yielding.change(98, None, Some((Rank::Lingering, Instant::default())));
        assert_eq!(yielding.superfluous(), None);
        yielding.change(99, None, at(91));
        assert_eq!(yielding.superfluous(), Some(MOST - 1));
    }

    #[test]
    fn who_is_over_gives_way_first_and_who_still_sends_to_no_syn() {
        let mut yielding = Yielding::new(4);
        let at = Instant::from_millis;
        let now = at(2009);
        yielding.change(1, None, Some((Rank::HalfOpen, at(1))));
        yielding.change(2, None, Some((Rank::Lingering, at(9))));
        yielding.change(3, None, Some((Rank::Lingering, at(10))));
        yielding.change(4, None, Some((Rank::Over, at(7))));
        assert_eq!(yielding.superfluous(), None);
        for (expected, rank, since) in [
            (4, Rank::Over, 7),
            // For two seconds its peer has taken nothing.
            (2, Rank::Lingering, 9),
            (1, Rank::HalfOpen, 1),
        ] {
            assert_eq!(yielding.first(1, 0, now), Some(expected));
            yielding.change(expected, Some((rank, at(since))), None);
        }
        assert_eq!(yielding.first(0, 0, now), None);
        assert_eq!(yielding.first_sending(), Some(3));
        yielding.change(3, Some((Rank::Lingering, at(10))), None);
        assert_eq!(yielding.first_sending(), None);
        // Of the others, those that are more.
        yielding.change(5, None, Some((Rank::HalfOpen, at(2))));
        yielding.change(6, None, Some((Rank::Quiet, at(1))));
        yielding.change(7, None, Some((Rank::Quiet, at(3))));
        assert_eq!(yielding.first(1, 2, now), Some(6));
        assert_eq!(yielding.first(2, 2, now), Some(5));
        assert!(yielding.of(Rank::Quiet).eq([(6, at(1)), (7, at(3))]));
        assert_eq!(yielding.of(Rank::Lingering).next(), None);
        yielding.change(5, Some((Rank::HalfOpen, at(2))), None);
        assert_eq!(yielding.first(9, 2, now), Some(6));
    }
}

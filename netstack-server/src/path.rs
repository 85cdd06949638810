//! The largest packet that a path carries (RFC 1191, RFC 8201), and who may say
//! so.
//!
//! Segments go out with "don't fragment". A router that can't pass one on says how large
//! it may be; a forged message can make a connection slow, so it is accepted for a
//! segment in flight alone (RFC 5927 §7), within limits, and only downwards.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use ipc::clock::Instant;

use crate::parse::{IPV4, IPV6, PROTOCOL_TCP};
use crate::sequence::Tuple;

/// Type of an ICMPv6 message (RFC 4443 §3.2).
pub(crate) const PACKET_TOO_BIG: u8 = 2;

/// What every host takes (RFC 791 §3.1), and the packet of TCP's default segment
/// size (RFC 9293 §3.7.1): no path that is in use today carries less.
pub(crate) const LEAST_IPV4: u16 = 576;

/// What every link carries (RFC 8200 §5); a message that says less is not for
/// believing (RFC 8201 §4).
pub(crate) const LEAST_IPV6: u16 = 1280;

/// How long a path is taken to be narrow (RFC 1191 §6.3, RFC 8201 §4).
pub(crate) const REMEMBERED: Duration = Duration::from_secs(600);

/// Narrow paths that are kept; the oldest is evicted.
pub(crate) const PATHS: usize = 64;

/// Sizes of links that there are (RFC 1191 §7), for routers that don't say.
const PLATEAUS: [u16; 4] = [1492, 1006, 508, 296];

/// A router's claim that a packet was too big.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooBig {
    /// As this system sees it: its own end is local.
    pub(crate) tuple: Tuple,
    /// Of the segment's first byte.
    pub(crate) sequence: u32,
    /// Bytes of the packet.
    length: u16,
    /// Bytes of the largest that would have passed; 0 if the router does not
    /// say (IPv4).
    limit: u32,
}

impl TooBig {
    /// Bytes of the largest packet from now on, if packets of up to `current`
    /// were sent before; `None` if the message must be ignored.
    pub(crate) fn lowered(&self, current: u16) -> Option<u16> {
        let length = self.length.min(current);
        let limit = match (self.limit, self.tuple.remote) {
            (0, IpAddr::V4(_)) => *PLATEAUS.iter().find(|plateau| **plateau < length)?,
            // A message that says that a fitting packet does not fit is forged.
            (limit, _) => u16::try_from(limit).ok().filter(|l| *l < self.length)?,
        };
        let limit = match self.tuple.remote {
            IpAddr::V4(_) => limit.max(LEAST_IPV4),
            IpAddr::V6(_) if limit < LEAST_IPV6 => return None,
            IpAddr::V6(_) => limit,
        };
        (limit < current).then_some(limit)
    }
}

/// Reads "fragmentation needed" (RFC 1191 §4), checksum and type known to be
/// right.
pub(crate) fn icmp(message: &[u8]) -> Option<TooBig> {
    let (header, quoted) = message.split_first_chunk::<8>()?;
    let (ip, tcp) = quoted.split_first_chunk::<IPV4>()?;
    let address = |at: usize| Some(Ipv4Addr::from(*ip.get(at..)?.first_chunk::<4>()?));
    // What this system sends has no options and is no fragment.
    let is_ours = ip[0] == 0x45 && ip[9] == PROTOCOL_TCP && ip[6] & 0x3f == 0 && ip[7] == 0;
    let length = u16::from_be_bytes([ip[2], ip[3]]);
    let limit = u32::from(u16::from_be_bytes([header[6], header[7]]));
    let (local, remote) = (address(12)?.into(), address(16)?.into());
    is_ours.then_some(quoted_segment(tcp, local, remote, length, limit)?)
}

/// Reads "packet too big" (RFC 4443 §3.2), checksum and type known to be right.
pub(crate) fn icmpv6(message: &[u8]) -> Option<TooBig> {
    let (header, quoted) = message.split_first_chunk::<8>()?;
    let (ip, tcp) = quoted.split_first_chunk::<IPV6>()?;
    let address = |at: usize| Some(Ipv6Addr::from(*ip.get(at..)?.first_chunk::<16>()?));
    let is_ours = ip[0] >> 4 == 6 && ip[6] == PROTOCOL_TCP;
    let length = u16::from_be_bytes([ip[4], ip[5]]).checked_add(IPV6 as u16)?;
    let limit = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let (local, remote) = (address(8)?.into(), address(24)?.into());
    is_ours.then_some(quoted_segment(tcp, local, remote, length, limit)?)
}

/// Eight bytes are quoted at the least (RFC 792): ports and sequence number.
fn quoted_segment(
    tcp: &[u8],
    local: IpAddr,
    remote: IpAddr,
    length: u16,
    limit: u32,
) -> Option<TooBig> {
    let [a, b, c, d, sequence @ ..] = *tcp.first_chunk::<8>()?;
    Some(TooBig {
        tuple: Tuple {
            remote_port: u16::from_be_bytes([c, d]),
            local_port: u16::from_be_bytes([a, b]),
            remote,
            local,
        },
        sequence: u32::from_be_bytes(sequence),
        length,
        limit,
    })
}

/// A path that is narrower than this system's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Narrow {
    /// Bytes of the largest packet.
    pub(crate) limit: u16,
    pub(crate) until: Instant,
}

/// Where narrow paths lead.
pub(crate) struct Paths(Vec<(IpAddr, Narrow)>);

impl Paths {
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(PATHS))
    }

    pub(crate) fn note(&mut self, to: IpAddr, narrow: Narrow) {
        self.0.retain(|(known, _)| *known != to);
        if self.0.len() >= PATHS {
            self.0.remove(0);
        }
        self.0.push((to, narrow));
    }

    pub(crate) fn find(&self, to: IpAddr, now: Instant) -> Option<Narrow> {
        let mut paths = self.0.iter();
        let (_, narrow) = paths.find(|(known, _)| *known == to)?;
        (now < narrow.until).then_some(*narrow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(remote: IpAddr, length: u16, limit: u32) -> TooBig {
        TooBig {
            tuple: Tuple {
                remote_port: 1,
                local_port: 2,
                remote,
                local: remote,
            },
            sequence: 0,
            length,
            limit,
        }
    }

    #[test]
    fn no_word_raises_the_limit_or_lowers_it_below_what_every_path_carries() {
        let v4 = IpAddr::from([198, 51, 100, 1]);
        let v6 = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
        for current in [576, 1280, 1400, 1500] {
            for length in [0, 40, 576, 577, 1000, 1280, 1500, u16::MAX] {
                for limit in (0..=1600).chain([0xffff, 0x1_0000, 0x1_0500, u32::MAX]) {
                    if let Some(found) = word(v4, length, limit).lowered(current) {
                        assert!((LEAST_IPV4..current).contains(&found));
                        assert!(limit < u32::from(length));
                    }
                    if let Some(found) = word(v6, length, limit).lowered(current) {
                        assert!((LEAST_IPV6..current).contains(&found));
                        assert_eq!(u32::from(found), limit);
                    }
                }
            }
        }
        assert_eq!(word(v4, 1500, 1400).lowered(1500), Some(1400));
        assert_eq!(word(v4, 1500, 68).lowered(1500), Some(576));
        assert_eq!(word(v4, 1500, 1500).lowered(1500), None);
        assert_eq!(word(v6, 1500, 1280).lowered(1500), Some(1280));
        assert_eq!(word(v6, 1500, 1279).lowered(1500), None);
        assert_eq!(word(v6, 1500, 0).lowered(1500), None);
    }

    #[test]
    fn a_router_that_does_not_say_is_answered_by_the_next_plateau() {
        let v4 = IpAddr::from([198, 51, 100, 1]);
        for (current, expected) in [
            (1500, Some(1492)),
            (1492, Some(1006)),
            (1006, Some(576)),
            (576, None),
        ] {
            assert_eq!(word(v4, 1500, 0).lowered(current), expected, "{current}");
        }
    }

    #[test]
    fn as_many_paths_are_remembered_as_there_is_room_for_and_no_longer_than_is_said() {
        let mut paths = Paths::new();
        let until = Instant::from_millis(10);
        let to = |last: usize| IpAddr::from([198, 51, 100, last as u8]);
        for last in 0..=PATHS {
            paths.note(to(last), Narrow { limit: 576, until });
            paths.note(to(last), Narrow { limit: 600, until });
        }
        assert_eq!(paths.0.len(), PATHS);
        assert_eq!(paths.0.capacity(), PATHS);
        assert_eq!(paths.find(to(0), Instant::default()), None);
        let found = paths.find(to(1), Instant::default());
        assert_eq!(found, Some(Narrow { limit: 600, until }));
        assert_eq!(paths.find(to(1), until), None);
    }
}

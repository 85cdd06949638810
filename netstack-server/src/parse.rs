//! What a received frame is, read before smoltcp sees it.
//!
//! smoltcp 0.14 panics over some messages and acts on others that no host should (ADR
//! 0120 lists them). So this is an allow-list, and the rest is dropped: each header is
//! read to its end here, and no length of the sender's is trusted. Messages about
//! neighbours and routers are never passed to smoltcp, but rewritten for it (`neighbour`,
//! `discovery`).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use smoltcp::wire::IpCidr;

use crate::checksum;
use crate::discovery::{self, Discovery};
use crate::neighbour::Arp;
use crate::path::{self, TooBig};
use crate::sequence::Tuple;

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;
/// Bytes of an IPv4 header without options.
pub(crate) const IPV4: usize = 20;
/// Bytes of an IPv6 header.
pub(crate) const IPV6: usize = 40;
/// Bytes of a TCP header without options.
pub(crate) const TCP: usize = 20;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;

const PROTOCOL_ICMP: u8 = 1;
pub(crate) const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
pub(crate) const PROTOCOL_ICMPV6: u8 = 58;
const HOP_BY_HOP: u8 = 0;

/// What the header of a TCP segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// As the receiver sees it: the receiver is local.
    pub(crate) tuple: Tuple,
    pub(crate) syn: bool,
    pub(crate) ack: bool,
    pub(crate) rst: bool,
    pub(crate) sequence: u32,
    /// Sequence number after its last byte, SYN and FIN not counted.
    pub(crate) end: u32,
    pub(crate) acknowledged: u32,
}

/// What a frame is to the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A TCP segment with the right checksum.
    Tcp(Segment),
    Arp(Arp),
    Discovery(Discovery),
    TooBig(TooBig),
    /// An echo request; smoltcp answers.
    Echo,
    /// From a DHCP server, or a question for multicast groups: smoltcp reads it,
    /// and may have learned something.
    Housekeeping,
    /// Nothing that this system takes.
    Dropped,
}

/// Who this system is, as far as frames are judged by it.
#[derive(Clone, Copy)]
pub(crate) struct Host<'a> {
    pub(crate) hardware: [u8; 6],
    pub(crate) addresses: &'a [IpCidr],
    /// Bytes of the largest IP packet.
    pub(crate) mtu: usize,
    pub(crate) dhcp: bool,
    /// Nobody has compared the frame's checksum of TCP.
    pub(crate) check: bool,
}

impl Host<'_> {
    pub(crate) fn owns(&self, ip: impl Into<IpAddr>) -> bool {
        let ip = ip.into();
        let mut addresses = self.addresses.iter();
        addresses.any(|cidr| IpAddr::from(cidr.address()) == ip)
    }

    pub(crate) fn is_near(&self, ip: Ipv4Addr) -> bool {
        let mut addresses = self.addresses.iter();
        addresses.any(|cidr| matches!(cidr, IpCidr::Ipv4(cidr) if cidr.contains_addr(&ip)))
    }

    /// Whether `ip` can be another host's. Alone on a loopback, this system is
    /// its own peer.
    pub(crate) fn is_peer(&self, ip: IpAddr) -> bool {
        let is_own = !cfg!(feature = "loopback") && self.owns(ip);
        !is_own
            && match ip {
                IpAddr::V4(ip) => is_host_v4(ip) && !self.is_broadcast(ip),
                IpAddr::V6(ip) => is_host_v6(ip),
            }
    }

    fn is_broadcast(&self, ip: Ipv4Addr) -> bool {
        let mut addresses = self.addresses.iter();
        addresses.any(|cidr| matches!(cidr, IpCidr::Ipv4(cidr) if cidr.broadcast() == Some(ip)))
    }
}

/// RFC 6890 and RFC 1122 §3.2.1.3: "this network", loopback and groups are no
/// host's on a wire.
fn is_host_v4(ip: Ipv4Addr) -> bool {
    let [first, ..] = ip.octets();
    !(first == 0 || ip.is_loopback() || ip.is_multicast() || ip.is_broadcast())
}

/// RFC 4291 §2.5: nor are IPv4-mapped addresses (they would bypass a rule for the IPv4
/// address) and their deprecated form.
pub(crate) fn is_host_v6(ip: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, ..] = ip.segments();
    let is_embedded = [a, b, c, d, e] == [0; 5] && (f == 0 || f == 0xffff);
    !(ip.is_multicast() || is_embedded)
}

/// Looks at a received Ethernet frame.
pub(crate) fn frame(bytes: &[u8], host: &Host<'_>) -> Frame {
    read(bytes, host).unwrap_or(Frame::Dropped)
}

fn read(bytes: &[u8], host: &Host<'_>) -> Option<Frame> {
    let (ethernet, packet) = bytes.split_first_chunk::<ETHERNET>()?;
    let [d0, d1, d2, d3, d4, d5, s0, .., t0, t1] = *ethernet;
    let is_ours = [d0, d1, d2, d3, d4, d5] == host.hardware;
    // A group's address is no sender's (IEEE 802.3 §3.2.3).
    if s0 & 1 != 0 || !(is_ours || d0 & 1 != 0) {
        return None;
    }
    match u16::from_be_bytes([t0, t1]) {
        ETHERTYPE_ARP => Arp::read(packet, host).map(Frame::Arp),
        ETHERTYPE_IPV4 => ipv4(packet, is_ours, host),
        ETHERTYPE_IPV6 => ipv6(packet, is_ours, host),
        _ => None,
    }
}

/// RFC 791. Options are refused: the only ones still seen are source routes (RFC 7126
/// §4.3). So are fragments: smoltcp is built without reassembly, and TCP sends none.
fn ipv4(packet: &[u8], is_ours: bool, host: &Host<'_>) -> Option<Frame> {
    let (header, _) = packet.split_first_chunk::<IPV4>()?;
    let total = u16::from_be_bytes([header[2], header[3]]);
    let payload = packet.get(IPV4..usize::from(total))?;
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
    if header[0] != 0x45 || fragment != 0 || !checksum::is_right_alone(header) {
        return None;
    }
    let from = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
    let to = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
    match header[9] {
        PROTOCOL_TCP if is_ours => tcp(payload, from.into(), to.into(), host),
        PROTOCOL_UDP if host.dhcp => dhcp(payload, from, host),
        PROTOCOL_ICMP if is_ours && host.owns(to) && host.is_peer(from.into()) => {
            icmp(payload, packet.len(), host)
        }
        _ => None,
    }
}

/// RFC 792.
fn icmp(message: &[u8], length: usize, host: &Host<'_>) -> Option<Frame> {
    let (header, _) = message.split_first_chunk::<8>()?;
    match (header[0], header[1]) {
        (8, 0) if length <= host.mtu => Some(Frame::Echo),
        (3, 4) if checksum::is_right_alone(message) => path::icmp(message).map(Frame::TooBig),
        _ => None,
    }
}

/// RFC 2131 §4.1: from a server's port to the client's. A server has an address:
/// smoltcp would panic when it sends its next request to none.
fn dhcp(datagram: &[u8], from: Ipv4Addr, host: &Host<'_>) -> Option<Frame> {
    const SERVER: [u8; 2] = 67u16.to_be_bytes();
    const CLIENT: [u8; 2] = 68u16.to_be_bytes();
    let (header, _) = datagram.split_first_chunk::<8>()?;
    let length = u16::from_be_bytes([header[4], header[5]]);
    let is_whole = (8..=datagram.len()).contains(&usize::from(length));
    let is_dhcp = [header[0], header[1]] == SERVER && [header[2], header[3]] == CLIENT;
    (is_dhcp && is_whole && host.is_peer(from.into())).then_some(Frame::Housekeeping)
}

/// RFC 8200. Extension headers are refused, as they are by most of the Internet
/// (RFC 9098); the one before a query for multicast groups is read
/// to its end.
fn ipv6(packet: &[u8], is_ours: bool, host: &Host<'_>) -> Option<Frame> {
    let (header, _) = packet.split_first_chunk::<IPV6>()?;
    let length = u16::from_be_bytes([header[4], header[5]]);
    let payload = packet.get(IPV6..IPV6 + usize::from(length))?;
    let from = Ipv6Addr::from(*header.get(8..)?.first_chunk::<16>()?);
    let to = Ipv6Addr::from(*header.get(24..)?.first_chunk::<16>()?);
    if header[0] >> 4 != 6 {
        return None;
    }
    match header[6] {
        PROTOCOL_TCP if is_ours => tcp(payload, from.into(), to.into(), host),
        PROTOCOL_ICMPV6 if host.is_peer(from.into()) => {
            let kind = *payload.first()?;
            if !checksum::is_right_icmpv6(payload, from, to) {
                return None;
            }
            match kind {
                path::PACKET_TOO_BIG if is_ours && host.owns(to) => {
                    path::icmpv6(payload).map(Frame::TooBig)
                }
                128 if is_ours && host.owns(to) && packet.len() <= host.mtu => {
                    (payload.len() >= 8 && payload.get(1) == Some(&0)).then_some(Frame::Echo)
                }
                // RFC 4861 §6.1, §7.1: no host beyond the link.
                _ if header[7] == 255 => {
                    discovery::read(payload, from, to, host).map(Frame::Discovery)
                }
                _ => None,
            }
        }
        HOP_BY_HOP => {
            let is_question =
                header[7] == 1 && from.is_unicast_link_local() && is_mld_query(payload);
            is_question.then_some(Frame::Housekeeping)
        }
        _ => None,
    }
}

/// A query of RFC 3810 §5.1 after a hop-by-hop header with a router alert (RFC
/// 2711) and padding.
fn is_mld_query(payload: &[u8]) -> bool {
    const HEADER: usize = 28;
    const SOURCE: usize = 16;
    let Some(([next, 0, options @ ..], message)) = payload.split_first_chunk::<8>() else {
        return false;
    };
    let alert = [5, 2, 0, 0];
    let is_alert = matches!(options, [rest @ .., 1, 0] | [1, 0, rest @ ..] if *rest == alert);
    let sources = match message.get(26..HEADER) {
        Some([high, low]) => usize::from(u16::from_be_bytes([*high, *low])),
        _ => return false,
    };
    *next == PROTOCOL_ICMPV6
        && is_alert
        && message.first_chunk() == Some(&[130, 0])
        && message.len() == HEADER + sources * SOURCE
}

/// RFC 9293 §3.1.
fn tcp(bytes: &[u8], from: IpAddr, to: IpAddr, host: &Host<'_>) -> Option<Frame> {
    let segment = segment(bytes, from, to)?;
    if host.check && !checksum::is_right(bytes, from, to) {
        return None;
    }
    Some(Frame::Tcp(segment))
}

/// What a segment's header says.
pub(crate) fn segment(bytes: &[u8], from: IpAddr, to: IpAddr) -> Option<Segment> {
    let (header, _) = bytes.split_first_chunk::<TCP>()?;
    let payload = bytes.get(usize::from(header[12] >> 4) * 4..)?;
    let pair = |at: [u8; 2]| u16::from_be_bytes(at);
    let quad = |at: [u8; 4]| u32::from_be_bytes(at);
    let sequence = quad([header[4], header[5], header[6], header[7]]);
    let length = u32::try_from(payload.len()).ok()?;
    let tuple = Tuple {
        remote_port: pair([header[0], header[1]]),
        local_port: pair([header[2], header[3]]),
        remote: from,
        local: to,
    };
    let is_whole = header[12] >> 4 >= 5 && tuple.remote_port != 0 && tuple.local_port != 0;
    is_whole.then_some(Segment {
        tuple,
        syn: header[13] & 2 != 0,
        ack: header[13] & 16 != 0,
        rst: header[13] & 4 != 0,
        sequence,
        end: sequence.wrapping_add(length),
        acknowledged: quad([header[8], header[9], header[10], header[11]]),
    })
}

/// A TCP segment's place in a frame of our own.
pub(crate) struct Place {
    pub(crate) bytes: Range<usize>,
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
}

/// Finds the TCP segment in a frame that smoltcp has made, which has no options
/// and no extension headers.
pub(crate) fn locate(frame: &[u8]) -> Option<Place> {
    let (ethernet, packet) = frame.split_first_chunk::<ETHERNET>()?;
    let [.., t0, t1] = *ethernet;
    match u16::from_be_bytes([t0, t1]) {
        ETHERTYPE_IPV4 => {
            let (header, _) = packet.split_first_chunk::<IPV4>()?;
            let total = u16::from_be_bytes([header[2], header[3]]);
            let from = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
            let to = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
            (header[9] == PROTOCOL_TCP).then_some(Place {
                bytes: ETHERNET + IPV4..ETHERNET + usize::from(total),
                from: from.into(),
                to: to.into(),
            })
        }
        ETHERTYPE_IPV6 => {
            let (header, _) = packet.split_first_chunk::<IPV6>()?;
            let length = u16::from_be_bytes([header[4], header[5]]);
            let start = ETHERNET + IPV6;
            let from = Ipv6Addr::from(*header.get(8..)?.first_chunk::<16>()?);
            let to = Ipv6Addr::from(*header.get(24..)?.first_chunk::<16>()?);
            (header[6] == PROTOCOL_TCP).then_some(Place {
                bytes: start..start + usize::from(length),
                from: from.into(),
                to: to.into(),
            })
        }
        _ => None,
    }
}

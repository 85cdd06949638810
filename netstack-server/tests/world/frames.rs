//! Frames that no peer of ours sends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::wire::{Icmpv4Packet, Icmpv6Packet, TcpPacket};

use super::{PEER_MAC, STACK_MAC};

/// An Ethernet frame.
pub(crate) fn ethernet(from: [u8; 6], to: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes(), payload].concat()
}

/// An IPv4 packet of the peer's NIC for the stack's, with a right checksum.
pub(crate) fn ipv4(from: [u8; 4], to: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = (20 + payload.len()) as u16;
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet.extend([from, to].concat());
    packet.extend(payload);
    fill_header_checksum(&mut packet);
    ethernet(PEER_MAC, STACK_MAC, 0x0800, &packet)
}

/// Makes the checksum of an IPv4 header right, however long it says that it is.
pub(crate) fn fill_header_checksum(packet: &mut [u8]) {
    let says = usize::from(packet[0] & 15) * 4;
    let length = says.clamp(20, packet.len());
    packet[10..12].fill(0);
    let (words, _) = packet[..length].as_chunks::<2>();
    let sum: u32 = words
        .iter()
        .map(|w| u32::from(u16::from_be_bytes(*w)))
        .sum();
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    packet[10..12].copy_from_slice(&(!sum as u16).to_be_bytes());
}

/// An IPv6 packet of the peer's NIC for the stack's.
pub(crate) fn ipv6(
    from: Ipv6Addr,
    to: Ipv6Addr,
    next: u8,
    hop_limit: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, hop_limit]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    ethernet(PEER_MAC, STACK_MAC, 0x86dd, &packet)
}

/// An ICMPv6 message with a right checksum.
pub(crate) fn icmpv6(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    if message.len() >= 4 {
        Icmpv6Packet::new_unchecked(&mut message[..]).fill_checksum(&from, &to);
    }
    message
}

/// An ICMP message of a router for the stack with a right checksum.
pub(crate) fn icmpv4(from: [u8; 4], to: [u8; 4], message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    Icmpv4Packet::new_unchecked(&mut message[..]).fill_checksum();
    ipv4(from, to, 1, &message)
}

/// A router advertisement's message with these options.
pub(crate) fn advertisement(lifetime: u16, options: &[u8]) -> Vec<u8> {
    let mut message = vec![134, 0, 0, 0, 64, 0];
    message.extend(lifetime.to_be_bytes());
    message.extend([0; 8]);
    message.extend(options);
    message
}

/// A prefix option (RFC 4861 §4.6.2) with an hour's lifetimes.
pub(crate) fn prefix(length: u8, prefix: Ipv6Addr) -> Vec<u8> {
    let mut option = vec![3, 4, length, 0xc0];
    option.extend(3600u32.to_be_bytes());
    option.extend(3600u32.to_be_bytes());
    option.extend([0; 4]);
    option.extend(prefix.octets());
    option
}

/// A neighbour's advertisement with its Ethernet address.
pub(crate) fn neighbour(flags: u8, target: Ipv6Addr, hardware: [u8; 6]) -> Vec<u8> {
    let mut message = vec![136, 0, 0, 0, flags, 0, 0, 0];
    message.extend(target.octets());
    message.extend([2, 1]);
    message.extend(hardware);
    message
}

/// An ARP packet.
pub(crate) fn arp(
    operation: u8,
    hardware: [u8; 6],
    sender: [u8; 4],
    target: [u8; 4],
    to: [u8; 6],
) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation];
    packet.extend(hardware);
    packet.extend(sender);
    packet.extend([0; 6]);
    packet.extend(target);
    ethernet(hardware, to, 0x0806, &packet)
}

/// Of a TCP segment.
#[derive(Clone, Copy, Default)]
pub(crate) struct Flags(pub(crate) u8);

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

/// A TCP segment between two ends of either family, for the stack's NIC.
pub(crate) struct Segment {
    pub(crate) from: (IpAddr, u16),
    pub(crate) to: (IpAddr, u16),
    pub(crate) sequence: u32,
    pub(crate) acknowledged: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    pub(crate) payload: Vec<u8>,
}

impl Segment {
    pub(crate) fn frame(&self) -> Vec<u8> {
        self.frame_with(&[])
    }

    /// With options of whole words.
    pub(crate) fn frame_with(&self, options: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.from.1.to_be_bytes());
        bytes.extend(self.to.1.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.acknowledged.to_be_bytes());
        bytes.extend([((20 + options.len()) as u8 / 4) << 4, self.flags]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(options);
        bytes.extend(&self.payload);
        let (from, to) = (self.from.0.into(), self.to.0.into());
        TcpPacket::new_unchecked(&mut bytes[..]).fill_checksum(&from, &to);
        match (self.from.0, self.to.0) {
            (IpAddr::V4(from), IpAddr::V4(to)) => ipv4(from.octets(), to.octets(), 6, &bytes),
            (IpAddr::V6(from), IpAddr::V6(to)) => ipv6(from, to, 6, 64, &bytes),
            _ => panic!("two families"),
        }
    }
}

/// The first bytes of what this frame carries after its Ethernet header, as a
/// router quotes them.
pub(crate) fn quoted(frame: &[u8], bytes: usize) -> Vec<u8> {
    frame[14..].iter().copied().take(bytes).collect()
}

/// "Fragmentation needed" over a frame that the stack has sent.
pub(crate) fn fragmentation_needed(router: [u8; 4], frame: &[u8], limit: u16) -> Vec<u8> {
    let to = Ipv4Addr::new(frame[26], frame[27], frame[28], frame[29]);
    let mut message = vec![3, 4, 0, 0, 0, 0];
    message.extend(limit.to_be_bytes());
    message.extend(quoted(frame, 28));
    icmpv4(router, to.octets(), &message)
}

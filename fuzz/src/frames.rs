//! The network stack with a NIC that delivers any frame.

use std::cell::RefCell;
use std::time::Duration;

use ipc::provision::AddressConfig;
use ipc::stats;
use netstack_server::Limits;
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, Icmpv4Packet, Icmpv6Packet, IpAddress, IpProtocol, Ipv4Packet,
    Ipv6Packet, TcpPacket, UdpPacket,
};

use crate::bytes::Bytes;

#[path = "../../netstack-server/tests/world/mod.rs"]
#[allow(unreachable_pub, unused_imports, reason = "shared with the tests")]
pub(crate) mod world;

use world::World;

/// Set in the byte before a frame: its checksums stay as they are.
const AS_IT_IS: u8 = 1;
/// Set in the first byte: the stack asks for its address by DHCP.
const DHCP: u8 = 0x80;

/// Frames, each after a byte that says whether its checksums are made right,
/// and how many seconds pass before it.
pub fn frames(data: &[u8]) {
    thread_local! {
        static WORLDS: RefCell<Option<&'static mut [World; 2]>> = const { RefCell::new(None) };
    }
    WORLDS.with_borrow_mut(|worlds| {
        let worlds = worlds.get_or_insert_with(|| {
            let mut fixed = World::near_routers();
            fixed.connected();
            let mut dhcp = World::made(Limits::default(), AddressConfig::Dhcp);
            dhcp.listen(64);
            Box::leak(Box::new([fixed, dhcp]))
        });
        let [fixed, dhcp] = worlds;
        let is_dhcp = data.first().is_some_and(|first| first & DHCP != 0);
        feed(if is_dhcp { dhcp } else { fixed }, data);
    });
}

fn feed(world: &mut World, data: &[u8]) {
    let mut bytes = Bytes(data);
    while !bytes.is_empty() {
        let control = bytes.byte();
        let mut frame = bytes.vector().to_vec();
        frame.truncate(1514);
        if control & AS_IT_IS == 0 {
            correct(&mut frame);
        }
        let seconds = u64::from((control & !DHCP) >> 1);
        world.now = world.now + Duration::from_secs(seconds);
        world.put(frame);
        world.step();
        world.from_stack.borrow_mut().frames.clear();
    }
    world.run(2);
    for queue in [&world.to_stack, &world.from_stack] {
        queue.borrow_mut().log.clear();
    }
    while world.accept().is_some() {}
    let connections = world.stats.read(stats::netstack::CONNECTIONS);
    assert!(connections <= Limits::SHIPPED.connections as u64);
}

/// Sets the checksums, so that more than those is tried.
fn correct(frame: &mut [u8]) {
    let Ok(mut ethernet) = EthernetFrame::new_checked(frame) else {
        return;
    };
    let packet = match ethernet.ethertype() {
        EthernetProtocol::Ipv4 => correct_ipv4(ethernet.payload_mut()),
        EthernetProtocol::Ipv6 => correct_ipv6(ethernet.payload_mut()),
        _ => None,
    };
    let Some((protocol, from, to, payload)) = packet else {
        return;
    };
    match (protocol, from, to) {
        (IpProtocol::Tcp, ..) => {
            if let Ok(mut tcp) = TcpPacket::new_checked(payload) {
                tcp.fill_checksum(&from, &to);
            }
        }
        (IpProtocol::Udp, ..) => {
            if let Ok(mut udp) = UdpPacket::new_checked(payload) {
                udp.fill_checksum(&from, &to);
            }
        }
        (IpProtocol::Icmp, ..) => {
            if let Ok(mut icmp) = Icmpv4Packet::new_checked(payload) {
                icmp.fill_checksum();
            }
        }
        (IpProtocol::Icmpv6, IpAddress::Ipv6(from), IpAddress::Ipv6(to)) if payload.len() >= 4 => {
            Icmpv6Packet::new_unchecked(payload).fill_checksum(&from, &to);
        }
        _ => {}
    }
}

type Payload<'a> = (IpProtocol, IpAddress, IpAddress, &'a mut [u8]);

fn correct_ipv4(packet: &mut [u8]) -> Option<Payload<'_>> {
    let mut ip = Ipv4Packet::new_checked(packet).ok()?;
    if usize::from(ip.header_len()) < 20 || ip.version() != 4 {
        return None;
    }
    ip.fill_checksum();
    let (from, to) = (ip.src_addr().into(), ip.dst_addr().into());
    let (protocol, head, end) = (ip.next_header(), ip.header_len(), ip.total_len());
    let bytes = ip.into_inner();
    let payload = bytes.get_mut(usize::from(head)..usize::from(end))?;
    Some((protocol, from, to, payload))
}

/// With the ICMPv6 message after one hop-by-hop header, too.
fn correct_ipv6(packet: &mut [u8]) -> Option<Payload<'_>> {
    let ip = Ipv6Packet::new_checked(packet).ok()?;
    let (from, to) = (ip.src_addr().into(), ip.dst_addr().into());
    let (protocol, end) = (ip.next_header(), ip.total_len());
    let payload = ip.into_inner().get_mut(40..end)?;
    match protocol {
        IpProtocol::HopByHop => {
            let (next, length) = (*payload.first()?, *payload.get(1)?);
            let rest = payload.get_mut((usize::from(length) + 1) * 8..)?;
            Some((next.into(), from, to, rest))
        }
        protocol => Some((protocol, from, to, payload)),
    }
}

//! IPv6, and how addresses are got.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipc::net::{Answer, NetError, Request};
use ipc::provision::AddressConfig;
use netstack_server::Limits;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::tcp::{self, State};
use smoltcp::wire::{
    DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    Icmpv6Packet, Icmpv6Repr, IpCidr, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr,
    NdiscPrefixInfoFlags, NdiscPrefixInformation, NdiscRepr, NdiscRouterFlags, UdpPacket, UdpRepr,
};
use world::{BACKEND_PORT, PEER_IP, PEER_MAC, PORT, STACK_IP, STACK_MAC, World, address, read_all};

const STACK_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 0xf);
const PEER_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

fn has_address(world: &World, wanted: impl Into<IpAddr>) -> bool {
    let wanted = wanted.into();
    world.stack.addresses().any(|(ip, _)| ip == wanted)
}

#[test]
fn a_peer_reaches_the_link_local_address_over_ipv6() {
    let mut world = World::new();
    assert!(has_address(&world, STACK_LINK_LOCAL));
    world.peer.interface.update_ip_addrs(|list| {
        list.push(IpCidr::new(PEER_LINK_LOCAL.into(), 64)).unwrap();
    });
    world.listen(8);
    let handle = world.peer.listen(1);
    let interface = &mut world.peer.interface;
    let socket = world.peer.sockets.get_mut::<tcp::Socket>(handle);
    socket.abort();
    let to = (smoltcp::wire::IpAddress::from(STACK_LINK_LOCAL), PORT);
    socket.connect(interface.context(), to, 4000).unwrap();
    world.run(10);
    let Ok(Answer::Accepted {
        connection, remote, ..
    }) = world.ask(&Request::Accept)
    else {
        panic!("no connection");
    };
    assert_eq!(remote.ip(), IpAddr::from(PEER_LINK_LOCAL));
    let slot = world.attach(connection);
    world.peer.send(handle, b"over six");
    world.run(4);
    assert_eq!(read_all(&mut world.gateway, slot), b"over six");
    world.gateway.write(slot, b"and back").unwrap();
    world.run(4);
    assert_eq!(world.peer.receive(handle), b"and back");
}

fn advertise(world: &mut World, prefix: Ipv6Addr) {
    let information = NdiscPrefixInformation {
        prefix_len: 64,
        flags: NdiscPrefixInfoFlags::ADDRCONF | NdiscPrefixInfoFlags::ON_LINK,
        valid_lifetime: smoltcp::time::Duration::from_secs(3600),
        preferred_lifetime: smoltcp::time::Duration::from_secs(3600),
        prefix,
    };
    let message = Icmpv6Repr::Ndisc(NdiscRepr::RouterAdvert {
        hop_limit: 64,
        flags: NdiscRouterFlags::empty(),
        router_lifetime: smoltcp::time::Duration::from_secs(1800),
        reachable_time: smoltcp::time::Duration::ZERO,
        retrans_time: smoltcp::time::Duration::ZERO,
        lladdr: Some(EthernetAddress(PEER_MAC).into()),
        mtu: None,
        prefix_info: Some(information),
    });
    let ip = Ipv6Repr {
        src_addr: PEER_LINK_LOCAL,
        dst_addr: ALL_NODES,
        next_header: IpProtocol::Icmpv6,
        payload_len: message.buffer_len(),
        hop_limit: 255,
    };
    let mut bytes = vec![0; 14 + ip.buffer_len() + message.buffer_len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    frame.set_src_addr(EthernetAddress(PEER_MAC));
    frame.set_dst_addr(EthernetAddress([0x33, 0x33, 0, 0, 0, 1]));
    frame.set_ethertype(EthernetProtocol::Ipv6);
    ip.emit(&mut Ipv6Packet::new_unchecked(frame.payload_mut()));
    let mut packet = Ipv6Packet::new_unchecked(frame.payload_mut());
    let checksums = ChecksumCapabilities::default();
    let mut icmp = Icmpv6Packet::new_unchecked(packet.payload_mut());
    message.emit(&PEER_LINK_LOCAL, &ALL_NODES, &mut icmp, &checksums);
    world.to_stack.borrow_mut().frames.push_back(bytes);
}

#[test]
fn a_router_advertisement_gives_a_global_address() {
    let mut world = World::near_routers();
    world.step();
    advertise(&mut world, Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0));
    world.run(3);
    let global = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0xff, 0xfe00, 0xf);
    assert!(has_address(&world, global));
}

#[test]
fn an_advertisement_of_an_impossible_prefix_is_dropped() {
    let mut world = World::near_routers();
    world.step();
    for prefix in [
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0),
        Ipv6Addr::UNSPECIFIED,
    ] {
        advertise(&mut world, prefix);
        world.run(3);
        assert_eq!(world.stack.addresses().count(), 2);
    }
    // Still alive.
    world.connected();
}

fn dhcp(world: &mut World, kind: DhcpMessageType, transaction: u32) {
    let (server, ours) = (Ipv4Addr::from(PEER_IP), Ipv4Addr::from(STACK_IP));
    let offer = DhcpRepr {
        message_type: kind,
        transaction_id: transaction,
        secs: 0,
        client_hardware_address: EthernetAddress(STACK_MAC),
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip: ours,
        server_ip: server,
        router: Some(server),
        subnet_mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: false,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(server),
        parameter_request_list: None,
        dns_servers: None,
        max_size: None,
        lease_duration: Some(3600),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    };
    let udp = UdpRepr {
        src_port: 67,
        dst_port: 68,
    };
    let ip = Ipv4Repr {
        src_addr: server,
        dst_addr: Ipv4Addr::BROADCAST,
        next_header: IpProtocol::Udp,
        payload_len: udp.header_len() + offer.buffer_len(),
        hop_limit: 64,
    };
    let checksums = ChecksumCapabilities::default();
    let mut bytes = vec![0; 14 + ip.buffer_len() + ip.payload_len];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    frame.set_src_addr(EthernetAddress(PEER_MAC));
    frame.set_dst_addr(EthernetAddress::BROADCAST);
    frame.set_ethertype(EthernetProtocol::Ipv4);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &checksums);
    udp.emit(
        &mut UdpPacket::new_unchecked(packet.payload_mut()),
        &server.into(),
        &Ipv4Addr::BROADCAST.into(),
        offer.buffer_len(),
        |payload| {
            offer.emit(&mut DhcpPacket::new_unchecked(payload)).unwrap();
        },
        &checksums,
    );
    world.to_stack.borrow_mut().frames.push_back(bytes);
}

/// The transaction of the last message that the stack's DHCP client sent.
fn transaction(world: &World) -> Option<u32> {
    let log = &world.from_stack.borrow().log;
    log.iter().rev().find_map(|frame| {
        let frame = EthernetFrame::new_checked(&frame[..]).ok()?;
        let ip = Ipv4Packet::new_checked(frame.payload()).ok()?;
        let udp = UdpPacket::new_checked(ip.payload()).ok()?;
        let message = DhcpPacket::new_checked(udp.payload()).ok()?;
        (udp.dst_port() == 67).then(|| message.transaction_id())
    })
}

#[test]
fn an_address_is_got_by_dhcp_and_used() {
    let mut world = World::made(Limits::default(), AddressConfig::Dhcp);
    let connect = Request::Connect {
        to: address(PEER_IP, BACKEND_PORT),
        deadline: world.now + Duration::from_secs(60),
    };
    assert_eq!(world.ask(&connect), Err(NetError::Unreachable));
    for kind in [DhcpMessageType::Offer, DhcpMessageType::Ack] {
        world.sleep(Duration::from_secs(2));
        let number = transaction(&world).unwrap();
        dhcp(&mut world, kind, number);
        world.sleep(Duration::from_millis(200));
    }
    assert!(has_address(&world, Ipv4Addr::from(STACK_IP)));
    let listening = world.peer.listen(BACKEND_PORT);
    assert!(world.ask(&connect).is_ok());
    world.run(10);
    assert_eq!(world.peer.socket(listening).state(), State::Established);
}

//! Frames of a hostile host on the link. A panic of the stack, which has debug
//! assertions here, is what fails.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod world;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipc::provision::AddressConfig;
use ipc::stats::netstack as counters;
use netstack_server::Limits;
use smoltcp::wire::{Icmpv4Packet, Icmpv6Packet, TcpPacket, UdpPacket};
use world::frames::{self, advertisement, icmpv6, ipv6, prefix};
use world::{PEER_IP, PEER_MAC, PORT, STACK_IP, STACK_MAC, World};

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const OWN: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 0xf);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const PREFIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0);

/// A world that asks for advertisements, and one that does not.
fn worlds() -> [World; 2] {
    [World::near_routers(), World::new()]
}

fn routed(message: &[u8]) -> Vec<u8> {
    let message = icmpv6(ROUTER, ALL_NODES, message);
    ipv6(ROUTER, ALL_NODES, 58, 255, &message)
}

/// Shows the stack a frame, lets its clock run on, and looks that it is well now
/// and then.
fn show(world: &mut World, frame: Vec<u8>) {
    world.put(frame);
    // Far enough that an advertisement is taken again.
    world.now = world.now + Duration::from_secs(3);
    world.stack.poll(world.now);
    let mut sent = world.from_stack.borrow_mut();
    sent.frames.clear();
    sent.log.clear();
}

fn is_well(world: &mut World) {
    let (handle, connection) = world.connected();
    let request = ipc::net::Request::Abort { connection };
    world.ask(&request).unwrap();
    world.run(3);
    world.peer.sockets.remove(handle);
}

#[test]
fn row_09_a_prefix_of_any_length_in_any_place_ends_nothing() {
    for mut world in worlds() {
        world.step();
        let places = [
            PREFIX,
            Ipv6Addr::UNSPECIFIED,
            Ipv6Addr::LOCALHOST,
            Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0),
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0),
            Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0xa00, 0x20f),
            Ipv6Addr::from(u128::MAX),
        ];
        for place in places {
            for length in 0..=u8::MAX {
                show(
                    &mut world,
                    routed(&advertisement(1800, &prefix(length, place))),
                );
            }
        }
        is_well(&mut world);
    }
}

#[test]
fn advertisements_are_not_heard_where_nobody_asks_for_them() {
    let mut world = World::new();
    world.step();
    let before = world.count(counters::DROPPED);
    show(
        &mut world,
        routed(&advertisement(1800, &prefix(64, PREFIX))),
    );
    assert_eq!(world.count(counters::DROPPED), before + 1);
    let addresses: Vec<_> = world.stack.addresses().map(|(ip, _)| ip).collect();
    assert_eq!(addresses, [IpAddr::from(STACK_IP), IpAddr::V6(OWN)]);
    // Nor are routers asked.
    world.sleep(Duration::from_secs(20));
    let log = &world.from_stack.borrow().log;
    let asks =
        |frame: &Vec<u8>| frame[12..14] == [0x86, 0xdd] && frame[20] == 58 && frame[54] == 133;
    assert!(!log.iter().any(asks));
}

/// An extension header (RFC 8200 §4) of 8 bytes with padding.
fn extension(kind: u8, next: u8) -> Vec<u8> {
    match kind {
        // A whole packet in one fragment.
        44 => vec![next, 0, 0, 0, 0, 0, 0, 1],
        // Nothing left to visit.
        43 => vec![next, 0, 0, 0, 0, 0, 0, 0],
        51 => vec![next, 0, 0, 0, 0, 0, 0, 0],
        _ => vec![next, 0, 1, 4, 0, 0, 0, 0],
    }
}

#[test]
fn row_09_no_order_of_extension_headers_hides_an_advertisement() {
    let kinds = [0, 43, 44, 51, 59, 60, 135, 139, 140, 200];
    for mut world in worlds() {
        world.step();
        for length in [0, 64, 128, 129, 255] {
            for place in [PREFIX, Ipv6Addr::from(u128::MAX << 64)] {
                let message = advertisement(1800, &prefix(length, place));
                let message = icmpv6(ROUTER, ALL_NODES, &message);
                for first in kinds {
                    let one = [extension(first, 58), message.clone()].concat();
                    show(&mut world, ipv6(ROUTER, ALL_NODES, first, 255, &one));
                    for second in kinds {
                        let headers = [extension(first, second), extension(second, 58)];
                        let two = [headers.concat(), message.clone()].concat();
                        show(&mut world, ipv6(ROUTER, ALL_NODES, first, 255, &two));
                        for third in kinds {
                            let headers = [
                                extension(first, second),
                                extension(second, third),
                                extension(third, 58),
                            ];
                            let three = [headers.concat(), message.clone()].concat();
                            show(&mut world, ipv6(ROUTER, ALL_NODES, first, 255, &three));
                        }
                    }
                }
            }
        }
        assert_eq!(world.stack.addresses().count(), 2, "none was heard");
        is_well(&mut world);
    }
}

#[test]
fn options_of_every_kind_and_length_end_nothing() {
    for mut world in worlds() {
        world.step();
        let head = |kind: u8| match kind {
            134 => advertisement(1800, &[]),
            133 => vec![133, 0, 0, 0, 0, 0, 0, 0],
            137 => [
                &[137, 0, 0, 0, 0, 0, 0, 0][..],
                &OWN.octets(),
                &OWN.octets(),
            ]
            .concat(),
            _ => [&[kind, 0, 0, 0, 0x60, 0, 0, 0][..], &OWN.octets()].concat(),
        };
        for kind in 133..=137 {
            for option in (0..=15).chain([24, 25, 38, 255]) {
                for length in 0..=u8::MAX {
                    for there in [8, 32] {
                        let mut message = head(kind);
                        message.extend([option, length]);
                        message.extend(vec![0xff; there - 2]);
                        let message = icmpv6(ROUTER, ALL_NODES, &message);
                        show(&mut world, ipv6(ROUTER, ALL_NODES, 58, 255, &message));
                    }
                }
            }
        }
        is_well(&mut world);
    }
}

/// Frames of each kind that the stack takes, and of some that it does not.
fn seeds() -> Vec<Vec<u8>> {
    let mut frames = vec![
        routed(&advertisement(1800, &prefix(64, PREFIX))),
        routed(&frames::neighbour(0x20, ROUTER, PEER_MAC)),
        frames::arp(1, PEER_MAC, PEER_IP, STACK_IP, [0xff; 6]),
        frames::arp(2, PEER_MAC, PEER_IP, PEER_IP, [0xff; 6]),
        frames::icmpv4(PEER_IP, STACK_IP, &[8, 0, 0, 0, 0, 1, 0, 2, 3, 4]),
        frames::ipv4(PEER_IP, STACK_IP, 2, &[0x11, 10, 0xee, 0xf5, 0, 0, 0, 0]),
        dhcp(PEER_IP, 2, 0x0102_0304),
    ];
    let solicitation = [
        &[135, 0, 0, 0, 0, 0, 0, 0][..],
        &OWN.octets(),
        &[1, 1],
        &PEER_MAC,
    ];
    let echo = [128, 0, 0, 0, 0, 1, 0, 2, 3, 4];
    for message in [&solicitation.concat()[..], &echo] {
        let message = icmpv6(ROUTER, OWN, message);
        frames.push(ipv6(ROUTER, OWN, 58, 255, &message));
    }
    // A question for groups, after its router alert.
    let mut question = vec![0; 28];
    question[0] = 130;
    question[5] = 9;
    let question = icmpv6(ROUTER, ALL_NODES, &question);
    let alert = [58, 0, 5, 2, 0, 0, 1, 0];
    frames.push(ipv6(
        ROUTER,
        ALL_NODES,
        0,
        1,
        &[&alert[..], &question].concat(),
    ));
    let segment = |from: IpAddr, to: IpAddr, flags, options: &[u8]| {
        let segment = frames::Segment {
            from: (from, 3000),
            to: (to, PORT),
            sequence: 5,
            acknowledged: 9,
            flags,
            window: 1000,
            payload: b"text".to_vec(),
        };
        segment.frame_with(options)
    };
    let options = [
        2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7,
    ];
    let (four, four_to) = (IpAddr::from(PEER_IP), IpAddr::from(STACK_IP));
    frames.push(segment(four, four_to, frames::SYN, &options));
    frames.push(segment(ROUTER.into(), OWN.into(), frames::SYN, &options));
    frames.push(segment(four, four_to, frames::ACK, &[]));
    let quoted = [0x45, 0, 5, 0xdc, 0, 0, 0x40, 0, 64, 6, 0, 0];
    let needed = [
        &[3, 4, 0, 0, 0, 0, 2, 0x40][..],
        &quoted,
        &STACK_IP,
        &PEER_IP,
        &[1, 0xbb, 9, 9, 0, 0, 0, 5],
    ];
    frames.push(frames::icmpv4(PEER_IP, STACK_IP, &needed.concat()));
    frames
}

fn dhcp(from: [u8; 4], kind: u8, transaction: u32) -> Vec<u8> {
    let mut message = vec![2, 1, 6, 0];
    message.extend(transaction.to_be_bytes());
    message.extend([0; 8]);
    message.extend(STACK_IP);
    message.extend([0; 8]);
    message.extend(STACK_MAC);
    message.extend([0; 10 + 192]);
    message.extend([99, 130, 83, 99, 53, 1, kind, 54, 4]);
    message.extend(PEER_IP);
    message.extend([51, 4, 0, 0, 0, 100, 1, 4, 255, 255, 255, 0, 3, 4]);
    message.extend(PEER_IP);
    message.push(255);
    let mut datagram = vec![0, 67, 0, 68];
    datagram.extend((8 + message.len() as u16).to_be_bytes());
    datagram.extend([0; 2]);
    datagram.extend(message);
    frames::ipv4(from, [255; 4], 17, &datagram)
}

/// Makes all checksums of a frame right, so that more than those is looked at.
fn correct(frame: &mut [u8]) {
    if frame.len() < 34 {
        return;
    }
    match [frame[12], frame[13]] {
        [8, 0] => {
            let source = Ipv4Addr::new(frame[26], frame[27], frame[28], frame[29]);
            let target = Ipv4Addr::new(frame[30], frame[31], frame[32], frame[33]);
            frames::fill_header_checksum(&mut frame[14..]);
            let protocol = frame[23];
            let rest = &mut frame[34..];
            let (source, target) = (source.into(), target.into());
            match protocol {
                1 if rest.len() >= 8 => Icmpv4Packet::new_unchecked(rest).fill_checksum(),
                6 if rest.len() >= 20 => {
                    TcpPacket::new_unchecked(rest).fill_checksum(&source, &target);
                }
                17 if rest.len() >= 8 => {
                    if let Ok(mut udp) = UdpPacket::new_checked(rest) {
                        udp.fill_checksum(&source, &target);
                    }
                }
                _ => {}
            }
        }
        [0x86, 0xdd] if frame.len() >= 54 => {
            let address = |at: usize| <[u8; 16]>::try_from(&frame[at..at + 16]).unwrap();
            let (source, target) = (Ipv6Addr::from(address(22)), Ipv6Addr::from(address(38)));
            let start = match frame[20] {
                0 => 62,
                _ => 54,
            };
            let protocol = if start == 62 { 58 } else { frame[20] };
            let Some(rest) = frame.get_mut(start..) else {
                return;
            };
            match protocol {
                58 if rest.len() >= 4 => {
                    Icmpv6Packet::new_unchecked(rest).fill_checksum(&source, &target);
                }
                6 if rest.len() >= 20 => {
                    TcpPacket::new_unchecked(rest).fill_checksum(&source.into(), &target.into());
                }
                _ => {}
            }
        }
        _ => {}
    }
}

/// One that listens on its port, near routers or with DHCP.
fn listening() -> [World; 2] {
    let dhcp = World::made(Limits::default(), AddressConfig::Dhcp);
    [World::near_routers(), dhcp].map(|mut world| {
        world.listen(256);
        world.run(3);
        world
    })
}

#[test]
fn frames_that_end_at_any_byte_end_nothing() {
    for mut world in listening() {
        for seed in seeds() {
            for end in 0..seed.len() {
                show(&mut world, seed[..end].to_vec());
                let mut right = seed[..end].to_vec();
                // With the lengths of the packet that is left.
                if let Some(length) = end.checked_sub(14).filter(|length| *length >= 20) {
                    match [right[12], right[13]] {
                        [8, 0] => right[16..18].copy_from_slice(&(length as u16).to_be_bytes()),
                        [0x86, 0xdd] if length >= 40 => {
                            let payload = (length - 40) as u16;
                            right[18..20].copy_from_slice(&payload.to_be_bytes());
                        }
                        _ => {}
                    }
                }
                correct(&mut right);
                show(&mut world, right);
            }
            // And with more than the packet says.
            show(&mut world, [&seed[..], &[0xff; 60]].concat());
        }
    }
}

#[test]
fn frames_with_any_byte_changed_to_any_other_end_nothing() {
    for mut world in listening() {
        for seed in seeds() {
            // The middle of a DHCP message is names of files.
            let is_long = seed.len() > 270;
            let places = (0..seed.len()).filter(|at| !(is_long && (75..270).contains(at)));
            for at in places {
                for byte in 0..=u8::MAX {
                    let mut frame = seed.clone();
                    frame[at] = byte;
                    correct(&mut frame);
                    show(&mut world, frame);
                }
            }
        }
    }
}

#[test]
fn a_server_of_dhcp_without_an_address_is_not_heard() {
    let mut world = World::made(Limits::default(), AddressConfig::Dhcp);
    let transaction = |world: &World| {
        let log = &world.from_stack.borrow().log;
        let message = log
            .iter()
            .rev()
            .find(|frame| frame[12..14] == [8, 0] && frame[23] == 17);
        message.map(|frame| u32::from_be_bytes(frame[46..50].try_into().unwrap()))
    };
    for kind in [2, 5, 2, 5] {
        world.sleep(Duration::from_secs(2));
        let number = transaction(&world).unwrap();
        world.put(dhcp([0; 4], kind, number));
        world.put(dhcp([255; 4], kind, number));
        world.sleep(Duration::from_millis(200));
    }
    let own = IpAddr::from(STACK_IP);
    assert!(!world.stack.addresses().any(|(ip, _)| ip == own));
    // One that has an address is, and asked again when half of the time is over.
    for kind in [2, 5] {
        world.sleep(Duration::from_secs(30));
        let number = transaction(&world).unwrap();
        world.put(dhcp(PEER_IP, kind, number));
        world.sleep(Duration::from_millis(200));
    }
    assert!(world.stack.addresses().any(|(ip, _)| ip == own));
    world.sleep(Duration::from_secs(200));
}

#[test]
fn nothing_is_answered_that_a_host_did_not_send_to_this_host() {
    let mut world = World::new();
    world.listen(16);
    world.run(3);
    world.from_stack.borrow_mut().log.clear();
    let syn = |from: IpAddr, to: IpAddr| frames::Segment {
        from: (from, 3000),
        to: (to, PORT),
        sequence: 5,
        acknowledged: 0,
        flags: frames::SYN,
        window: 1000,
        payload: vec![],
    };
    let v4 = |bytes: [u8; 4]| IpAddr::from(bytes);
    for from in [
        STACK_IP,
        [0; 4],
        [0, 1, 2, 3],
        [127, 0, 0, 1],
        [224, 0, 0, 1],
        [255; 4],
        [10, 0, 2, 255],
    ] {
        for flags in [frames::SYN, frames::ACK, frames::FIN] {
            let segment = frames::Segment {
                flags,
                ..syn(v4(from), v4(STACK_IP))
            };
            world.put(segment.frame());
        }
        world.put(frames::icmpv4(from, STACK_IP, &[8, 0, 0, 0, 0, 0, 0, 0]));
    }
    for to in [[255; 4], [10, 0, 2, 255], [224, 0, 0, 1], [10, 0, 2, 16]] {
        world.put(syn(v4(PEER_IP), v4(to)).frame());
        world.put(frames::icmpv4(PEER_IP, to, &[8, 0, 0, 0, 0, 0, 0, 0]));
    }
    for from in [
        Ipv6Addr::LOCALHOST,
        Ipv6Addr::UNSPECIFIED,
        ALL_NODES,
        OWN,
        Ipv4Addr::from(PEER_IP).to_ipv6_mapped(),
    ] {
        world.put(syn(from.into(), OWN.into()).frame());
    }
    for to in [Ipv6Addr::LOCALHOST, ALL_NODES, ROUTER] {
        world.put(syn(ROUTER.into(), to.into()).frame());
    }
    // Another NIC's address, and the broadcast address.
    for nic in [[2, 0, 0, 0, 0, 99], [0xff; 6]] {
        let mut frame = syn(v4(PEER_IP), v4(STACK_IP)).frame();
        frame[..6].copy_from_slice(&nic);
        world.put(frame);
    }
    let packet = syn(v4(PEER_IP), v4(STACK_IP)).frame();
    let (headers, tcp) = packet[14..].split_at(20);
    // Fragments, options, unknown protocols, wrong sums.
    for (at, byte) in [(6, 0x60), (7, 1), (0, 0x46), (9, 99), (9, 17), (0, 0x55)] {
        let mut packet = [headers, tcp].concat();
        packet[at] = byte;
        frames::fill_header_checksum(&mut packet);
        world.put(frames::ethernet(PEER_MAC, STACK_MAC, 0x0800, &packet));
    }
    for at in [24, 50] {
        let mut frame = packet.clone();
        frame[at] ^= 1;
        world.put(frame);
    }
    let asked = world.to_stack.borrow().frames.len() as u64;
    for _ in 0..5 {
        world.stack.poll(world.now);
    }
    assert_eq!(world.count(counters::CONNECTIONS), 0);
    assert_eq!(world.from_stack.borrow().log, Vec::<Vec<u8>>::new());
    assert_eq!(world.count(counters::DROPPED), asked);
}

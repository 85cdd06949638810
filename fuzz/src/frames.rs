//! The network stack behind a card that delivers any frame.

use std::cell::RefCell;

use ipc::stats;
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, TcpPacket, UdpPacket,
};

use crate::bytes::Bytes;

#[path = "../../netstack-server/tests/world/mod.rs"]
#[allow(unreachable_pub, unused_imports, reason = "shared with the tests")]
pub(crate) mod world;

use world::World;

/// Frames, with right checksums where the first byte says so.
pub fn frames(data: &[u8]) {
    thread_local! {
        static WORLD: RefCell<Option<&'static mut World>> = const { RefCell::new(None) };
    }
    WORLD.with_borrow_mut(|world| {
        let world = world.get_or_insert_with(|| {
            let mut world = World::new();
            world.connected();
            Box::leak(Box::new(world))
        });
        let mut bytes = Bytes(data);
        while !bytes.is_empty() {
            let is_corrected = bytes.byte() & 1 == 0;
            let mut frame = bytes.vector().to_vec();
            frame.truncate(1514);
            if is_corrected {
                correct(&mut frame);
            }
            world.to_stack.borrow_mut().frames.push_back(frame);
            world.step();
            world.from_stack.borrow_mut().frames.clear();
        }
        world.run(2);
        for queue in [&world.to_stack, &world.from_stack] {
            queue.borrow_mut().log.clear();
        }
        while world.accept().is_some() {}
        let _ = world.stats.read(stats::netstack::ACCEPTED);
    });
}

/// Sets the checksums, so that more than those is tried.
fn correct(frame: &mut [u8]) {
    let Ok(mut ethernet) = EthernetFrame::new_checked(frame) else {
        return;
    };
    if ethernet.ethertype() != EthernetProtocol::Ipv4 {
        return;
    }
    let Ok(mut ip) = Ipv4Packet::new_checked(ethernet.payload_mut()) else {
        return;
    };
    if usize::from(ip.header_len()) < 20 || ip.version() != 4 {
        return;
    }
    ip.fill_checksum();
    let (from, to) = (ip.src_addr().into(), ip.dst_addr().into());
    match ip.next_header() {
        IpProtocol::Tcp => {
            if let Ok(mut tcp) = TcpPacket::new_checked(ip.payload_mut()) {
                tcp.fill_checksum(&from, &to);
            }
        }
        IpProtocol::Udp => {
            if let Ok(mut udp) = UdpPacket::new_checked(ip.payload_mut()) {
                udp.fill_checksum(&from, &to);
            }
        }
        _ => {}
    }
}

//! Segments that the stack has sent, and forged ones.

use smoltcp::wire::{EthernetAddress, EthernetFrame, EthernetProtocol, Ipv4Packet, TcpPacket};

use super::{PEER_MAC, PORT, STACK_IP, STACK_MAC};

#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) to_port: u16,
    pub(crate) sequence: u32,
    pub(crate) acknowledged: u32,
    pub(crate) window: u16,
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    pub(crate) bytes: Vec<u8>,
}

pub(super) fn parse(frame: &[u8]) -> Option<Sent> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    if frame.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let ip = Ipv4Packet::new_checked(frame.payload()).ok()?;
    let tcp = TcpPacket::new_checked(ip.payload()).ok()?;
    Some(Sent {
        to_port: tcp.dst_port(),
        sequence: tcp.seq_number().0 as u32,
        acknowledged: tcp.ack_number().0 as u32,
        window: tcp.window_len(),
        syn: tcp.syn(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        bytes: tcp.payload().to_vec(),
    })
}

/// A segment with any source.
pub(crate) struct Forged {
    pub(crate) from: [u8; 4],
    pub(crate) from_port: u16,
    pub(crate) to_port: u16,
    pub(crate) sequence: u32,
    pub(crate) syn: bool,
    pub(crate) rst: bool,
}

impl Forged {
    pub(crate) fn syn(from: [u8; 4], from_port: u16) -> Self {
        Self {
            from,
            from_port,
            to_port: PORT,
            sequence: 1000,
            syn: true,
            rst: false,
        }
    }

    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut bytes = vec![0; 14 + 20 + 20];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
        frame.set_src_addr(EthernetAddress(PEER_MAC));
        frame.set_dst_addr(EthernetAddress(STACK_MAC));
        frame.set_ethertype(EthernetProtocol::Ipv4);
        let mut ip = Ipv4Packet::new_unchecked(frame.payload_mut());
        ip.set_version(4);
        ip.set_header_len(20);
        ip.set_total_len(40);
        ip.set_hop_limit(64);
        ip.set_next_header(smoltcp::wire::IpProtocol::Tcp);
        ip.set_src_addr(self.from.into());
        ip.set_dst_addr(STACK_IP.into());
        ip.fill_checksum();
        let mut tcp = TcpPacket::new_unchecked(ip.payload_mut());
        tcp.set_header_len(20);
        tcp.set_src_port(self.from_port);
        tcp.set_dst_port(self.to_port);
        tcp.set_seq_number(smoltcp::wire::TcpSeqNumber(self.sequence as i32));
        tcp.set_syn(self.syn);
        tcp.set_rst(self.rst);
        tcp.set_window_len(1000);
        let (from, to) = (self.from, STACK_IP);
        let from = smoltcp::wire::IpAddress::from(std::net::Ipv4Addr::from(from));
        let to = smoltcp::wire::IpAddress::from(std::net::Ipv4Addr::from(to));
        tcp.fill_checksum(&from, &to);
        bytes
    }
}

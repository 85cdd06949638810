//! Between the card and smoltcp: which connection a frame belongs to, and what
//! smoltcp sends for it.
//!
//! smoltcp looks at every socket for each frame. Here each connection has a
//! socket set of its own, the frame is looked at first, and smoltcp sees it
//! with that one set: the work does not grow with the number of connections.

use core::net::IpAddr;

use smoltcp::phy::{Device, DeviceCapabilities, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket,
};

use crate::sequence::{Tuple, is_after};

/// What the header of a TCP segment says. An allegation: smoltcp checks sums
/// and addresses afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// As the receiver sees it: the receiver is local.
    pub(crate) tuple: Tuple,
    pub(crate) syn: bool,
    pub(crate) ack: bool,
    pub(crate) rst: bool,
    pub(crate) sequence: u32,
    /// Sequence number behind its last byte, SYN and FIN not counted.
    pub(crate) end: u32,
}

/// What a frame is to the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Tcp(Segment),
    /// ARP or neighbour discovery: who waited for an address may go on.
    Neighbour,
    /// Neither; smoltcp knows what to do.
    Other,
    /// A router advertisement of an address that can't be one: dropped, since
    /// smoltcp would panic over it.
    Poison,
}

/// Looks at an Ethernet frame.
pub(crate) fn classify(frame: &[u8]) -> Frame {
    let Ok(frame) = EthernetFrame::new_checked(frame) else {
        return Frame::Other;
    };
    match frame.ethertype() {
        EthernetProtocol::Arp => Frame::Neighbour,
        EthernetProtocol::Ipv4 => ipv4(frame.payload()),
        EthernetProtocol::Ipv6 => ipv6(frame.payload()),
        EthernetProtocol::Unknown(_) => Frame::Other,
    }
}

fn ipv4(packet: &[u8]) -> Frame {
    let Ok(packet) = Ipv4Packet::new_checked(packet) else {
        return Frame::Other;
    };
    // smoltcp is built without reassembly and drops fragments.
    let whole = !packet.more_frags() && packet.frag_offset() == 0;
    if packet.next_header() != IpProtocol::Tcp || !whole {
        return Frame::Other;
    }
    let (from, to) = (packet.src_addr().into(), packet.dst_addr().into());
    segment(packet.payload(), from, to).map_or(Frame::Other, Frame::Tcp)
}

fn ipv6(packet: &[u8]) -> Frame {
    let Ok(packet) = Ipv6Packet::new_checked(packet) else {
        return Frame::Other;
    };
    match packet.next_header() {
        IpProtocol::Tcp => {
            let (from, to) = (packet.src_addr().into(), packet.dst_addr().into());
            segment(packet.payload(), from, to).map_or(Frame::Other, Frame::Tcp)
        }
        IpProtocol::Icmpv6 => neighbour_discovery(packet.payload()),
        _ => Frame::Other,
    }
}

fn neighbour_discovery(message: &[u8]) -> Frame {
    const ROUTER_ADVERTISEMENT: u8 = 134;
    const ADVERTISEMENT_HEADER: usize = 16;
    const PREFIX_OPTION: u8 = 3;
    match message.first().copied() {
        Some(ROUTER_ADVERTISEMENT) => {
            // RFC 4861 §4.2, §4.6: options of (type, length in 8 bytes, …).
            let mut options = message.get(ADVERTISEMENT_HEADER..).unwrap_or_default();
            while let [kind, length, ..] = *options {
                let size = usize::from(length) * 8;
                let Some((option, rest)) = options.split_at_checked(size.max(8)) else {
                    break;
                };
                let prefix = option.get(16..32).unwrap_or_default();
                let unusable = prefix.first() == Some(&0xff) || prefix.iter().all(|b| *b == 0);
                if kind == PREFIX_OPTION && unusable {
                    return Frame::Poison;
                }
                options = rest;
            }
            Frame::Neighbour
        }
        Some(133..=137) => Frame::Neighbour,
        _ => Frame::Other,
    }
}

fn segment(packet: &[u8], from: IpAddr, to: IpAddr) -> Option<Segment> {
    let packet = TcpPacket::new_checked(packet).ok()?;
    let sequence = packet.seq_number().0 as u32;
    let length = u32::try_from(packet.payload().len()).unwrap_or(0);
    Some(Segment {
        tuple: Tuple {
            remote_port: packet.src_port(),
            local_port: packet.dst_port(),
            remote: from,
            local: to,
        },
        syn: packet.syn(),
        ack: packet.ack(),
        rst: packet.rst(),
        sequence,
        end: sequence.wrapping_add(length),
    })
}

/// What went out for one socket set.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    /// Sequence number of a SYN.
    pub(crate) syn: Option<u32>,
    /// The latest sequence number behind a segment's bytes.
    pub(crate) end: Option<u32>,
    /// Frames of any kind.
    pub(crate) frames: u64,
    /// Times that smoltcp asked for a frame to send.
    asked: u64,
    /// TCP segments among the frames.
    segments: u64,
}

impl Sent {
    /// Whether smoltcp had something to send and no neighbour to send it to.
    pub(crate) fn lacks_neighbour(&self) -> bool {
        self.asked > self.segments
    }

    fn note(&mut self, frame: &[u8]) {
        self.frames += 1;
        if let Frame::Tcp(segment) = classify(frame) {
            self.segments += 1;
            if segment.syn {
                self.syn = Some(segment.sequence);
            } else if self.end.is_none_or(|end| is_after(segment.end, end)) {
                self.end = Some(segment.end);
            }
        }
    }
}

/// Shows smoltcp one received frame.
pub(crate) struct Inlet<'f, T> {
    frame: Option<&'f [u8]>,
    reply: Option<T>,
    capabilities: &'f DeviceCapabilities,
    pub(crate) sent: Sent,
}

impl<'f, T> Inlet<'f, T> {
    pub(crate) fn new(frame: &'f [u8], reply: T, capabilities: &'f DeviceCapabilities) -> Self {
        Self {
            frame: Some(frame),
            reply: Some(reply),
            capabilities,
            sent: Sent::default(),
        }
    }
}

impl<T: TxToken> Device for Inlet<'_, T> {
    type RxToken<'a>
        = Borrowed<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Watched<'a, T>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let frame = self.frame.take()?;
        let token = self.reply.take()?;
        let sent = &mut self.sent;
        Some((Borrowed(frame), Watched { token, sent }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Self::TxToken<'_>> {
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.capabilities.clone()
    }
}

/// Lets smoltcp send, and watches what.
pub(crate) struct Outlet<'d, D> {
    card: &'d mut D,
    pub(crate) sent: Sent,
}

impl<'d, D> Outlet<'d, D> {
    pub(crate) fn new(card: &'d mut D) -> Self {
        Self {
            card,
            sent: Sent::default(),
        }
    }
}

impl<D: Device> Device for Outlet<'_, D> {
    type RxToken<'a>
        = Borrowed<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Watched<'a, D::TxToken<'a>>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        None
    }

    fn transmit(&mut self, now: Instant) -> Option<Self::TxToken<'_>> {
        let token = self.card.transmit(now)?;
        self.sent.asked += 1;
        let sent = &mut self.sent;
        Some(Watched { token, sent })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.card.capabilities()
    }
}

pub(crate) struct Borrowed<'a>(&'a [u8]);

impl RxToken for Borrowed<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

pub(crate) struct Watched<'a, T> {
    token: T,
    sent: &'a mut Sent,
}

impl<T: TxToken> TxToken for Watched<'_, T> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        self.token.consume(len, |frame| {
            let result = f(frame);
            self.sent.note(frame);
            result
        })
    }
}

//! Between the card and smoltcp: which connection a frame belongs to, and what
//! smoltcp sends for it.
//!
//! smoltcp looks at every socket for each frame. Here each connection has a
//! socket set of its own, the frame is looked at first, and smoltcp sees it
//! with that one set: the work does not grow with the number of connections.

use core::net::IpAddr;
use core::ops::Range;

use smoltcp::phy::{Checksum, Device, DeviceCapabilities, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket,
};

use crate::checksum;
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
    /// To be dropped: a TCP segment with a wrong checksum, or a router
    /// advertisement of an address that can't be one, over which smoltcp would
    /// panic.
    Poison,
}

/// Looks at a received Ethernet frame. With `checked`, a TCP segment must have
/// the right checksum: smoltcp does not look.
pub(crate) fn classify(frame: &[u8], checked: bool) -> Frame {
    match locate(frame) {
        Located::Tcp(place) => {
            let bytes = frame.get(place.bytes).unwrap_or_default();
            if checked && !checksum::is_right(bytes, place.from, place.to) {
                return Frame::Poison;
            }
            segment(bytes, place.from, place.to).map_or(Frame::Other, Frame::Tcp)
        }
        Located::Neighbour(message) => neighbour_discovery(message),
        Located::Arp => Frame::Neighbour,
        Located::Other => Frame::Other,
    }
}

/// A TCP segment in a frame.
struct Place {
    bytes: Range<usize>,
    from: IpAddr,
    to: IpAddr,
}

enum Located<'a> {
    Tcp(Place),
    /// An ICMPv6 message.
    Neighbour(&'a [u8]),
    Arp,
    Other,
}

fn locate(bytes: &[u8]) -> Located<'_> {
    let Ok(frame) = EthernetFrame::new_checked(bytes) else {
        return Located::Other;
    };
    let start = EthernetFrame::<&[u8]>::header_len();
    match frame.ethertype() {
        EthernetProtocol::Arp => Located::Arp,
        EthernetProtocol::Ipv4 => ipv4(frame.payload(), start),
        EthernetProtocol::Ipv6 => ipv6(frame.payload(), start),
        EthernetProtocol::Unknown(_) => Located::Other,
    }
}

fn ipv4(packet: &[u8], start: usize) -> Located<'_> {
    let Ok(packet) = Ipv4Packet::new_checked(packet) else {
        return Located::Other;
    };
    // smoltcp is built without reassembly and drops fragments.
    let whole = !packet.more_frags() && packet.frag_offset() == 0;
    if packet.next_header() != IpProtocol::Tcp || !whole {
        return Located::Other;
    }
    let (head, end) = (packet.header_len(), packet.total_len());
    Located::Tcp(Place {
        bytes: start + usize::from(head)..start + usize::from(end),
        from: packet.src_addr().into(),
        to: packet.dst_addr().into(),
    })
}

fn ipv6(packet: &[u8], start: usize) -> Located<'_> {
    let Ok(packet) = Ipv6Packet::new_checked(packet) else {
        return Located::Other;
    };
    match packet.next_header() {
        IpProtocol::Tcp => Located::Tcp(Place {
            bytes: start + packet.header_len()..start + packet.total_len(),
            from: packet.src_addr().into(),
            to: packet.dst_addr().into(),
        }),
        IpProtocol::Icmpv6 => Located::Neighbour(packet.payload()),
        _ => Located::Other,
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

    /// Looks at a frame that goes out, and gives a TCP segment its checksum if
    /// the card does not.
    fn note(&mut self, frame: &mut [u8], fill: bool) {
        self.frames += 1;
        let Located::Tcp(Place { bytes, from, to }) = locate(frame) else {
            return;
        };
        let Some(bytes) = frame.get_mut(bytes) else {
            return;
        };
        if fill {
            checksum::fill(bytes, from, to);
        }
        if let Some(segment) = segment(bytes, from, to) {
            self.segments += 1;
            if segment.syn {
                self.syn = Some(segment.sequence);
            } else if self.end.is_none_or(|end| is_after(segment.end, end)) {
                self.end = Some(segment.end);
            }
        }
    }
}

/// What the card can do, and what of it smoltcp is shown: the checksums of TCP
/// are none of its business.
pub(crate) struct Capabilities {
    shown: DeviceCapabilities,
    /// The card does not compare checksums of TCP.
    pub(crate) check: bool,
    /// The card does not fill in checksums of TCP.
    fill: bool,
}

impl Capabilities {
    pub(crate) fn new(mut card: DeviceCapabilities) -> Self {
        let (check, fill) = match card.checksum.tcp {
            Checksum::Both => (true, true),
            Checksum::Rx => (true, false),
            Checksum::Tx => (false, true),
            Checksum::None => (false, false),
        };
        card.checksum.tcp = Checksum::None;
        Self {
            shown: card,
            check,
            fill,
        }
    }
}

/// Shows smoltcp one received frame.
pub(crate) struct Inlet<'f, T> {
    frame: Option<&'f [u8]>,
    reply: Option<T>,
    capabilities: &'f Capabilities,
    pub(crate) sent: Sent,
}

impl<'f, T> Inlet<'f, T> {
    pub(crate) fn new(frame: &'f [u8], reply: T, capabilities: &'f Capabilities) -> Self {
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
        let fill = self.capabilities.fill;
        let sent = &mut self.sent;
        Some((Borrowed(frame), Watched { token, sent, fill }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Self::TxToken<'_>> {
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.capabilities.shown.clone()
    }
}

/// Lets smoltcp send, and watches what.
pub(crate) struct Outlet<'d, D> {
    card: &'d mut D,
    capabilities: &'d Capabilities,
    pub(crate) sent: Sent,
}

impl<'d, D> Outlet<'d, D> {
    pub(crate) fn new(card: &'d mut D, capabilities: &'d Capabilities) -> Self {
        Self {
            card,
            capabilities,
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
        let fill = self.capabilities.fill;
        let sent = &mut self.sent;
        Some(Watched { token, sent, fill })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.capabilities.shown.clone()
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
    fill: bool,
}

impl<T: TxToken> TxToken for Watched<'_, T> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        self.token.consume(len, |frame| {
            let result = f(frame);
            self.sent.note(frame, self.fill);
            result
        })
    }
}

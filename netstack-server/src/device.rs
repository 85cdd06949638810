//! Between the NIC and smoltcp: shows smoltcp one frame, and sees what it sends.
//!
//! smoltcp checks every socket for each frame. Here each connection has a socket set of
//! its own, the frame is parsed first (`parse`), and smoltcp gets it with that one set:
//! the work does not grow with the number of connections.

use alloc::vec;
use alloc::vec::Vec;

use smoltcp::phy::{Checksum, Device, DeviceCapabilities, PacketMeta, RxToken, TxToken};
use smoltcp::time::Instant;

use crate::checksum;
use crate::parse::{ETHERNET, IPV4, Place, TCP, locate, segment};
use crate::sequence::is_after;
use crate::split::split;

/// In a received frame's [`PacketMeta`]: the checksum of its TCP segment counts as right. The
/// NIC has compared it, or the segment has seen no wire.
pub const COMPARED: u32 = 1;

/// What went out for one socket set.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    /// Sequence number of a SYN.
    pub(crate) syn: Option<u32>,
    /// The latest sequence number after a segment's bytes.
    pub(crate) end: Option<u32>,
    /// Frames of any kind.
    pub(crate) frames: u64,
    /// There may be more, for another turn.
    pub(crate) is_cut: bool,
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

    /// Whether smoltcp asked for one itself.
    pub(crate) fn has_question(&self) -> bool {
        self.frames > self.segments
    }

    /// Looks at a frame that goes out, and gives a TCP segment its checksum if
    /// the NIC does not.
    fn note(&mut self, frame: &mut [u8], fill: bool) {
        self.frames += 1;
        let Some(Place { bytes, from, to }) = locate(frame) else {
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

/// What the NIC can do, and which of it smoltcp sees: the checksums of TCP and of
/// received IPv4 packets are not smoltcp's task.
pub(crate) struct Capabilities {
    shown: DeviceCapabilities,
    /// The NIC does not compare checksums of TCP, but of frames that say so.
    pub(crate) check: bool,
    /// The NIC does not fill in checksums of TCP.
    fill: bool,
}

impl Capabilities {
    /// With IP packets of up to `mtu` bytes, or as many as the NIC can.
    pub(crate) fn new(mut nic: DeviceCapabilities, mtu: Option<u16>) -> Self {
        if let Some(mtu) = mtu {
            let most = ETHERNET + usize::from(mtu);
            nic.max_transmission_unit = nic.max_transmission_unit.min(most);
        }
        let (check, fill) = match nic.checksum.tcp {
            Checksum::Both => (true, true),
            Checksum::Rx => (true, false),
            Checksum::Tx => (false, true),
            Checksum::None => (false, false),
        };
        nic.checksum.tcp = Checksum::None;
        // `parse` has looked at those of what comes in.
        nic.checksum.ipv4 = match nic.checksum.ipv4 {
            Checksum::Both | Checksum::Tx => Checksum::Tx,
            Checksum::Rx | Checksum::None => Checksum::None,
        };
        Self {
            shown: nic,
            check,
            fill,
        }
    }

    /// Bytes of the largest IP packet.
    pub(crate) fn mtu(&self) -> usize {
        self.shown.max_transmission_unit - ETHERNET
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
    /// Without `reply` what smoltcp answers goes nowhere.
    pub(crate) fn new(frame: &'f [u8], reply: Option<T>, capabilities: &'f Capabilities) -> Self {
        Self {
            frame: Some(frame),
            reply,
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
        let fill = self.capabilities.fill;
        let sent = &mut self.sent;
        let way = self.reply.take().map_or(Way::Nowhere, Way::Nic);
        Some((Borrowed(frame), Watched::new(way, sent, fill)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Self::TxToken<'_>> {
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.capabilities.shown.clone()
    }
}

/// Where a segment that is too long for its path waits to be cut, and a piece.
pub(crate) struct Scratch {
    whole: Vec<u8>,
    piece: Vec<u8>,
}

impl Scratch {
    pub(crate) fn new(capabilities: &Capabilities) -> Self {
        let most = ETHERNET + capabilities.mtu();
        Self {
            whole: vec![0; most],
            piece: vec![0; most],
        }
    }
}

/// Lets smoltcp send, and watches what.
pub(crate) struct Outlet<'d, D> {
    nic: &'d mut D,
    capabilities: &'d Capabilities,
    /// The path's limit, if it is narrower than the link.
    narrow: Option<(usize, &'d mut Scratch)>,
    pub(crate) sent: Sent,
}

impl<'d, D> Outlet<'d, D> {
    pub(crate) fn new(nic: &'d mut D, capabilities: &'d Capabilities) -> Self {
        Self {
            nic,
            capabilities,
            narrow: None,
            sent: Sent::default(),
        }
    }

    /// With IP packets of at most `limit` bytes, where they carry TCP.
    pub(crate) fn narrow(mut self, limit: Option<u16>, scratch: &'d mut Scratch) -> Self {
        self.narrow = limit.map(|limit| (usize::from(limit), scratch));
        self
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
        let fill = self.capabilities.fill;
        let sent = &mut self.sent;
        let way = match &mut self.narrow {
            None => Way::Nic(self.nic.transmit(now)?),
            Some((limit, scratch)) => {
                // There is room for the first piece at least; what is lost of the
                // rest is sent again as on any other link.
                let _ = self.nic.transmit(now)?;
                Way::Pieces(Pieces {
                    nic: self.nic,
                    now,
                    limit: *limit,
                    scratch,
                })
            }
        };
        sent.asked += 1;
        Some(Watched::new(way, sent, fill))
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

/// The right to send one frame. All variants are in one type, also for answers, so that
/// smoltcp's code for a frame is compiled once.
pub(crate) struct Watched<'a, T> {
    way: Way<'a, T>,
    sent: &'a mut Sent,
    fill: bool,
    /// With the bytes of a segment, if the frame is to be cut into several.
    meta: PacketMeta,
}

impl<'a, T> Watched<'a, T> {
    fn new(way: Way<'a, T>, sent: &'a mut Sent, fill: bool) -> Self {
        Self {
            way,
            sent,
            fill,
            meta: PacketMeta::default(),
        }
    }
}

enum Way<'a, T> {
    Nic(T),
    /// In pieces if it is too long for its path.
    Pieces(Pieces<'a>),
    /// smoltcp writes what it would have sent.
    Nowhere,
}

impl<T: TxToken> TxToken for Watched<'_, T> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let Self {
            way,
            sent,
            fill,
            meta,
        } = self;
        match way {
            Way::Nic(mut token) => {
                token.set_meta(meta);
                token.consume(len, |frame| {
                    let result = f(frame);
                    sent.note(frame, fill);
                    result
                })
            }
            Way::Pieces(mut pieces) => {
                // No frame is longer than the maximum that smoltcp knows.
                pieces.scratch.whole.resize(len, 0);
                let result = f(&mut pieces.scratch.whole);
                if let Some(size) = meta.segmentation_offload_size {
                    // Nor longer than what the peer takes.
                    let most = IPV4 + TCP + usize::from(size.get());
                    pieces.limit = pieces.limit.min(most);
                }
                pieces.send(sent, fill);
                result
            }
            Way::Nowhere => f(&mut vec![0; len]),
        }
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.meta = meta;
    }
}

struct Pieces<'a> {
    nic: &'a mut dyn Nic,
    now: Instant,
    limit: usize,
    scratch: &'a mut Scratch,
}

impl Pieces<'_> {
    fn send(&mut self, sent: &mut Sent, fill: bool) {
        let Scratch { whole, piece } = &mut *self.scratch;
        // Counts what smoltcp sent; the pieces are counted where they go.
        sent.note(whole, false);
        sent.frames -= 1;
        split(whole, self.limit, piece, |frame| {
            let goes = self.nic.send(frame, fill, self.now);
            sent.frames += u64::from(goes);
            goes
        });
    }
}

/// Sends a frame of our own; false when there is no room.
pub(crate) fn send_frame(nic: &mut impl Device, frame: &[u8], now: Instant) -> bool {
    nic.send(frame, false, now)
}

/// A NIC of any kind.
trait Nic {
    /// Sends a copy of a frame, with the checksum of TCP if the NIC does not fill that
    /// in; false when there is no room.
    fn send(&mut self, frame: &[u8], fill: bool, now: Instant) -> bool;
}

impl<D: Device> Nic for D {
    fn send(&mut self, frame: &[u8], fill: bool, now: Instant) -> bool {
        let Some(token) = self.transmit(now) else {
            return false;
        };
        token.consume(frame.len(), |out| {
            out.copy_from_slice(frame);
            if let Some(place) = locate(out).filter(|_| fill)
                && let Some(tcp) = out.get_mut(place.bytes)
            {
                checksum::fill(tcp, place.from, place.to);
            }
        });
        true
    }
}

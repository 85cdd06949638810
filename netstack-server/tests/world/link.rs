//! A link that can lose and reorder frames; time is a number.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use ipc::clock::Instant;
use netstack_server::COMPARED;
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, PacketMeta, RxToken, TxToken};
use smoltcp::wire::{EthernetFrame, Ipv4Packet, TcpPacket};

use super::as_stack;

pub(crate) fn wire(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(now.as_micros() as i64)
}

#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) frames: VecDeque<Vec<u8>>,
    /// All that ever came in, for a look afterwards.
    pub(crate) log: Vec<Vec<u8>>,
    /// Out of 100.
    pub(crate) loss: u32,
    /// Out of 100.
    pub(crate) reorder: u32,
    /// Bytes of the longest frame that is carried.
    pub(crate) longest: Option<usize>,
    /// Who receives frames is told that their checksums count as right.
    pub(crate) compared: bool,
    /// Of each frame that was to be cut into segments: its bytes, and those of a segment.
    pub(crate) cut: Vec<(usize, u16)>,
    random: u32,
}

impl Queue {
    fn chance(&mut self, of_hundred: u32) -> bool {
        self.random = self
            .random
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        (self.random >> 16) % 100 < of_hundred
    }

    fn put(&mut self, frame: Vec<u8>) {
        self.log.push(frame.clone());
        let is_long = self.longest.is_some_and(|longest| frame.len() > longest);
        if is_long || self.chance(self.loss) {
            return;
        }
        self.frames.push_back(frame);
        let count = self.frames.len();
        if count >= 2 && self.chance(self.reorder) {
            self.frames.swap(count - 1, count - 2);
        }
    }
}

pub(crate) struct End {
    pub(super) incoming: Rc<RefCell<Queue>>,
    pub(super) outgoing: Rc<RefCell<Queue>>,
    /// This end's NIC finishes checksums, and cuts segments: the link carries both whole.
    pub(super) offloads: bool,
}

pub(crate) struct Received {
    frame: Vec<u8>,
    compared: bool,
}

pub(crate) struct Sending {
    queue: Rc<RefCell<Queue>>,
    offloads: bool,
    meta: PacketMeta,
}

impl Sending {
    fn new(end: &End) -> Self {
        Self {
            queue: end.outgoing.clone(),
            offloads: end.offloads,
            meta: PacketMeta::default(),
        }
    }
}

/// Fills in the checksum of TCP over IPv4.
fn finish(frame: &mut [u8]) {
    let mut frame = EthernetFrame::new_unchecked(frame);
    let Ok(mut ip) = Ipv4Packet::new_checked(frame.payload_mut()) else {
        return;
    };
    let (from, to) = (ip.src_addr().into(), ip.dst_addr().into());
    if let Ok(mut tcp) = TcpPacket::new_checked(ip.payload_mut()) {
        tcp.fill_checksum(&from, &to);
    }
}

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.frame)
    }

    fn meta(&self) -> PacketMeta {
        let mut meta = PacketMeta::default();
        meta.id = if self.compared { COMPARED } else { 0 };
        meta
    }
}

impl TxToken for Sending {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = as_stack(false, || vec![0; len]);
        let result = f(&mut frame);
        as_stack(false, || {
            let mut queue = self.queue.borrow_mut();
            if self.offloads {
                finish(&mut frame);
            }
            if let Some(size) = self.meta.segmentation_offload_size {
                queue.cut.push((frame.len(), size.get()));
            }
            queue.put(frame);
        });
        result
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.meta = meta;
    }
}

impl Device for End {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Received, Sending)> {
        let mut incoming = self.incoming.borrow_mut();
        let received = Received {
            frame: incoming.frames.pop_front()?,
            compared: incoming.compared,
        };
        Some((received, Sending::new(self)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Sending> {
        Some(Sending::new(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        if self.offloads {
            capabilities.checksum.tcp = Checksum::Rx;
            capabilities.segmentation.tcpv4 = std::num::NonZeroUsize::new(20_000);
        }
        capabilities
    }
}

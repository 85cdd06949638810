//! The NIC: virtio-net over PCI (virtio 1.2 §5.1), as smoltcp's device.
//!
//! All frames are in memory that the NIC reaches: it writes a received frame
//! where smoltcp reads it, and smoltcp writes a frame where the NIC reads it.
//! The only copies are those between socket buffers and frames, and of a frame in buffers
//! that are not beside each other. What the NIC can do itself (checksums, segments) is
//! used as far as both sides agree on it.

use core::num::{NonZeroU16, NonZeroUsize};

use device::{Confined, OpenError};
use ipc::boot::NicDevice;
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, PacketMeta, RxToken, TxToken};
use smoltcp::time::Instant;
use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::{DeviceStatus, Transport};

use super::area::{Area, Source};
use super::header::{self, Features, HEADER, LARGEST};
use super::queue::{Done, Queue, SIZE, Shared};
use crate::device::COMPARED;

/// Bytes of a received frame's buffer, and of a buffer for a frame that goes out: the
/// header and an Ethernet frame.
const BUFFER: usize = 2048;

/// Frames of one segment that may be on their way out.
const OUT: usize = 128;

/// Bytes of a buffer for a frame of several segments, and how many may be on their way
/// out. What a connection sends at once is its socket's buffer at the most.
const LARGE: usize = 20 * 1024;
const OUT_LARGE: usize = 16;

/// Buffers of the largest frame.
const MOST: usize = (HEADER + LARGEST).div_ceil(BUFFER);

/// Without VLAN tag and check sequence.
const FRAME: usize = 1514;

/// Frames that go out together at the most: the NIC begins while there are more.
const TOGETHER: u16 = 32;

/// The queues' numbers (§5.1.2).
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;

/// Why there is no NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NicError {
    /// It can't be opened.
    Open(OpenError),
    /// It does not do what its kind does, or the memory is too small.
    Unusable,
}

/// Buffers of one size that are free to send.
struct Free<const COUNT: usize> {
    numbers: [u16; COUNT],
    count: usize,
}

impl<const COUNT: usize> Free<COUNT> {
    const fn new() -> Self {
        Self {
            numbers: [0; COUNT],
            count: 0,
        }
    }

    fn push(&mut self, number: u16) {
        if let Some(place) = self.numbers.get_mut(self.count) {
            *place = number;
            self.count += 1;
        }
    }

    fn pop(&mut self) -> Option<u16> {
        let number = self.numbers.get(self.count.checked_sub(1)?).copied();
        self.count -= 1;
        number
    }
}

/// Where a received frame is, and whether its checksum counts as compared.
struct Place {
    is_gathered: bool,
    start: usize,
    length: usize,
    is_compared: bool,
}

/// The buffers of a received frame.
struct Parts {
    numbers: [u16; MOST],
    count: usize,
}

/// The NIC.
pub struct Nic<T: Transport = Confined<PciTransport>> {
    transport: T,
    hardware: [u8; 6],
    features: Features,
    receive: Queue,
    incoming: Area,
    /// The buffers of the frame that was lent out last: back to the NIC before the
    /// next one.
    lent: Parts,
    /// Where a frame is put together whose buffers are not beside each other.
    gathered: Area,
    transmit: Queue,
    outgoing: Area,
    free: Free<OUT>,
    free_large: Free<OUT_LARGE>,
}

impl Nic {
    /// Takes the NIC into use.
    ///
    /// # Errors
    /// [`NicError`], at start-up: there is no network.
    pub fn new(device: NicDevice) -> Result<Self, NicError> {
        // SAFETY: the value is the right to drive it, and is spent here.
        let transport = unsafe { device::open(device.snapshot()) }.map_err(NicError::Open)?;
        let source = Source {
            take: device::take,
            physical: device::physical,
        };
        Self::start(transport, source).ok_or(NicError::Unusable)
    }
}

impl<T: Transport> Nic<T> {
    /// Takes a NIC into use (§3.1.1) that nobody else uses.
    pub(super) fn start(mut transport: T, source: Source) -> Option<Self> {
        let mut status = DeviceStatus::empty();
        transport.set_status(status);
        status |= DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
        transport.set_status(status);
        let features = Features::accept(transport.read_device_features())?;
        transport.write_driver_features(features.bits());
        status |= DeviceStatus::FEATURES_OK;
        transport.set_status(status);
        if !transport.get_status().contains(DeviceStatus::FEATURES_OK) {
            return None;
        }
        let hardware = transport.read_config_space::<[u8; 6]>(0).ok()?;
        let mut queue = |number: u16| {
            let area = Area::new(source, size_of::<Shared>())?;
            if (transport.max_queue_size(number) as usize) < SIZE {
                return None;
            }
            let [descriptors, driver, device] = Shared::areas(area.physical);
            transport.queue_set(number, SIZE as u32, descriptors, driver, device);
            let event_index = features.has(Features::EVENT_IDX);
            Some(Queue::new(area.shared(), event_index))
        };
        let (receive, transmit) = (queue(RECEIVE)?, queue(TRANSMIT)?);
        let large = match features.has(Features::HOST_TSO4) {
            true => OUT_LARGE,
            false => 0,
        };
        let mut nic = Self {
            hardware,
            features,
            receive,
            incoming: Area::new(source, SIZE * BUFFER)?,
            lent: Parts {
                numbers: [0; MOST],
                count: 0,
            },
            gathered: Area::new(source, HEADER + LARGEST)?,
            transmit,
            outgoing: Area::new(source, OUT * BUFFER + large * LARGE)?,
            free: Free::new(),
            free_large: Free::new(),
            transport,
        };
        for number in 0..(OUT + large) as u16 {
            let (start, _) = place(number);
            let address = nic.outgoing.address(start);
            nic.transmit.describe(number, address, false);
            nic.free(number);
        }
        nic.transmit.disarm();
        for number in 0..SIZE as u16 {
            let address = nic.incoming.address(usize::from(number) * BUFFER);
            nic.receive.describe(number, address, true);
            nic.give(number);
        }
        nic.transport.set_status(status | DeviceStatus::DRIVER_OK);
        nic.settle();
        Some(nic)
    }

    /// Its Ethernet address.
    pub const fn hardware(&self) -> [u8; 6] {
        self.hardware
    }

    /// The features that both sides use (virtio 1.2 §5.1.3, §6), a bit for each.
    pub const fn features(&self) -> u64 {
        self.features.bits()
    }

    /// Tells the NIC that its interrupt was seen.
    pub fn acknowledge(&mut self) {
        self.transport.ack_interrupt();
    }

    /// Whether frames wait without an interrupt to come.
    pub const fn has_more(&self) -> bool {
        false
    }

    /// Lets the NIC send what was written, and has it interrupt from now on; true if
    /// there is something to do already. Call it before waiting.
    pub fn settle(&mut self) -> bool {
        self.notify();
        let came = self.receive.arm();
        if self.has_room() {
            return came;
        }
        // No frame is taken before one can go out.
        self.transmit.arm()
    }

    fn notify(&mut self) {
        if self.transmit.must_notify() {
            self.transport.notify(TRANSMIT);
        }
        if self.receive.must_notify() {
            self.transport.notify(RECEIVE);
        }
    }

    /// Gives a receive buffer to the NIC, which does not have it.
    fn give(&mut self, number: u16) {
        self.receive.offer(number, BUFFER as u32);
    }

    /// Takes the next received frame from the NIC. Its buffers are in `lent`.
    fn take(&mut self) -> Option<Place> {
        // A NIC that lies may do so in each element of its queue.
        for _ in 0..SIZE {
            let Ok(first) = self.receive.take()? else {
                continue;
            };
            if let Some(frame) = self.frame(first) {
                return Some(frame);
            }
            self.give_back();
        }
        None
    }

    /// The frame that begins in a buffer; `None` if it is none.
    fn frame(&mut self, first: Done) -> Option<Place> {
        self.lent.add(first.id);
        if !(HEADER..=BUFFER).contains(&first.length) {
            return None;
        }
        let start = usize::from(first.id) * BUFFER;
        // SAFETY: the NIC has given the buffer back, and nothing of it was lent out since.
        let begin = unsafe { self.incoming.lend(start, HEADER) };
        let header = *begin.first_chunk()?;
        let header = header::Received::read(&header, self.features, MOST).ok()?;
        let mut total = first.length;
        let mut is_whole = true;
        let mut last = first;
        let mut gathered = 0;
        for _ in 1..header.buffers {
            // All come back at once (§5.1.6.4.1).
            let next = self.receive.take()?.ok()?;
            self.lent.add(next.id);
            if next.length > BUFFER || total + next.length > HEADER + LARGEST {
                return None;
            }
            // Beside each other as long as buffers come back in the order in which they
            // were given, but for the end of the memory.
            if is_whole && (last.length < BUFFER || next.id != last.id + 1) {
                is_whole = false;
                gathered = self.gather(0, start, total);
            }
            if !is_whole {
                gathered = self.gather(gathered, usize::from(next.id) * BUFFER, next.length);
            }
            total += next.length;
            last = next;
        }
        let mut place = Place {
            is_gathered: !is_whole,
            start: if is_whole { start } else { 0 } + HEADER,
            length: total - HEADER,
            is_compared: false,
        };
        // SAFETY: the reference ends here, and nothing of it is lent out.
        let frame = unsafe { self.lend(&place) };
        place.is_compared = header.settle(frame).ok()?;
        Some(place)
    }

    /// The frame at that place, for as long as the caller says.
    ///
    /// # Safety
    /// Nobody has another reference to it, and its buffers are not given back to the NIC
    /// meanwhile.
    unsafe fn lend<'a>(&self, place: &Place) -> &'a mut [u8] {
        let area = match place.is_gathered {
            true => &self.gathered,
            false => &self.incoming,
        };
        // SAFETY: passed on from the caller.
        unsafe { area.lend(place.start, place.length) }
    }

    /// Copies received bytes to what was gathered; how much it is then.
    fn gather(&mut self, at: usize, start: usize, length: usize) -> usize {
        // SAFETY: the NIC has given these buffers back, and has nothing of the other area;
        // no frame is lent out now.
        let from = unsafe { self.incoming.lend(start, length) };
        // SAFETY: as above.
        let to = unsafe { self.gathered.lend(at, length) };
        to.copy_from_slice(from);
        at + length
    }

    /// Gives the NIC back the buffers of the frame that was lent out, in their order.
    fn give_back(&mut self) {
        for index in 0..core::mem::take(&mut self.lent.count) {
            if let Some(number) = self.lent.numbers.get(index).copied() {
                self.give(number);
            }
        }
    }

    fn free(&mut self, number: u16) {
        match usize::from(number) < OUT {
            true => self.free.push(number),
            false => self.free_large.push(number),
        }
    }

    /// Whether a frame of any size can go out. Sent buffers are taken back only when they
    /// run low.
    fn has_room(&mut self) -> bool {
        let is_large = self.features.has(Features::HOST_TSO4);
        let has = |nic: &Self| nic.free.count > 0 && (!is_large || nic.free_large.count > 0);
        if !has(self) {
            self.notify();
            // A NIC gives back no more than it has: `Queue` sees to that.
            while let Some(done) = self.transmit.take() {
                if let Ok(done) = done {
                    self.free(done.id);
                }
            }
        }
        has(self)
    }

    /// Sends a frame that `write` makes.
    fn send<R>(
        &mut self,
        length: usize,
        size: Option<NonZeroU16>,
        write: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let whole = HEADER + length;
        let number = match whole <= BUFFER {
            true => self.free.pop(),
            false => self.free_large.pop(),
        };
        // There is one: `has_room`.
        let number = number.unwrap_or(0);
        let (start, room) = place(number);
        // SAFETY: the buffer is free: the NIC does not own it, and nobody has
        // a reference to it.
        let buffer = unsafe { self.outgoing.lend(start, whole.min(room)) };
        let (head, frame) = buffer.split_at_mut(HEADER);
        let result = write(frame);
        head.copy_from_slice(&header::write(frame, size, self.features));
        self.transmit.offer(number, whole.min(room) as u32);
        if self.transmit.untold() >= TOGETHER {
            self.notify();
        }
        result
    }
}

/// Where a buffer for frames that go out is, and its bytes: large ones are after the
/// others.
fn place(number: u16) -> (usize, usize) {
    let number = usize::from(number);
    match number.checked_sub(OUT) {
        None => (number * BUFFER, BUFFER),
        Some(large) => (OUT * BUFFER + large * LARGE, LARGE),
    }
}

impl Parts {
    fn add(&mut self, number: u16) {
        if let Some(place) = self.numbers.get_mut(self.count) {
            *place = number;
            self.count += 1;
        }
    }
}

impl<T: Transport> Device for Nic<T> {
    type RxToken<'a>
        = Received<'a>
    where
        T: 'a;
    type TxToken<'a>
        = Sending<'a, T>
    where
        T: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sending<'_, T>)> {
        self.give_back();
        // A reply must be possible before a frame is taken.
        if !self.has_room() {
            return None;
        }
        let place = self.take()?;
        let received = Received {
            // SAFETY: the buffers go back to the NIC in the next call, which
            // needs `self` again, when the token that has this reference is gone.
            frame: unsafe { self.lend(&place) },
            is_compared: place.is_compared,
        };
        Some((received, Sending::new(self)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_, T>> {
        self.has_room().then(|| Sending::new(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        if self.features.has(Features::CSUM) {
            // What comes in may be compared or not: each frame says so.
            capabilities.checksum.tcp = Checksum::Rx;
        }
        if self.features.has(Features::HOST_TSO4) {
            capabilities.segmentation.tcpv4 = NonZeroUsize::new(LARGE - HEADER);
        }
        capabilities
    }
}

/// A received frame.
pub struct Received<'a> {
    frame: &'a [u8],
    is_compared: bool,
}

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.frame)
    }

    fn meta(&self) -> PacketMeta {
        let mut meta = PacketMeta::default();
        if self.is_compared {
            meta.id = COMPARED;
        }
        meta
    }
}

/// The right to send one frame: there is a free buffer.
pub struct Sending<'a, T: Transport = Confined<PciTransport>> {
    nic: &'a mut Nic<T>,
    /// Bytes of a segment, if the frame is to be cut into several.
    size: Option<NonZeroU16>,
}

impl<'a, T: Transport> Sending<'a, T> {
    const fn new(nic: &'a mut Nic<T>) -> Self {
        Self { nic, size: None }
    }
}

impl<T: Transport> TxToken for Sending<'_, T> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        self.nic.send(len, self.size, f)
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.size = meta.segmentation_offload_size;
    }
}

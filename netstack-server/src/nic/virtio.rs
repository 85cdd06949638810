//! The NIC: virtio-net over PCI (virtio 1.1 §5.1), as smoltcp's device.
//!
//! All frames are in memory that the NIC reaches: it writes a received frame
//! where smoltcp reads it, and smoltcp writes a frame where the NIC reads it.
//! The only copies are those between socket buffers and frames.

use core::ptr::NonNull;

use device::{Confined, Memory, OpenError};
use ipc::boot::NicDevice;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use virtio_drivers::device::net::VirtIONetRaw;
use virtio_drivers::transport::pci::PciTransport;

/// Descriptors of each queue: what QEMU offers, and enough for a burst of SYNs
/// or a whole window while the processor is elsewhere.
const QUEUE: usize = 256;

/// Bytes of one frame's buffer: the driver's header of at most 12 bytes, an
/// Ethernet frame of 1,514, and what the driver demands of a receive buffer.
const BUFFER: usize = 2048;

/// Frames that may be on their way out.
const OUT: usize = 128;

/// Without VLAN tag and check sequence.
const FRAME: usize = 1514;

type Driver = VirtIONetRaw<Memory, Confined<PciTransport>, QUEUE>;

/// Why there is no NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NicError {
    /// It can't be opened.
    Open(OpenError),
    /// It does not do what its kind does, or the memory is too small.
    Unusable,
}

/// One of the buffers of a fixed number in the NIC's memory.
struct Buffers {
    memory: NonNull<u8>,
    count: usize,
}

impl Buffers {
    fn new(count: usize) -> Option<Self> {
        let memory = device::take(count * BUFFER)?;
        Some(Self { memory, count })
    }

    /// The buffer of that number, for as long as the caller says.
    ///
    /// # Safety
    /// Nobody has another reference to it, and the NIC does not own it.
    unsafe fn lend<'a>(&self, number: u16) -> &'a mut [u8] {
        let number = usize::from(number);
        assert!(number < self.count);
        // SAFETY: `number < count`, and `new` took `count` buffers.
        let start = unsafe { self.memory.as_ptr().add(number * BUFFER) };
        // SAFETY: the bytes are in the NIC's memory, which is mapped for
        // good; the caller vouches that the reference is the only one.
        unsafe { core::slice::from_raw_parts_mut(start, BUFFER) }
    }
}

/// The NIC.
pub struct Nic {
    driver: Driver,
    incoming: Buffers,
    /// Which buffer the NIC fills, by the number of its descriptor.
    filling: [u16; QUEUE],
    /// The buffer whose frame was lent out last: back to the NIC before the
    /// next one.
    lent: Option<u16>,
    outgoing: Buffers,
    /// Which buffer the NIC sends, by the number of its descriptor.
    sending: [u16; QUEUE],
    /// Buffers that are free to send, the first `free_count` of them.
    free: [u16; OUT],
    free_count: usize,
    /// Bytes of the driver's header before each frame.
    header: usize,
}

impl Nic {
    /// Takes the NIC into use.
    ///
    /// # Errors
    /// [`NicError`], at start-up: there is no network.
    pub fn new(device: NicDevice) -> Result<Self, NicError> {
        // SAFETY: the value is the right to drive it, and is spent here.
        let transport = unsafe { device::open(device.snapshot()) }.map_err(NicError::Open)?;
        let driver = Driver::new(transport).map_err(|_| NicError::Unusable)?;
        let buffers = |count| Buffers::new(count).ok_or(NicError::Unusable);
        let (incoming, outgoing) = (buffers(QUEUE)?, buffers(OUT)?);
        let mut nic = Self {
            driver,
            incoming,
            filling: [0; QUEUE],
            lent: None,
            outgoing,
            sending: [0; QUEUE],
            free: core::array::from_fn(|number| number as u16),
            free_count: OUT,
            header: 0,
        };
        for number in 0..OUT as u16 {
            // SAFETY: the buffer is new.
            let buffer = unsafe { nic.outgoing.lend(number) };
            let header = nic.driver.fill_buffer_header(buffer);
            nic.header = header.map_err(|_| NicError::Unusable)?;
        }
        for number in 0..QUEUE as u16 {
            nic.give(number);
        }
        Ok(nic)
    }

    /// Its Ethernet address.
    pub fn hardware(&self) -> [u8; 6] {
        self.driver.mac_address()
    }

    /// Tells the NIC that its interrupt was seen.
    pub fn acknowledge(&mut self) {
        self.driver.ack_interrupt();
    }

    /// Whether frames wait without an interrupt to come.
    pub const fn has_more(&self) -> bool {
        false
    }

    /// Gives a receive buffer to the NIC.
    fn give(&mut self, number: u16) {
        // SAFETY: the buffer is new, or came back from the NIC and is no longer lent out
        // (`receive`).
        let buffer = unsafe { self.incoming.lend(number) };
        // SAFETY: the buffer is not touched until `take` has it back.
        let token = unsafe { self.driver.receive_begin(buffer) };
        // There are as many descriptors as buffers: this can't fail.
        if let Some(place) = token
            .ok()
            .and_then(|t| self.filling.get_mut(usize::from(t)))
        {
            *place = number;
        }
    }

    /// Takes the next received frame from the NIC: the buffer's number, and
    /// the frame's place in it.
    fn take(&mut self) -> Option<(u16, usize, usize)> {
        loop {
            let token = self.driver.poll_receive()?;
            let number = *self.filling.get(usize::from(token))?;
            // SAFETY: the NIC has written that it is done with the buffer.
            let buffer = unsafe { self.incoming.lend(number) };
            // SAFETY: the buffer is the one of `receive_begin`.
            match unsafe { self.driver.receive_complete(token, buffer) } {
                Ok((start, length)) => return Some((number, start, length)),
                // Shorter than its header: no frame.
                Err(virtio_drivers::Error::IoError) => self.give(number),
                Err(_) => return None,
            }
        }
    }

    /// Takes sent buffers back. Only when they run low: each look makes the
    /// NIC interrupt once more.
    fn reclaim(&mut self) {
        while let Some(token) = self.driver.poll_transmit() {
            let Some(number) = self.sending.get(usize::from(token)).copied() else {
                return;
            };
            // SAFETY: the NIC has written that it is done with the buffer.
            let buffer = unsafe { self.outgoing.lend(number) };
            // SAFETY: the buffer is the one of `transmit_begin`; its length
            // only matters to `unshare`, which does nothing.
            let done = unsafe { self.driver.transmit_complete(token, buffer) };
            let Some(place) = self.free.get_mut(self.free_count) else {
                return;
            };
            if done.is_err() {
                return;
            }
            *place = number;
            self.free_count += 1;
        }
    }
}

impl Device for Nic {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sending<'_>)> {
        if let Some(number) = self.lent.take() {
            self.give(number);
        }
        if self.free_count == 0 {
            self.reclaim();
        }
        // A reply must be possible before a frame is taken.
        if self.free_count == 0 {
            return None;
        }
        let (number, start, length) = self.take()?;
        self.lent = Some(number);
        // SAFETY: the buffer goes back to the NIC in the next call, which
        // needs `self` again, when the token that has this reference is gone.
        let buffer = unsafe { self.incoming.lend(number) };
        let frame = buffer.get(start..start + length).unwrap_or_default();
        Some((Received(frame), Sending(self)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        if self.free_count == 0 {
            self.reclaim();
        }
        (self.free_count > 0).then_some(Sending(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }
}

/// A received frame.
pub struct Received<'a>(&'a [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// The right to send one frame: there is a free buffer.
pub struct Sending<'a>(&'a mut Nic);

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let nic = self.0;
        let last = nic.free_count.saturating_sub(1);
        let number = nic.free.get(last).copied().unwrap_or(0);
        // SAFETY: the buffer is free: the NIC does not own it, and nobody has
        // a reference to it.
        let buffer = unsafe { nic.outgoing.lend(number) };
        let end = nic.header + len;
        let frame = buffer.get_mut(nic.header..end).unwrap_or_default();
        let result = f(frame);
        let whole = buffer.get(..end).unwrap_or_default();
        // SAFETY: the buffer is not touched until `reclaim` has it back.
        let token = unsafe { nic.driver.transmit_begin(whole) };
        if let Some(place) = token.ok().and_then(|t| nic.sending.get_mut(usize::from(t))) {
            *place = number;
            nic.free_count = last;
        }
        result
    }
}

//! The driver and a device that says what it likes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use smoltcp::phy::{Checksum, Device, PacketMeta, RxToken, TxToken};
use smoltcp::time::Instant;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::area::Source;
use super::header::{Features, HEADER, LARGEST};
use super::queue::{SIZE, Shared};
use super::virtio::Nic;
use crate::device::COMPARED;

const BUFFER: usize = 2048;
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const EVERYTHING: u64 = u64::MAX;
const PLAIN: u64 = Features::MAC.bits() | Features::VERSION_1.bits();

/// What the driver has told the device.
#[derive(Default)]
struct Told {
    accepted: Cell<u64>,
    status: Cell<u8>,
    queues: RefCell<[Option<&'static Shared>; 2]>,
    notified: RefCell<Vec<u16>>,
}

struct Fake {
    offers: u64,
    told: Rc<Told>,
}

/// Memory of a page's alignment, for good; the device sees it where it is.
const SOURCE: Source = Source {
    take: |bytes| {
        let memory = Box::leak(vec![0; bytes.next_multiple_of(4096) + 4096].into_boxed_slice());
        let start = memory.as_ptr().align_offset(4096);
        Some(core::ptr::NonNull::from(&mut memory[start..]).cast())
    },
    physical: |place| place.as_ptr() as u64,
};

impl Transport for Fake {
    fn device_type(&self) -> DeviceType {
        DeviceType::Network
    }

    fn read_device_features(&mut self) -> u64 {
        self.offers
    }

    fn write_driver_features(&mut self, features: u64) {
        self.told.accepted.set(features);
    }

    fn max_queue_size(&mut self, _: u16) -> u32 {
        SIZE as u32
    }

    fn notify(&mut self, queue: u16) {
        self.told.notified.borrow_mut().push(queue);
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_truncate(self.told.status.get().into())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.told.status.set(status.bits() as u8);
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(&mut self, queue: u16, _: u32, descriptors: u64, driver: u64, device: u64) {
        assert_eq!(Shared::areas(descriptors), [descriptors, driver, device]);
        // SAFETY: the memory is of `SOURCE`, and for good.
        let shared = unsafe { &*(descriptors as *const Shared) };
        self.told.queues.borrow_mut()[usize::from(queue)] = Some(shared);
    }

    fn queue_unset(&mut self, _: u16) {}

    fn queue_used(&mut self, _: u16) -> bool {
        false
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        0
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, _: usize) -> virtio_drivers::Result<T> {
        Ok(T::read_from_bytes(&[2, 0, 0, 0, 0, 9][..size_of::<T>()]).unwrap())
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        _: usize,
        _: T,
    ) -> virtio_drivers::Result<()> {
        Err(virtio_drivers::Error::ConfigSpaceMissing)
    }
}

struct World {
    nic: Nic<Fake>,
    told: Rc<Told>,
    /// Buffers of each queue that the device has taken.
    taken: [u16; 2],
}

impl World {
    fn new(offers: u64) -> Self {
        let told = Rc::new(Told::default());
        let fake = Fake {
            offers,
            told: told.clone(),
        };
        let nic = Nic::start(fake, SOURCE).unwrap();
        Self {
            nic,
            told,
            taken: [0; 2],
        }
    }

    fn queue(&self, queue: usize) -> &'static Shared {
        self.told.queues.borrow()[queue].unwrap()
    }

    /// The next buffer of a queue, as the device sees it: its number and its memory.
    fn next(&mut self, queue: usize) -> Option<(u32, &'static mut [u8])> {
        let (id, address, length) = self.queue(queue).offered(self.taken[queue])?;
        self.taken[queue] = self.taken[queue].wrapping_add(1);
        // SAFETY: it is in memory of `SOURCE`, and the driver has lent it to the device.
        let bytes = unsafe { core::slice::from_raw_parts_mut(address as *mut u8, length as usize) };
        Some((id.into(), bytes))
    }

    /// Writes a frame to as many buffers as it takes; they are not given back yet.
    fn write(&mut self, header: [u8; HEADER], frame: &[u8]) -> Vec<(u32, u32)> {
        let whole = [&header, frame].concat();
        let parts = whole.chunks(BUFFER);
        parts
            .map(|part| {
                let (id, buffer) = self.next(RECEIVE).unwrap();
                buffer[..part.len()].copy_from_slice(part);
                (id, part.len() as u32)
            })
            .collect()
    }

    /// The device receives a frame and says nothing wrong of it.
    fn deliver(&mut self, frame: &[u8]) {
        let header = header_of(frame.len());
        let parts = self.write(header, frame);
        self.queue(RECEIVE).give_back(&parts);
    }

    /// The next frame that the driver shows, and whether its checksum counts as compared.
    fn received(&mut self) -> Option<(Vec<u8>, bool)> {
        let (frame, _) = self.nic.receive(Instant::ZERO)?;
        let is_compared = frame.meta().id == COMPARED;
        Some((frame.consume(<[u8]>::to_vec), is_compared))
    }

    /// Whether the NIC has each of its receive buffers back.
    fn has_all(&mut self) -> bool {
        assert!(self.received().is_none());
        let mut seen = Vec::new();
        while let Some((id, _)) = self.next(RECEIVE) {
            seen.push(id);
        }
        seen.sort_unstable();
        seen == (0..SIZE as u32).collect::<Vec<_>>()
    }

    fn send(&mut self, frame: &[u8], size: Option<u16>) -> bool {
        let Some(mut token) = self.nic.transmit(Instant::ZERO) else {
            return false;
        };
        let mut meta = PacketMeta::default();
        meta.segmentation_offload_size = size.and_then(core::num::NonZeroU16::new);
        token.set_meta(meta);
        token.consume(frame.len(), |out| out.copy_from_slice(frame));
        true
    }

    /// Notifications of a queue since the last look.
    fn notified(&self, queue: usize) -> usize {
        let mut notified = self.told.notified.borrow_mut();
        let before = notified.len();
        notified.retain(|number| usize::from(*number) != queue);
        before - notified.len()
    }
}

/// That of a frame of so many bytes which nobody has joined or compared.
fn header_of(length: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[10..].copy_from_slice(&((HEADER + length).div_ceil(BUFFER) as u16).to_le_bytes());
    header
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 % 251) as u8).collect()
}

#[test]
fn a_device_is_driven_with_what_it_offers() {
    let everything = World::new(EVERYTHING);
    let accepted = everything.told.accepted.get();
    assert_eq!(
        Some(accepted),
        Features::accept(EVERYTHING).map(Features::bits)
    );
    assert_eq!(everything.nic.hardware(), [2, 0, 0, 0, 0, 9]);
    let capabilities = everything.nic.capabilities();
    assert!(matches!(capabilities.checksum.tcp, Checksum::Rx));
    assert!(capabilities.segmentation.tcpv4.is_some());
    let plain = World::new(PLAIN);
    assert_eq!(plain.told.accepted.get(), PLAIN);
    let capabilities = plain.nic.capabilities();
    assert!(matches!(capabilities.checksum.tcp, Checksum::Both));
    assert!(capabilities.segmentation.tcpv4.is_none());
    assert_eq!(capabilities.max_transmission_unit, 1514);
}

#[test]
fn frames_of_every_size_arrive_unchanged_at_every_place_of_the_memory() {
    let mut world = World::new(EVERYTHING);
    // The buffers come round several times; 65,589 bytes are 33 of them.
    let sizes = [60, 1514, 2036, 2037, 4084, 4085, 9000, 30_000, LARGEST];
    for size in sizes.into_iter().cycle().take(300) {
        let frame = pattern(size);
        world.deliver(&frame);
        assert!(world.received() == Some((frame, false)), "{size}");
    }
    assert!(world.received().is_none());
}

#[test]
fn buffers_that_come_back_in_another_order_are_one_frame_all_the_same() {
    let mut world = World::new(EVERYTHING);
    let frame = pattern(7000);
    // The device has taken four, and uses them from the last to the first.
    let mut buffers: Vec<_> = (0..4).map(|_| world.next(RECEIVE).unwrap()).collect();
    buffers.reverse();
    let whole = [&header_of(frame.len())[..], &frame].concat();
    let mut parts = Vec::new();
    for ((id, buffer), part) in buffers.into_iter().zip(whole.chunks(BUFFER)) {
        buffer[..part.len()].copy_from_slice(part);
        parts.push((id, part.len() as u32));
    }
    world.queue(RECEIVE).give_back(&parts);
    assert!(world.received() == Some((frame, false)));
    // So is one with a short part in its middle.
    let parts: Vec<_> = [500, 300, 400]
        .into_iter()
        .enumerate()
        .map(|(number, length)| {
            let (id, buffer) = world.next(RECEIVE).unwrap();
            buffer[..length].fill(number as u8 + 1);
            if number == 0 {
                buffer[..HEADER].copy_from_slice(&header_of(2 * BUFFER + 1));
            }
            (id, length as u32)
        })
        .collect();
    world.queue(RECEIVE).give_back(&parts);
    let (frame, _) = world.received().unwrap();
    let expected = [vec![1; 500 - HEADER], vec![2; 300], vec![3; 400]].concat();
    assert!(frame == expected);
}

#[test]
fn a_device_that_lies_about_a_frame_ends_the_frame_and_the_next_one_arrives() {
    let mut told = [0; HEADER];
    told[10] = 1;
    let with = |at: usize, value: u8| {
        let mut header = told;
        header[at] = value;
        header
    };
    // Of kinds that were not agreed on, of no buffers, of too many, with a checksum
    // outside of it.
    let bad_headers = [
        with(1, 3),
        with(1, 0x81),
        with(1, 1),
        with(10, 0),
        with(10, 34),
        with(11, 255),
        [1, 0, 0, 0, 0, 0, 255, 255, 16, 0, 1, 0],
        [1, 0, 0, 0, 0, 0, 34, 0, 255, 255, 1, 0],
        // Of more buffers than came back.
        with(10, 2),
        with(10, 33),
    ];
    for header in bad_headers {
        let mut world = World::new(EVERYTHING);
        let parts = world.write(header, &pattern(100));
        world.queue(RECEIVE).give_back(&parts);
        assert_eq!(world.received(), None, "{header:?}");
        let good = pattern(80);
        world.deliver(&good);
        assert!(world.received() == Some((good, false)), "{header:?}");
        assert!(world.received().is_none());
    }
}

#[test]
fn a_device_that_lies_about_lengths_and_buffers_ends_the_frame_and_gets_its_buffers_back() {
    for length in [0, 1, HEADER as u32 - 1, BUFFER as u32 + 1, u32::MAX] {
        let mut world = World::new(EVERYTHING);
        let parts = world.write(header_of(60), &pattern(60));
        world.queue(RECEIVE).give_back(&[(parts[0].0, length)]);
        assert_eq!(world.received(), None, "{length}");
        // A second buffer that is too long, and a frame that is too long of 33 good ones.
        let parts = world.write(header_of(3000), &pattern(3000));
        world
            .queue(RECEIVE)
            .give_back(&[parts[0], (parts[1].0, length.max(2049))]);
        assert_eq!(world.received(), None, "{length}");
        let parts = world.write(
            header_of(33 * BUFFER - HEADER),
            &pattern(33 * BUFFER - HEADER),
        );
        world.queue(RECEIVE).give_back(&parts);
        assert_eq!(world.received(), None, "{length}");
        // Buffers that it does not have.
        world
            .queue(RECEIVE)
            .give_back(&[(300, 60), (u32::MAX, 60), (7 + 65536, 60)]);
        assert_eq!(world.received(), None, "{length}");
        let good = pattern(1514);
        world.deliver(&good);
        assert!(world.received() == Some((good, false)), "{length}");
    }
    // All 256 at once are lies.
    let mut world = World::new(EVERYTHING);
    let parts: Vec<_> = (0..SIZE)
        .map(|_| (world.next(RECEIVE).unwrap().0, 0))
        .collect();
    world.queue(RECEIVE).give_back(&parts);
    assert!(world.has_all());
}

#[test]
fn a_checksum_is_compared_where_device_and_driver_agreed_on_it() {
    for (offers, agreed) in [(EVERYTHING, true), (PLAIN, false)] {
        let mut world = World::new(offers);
        for (flags, is_compared) in [(0, false), (1, true), (2, true)] {
            let header = [flags, 0, 0, 0, 0, 0, 34, 0, 16, 0, 1, 0];
            let frame = pattern(60);
            let parts = world.write(header, &frame);
            world.queue(RECEIVE).give_back(&parts);
            assert!(
                world.received() == Some((frame, is_compared && agreed)),
                "{flags}"
            );
        }
    }
}

/// A TCP segment in IPv4 of so many bytes.
fn segment(payload: usize) -> Vec<u8> {
    let mut frame = pattern(54 + payload);
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&(40 + payload as u16).to_be_bytes());
    frame[23] = 6;
    frame[46] = 0x50;
    frame
}

#[test]
fn what_goes_out_has_a_header_and_its_bytes() {
    let mut world = World::new(EVERYTHING);
    for (payload, size, kind) in [(10, None, 0), (1460, Some(1460), 0), (8192, Some(1460), 1)] {
        let frame = segment(payload);
        assert!(world.send(&frame, size));
        let (_, out) = world.next(TRANSMIT).unwrap();
        assert_eq!(out.len(), HEADER + frame.len());
        assert_eq!(out[..2], [1, kind]);
        // All but the checksum.
        assert!(out[HEADER..HEADER + 50] == frame[..50]);
        assert!(out[HEADER + 52..] == frame[52..]);
    }
    let mut world = World::new(PLAIN);
    let frame = segment(1460);
    assert!(world.send(&frame, None));
    let (_, out) = world.next(TRANSMIT).unwrap();
    assert_eq!(out[..HEADER], [0; HEADER]);
    assert!(out[HEADER..] == frame);
}

#[test]
fn the_device_is_notified_once_of_what_goes_out_together() {
    let mut world = World::new(EVERYTHING);
    world.notified(TRANSMIT);
    for _ in 0..5 {
        assert!(world.send(&pattern(60), None));
    }
    assert_eq!(world.notified(TRANSMIT), 0);
    assert!(!world.nic.settle());
    assert_eq!(world.notified(TRANSMIT), 1);
    // It has asked for nothing since.
    assert!(world.send(&pattern(60), None));
    world.nic.settle();
    assert_eq!(world.notified(TRANSMIT), 0);
    // Many are not kept back.
    world.queue(TRANSMIT).wants_notification_at(6);
    for _ in 0..32 {
        assert!(world.send(&pattern(60), None));
    }
    assert_eq!(world.notified(TRANSMIT), 1);
}

#[test]
fn no_frame_is_taken_before_an_answer_can_go_out_and_the_device_interrupts_then() {
    for offers in [EVERYTHING, PLAIN] {
        let mut world = World::new(offers);
        world.deliver(&pattern(60));
        let mut sent = 0;
        while world.send(&segment(60), None) {
            sent += 1;
        }
        assert_eq!(sent, 128);
        assert!(world.received().is_none());
        // A frame waits, and nothing can be done for it.
        assert!(!world.nic.settle());
        let (id, _) = world.next(TRANSMIT).unwrap();
        let event_index = offers == EVERYTHING;
        assert!(world.queue(TRANSMIT).interrupts(event_index, 0, 1));
        world.queue(TRANSMIT).give_back(&[(id, 0)]);
        assert!(world.received().is_some());
        // Who came meanwhile is told of at once, whatever was full before.
        world.deliver(&pattern(60));
        assert!(world.nic.settle());
        assert!(world.send(&segment(60), None));
        // Full by the last frame, with nobody who has missed a buffer yet.
        assert!(!world.nic.settle());
        let (id, _) = world.next(TRANSMIT).unwrap();
        assert!(world.queue(TRANSMIT).interrupts(event_index, 1, 2));
        world.queue(TRANSMIT).give_back(&[(id, 0)]);
        assert!(world.nic.settle());
        assert!(world.received().is_some());
        assert!(world.send(&segment(60), None));
        assert!(!world.send(&segment(60), None));
    }
    // Large buffers run out alone: smoltcp asks before it says how large a frame is.
    let mut world = World::new(EVERYTHING);
    let sent = (0..100).take_while(|_| world.send(&segment(8192), Some(1460)));
    assert_eq!(sent.count(), 16);
    // Whatever the device gives back that it does not have frees nothing.
    world.queue(TRANSMIT).give_back(&[(0, 0), (999, 0)]);
    assert!(!world.send(&segment(8192), Some(1460)));
}

#[test]
fn a_frame_that_came_before_the_wait_is_seen_and_one_after_it_interrupts() {
    for offers in [EVERYTHING, PLAIN] {
        let event_index = offers == EVERYTHING;
        let mut world = World::new(offers);
        assert!(!world.nic.settle());
        world.deliver(&pattern(60));
        assert!(world.queue(RECEIVE).interrupts(event_index, 0, 1));
        assert!(world.nic.settle());
        assert!(world.received().is_some());
        assert!(world.received().is_none());
        assert!(!world.nic.settle());
        world.deliver(&pattern(60));
        assert!(world.queue(RECEIVE).interrupts(event_index, 1, 2));
    }
}

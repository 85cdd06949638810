//! A queue of buffers between driver and device: a split virtqueue (virtio 1.2 §2.7).
//!
//! Each descriptor stands for one buffer, always the same. What the device writes is an
//! untrusted value: a buffer that it does not have can't come back from it.

use core::mem::offset_of;
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

/// Descriptors of a queue: what QEMU offers, and enough for a burst of SYNs or a whole
/// window while the processor is elsewhere.
pub(super) const SIZE: usize = 256;

/// The device writes the buffer (§2.7.5).
const WRITE: u16 = 2;
/// The other side wants no notification (§2.7.6, §2.7.8).
const QUIET: u16 = 1;

#[repr(C, align(16))]
struct Descriptor {
    address: AtomicU64,
    length: AtomicU32,
    flags: AtomicU16,
    next: AtomicU16,
}

/// What the driver writes (§2.7.6).
#[repr(C)]
struct Available {
    flags: AtomicU16,
    index: AtomicU16,
    ring: [AtomicU16; SIZE],
    used_event: AtomicU16,
}

#[repr(C)]
struct Element {
    id: AtomicU32,
    length: AtomicU32,
}

/// What the device writes (§2.7.8).
#[repr(C, align(4096))]
struct Used {
    flags: AtomicU16,
    index: AtomicU16,
    ring: [Element; SIZE],
    available_event: AtomicU16,
}

/// The memory that both sides see. All zeros is a queue without buffers.
#[repr(C, align(4096))]
pub(super) struct Shared {
    descriptors: [Descriptor; SIZE],
    available: Available,
    used: Used,
}

impl Shared {
    /// Where its three areas are for a device that sees it at `base`: descriptors, the
    /// driver's, the device's.
    pub(super) const fn areas(base: u64) -> [u64; 3] {
        [
            base + offset_of!(Self, descriptors) as u64,
            base + offset_of!(Self, available) as u64,
            base + offset_of!(Self, used) as u64,
        ]
    }
}

/// A buffer that came back from the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) id: u16,
    /// Bytes that the device says that it has written.
    pub(super) length: usize,
}

/// The device gives back what it does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lie;

/// The driver's side of a queue.
pub(super) struct Queue {
    shared: &'static Shared,
    /// VIRTIO_F_EVENT_IDX was agreed on (§2.7.7, §2.7.10).
    event_index: bool,
    /// Buffers offered so far.
    offered: u16,
    /// How many of them the device was told of.
    told: u16,
    /// Buffers taken back so far.
    taken: u16,
    /// Which buffers the device has.
    theirs: [bool; SIZE],
}

impl Queue {
    /// Over memory that is all zeros.
    pub(super) const fn new(shared: &'static Shared, event_index: bool) -> Self {
        Self {
            shared,
            event_index,
            offered: 0,
            told: 0,
            taken: 0,
            theirs: [false; SIZE],
        }
    }

    /// Says where buffer `id` is for the device, and whether it writes it.
    pub(super) fn describe(&self, id: u16, address: u64, is_written: bool) {
        if let Some(descriptor) = self.shared.descriptors.get(usize::from(id)) {
            descriptor.address.store(address, Ordering::Relaxed);
            let flags = if is_written { WRITE } else { 0 };
            descriptor.flags.store(flags, Ordering::Relaxed);
        }
    }

    /// Offers the device `length` bytes of buffer `id`, which it does not have.
    pub(super) fn offer(&mut self, id: u16, length: u32) {
        let available = &self.shared.available;
        let (Some(descriptor), Some(theirs), Some(place)) = (
            self.shared.descriptors.get(usize::from(id)),
            self.theirs.get_mut(usize::from(id)),
            available.ring.get(usize::from(self.offered) % SIZE),
        ) else {
            return;
        };
        *theirs = true;
        descriptor.length.store(length, Ordering::Relaxed);
        place.store(id, Ordering::Relaxed);
        self.offered = self.offered.wrapping_add(1);
        available.index.store(self.offered, Ordering::Release);
    }

    /// Whether the device must be told that there are buffers; from now on it is taken
    /// to know.
    pub(super) fn must_notify(&mut self) -> bool {
        let news = self.offered.wrapping_sub(self.told);
        if news == 0 {
            return false;
        }
        self.told = self.offered;
        // The device looks at the index after it has asked for notifications; here it is
        // the other way round.
        fence(Ordering::SeqCst);
        let used = &self.shared.used;
        if self.event_index {
            let at = used.available_event.load(Ordering::Relaxed);
            self.offered.wrapping_sub(at).wrapping_sub(1) < news
        } else {
            used.flags.load(Ordering::Relaxed) & QUIET == 0
        }
    }

    /// Buffers offered of which the device was not told.
    pub(super) const fn untold(&self) -> u16 {
        self.offered.wrapping_sub(self.told)
    }

    /// Takes the next buffer back; `None` when the device has given none.
    pub(super) fn take(&mut self) -> Option<Result<Done, Lie>> {
        let used = &self.shared.used;
        if used.index.load(Ordering::Acquire) == self.taken {
            return None;
        }
        let element = used.ring.get(usize::from(self.taken) % SIZE)?;
        let id = element.id.load(Ordering::Relaxed);
        let length = element.length.load(Ordering::Relaxed);
        self.taken = self.taken.wrapping_add(1);
        let theirs = self.theirs.get_mut(id as usize).filter(|theirs| **theirs);
        let Some(theirs) = theirs else {
            return Some(Err(Lie));
        };
        *theirs = false;
        Some(Ok(Done {
            id: id as u16,
            length: length as usize,
        }))
    }

    /// Asks for an interrupt at the next buffer that comes back; true if there is one
    /// already, for which none may come.
    pub(super) fn arm(&self) -> bool {
        let available = &self.shared.available;
        if self.event_index {
            available.used_event.store(self.taken, Ordering::Relaxed);
        } else {
            available.flags.store(0, Ordering::Relaxed);
        }
        // As in `must_notify`.
        fence(Ordering::SeqCst);
        self.shared.used.index.load(Ordering::Acquire) != self.taken
    }

    /// Wants no interrupt until [`Queue::arm`]. With an event index the request is used
    /// up by the interrupt that it brings.
    pub(super) fn disarm(&self) {
        let available = &self.shared.available;
        if self.event_index {
            // Far from any that comes soon.
            let never = self.taken.wrapping_sub(1);
            available.used_event.store(never, Ordering::Relaxed);
        } else {
            available.flags.store(QUIET, Ordering::Relaxed);
        }
    }
}

/// The device's side, for tests.
#[cfg(test)]
pub(super) mod device {
    use super::*;

    impl Shared {
        /// Memory of zeros, for good.
        pub(crate) fn leaked() -> &'static Self {
            // All of it is atomic numbers.
            let descriptor = || Descriptor {
                address: AtomicU64::new(0),
                length: AtomicU32::new(0),
                flags: AtomicU16::new(0),
                next: AtomicU16::new(0),
            };
            let element = || Element {
                id: AtomicU32::new(0),
                length: AtomicU32::new(0),
            };
            Box::leak(Box::new(Self {
                descriptors: core::array::from_fn(|_| descriptor()),
                available: Available {
                    flags: AtomicU16::new(0),
                    index: AtomicU16::new(0),
                    ring: core::array::from_fn(|_| AtomicU16::new(0)),
                    used_event: AtomicU16::new(0),
                },
                used: Used {
                    flags: AtomicU16::new(0),
                    index: AtomicU16::new(0),
                    ring: core::array::from_fn(|_| element()),
                    available_event: AtomicU16::new(0),
                },
            }))
        }

        /// The buffer that was offered as number `count`: its number, address, length.
        pub(crate) fn offered(&self, count: u16) -> Option<(u16, u64, u32)> {
            let available = &self.available;
            if available.index.load(Ordering::Acquire) == count {
                return None;
            }
            let id = available.ring[usize::from(count) % SIZE].load(Ordering::Relaxed);
            let descriptor = &self.descriptors[usize::from(id)];
            let address = descriptor.address.load(Ordering::Relaxed);
            Some((id, address, descriptor.length.load(Ordering::Relaxed)))
        }

        /// Gives buffers back, all at once.
        pub(crate) fn give_back(&self, buffers: &[(u32, u32)]) {
            let used = &self.used;
            let mut index = used.index.load(Ordering::Relaxed);
            for (id, length) in buffers {
                let element = &used.ring[usize::from(index) % SIZE];
                element.id.store(*id, Ordering::Relaxed);
                element.length.store(*length, Ordering::Relaxed);
                index = index.wrapping_add(1);
            }
            used.index.store(index, Ordering::Release);
        }

        /// Wants a notification when buffer number `count` was offered.
        pub(crate) fn wants_notification_at(&self, count: u16) {
            self.used.available_event.store(count, Ordering::Relaxed);
        }

        /// Wants none at all, in the words of a device without an event index.
        pub(crate) fn is_quiet(&self, is_quiet: bool) {
            self.used
                .flags
                .store(u16::from(is_quiet), Ordering::Relaxed);
        }

        /// Whether the device interrupts after it has given back `before` and then up to
        /// `after` buffers (§2.7.7.2).
        pub(crate) fn interrupts(&self, event_index: bool, before: u16, after: u16) -> bool {
            if event_index {
                let at = self.available.used_event.load(Ordering::Relaxed);
                after.wrapping_sub(at).wrapping_sub(1) < after.wrapping_sub(before)
            } else {
                self.available.flags.load(Ordering::Relaxed) & QUIET == 0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(event_index: bool) -> (Queue, &'static Shared) {
        let shared = Shared::leaked();
        (Queue::new(shared, event_index), shared)
    }

    #[test]
    fn a_buffer_goes_to_the_device_and_comes_back_once() {
        let (mut queue, device) = queue(true);
        // The indices wrap several times.
        for round in 0..200_000_u32 {
            let id = (round % 256) as u16;
            queue.describe(id, 0x1000 + u64::from(id), true);
            queue.offer(id, 77);
            let found = device.offered(round as u16).unwrap();
            assert_eq!(found, (id, 0x1000 + u64::from(id), 77));
            assert_eq!(queue.take(), None);
            device.give_back(&[(id.into(), 33)]);
            assert_eq!(queue.take(), Some(Ok(Done { id, length: 33 })));
            assert_eq!(queue.take(), None);
        }
    }

    #[test]
    fn what_the_device_does_not_have_does_not_come_back() {
        let (mut queue, device) = queue(true);
        queue.offer(3, 10);
        // Never offered, beyond the table, beyond 16 bits of a good one.
        device.give_back(&[(4, 1), (256, 1), (u32::MAX, 1), (3 | 1 << 16, 1), (3, 1)]);
        for _ in 0..4 {
            assert_eq!(queue.take(), Some(Err(Lie)));
        }
        assert_eq!(queue.take(), Some(Ok(Done { id: 3, length: 1 })));
        // Twice the same.
        device.give_back(&[(3, 1)]);
        assert_eq!(queue.take(), Some(Err(Lie)));
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn the_device_is_told_once_when_it_wants_to_be() {
        for start in [0, 5, u16::MAX - 2, 1 << 15] {
            let (mut queue, device) = queue(true);
            (queue.offered, queue.told) = (start, start);
            device.wants_notification_at(start);
            assert!(!queue.must_notify());
            for id in 0..5 {
                queue.offer(id, 1);
            }
            assert_eq!(queue.untold(), 5);
            // It has asked for the first of the five.
            assert!(queue.must_notify());
            assert_eq!(queue.untold(), 0);
            // And for nothing since.
            queue.offer(5, 1);
            assert!(!queue.must_notify());
            device.wants_notification_at(start.wrapping_add(6));
            queue.offer(6, 1);
            assert!(queue.must_notify());
        }
        let (mut queue, device) = queue(false);
        for is_quiet in [true, false] {
            device.is_quiet(is_quiet);
            queue.offer(0, 1);
            assert_eq!(queue.must_notify(), !is_quiet);
        }
    }

    #[test]
    fn an_interrupt_comes_for_the_first_buffer_after_it_was_asked_for() {
        for event_index in [true, false] {
            let (mut queue, device) = queue(event_index);
            queue.disarm();
            let mut given = 0;
            let mut give = |count: u16| {
                let before = given;
                for id in 0..count {
                    queue.offer(id, 1);
                    device.give_back(&[(id.into(), 1)]);
                }
                given += count;
                (queue.arm(), device.interrupts(event_index, before, given))
            };
            // It is there already when it is asked for: no interrupt needs to come.
            assert!(give(3).0);
            while queue.take().is_some() {}
            assert!(!queue.arm());
            queue.offer(0, 1);
            device.give_back(&[(0, 1)]);
            assert!(device.interrupts(event_index, given, given + 1));
            while queue.take().is_some() {}
            queue.disarm();
            queue.offer(1, 1);
            device.give_back(&[(1, 1)]);
            assert!(!device.interrupts(event_index, given + 1, given + 2));
        }
    }
}

//! A link that can lose and reorder frames; time is a number.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use ipc::clock::Instant;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};

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
}

pub(crate) struct Received(Vec<u8>);
pub(crate) struct Sending(Rc<RefCell<Queue>>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Sending {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = as_stack(false, || vec![0; len]);
        let result = f(&mut frame);
        as_stack(false, || self.0.borrow_mut().put(frame));
        result
    }
}

impl Device for End {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Received, Sending)> {
        let frame = self.incoming.borrow_mut().frames.pop_front()?;
        Some((Received(frame), Sending(self.outgoing.clone())))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Sending> {
        Some(Sending(self.outgoing.clone()))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

//! A network of this system alone: what it sends comes back to it.
//!
//! For measurements of everything but the NIC: no frame leaves, nothing waits
//! for anybody, and the machine is never idle.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

/// As large as the frames of the real NIC.
const FRAME: usize = 1514;

/// Used frames that are kept for the next ones.
const KEPT: usize = 64;

/// Stands in for the NIC.
#[derive(Debug, Default)]
pub struct Loopback {
    waiting: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    lent: Vec<u8>,
}

impl Loopback {
    /// Its Ethernet address: a locally administered one.
    pub fn hardware(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, 1]
    }

    /// It has none.
    pub const fn features(&self) -> u64 {
        0
    }

    /// Nothing interrupts.
    pub fn acknowledge(&mut self) {}

    /// Whether frames wait without an interrupt to come.
    pub fn has_more(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Nothing has to be told before a wait.
    pub const fn settle(&self) -> bool {
        false
    }
}

impl Device for Loopback {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sending<'_>)> {
        let frame = self.waiting.pop_front()?;
        let before = core::mem::replace(&mut self.lent, frame);
        if self.spare.len() < KEPT {
            self.spare.push(before);
        }
        let Self {
            waiting,
            spare,
            lent,
        } = self;
        Some((Received(lent), Sending { waiting, spare }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        let Self { waiting, spare, .. } = self;
        Some(Sending { waiting, spare })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }
}

/// A frame that came back.
#[derive(Debug)]
pub struct Received<'a>(&'a [u8]);

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// The right to send one frame.
#[derive(Debug)]
pub struct Sending<'a> {
    waiting: &'a mut VecDeque<Vec<u8>>,
    spare: &'a mut Vec<Vec<u8>>,
}

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = self.spare.pop().unwrap_or_default();
        frame.resize(length, 0);
        let result = f(&mut frame);
        self.waiting.push_back(frame);
        result
    }
}

#[cfg(test)]
mod tests {
    use smoltcp::phy::{RxToken, TxToken};

    use super::*;

    #[test]
    fn frames_come_back_in_their_order() {
        let mut nic = Loopback::default();
        assert!(!nic.has_more());
        for length in [3, 1500, 60] {
            let token = nic.transmit(Instant::ZERO).unwrap();
            token.consume(length, |frame| frame.fill(length as u8));
        }
        for length in [3, 1500, 60] {
            assert!(nic.has_more());
            let (frame, _) = nic.receive(Instant::ZERO).unwrap();
            frame.consume(|bytes| assert_eq!(bytes, vec![length as u8; length]));
        }
        assert!(nic.receive(Instant::ZERO).is_none());
    }
}

//! From the socket to the owner's ring.

use core::mem;

use alloc::vec::Vec;

use ipc::channel::{Doorbell, Status};
use smoltcp::socket::tcp::RecvError;

use super::{Connection, Ending, Refused};
use crate::owners::Port;

impl Connection {
    /// Moves bytes from the socket to the owner's ring, and tells the owner
    /// what became of the connection.
    pub(crate) fn pump_in(&mut self, port: &mut Port<'_, impl Doorbell>) -> Result<(), Refused> {
        if !self.established_told && self.is_established() {
            self.established_told = true;
            port.set_status(Status::ESTABLISHED);
            if mem::take(&mut self.is_awaited) {
                port.notify();
            }
        }
        let mut waits = self.fill(port)?;
        port.set_idle(!waits);
        if waits {
            // The owner may have made room before it could know of this.
            waits = self.fill(port)?;
            port.set_idle(!waits);
        }
        // A reader that has a part of what it needs learns that no more comes of itself.
        if waits && !mem::replace(&mut self.is_waiting, waits) {
            port.notify();
        }
        self.is_waiting = waits;
        Ok(())
    }

    /// Moves what the ring has room for; true if bytes are left.
    fn fill(&mut self, port: &mut Port<'_, impl Doorbell>) -> Result<bool, Refused> {
        while let Some(rest) = self.back.get(self.back_at..).filter(|r| !r.is_empty()) {
            match port.write(rest)? {
                0 => return Ok(true),
                written => self.back_at += written,
            }
        }
        self.back = Vec::new();
        self.back_at = 0;
        let Some(wire) = &mut self.wire else {
            return Ok(false);
        };
        loop {
            let moved = wire.socket().recv(|bytes| match port.write(bytes) {
                Ok(count) => (count, Ok((count, bytes.len()))),
                Err(broken) => (0, Err(broken)),
            });
            match moved {
                Ok(moved) => match moved? {
                    (0, left) => return Ok(left > 0),
                    (count, _) => self.rx_next = self.rx_next.wrapping_add(count as u32),
                },
                Err(RecvError::Finished) => {
                    if !self.end_told {
                        self.end_told = true;
                        port.tell(Status::END);
                    }
                    return Ok(false);
                }
                Err(RecvError::InvalidState) => return Ok(false),
            }
        }
    }

    /// Whether the owner knows that the peer ended its side in order.
    pub(crate) fn ended_cleanly(&self) -> bool {
        self.end_told && self.fin_sent
    }

    /// There is no reader any more: bytes of the peer are dropped, so that its FIN can
    /// come. Before a reset the FIN does not matter, and the window closes.
    pub(crate) fn drain(&mut self) {
        if self.ending == Ending::Fin
            && let Some(wire) = &mut self.wire
        {
            while let Ok(count) = wire.socket().recv(|bytes| (bytes.len(), bytes.len())) {
                if count == 0 {
                    return;
                }
                self.rx_next = self.rx_next.wrapping_add(count as u32);
            }
        }
    }
}

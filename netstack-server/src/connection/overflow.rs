//! What is between two owners of a connection: written by the last one and not
//! sent, come for the last one and not read.

use alloc::vec;
use alloc::vec::Vec;
use core::mem::size_of;

use ipc::channel::{Doorbell, Status};
use ipc::clock::Instant;
use ipc::net::{Owner, SegmentHeader};

use super::{Chunk, Connection, Ending, Phase, Refused};
use crate::budget::ALLOCATION;
use crate::config::MAX_OVERFLOW;
use crate::owners::Port;

/// What a run of bytes costs besides those bytes: its place in a list that
/// doubles, and its allocation.
const CHUNK: usize = 2 * size_of::<Chunk>() + 2 * ALLOCATION;

impl Connection {
    /// Bytes of memory that this connection has between owners.
    pub(crate) fn overflow(&self) -> usize {
        let forward: usize = self
            .forward
            .iter()
            .map(|c| CHUNK + c.bytes.capacity())
            .sum();
        let back = match self.back.capacity() {
            0 => 0,
            bytes => CHUNK + bytes,
        };
        forward + back
    }

    /// Takes all that the owner has written, and its half-close, off the ring.
    /// A segment that is not whole is nothing.
    pub(crate) fn take_written(
        &mut self,
        port: &mut Port<'_, impl Doorbell>,
        mut room: usize,
    ) -> Result<(), Refused> {
        self.tx_ended |= port.peer_status().has(Status::END);
        if !matches!(self.owner, Owner::Offload(_)) {
            let length = port.readable()?;
            return self.append(port, length, 0, &mut room);
        }
        while let Some(length) = self.next_segment(port)? {
            self.append(port, length, SegmentHeader::SIZE, &mut room)?;
        }
        Ok(())
    }

    /// Takes `length` bytes after a header off the ring.
    fn append(
        &mut self,
        port: &mut Port<'_, impl Doorbell>,
        length: usize,
        header: usize,
        room: &mut usize,
    ) -> Result<(), Refused> {
        if length == 0 {
            return Ok(());
        }
        let waiting: usize = self.forward.iter().map(|chunk| chunk.bytes.len()).sum();
        if waiting + length > MAX_OVERFLOW {
            return Err(Refused::Index);
        }
        *room = room.checked_sub(CHUNK + length).ok_or(Refused::Memory)?;
        let mut bytes = vec![0; length];
        let count = port.peek(header, &mut bytes)?;
        bytes.truncate(count);
        port.consume(header + bytes.len())?;
        self.tx_next = self.tx_next.wrapping_add(bytes.len() as u32);
        let apart = header > 0;
        self.forward.push_back(Chunk { bytes, apart });
        Ok(())
    }

    /// Takes back what the owner has not consumed.
    pub(crate) fn take_unread(
        &mut self,
        port: &mut Port<'_, impl Doorbell>,
        room: usize,
    ) -> Result<(), Refused> {
        let rest = self.back.get(self.back_at..).unwrap_or_default();
        let unread = port.unread()?;
        let most = unread + rest.len();
        if most > MAX_OVERFLOW {
            return Err(Refused::Index);
        }
        if most > 0 && CHUNK + most > room {
            return Err(Refused::Memory);
        }
        let mut bytes = Vec::with_capacity(most);
        bytes.resize(unread, 0);
        let count = port.take_back(&mut bytes)?;
        bytes.truncate(count);
        bytes.extend_from_slice(rest);
        self.back = bytes;
        self.back_at = 0;
        Ok(())
    }

    /// Begins with a new owner, that has no events yet.
    pub(crate) fn belongs_to(&mut self, owner: Owner, deadline: Instant) {
        self.owner = owner;
        self.deadline = deadline;
        self.deadline_told = false;
        self.end_told = false;
        self.established_told = false;
    }

    /// It is over at once: nothing of it is sent or read any more.
    pub(crate) fn cut_off(&mut self) {
        self.forward.clear();
        self.back = Vec::new();
        self.back_at = 0;
        if let Some(wire) = &mut self.wire {
            wire.socket().abort();
        }
    }

    /// No owner writes any more; bytes of the peer are dropped.
    pub(crate) fn let_go(&mut self, ending: Ending, until: Instant) {
        self.phase = Phase::Lingering(until);
        self.owner = Owner::Client;
        self.tx_ended = true;
        self.ending = ending;
        self.back = Vec::new();
        self.back_at = 0;
    }
}

//! A connection changes hands: no byte is lost, doubled or seen by the wrong
//! owner.

use ipc::channel::Doorbell;
use ipc::clock::Instant;
use ipc::net::{NetError, Owner, TcpPosition};
use ipc::stats::netstack as counters;

use crate::admission::Rank;
use crate::connection::{Phase, Refused};
use crate::stack::Core;

impl<G: Doorbell, O: Doorbell, R: Doorbell> Core<'_, G, O, R> {
    /// Gives the connection to `to`. What the old owner wrote goes first; what
    /// it did not consume is the first that the new one reads. The old owner
    /// must have stopped: its slot is closed.
    pub(crate) fn hand_over(
        &mut self,
        index: u32,
        to: Owner,
        deadline: Instant,
        expected_tx_next: Option<u32>,
        now: Instant,
    ) -> Result<TcpPosition, NetError> {
        if to != Owner::Client {
            match self.ports.taken(to) {
                Some(None) => {}
                Some(Some(_)) | None => return Err(NetError::SlotInUse),
            }
        }
        let connection = self.table.get_mut(index).ok_or(NetError::NoConnection)?;
        if connection.wire.is_none() || connection.phase == Phase::Opening {
            return Err(NetError::Closed);
        }
        if let Err(refused) = self.collect(index) {
            self.refuse(index, refused);
            self.touch(index);
            return Err(NetError::Closed);
        }
        let connection = self.table.get_mut(index).ok_or(NetError::NoConnection)?;
        let position = connection.position();
        if expected_tx_next.is_some_and(|expected| expected != position.tx_next) {
            return Err(NetError::WrongSequence);
        }
        if let Err(refused) = self.take_back(index) {
            self.refuse(index, refused);
            self.touch(index);
            return Err(NetError::Closed);
        }
        let connection = self.table.get_mut(index).ok_or(NetError::NoConnection)?;
        let position = connection.position();
        self.reckon(index);
        self.vacate(index);
        if let Some(connection) = self.table.get_mut(index) {
            connection.belongs_to(to, deadline);
            connection.last_progress = now;
        }
        self.occupy(index, to);
        self.touch(index);
        Ok(position)
    }

    /// Takes all that the owner wrote off its ring. Without memory for that, connections
    /// without an owner are evicted, the oldest first.
    pub(crate) fn collect(&mut self, index: u32) -> Result<(), Refused> {
        loop {
            let Some(connection) = self.table.get_mut(index) else {
                return Ok(());
            };
            let room = self.limits.overflow.saturating_sub(self.overflow);
            let taken = match self.ports.of(connection.owner) {
                Some((port, slot)) => connection.take_written(port, slot, room),
                None => Ok(()),
            };
            self.charge(index);
            if taken != Err(Refused::Memory) || !self.give_back_memory(index) {
                return taken;
            }
        }
    }

    /// Takes back what the owner did not read, likewise.
    fn take_back(&mut self, index: u32) -> Result<(), Refused> {
        loop {
            let Some(connection) = self.table.get_mut(index) else {
                return Ok(());
            };
            let room = self.limits.overflow.saturating_sub(self.overflow);
            let taken = match self.ports.of(connection.owner) {
                Some((port, slot)) => connection.take_unread(port, slot, room),
                None => Ok(()),
            };
            if taken != Err(Refused::Memory) || !self.give_back_memory(index) {
                return taken;
            }
        }
    }

    /// Evicts the oldest connection that has no owner and holds bytes between two owners,
    /// in favour of `index`; false when there is none.
    fn give_back_memory(&mut self, index: u32) -> bool {
        let mut lingering = self.yielding.of(Rank::Lingering);
        let found = lingering.find(|other| {
            let charged = self.table.get_mut(*other).map_or(0, |c| c.charged);
            *other != index && charged > 0
        });
        drop(lingering);
        found.is_some_and(|found| {
            self.stats.add(counters::EVICTED, 1);
            self.forget(found)
        })
    }

    /// Opens a slot that is free for the connection.
    pub(crate) fn occupy(&mut self, index: u32, owner: Owner) {
        if let Some(taken) = self.ports.taken(owner) {
            *taken = Some(index);
        }
        if let Some((port, slot)) = self.ports.of(owner) {
            port.open(slot);
        }
    }

    /// Closes the connection's slot, if it has one.
    pub(crate) fn vacate(&mut self, index: u32) {
        let Some(connection) = self.table.get_mut(index) else {
            return;
        };
        let owner = core::mem::replace(&mut connection.owner, Owner::Client);
        if let Some((port, slot)) = self.ports.of(owner) {
            port.close(slot);
        }
        if let Some(taken) = self.ports.taken(owner) {
            *taken = None;
        }
    }
}

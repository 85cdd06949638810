//! A connection changes hands: no byte is lost, doubled or seen by the wrong
//! owner.

use ipc::channel::Doorbell;
use ipc::clock::Instant;
use ipc::net::{NetError, Owner, TcpPosition};

use crate::connection::{Phase, Refused};
use crate::stack::Core;

impl<B: Doorbell> Core<'_, B> {
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
        if !self.owners.is_free(to) {
            return Err(NetError::SlotInUse);
        }
        let connection = self
            .connections
            .get_mut(index)
            .ok_or(NetError::NoConnection)?;
        if connection.wire.is_none() || connection.phase == Phase::Opening {
            return Err(NetError::Closed);
        }
        if let Err(refused) = self.collect(index) {
            self.refuse(index, refused);
            self.connections.touch(index);
            return Err(NetError::Closed);
        }
        let connection = self
            .connections
            .get_mut(index)
            .ok_or(NetError::NoConnection)?;
        let position = connection.position();
        if expected_tx_next.is_some_and(|expected| expected != position.tx_next) {
            return Err(NetError::WrongSequence);
        }
        if let Err(refused) = self.take_back(index) {
            self.refuse(index, refused);
            self.connections.touch(index);
            return Err(NetError::Closed);
        }
        let connection = self
            .connections
            .get_mut(index)
            .ok_or(NetError::NoConnection)?;
        let position = connection.position();
        self.connections.reckon(index);
        self.vacate(index);
        if let Some(connection) = self.connections.get_mut(index) {
            connection.belongs_to(to, deadline);
            connection.last_progress = now;
        }
        self.owners.occupy(to, index);
        self.connections.touch(index);
        Ok(position)
    }

    /// Takes all that the owner wrote off its ring. Without memory for that, connections
    /// without an owner are evicted, the oldest first.
    pub(crate) fn collect(&mut self, index: u32) -> Result<(), Refused> {
        loop {
            let room = self.connections.room_between_owners();
            let Some(connection) = self.connections.get_mut(index) else {
                return Ok(());
            };
            let taken = match self.owners.of(connection.owner) {
                Some(mut port) => connection.take_written(&mut port, room),
                None => Ok(()),
            };
            self.connections.charge(index);
            if taken != Err(Refused::Memory) || !self.give_back_memory(index) {
                return taken;
            }
        }
    }

    /// Takes back what the owner did not read, likewise.
    fn take_back(&mut self, index: u32) -> Result<(), Refused> {
        loop {
            let room = self.connections.room_between_owners();
            let Some(connection) = self.connections.get_mut(index) else {
                return Ok(());
            };
            let taken = match self.owners.of(connection.owner) {
                Some(mut port) => connection.take_unread(&mut port, room),
                None => Ok(()),
            };
            if taken != Err(Refused::Memory) || !self.give_back_memory(index) {
                return taken;
            }
        }
    }

    /// Closes the connection's slot, if it has one.
    pub(crate) fn vacate(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let owner = core::mem::replace(&mut connection.owner, Owner::Client);
        self.owners.vacate(owner);
    }
}

//! Connections by index and generation.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ipc::net::ConnectionId;

use crate::connection::Connection;

/// A table whose names are never used twice: the upper half of a
/// [`ConnectionId`] counts the uses of the place that the lower half names.
pub(crate) struct Table {
    places: Vec<Place>,
    free: Vec<u32>,
    limit: usize,
}

pub(crate) struct Place {
    generation: u32,
    connection: Option<Box<Connection>>,
}

impl Table {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            places: Vec::with_capacity(limit),
            free: Vec::with_capacity(limit),
            limit: limit.min(u32::MAX as usize),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Indexes are below this.
    pub(crate) fn places(&self) -> u32 {
        self.places.len() as u32
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    /// Puts a connection in; `None` when the table is full.
    pub(crate) fn insert(&mut self, connection: Connection) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        let connection = Some(Box::new(connection));
        if let Some(index) = self.free.pop() {
            self.places.get_mut(index as usize)?.connection = connection;
            return Some(index);
        }
        let index = u32::try_from(self.places.len()).ok()?;
        self.places.push(Place {
            generation: 1,
            connection,
        });
        Some(index)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Connection> {
        self.places
            .get_mut(index as usize)?
            .connection
            .as_deref_mut()
    }

    /// The name of the connection at `index`.
    pub(crate) fn name(&self, index: u32) -> ConnectionId {
        let generation = self.places.get(index as usize).map_or(0, |p| p.generation);
        ConnectionId(u64::from(generation) << 32 | u64::from(index))
    }

    /// The index of a name, if its connection exists.
    pub(crate) fn find(&self, name: ConnectionId) -> Option<u32> {
        let index = (name.0 & u64::from(u32::MAX)) as u32;
        let place = self.places.get(index as usize)?;
        let same = u64::from(place.generation) == name.0 >> 32;
        (same && place.connection.is_some()).then_some(index)
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<Box<Connection>> {
        let place = self.places.get_mut(index as usize)?;
        let connection = place.connection.take()?;
        place.generation = place.generation.wrapping_add(1).max(1);
        self.free.push(index);
        Some(connection)
    }
}

//! All connections: by name, by their two ends, and in the lists that they are on.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ipc::clock::Instant;
use ipc::net::{ConnectionId, NetError, Owner};

use crate::admission::{Peer, Rank, Yielding};
use crate::config::Limits;
use crate::connection::{Connection, Phase};
use crate::sequence::Tuple;
use crate::sockets::Wire;
use crate::table::Table;

/// Connections and lists of them. A list names only connections that are in the table,
/// each once; what a connection notes of that ([`Listed`]) is changed here alone.
pub(crate) struct Connections {
    table: Table,
    /// Those that have a socket.
    by_ends: BTreeMap<Tuple, u32>,
    /// Found last: frames of one connection come in a row.
    last: u32,
    /// Those with something to do.
    touched: Vec<u32>,
    /// Those that wait for a neighbour's address.
    unresolved: Vec<u32>,
    /// Those that may be evicted.
    yielding: Yielding,
    /// Bytes between two owners: the sum of what they are charged for.
    overflow: usize,
    most_overflow: usize,
    /// Counts those that began to hold some.
    charges: u64,
}

/// The lists that a connection is on.
#[derive(Default)]
pub(crate) struct Listed {
    is_touched: bool,
    is_unresolved: bool,
    /// Its entry in the list of those that may be evicted.
    yields: Option<(Rank, Instant)>,
    /// Bytes of the memory between owners that it is charged for.
    charged: usize,
    /// The number of that charge, since it held nothing.
    charge: u64,
}

impl Connections {
    pub(crate) fn new(limits: &Limits) -> Self {
        let list = || Vec::with_capacity(limits.connections);
        Self {
            table: Table::new(limits.connections),
            by_ends: BTreeMap::new(),
            last: 0,
            touched: list(),
            unresolved: list(),
            yielding: Yielding::new(limits.connections),
            overflow: 0,
            most_overflow: limits.overflow,
            charges: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Indexes are below this.
    pub(crate) fn places(&self) -> u32 {
        self.table.places()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.table.is_full()
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Connection> {
        self.table.get_mut(index)
    }

    /// The name of the connection at `index`.
    pub(crate) fn name(&self, index: u32) -> ConnectionId {
        self.table.name(index)
    }

    /// The connection of that name, if there is one that `client` may ask for. For a
    /// client, another one's connections and those that were moved to another domain do
    /// not exist; for no client those that were not accepted.
    pub(crate) fn owned(
        &mut self,
        client: Option<u16>,
        name: ConnectionId,
    ) -> Result<u32, NetError> {
        let index = self.table.find(name).ok_or(NetError::NoConnection)?;
        let connection = self.table.get_mut(index).ok_or(NetError::NoConnection)?;
        match connection.phase {
            Phase::Opening | Phase::Open => {}
            Phase::HalfOpen | Phase::Quiet(_) | Phase::Waiting | Phase::Lingering(_) => {
                return Err(NetError::NoConnection);
            }
        }
        let is_clients = matches!(connection.owner, Owner::Client | Owner::Application { .. });
        match client {
            Some(client) if connection.client != client || !is_clients => Err(NetError::Denied),
            _ => Ok(index),
        }
    }

    /// The connection between these two ends.
    pub(crate) fn between(&mut self, ends: &Tuple) -> Option<u32> {
        let last = self.table.get_mut(self.last);
        if last.is_some_and(|last| last.wire.is_some() && last.tuple == *ends) {
            return Some(self.last);
        }
        let found = self.by_ends.get(ends).copied()?;
        self.last = found;
        Some(found)
    }

    /// Puts a connection in; `None` when the table is full.
    pub(crate) fn insert(&mut self, connection: Connection) -> Option<u32> {
        let ends = connection.tuple;
        let index = self.table.insert(connection)?;
        self.by_ends.insert(ends, index);
        Some(index)
    }

    /// Takes a connection out, and off all lists.
    pub(crate) fn remove(&mut self, index: u32) -> Option<Box<Connection>> {
        let connection = self.table.remove(index)?;
        let listed = &connection.listed;
        if connection.wire.is_some() {
            self.by_ends.remove(&connection.tuple);
        }
        self.yielding.change(index, listed.yields, None);
        self.overflow -= listed.charged;
        if listed.is_unresolved {
            self.unresolved.retain(|unresolved| *unresolved != index);
        }
        if listed.is_touched {
            self.touched.retain(|touched| *touched != index);
        }
        Some(connection)
    }

    /// TCP is done with a connection that still has an owner: its socket.
    pub(crate) fn take_wire(&mut self, index: u32) -> Option<Wire> {
        let connection = self.table.get_mut(index)?;
        let wire = connection.wire.take()?;
        self.by_ends.remove(&connection.tuple);
        Some(wire)
    }

    // ---- something to do ----

    /// Puts a connection on the list of those with something to do.
    pub(crate) fn touch(&mut self, index: u32) {
        if let Some(connection) = self.table.get_mut(index)
            && !connection.listed.is_touched
        {
            connection.listed.is_touched = true;
            self.touched.push(index);
        }
    }

    /// Takes one off that list, to be given to [`Connections::begin`].
    pub(crate) fn next_touched(&mut self) -> Option<u32> {
        self.touched.pop()
    }

    /// What there is to do for a connection is done now.
    pub(crate) fn begin(&mut self, index: u32) -> Option<&mut Connection> {
        let connection = self.table.get_mut(index)?;
        connection.listed.is_touched = false;
        Some(connection)
    }

    /// smoltcp has something to send and no neighbour to send it to.
    pub(crate) fn wait_for_neighbour(&mut self, index: u32) {
        if let Some(connection) = self.table.get_mut(index)
            && !connection.listed.is_unresolved
        {
            connection.listed.is_unresolved = true;
            self.unresolved.push(index);
        }
    }

    /// Connections that waited for a neighbour's address may go on.
    pub(crate) fn resolved(&mut self) {
        while let Some(index) = self.unresolved.pop() {
            if let Some(connection) = self.table.get_mut(index) {
                connection.listed.is_unresolved = false;
            }
            self.touch(index);
        }
    }

    // ---- what they hold, and who may be evicted ----

    /// Bytes that are left for what is between two owners.
    pub(crate) fn room_between_owners(&self) -> usize {
        self.most_overflow.saturating_sub(self.overflow)
    }

    /// Charges a connection for what it holds.
    pub(crate) fn charge(&mut self, index: u32) {
        let Some(connection) = self.table.get_mut(index) else {
            return;
        };
        let holds = connection.overflow();
        if connection.listed.charged == 0 && holds > 0 {
            self.charges += 1;
            connection.listed.charge = self.charges;
        }
        self.overflow = self.overflow + holds - connection.listed.charged;
        connection.listed.charged = holds;
    }

    /// The same, and updates its place among those that may be evicted.
    pub(crate) fn reckon(&mut self, index: u32) {
        self.charge(index);
        let Some(connection) = self.table.get_mut(index) else {
            return;
        };
        let rank = connection.rank();
        self.yielding.change(index, connection.listed.yields, rank);
        connection.listed.yields = rank;
    }

    /// The one that is evicted next, with so many half-open and quiet ones.
    pub(crate) fn first_to_evict(
        &self,
        half_open: usize,
        quiet: usize,
        now: Instant,
    ) -> Option<u32> {
        self.yielding.first(half_open, quiet, now)
    }

    /// The one that is on its way out and sends, if there is one.
    pub(crate) fn first_sending(&self) -> Option<u32> {
        self.yielding.first_sending()
    }

    /// The same, of one peer's.
    pub(crate) fn first_sending_to(&mut self, peer: Peer) -> Option<u32> {
        let table = &mut self.table;
        let mut lingering = self.yielding.of(Rank::Lingering);
        let found = lingering.find(|(index, _)| {
            let found = table.get_mut(*index);
            found.is_some_and(|found| found.peer == Some(peer))
        });
        found.map(|(index, _)| index)
    }

    /// A connection but `index` that holds bytes between two owners and may lose them: the
    /// oldest that has no owner, else the one that has held some for longest.
    pub(crate) fn first_that_holds(&mut self, index: u32) -> Option<u32> {
        let mut lingering = self.yielding.of(Rank::Lingering);
        let released = lingering.find(|(other, _)| {
            let found = self.table.get_mut(*other);
            *other != index && found.is_some_and(|found| found.listed.charged > 0)
        });
        if let Some((released, _)) = released {
            return Some(released);
        }
        let others = (0..self.table.places()).filter(|other| *other != index);
        let holding = others.filter_map(|other| {
            let found = self.table.get_mut(other)?;
            let holds = found.phase == Phase::Open && found.listed.charged > 0;
            holds.then_some((found.listed.charge, other))
        });
        holding.min().map(|(_, other)| other)
    }
}

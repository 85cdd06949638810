//! All connections: by name, by their two ends, and in the lists that they are on.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use ipc::clock::Instant;
use ipc::net::{ConnectionId, NetError, Owner};

use crate::admission::{Rank, Yielding};
use crate::config::Limits;
use crate::connection::{Connection, Phase};
use crate::list::{Links, List, Queue};
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
    touched: Queue,
    /// Those that wait for a neighbour's address.
    unresolved: Queue,
    /// Those that may be evicted.
    yielding: Yielding,
    /// Bytes between two owners: the sum of what they are charged for.
    overflow: usize,
    most_overflow: usize,
    /// Those that hold some: without an owner, and with one.
    released: List,
    owned: List,
    holding: Links,
}

/// Whose the bytes are that a connection holds between two owners.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// Nobody: its owner has let it go.
    Released,
    /// Its owner.
    Owned,
}

/// The lists that a connection is on.
#[derive(Default)]
pub(crate) struct Listed {
    /// Its entry in the list of those that may be evicted.
    yields: Option<(Rank, Instant)>,
    /// Bytes of the memory between owners that it is charged for.
    charged: usize,
    /// Its list of those that hold some.
    holder: Option<Holder>,
}

impl Connections {
    pub(crate) fn new(limits: &Limits) -> Self {
        let queue = || Queue::new(limits.connections);
        Self {
            table: Table::new(limits.connections),
            by_ends: BTreeMap::new(),
            last: 0,
            touched: queue(),
            unresolved: queue(),
            yielding: Yielding::new(limits.connections),
            overflow: 0,
            most_overflow: limits.overflow,
            released: List::default(),
            owned: List::default(),
            holding: Links::new(limits.connections),
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
        self.touched.remove(index);
        self.unresolved.remove(index);
        self.hold(index, listed.holder, None);
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
        if self.table.get_mut(index).is_some() {
            self.touched.push(index);
        }
    }

    /// Takes the one off that list that has been on it for longest.
    pub(crate) fn next_touched(&mut self) -> Option<u32> {
        self.touched.pop()
    }

    /// Whether there is one on it.
    pub(crate) fn has_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// smoltcp has something to send and no neighbour to send it to.
    pub(crate) fn wait_for_neighbour(&mut self, index: u32) {
        if self.table.get_mut(index).is_some() {
            self.unresolved.push(index);
        }
    }

    /// Connections that waited for a neighbour's address may go on.
    pub(crate) fn resolved(&mut self) {
        while let Some(index) = self.unresolved.pop() {
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
        self.overflow = self.overflow + holds - connection.listed.charged;
        connection.listed.charged = holds;
        let holder = (holds > 0).then_some(match connection.phase {
            Phase::Lingering(_) => Holder::Released,
            _ => Holder::Owned,
        });
        let before = core::mem::replace(&mut connection.listed.holder, holder);
        self.hold(index, before, holder);
    }

    fn hold(&mut self, index: u32, before: Option<Holder>, now: Option<Holder>) {
        if before == now {
            return;
        }
        if let Some(before) = before {
            let (list, links) = self.holding(before);
            list.remove(links, index);
        }
        if let Some(now) = now {
            let (list, links) = self.holding(now);
            list.push(links, index);
        }
    }

    fn holding(&mut self, holder: Holder) -> (&mut List, &mut Links) {
        let list = match holder {
            Holder::Released => &mut self.released,
            Holder::Owned => &mut self.owned,
        };
        (list, &mut self.holding)
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

    /// One that is over, where there are too many.
    pub(crate) fn superfluous(&self) -> Option<u32> {
        self.yielding.superfluous()
    }

    /// The one that is on its way out and sends, if there is one.
    pub(crate) fn first_sending(&self) -> Option<u32> {
        self.yielding.first_sending()
    }

    /// A connection but `index` that holds bytes between two owners and may lose them: the
    /// one without an owner that was released first, else the one that has held some for
    /// longest.
    pub(crate) fn first_that_holds(&self, index: u32) -> Option<u32> {
        [self.released, self.owned].iter().find_map(|list| {
            let first = list.first()?;
            match first == index {
                true => self.holding.after(first),
                false => Some(first),
            }
        })
    }
}

//! The network stack, as the test plays it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use ipc::channel::{Event, Status};
use ipc::net::{self, Address, Answer, ConnectionId, NetError, Readiness, Request};
use ipc::transport::{MAX_MESSAGE, dispatch};

use super::Side;

/// A connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It is not accepted yet.
    Waits,
    /// The gateway has it, without a slot.
    Accepted,
    /// In a slot of the gateway's channel.
    Attached(u16),
    /// The shim has taken it.
    Moved,
    Aborted,
    Released,
}

pub(crate) struct Net {
    pub(crate) side: Side,
    free: Vec<u16>,
    queue: VecDeque<(ConnectionId, Address, Address)>,
    pub(crate) connections: BTreeMap<u64, State>,
    /// To backends, in the order in which they were asked for.
    pub(crate) opened: Vec<ConnectionId>,
    /// Of connections that are offered before they are ready.
    readiness: BTreeMap<u64, Readiness>,
    /// What the next answers to `Accept` say of connections that were never offered.
    pub(crate) gave_way: VecDeque<Answer>,
    next: u64,
    /// What connections to backends come to at once.
    pub(crate) answers: bool,
    /// Backends that never answer, by their port.
    pub(crate) silent: BTreeSet<u16>,
    /// There are none to backends.
    pub(crate) refuses: bool,
}

impl Net {
    pub(crate) fn new(side: Side, slots: u16) -> Self {
        Self {
            side,
            free: (0..slots).rev().collect(),
            queue: VecDeque::new(),
            connections: BTreeMap::new(),
            opened: Vec::new(),
            readiness: BTreeMap::new(),
            gave_way: VecDeque::new(),
            next: 1,
            answers: true,
            silent: BTreeSet::new(),
            refuses: false,
        }
    }

    fn name(&mut self, state: State) -> ConnectionId {
        let name = self.next;
        self.next += 1;
        self.connections.insert(name, state);
        ConnectionId(name)
    }

    pub(crate) fn arrive(&mut self, port: u16, from: SocketAddr) -> ConnectionId {
        let connection = self.name(State::Waits);
        let local = Address(([10, 0, 2, 15], port).into());
        self.queue.push_back((connection, local, Address(from)));
        self.side.notify_control();
        connection
    }

    /// As [`Net::arrive`], not ready but so.
    pub(crate) fn arrive_as(
        &mut self,
        port: u16,
        from: SocketAddr,
        readiness: Readiness,
    ) -> ConnectionId {
        let connection = self.arrive(port, from);
        self.readiness.insert(connection.0, readiness);
        connection
    }

    pub(crate) fn state(&self, connection: ConnectionId) -> State {
        self.connections[&connection.0]
    }

    pub(crate) fn slot(&self, connection: ConnectionId) -> Option<u16> {
        match self.state(connection) {
            State::Attached(slot) => Some(slot),
            _ => None,
        }
    }

    /// Connections that the gateway has in some way.
    pub(crate) fn held(&self) -> usize {
        let is_held =
            |state: &&State| matches!(state, State::Accepted | State::Attached(_) | State::Moved);
        self.connections.values().filter(is_held).count()
    }

    /// A connection that was asked for is not answered in time.
    pub(crate) fn time_out(&mut self, connection: ConnectionId) {
        let slot = self.slot(connection).unwrap();
        self.side.set_status(slot, Status::DEADLINE);
        self.side.notify(slot);
        self.side.set_status(slot, Status::RESET);
        self.side.notify(slot);
    }

    /// A connection that was asked for is there.
    pub(crate) fn answer(&mut self, connection: ConnectionId) {
        let slot = self.slot(connection).unwrap();
        self.side.set_status(slot, Status::ESTABLISHED);
        self.side.notify(slot);
    }

    pub(crate) fn free_slots(&self) -> usize {
        self.free.len()
    }

    pub(crate) fn has_work(&self) -> bool {
        false
    }

    /// Takes events, which tell nothing that the test does not look at itself.
    pub(crate) fn pump(&mut self) {
        while let Some(Event::Slot(_) | Event::Control) = self.side.next_event() {}
    }

    /// The slot of a connection is free.
    pub(crate) fn leave(&mut self, connection: ConnectionId, state: State) {
        let before = self.connections.insert(connection.0, state);
        if let Some(State::Attached(slot)) = before {
            self.side.close(slot);
            self.free.push(slot);
        }
        self.queue.retain(|(waits, ..)| *waits != connection);
    }

    fn attach(&mut self, connection: ConnectionId) -> Result<Answer, NetError> {
        let slot = self.free.pop().ok_or(NetError::Full)?;
        self.side.open(slot);
        self.connections.insert(connection.0, State::Attached(slot));
        Ok(Answer::Connecting { connection, slot })
    }

    pub(crate) fn serve(&mut self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> usize {
        dispatch::<net::Net>(request, reply, |request| match request {
            Request::Begin | Request::Listen { .. } => Ok(Answer::Done),
            Request::Accept if !self.gave_way.is_empty() => {
                self.gave_way.pop_front().ok_or(NetError::Closed)
            }
            Request::Accept => Ok(match self.queue.pop_front() {
                Some((connection, local, remote)) => {
                    self.connections.insert(connection.0, State::Accepted);
                    Answer::Accepted {
                        connection,
                        local,
                        remote,
                        readiness: self
                            .readiness
                            .remove(&connection.0)
                            .unwrap_or(Readiness::Ready),
                        waited: 0,
                    }
                }
                None => Answer::NothingWaits,
            }),
            Request::Connect { .. } if self.refuses => Err(NetError::Closed),
            Request::Connect { to, .. } => {
                let answers = self.answers && !self.silent.contains(&to.port());
                let connection = self.name(State::Waits);
                let answer = self.attach(connection);
                match answer {
                    Ok(Answer::Connecting { slot, .. }) => {
                        self.opened.push(connection);
                        if answers {
                            self.side.set_status(slot, Status::ESTABLISHED);
                            self.side.notify(slot);
                        }
                    }
                    _ => drop(self.connections.remove(&connection.0)),
                }
                answer
            }
            Request::Attach { connection, .. } => self.attach(connection),
            Request::Abort { connection } | Request::ReleaseWithReset { connection } => {
                self.leave(connection, State::Aborted);
                Ok(Answer::Done)
            }
            Request::Release { connection } => {
                self.leave(connection, State::Released);
                Ok(Answer::Done)
            }
            Request::Move { .. } => Err(NetError::Denied),
        })
    }
}

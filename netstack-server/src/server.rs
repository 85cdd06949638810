//! Calls: decode, check the right, act, reply.

use ipc::badge::Badge;
use ipc::channel::Doorbell;
use ipc::clock::Instant;
use ipc::net::{Address, Answer, ConnectionId, Net, NetError, Owner, Request};
use ipc::stats::netstack as counters;
use ipc::transport::{MAX_MESSAGE, dispatch};
use smoltcp::phy::Device;

use crate::client::Clients;
use crate::config::{LINGER, MAX_BACKLOG};
use crate::connection::{Connection, Ending, Phase};
use crate::listener::{Listener, Listeners};
use crate::room::Newcomer;
use crate::sequence::Tuple;
use crate::stack::{Core, NetStack};

/// RFC 6335 §6: dynamic ports.
const FIRST_DYNAMIC_PORT: u16 = 49152;

impl<D: Device, B: Doorbell> NetStack<'_, D, B> {
    /// Answers one call: `request` and `reply` are messages of [`ipc::net`],
    /// `badge` is the word that the kernel delivered with it; returns the
    /// reply's length. Call [`poll`](NetStack::poll) after it.
    pub fn serve(
        &mut self,
        badge: u64,
        request: &[u8],
        reply: &mut [u8; MAX_MESSAGE],
        now: Instant,
    ) -> usize {
        let badge = Badge::from_word(badge);
        dispatch::<Net>(request, reply, |request| {
            let answer = self.answer(badge, request, now);
            if answer == Err(NetError::Denied) {
                self.core.stats.add(counters::DENIED, 1);
            }
            answer
        })
    }

    fn answer(
        &mut self,
        badge: Option<Badge>,
        request: Request,
        now: Instant,
    ) -> Result<Answer, NetError> {
        let core = &mut self.core;
        match (badge, request) {
            (Some(badge), Request::Begin) => {
                let client = client_of(badge)?;
                self.drop_all(client, now);
                Ok(Answer::Done)
            }
            (
                Some(Badge::Client(client)),
                Request::Listen {
                    port,
                    backlog,
                    ready,
                    share,
                },
            ) => {
                check_listen(&mut core.clients, &mut core.listeners, client, port)?;
                let backlog = usize::from(backlog.clamp(1, MAX_BACKLOG));
                let listener = Listener::new(port, client, backlog, ready, share);
                core.listeners.add(listener);
                Ok(Answer::Done)
            }
            (Some(Badge::Client(client)), Request::Accept) => core.accept(client, now),
            (Some(Badge::Client(client)), Request::Connect { to, deadline }) => {
                core.clients.check_connect(client, &to)?;
                core.connect(&mut self.nic, client, to, deadline, now)
            }
            (
                Some(Badge::Client(client)),
                Request::Attach {
                    connection,
                    deadline,
                },
            ) => {
                let index = core.connections.owned(Some(client), connection)?;
                core.attach(index, connection, deadline)
            }
            (Some(badge), Request::Abort { connection }) => {
                let index = core.connections.owned(client_of(badge)?, connection)?;
                self.abort(index, now);
                Ok(Answer::Done)
            }
            (Some(badge), Request::Release { connection }) => {
                let index = core.connections.owned(client_of(badge)?, connection)?;
                core.release(index, Ending::Fin, now);
                Ok(Answer::Done)
            }
            (Some(Badge::Client(client)), Request::ReleaseWithReset { connection }) => {
                let index = core.connections.owned(Some(client), connection)?;
                core.release(index, Ending::Reset, now);
                Ok(Answer::Done)
            }
            (
                Some(Badge::Control),
                Request::Move {
                    connection,
                    client,
                    to,
                    deadline,
                    expected_tx_next,
                },
            ) => {
                let index = core.connections.owned(None, connection)?;
                let connection = core.connections.get_mut(index);
                let connection = connection.ok_or(NetError::NoConnection)?;
                connection.check_move(client, to)?;
                core.hand_over(index, to, deadline, expected_tx_next, now)
                    .map(|position| Answer::Moved { position })
            }
            // Of nobody, or of one whose badge is for other operations.
            (
                _,
                Request::Begin
                | Request::Listen { .. }
                | Request::Accept
                | Request::Connect { .. }
                | Request::Attach { .. }
                | Request::Abort { .. }
                | Request::Release { .. }
                | Request::ReleaseWithReset { .. }
                | Request::Move { .. },
            ) => Err(NetError::Denied),
        }
    }

    /// Closes what `client` has, or what was moved away from all clients.
    fn drop_all(&mut self, client: Option<u16>, now: Instant) {
        if let Some(client) = client {
            self.core.listeners.remove_all(client);
            if let Some(client) = self.core.clients.client(client) {
                client.withdraw_all();
            }
        }
        for index in 0..self.core.connections.places() {
            let Some(connection) = self.core.connections.get_mut(index) else {
                continue;
            };
            let is_meant = match (connection.owner, connection.phase) {
                (_, Phase::Lingering(_)) => false,
                (Owner::Client | Owner::Application { .. }, _) => client == Some(connection.client),
                (Owner::Offload(_) | Owner::Record(_), _) => client.is_none(),
            };
            if is_meant {
                self.core.abandon(index, now);
            }
        }
    }

    fn abort(&mut self, index: u32, now: Instant) {
        let (core, nic) = (&mut self.core, &mut self.nic);
        if let Some(wire) = core
            .connections
            .get_mut(index)
            .and_then(|c| c.wire.as_mut())
        {
            wire.socket().abort();
        }
        core.send(nic, index, now);
        core.forget(index);
    }
}

/// Whose connections a badge is confined to; `None` for all.
fn client_of(badge: Badge) -> Result<Option<u16>, NetError> {
    match badge {
        Badge::Client(client) => Ok(Some(client)),
        Badge::Control => Ok(None),
        Badge::Session { .. } => Err(NetError::Denied),
    }
}

/// Whether a client has the right to listen on a port, and nobody does so yet.
fn check_listen(
    clients: &mut Clients,
    listeners: &mut Listeners,
    client: u16,
    port: u16,
) -> Result<(), NetError> {
    let client = clients.client(client).ok_or(NetError::Denied)?;
    if !client.may_listen(port) {
        return Err(NetError::Denied);
    }
    match listeners.at(port) {
        Some(_) => Err(NetError::PortInUse),
        None => Ok(()),
    }
}

impl<B: Doorbell> Core<'_, B> {
    fn accept(&mut self, client: u16, now: Instant) -> Result<Answer, NetError> {
        let number = client;
        let client = self.clients.client(number).ok_or(NetError::Denied)?;
        while let Some(index) = client.next_waiting() {
            let Some(connection) = self.connections.get_mut(index) else {
                continue;
            };
            connection.phase = Phase::Open;
            connection.last_progress = now;
            let (tuple, readiness) = (connection.tuple, connection.readiness);
            let waited = (now - connection.since).as_millis();
            if let Some(listener) = self.listeners.at(tuple.local_port) {
                listener.leave(Phase::Waiting);
            }
            self.stats.add(counters::ACCEPTED, 1);
            return Ok(Answer::Accepted {
                connection: self.connections.name(index),
                local: Address((tuple.local, tuple.local_port).into()),
                remote: Address((tuple.remote, tuple.remote_port).into()),
                readiness,
                waited: u32::try_from(waited).unwrap_or(u32::MAX),
            });
        }
        Ok(match self.listeners.take_gave_way(number) {
            Some((port, count, last)) => Answer::GaveWay { port, count, last },
            None => Answer::NothingWaits,
        })
    }

    fn connect(
        &mut self,
        nic: &mut impl Device,
        client: u16,
        to: Address,
        deadline: Instant,
        now: Instant,
    ) -> Result<Answer, NetError> {
        let local = self.link.source(to.ip()).ok_or(NetError::Unreachable)?;
        let slot = self.owners.free_slot(client).ok_or(NetError::Full)?;
        if !self.clients.may_hold(client) {
            return Err(NetError::Full);
        }
        let mut tuple = Tuple {
            remote_port: to.port(),
            local_port: 0,
            remote: to.ip(),
            local,
        };
        let ports = u64::from(u16::MAX - FIRST_DYNAMIC_PORT) + 1;
        // Those that are in use may stand in a row.
        for _ in 0..ports {
            let draw = self.unpredictable.local_port(&tuple) % ports;
            tuple.local_port = FIRST_DYNAMIC_PORT | draw as u16;
            if self.connections.between(&tuple).is_none() {
                break;
            }
        }
        if self.connections.between(&tuple).is_some() {
            return Err(NetError::Full);
        }
        let wire = self.wire(self.sockets.opened(), Newcomer::Opened, now);
        let mut wire = wire.ok_or(NetError::Full)?;
        let seed = self.unpredictable.draw(&tuple, now);
        if !self.link.connect(nic, &mut wire, &tuple, seed, now) {
            self.sockets.recycle(wire);
            return Err(NetError::Unreachable);
        }
        let mut connection = Connection::new(wire, tuple, client, Phase::Opening, now);
        let owner = Owner::Application { client, slot };
        connection.belongs_to(owner, deadline);
        connection.narrow = self.link.paths.find(tuple.remote, now);
        connection.is_held = self.clients.hold(client);
        let index = self.connections.insert(connection).ok_or(NetError::Full)?;
        self.owners.occupy(owner, index);
        self.connections.touch(index);
        Ok(Answer::Connecting {
            connection: self.connections.name(index),
            slot,
        })
    }

    fn attach(
        &mut self,
        index: u32,
        name: ConnectionId,
        deadline: Instant,
    ) -> Result<Answer, NetError> {
        let connection = self
            .connections
            .get_mut(index)
            .ok_or(NetError::NoConnection)?;
        if connection.owner != Owner::Client {
            return Err(NetError::SlotInUse);
        }
        let client = connection.client;
        let slot = self.owners.free_slot(client).ok_or(NetError::Full)?;
        let owner = Owner::Application { client, slot };
        connection.belongs_to(owner, deadline);
        self.owners.occupy(owner, index);
        self.connections.touch(index);
        Ok(Answer::Connecting {
            connection: name,
            slot,
        })
    }

    /// Ends a connection for its owner, and leaves its peer's reset to a turn of the loop:
    /// there may be many.
    fn abandon(&mut self, index: u32, now: Instant) {
        self.vacate(index);
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        connection.cut_off();
        if connection.wire.is_none() {
            self.forget(index);
            return;
        }
        if core::mem::take(&mut connection.is_held) {
            self.clients.let_go(connection.client);
        }
        connection.let_go(Ending::Reset, now + LINGER);
        connection.get_on(now);
        if let Some(peer) = connection.peer {
            self.listeners.released(peer, index);
        }
        // Whoever comes meanwhile may have its place.
        self.connections.reckon(index);
        self.connections.touch(index);
    }

    fn release(&mut self, index: u32, ending: Ending, now: Instant) {
        if let Err(refused) = self.collect(index) {
            self.refuse(index, refused);
        }
        self.vacate(index);
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        if core::mem::take(&mut connection.is_held) {
            self.clients.let_go(connection.client);
        }
        let is_opening = connection.phase == Phase::Opening;
        connection.let_go(ending, now + LINGER);
        // Its peer has time to take what there is; it is no more of its address's share.
        connection.get_on(now);
        if let Some(peer) = connection.peer {
            self.listeners.released(peer, index);
        }
        if connection.wire.is_none() || is_opening {
            self.forget(index);
        } else {
            self.connections.touch(index);
        }
    }
}

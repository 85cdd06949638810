//! Clients, their rights, and what waits for them.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use ipc::net::{Address, Ready, Share};
use ipc::provision::NetworkRights;

/// A port that a client listens on.
pub(crate) struct Listener {
    pub(crate) port: u16,
    /// The client's number.
    pub(crate) client: u16,
    /// The most half-open and not yet accepted connections together.
    pub(crate) backlog: usize,
    /// Half-open connections, oldest first.
    pub(crate) half_open: VecDeque<u32>,
    /// When a connection is offered to the client.
    pub(crate) ready: Ready,
    /// What one address may have.
    pub(crate) share: Option<Share>,
    /// Established and not ready, oldest first.
    pub(crate) quiet: VecDeque<u32>,
    /// How many of the client's waiting connections came to this port.
    pub(crate) waiting: usize,
    /// Quiet ones that were evicted, and the last of them, since the client last learned
    /// of them.
    pub(crate) gave_way: Option<(u32, Address)>,
}

impl Listener {
    pub(crate) fn new(
        port: u16,
        client: u16,
        backlog: usize,
        ready: Ready,
        share: Option<Share>,
    ) -> Self {
        let quiet = match ready {
            Ready::Established => 0,
            Ready::ClientHello { .. } => backlog,
        };
        Self {
            port,
            client,
            backlog,
            half_open: VecDeque::with_capacity(backlog),
            ready,
            share,
            quiet: VecDeque::with_capacity(quiet),
            waiting: 0,
            gave_way: None,
        }
    }

    /// How long a connection may take to be ready, if it need not be at once.
    pub(crate) fn patience(&self) -> Option<Duration> {
        match self.ready {
            Ready::Established => None,
            Ready::ClientHello { within } => Some(Duration::from_millis(within.into())),
        }
    }
}

/// A client with what waits for it.
pub(crate) struct Client {
    rights: NetworkRights,
    /// Established connections, oldest first.
    pub(crate) waiting: VecDeque<u32>,
    /// Connections that only it can release: none of them is evicted.
    held: usize,
    /// The most of them.
    most: usize,
}

/// All clients, and the ports that they listen on.
pub(crate) struct Clients {
    clients: Vec<Client>,
    listeners: Vec<Listener>,
}

impl Clients {
    /// `most` is how many connections each may hold, by client number; one that is not
    /// there, none.
    pub(crate) fn new(rights: Vec<NetworkRights>, most: &[(u16, usize)]) -> Self {
        let client = |rights: NetworkRights| {
            let own = most.iter().find(|(client, _)| *client == rights.client);
            Client {
                rights,
                waiting: VecDeque::new(),
                held: 0,
                most: own.map_or(0, |(_, most)| *most),
            }
        };
        Self {
            clients: rights.into_iter().map(client).collect(),
            listeners: Vec::new(),
        }
    }

    pub(crate) fn client(&mut self, number: u16) -> Option<&mut Client> {
        self.clients.iter_mut().find(|c| c.rights.client == number)
    }

    /// Whether a client may have one more connection that can't be evicted.
    pub(crate) fn may_hold(&mut self, client: u16) -> bool {
        self.client(client)
            .is_some_and(|client| client.held < client.most)
    }

    /// Counts one more; false when it has as many as it may.
    pub(crate) fn hold(&mut self, client: u16) -> bool {
        let may_hold = self.may_hold(client);
        if let Some(client) = self.client(client)
            && may_hold
        {
            client.held += 1;
        }
        may_hold
    }

    /// One of them is released.
    pub(crate) fn let_go(&mut self, client: u16) {
        if let Some(client) = self.client(client) {
            client.held = client.held.saturating_sub(1);
        }
    }

    /// Evicted connections to a port of `client` that it has not been told of.
    pub(crate) fn take_gave_way(&mut self, client: u16) -> Option<(u16, u32, Address)> {
        let mut own = self.listeners.iter_mut().filter(|l| l.client == client);
        own.find_map(|listener| {
            let (count, last) = listener.gave_way.take()?;
            Some((listener.port, count, last))
        })
    }

    /// Connections that are half open, and quiet ones.
    pub(crate) fn unready(&self) -> (usize, usize) {
        let listeners = self.listeners.iter();
        let counts = listeners.map(|l| (l.half_open.len(), l.quiet.len()));
        counts.fold((0, 0), |(half_open, quiet), (h, q)| {
            (half_open + h, quiet + q)
        })
    }

    pub(crate) fn listener(&mut self, port: u16) -> Option<&mut Listener> {
        self.listeners.iter_mut().find(|l| l.port == port)
    }

    /// This client listens no more.
    pub(crate) fn remove_listeners(&mut self, client: u16) {
        self.listeners.retain(|listener| listener.client != client);
    }

    pub(crate) fn add_listener(&mut self, listener: Listener) {
        let number = listener.client;
        self.listeners.reserve_exact(1);
        self.listeners.push(listener);
        // No more wait for the client than its listeners let wait: what was half open,
        // and what was quiet.
        let own = self.listeners.iter().filter(|l| l.client == number);
        let most: usize = own.map(|l| l.backlog + l.quiet.capacity()).sum();
        if let Some(client) = self.client(number) {
            let more = most.saturating_sub(client.waiting.len());
            client.waiting.reserve_exact(more);
        }
    }
}

impl Client {
    pub(crate) fn may_listen(&self, port: u16) -> bool {
        self.rights.listen.contains(&port)
    }

    pub(crate) fn may_connect(&self, to: &Address) -> bool {
        let same = |right: &Address| (right.ip(), right.port()) == (to.ip(), to.port());
        self.rights.connect.iter().any(same)
    }
}

//! Clients, their rights, and what waits for them.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use ipc::net::Address;
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
    /// How many of the client's waiting connections came to this port.
    pub(crate) waiting: usize,
}

/// A client with what waits for it.
pub(crate) struct Client {
    rights: NetworkRights,
    /// Established connections, oldest first.
    pub(crate) waiting: VecDeque<u32>,
}

/// All clients, and the ports that they listen on.
pub(crate) struct Clients {
    clients: Vec<Client>,
    listeners: Vec<Listener>,
}

impl Clients {
    pub(crate) fn new(rights: Vec<NetworkRights>) -> Self {
        let client = |rights| Client {
            rights,
            waiting: VecDeque::new(),
        };
        Self {
            clients: rights.into_iter().map(client).collect(),
            listeners: Vec::new(),
        }
    }

    pub(crate) fn client(&mut self, number: u16) -> Option<&mut Client> {
        self.clients.iter_mut().find(|c| c.rights.client == number)
    }

    pub(crate) fn listener(&mut self, port: u16) -> Option<&mut Listener> {
        self.listeners.iter_mut().find(|l| l.port == port)
    }

    /// Nobody listens for this client any more.
    pub(crate) fn remove_listeners(&mut self, client: u16) {
        self.listeners.retain(|listener| listener.client != client);
    }

    pub(crate) fn add_listener(&mut self, listener: Listener) {
        if let Some(client) = self.client(listener.client) {
            // No more wait for the client than its listeners let wait.
            client.waiting.reserve_exact(listener.backlog);
        }
        self.listeners.reserve_exact(1);
        self.listeners.push(listener);
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

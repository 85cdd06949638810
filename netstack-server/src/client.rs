//! Clients, their rights, and the connections that wait for them.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use ipc::net::{Address, NetError};
use ipc::provision::NetworkRights;

/// A client with what waits for it.
pub(crate) struct Client {
    rights: NetworkRights,
    /// Connections that are ready and not accepted ([`Phase::Waiting`]), oldest first.
    ///
    /// [`Phase::Waiting`]: crate::connection::Phase::Waiting
    waiting: VecDeque<u32>,
    /// Connections that only it can release: none of them is evicted. Never more than
    /// `most`.
    held: usize,
    most: usize,
}

impl Client {
    pub(crate) fn may_listen(&self, port: u16) -> bool {
        self.rights.listen.contains(&port)
    }

    fn may_connect(&self, to: &Address) -> bool {
        let same = |right: &Address| (right.ip(), right.port()) == (to.ip(), to.port());
        self.rights.connect.iter().any(same)
    }

    /// A connection waits for it.
    pub(crate) fn offer(&mut self, index: u32) {
        self.waiting.push_back(index);
    }

    /// It takes the connection that has waited longest.
    pub(crate) fn next_waiting(&mut self) -> Option<u32> {
        self.waiting.pop_front()
    }

    /// None waits for it any more.
    pub(crate) fn withdraw_all(&mut self) {
        self.waiting.clear();
    }

    /// A connection that waits for it is no more.
    pub(crate) fn withdraw(&mut self, index: u32) {
        self.waiting.retain(|waiting| *waiting != index);
    }
}

/// All clients.
pub(crate) struct Clients(Vec<Client>);

impl Clients {
    /// `most` is how many connections each may hold, by client number; one that is not
    /// there, none.
    pub(crate) fn new(rights: Vec<NetworkRights>, most: &[(u16, usize)]) -> Self {
        let client = |rights: NetworkRights| {
            let own = most.iter().find(|(client, _)| *client == rights.client);
            let most = own.map_or(0, |(_, most)| *most);
            Client {
                rights,
                // Each that waits is held.
                waiting: VecDeque::with_capacity(most),
                held: 0,
                most,
            }
        };
        Self(rights.into_iter().map(client).collect())
    }

    pub(crate) fn client(&mut self, number: u16) -> Option<&mut Client> {
        self.0.iter_mut().find(|c| c.rights.client == number)
    }

    /// Whether a client may connect to this address.
    pub(crate) fn check_connect(&mut self, client: u16, to: &Address) -> Result<(), NetError> {
        let client = self.client(client).ok_or(NetError::Denied)?;
        match client.may_connect(to) {
            true => Ok(()),
            false => Err(NetError::Denied),
        }
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
}

//! What handshakes of both modes are made with: the key rings, the keys of tickets, and
//! the room for sessions that can be resumed.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ipc::control::{HandshakeError, Parameters, RequestError};

use crate::keyring::Keyring;
use crate::session_cache::Places;
use crate::ticket_keys::TicketKeys;
use crate::time::Time;

/// Key rings, and what depends on them.
pub(crate) struct Credentials {
    keyrings: Vec<Arc<Keyring>>,
    time: Arc<dyn Time>,
    /// Clients of the shim.
    clients: u16,
    /// Of each client that asked for resumption: no other makes its keys change.
    tickets: Vec<(u16, Arc<TicketKeys>)>,
    /// Of all sessions that can be resumed as client.
    places: Arc<Places>,
}

impl Credentials {
    pub(crate) fn new(keyrings: Vec<Arc<Keyring>>, clients: u16, time: Arc<dyn Time>) -> Self {
        Self {
            keyrings,
            time,
            clients,
            tickets: Vec::new(),
            places: Arc::default(),
        }
    }

    /// Takes key rings that replace others, and with them new keys for tickets: no session
    /// is resumed whose peer was judged by the others.
    pub(crate) fn replace(&mut self, keyrings: Vec<Arc<Keyring>>) {
        self.keyrings = keyrings;
        self.tickets.clear();
    }

    /// All of them.
    pub(crate) fn keyrings(&self) -> &[Arc<Keyring>] {
        &self.keyrings
    }

    pub(crate) const fn time(&self) -> &Arc<dyn Time> {
        &self.time
    }

    pub(crate) const fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// The keys of this client's tickets.
    pub(crate) fn ticket_keys(&mut self, client: u16) -> Option<Arc<TicketKeys>> {
        if let Some((_, keys)) = self.tickets.iter().find(|(of, _)| *of == client) {
            return Some(keys.clone());
        }
        // The shim has no more of them.
        if self.tickets.len() >= usize::from(self.clients) {
            return None;
        }
        let keys = TicketKeys::new(self.time.clone());
        self.tickets.push((client, keys.clone()));
        Some(keys)
    }

    /// The rings of a request, if there are all of them.
    pub(crate) fn named(&self, parameters: &Parameters) -> Option<Vec<Arc<Keyring>>> {
        let labels = parameters.keyrings.iter();
        labels
            .map(|label| self.keyring_of(label).cloned())
            .collect()
    }

    /// The rings of a request; one of them can be shown.
    pub(crate) fn rings(
        &self,
        parameters: &Parameters,
    ) -> Result<Vec<Arc<Keyring>>, HandshakeError> {
        let rings = self.rings_with_or_without_key(parameters)?;
        match rings.iter().any(|ring| ring.kind.is_some()) {
            true => Ok(rings),
            false => Err(HandshakeError::Request(RequestError::NoKeyring)),
        }
    }

    /// The rings of a request; a client needs no key.
    pub(crate) fn rings_with_or_without_key(
        &self,
        parameters: &Parameters,
    ) -> Result<Vec<Arc<Keyring>>, HandshakeError> {
        if parameters.versions.is_empty() {
            return Err(HandshakeError::Request(RequestError::NoVersion));
        }
        self.named(parameters)
            .filter(|rings| !rings.is_empty())
            .ok_or(HandshakeError::Request(RequestError::NoKeyring))
    }

    fn keyring_of(&self, label: &str) -> Option<&Arc<Keyring>> {
        self.keyrings.iter().find(|ring| *ring.label == *label)
    }
}

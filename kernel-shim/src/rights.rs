//! Who may ask for what.

use alloc::vec::Vec;

use ipc::control::{HandshakeError, HandshakeRequest, PolicyError};
use ipc::provision::{ClientRights, ShimRights};

/// The rights of every client.
pub struct Rights(Vec<ClientRights>);

impl Rights {
    /// The rights that the image builder handed over.
    pub fn new(ShimRights(clients): ShimRights) -> Self {
        Self(clients)
    }

    /// The same, from a postcard [`ShimRights`]; `None` when it is none.
    pub fn decode(blob: &[u8]) -> Option<Self> {
        ipc::transport::decode(blob).map(Self::new)
    }

    /// Whether the directed handshakes of `client` are audited.
    pub(crate) fn audits(&self, client: u16) -> bool {
        self.0.iter().any(|r| r.client == client && r.audit)
    }

    /// Checks a request against the rights of `client`.
    pub(crate) fn check(
        &self,
        client: u16,
        request: &HandshakeRequest,
    ) -> Result<(), HandshakeError> {
        let denied = |what| Err(HandshakeError::Policy(what));
        let Some(rights) = self.0.iter().find(|rights| rights.client == client) else {
            return denied(PolicyError::Client);
        };
        let asked = &request.parameters;
        if !rights.roles.contains(&request.role) {
            return denied(PolicyError::Role);
        }
        if !rights.modes.contains(&request.mode) {
            return denied(PolicyError::Mode);
        }
        if !asked
            .keyrings
            .iter()
            .all(|ring| rights.keyrings.contains(ring))
        {
            return denied(PolicyError::Keyring);
        }
        if asked.expose_keys && !rights.expose_keys {
            return denied(PolicyError::ExposeKeys);
        }
        Ok(())
    }
}

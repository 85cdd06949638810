//! What directed handshakes begin with.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ipc::bounded::List;
use ipc::control::{HandshakeError, RequestError, Resource};
use ipc::handshake::Start;
use ipc::segment::Verdict;
use tls::Role;

use super::sealing::Resumption;
use super::{Directed, peer, resumption};
use crate::by_request::{Asked, ByRequest, KEPT};
use crate::credentials::Credentials;
use crate::keyring::Keyring;
use crate::time::Time;

/// How sessions are resumed, by what was asked for, the latest used first.
pub(crate) struct Resumptions(ByRequest<Resumption>);

impl Resumptions {
    pub(crate) const fn new() -> Self {
        Self(ByRequest::new(KEPT))
    }

    /// Other key rings count from here on. What began with those before goes on.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The handshake that is asked for, and what is to be told to the director.
    ///
    /// # Errors
    /// What is asked for can't be had.
    pub(crate) fn begin(
        &mut self,
        start: &Start,
        credentials: &mut Credentials,
    ) -> Result<(Box<Directed>, Verdict), HandshakeError> {
        let rings = rings(start, credentials)?;
        let resumption = self.resumption(Asked::by(start), credentials);
        let directed = Directed::new(
            start.role,
            rings,
            &start.parameters,
            start.position,
            resumption,
        );
        let begun = directed.begun(&**credentials.time())?;
        Ok((Box::new(directed), begun))
    }

    fn resumption(&mut self, asked: Asked<'_>, credentials: &mut Credentials) -> Resumption {
        if !asked.parameters.resumption {
            return Resumption::Off;
        }
        if let Some(resumption) = self.0.get(asked) {
            return resumption;
        }
        let resumption = match asked.role {
            Role::Client => Resumption::client(credentials.places()),
            Role::Server => match credentials.ticket_keys(asked.client) {
                Some(keys) => Resumption::server(asked.parameters, keys),
                None => Resumption::Off,
            },
        };
        self.0.put(asked, resumption.clone());
        resumption
    }
}

impl Directed {
    /// What the handshake can be done with.
    ///
    /// # Errors
    /// No random bytes can be had.
    fn begun(&self, time: &dyn Time) -> Result<Verdict, HandshakeError> {
        let kinds = self.rings.iter().map(|ring| ring.kind);
        let schemes = self.rings.iter().map(|ring| ring.schemes.clone());
        let authorities = self.rings.iter().map(|ring| match self.asks_peer {
            // As many bytes fit.
            true => u16::try_from(peer::authorities(ring).len()).unwrap_or(0),
            false => 0,
        });
        let staples = self.rings.iter().map(|ring| ring.staples(time));
        Ok(Verdict::Begun {
            rings: List::from_items(kinds).unwrap_or_default(),
            schemes: List::from_items(schemes).unwrap_or_default(),
            authorities: List::from_items(authorities).unwrap_or_default(),
            staples: List::from_items(staples).unwrap_or_default(),
            session_id: match self.role {
                Role::Server => [0; 32],
                Role::Client => resumption::random()
                    .map_err(|_| HandshakeError::Resource(Resource::Internal))?,
            },
        })
    }
}

fn rings(start: &Start, credentials: &Credentials) -> Result<Vec<Arc<Keyring>>, HandshakeError> {
    match start.role {
        Role::Server => credentials.rings(&start.parameters),
        // It needs trust anchors; a certificate only if the server asks.
        Role::Client => credentials
            .named(&start.parameters)
            .ok_or(HandshakeError::Request(RequestError::NoKeyring)),
    }
}

//! Who may ask for what.

use alloc::vec::Vec;

use ipc::control::{HandshakeError, HandshakeRequest, PolicyError, Resource};
use ipc::director::RefusedSteps;
use ipc::provision::{ClientRights, ShimRights};
use ipc::segment::{RingPlace, Step};
use ipc::tls::{Label, Mode};

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
        let denied = HandshakeError::Policy;
        let rights = self.0.iter().find(|rights| rights.client == client);
        let rights = rights.ok_or(denied(PolicyError::Client))?;
        let asked = &request.parameters;
        let has_keyrings = asked
            .keyrings
            .iter()
            .all(|ring| rights.keyrings.contains(ring));
        let has_keys = rights.expose_keys || !asked.expose_keys;
        let has_static_rsa = rights.static_rsa || !asked.allow_static_rsa;
        for (is_granted, what) in [
            (rights.roles.contains(&request.role), PolicyError::Role),
            (rights.modes.contains(&request.mode), PolicyError::Mode),
            (has_keyrings, PolicyError::Keyring),
            (has_keys, PolicyError::ExposeKeys),
            (has_static_rsa, PolicyError::StaticRsa),
        ] {
            if !is_granted {
                return Err(denied(what));
            }
        }
        check_steps(rights, request.mode, &asked.keyrings)
    }

    /// The steps that are refused in a handshake of `client` with these rings, with the
    /// places of the rings.
    ///
    /// # Errors
    /// More than each step for each ring: no builder hands that over.
    pub(crate) fn steps(
        &self,
        client: u16,
        keyrings: &[Label],
    ) -> Result<RefusedSteps, HandshakeError> {
        let of_client = self.0.iter().filter(|rights| rights.client == client);
        RefusedSteps::from_items(of_client.flat_map(|r| refused(r, keyrings)))
            .map_err(|_| HandshakeError::Resource(Resource::Internal))
    }
}

/// What is refused by the step can't be kept out of an autonomous handshake.
fn check_steps(rights: &ClientRights, mode: Mode, rings: &[Label]) -> Result<(), HandshakeError> {
    match mode == Mode::Autonomous && refused(rights, rings).next().is_some() {
        true => Err(HandshakeError::Policy(PolicyError::Mode)),
        false => Ok(()),
    }
}

/// The steps that `rights` refuse for these rings, with the places of the
/// rings.
fn refused<'a>(
    rights: &'a ClientRights,
    keyrings: &'a [Label],
) -> impl Iterator<Item = (RingPlace, Step)> + 'a {
    (0..).zip(keyrings).flat_map(|(place, ring)| {
        let rules = rights.refused_steps.iter();
        rules
            .filter(move |rules| rules.keyring == *ring)
            .flat_map(move |rules| rules.steps.iter().map(move |step| (place, *step)))
    })
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec;

    use ipc::bounded::{List, Text};
    use ipc::clock::Instant;
    use ipc::control::{Parameters, Standing};
    use ipc::net::ConnectionId;
    use ipc::provision::RefusedSteps;
    use ipc::tls::PeerAuthentication;
    use tls::Role;

    use super::*;

    #[test]
    fn r18_static_rsa_needs_its_word() {
        let web = Text::from_text("web").unwrap();
        let request = HandshakeRequest {
            connection: ConnectionId(1),
            role: Role::Server,
            mode: Mode::Directed,
            parameters: Box::new(Parameters {
                versions: List::new(),
                suites: List::new(),
                allow_static_rsa: true,
                peer_schemes: List::new(),
                groups: List::new(),
                keyrings: List::from_items([web.clone()]).unwrap(),
                peer_authentication: PeerAuthentication::None,
                server_name: None,
                alpn: List::new(),
                segment_size: 1400,
                resumption: false,
                expose_keys: false,
            }),
            tcp_sequence: None,
            deadline: Instant::NEVER,
            group: 0,
            standing: Standing::New,
        };
        for static_rsa in [true, false] {
            let rights = Rights::new(ShimRights(vec![ClientRights {
                client: 1,
                keyrings: vec![web.clone()],
                roles: vec![Role::Server],
                modes: vec![Mode::Directed],
                expose_keys: false,
                static_rsa,
                audit: false,
                refused_steps: Vec::new(),
            }]));
            let expected = match static_rsa {
                true => Ok(()),
                false => Err(HandshakeError::Policy(PolicyError::StaticRsa)),
            };
            assert_eq!(rights.check(1, &request), expected);
        }
    }

    #[test]
    fn r11_a_ring_that_refuses_steps_is_for_directed_mode() {
        let label = |text| Text::from_text(text).unwrap();
        let rights = ClientRights {
            client: 1,
            keyrings: vec![],
            roles: vec![],
            modes: vec![],
            expose_keys: false,
            static_rsa: false,
            audit: false,
            refused_steps: vec![RefusedSteps {
                keyring: label("web"),
                steps: vec![Step::Sign],
            }],
        };
        let rings = [label("other"), label("web")];
        let found: Vec<_> = refused(&rights, &rings).collect();
        assert_eq!(found, [(1, Step::Sign)]);
        assert!(check_steps(&rights, Mode::Directed, &rings).is_ok());
        assert_eq!(
            check_steps(&rights, Mode::Autonomous, &rings),
            Err(HandshakeError::Policy(PolicyError::Mode))
        );
        assert!(check_steps(&rights, Mode::Autonomous, &rings[..1]).is_ok());
    }
}

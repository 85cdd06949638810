//! What the machines are set to do, and all that can be said to them.

use director::Machine;
use ipc::bounded::{Blob, List, Text};
use ipc::control::Parameters;
use ipc::keystore::KeyKind;
use ipc::segment::{Segment, Ticket, Verdict};
use ipc::tls::PeerAuthentication;
use tls::{CipherSuite, Group, Role, Version};

use crate::messages::{SESSION_ID, client_messages, server_messages};

/// A handshake to begin, and the key rings that it finds.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) role: Role,
    rings: &'static [Option<KeyKind>],
    peer_authentication: PeerAuthentication,
    resumption: bool,
}

impl Setting {
    pub(crate) fn machine(&self) -> Machine {
        Machine::new(self.role, Box::new(self.parameters()))
    }

    fn parameters(&self) -> Parameters {
        let label = Text::from_text("web").unwrap_or_default();
        Parameters {
            versions: list([Version::Tls13, Version::Tls12]),
            suites: List::new(),
            // A server decrypts with a key for RSA alone.
            allow_static_rsa: self.rings.contains(&Some(KeyKind::Rsa)),
            peer_schemes: List::new(),
            groups: list([Group::X25519, Group::Secp256r1]),
            keyrings: list(self.rings.iter().map(|_| label.clone())),
            peer_authentication: self.peer_authentication,
            server_name: match self.role {
                Role::Server => None,
                Role::Client => Text::from_text("name").ok(),
            },
            alpn: List::new(),
            segment_size: *Parameters::SEGMENT_SIZES.end(),
            resumption: self.resumption,
            expose_keys: false,
        }
    }

    /// Everything that the offload component could say to a segment, or first.
    pub(crate) fn answers(&self, segment: Option<&Segment>) -> Vec<Verdict> {
        match segment {
            None => vec![Verdict::Begun {
                rings: list(self.rings.iter().copied()),
                schemes: List::new(),
                authorities: list(self.rings.iter().map(|_| 0)),
                staples: list(self.rings.iter().map(|_| true)),
                session_id: SESSION_ID,
            }],
            Some(Segment::Receive { show, .. }) => {
                let messages = match self.role {
                    Role::Server => client_messages(),
                    Role::Client => server_messages(),
                };
                let shown = |(kind, body): (tls::HandshakeType, Vec<u8>)| Verdict::Message {
                    kind: kind.0,
                    length: u16::try_from(body.len()).unwrap_or(u16::MAX),
                    part: part(&body, *show),
                };
                messages.into_iter().map(shown).collect()
            }
            Some(_) => vec![
                Verdict::Done,
                Verdict::Named(list(self.rings.iter().map(|_| true))),
                Verdict::Certificates { count: 0 },
                Verdict::Certificates { count: 1 },
                Verdict::Ticket(None),
                ticket(CipherSuite::Aes128GcmSha256),
                ticket(CipherSuite::EcdheEcdsaAes128GcmSha256),
            ],
        }
    }
}

/// Each configuration that leads to states of its own.
pub(crate) fn settings() -> Vec<Setting> {
    const ECDSA: &[Option<KeyKind>] = &[Some(KeyKind::EcdsaP256)];
    const BOTH: &[Option<KeyKind>] = &[Some(KeyKind::EcdsaP256), Some(KeyKind::Rsa)];
    const NONE: &[Option<KeyKind>] = &[None];
    let mut settings = Vec::new();
    for resumption in [false, true] {
        for (role, rings) in [
            (Role::Server, ECDSA),
            (Role::Server, BOTH),
            (Role::Client, NONE),
            (Role::Client, BOTH),
        ] {
            for peer_authentication in [
                PeerAuthentication::None,
                PeerAuthentication::Request,
                PeerAuthentication::Require,
            ] {
                // A server always shows who it is.
                if role == Role::Server || peer_authentication == PeerAuthentication::Require {
                    settings.push(Setting {
                        role,
                        rings,
                        peer_authentication,
                        resumption,
                    });
                }
            }
        }
    }
    settings
}

fn ticket(suite: CipherSuite) -> Verdict {
    Verdict::Ticket(Some(Ticket {
        suite,
        length: 40,
        session_id: SESSION_ID,
    }))
}

/// As much of a body as was asked for; all are shorter than the most.
fn part<const N: usize>(body: &[u8], show: u16) -> Blob<N> {
    let shown = body.get(..usize::from(show)).unwrap_or(body);
    Blob::from_slice(shown).unwrap_or_default()
}

/// As many as fit; all do.
fn list<T, const N: usize>(items: impl IntoIterator<Item = T>) -> List<T, N> {
    List::from_items(items).unwrap_or_default()
}

//! Directed mode (R3, R11): the shim's state machines say each step of a
//! handshake, and the offload component does it.
//!
//! One segment is under way at a time; its verdict is the input of the next transition. A
//! state is a type that the transition consumes, so a message can't be accepted in a
//! state that does not expect it: any message that a state does not name ends the
//! handshake with unexpected_message (RFC 8446 §6.2).
//!
//! Nothing secret passes here: segments have placeholders where secrets go.

mod client;
mod client_hello;
mod negotiation;
mod policy;
mod server;
mod server_hello;
mod server_name;
mod template;
mod tls12_client;
mod tls12_server;
mod tls13_client;
mod tls13_server;

use alloc::boxed::Box;
use alloc::vec::Vec;

use ipc::control::{HandshakeError, Parameters, PeerError, PolicyError, Resource};
use ipc::segment::{MAX_PART, Segment, Ticket, Verdict};
use ipc::step;
use tls::codec::DecodeError;
use tls::{Alert, HandshakeType, Role};

use client_hello::ClientHello;
use negotiation::Asked;

pub(crate) use policy::StepPolicy;

/// The longest ClientHello that is read.
const MAX_HELLO: u16 = 16 * 1024;
/// The longest ServerHello and EncryptedExtensions.
const MAX_SERVER_HELLO: u16 = 2048;
const MAX_EXTENSIONS: u16 = 4096;
/// The longest chain, and signature.
pub(crate) const MAX_CERTIFICATE: u16 = 32 * 1024;
const MAX_SIGNATURE: u16 = 1024;
/// TLS 1.3: the longest hash.
const MAX_FINISHED: u16 = 48;

/// Why the shim gives a handshake up: the alert for the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal(Alert);

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self(error.into())
    }
}

/// What a state has to go on with.
enum Input<'a> {
    /// The peer's message, as much of its body as was asked for.
    Message {
        kind: HandshakeType,
        body: &'a [u8],
    },
    Named(&'a [bool]),
    Certificates(u8),
    Ticket(Option<&'a Ticket>),
    Done,
}

impl<'a> Input<'a> {
    /// The body of a message of this type.
    fn message(self, expected: HandshakeType) -> Result<&'a [u8], Refusal> {
        match self {
            Self::Message { kind, body } if kind == expected => Ok(body),
            Self::Message { .. } => Err(Refusal(Alert::UNEXPECTED_MESSAGE)),
            _ => Err(INTERNAL),
        }
    }

    /// The step before was done, and nothing else.
    fn done(self) -> Result<(), Refusal> {
        match self {
            Self::Done => Ok(()),
            _ => Err(INTERNAL),
        }
    }
}

/// Not the peer's fault: the offload component answered what was not asked.
const INTERNAL: Refusal = Refusal(Alert::INTERNAL_ERROR);

/// Where the handshake goes next.
type Transition<S> = Result<(S, Segment), Refusal>;

enum State {
    /// The offload component looks at the key rings.
    Beginning,
    Server(server::State),
    Server13(tls13_server::State),
    Server12(tls12_server::State),
    Client(client::State),
    Client13(tls13_client::State),
    Client12(tls12_client::State),
    /// The last segment is on its way; a completion answers it.
    Ending,
}

/// One directed handshake.
pub(crate) struct Directed {
    role: Role,
    asked: Asked,
    policy: StepPolicy,
    state: State,
    /// A message of which parts are still to come.
    collected: Vec<u8>,
    /// Whether the message under way is wanted in full.
    wants_all: bool,
    under_way: Step,
}

/// A segment, as far as the audit log shows it.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    /// Its name.
    pub(crate) name: &'static str,
    /// Bytes of its template or key.
    pub(crate) size: usize,
}

impl Directed {
    pub(crate) fn new(role: Role, parameters: Box<Parameters>, policy: StepPolicy) -> Self {
        Self {
            role,
            asked: Asked::new(parameters),
            policy,
            state: State::Beginning,
            collected: Vec::new(),
            wants_all: false,
            under_way: Step {
                name: "begin",
                size: 0,
            },
        }
    }

    /// The segment whose verdict is due.
    pub(crate) const fn under_way(&self) -> Step {
        self.under_way
    }

    /// The segment that follows a verdict; and when the policy refused the one
    /// that would have followed, which it was and by which rule.
    pub(crate) fn advance(&mut self, verdict: &Verdict) -> (Segment, Option<(Step, step::Step)>) {
        let mut segment = self.decide(verdict);
        let mut refused = None;
        if let Some(rule) = self.policy.refuses(&segment) {
            let step = Step {
                name: segment.name(),
                size: segment.size(),
            };
            refused = Some((step, rule));
            self.state = State::Ending;
            // Before a client's first word there is nothing to answer.
            let is_first = matches!(verdict, Verdict::Begun { .. });
            segment = Segment::Abort {
                alert: (!is_first).then_some(policy::alert(rule)),
                error: HandshakeError::Policy(PolicyError::Step),
            };
        }
        self.under_way = Step {
            name: segment.name(),
            size: segment.size(),
        };
        (segment, refused)
    }

    fn decide(&mut self, verdict: &Verdict) -> Segment {
        let next = match verdict {
            Verdict::Begun { rings, authorities } => {
                self.asked.rings = rings.clone();
                self.asked.authorities = authorities.clone();
                return self.begin();
            }
            Verdict::Refused(alert) => Err(Refusal(*alert)),
            Verdict::Message { kind, length, part } => {
                self.message(HandshakeType(*kind), usize::from(*length), part)
            }
            Verdict::Named(named) => self.transition(Input::Named(named)),
            Verdict::Certificates { count } => self.transition(Input::Certificates(*count)),
            Verdict::Ticket(ticket) => self.transition(Input::Ticket(ticket.as_ref())),
            Verdict::Done => self.transition(Input::Done),
        };
        match next {
            Ok(segment) => {
                if let Segment::Receive { show, .. } = segment {
                    self.wants_all = usize::from(show) == MAX_PART;
                }
                segment
            }
            Err(Refusal(alert)) => {
                self.state = State::Ending;
                Segment::Abort {
                    alert: Some(alert),
                    error: match alert {
                        Alert::INTERNAL_ERROR => HandshakeError::Resource(Resource::Internal),
                        alert => HandshakeError::Peer(PeerError::AlertSent(alert)),
                    },
                }
            }
        }
    }

    fn begin(&mut self) -> Segment {
        if let Err(error) = self.asked.check(self.role) {
            return reject(error);
        }
        match self.role {
            Role::Server => {
                let (state, segment) = server::begin();
                self.state = State::Server(state);
                self.wants_all = true;
                segment
            }
            Role::Client => match client::begin(&self.asked) {
                Some((state, segment)) => {
                    self.state = State::Client(state);
                    segment
                }
                None => reject(HandshakeError::Resource(Resource::Internal)),
            },
        }
    }

    /// Collects a message that is wanted in full, part by part.
    fn message(
        &mut self,
        kind: HandshakeType,
        length: usize,
        part: &[u8],
    ) -> Result<Segment, Refusal> {
        if !self.wants_all || (self.collected.is_empty() && part.len() == length) {
            return self.transition(Input::Message { kind, body: part });
        }
        // The first part alone is kept until it is this handshake's turn to collect.
        let room = match self.collected.is_empty() {
            true => part.len(),
            false => length.saturating_sub(self.collected.len()),
        };
        self.collected.reserve_exact(room);
        self.collected.extend_from_slice(part);
        if part.is_empty() || self.collected.len() > length {
            return Err(INTERNAL);
        }
        if self.collected.len() < length {
            return Ok(self.next_part());
        }
        let body = core::mem::take(&mut self.collected);
        self.transition(Input::Message { kind, body: &body })
    }

    /// Asks for the next part of the message that is being collected.
    pub(crate) fn next_part(&self) -> Segment {
        // No limit of a message is longer than an offset can tell.
        let offset = u16::try_from(self.collected.len()).unwrap_or(u16::MAX);
        Segment::Show { offset }
    }

    fn transition(&mut self, input: Input<'_>) -> Result<Segment, Refusal> {
        if let (State::Server(_), Input::Message { kind, body }) = (&self.state, &input)
            && *kind == HandshakeType::CLIENT_HELLO
            && self.policy.asks_for_name()
            && ClientHello::parse(body, &self.asked.parameters.alpn)?
                .server_name
                .is_none()
        {
            self.policy.set_unnamed();
        }
        let asked = &self.asked;
        let (state, segment) = match core::mem::replace(&mut self.state, State::Ending) {
            State::Server(state) => state.next(input, asked)?,
            State::Server13(state) => {
                let (state, segment) = state.next(input, asked)?;
                (State::Server13(state), segment)
            }
            State::Server12(state) => {
                let (state, segment) = state.next(input, asked)?;
                (State::Server12(state), segment)
            }
            State::Client(state) => state.next(input, asked)?,
            State::Client13(state) => {
                let (state, segment) = state.next(input, asked)?;
                (State::Client13(state), segment)
            }
            State::Client12(state) => {
                let (state, segment) = state.next(input, asked)?;
                (State::Client12(state), segment)
            }
            State::Beginning | State::Ending => return Err(INTERNAL),
        };
        self.state = state;
        Ok(segment)
    }
}

/// The request can't be met; nothing was sent (R6).
const fn reject(error: HandshakeError) -> Segment {
    Segment::Abort { alert: None, error }
}

/// Waits for a message that the shim need not see.
const fn receive(limit: u16) -> Segment {
    Segment::Receive { limit, show: 0 }
}

/// Waits for a message that the shim parses.
const fn receive_all(limit: u16) -> Segment {
    Segment::Receive {
        limit,
        show: MAX_PART as u16,
    }
}

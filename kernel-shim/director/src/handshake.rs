//! One directed handshake.
//!
//! One segment is under way at a time; its verdict is the input of the next transition. A
//! state is a type that the transition consumes, so a message can't be accepted in a
//! state that does not expect it: any message that a state does not name ends the
//! handshake with unexpected_message (RFC 8446 §6.2).
//!
//! Nothing secret passes here: segments have placeholders where secrets go.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ipc::control::{HandshakeError, Parameters, PeerError, PolicyError, Resource};
use ipc::segment::{Facts, MAX_PART, Segment, Step, Verdict};
use tls::{Alert, HandshakeType, Role};

use crate::client_hello::ClientHello;
use crate::negotiation::Config;
use crate::policy::StepPolicy;
use crate::script::{DECODE, INTERNAL, Input, MAX_COLLECTED, Refusal, UNEXPECTED};
use crate::{client, server};

/// Where a handshake is.
#[derive(Debug)]
pub(crate) enum State {
    /// The offload component looks at the key rings.
    Beginning,
    Server(server::State),
    Client(client::State),
    /// The last segment is on its way; a completion answers it.
    Ending,
}

/// One directed handshake.
pub(crate) struct Handshake {
    role: Role,
    config: Config,
    policy: StepPolicy,
    state: State,
    /// A message of which parts are still to come.
    collected: Vec<u8>,
    /// Whether the message under way is wanted in full.
    wants_all: bool,
    under_way: Summary,
}

/// A segment, as far as the audit log shows it.
#[derive(Clone, Copy)]
pub(crate) struct Summary {
    /// Its name.
    pub(crate) name: &'static str,
    /// Bytes of its template or key.
    pub(crate) size: usize,
}

impl Summary {
    fn of(segment: &Segment) -> Self {
        let Facts { name, size, .. } = segment.facts();
        Self { name, size }
    }
}

impl Handshake {
    pub(crate) fn new(role: Role, parameters: Box<Parameters>, policy: StepPolicy) -> Self {
        Self {
            role,
            config: Config::new(parameters),
            policy,
            state: State::Beginning,
            collected: Vec::new(),
            wants_all: false,
            under_way: Summary {
                name: "begin",
                size: 0,
            },
        }
    }

    /// Where it is.
    pub(crate) const fn state(&self) -> &State {
        &self.state
    }

    /// The segment whose verdict is due.
    pub(crate) const fn under_way(&self) -> Summary {
        self.under_way
    }

    /// The segment that follows a verdict; and when the policy refused the one
    /// that would have followed, which it was and by which rule.
    pub(crate) fn advance(&mut self, verdict: &Verdict) -> (Segment, Option<(Summary, Step)>) {
        let mut segment = self.decide(verdict);
        let mut refused = None;
        if let Some(rule) = self.policy.refuses(&segment) {
            refused = Some((Summary::of(&segment), rule));
            self.state = State::Ending;
            // Before a client's first message there is nothing to answer.
            let is_first = matches!(verdict, Verdict::Begun { .. });
            segment = Segment::Abort {
                alert: (!is_first).then_some(rule.alert()),
                error: HandshakeError::Policy(PolicyError::Step),
                cause: None,
            };
        }
        self.under_way = Summary::of(&segment);
        (segment, refused)
    }

    /// Asks for the next part of the message that is being collected.
    pub(crate) fn next_part(&self) -> Segment {
        // No limit of a message is longer than an offset can tell.
        let offset = u16::try_from(self.collected.len()).unwrap_or(u16::MAX);
        Segment::Show { offset }
    }

    fn decide(&mut self, verdict: &Verdict) -> Segment {
        let next = match verdict {
            Verdict::Begun {
                rings,
                schemes,
                authorities,
                staples,
                session_id,
            } => {
                self.config.rings = rings.clone();
                self.config.schemes = schemes.clone();
                self.config.authorities = authorities.clone();
                self.config.staples = staples.clone();
                self.config.session_id = *session_id;
                return self.begin();
            }
            Verdict::Refused(alert) => Err(Refusal::new(*alert)),
            Verdict::Message { kind, length, part } => {
                self.message(HandshakeType(*kind), usize::from(*length), part)
            }
            Verdict::TooLong { kind } => self.too_long(HandshakeType(*kind)),
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
            Err(Refusal { alert, cause }) => {
                self.state = State::Ending;
                Segment::Abort {
                    alert: Some(alert),
                    error: match alert {
                        Alert::INTERNAL_ERROR => HandshakeError::Resource(Resource::Internal),
                        alert => HandshakeError::Peer(PeerError::AlertSent(alert)),
                    },
                    cause,
                }
            }
        }
    }

    fn begin(&mut self) -> Segment {
        if let Err(error) = self.config.check(self.role) {
            return reject(error);
        }
        match self.role {
            Role::Server => {
                let (state, segment) = server::begin();
                self.state = State::Server(state);
                self.wants_all = true;
                segment
            }
            Role::Client => match client::begin(&self.config) {
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
        // A chain is the offload component's to decode.
        let is_enough = !self.wants_all || kind == HandshakeType::CERTIFICATE;
        if is_enough || (self.collected.is_empty() && part.len() == length) {
            return self.transition(Input::Message { kind, body: part });
        }
        if length > usize::from(MAX_COLLECTED) {
            return self.too_long(kind);
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

    /// A message that is in its place and longer than it may be is a decode_error; in
    /// another's place its length does not matter.
    fn too_long(&mut self, kind: HandshakeType) -> Result<Segment, Refusal> {
        match self.transition(Input::Message { kind, body: &[] }) {
            Err(UNEXPECTED) => Err(UNEXPECTED),
            _ => Err(DECODE),
        }
    }

    fn transition(&mut self, input: Input<'_>) -> Result<Segment, Refusal> {
        self.note_name(&input)?;
        match core::mem::replace(&mut self.state, State::Ending) {
            State::Server(state) => {
                let (state, segment) = state.next(input, &self.config)?;
                self.state = State::Server(state);
                Ok(segment)
            }
            State::Client(state) => {
                let (state, segment) = state.next(input, &self.config)?;
                self.state = State::Client(state);
                Ok(segment)
            }
            State::Beginning | State::Ending => Err(INTERNAL),
        }
    }

    /// Tells the policy of a first ClientHello without a server name, if that matters.
    fn note_name(&mut self, input: &Input<'_>) -> Result<(), Refusal> {
        let (State::Server(state), Input::Message { kind, body }) = (&self.state, input) else {
            return Ok(());
        };
        if !state.has_version()
            && *kind == HandshakeType::CLIENT_HELLO
            && self.policy.asks_for_name()
            && ClientHello::parse(body, &self.config.parameters.alpn)?
                .server_name
                .is_none()
        {
            self.policy.set_unnamed();
        }
        Ok(())
    }
}

/// The request can't be met; nothing was sent (R6).
const fn reject(error: HandshakeError) -> Segment {
    Segment::Abort {
        alert: None,
        error,
        cause: None,
    }
}

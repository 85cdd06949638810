//! One handshake, directed: the director says each step, this does it (R3, R11).
//!
//! Everything secret of the handshake is here, and leaves only as keys for the record
//! layer. The executor knows no order of messages: it receives, fills, hashes, derives
//! and checks on request, and refuses what can't be done with what it has (a signature
//! without a transcript, a Finished without keys).

mod act;
mod begin;
mod check;
mod fault;
mod fill;
mod finish;
mod inbound;
mod key_share;
mod keys;
mod outbound;
mod peer;
mod received;
mod resumable_session;
mod resumption;
mod ring_of;
mod rsa;
mod sealing;
#[cfg(test)]
mod trace;
mod transcript;
#[cfg(test)]
mod vectors;
mod waiting;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ipc::bounded::Blob;
use ipc::channel::{Channel, Doorbell, SlotIndex};
use ipc::clock::Instant;
use ipc::control::{Cause, HandshakeError, Parameters, PeerError, Resource};
use ipc::net::TcpPosition;
use ipc::segment::{Agreed, MAX_PART, RingPlace, Segment, Verdict};
use ipc::tls::{PeerAuthentication, Schemes};
use rustls::pki_types::UnixTime;
use tls::codec::MESSAGE_HEADER;
use tls::protection::Key;
use tls::schedule13::Schedule;
use tls::{Alert, CipherSuite, Role, Scheme, TrafficKey, Version};

use crate::connection::cut_off;
use crate::full_handshake::FullHandshake;
use crate::keyring::Keyring;
use crate::output::Output;
use crate::signer::Sign;
use crate::time::Moment;
pub(crate) use begin::Resumptions;
use fault::Fault;
use inbound::{Found, Inbound, TooLong};
use key_share::KeyShare;
use keys::Keys;
use outbound::Outbound;
use peer::Peer;
use received::ReceivedTicket;
pub(crate) use received::{TicketCache, Tickets};
use resumable_session::ResumableSession;
use resumption::Prepared;
use sealing::Resumption;
use transcript::Transcript;
use waiting::Waiting;

/// What a step needs from outside the handshake.
pub(crate) struct Context<'a> {
    pub(crate) keystore: &'a dyn Sign,
    pub(crate) unix_time: UnixTime,
    pub(crate) now: Instant,
}

impl Context<'_> {
    fn moment(&self) -> Moment {
        Moment {
            uptime: self.now.as_micros() / 1_000_000,
            unix: self.unix_time.as_secs(),
        }
    }
}

/// What became of a step.
#[allow(
    clippy::large_enum_variant,
    reason = "it lives on the stack of one call"
)]
pub(crate) enum Step {
    /// It waits for the peer, or for room, or for the next segment.
    Waiting,
    /// The segment is done.
    Answer(Verdict),
    /// The segment said finish, and all that was written has gone.
    Finished(Box<Agreed>),
    /// The handshake is over; the alert, if one was due, is in the ring.
    Failed(HandshakeError),
}

/// A message of the peer.
struct Message {
    bytes: Vec<u8>,
    is_in_transcript: bool,
}

impl Message {
    fn body(&self) -> &[u8] {
        self.bytes.get(MESSAGE_HEADER..).unwrap_or_default()
    }
}

/// A directed handshake in progress.
pub(crate) struct Directed {
    first_byte: Option<Instant>,
    role: Role,
    rings: Vec<Arc<Keyring>>,
    /// Server: the ring of this handshake, once a segment named it.
    ring: Option<RingPlace>,
    /// Whether the peer is asked for a certificate.
    asks_peer: bool,
    /// What the peer may sign by; and what it signed by.
    peer_schemes: Schemes,
    peer_scheme: Option<Scheme>,
    rx_start: u32,
    inbound: Inbound,
    outbound: Outbound,
    transcript: Transcript,
    message: Option<Message>,
    suite: Option<CipherSuite>,
    own_random: [u8; 32],
    peer_random: [u8; 32],
    key_share: KeyShare,
    keys: Keys,
    /// TLS 1.2: keys that ChangeCipherSpec will turn on, out and in.
    pending: (Option<Key>, Option<Key>),
    /// Keys for the record layer: out, in.
    traffic: Option<(TrafficKey, TrafficKey)>,
    peer: Peer,
    /// When the peer was authenticated, here or in the session that is resumed.
    full: Option<FullHandshake>,
    /// The pre-master secret was encrypted with the peer's certified key: it
    /// proves to have that key by its Finished.
    is_encrypted_to_peer: bool,
    is_peer_finished: bool,
    resumption: Resumption,
    /// The session that is to be resumed.
    resumable: Option<ResumableSession>,
    /// Client: the ticket that was offered, or a new one.
    ticket: Option<ReceivedTicket>,
    /// TLS 1.2: it is a new one.
    is_new_ticket: bool,
    /// TLS 1.3: the schedule with the resumed session's secret.
    early: Option<Schedule>,
    is_resumed: bool,
    prepared: Option<Prepared>,
    /// The segment that waits for the connection.
    waiting: Option<Waiting>,
    /// What of the peer's part was wrong, where its alert does not tell.
    cause: Option<Cause>,
}

impl Directed {
    fn new(
        role: Role,
        rings: Vec<Arc<Keyring>>,
        parameters: &Parameters,
        position: TcpPosition,
        resumption: Resumption,
    ) -> Self {
        Self {
            first_byte: None,
            role,
            ring: None,
            asks_peer: parameters.peer_authentication != PeerAuthentication::None,
            peer_schemes: parameters.peer_schemes.clone(),
            peer_scheme: None,
            rings,
            rx_start: position.rx_next,
            inbound: Inbound::new(),
            outbound: Outbound::new(Output::new(position.tx_next, parameters.segment_size), role),
            transcript: Transcript::new(),
            message: None,
            suite: None,
            own_random: [0; 32],
            peer_random: [0; 32],
            key_share: KeyShare::None,
            keys: Keys::None,
            pending: (None, None),
            traffic: None,
            peer: Peer::Unknown,
            full: None,
            is_encrypted_to_peer: false,
            is_peer_finished: false,
            resumption,
            resumable: None,
            ticket: None,
            is_new_ticket: false,
            early: None,
            is_resumed: false,
            prepared: None,
            waiting: None,
            cause: None,
        }
    }

    pub(crate) const fn role(&self) -> Role {
        self.role
    }

    /// What of the peer's part was wrong, if it has failed and its alert does not tell.
    pub(crate) const fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// Whether the peer's first message was whole.
    pub(crate) const fn has_heard(&self) -> bool {
        self.message.is_some() || self.suite.is_some()
    }

    /// Whether the segment under way waits for the connection.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether a part of a message has come.
    pub(crate) fn has_part(&self) -> bool {
        self.inbound.must_be_empty().is_err()
    }

    /// Whether it waits for a reaction to the flight that costs a server its signature, and
    /// not to a HelloRetryRequest.
    pub(crate) fn has_sent_flight(&self) -> bool {
        let has_keys = !matches!(self.keys, Keys::None);
        self.has_heard()
            && self.is_waiting()
            && (has_keys || self.version() == Some(Version::Tls12))
    }

    /// Bytes held on behalf of the peer, at most: all that was taken from it, what it has
    /// not taken from us, and our messages where they are kept.
    pub(crate) fn held(&self) -> usize {
        let ours = self.transcript.kept() + self.outbound.waiting();
        self.inbound.taken() as usize + ours
    }

    /// Whether the segment under way takes what the peer sends.
    pub(crate) fn reads(&self) -> bool {
        self.waiting.as_ref().is_some_and(Waiting::reads)
    }

    /// Sends what there is room for.
    pub(crate) fn flush<D: Doorbell>(&mut self, channel: &mut Channel<D>, slot: SlotIndex) {
        // What fails ends the handshake at its next step.
        let _ = self.outbound.flush(channel, slot);
    }

    /// Whether something is to be sent first.
    pub(crate) fn sends(&self) -> bool {
        !self.outbound.is_empty()
    }

    /// Sends the peer an alert, if there is room.
    pub(crate) fn say_last<D: Doorbell>(
        &mut self,
        channel: &mut Channel<D>,
        slot: SlotIndex,
        alert: Alert,
    ) {
        // Without room, and with a ring that lies, the connection just ends.
        if self.outbound.is_empty() && self.outbound.alert(alert).is_ok() {
            let _ = self.outbound.flush(channel, slot);
        }
    }

    /// Does one step that the director asks for.
    pub(crate) fn perform<D: Doorbell>(
        &mut self,
        segment: Segment,
        channel: &mut Channel<D>,
        slot: SlotIndex,
        context: &Context<'_>,
    ) -> Step {
        if self.waiting.is_some() {
            // One at a time is the rule of the queue.
            return Step::Failed(HandshakeError::Resource(Resource::Internal));
        }
        let waiting = match Waiting::of(segment) {
            Ok(waiting) => waiting,
            Err(segment) => {
                return match self.act(&segment, context) {
                    Ok(verdict) => Step::Answer(verdict),
                    Err(fault) => self.failed(fault, channel, slot, context),
                };
            }
        };
        if let Err(fault) = self.begin_waiting(&waiting) {
            return self.failed(fault, channel, slot, context);
        }
        self.waiting = Some(waiting);
        self.step(channel, slot, context)
    }

    /// Goes on with a segment that waits for the connection.
    pub(crate) fn step<D: Doorbell>(
        &mut self,
        channel: &mut Channel<D>,
        slot: SlotIndex,
        context: &Context<'_>,
    ) -> Step {
        let Some(waiting) = self.waiting.take() else {
            return Step::Waiting;
        };
        match self.go_on(&waiting, channel, slot, context) {
            Ok(Step::Waiting) => {
                self.waiting = Some(waiting);
                Step::Waiting
            }
            Ok(step) => step,
            Err(fault) => self.failed(fault, channel, slot, context),
        }
    }

    fn failed<D: Doorbell>(
        &mut self,
        fault: Fault,
        channel: &mut Channel<D>,
        slot: SlotIndex,
        context: &Context<'_>,
    ) -> Step {
        match fault {
            Fault::Refused(alert) => Step::Answer(Verdict::Refused(alert)),
            Fault::Because(alert, cause) => {
                self.cause = cause;
                Step::Answer(Verdict::Refused(alert))
            }
            Fault::Over(error) => Step::Failed(error),
            Fault::NotTls => {
                let _ = self.outbound.alert(Alert::DECODE_ERROR);
                self.waiting = Some(Waiting::Abort {
                    alert: None,
                    error: HandshakeError::Peer(PeerError::NotTls),
                    cause: None,
                });
                self.step(channel, slot, context)
            }
        }
    }

    fn begin_waiting(&mut self, waiting: &Waiting) -> Result<(), Fault> {
        match waiting {
            Waiting::Receive { .. } | Waiting::ReceiveChangeCipherSpec => {
                self.absorb();
                Ok(())
            }
            Waiting::Finish(agreed) => {
                self.settle(agreed.ring)?;
                self.inbound.must_be_empty()?;
                match self.is_peer_finished {
                    true => Ok(()),
                    false => Err(Fault::INTERNAL),
                }
            }
            Waiting::Abort { alert, .. } => match alert {
                Some(alert) => self.outbound.alert(*alert),
                None => Ok(()),
            },
        }
    }

    fn go_on<D: Doorbell>(
        &mut self,
        waiting: &Waiting,
        channel: &mut Channel<D>,
        slot: SlotIndex,
        context: &Context<'_>,
    ) -> Result<Step, Fault> {
        // Read before the bytes: with END set, none come after those found.
        let status = channel.peer_status(slot);
        self.outbound.flush(channel, slot)?;
        let stay = || match cut_off(status) {
            Some(error) => Step::Failed(error),
            None => Step::Waiting,
        };
        if !self.outbound.is_empty() {
            return Ok(stay());
        }
        match waiting {
            Waiting::Finish(agreed) => Ok(Step::Finished(agreed.clone())),
            Waiting::Abort { error, cause, .. } => {
                // The director was told no more than the alert.
                self.cause = self.cause.or(*cause);
                Ok(Step::Failed(*error))
            }
            Waiting::Receive { limit, show } => loop {
                match self.inbound.take_message(*limit)? {
                    Some(Ok(message)) => {
                        return self.received(message, *show).map(Step::Answer);
                    }
                    Some(Err(TooLong { kind })) => {
                        return Ok(Step::Answer(Verdict::TooLong { kind }));
                    }
                    None => {}
                }
                match self.inbound.take_record(channel, slot)? {
                    Found::Nothing => return Ok(stay()),
                    Found::Record => self.first_byte.get_or_insert(context.now),
                    Found::ChangeCipherSpec => {
                        return Err(Fault::Refused(Alert::UNEXPECTED_MESSAGE));
                    }
                };
            },
            Waiting::ReceiveChangeCipherSpec => loop {
                // A message where ChangeCipherSpec belongs.
                self.inbound.must_be_empty()?;
                match self.inbound.take_record(channel, slot)? {
                    Found::Nothing => return Ok(stay()),
                    Found::Record => {}
                    Found::ChangeCipherSpec => {
                        let protection = self.pending.1.take().ok_or(Fault::INTERNAL)?;
                        self.inbound.protect(protection)?;
                        return Ok(Step::Answer(Verdict::Done));
                    }
                }
            },
        }
    }

    fn received(&mut self, bytes: Vec<u8>, show: u16) -> Result<Verdict, Fault> {
        self.message = Some(Message {
            bytes,
            is_in_transcript: false,
        });
        self.show(0, usize::from(show))
    }

    fn show(&self, offset: usize, most: usize) -> Result<Verdict, Fault> {
        let message = self.message.as_ref().ok_or(Fault::INTERNAL)?;
        let body = message.body();
        let rest = body.get(offset..).ok_or(Fault::INTERNAL)?;
        let part = rest.get(..most.min(MAX_PART)).unwrap_or(rest);
        Ok(Verdict::Message {
            kind: message.bytes.first().copied().unwrap_or_default(),
            length: u16::try_from(body.len()).map_err(|_| Fault::INTERNAL)?,
            part: Blob::from_slice(part).map_err(|_| Fault::INTERNAL)?,
        })
    }

    const fn suite(&self) -> Option<CipherSuite> {
        self.suite
    }

    fn version(&self) -> Option<Version> {
        self.inbound.version
    }

    fn peer_role(&self) -> Role {
        self.role.other()
    }
}

fn name(name: &Option<Box<ipc::tls::ServerName>>) -> Option<&str> {
    name.as_deref().map(|name| &**name)
}

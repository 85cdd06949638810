//! One handshake, autonomous: rustls driven record by record.
//!
//! Records are taken from the ring one at a time, so that rustls never sees a
//! byte after the peer's Finished (R32): those stay in the ring for the next
//! owner of the connection. A handshake that waits for a record holds no
//! buffer.

mod announced;
mod current;
mod due_alert;
mod engine;
mod flight_check;
mod hello_check;
mod key_capture;
mod last_word;
mod lists;
mod messages;
mod profile;
mod resolver;
mod tickets;
mod verifier;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use ipc::bounded::{Bytes, List};
use ipc::channel::{Channel, Doorbell, SlotBytes, SlotIndex};
use ipc::clock::Instant;
use ipc::control::{Cause, Established, HandshakeError, Parameters, PeerError, Resource};
use ipc::net::TcpPosition;
use ipc::ring::Misbehaved;
use ipc::tls::PeerAuthentication;
use rustls::HandshakeKind;
use rustls::ProtocolVersion::TLSv1_2;
use tls::hello_scan::HelloScan;
use tls::record::{HEADER, Header, Incoming, MAX_RECORD};
use tls::{Alert, CipherSuite, ContentType, RecordLimit, Role, Version};

use crate::connection::{MAX_RECORDS, cut_off};
use crate::convert;
use crate::finished::Finished;
use crate::identity::Peer;
use crate::loans::TooMuch;
use crate::output::Output;
use announced::Announced;
use engine::{Engine, Outcome};
use key_capture::{CapturedKeys, KeyCapture};
use lists::ENTRY_CHARGE;
pub(crate) use profile::Profiles;
use resolver::Choice;
pub(crate) use tickets::{AfterHandshake, Remembered};

/// Records of one handshake that are taken before others have their turn.
const RECORDS_A_LOOK: u16 = 32;

/// An autonomous handshake in progress.
pub(crate) struct Autonomous {
    first_byte: Option<Instant>,
    choice: Option<Box<Choice>>,
    captured: CapturedKeys,
    engine: Engine,
    versions: List<Version, 2>,
    capture: Arc<KeyCapture>,
    /// Records that rustls could not finish with yet: parts of one message.
    incoming: Vec<u8>,
    output: Output,
    /// rustls keeps all messages, ours too, until the peer has signed them.
    keeps_messages: bool,
    /// How far the first ClientHello has come.
    hello: HelloScan,
    announced: Announced,
    /// The alert for a list that is too long.
    too_long: Option<Alert>,
    /// TCP sequence number of the next byte in the ring, and of the first.
    rx_next: u32,
    rx_start: u32,
    /// Records taken.
    records: u16,
    /// We have spoken: the peer's hello was whole.
    has_heard: bool,
    /// A message was whole since this was asked last.
    has_moved: bool,
    failure: Option<HandshakeError>,
    /// What of the peer's part was wrong, where `failure` does not tell.
    cause: Option<Cause>,
    /// The alert that an RFC names for the failure, where rustls has another or none.
    due: Option<Alert>,
    /// The alert that went out.
    alert: Option<Alert>,
}

/// What became of a step.
pub(crate) enum Step {
    /// It waits for the peer, or for room.
    Waiting,
    /// There may be more to read: it goes on when others had their turn.
    Busy,
    /// The peer's Finished was good and all that we had to say is in the ring.
    Finished,
    /// It has failed; the alert, if one was due, is in the ring.
    Failed(HandshakeError),
}

/// What was taken from the ring.
enum Taken {
    /// There is no whole record.
    Nothing,
    /// The record is none that is read; the alert is written.
    Refused,
    /// So many bytes.
    Bytes(u32),
}

impl Autonomous {
    fn new(
        engine: Engine,
        capture: Arc<KeyCapture>,
        position: TcpPosition,
        parameters: &Parameters,
    ) -> Box<Self> {
        let mut handshake = Box::new(Self {
            first_byte: None,
            choice: None,
            captured: CapturedKeys::default(),
            engine,
            versions: parameters.versions.clone(),
            capture,
            incoming: Vec::new(),
            output: Output::new(position.tx_next, parameters.segment_size),
            keeps_messages: parameters.peer_authentication != PeerAuthentication::None,
            hello: HelloScan::default(),
            announced: Announced::default(),
            too_long: None,
            rx_next: position.rx_next,
            rx_start: position.rx_next,
            records: 0,
            has_heard: false,
            has_moved: false,
            failure: None,
            cause: None,
            due: None,
            alert: None,
        });
        // A client speaks first.
        if handshake.role() == Role::Client {
            handshake.process();
        }
        handshake
    }

    pub(crate) fn role(&self) -> Role {
        self.engine.role()
    }

    /// Goes as far as bytes and room allow.
    pub(crate) fn step<D: Doorbell>(
        &mut self,
        channel: &mut Channel<D>,
        slot: SlotIndex,
        now: impl Fn() -> Instant,
        charge: impl FnMut(usize) -> Result<(), TooMuch>,
    ) -> Step {
        match self.advance(channel, slot, now, charge) {
            Ok(step) => step,
            Err(Misbehaved) => Step::Failed(HandshakeError::Resource(Resource::Internal)),
        }
    }

    fn advance<D: Doorbell>(
        &mut self,
        channel: &mut Channel<D>,
        slot: SlotIndex,
        now: impl Fn() -> Instant,
        mut charge: impl FnMut(usize) -> Result<(), TooMuch>,
    ) -> Result<Step, Misbehaved> {
        // Read before the bytes: with END set, none come after those found.
        let status = channel.peer_status(slot);
        let most = self.records.saturating_add(RECORDS_A_LOOK);
        loop {
            let is_over = self.failure.is_none() && !self.is_handshaking();
            match is_over {
                // The connection moves on at once, and this goes with it.
                true => self.output.flush_quietly(channel, slot)?,
                false => self.output.flush(channel, slot)?,
            }
            if !self.output.is_empty() {
                return Ok(cut_off(status).map_or(Step::Waiting, Step::Failed));
            }
            if let Some(failure) = self.failure {
                return Ok(Step::Failed(failure));
            }
            if is_over {
                return Ok(Step::Finished);
            }
            if self.records >= most {
                return Ok(Step::Busy);
            }
            let taken = match self.take_record(channel, slot)? {
                Taken::Nothing => {
                    self.drop_buffers();
                    // What it holds is less now: the flight has left.
                    let _ = charge(self.held());
                    return Ok(cut_off(status).map_or(Step::Waiting, Step::Failed));
                }
                Taken::Refused => continue,
                Taken::Bytes(count) => count,
            };
            self.first_byte.get_or_insert_with(&now);
            self.rx_next = self.rx_next.wrapping_add(taken);
            self.records += 1;
            if self.records > MAX_RECORDS {
                self.end_with(
                    Alert::UNEXPECTED_MESSAGE,
                    HandshakeError::Peer(PeerError::AlertSent(Alert::UNEXPECTED_MESSAGE)),
                );
                continue;
            }
            if let Some((alert, cause)) = self.refused_list().or_else(|| self.refused_hello()) {
                self.cause = cause;
                self.end_with(alert, HandshakeError::Peer(PeerError::AlertSent(alert)));
                continue;
            }
            self.process();
            let is_charged = charge(self.held()).is_ok();
            // What has failed has said its last word.
            if !is_charged && self.failure.is_none() {
                self.end_with(
                    Alert::INTERNAL_ERROR,
                    HandshakeError::Resource(Resource::Memory),
                );
            }
        }
    }

    /// What was agreed on, once a step has finished it; it began then.
    ///
    /// # Errors
    /// What can't be.
    pub(crate) fn finish(mut self: Box<Self>, began: Instant) -> Result<Finished, HandshakeError> {
        const INTERNAL: HandshakeError = HandshakeError::Resource(Resource::Internal);
        let choice = self.choice.take().ok_or(INTERNAL)?;
        let agreed = self.engine.state();
        let suite = agreed
            .negotiated_cipher_suite()
            .and_then(|suite| CipherSuite::from_number(u16::from(suite.suite())))
            .ok_or(INTERNAL)?;
        let keys = self.captured.keys().ok_or(INTERNAL)?;
        let peer = Peer::of(agreed.peer_certificates());
        let established = Box::new(Established {
            version: suite.version(),
            suite,
            group: agreed
                .negotiated_key_exchange_group()
                .and_then(convert::group),
            sequence: (keys.0.sequence, keys.1.sequence),
            key_check: None,
            keys: None,
            peer: peer.identity,
            peer_scheme: self.engine.facts.scheme,
            alpn: agreed
                .alpn_protocol()
                .and_then(|name| Bytes::from_slice(name).ok()),
            server_name: choice.server_name,
            keyring: self.engine.shown().unwrap_or(choice.keyring),
            resumed: agreed.handshake_kind() == Some(HandshakeKind::Resumed),
            tcp: TcpPosition {
                tx_next: self.output.next(),
                rx_next: self.rx_next,
            },
            first_byte: self.first_byte.unwrap_or(began),
            installed: Instant::NEVER,
        });
        let role = self.role();
        let (secrets, tickets) = match suite.version() {
            Version::Tls13 => {
                let secrets = self.captured.secrets(suite).ok_or(INTERNAL)?;
                (Some(secrets), self.engine.into_tickets())
            }
            Version::Tls12 => (None, None),
        };
        Ok(Finished {
            role,
            exporter: self.captured.exporter().ok_or(INTERNAL)?,
            // rustls does not know record_size_limit, and says none.
            record_limit: RecordLimit::NONE,
            keys,
            secrets,
            tickets,
            certificate: peer.certificate,
            established,
        })
    }

    /// Whether the peer's first message was whole.
    pub(crate) const fn has_heard(&self) -> bool {
        self.has_heard
    }

    /// Whether a part of a message has come, and no more.
    pub(crate) const fn has_part(&self) -> bool {
        !self.incoming.is_empty()
    }

    /// Whether a message was whole since this was asked last.
    pub(crate) const fn take_moved(&mut self) -> bool {
        mem::replace(&mut self.has_moved, false)
    }

    /// Whether the flight has left that costs a server its signature: a peer that reacts
    /// to it has done so to more than a HelloRetryRequest.
    pub(crate) fn has_sent_flight(&self) -> bool {
        let is_tls12 = || self.engine.state().protocol_version() == Some(TLSv1_2);
        self.has_heard && (self.captured.has_keys() || is_tls12())
    }

    /// Bytes held on behalf of the peer, at most: all that was taken from it, with what the
    /// entries of its lists take beside, what it has not taken from us, and our messages where
    /// they are kept.
    pub(crate) fn held(&self) -> usize {
        let taken = self.rx_next.wrapping_sub(self.rx_start);
        let ours = match self.keeps_messages {
            true => self.output.written(),
            false => self.output.waiting(),
        };
        let entries = self.announced.entries() + self.captured.entries();
        taken as usize + entries as usize * ENTRY_CHARGE + ours
    }

    /// Sends what there is room for.
    pub(crate) fn flush<D: Doorbell>(&mut self, channel: &mut Channel<D>, slot: SlotIndex) {
        // A ring that lies ends the handshake at its next step.
        let _ = self.output.flush(channel, slot);
    }

    /// Whether something is to be sent first.
    pub(crate) fn sends(&self) -> bool {
        !self.output.is_empty()
    }

    /// Sends the peer an alert, if it can read that without keys and there is room.
    pub(crate) fn say_last<D: Doorbell>(
        &mut self,
        channel: &mut Channel<D>,
        slot: SlotIndex,
        alert: Alert,
    ) {
        if self.output.is_empty() {
            self.end_with(alert, HandshakeError::Resource(Resource::Memory));
            // A ring that lies is no way to the peer.
            let _ = self.output.flush(channel, slot);
        }
    }

    fn is_handshaking(&self) -> bool {
        self.engine.state().is_handshaking()
    }

    /// Moves one whole record from the ring after `incoming`; so many bytes were moved.
    /// An invalid header moves alone: rustls sends the right alert.
    fn take_record<D: Doorbell>(
        &mut self,
        channel: &mut Channel<D>,
        slot: SlotIndex,
    ) -> Result<Taken, Misbehaved> {
        let mut bytes = SlotBytes::new(channel, slot);
        let Some(incoming) = Incoming::fetch(&bytes)? else {
            return Ok(Taken::Nothing);
        };
        let header = incoming.header();
        if self.is_oversized(header) || self.is_out_of_place(header) {
            return Ok(Taken::Refused);
        }
        // 24 is heartbeat (RFC 6520), which rustls answers itself.
        let plausible = (20..=24).contains(&header.kind())
            && header.is_tls()
            && header.record_length() <= MAX_RECORD;
        if plausible && !incoming.is_whole(&bytes)? {
            return Ok(Taken::Nothing);
        }
        let length = match plausible {
            true => header.record_length(),
            false => HEADER,
        };
        let start = self.incoming.len();
        if self.incoming.capacity() - start < length {
            // Not for each record of a long message: growing copies and clears what is there.
            self.incoming.reserve_exact(length.max(start / 4));
        }
        self.incoming.resize(start + length, 0);
        let record = self.incoming.get_mut(start..).unwrap_or_default();
        incoming.take(&mut bytes, record)?;
        let record = self.incoming.get(start..).unwrap_or_default();
        self.too_long = self.announced.look_at(record).err();
        self.engine.facts.ticket = self.announced.ticket();
        self.engine.facts.accepted = self.announced.accepted();
        Ok(Taken::Bytes(u32::try_from(length).unwrap_or(0)))
    }

    /// Refuses a first record that is longer than any may be with
    /// record_overflow (RFC 8446 §5.1); rustls would say decode_error.
    fn is_oversized(&mut self, header: Header) -> bool {
        let is_handshake = header.content_type() == Some(ContentType::Handshake);
        if self.first_byte.is_some()
            || !is_handshake
            || !header.is_tls()
            || header.record_length() <= MAX_RECORD
        {
            return false;
        }
        let alert = Alert::RECORD_OVERFLOW;
        let record = alert.fatal_record();
        self.output.buffer().extend_from_slice(&record);
        self.fail(HandshakeError::Peer(PeerError::AlertSent(alert)));
        true
    }

    /// Lets rustls work through `incoming` until it wants another record.
    fn process(&mut self) {
        let current = self.engine.current.clone();
        let mut facts = mem::take(&mut self.engine.facts);
        current.with(&mut facts, || self.advance_engine());
        self.engine.facts = facts;
        if let Some(mut captured) = self.capture.take() {
            self.captured.update(&mut captured);
        }
        if let Some(choice) = self.engine.take_choice() {
            self.choice = Some(choice);
        }
        if let Some(violation) = self.captured.violation() {
            self.due = Some(violation);
            self.failure = Some(HandshakeError::Peer(PeerError::AlertSent(violation)));
            self.cause = None;
        }
        self.settle_alert();
    }

    /// The same, with its facts where they belong.
    fn advance_engine(&mut self) {
        loop {
            // After an error there may be an alert to encode, and nothing else.
            if self.failure.is_some() && !self.engine.state().wants_write() {
                break;
            }
            let turn = self
                .engine
                .process(&mut self.incoming, self.output.buffer());
            let goes_on = match turn.outcome {
                Outcome::Said(start) => {
                    self.has_heard |= self.first_byte.is_some();
                    if self.failure.is_some() {
                        self.note_alert(start);
                    }
                    true
                }
                Outcome::Sent => true,
                Outcome::Stopped => false,
                Outcome::Unexpected => {
                    self.fail(HandshakeError::Peer(PeerError::AlertSent(
                        Alert::UNEXPECTED_MESSAGE,
                    )));
                    false
                }
                // `incoming` stays as it is: rustls keeps places in it.
                Outcome::Failed(error) => {
                    let version = self.engine.state().protocol_version();
                    self.due = due_alert::instead(&error, self.role(), version);
                    self.note_cause(&error);
                    self.fail(convert::blame(&error));
                    true
                }
            };
            self.has_moved |= turn.discard > 0;
            self.incoming.drain(..turn.discard.min(self.incoming.len()));
            if !goes_on {
                break;
            }
        }
    }

    /// Others may wait as long, and by the thousand.
    fn drop_buffers(&mut self) {
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
    }

    fn fail(&mut self, failure: HandshakeError) {
        self.failure.get_or_insert(failure);
    }
}

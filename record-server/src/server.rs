//! Calls from shim and offload component, events from network stack and
//! application, and the two pumps between them.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use ipc::badge::Badge;
use ipc::bounded::Blob;
use ipc::channel::{Channel, Doorbell, Event, SlotIndex, Status};
use ipc::record::{PostHandshake, PostHandshakeQueue, Record, RecordError, Request};
use ipc::ring::Misbehaved;
use ipc::stats;
use ipc::tls::{Aead, Alert, CipherSuite, TrafficKey, Version};
use ipc::transport::{MAX_MESSAGE, dispatch};

use crate::aead::Key;
use crate::frame::{ContentType, HEADER, Header, MAX_BODY, MAX_PLAINTEXT};
use crate::session::{Content, Session, most_plaintext};

/// The capabilities of the record layer. Both channels have one slot for each
/// session.
pub struct Ports<'a, N, A, O> {
    /// Protected records.
    pub net: Channel<N>,
    /// Plaintext.
    pub app: Channel<A>,
    /// What the offload component has to deal with.
    pub offload: PostHandshakeQueue<O>,
    /// Counters.
    pub stats: &'a stats::Page,
}

/// How many records one AES-GCM key may seal (RFC 8446 §5.5: 2^24.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From here on a new key is asked for.
    pub rekey_at: u64,
    /// From here on the session is ended instead.
    pub end_at: u64,
}

impl Limits {
    /// A new key behind so many records, the end behind twice as many.
    pub const fn rekey_after(records: u64) -> Self {
        Self {
            rekey_at: records,
            end_at: records.saturating_mul(2),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::rekey_after(1 << 23)
    }
}

enum Slot {
    /// The next session begins with its keys.
    Free,
    Live(Box<Session>),
    /// Ended by an error; the shim has not closed it yet.
    Dead,
}

/// What became of the records that go before anything else.
#[derive(PartialEq, Eq)]
enum Urgent {
    /// There is nothing new.
    Nothing,
    /// They are in the ring.
    Put,
    /// They wait for room, or there is no session.
    Waits,
}

struct Place {
    /// Of the session in the slot, or of the last one; `None` before the first.
    generation: Option<u16>,
    state: Slot,
}

/// The record layer.
pub struct Server<'a, N, A, O> {
    net: Channel<N>,
    app: Channel<A>,
    offload: PostHandshakeQueue<O>,
    places: Vec<Place>,
    /// The one record in work.
    record: Box<[u8]>,
    limits: Limits,
    stats: &'a stats::Page,
}

/// Whether a request by `badge` may bring keys: those of the shim, which opens
/// and closes slots, do not.
pub fn may_carry_keys(badge: u64) -> bool {
    !matches!(Badge::from_word(badge), Some(Badge::Control))
}

impl<'a, N: Doorbell, A: Doorbell, O: Doorbell> Server<'a, N, A, O> {
    /// A record layer without sessions.
    pub fn new(ports: Ports<'a, N, A, O>, limits: Limits) -> Self {
        let slots = ports.net.slots().min(ports.app.slots());
        ports.stats.set(stats::record::SESSIONS, 0);
        let place = |_| Place {
            generation: None,
            state: Slot::Free,
        };
        Self {
            net: ports.net,
            app: ports.app,
            offload: ports.offload,
            places: (0..slots).map(place).collect(),
            record: vec![0; HEADER + MAX_BODY].into_boxed_slice(),
            limits,
            stats: ports.stats,
        }
    }

    /// Does all there is to do, then returns; call it at each wake-up.
    // Its frames are below the caller's, where they can be scrubbed.
    #[inline(never)]
    pub fn run(&mut self) {
        self.stats.add(stats::record::WAKEUPS, 1);
        if self.offload.peer_is_new() {
            self.fail_waiting();
        }
        while let Some(event) = self.net.next_event() {
            if let Event::Slot(slot) = event {
                self.pump(slot);
            }
        }
        while let Some(event) = self.app.next_event() {
            if let Event::Slot(slot) = event {
                self.pump(slot);
            }
        }
        self.flush();
    }

    /// Answers one call: `request` and `reply` are messages of
    /// [`ipc::record`]; returns the reply's length.
    // Its frames are below the caller's, where they can be scrubbed.
    #[inline(never)]
    pub fn serve(&mut self, badge: u64, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> usize {
        let badge = Badge::from_word(badge);
        let length = dispatch::<Record>(request, reply, |request| self.answer(badge, request));
        self.flush();
        length
    }

    fn flush(&mut self) {
        self.net.flush();
        self.app.flush();
        self.offload.flush();
    }

    // ---- calls ----

    fn answer(&mut self, badge: Option<Badge>, request: Request) -> Result<(), RecordError> {
        match (badge, request) {
            (Some(Badge::Control), Request::Close { slot, generation }) => {
                self.close(slot, generation)
            }
            (Some(Badge::Control), Request::Begin) => {
                self.begin();
                Ok(())
            }
            (Some(Badge::Session { slot, generation }), Request::Install { suite, tx, rx }) => {
                self.install(slot, generation, suite, [&tx, &rx])
            }
            (Some(Badge::Session { slot, generation }), request) => {
                if self.place(slot)?.generation != Some(generation) {
                    return Err(RecordError::Stale);
                }
                match request {
                    Request::Rekey { message, tx, rx } => self.rekey(slot, &message, tx, rx),
                    Request::Refuse { alert } => {
                        self.answered(slot)?;
                        self.fail(slot, Alert(alert));
                        Ok(())
                    }
                    Request::Proceed => {
                        self.answered(slot)?;
                        self.pump(slot);
                        Ok(())
                    }
                    Request::Install { .. } | Request::Close { .. } | Request::Begin => {
                        Err(RecordError::Denied)
                    }
                }
            }
            _ => Err(RecordError::Denied),
        }
    }

    /// Whoever knew the sessions is gone.
    fn begin(&mut self) {
        for (slot, place) in (0..).zip(&mut self.places) {
            *place = Place {
                generation: None,
                state: Slot::Free,
            };
            self.net.abandon(slot);
            self.app.abandon(slot);
        }
        self.stats.set(stats::record::SESSIONS, 0);
    }

    /// Begins a session with its keys: out, in.
    fn install(
        &mut self,
        slot: SlotIndex,
        generation: u16,
        suite: CipherSuite,
        [tx, rx]: [&TrafficKey; 2],
    ) -> Result<(), RecordError> {
        let place = self.place(slot)?;
        if !matches!(place.state, Slot::Free) {
            return Err(RecordError::InUse);
        }
        if place.generation == Some(generation) {
            return Err(RecordError::Stale);
        }
        let session = Session::new(suite, tx, rx)?;
        *place = Place {
            generation: Some(generation),
            state: Slot::Live(Box::new(session)),
        };
        self.app.open(slot);
        let sessions = self.stats.read(stats::record::SESSIONS) + 1;
        self.stats.set(stats::record::SESSIONS, sessions);
        Ok(())
    }

    fn close(&mut self, slot: SlotIndex, generation: u16) -> Result<(), RecordError> {
        if let Slot::Live(session) = &mut self.place(slot)?.state {
            session.send_alert(Alert::CLOSE_NOTIFY);
            self.put_urgent(slot).ok();
            self.count_session_out();
        }
        // No event: the shim releases the connection next, and the network
        // stack takes what is here then.
        self.net.finish(slot);
        self.app.close(slot);
        *self.place(slot)? = Place {
            generation: Some(generation),
            state: Slot::Free,
        };
        Ok(())
    }

    fn rekey(
        &mut self,
        slot: SlotIndex,
        message: &[u8],
        tx: Option<TrafficKey>,
        rx: Option<TrafficKey>,
    ) -> Result<(), RecordError> {
        let session = self.answered(slot)?;
        let new = |key: Option<TrafficKey>| {
            key.map(|key| Key::new(session.suite, &key).map_err(|_| RecordError::BadKey))
                .transpose()
        };
        let (tx, rx) = (new(tx)?, new(rx)?);
        // RFC 8446 §4.6.3: nothing may follow close_notify, not even this.
        if !message.is_empty() && !session.sent_close {
            session.send_urgent(ContentType::Handshake, message);
        }
        if let Some(key) = tx {
            session.tx = key;
        }
        if let Some(key) = rx {
            session.rx = key;
        }
        self.stats.add(stats::record::REKEYS, 1);
        self.pump(slot);
        Ok(())
    }

    /// The session in `slot`, which had asked and now has its answer.
    fn answered(&mut self, slot: SlotIndex) -> Result<&mut Session, RecordError> {
        match &mut self.place(slot)?.state {
            Slot::Live(session) if session.is_waiting => {
                session.is_waiting = false;
                Ok(session)
            }
            Slot::Live(_) => Err(RecordError::NotAsked),
            _ => Err(RecordError::Stale),
        }
    }

    fn place(&mut self, slot: SlotIndex) -> Result<&mut Place, RecordError> {
        self.places
            .get_mut(usize::from(slot))
            .ok_or(RecordError::NoSlot)
    }

    // ---- events ----

    /// The offload component has started anew: what it was asked gets no answer.
    fn fail_waiting(&mut self) {
        for slot in 0..self.net.slots() {
            if live(&mut self.places, slot).is_some_and(|session| session.is_waiting) {
                self.fail(slot, Alert::INTERNAL_ERROR);
            }
        }
    }

    /// Moves what can be moved, both ways.
    fn pump(&mut self, slot: SlotIndex) {
        if self.net.is_opened(slot) {
            self.net.follow(slot);
            if let Some(session) = live(&mut self.places, slot) {
                session.is_attached = true;
            }
        }
        if !live(&mut self.places, slot).is_some_and(|session| session.is_attached) {
            return;
        }
        let moved = self.pump_in(slot).and_then(|()| self.pump_out(slot));
        if let Err(alert) = moved {
            self.fail(slot, alert);
        }
    }

    /// From the network stack to the application.
    fn pump_in(&mut self, slot: SlotIndex) -> Result<(), Alert> {
        // Read before the bytes: with END set, none come after those found.
        let status = self.net.peer_status(slot);
        loop {
            let Some(session) = live(&mut self.places, slot) else {
                return Ok(());
            };
            if session.is_waiting || session.got_close {
                return Ok(());
            }
            if let Some(message) = session.next_message()? {
                self.ask(slot, &message)?;
                continue;
            }
            let mut header = [0; HEADER];
            let got = self.net.peek(slot, 0, &mut header).map_err(broken)?;
            if got < HEADER {
                break;
            }
            let header = Header::parse(header, session.form.version())?;
            let length = HEADER + header.length;
            if self.net.readable(slot).map_err(broken)? < length {
                break;
            }
            let room = self.app.writable(slot).map_err(broken)?;
            if room < most_plaintext(header.length, session.form) {
                return Ok(());
            }
            let record = self.record.get_mut(..length).unwrap_or_default();
            self.net.read(slot, record).map_err(broken)?;
            let (content_type, range) = session.rx.open(header.content_type, record)?;
            self.stats.add(stats::record::OPENED, 1);
            let text = record.get(range).unwrap_or_default();
            match session.judge(content_type, text)? {
                Content::Data => {
                    self.stats.add(stats::record::BYTES_IN, text.len() as u64);
                    self.app.write(slot, text).map_err(broken)?;
                }
                Content::Nothing => {}
                Content::Closed => {
                    session.got_close = true;
                    self.app.set_status(slot, Status::END);
                    self.app.notify(slot);
                }
                Content::Fatal => {
                    self.stats.add(stats::record::ALERTS, 1);
                    self.end(slot, Status::RESET);
                    return Ok(());
                }
                Content::Renegotiation => session.send_alert(Alert(100)),
                Content::Message(message) => self.ask(slot, &message)?,
            }
        }
        // What is left is no whole record and nothing will complete it.
        if status.has(Status::END) || status.has(Status::RESET) {
            self.stats.add(stats::record::TRUNCATED, 1);
            self.end(slot, Status::RESET);
        }
        Ok(())
    }

    /// From the application to the network stack.
    fn pump_out(&mut self, slot: SlotIndex) -> Result<(), Alert> {
        if !self.flush_urgent(slot)? {
            return Ok(());
        }
        let status = self.app.peer_status(slot);
        loop {
            let Some(session) = live(&mut self.places, slot) else {
                return Ok(());
            };
            if session.sent_close {
                return Ok(());
            }
            let unsent = self.app.readable(slot).map_err(broken)?;
            if unsent == 0 {
                break;
            }
            if !self.may_seal(slot)? {
                return Ok(());
            }
            let Some(session) = live(&mut self.places, slot) else {
                return Ok(());
            };
            let form = session.form;
            let room = self.net.writable(slot).map_err(broken)?;
            // Rather wait than send crumbs: half a ring at least, if there is
            // as much to send.
            let wanted = unsent.min(self.net.tx_capacity() / 2 - form.overhead());
            let most = room.saturating_sub(form.overhead());
            if most < wanted {
                return Ok(());
            }
            let length = unsent.min(most).min(MAX_PLAINTEXT);
            let at = form.plaintext_at();
            let text = self.record.get_mut(at..at + length).unwrap_or_default();
            let length = self.app.read(slot, text).map_err(broken)?;
            let sealed = session
                .tx
                .seal(ContentType::ApplicationData, &mut self.record, length);
            let total = sealed.ok_or(Alert::INTERNAL_ERROR)?;
            let record = self.record.get(..total).unwrap_or_default();
            self.net.write(slot, record).map_err(broken)?;
            self.stats.add(stats::record::SEALED, 1);
            self.stats.add(stats::record::BYTES_OUT, length as u64);
        }
        if status.has(Status::END) {
            if let Some(session) = live(&mut self.places, slot) {
                session.send_alert(Alert::CLOSE_NOTIFY);
            }
            self.flush_urgent(slot)?;
        } else if status.has(Status::RESET) {
            self.end(slot, Status::RESET);
        }
        Ok(())
    }

    /// Counts records against the limit of the key; asks for a new key in time.
    fn may_seal(&mut self, slot: SlotIndex) -> Result<bool, Alert> {
        let limits = self.limits;
        let generation = self.generation(slot);
        let Some(session) = live(&mut self.places, slot) else {
            return Ok(false);
        };
        let used = session.tx.sequence();
        if session.suite.aead() == Aead::ChaCha20Poly1305 || used < limits.rekey_at {
            return Ok(true);
        }
        if used >= limits.end_at {
            session.send_alert(Alert::CLOSE_NOTIFY);
            self.flush_urgent(slot)?;
            return Ok(false);
        }
        if session.form.version() == Version::Tls13 && !session.is_waiting {
            let asked = PostHandshake::RekeyDue { slot, generation };
            session.is_waiting = self.offload.send(&asked).is_ok();
        }
        Ok(true)
    }

    /// Passes a message to the offload component; reading goes on behind its
    /// answer.
    fn ask(&mut self, slot: SlotIndex, message: &[u8]) -> Result<(), Alert> {
        let asked = PostHandshake::Message {
            slot,
            generation: self.generation(slot),
            message: Blob::from_slice(message).map_err(|_| Alert::DECODE_ERROR)?,
        };
        self.offload
            .send(&asked)
            .map_err(|_| Alert::INTERNAL_ERROR)?;
        if let Some(session) = live(&mut self.places, slot) {
            session.is_waiting = true;
        }
        Ok(())
    }

    fn generation(&self, slot: SlotIndex) -> u16 {
        self.places
            .get(usize::from(slot))
            .and_then(|place| place.generation)
            .unwrap_or(0)
    }

    /// Sends sealed records that go before anything else; true when none is
    /// left. Behind close_notify the connection is half-closed.
    fn flush_urgent(&mut self, slot: SlotIndex) -> Result<bool, Alert> {
        let urgent = self.put_urgent(slot)?;
        if urgent == Urgent::Put {
            self.net.notify(slot);
        }
        Ok(urgent != Urgent::Waits)
    }

    /// The same without telling the network stack.
    fn put_urgent(&mut self, slot: SlotIndex) -> Result<Urgent, Alert> {
        let Some(session) = live(&mut self.places, slot) else {
            return Ok(Urgent::Waits);
        };
        let mut urgent = Urgent::Nothing;
        if !session.urgent.is_empty() {
            if self.net.writable(slot).map_err(broken)? < session.urgent.len() {
                return Ok(Urgent::Waits);
            }
            let written = self.net.write_quietly(slot, &session.urgent);
            written.map_err(broken)?;
            session.urgent.clear();
            urgent = Urgent::Put;
        }
        if session.sent_close && !self.net.status(slot).has(Status::END) {
            self.net.set_status(slot, Status::END);
            urgent = Urgent::Put;
        }
        Ok(urgent)
    }

    /// Ends a session that went wrong here: alert to the peer, reset to the
    /// application.
    fn fail(&mut self, slot: SlotIndex, alert: Alert) {
        if let Some(session) = live(&mut self.places, slot) {
            session.send_alert(alert);
            self.stats.add(stats::record::ALERTS, 1);
            // Without room for it the alert is lost; the reset is not.
            self.flush_urgent(slot).ok();
            self.end(slot, Status::RESET);
        }
    }

    /// Drops the keys and tells both sides.
    fn end(&mut self, slot: SlotIndex, flags: u16) {
        if let Some(place) = self.places.get_mut(usize::from(slot)) {
            place.state = Slot::Dead;
            self.count_session_out();
        }
        self.app.set_status(slot, flags);
        self.app.notify(slot);
        self.net.set_status(slot, Status::END);
        self.net.notify(slot);
    }

    fn count_session_out(&self) {
        let sessions = self.stats.read(stats::record::SESSIONS);
        self.stats
            .set(stats::record::SESSIONS, sessions.saturating_sub(1));
    }
}

fn live(places: &mut [Place], slot: SlotIndex) -> Option<&mut Session> {
    match &mut places.get_mut(usize::from(slot))?.state {
        Slot::Live(session) => Some(session),
        _ => None,
    }
}

/// A ring whose other side lies can't carry the session any further.
fn broken(_: Misbehaved) -> Alert {
    Alert::INTERNAL_ERROR
}

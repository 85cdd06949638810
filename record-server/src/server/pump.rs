//! Records in, records out.

use ipc::channel::{Doorbell, Joined, SlotBytes, SlotIndex, Status};
use ipc::ring::Misbehaved;
use ipc::stats;
use tls::record::{HEADER, Incoming};
use tls::{Aead, Alert, ContentType, Version};

use super::{Server, Slot, live};
use crate::assembly::Assembly;
use crate::session::{Asking, Content, Question};

/// Bytes of an alert.
const ALERT: usize = 2;
/// Records of one session in each direction before others get their turn.
const RECORDS_A_TURN: usize = 32;

/// What became of the records that go before anything else.
#[derive(PartialEq, Eq)]
enum Sent {
    /// There is nothing new.
    Nothing,
    /// They are in the ring.
    All,
    /// The rest waits for room, or there is no session.
    Waits,
}

impl<N: Doorbell, A: Doorbell, O: Doorbell> Server<'_, N, A, O> {
    /// Moves what can be moved in one turn, both ways.
    pub(super) fn pump(&mut self, slot: SlotIndex) {
        if self.net.is_opened(slot) {
            self.net.follow(slot);
            if let Some(session) = live(&mut self.places, slot) {
                session.is_attached = true;
            }
        }
        if !live(&mut self.places, slot).is_some_and(|session| session.is_attached) {
            return;
        }
        // Pending answers to the peer go first: as long as one waits for room, nothing is
        // read that could need another.
        let moved = self.flush_urgent(slot).and_then(|is_out| match is_out {
            true => self
                .pump_in(slot)
                .and_then(|more| Ok(self.pump_out(slot)? || more)),
            false => Ok(false),
        });
        match moved {
            Ok(true) => self.go_on(slot),
            Ok(false) => {}
            Err(alert) => self.fail(slot, alert),
        }
    }

    /// `slot` has another turn when the others had theirs.
    pub(super) fn go_on(&mut self, slot: SlotIndex) {
        if let Some(place) = self.places.get_mut(usize::from(slot))
            && !place.is_busy
        {
            place.is_busy = true;
            self.busy.push_back(slot);
        }
    }

    /// From the network stack to the application; true when there is more.
    fn pump_in(&mut self, slot: SlotIndex) -> Result<bool, Alert> {
        // Read before the bytes: with END set, none come after those found.
        let status = self.net.peer_status(slot);
        self.take_messages(slot)?;
        for _ in 0..RECORDS_A_TURN {
            let Some(session) = live(&mut self.places, slot) else {
                return Ok(false);
            };
            if session.asking != Asking::No || session.got_close || !session.urgent.is_empty() {
                return Ok(false);
            }
            let Some(incoming) = self.first_record(slot)? else {
                return self.no_record(slot, status);
            };
            let Some(session) = live(&mut self.places, slot) else {
                return Ok(false);
            };
            let header = incoming.header();
            let outer = header.check_established(session.form.version())?;
            let most = session.form.most_plaintext(header.length());
            let left = most.saturating_sub(session.delivered);
            let Some(fits) = fits(&mut self.app, slot, left)? else {
                return Ok(false);
            };
            let length = header.record_length();
            let record = self.record.get_mut(..length).unwrap_or_default();
            let mut bytes = SlotBytes::new(&mut self.net, slot);
            let is_taken = match session.assembly.as_ref().and_then(Assembly::whole) {
                Some(whole) => {
                    record.copy_from_slice(whole);
                    true
                }
                None if fits => {
                    incoming.take(&mut bytes, record).map_err(broken)?;
                    true
                }
                None => {
                    incoming.copy(&bytes, record).map_err(broken)?;
                    false
                }
            };
            let (content_type, range) = session.rx.open_uncounted(outer, record)?;
            let text = record.get(range).unwrap_or_default();
            let content = match session.delivered {
                0 => session.judge(content_type, text)?,
                _ => Content::Data,
            };
            match content {
                Content::Data => {
                    let rest = text.get(session.delivered..).unwrap_or_default();
                    let count = self.app.write(slot, rest).map_err(broken)?;
                    self.stats.add(stats::record::BYTES_IN, count as u64);
                    if count < rest.len() {
                        // A ring that had room has less: its other side lies.
                        if is_taken && session.assembly.is_none() {
                            return Err(Alert::INTERNAL_ERROR);
                        }
                        session.delivered += count;
                        self.assemblies.note_progress(slot, self.now);
                        return Ok(false);
                    }
                    session.delivered = 0;
                }
                Content::Handshake => session.messages.add(text),
                Content::Nothing | Content::Closed | Content::Fatal => {}
            }
            session.rx.count_opened()?;
            self.stats.add(stats::record::OPENED, 1);
            if session.assembly.take().is_some() {
                self.assemblies.note_whole(slot, self.now);
            } else if !is_taken {
                self.net.consume(slot, length).map_err(broken)?;
            }
            match content {
                Content::Data | Content::Nothing => {}
                Content::Closed => {
                    if let Some(session) = live(&mut self.places, slot) {
                        session.got_close = true;
                    }
                    self.app.set_status(slot, Status::END);
                    self.app.notify(slot);
                }
                Content::Fatal => {
                    self.stats.add(stats::record::ALERTS, 1);
                    self.end(slot, Status::RESET);
                    return Ok(false);
                }
                Content::Handshake => {
                    self.take_messages(slot)?;
                    self.flush_urgent(slot)?;
                }
            }
        }
        Ok(true)
    }

    /// The first record, if it is whole: in the ring, or put together in a buffer when the
    /// ring has no room for more of it.
    fn first_record(&mut self, slot: SlotIndex) -> Result<Option<Incoming>, Alert> {
        let Some(session) = live(&mut self.places, slot) else {
            return Ok(None);
        };
        if session.assembly.is_none() {
            let mut bytes = SlotBytes::new(&mut self.net, slot);
            let Some(incoming) = Incoming::fetch(&bytes).map_err(broken)? else {
                if core::mem::take(&mut session.has_buffer) {
                    self.assemblies.leave(slot);
                }
                return Ok(None);
            };
            let header = incoming.header();
            header.check_established(session.form.version())?;
            let is_whole = incoming.is_whole(&bytes).map_err(broken)?;
            let more_waits = !self.net.peer_status(slot).has(Status::IDLE);
            let left = session.form.most_plaintext(header.length());
            let needs = !is_whole && more_waits && fits(&mut self.app, slot, left)?.is_some();
            if !needs && (session.waits || session.has_buffer) {
                (session.waits, session.has_buffer) = (false, false);
                self.assemblies.leave(slot);
            }
            if is_whole {
                return Ok(Some(incoming));
            }
            session.has_buffer = needs && self.assemblies.take(slot, self.now);
            session.waits = needs && !session.has_buffer;
            if !session.has_buffer {
                return Ok(None);
            }
            let mut start = [0; HEADER];
            bytes = SlotBytes::new(&mut self.net, slot);
            incoming.take(&mut bytes, &mut start).map_err(broken)?;
            session.assembly = Some(Assembly::new(header));
        }
        let Some(assembly) = &mut session.assembly else {
            return Ok(None);
        };
        let mut bytes = SlotBytes::new(&mut self.net, slot);
        let was_whole = assembly.whole().is_some();
        let came = assembly.fill(&mut bytes).map_err(broken)?;
        let is_whole = assembly.whole().is_some();
        if is_whole && !was_whole {
            self.assemblies.note_progress(slot, self.now);
        } else if came > 0 {
            self.assemblies.note_bytes(slot, self.now);
        }
        Ok(is_whole.then(|| Incoming::from(assembly.header())))
    }

    /// What is left is no whole record; when the connection is over, nothing will
    /// complete it.
    fn no_record(&mut self, slot: SlotIndex, status: Status) -> Result<bool, Alert> {
        if status.has(Status::END) || status.has(Status::RESET) {
            self.stats.add(stats::record::TRUNCATED, 1);
            self.end(slot, Status::RESET);
        }
        Ok(false)
    }

    /// From the application to the network stack; true when there is more.
    fn pump_out(&mut self, slot: SlotIndex) -> Result<bool, Alert> {
        if !self.flush_urgent(slot)? {
            return Ok(false);
        }
        let status = self.app.peer_status(slot);
        let mut records = 0;
        loop {
            let Some(session) = live(&mut self.places, slot) else {
                return Ok(false);
            };
            if session.sent_close {
                return Ok(false);
            }
            let unsent = self.app.readable(slot).map_err(broken)?;
            if unsent == 0 {
                break;
            }
            if records == RECORDS_A_TURN {
                return Ok(true);
            }
            records += 1;
            if !self.may_seal(slot)? {
                return Ok(false);
            }
            let Some(session) = live(&mut self.places, slot) else {
                return Ok(false);
            };
            let (form, limit) = (session.form, session.record_limit.plaintext());
            let room = self.net.writable(slot).map_err(broken)?;
            // Rather wait than send crumbs: half a ring at least, if there is
            // as much to send, and something to wait for.
            let wanted = unsent.min(self.net.tx_capacity() / 2 - form.overhead());
            // What ends the session has room after it.
            let most = room.saturating_sub(2 * form.overhead() + ALERT);
            if most < wanted && self.net.unread(slot).map_err(broken)? > 0 {
                return Ok(false);
            }
            let length = unsent.min(most).min(limit);
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
                session.send_last(Alert::CLOSE_NOTIFY);
            }
            self.flush_urgent(slot)?;
        } else if status.has(Status::RESET) {
            self.end(slot, Status::RESET);
        }
        Ok(false)
    }

    /// Counts records against the limit of the key; asks for a new key in time. At its end
    /// a session of TLS 1.3 waits for the new key: how soon the offload component has its
    /// turn decides nothing about what gets through.
    fn may_seal(&mut self, slot: SlotIndex) -> Result<bool, Alert> {
        let limits = self.limits;
        let Some(session) = live(&mut self.places, slot) else {
            return Ok(false);
        };
        let used = session.tx.sequence();
        if session.suite.aead() == Aead::ChaCha20Poly1305 || used < limits.rekey_at {
            return Ok(true);
        }
        let is_left = used < limits.end_at;
        if session.form.version() == Version::Tls13 {
            if session.asking == Asking::No {
                self.ask(slot, Question::Rekey);
            }
        } else if !is_left {
            // No KeyUpdate there.
            session.send_last(Alert::CLOSE_NOTIFY);
            self.flush_urgent(slot)?;
        }
        Ok(is_left)
    }

    /// Sends sealed records that go before anything else; true when none is
    /// left. After close_notify the connection is half-closed.
    fn flush_urgent(&mut self, slot: SlotIndex) -> Result<bool, Alert> {
        let sent = self.put_urgent_records(slot)?;
        if sent != Sent::Nothing {
            self.net.notify(slot);
        }
        Ok(sent != Sent::Waits)
    }

    /// The same without telling the network stack.
    pub(super) fn put_urgent(&mut self, slot: SlotIndex) -> Result<(), Alert> {
        self.put_urgent_records(slot).map(|_| ())
    }

    fn put_urgent_records(&mut self, slot: SlotIndex) -> Result<Sent, Alert> {
        let Some(session) = live(&mut self.places, slot) else {
            return Ok(Sent::Waits);
        };
        let mut sent = Sent::Nothing;
        if !session.urgent.is_empty() {
            let rest = session.urgent.rest();
            let written = self.net.write_quietly(slot, rest).map_err(broken)?;
            session.urgent.note_gone(written);
            if !session.urgent.is_empty() {
                return Ok(Sent::Waits);
            }
            sent = Sent::All;
        }
        if session.sent_close && !self.net.status(slot).has(Status::END) {
            self.net.set_status(slot, Status::END);
            sent = Sent::All;
        }
        Ok(sent)
    }

    /// Ends a session that went wrong here: alert to the peer, reset to the
    /// application.
    pub(super) fn fail(&mut self, slot: SlotIndex, alert: Alert) {
        if let Some(session) = live(&mut self.places, slot) {
            session.send_last(alert);
            self.stats.add(stats::record::ALERTS, 1);
            // Without room for it the alert is lost; the reset is not.
            self.flush_urgent(slot).ok();
            self.end(slot, Status::RESET);
        }
    }

    /// Drops the keys and tells both sides.
    fn end(&mut self, slot: SlotIndex, flags: u16) {
        self.leave(slot, Slot::Dead);
        self.app.set_status(slot, flags);
        self.app.notify(slot);
        self.net.set_status(slot, Status::END);
        self.net.notify(slot);
    }
}

/// Whether the ring has room for so many bytes; `None` when its reader is to be waited
/// for, who tells of room as long as there is something to read. An empty ring has room for a
/// part at the least, and the record is opened again for the rest.
fn fits<A: Doorbell>(
    app: &mut Joined<A>,
    slot: SlotIndex,
    bytes: usize,
) -> Result<Option<bool>, Alert> {
    let has_room = app.writable(slot).map_err(broken)? >= bytes;
    let is_read = app.unread(slot).map_err(broken)? == 0;
    Ok((has_room || is_read).then_some(has_room))
}

/// A ring whose other side lies can't carry the session any further.
fn broken(_: Misbehaved) -> Alert {
    Alert::INTERNAL_ERROR
}

//! Records in, records out.

use ipc::channel::{Doorbell, SlotBytes, SlotIndex, Status};
use ipc::ring::Misbehaved;
use ipc::stats;
use tls::record::{Incoming, MAX_PLAINTEXT};
use tls::{Aead, Alert, ContentType, Version};

use super::{Server, Slot, live};
use crate::session::{Asking, Content, Question};

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
            let mut bytes = SlotBytes::new(&mut self.net, slot);
            let Some(incoming) = Incoming::fetch(&bytes).map_err(broken)? else {
                return self.no_record(slot, status);
            };
            let header = incoming.header();
            let outer = header.check_established(session.form.version())?;
            if !incoming.is_whole(&bytes).map_err(broken)? {
                return self.no_record(slot, status);
            }
            let room = self.app.writable(slot).map_err(broken)?;
            if room < session.form.most_plaintext(header.length()) {
                return Ok(false);
            }
            let length = header.record_length();
            let record = self.record.get_mut(..length).unwrap_or_default();
            incoming.take(&mut bytes, record).map_err(broken)?;
            let (content_type, range) = session.rx.open(outer, record)?;
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
                    return Ok(false);
                }
                Content::Handshake => {
                    session.messages.add(text);
                    self.take_messages(slot)?;
                    self.flush_urgent(slot)?;
                }
            }
        }
        Ok(true)
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
            let form = session.form;
            let room = self.net.writable(slot).map_err(broken)?;
            // Rather wait than send crumbs: half a ring at least, if there is
            // as much to send.
            let wanted = unsent.min(self.net.tx_capacity() / 2 - form.overhead());
            let most = room.saturating_sub(form.overhead());
            if most < wanted {
                return Ok(false);
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

/// A ring whose other side lies can't carry the session any further.
fn broken(_: Misbehaved) -> Alert {
    Alert::INTERNAL_ERROR
}

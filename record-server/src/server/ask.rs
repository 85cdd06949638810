//! What sessions ask of the offload component.
//!
//! All sessions share one queue. A session has one question outstanding, and waits in
//! line for room with it: no session's question fails because others asked much.

use core::time::Duration;

use ipc::bounded::Blob;
use ipc::channel::{Doorbell, SlotIndex};
use ipc::clock::Instant;
use ipc::queue::Full;
use ipc::record::{PostHandshake, RecordError};
use ipc::stats;
use tls::protection::Key;
use tls::{Alert, ContentType, TrafficKey};

use super::{Server, live};
use crate::messages::{Next, SMALL};
use crate::session::{Asking, Question};

/// How long an answer may take: as long as the network stack waits for a peer. Each is there
/// in milliseconds, unless the offload component starts again.
const ANSWER: Duration = Duration::from_secs(30);

impl<N: Doorbell, A: Doorbell, O: Doorbell> Server<'_, N, A, O> {
    /// Deals with the messages that the session in `slot` has: asks about the first
    /// that is whole.
    pub(super) fn take_messages(&mut self, slot: SlotIndex) -> Result<(), Alert> {
        let now = self.now;
        while let Some(session) = live(&mut self.places, slot) {
            if session.asking != Asking::No {
                break;
            }
            match session.messages.next()? {
                Next::Nothing => break,
                Next::Renegotiation => session.decline()?,
                Next::Message(length) if !session.allowance.message(now) => {
                    // A client may ignore tickets (RFC 8446 §4.6.1), but neither side a
                    // new key.
                    if length == SMALL {
                        return Err(Alert::UNEXPECTED_MESSAGE);
                    }
                    session.messages.drop_first(length);
                }
                Next::Message(_) => self.ask(slot, Question::Message),
            }
        }
        self.note_kept(slot);
        Ok(())
    }

    /// The session in `slot` asks as soon as it is its turn.
    pub(super) fn ask(&mut self, slot: SlotIndex, question: Question) {
        let Some(session) = live(&mut self.places, slot) else {
            return;
        };
        session.asking = Asking::Queued(question);
        self.asking.push_back(slot);
        self.send_questions();
    }

    /// Sends questions in their order, as long as there is room.
    pub(super) fn send_questions(&mut self) {
        while let Some(slot) = self.asking.front().copied() {
            if self.send_question(slot).is_err() {
                // An event of the queue says when there is room again.
                return;
            }
            self.asking.pop_front();
        }
    }

    fn send_question(&mut self, slot: SlotIndex) -> Result<(), Full> {
        let generation = self.generation(slot);
        let Some(session) = live(&mut self.places, slot) else {
            return Ok(());
        };
        let Asking::Queued(question) = session.asking else {
            return Ok(());
        };
        let asked = match question {
            Question::Rekey => PostHandshake::RekeyDue { slot, generation },
            Question::Message => {
                let Ok(Next::Message(length)) = session.messages.next() else {
                    // Its ticket was evicted meanwhile.
                    session.asking = Asking::No;
                    self.go_on(slot);
                    return Ok(());
                };
                let message = session.messages.first(length);
                let message = Blob::from_slice(message).map_err(|_| Full)?;
                PostHandshake::Message {
                    slot,
                    generation,
                    message,
                }
            }
        };
        self.offload.send(&asked)?;
        session.asking = Asking::Asked;
        self.answers_due = self.answers_due.min(self.now + ANSWER);
        if let PostHandshake::Message { message, .. } = asked {
            session.messages.drop_first(message.len());
            self.note_kept(slot);
        }
        Ok(())
    }

    /// The answer to a question: new keys.
    pub(super) fn rekey(
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
        let tells = !message.is_empty() && !session.sent_close;
        let sent = match tells {
            true => session.send_urgent(ContentType::Handshake, message),
            false => Ok(()),
        };
        if let Some(key) = tx {
            session.tx = key;
        }
        let has_rx = rx.is_some();
        if let Some(key) = rx {
            session.rx = key;
        }
        // A key that comes after close_notify seals nothing, and no peer is told of it.
        if tells || has_rx {
            self.stats.add(stats::record::REKEYS, 1);
        }
        match sent {
            Ok(()) => self.pump(slot),
            // The peer can't know of the new key.
            Err(alert) => self.fail(slot, alert),
        }
        Ok(())
    }

    /// Notes what the session in `slot` keeps; another may be evicted for it.
    fn note_kept(&mut self, slot: SlotIndex) {
        let Some(session) = live(&mut self.places, slot) else {
            return;
        };
        session.messages.tidy();
        let needs = session.messages.needs_buffer();
        if let Some(other) = self.holders.note(slot, needs)
            && let Some(session) = live(&mut self.places, other)
        {
            session.messages.give_up_tickets();
        }
    }

    /// The offload component has restarted: outstanding questions get no answer.
    pub(super) fn fail_waiting(&mut self) {
        for slot in 0..self.net.slots() {
            if live(&mut self.places, slot).is_some_and(|s| s.asking.is_asked()) {
                self.fail(slot, Alert::INTERNAL_ERROR);
            }
        }
    }

    /// Ends sessions whose question has had no answer for [`ANSWER`] to twice as long: it was
    /// lost, and they read nothing until then.
    pub(super) fn fail_unanswered(&mut self) {
        if self.answers_due > self.now {
            return;
        }
        self.answers_due = Instant::NEVER;
        for slot in 0..self.net.slots() {
            match live(&mut self.places, slot) {
                Some(session) if session.asking == Asking::Late => {
                    self.fail(slot, Alert::INTERNAL_ERROR);
                }
                Some(session) if session.asking == Asking::Asked => {
                    session.asking = Asking::Late;
                    self.answers_due = self.now + ANSWER;
                }
                _ => {}
            }
        }
    }

    pub(super) fn generation(&self, slot: SlotIndex) -> u16 {
        self.places
            .get(usize::from(slot))
            .and_then(|place| place.generation)
            .unwrap_or(0)
    }
}

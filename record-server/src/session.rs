//! One session: its keys, and what it is waiting for.

use alloc::vec::Vec;

use ipc::record::RecordError;
use ipc::tls::{Alert, CipherSuite, TrafficKey, Version};

use crate::aead::{Form, Key};
use crate::frame::{ContentType, HEADER, MAX_PLAINTEXT};

/// Consecutive records without content that a peer may send: they cost it
/// little and us a record each.
const MAX_EMPTY: u8 = 32;
/// The longest message behind the handshake that is passed on.
const MAX_MESSAGE: usize = ipc::record::MAX_POST_HANDSHAKE;
const MESSAGE_HEADER: usize = 4;

/// A session with keys.
pub(crate) struct Session {
    pub(crate) suite: CipherSuite,
    pub(crate) form: Form,
    pub(crate) tx: Key,
    pub(crate) rx: Key,
    /// The connection has come to this domain: the slot of the channel to the
    /// network stack is this session's.
    pub(crate) is_attached: bool,
    /// Sealed records that go out before anything else.
    pub(crate) urgent: Vec<u8>,
    /// The offload component was asked and has not answered.
    pub(crate) is_waiting: bool,
    /// Our close_notify is on its way: nothing more may be sent.
    pub(crate) sent_close: bool,
    /// The peer will send nothing more.
    pub(crate) got_close: bool,
    /// The beginning of a handshake message.
    partial: Vec<u8>,
    empty_records: u8,
}

/// What an opened record means.
pub(crate) enum Content {
    /// Bytes for the application, at this place of the record.
    Data,
    /// Nothing to do.
    Nothing,
    /// close_notify.
    Closed,
    /// The peer gave the session up.
    Fatal,
    /// A whole message for the offload component.
    Message(Vec<u8>),
    /// TLS 1.2: the peer wants to negotiate anew; it gets no_renegotiation
    /// (RFC 5246 §7.2.2).
    Renegotiation,
}

impl Session {
    pub(crate) fn new(
        suite: CipherSuite,
        tx: &TrafficKey,
        rx: &TrafficKey,
    ) -> Result<Self, RecordError> {
        let bad = |_| RecordError::BadKey;
        Ok(Self {
            suite,
            form: Form::of(suite),
            tx: Key::new(suite, tx).map_err(bad)?,
            rx: Key::new(suite, rx).map_err(bad)?,
            is_attached: false,
            urgent: Vec::new(),
            is_waiting: false,
            sent_close: false,
            got_close: false,
            partial: Vec::new(),
            empty_records: 0,
        })
    }

    /// Seals a short record at once; it goes out before anything else.
    pub(crate) fn send_urgent(&mut self, content_type: ContentType, text: &[u8]) {
        let start = self.urgent.len();
        self.urgent
            .resize(start + text.len() + self.form.overhead(), 0);
        let record = self.urgent.get_mut(start..).unwrap_or_default();
        let at = self.form.plaintext_at();
        if let Some(to) = record.get_mut(at..at + text.len()) {
            to.copy_from_slice(text);
        }
        if self.tx.seal(content_type, record, text.len()).is_none() {
            self.urgent.truncate(start);
        }
    }

    /// Queues an alert; nothing is sent behind close_notify or a fatal one.
    pub(crate) fn send_alert(&mut self, alert: Alert) {
        const WARNING: u8 = 1;
        const FATAL: u8 = 2;
        const NO_RENEGOTIATION: Alert = Alert(100);
        if self.sent_close {
            return;
        }
        let level = match alert {
            Alert::CLOSE_NOTIFY | NO_RENEGOTIATION => WARNING,
            _ => FATAL,
        };
        self.send_urgent(ContentType::Alert, &[level, alert.0]);
        self.sent_close = alert != NO_RENEGOTIATION;
    }

    /// Judges an opened record.
    ///
    /// # Errors
    /// The alert that the RFC names.
    pub(crate) fn judge(
        &mut self,
        content_type: ContentType,
        text: &[u8],
    ) -> Result<Content, Alert> {
        // RFC 8446 §5.1: a message in parts is not to be interrupted.
        if content_type != ContentType::Handshake && !self.partial.is_empty() {
            return Err(Alert::UNEXPECTED_MESSAGE);
        }
        let is_empty = text.is_empty();
        self.empty_records = match is_empty {
            true => self.empty_records.saturating_add(1),
            false => 0,
        };
        if self.empty_records > MAX_EMPTY {
            return Err(Alert::UNEXPECTED_MESSAGE);
        }
        match content_type {
            ContentType::ApplicationData if is_empty => Ok(Content::Nothing),
            ContentType::ApplicationData => Ok(Content::Data),
            ContentType::Alert => self.judge_alert(text),
            ContentType::Handshake => self.judge_handshake(text),
            ContentType::ChangeCipherSpec => Err(Alert::UNEXPECTED_MESSAGE),
        }
    }

    fn judge_alert(&mut self, text: &[u8]) -> Result<Content, Alert> {
        let [level, description] = text else {
            return Err(Alert::DECODE_ERROR);
        };
        match (Alert(*description), self.form.version(), level) {
            (Alert::CLOSE_NOTIFY, ..) => Ok(Content::Closed),
            // RFC 8446 §6.1: to be ignored, close_notify follows.
            (Alert::USER_CANCELED, ..) => Ok(Content::Nothing),
            (_, Version::Tls12, 1) => {
                // A warning; a flood of them is none.
                self.empty_records = self.empty_records.saturating_add(2);
                Ok(Content::Nothing)
            }
            _ => Ok(Content::Fatal),
        }
    }

    fn judge_handshake(&mut self, text: &[u8]) -> Result<Content, Alert> {
        // RFC 8446 §5.1: no empty fragments.
        if text.is_empty() {
            return Err(Alert::UNEXPECTED_MESSAGE);
        }
        if self.form.version() == Version::Tls12 {
            return Ok(Content::Renegotiation);
        }
        self.partial.extend_from_slice(text);
        Ok(match self.next_message()? {
            Some(message) => Content::Message(message),
            None => Content::Nothing,
        })
    }

    /// Takes the next whole handshake message: one record may bring several
    /// (RFC 8446 §5.1).
    ///
    /// # Errors
    /// The alert that the RFC names.
    pub(crate) fn next_message(&mut self) -> Result<Option<Vec<u8>>, Alert> {
        const KEY_UPDATE: u8 = 24;
        let Some([kind, a, b, c]) = self.partial.first_chunk::<MESSAGE_HEADER>().copied() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, a, b, c]) as usize + MESSAGE_HEADER;
        if length > MAX_MESSAGE {
            return Err(Alert::DECODE_ERROR);
        }
        // A message that changes keys ends its record.
        if kind == KEY_UPDATE && self.partial.len() > length {
            return Err(Alert::UNEXPECTED_MESSAGE);
        }
        let Some(behind) = self.partial.get(length..).map(<[u8]>::to_vec) else {
            return Ok(None);
        };
        let mut message = core::mem::replace(&mut self.partial, behind);
        message.truncate(length);
        Ok(Some(message))
    }
}

/// The most bytes of a record's plaintext that can come out of a body of this
/// length.
pub(crate) fn most_plaintext(body: usize, form: Form) -> usize {
    (body + HEADER)
        .saturating_sub(form.overhead())
        .min(MAX_PLAINTEXT)
}

#[cfg(test)]
mod tests {
    use ipc::secret::Secret;

    use super::*;

    fn session() -> Session {
        let key = || TrafficKey {
            key: Secret::from_slice(&[7; 16]).unwrap(),
            iv: Secret::from_slice(&[7; 12]).unwrap(),
            sequence: 0,
        };
        Session::new(CipherSuite::Aes128GcmSha256, &key(), &key()).unwrap()
    }

    fn message(kind: u8, length: u8) -> Vec<u8> {
        let mut message = vec![kind, 0, 0, length];
        message.resize(4 + usize::from(length), kind);
        message
    }

    #[test]
    fn r33_several_tickets_in_one_record_are_taken_one_by_one() {
        let mut session = session();
        let (first, second) = (message(4, 30), message(4, 50));
        let both = [&first[..], &second].concat();
        let (record, rest) = both.split_at(60);
        let content = session.judge(ContentType::Handshake, record);
        assert!(matches!(content, Ok(Content::Message(m)) if m == first));
        assert_eq!(session.next_message(), Ok(None));
        let content = session.judge(ContentType::Handshake, rest);
        assert!(matches!(content, Ok(Content::Message(m)) if m == second));
        assert_eq!(session.next_message(), Ok(None));
        let content = session.judge(ContentType::Handshake, &both);
        assert!(matches!(content, Ok(Content::Message(m)) if m == first));
        assert_eq!(session.next_message(), Ok(Some(second)));
    }

    #[test]
    fn a_key_update_ends_its_record() {
        let update = message(24, 1);
        let both = [&update[..], &message(4, 10)].concat();
        let content = session().judge(ContentType::Handshake, &both);
        assert_eq!(content.err(), Some(Alert::UNEXPECTED_MESSAGE));
        let both = [&message(4, 10)[..], &update].concat();
        let mut session = session();
        assert!(session.judge(ContentType::Handshake, &both).is_ok());
        assert_eq!(session.next_message(), Ok(Some(update)));
    }

    #[test]
    fn a_message_longer_than_any_is_refused_before_it_is_kept() {
        let content = session().judge(ContentType::Handshake, &[4, 1, 0, 0]);
        assert_eq!(content.err(), Some(Alert::DECODE_ERROR));
    }
}

//! One session: its keys, and what it is waiting for.

use alloc::vec::Vec;

use ipc::record::{MAX_PEER_CERTIFICATE, RecordError};
use tls::protection::{Form, Key, MAX_OVERHEAD};
use tls::{
    Alert, AlertLevel, CipherSuite, ContentType, Exporter, RecordLimit, Role, TrafficKey, Version,
};

use crate::allowance::Allowance;
use crate::assembly::Assembly;
use crate::messages::Messages;

/// Bytes of the longest message that the offload component has sent.
const MAX_SENT: usize = 64;
/// What goes before anything else, at most: a message, a warning that there is no
/// renegotiation, and the last alert. While any of it waits for room, no record of
/// the peer is opened that could ask for more.
pub(crate) const MAX_URGENT: usize = MAX_SENT + 2 + 2 + 3 * MAX_OVERHEAD;

/// Records that are sealed and go before anything else.
#[derive(Default)]
pub(crate) struct Urgent {
    bytes: Vec<u8>,
    /// Bytes that have gone.
    gone: usize,
}

impl Urgent {
    /// What has not gone yet.
    pub(crate) fn rest(&self) -> &[u8] {
        self.bytes.get(self.gone..).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// So many bytes of it have gone.
    pub(crate) fn note_gone(&mut self, count: usize) {
        self.gone += count;
        if self.gone >= self.bytes.len() {
            *self = Self::default();
        }
    }
}

/// Whether the offload component was asked for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// Nothing is asked.
    No,
    /// It is in the queue of those that wait for room.
    Queued(Question),
    /// It was asked, and has not answered.
    Asked,
    /// Nor has it for a while.
    Late,
}

impl Asking {
    /// Whether an answer is due.
    pub(crate) const fn is_asked(self) -> bool {
        matches!(self, Self::Asked | Self::Late)
    }
}

/// What a session has to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// The peer's message that stands first.
    Message,
    /// A new key.
    Rekey,
}

/// What a session begins with.
pub(crate) struct Keys<'a> {
    pub(crate) suite: CipherSuite,
    pub(crate) role: Role,
    /// Out.
    pub(crate) tx: &'a TrafficKey,
    /// In.
    pub(crate) rx: &'a TrafficKey,
    pub(crate) record_limit: RecordLimit,
    pub(crate) exporter: Exporter,
}

/// A session with keys.
pub(crate) struct Session {
    pub(crate) suite: CipherSuite,
    pub(crate) form: Form,
    /// What a record carries at most that goes out.
    pub(crate) record_limit: RecordLimit,
    /// What keying material for other protocols comes from.
    pub(crate) exporter: Exporter,
    pub(crate) tx: Key,
    pub(crate) rx: Key,
    /// The connection has come to this domain: the slot of the channel to the
    /// network stack is this session's.
    pub(crate) is_attached: bool,
    pub(crate) urgent: Urgent,
    /// Nothing is read while something is asked.
    pub(crate) asking: Asking,
    /// Our close_notify is on its way: nothing more may be sent.
    pub(crate) sent_close: bool,
    /// The peer will send nothing more.
    pub(crate) got_close: bool,
    /// The record that comes, if the ring has no room for it.
    pub(crate) assembly: Option<Assembly>,
    /// It has a buffer for one.
    pub(crate) has_buffer: bool,
    /// It waits for a buffer for that.
    pub(crate) waits: bool,
    /// Bytes of the first record that the application has already.
    pub(crate) delivered: usize,
    pub(crate) messages: Messages,
    pub(crate) allowance: Allowance,
    /// The peer's end-entity certificate; empty when it showed none.
    certificate: Vec<u8>,
}

/// What an opened record means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Bytes for the application, at this place of the record.
    Data,
    /// Nothing to do.
    Nothing,
    /// close_notify.
    Closed,
    /// The peer gave the session up.
    Fatal,
    /// Handshake messages, or a part of one.
    Handshake,
}

impl Session {
    pub(crate) fn new(keys: Keys<'_>) -> Result<Self, RecordError> {
        let bad = |_| RecordError::BadKey;
        let (suite, role) = (keys.suite, keys.role);
        Ok(Self {
            suite,
            form: Form::of(suite),
            record_limit: keys.record_limit,
            exporter: keys.exporter,
            tx: Key::new(suite, keys.tx).map_err(bad)?,
            rx: Key::new(suite, keys.rx).map_err(bad)?,
            is_attached: false,
            urgent: Urgent::default(),
            asking: Asking::No,
            sent_close: false,
            got_close: false,
            assembly: None,
            has_buffer: false,
            waits: false,
            delivered: 0,
            messages: Messages::new(suite.version(), role),
            allowance: Allowance::new(role),
            certificate: Vec::new(),
        })
    }

    /// Seals a short record at once; it goes out before anything else.
    ///
    /// # Errors
    /// internal_error, when it is longer than any, or more waits than can.
    pub(crate) fn send_urgent(
        &mut self,
        content_type: ContentType,
        text: &[u8],
    ) -> Result<(), Alert> {
        let bytes = &mut self.urgent.bytes;
        let (start, length) = (bytes.len(), text.len() + self.form.overhead());
        if start + length > MAX_URGENT || text.len() > self.record_limit.plaintext() {
            return Err(Alert::INTERNAL_ERROR);
        }
        bytes.reserve_exact(length);
        bytes.resize(start + length, 0);
        let record = bytes.get_mut(start..).unwrap_or_default();
        let at = self.form.plaintext_at();
        if let Some(to) = record.get_mut(at..at + text.len()) {
            to.copy_from_slice(text);
        }
        if self.tx.seal(content_type, record, text.len()).is_none() {
            bytes.truncate(start);
            return Err(Alert::INTERNAL_ERROR);
        }
        Ok(())
    }

    /// Declines a renegotiation (RFC 5246 §7.2.2).
    pub(crate) fn decline(&mut self) -> Result<(), Alert> {
        let warning = Alert::NO_RENEGOTIATION.message(AlertLevel::Warning);
        match self.sent_close {
            true => Ok(()),
            false => self.send_urgent(ContentType::Alert, &warning),
        }
    }

    /// Queues the last alert: close_notify, or a fatal one. Nothing follows it.
    pub(crate) fn send_last(&mut self, alert: Alert) {
        if self.sent_close {
            return;
        }
        let level = match alert {
            Alert::CLOSE_NOTIFY => AlertLevel::Warning,
            _ => AlertLevel::Fatal,
        };
        // Without it the peer sees the connection end, which it takes for what it is.
        let _ = self.send_urgent(ContentType::Alert, &alert.message(level));
        self.sent_close = true;
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
        let unexpected = |is_wrong| match is_wrong {
            true => Err(Alert::UNEXPECTED_MESSAGE),
            false => Ok(()),
        };
        // RFC 8446 §5.1: a message in parts is not to be interrupted.
        unexpected(content_type != ContentType::Handshake && self.messages.is_amid())?;
        match content_type {
            ContentType::ApplicationData => {
                unexpected(!self.allowance.data(text.len()))?;
                Ok(match text.is_empty() {
                    true => Content::Nothing,
                    false => Content::Data,
                })
            }
            ContentType::Alert => self.judge_alert(text),
            ContentType::Handshake => {
                // RFC 8446 §5.1: no empty fragments.
                unexpected(text.is_empty() || !self.allowance.quiet())?;
                Ok(Content::Handshake)
            }
            ContentType::ChangeCipherSpec => Err(Alert::UNEXPECTED_MESSAGE),
        }
    }

    fn judge_alert(&mut self, text: &[u8]) -> Result<Content, Alert> {
        let [level, description] = text else {
            return Err(Alert::DECODE_ERROR);
        };
        match (Alert(*description), self.form.version(), level) {
            (Alert::CLOSE_NOTIFY, ..) => Ok(Content::Closed),
            // RFC 8446 §6.1: user_canceled is to be ignored, close_notify follows.
            (Alert::USER_CANCELED, ..) | (_, Version::Tls12, 1) => match self.allowance.warning() {
                true => Ok(Content::Nothing),
                false => Err(Alert::UNEXPECTED_MESSAGE),
            },
            _ => Ok(Content::Fatal),
        }
    }

    // ---- the peer's certificate ----

    /// Keeps the next part of the peer's certificate.
    pub(crate) fn keep_certificate(&mut self, part: &[u8]) -> Result<(), RecordError> {
        if self.certificate.len() + part.len() > MAX_PEER_CERTIFICATE {
            return Err(RecordError::TooLong);
        }
        self.certificate.reserve_exact(part.len());
        self.certificate.extend_from_slice(part);
        Ok(())
    }

    /// What was kept, from `offset` on; empty at its end.
    pub(crate) fn certificate(&self, offset: usize) -> &[u8] {
        self.certificate.get(offset..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use tls::Secret;

    use super::*;

    fn session(suite: CipherSuite) -> Session {
        let key = |length| TrafficKey {
            key: Secret::from_slice(&[7; 32][..length]).unwrap(),
            iv: Secret::from_slice(&[7; 12]).unwrap(),
            sequence: 0,
        };
        let length = match suite.aead() {
            tls::Aead::Aes128Gcm => 16,
            _ => 32,
        };
        let (tx, rx) = (key(length), key(length));
        let keys = Keys {
            suite,
            role: Role::Server,
            tx: &tx,
            rx: &rx,
            record_limit: RecordLimit::NONE,
            exporter: Exporter::tls13(Secret::from_slice(&[7; 32]).unwrap()),
        };
        Session::new(keys).unwrap()
    }

    #[test]
    fn there_is_room_for_all_that_goes_first_in_every_suite() {
        for suite in CipherSuite::ALL {
            let mut session = session(suite);
            session
                .send_urgent(ContentType::Handshake, &[0; MAX_SENT])
                .unwrap();
            session.decline().unwrap();
            session.send_last(Alert::INTERNAL_ERROR);
            assert!(session.urgent.rest().len() <= MAX_URGENT);
            assert!(session.urgent.rest().len() > MAX_URGENT - 3 * MAX_OVERHEAD);
            assert!(session.decline().is_ok(), "nothing follows");
            let more = session.send_urgent(ContentType::Handshake, &[0; MAX_SENT]);
            assert_eq!(more, Err(Alert::INTERNAL_ERROR));
        }
    }

    #[test]
    fn a_certificate_is_kept_up_to_its_limit() {
        let mut session = session(CipherSuite::Aes128GcmSha256);
        for _ in 0..5 {
            session.keep_certificate(&[6; 800]).unwrap();
        }
        assert_eq!(
            session.keep_certificate(&[6; 97]),
            Err(RecordError::TooLong)
        );
        assert_eq!(session.keep_certificate(&[6; 96]), Ok(()));
        assert_eq!(session.certificate(4000), [6; 96]);
        assert_eq!(session.certificate(4096), []);
        assert_eq!(session.certificate(5000), []);
    }
}

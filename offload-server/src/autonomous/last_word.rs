//! The alert that ends a handshake that failed.

use ipc::control::{Cause, HandshakeError, PeerError};
use rustls::Error;
use rustls::ProtocolVersion::TLSv1_3;
use tls::codec::MESSAGE_HEADER;
use tls::record::{HEADER, Header};
use tls::{Alert, CipherSuite, ContentType, Role};

use super::Autonomous;
use super::hello_check::{self, Refused};
use crate::{cause, convert};

impl Autonomous {
    /// Gives up with an alert.
    pub(super) fn end_with(&mut self, alert: Alert, failure: HandshakeError) {
        self.say(alert);
        self.fail(failure);
    }

    pub(super) fn say(&mut self, alert: Alert) {
        let suite = self.engine.state().negotiated_cipher_suite();
        let suite = suite.and_then(|suite| CipherSuite::from_number(u16::from(suite.suite())));
        if let Some(record) = self.captured.last_record(suite, alert) {
            self.output.buffer().extend_from_slice(&record);
            self.alert = Some(alert);
        }
    }

    /// What is to be told to a client for the hello that has come, before rustls sees it.
    pub(super) fn refused_hello(&mut self) -> Option<Refused> {
        if self.role() != Role::Server || self.captured.has_keys() {
            return None;
        }
        // One that comes in several records is looked at when it is whole.
        let was_heard = self.has_heard;
        let is_first = !was_heard && self.hello.is_settled(&self.incoming);
        let joined = is_first.then(|| hello_check::joined(&self.incoming));
        let hello = joined.as_ref().unwrap_or(&self.incoming);
        match hello_check::look(hello, &self.versions) {
            Ok(version) => {
                self.engine.facts.version = self.engine.facts.version.or(version);
                None
            }
            Err(refused) => Some(refused),
        }
    }

    /// A list of what came in the clear is longer than any may be.
    pub(super) fn refused_list(&mut self) -> Option<Refused> {
        self.too_long.take().map(|alert| (alert, None))
    }

    /// Refuses a handshake record without protection, once the peer's keys are in use
    /// (RFC 8446 §5); rustls would try to open it.
    pub(super) fn is_out_of_place(&mut self, header: Header) -> bool {
        let is_handshake = header.content_type() == Some(ContentType::Handshake);
        let is_tls13 = || self.engine.state().protocol_version() == Some(TLSv1_3);
        if !(is_handshake && self.captured.opens() && is_tls13()) {
            return false;
        }
        let alert = Alert::UNEXPECTED_MESSAGE;
        self.end_with(alert, HandshakeError::Peer(PeerError::AlertSent(alert)));
        true
    }

    /// What of the peer's part was wrong, where the failure does not tell.
    pub(crate) const fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// rustls has failed for this reason.
    pub(super) fn note_cause(&mut self, error: &Error) {
        if self.failure.is_some() {
            return;
        }
        let found = match self.due {
            // It is about a value, and not about what is in common.
            Some(Alert::ILLEGAL_PARAMETER) => None,
            _ => cause::of(error),
        };
        // A ring that can't be shown has no suite for rustls, and a hello that is too old has
        // none of what came after it.
        self.cause = match found {
            Some(_) if self.is_old_hello() => Some(Cause::OldVersion),
            Some(Cause::Suite | Cause::Scheme) => self.engine.current.facts().lacking.or(found),
            _ => found,
        };
    }

    /// Whether a hello that came in several records names a version before TLS 1.2 (RFC 5246
    /// §E.1, RFC 8446 §4.1.2).
    fn is_old_hello(&self) -> bool {
        let message = self.incoming.get(HEADER..).unwrap_or_default();
        let is_first = self.role() == Role::Server && !self.has_heard;
        match message.get(..MESSAGE_HEADER + 2) {
            Some([1, _, _, _, major, minor]) => is_first && (*major, *minor) < (3, 3),
            _ => false,
        }
    }

    /// rustls has failed, and wrote a record from `start` of the output: the alert that
    /// is due, if the peer reads it without keys.
    pub(super) fn note_alert(&mut self, start: usize) {
        let record = self.output.buffer().get_mut(start..).unwrap_or_default();
        let Some(alert) = convert::plaintext_alert(record) else {
            return;
        };
        let alert = match (self.due, record.last_mut()) {
            (Some(due), Some(description)) => {
                *description = due.0;
                due
            }
            _ => alert,
        };
        self.alert = self.alert.or(Some(alert));
    }

    /// Tells the alert that went out as the one that was sent. Of what no record may be
    /// like, rustls says nothing at all.
    pub(super) fn settle_alert(&mut self) {
        let Some(HandshakeError::Peer(PeerError::AlertSent(due))) = self.failure else {
            return;
        };
        self.alert = self.alert.or(self.captured.alert());
        if self.alert.is_none() {
            let alert = self.due.unwrap_or(match due {
                // RFC 8446 §4.4.2.4: a server without a certificate.
                Alert::CERTIFICATE_REQUIRED => Alert::DECODE_ERROR,
                // What rustls calls this are records in the wrong place.
                Alert::ILLEGAL_PARAMETER => Alert::UNEXPECTED_MESSAGE,
                due => due,
            });
            self.say(alert);
        }
        if let Some(alert) = self.alert {
            self.failure = Some(HandshakeError::Peer(PeerError::AlertSent(alert)));
        }
    }
}

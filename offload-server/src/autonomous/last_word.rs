//! The alert that ends a handshake that failed.

use ipc::control::{HandshakeError, PeerError};
use rustls::ProtocolVersion::TLSv1_3;
use tls::record::Header;
use tls::{Alert, CipherSuite, ContentType, Role};

use super::Autonomous;
use super::hello_check;
use crate::convert;

impl Autonomous {
    /// Gives up with an alert.
    pub(super) fn end_with(&mut self, alert: Alert, failure: HandshakeError) {
        self.say(alert);
        self.fail(failure);
    }

    pub(super) fn say(&mut self, alert: Alert) {
        let suite = self.engine.state().negotiated_cipher_suite();
        let suite = suite.and_then(|suite| CipherSuite::from_number(u16::from(suite.suite())));
        if let Some(record) = self.caught.last_record(suite, alert) {
            self.output.buffer().extend_from_slice(&record);
            self.alert = Some(alert);
        }
    }

    /// What is to be told to a client for the hello that has come, before rustls sees it.
    pub(super) fn refused_hello(&mut self) -> Option<Alert> {
        if self.role() != Role::Server || self.caught.has_keys() {
            return None;
        }
        match hello_check::look(&self.incoming, &self.versions) {
            Ok(version) => {
                self.engine.facts.version = self.engine.facts.version.or(version);
                None
            }
            Err(alert) => Some(alert),
        }
    }

    /// Refuses a handshake record without protection, once the peer's keys are in use
    /// (RFC 8446 §5); rustls would try to open it.
    pub(super) fn is_out_of_place(&mut self, header: Header) -> bool {
        let is_handshake = header.content_type() == Some(ContentType::Handshake);
        let is_tls13 = || self.engine.state().protocol_version() == Some(TLSv1_3);
        if !(is_handshake && self.caught.opens() && is_tls13()) {
            return false;
        }
        let alert = Alert::UNEXPECTED_MESSAGE;
        self.end_with(alert, HandshakeError::Peer(PeerError::AlertSent(alert)));
        true
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
        self.alert = self.alert.or(self.caught.alert());
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

//! The alert that ends a handshake that failed.

use ipc::control::{HandshakeError, PeerError};
use tls::{Alert, CipherSuite, Role};

use super::Autonomous;
use super::hello_check;

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

    /// Tells the alert that went out as the one that was sent. Of what no record may be
    /// like, rustls says nothing at all.
    pub(super) fn settle_alert(&mut self) {
        let Some(HandshakeError::Peer(PeerError::AlertSent(due))) = self.failure else {
            return;
        };
        self.alert = self.alert.or(self.caught.alert());
        if self.alert.is_none() {
            self.say(match due {
                // RFC 8446 §4.4.2.4: a server without a certificate.
                Alert::CERTIFICATE_REQUIRED => Alert::DECODE_ERROR,
                // What rustls calls this are records in the wrong place.
                Alert::ILLEGAL_PARAMETER => Alert::UNEXPECTED_MESSAGE,
                due => due,
            });
        }
        if let Some(alert) = self.alert {
            self.failure = Some(HandshakeError::Peer(PeerError::AlertSent(alert)));
        }
    }
}

//! What the log says of handshakes, sessions and backends.

use ipc::control::{self, SessionResult};
use ipc::net::Address;
use ipc::provision::Backend;
use ipc::stats;
use tls::Role;

use super::{Arrived, Platform, Purpose, Secure, Server};
use crate::reason;
use crate::relay::{self, Relay};
use crate::report::{Agreed, Ended, Failure, Style, Success, Unreached, Why};
use crate::turned_away::Reason;

impl<P: Platform> Server<'_, P> {
    /// A handshake came to nothing.
    pub(super) fn report_failure(
        &mut self,
        purpose: Purpose,
        failure: impl Into<control::Failure>,
    ) {
        let failure = failure.into();
        let role = match purpose {
            Purpose::Client(_) => Role::Server,
            Purpose::Backend(_) => Role::Client,
        };
        self.count_failure(role, reason::Reason::of(&failure));
        let Some((listener, remote)) = self.parties(purpose) else {
            return;
        };
        if !self.words.failures {
            return;
        }
        let style = self.style();
        let Some(untold) = self.log_rate.failure(listener, self.now) else {
            return;
        };
        let listener = self.listeners.get(listener).map_or("", |l| &l.name);
        let failure = Failure {
            style,
            listener,
            remote,
            role,
            failure,
        };
        (self.ports.log)(format_args!("{failure}{}", untold.styled(style)));
    }

    /// A client without a whole hello is a failure, without a request to the shim. Many
    /// of them cost one line a second.
    pub(super) fn report_without_hello(&mut self, arrived: Arrived, reason: Reason) {
        let why = match reason {
            Reason::Late => reason::Reason::Timeout,
            _ => reason::Reason::Closed,
        };
        self.count_failure(Role::Server, why);
        // Who leaves in order costs nothing: a check of health, a connection in advance.
        if reason == Reason::Late {
            self.guests.note_failure(arrived.guest, self.now);
        }
        self.turn_away(arrived.listener, reason, arrived.remote);
    }

    /// How lines say their values.
    pub(super) const fn style(&self) -> Style {
        Style(self.words.format)
    }

    fn count_failure(&mut self, role: Role, reason: reason::Reason) {
        self.ports.stats.add(stats::gateway::FAILED, 1);
        self.observed.failures.count(role, reason);
    }

    /// The listener and the peer of a handshake.
    fn parties(&self, purpose: Purpose) -> Option<(usize, Address)> {
        match purpose {
            Purpose::Client(arrived) => Some((arrived.listener, arrived.remote)),
            Purpose::Backend(Secure { relay, .. }) => {
                let listener = self.relays.get(relay)?.listener;
                Some((listener, self.upstream(relay)?.address))
            }
        }
    }

    /// A handshake led to a session. What the log will say of it at its end.
    pub(super) fn report_success(
        &mut self,
        purpose: Purpose,
        result: &SessionResult,
    ) -> Option<relay::Agreed> {
        let (tls, (listener, remote)) = self.tls(purpose).zip(self.parties(purpose))?;
        let style = self.style();
        let agreed = Agreed {
            style,
            mode: tls.mode,
            role: tls.role,
            result,
        };
        let words = self.words.sessions;
        let words = words.then(|| relay::Agreed::new(format_args!("{agreed}")));
        if self.words.handshakes
            && let Some(untold) = self.log_rate.session(listener, self.now)
        {
            let success = Success {
                listener: self.listeners.get(listener).map_or("", |l| &l.name),
                remote,
                agreed,
            };
            (self.ports.log)(format_args!("{success}{}", untold.styled(style)));
        }
        words
    }

    /// A client and its backend are over.
    pub(super) fn report_end(&mut self, relay: &Relay) {
        self.observed.session(relay.bytes);
        let listener = self.listeners.get(relay.listener);
        let name = listener.map_or("", |listener| &listener.name);
        let backend = listener.and_then(|listener| match &listener.backend {
            Backend::Connect(upstream) => Some(upstream.address),
            Backend::Status => None,
        });
        let (ending, style) = (relay.ending(), self.style());
        if self.words.failures
            && let (Why::Refused | Why::Unanswered, Some(backend)) = (ending.why, backend)
            && let Some(untold) = self.log_rate.failure(relay.listener, self.now)
        {
            let failed = Unreached {
                style,
                listener: name,
                backend,
                why: ending.why,
            };
            (self.ports.log)(format_args!("{failed}{}", untold.styled(style)));
        }
        if self.words.sessions
            && let Some(untold) = self.log_rate.session(relay.listener, self.now)
        {
            let agreed = relay.facts.as_ref().and_then(|facts| facts.agreed.as_ref());
            let ended = Ended {
                style,
                listener: name,
                remote: relay.remote,
                agreed: agreed.map(relay::Agreed::as_str),
                rule: relay.rule.map(|rule| rule + 1),
                backend,
                bytes: relay.bytes,
                duration: self.now - relay.began,
                ending,
            };
            (self.ports.log)(format_args!("{ended}{}", untold.styled(style)));
        }
    }
}

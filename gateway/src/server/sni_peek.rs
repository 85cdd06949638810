//! SNI peek for clients whose rule depends on their ClientHello: their first bytes are
//! read and not consumed, so that the handshake finds them.

use ipc::channel::{SlotIndex, Status};
use ipc::clock::Instant;
use ipc::control::{HandshakeError, PeerError};
use ipc::net;
use tls::Alert;

use super::{Arrived, GRACE, Platform, Purpose, Server, Use, milliseconds};
use crate::hello::{self, Seen};
use crate::relay::End;
use crate::rules;
use crate::turned_away::Reason;

impl<P: Platform> Server<'_, P> {
    /// Has the connection's bytes come here, as long as its rules allow.
    pub(super) fn begin_peek(&mut self, arrived: Arrived) {
        let attach = net::Request::Attach {
            connection: arrived.connection,
            deadline: self.peek_ends(arrived),
        };
        match self.ask_for_slot(&attach, None) {
            Ok((_, slot)) => self.peek_client_hello(arrived, slot),
            Err(_) => self.dismiss_for(arrived, Reason::Room),
        }
    }

    fn peek_ends(&self, arrived: Arrived) -> Instant {
        let rules = self.listeners.get(arrived.listener).map(|l| &l.rules[..]);
        let timeouts = rules
            .into_iter()
            .flatten()
            .map(|r| r.tls.handshake_timeout_ms);
        arrived.at + milliseconds(timeouts.max().unwrap_or(0))
    }

    /// Looks at what has come so far.
    pub(super) fn peek_client_hello(&mut self, arrived: Arrived, slot: SlotIndex) {
        // Read before the bytes: with END set, none come after those found.
        let status = self.ports.backend.peer_status(slot);
        let Ok(count) = self.ports.backend.peek(slot, 0, &mut self.buffer[..]) else {
            return self.end_peek(arrived, slot);
        };
        let is_over = |flag| status.has(flag);
        let room = self.ports.backend.rx_capacity().min(self.buffer.len());
        let seen = hello::look(self.buffer.get(..count).unwrap_or_default(), room);
        let reason = match seen {
            Seen::Incomplete if is_over(Status::DEADLINE) => Reason::Late,
            Seen::Incomplete if is_over(Status::END) || is_over(Status::RESET) => Reason::Ended,
            Seen::Incomplete => {
                let until = self.peek_ends(arrived) + GRACE;
                if let Some(place) = self.connections.get_mut(usize::from(slot)) {
                    *place = Use::Peeking(arrived, until);
                }
                return self.watch(until);
            }
            Seen::Wrong(alert) => return self.refuse(arrived, slot, alert),
            Seen::Hello(hello) => {
                let rules = self.listeners.get(arrived.listener).map(|l| &l.rules[..]);
                let rules = rules.unwrap_or_default();
                match rules::by_hello(rules, arrived.remote.ip(), &hello) {
                    Ok(rule) => return self.rule_found(arrived, rule, slot),
                    Err(alert) => return self.refuse(arrived, slot, alert),
                }
            }
        };
        self.report_without_hello(arrived, reason);
        self.end_peek(arrived, slot);
    }

    /// The client goes, with its slot.
    pub(super) fn end_peek(&mut self, arrived: Arrived, slot: SlotIndex) {
        let connection = arrived.connection;
        self.close(End::Connection { connection, slot }, false);
        self.guests.leave(arrived.guest);
    }

    /// The rule is found: the connection goes on to the handshake with all its
    /// bytes.
    fn rule_found(&mut self, arrived: Arrived, rule: usize, slot: SlotIndex) {
        self.ports.backend.flush();
        self.ports.backend.close(slot);
        let connection = arrived.connection;
        self.set_use(End::Connection { connection, slot }, None);
        self.start(Purpose::Client(Arrived {
            rule: Some(rule),
            ..arrived
        }));
    }

    /// Refuses in the clear: nothing was agreed on (RFC 8446 §6).
    fn refuse(&mut self, arrived: Arrived, slot: SlotIndex, alert: Alert) {
        let cause = HandshakeError::Peer(PeerError::AlertSent(alert));
        self.report_failure(Purpose::Client(arrived), cause);
        let connection = arrived.connection;
        let end = End::Connection { connection, slot };
        let mut wires = self.wires();
        // The ring is empty; without room the client is closed without a word.
        let _ = wires.write(end, &alert.fatal_record());
        wires.signal(end, Status::END);
        self.close(end, true);
        self.guests.leave(arrived.guest);
    }
}

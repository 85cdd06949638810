//! New connections: admission and eviction.

use ipc::channel::SlotIndex;
use ipc::clock::Instant;
use ipc::control::{HandshakeError, PolicyError};
use ipc::net::{self, Address, ConnectionId, NetError, Readiness};
use ipc::provision::{Backend, Limits};

use super::{Arrived, Platform, Purpose, QUANTUM, Server, Use, milliseconds};
use crate::backends::Share;
use crate::relay::{End, RelayId};
use crate::report::{Ending, Side, Why};
use crate::rules::{self, Verdict};
use crate::turned_away::Reason;
use crate::waiting::Line;

/// Why there is no connection, if the network stack said so.
pub(super) type Unconnected = Option<NetError>;

impl<P: Platform> Server<'_, P> {
    /// Accepts connections that wait in the network stack. It never stops because of a
    /// full table here: then a connection is evicted or refused.
    pub(super) fn accept(&mut self) {
        for _ in 0..QUANTUM {
            match self.ports.net.call(&net::Request::Accept) {
                Ok(Ok(net::Answer::Accepted {
                    connection,
                    local,
                    remote,
                    readiness,
                    waited,
                })) => {
                    self.arrive(connection, local, remote, (readiness, waited));
                }
                Ok(Ok(net::Answer::GaveWay { port, count, last })) => {
                    if let Some(place) = self.listeners.iter().position(|l| l.port == port) {
                        self.turn_away_all(place, Reason::Silent, (last, count));
                    }
                }
                _ => {
                    self.is_accepting = false;
                    return;
                }
            }
        }
        self.is_accepting = true;
    }

    fn arrive(
        &mut self,
        connection: ConnectionId,
        local: Address,
        remote: Address,
        (readiness, waited): (Readiness, u32),
    ) {
        let port = local.port();
        let found = self.listeners.iter().position(|l| l.port == port);
        let Some((place, listener)) = found.zip(found.and_then(|l| self.listeners.get(l))) else {
            return self.abort(connection);
        };
        if readiness == Readiness::OverShare {
            self.turn_away(place, Reason::Connections, remote);
            return self.abort(connection);
        }
        let guest = match self.guests.enter(remote.ip(), listener.limits) {
            Ok(guest) => guest,
            Err(reason) => {
                self.turn_away(place, reason, remote);
                return self.abort(connection);
            }
        };
        let verdict = rules::by_address(&listener.rules, remote.ip());
        let (has_tls, has_rules) = (listener.tls.is_some(), !listener.rules.is_empty());
        let arrived = Arrived {
            connection,
            listener: place,
            guest,
            rule: match verdict {
                Verdict::Rule(rule) => Some(rule),
                _ => None,
            },
            local,
            remote,
            at: self.now - milliseconds(waited),
            line: match readiness {
                Readiness::Long => Line::Long,
                _ => Line::Ready,
            },
        };
        if matches!(verdict, Verdict::Refuse) && has_rules && !has_tls {
            let refused = HandshakeError::Policy(PolicyError::NoRule);
            self.report_failure(Purpose::Client(arrived), refused);
            return self.dismiss(arrived);
        }
        let without_hello = match readiness {
            Readiness::Late => Some(Reason::Late),
            Readiness::Ended => Some(Reason::Ended),
            _ => None,
        };
        if let Some(reason) = without_hello {
            self.report_without_hello(arrived, reason);
            return self.dismiss(arrived);
        }
        if !self.has_room_at_backend(place) {
            return self.dismiss_for(arrived, Reason::Backend);
        }
        match verdict {
            Verdict::Listen if !has_tls => self.begin_peek(arrived),
            _ if has_tls || has_rules => self.start(Purpose::Client(arrived)),
            _ => self.attach(arrived),
        }
    }

    /// Whether one more client may wait for the backend of this listener.
    fn has_room_at_backend(&self, place: usize) -> bool {
        let Some(listener) = self.listeners.get(place) else {
            return false;
        };
        let Backend::Connect(upstream) = &listener.backend else {
            return true;
        };
        let is_secure = listener.tls.is_some() || !listener.rules.is_empty();
        let taken = self.guests.taken();
        let sessions = taken.sessions + self.handshakes.with_clients();
        let shares = [
            Share {
                each: usize::from(is_secure) + usize::from(upstream.tls.is_some()),
                free: self.sessions.len().saturating_sub(sessions),
            },
            Share {
                each: usize::from(!is_secure) + 1,
                free: self.connections.len().saturating_sub(taken.connections),
            },
        ];
        self.backends.admits(place, shares, self.now)
    }

    /// A client that has no relay goes.
    pub(super) fn dismiss(&mut self, arrived: Arrived) {
        self.abort(arrived.connection);
        self.guests.leave(arrived.guest);
    }

    /// A client without a relay is refused.
    pub(super) fn dismiss_for(&mut self, arrived: Arrived, reason: Reason) {
        self.turn_away(arrived.listener, reason, arrived.remote);
        self.dismiss(arrived);
    }

    pub(super) fn limits(&self, listener: usize) -> Limits {
        let listener = self.listeners.get(listener);
        listener.map(|listener| listener.limits).unwrap_or_default()
    }

    /// Asks for a slot of the channel to the network stack; the oldest client there
    /// that said nothing makes room for it, unless it is `asking` itself.
    ///
    /// # Errors
    /// The answer, when there is none.
    pub(super) fn ask_for_slot(
        &mut self,
        request: &net::Request,
        asking: Option<RelayId>,
    ) -> Result<(ConnectionId, SlotIndex), Unconnected> {
        let mut answer = self.ports.net.call(request);
        if matches!(answer, Ok(Err(NetError::Full))) && self.make_room(asking) {
            answer = self.ports.net.call(request);
        }
        match answer {
            Ok(Ok(net::Answer::Connecting { connection, slot })) => {
                self.ports.backend.follow(slot);
                Ok((connection, slot))
            }
            Ok(Err(error)) => Err(Some(error)),
            _ => Err(None),
        }
    }

    /// Ends the oldest client of the channel to the network stack that said nothing;
    /// false when there is none.
    fn make_room(&mut self, asking: Option<RelayId>) -> bool {
        let silent = |slot: SlotIndex, found: Use| match found {
            Use::Free => None,
            Use::Relay(id) if Some(id) == asking => None,
            Use::Peeking(arrived, _) => Some((arrived.at, slot, found)),
            Use::Relay(id) => {
                let relay = self.relays.get(id)?;
                let End::Connection { slot: near, .. } = relay.near else {
                    return None;
                };
                let is_silent =
                    near == slot && !relay.has_spoken && self.ports.backend.readable(slot) == Ok(0);
                is_silent.then_some((relay.began, slot, found))
            }
        };
        let slots = (0..).zip(self.connections.iter().copied());
        let oldest = slots
            .filter_map(|(slot, found)| silent(slot, found))
            .min_by_key(|(at, ..): &(Instant, SlotIndex, Use)| *at);
        match oldest {
            Some((_, slot, Use::Peeking(arrived, _))) => {
                self.turn_away(arrived.listener, Reason::Silent, arrived.remote);
                self.end_peek(arrived, slot);
                true
            }
            Some((_, _, Use::Relay(id))) => {
                if let Some(relay) = self.relays.get(id) {
                    let (listener, remote) = (relay.listener, relay.remote);
                    self.turn_away(listener, Reason::Silent, remote);
                }
                self.cut_off(
                    id,
                    Ending {
                        by: Side::Gateway,
                        why: Why::Displaced,
                    },
                );
                true
            }
            _ => false,
        }
    }
}

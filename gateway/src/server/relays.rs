//! Relays: their beginning and their end.

use alloc::vec::Vec;

use ipc::channel::Status;
use ipc::clock::Instant;
use ipc::control::{self, Established};
use ipc::net::{self, NetError};
use ipc::provision::{Backend, IdentityForm, Timeouts};
use ipc::stats;

use super::{Arrived, GRACE, Platform, Server, milliseconds};
use crate::guests::{Place, Places};
use crate::head::Head;
use crate::proxy;
use crate::relay::{Answer, End, Facts, Far, Flow, Page, Relay, RelayId};
use crate::report::{Ending, Side, Why};
use crate::turned_away::Reason;

impl<P: Platform> Server<'_, P> {
    // ---- the beginning ----

    /// Takes a client that speaks no TLS.
    pub(super) fn attach(&mut self, arrived: Arrived) {
        let connection = arrived.connection;
        let attach = net::Request::Attach {
            connection,
            deadline: Instant::NEVER,
        };
        match self.ask_for_slot(&attach, None) {
            Ok((connection, slot)) => {
                let near = End::Connection { connection, slot };
                let limits = self.limits(arrived.listener);
                if !self.guests.take(arrived.guest, Place::Connection, limits) {
                    self.turn_away(arrived.listener, Reason::Connections, arrived.remote);
                    return self.end_peek(arrived, slot);
                }
                let places = Places {
                    connections: 1,
                    sessions: 0,
                };
                self.begin(arrived, (near, places), None);
            }
            Err(_) => self.dismiss_for(arrived, Reason::Room),
        }
    }

    /// A client is there, and its places are counted: on to its backend.
    pub(super) fn begin(
        &mut self,
        arrived: Arrived,
        (near, places): (End, Places),
        session: Option<(Facts, &Established)>,
    ) {
        let (facts, agreed) = session.unzip();
        let relay = Relay {
            listener: arrived.listener,
            guest: arrived.guest,
            places,
            facts,
            remote: arrived.remote,
            near,
            far: Far::Waiting,
            up: Flow::Open,
            down: Flow::Open,
            has_spoken: false,
            is_due: false,
            is_opening: false,
            rule: arrived.rule,
            bytes: (0, 0),
            first: None,
            ending: None,
            began: arrived.at,
            progress: self.now,
            until: Instant::NEVER,
        };
        let is_session = relay.facts.is_some();
        let id = match self.relays.insert(relay) {
            Ok(id) => id,
            // There are as many places as slots that a client can be in.
            Err(relay) => return self.let_go(None, relay),
        };
        self.secured += usize::from(is_session);
        self.count_sessions();
        self.set_use(near, Some(id));
        self.wait_for_answer(id);
        let (far, until) = match self.reach(arrived, agreed, id) {
            Ok(found) => found,
            Err(why) => return self.backend_failed(id, why),
        };
        if let Some(relay) = self.relays.get_mut(id) {
            relay.far = far;
            relay.until = until;
        }
        let idle = milliseconds(self.timeouts(arrived.listener).idle_ms);
        self.watch(until.min(self.now + idle));
        // The client may have spoken already.
        self.pump(id);
    }

    /// The upstream end that the configuration names, and the deadline for it.
    ///
    /// # Errors
    /// Why it can't be had.
    fn reach(
        &mut self,
        arrived: Arrived,
        agreed: Option<&Established>,
        relay: RelayId,
    ) -> Result<(Far, Instant), Why> {
        let listener = self.listeners.get(arrived.listener).ok_or(Why::Room)?;
        let timeouts = listener.timeouts;
        let upstream = match &listener.backend {
            Backend::Status => {
                let until = self.now + milliseconds(timeouts.request_ms);
                return Ok((Far::Page(Page::Asking(Head::default())), until));
            }
            Backend::Connect(upstream) => upstream,
        };
        let (to, has_tls) = (upstream.address, upstream.tls.is_some());
        let introduction = match upstream.identity {
            Some(IdentityForm::ProxyV2) => proxy::header(arrived.remote.0, arrived.local.0, agreed),
            None => Vec::new(),
        };
        for (place, reason) in [
            (has_tls.then_some(Place::Session), Reason::Sessions),
            (Some(Place::Connection), Reason::Connections),
        ] {
            if place.is_some_and(|place| !self.take_place(relay, place)) {
                self.turn_away(arrived.listener, reason, arrived.remote);
                return Err(Why::Limit);
            }
        }
        let deadline = self.now + milliseconds(timeouts.connect_ms);
        let request = net::Request::Connect { to, deadline };
        let (connection, slot) = match self.ask_for_slot(&request, Some(relay)) {
            Ok(found) => found,
            Err(Some(NetError::Full)) => {
                self.turn_away(arrived.listener, Reason::Room, arrived.remote);
                return Err(Why::Room);
            }
            Err(_) => return Err(Why::Refused),
        };
        let end = End::Connection { connection, slot };
        // The ring is empty and many times as long.
        if self.wires().write(end, &introduction) != Ok(introduction.len()) {
            self.close(end, false);
            return Err(Why::Misbehaved);
        }
        self.set_use(end, Some(relay));
        let far = match has_tls {
            true => Far::Opening { connection, slot },
            false => Far::Open {
                end,
                is_established: false,
            },
        };
        Ok((far, deadline + GRACE))
    }

    /// A relay waits for its backend, if it has one.
    fn wait_for_answer(&mut self, id: RelayId) {
        if let Some(relay) = self.relays.get_mut(id)
            && let Some(listener) = self.listeners.get(relay.listener)
            && matches!(listener.backend, Backend::Connect(_))
        {
            self.backends.begin(relay.listener, &mut relay.is_opening);
        }
    }

    /// One more place for a relay, if its client may have it.
    fn take_place(&mut self, relay: RelayId, place: Place) -> bool {
        let Some(listener) = self.relays.get(relay).map(|relay| relay.listener) else {
            return false;
        };
        let limits = self.limits(listener);
        let Some(relay) = self.relays.get_mut(relay) else {
            return false;
        };
        let is_there = self.guests.take(relay.guest, place, limits);
        *relay.places.of(place) += u16::from(is_there);
        is_there
    }

    pub(super) fn timeouts(&self, listener: usize) -> Timeouts {
        let listener = self.listeners.get(listener);
        listener
            .map(|listener| listener.timeouts)
            .unwrap_or_default()
    }

    // ---- the end ----

    /// The backend can't be had: the client is cut off.
    pub(super) fn backend_failed(&mut self, id: RelayId, why: Why) {
        if let Some(relay) = self.relays.get(id) {
            self.backends.failed(relay.listener, why, self.now);
        }
        let by = match why {
            Why::Refused | Why::Unanswered | Why::Handshake => {
                self.ports.stats.add(stats::gateway::BACKEND_FAILED, 1);
                Side::Backend
            }
            _ => Side::Gateway,
        };
        self.cut_off(id, Ending { by, why });
    }

    /// Ends a relay at once; neither end may take that for a clean one.
    pub(super) fn cut_off(&mut self, id: RelayId, ending: Ending) {
        if let Some(mut relay) = self.relays.take(id) {
            relay.ending.get_or_insert(ending);
            self.end(id, relay);
        }
    }

    /// Ends a relay that was taken out of the table.
    pub(super) fn end(&mut self, id: RelayId, mut relay: Relay) {
        self.relays.free(id);
        // Nothing of it is left where it would take up room.
        if relay.is_due {
            self.due.retain(|due| *due != id);
        }
        self.backends.end(relay.listener, &mut relay.is_opening);
        self.secured -= usize::from(relay.facts.is_some());
        self.report_end(&relay);
        self.let_go(Some(id), relay);
        self.count_sessions();
    }

    /// Gives both ends up.
    fn let_go(&mut self, id: Option<RelayId>, relay: Relay) {
        let is_clean = relay.up == Flow::Ended && relay.down == Flow::Ended;
        match relay.far {
            Far::Page(Page::Answering {
                answer: Answer::Made { page, .. },
                ..
            }) => {
                if let Some(id) = id {
                    self.pages.free(page, id);
                }
            }
            Far::Page(_) => {}
            Far::Opening { connection, slot } => {
                self.close(End::Connection { connection, slot }, false);
            }
            Far::Waiting => {
                if let Some(secure) = id.and_then(|id| self.waiting.forget_backend(id)) {
                    self.abort(secure.connection);
                }
            }
            Far::Securing(id) => {
                // A handshake that is over meanwhile is dropped when collected; one that
                // can't be cancelled now is when it is overdue.
                let _ = self.ports.shim.call(&control::Request::Cancel(id));
            }
            Far::Open { end, .. } => self.close(end, is_clean),
        }
        self.close(relay.near, is_clean);
        self.guests.give(relay.guest, relay.places);
        self.guests.leave(relay.guest);
    }

    /// Drops one end. What was written goes out first, complete or not; a connection's
    /// status must not say RESET, because the network stack then discards what it still
    /// has.
    pub(super) fn close(&mut self, end: End, is_clean: bool) {
        self.set_use(end, None);
        match end {
            End::Session(slot) => {
                if !is_clean {
                    self.wires().signal(end, Status::RESET);
                }
                self.close_session(slot);
            }
            End::Connection { connection, slot } => {
                self.ports.backend.close(slot);
                let request = match is_clean {
                    true => net::Request::Release { connection },
                    false => net::Request::ReleaseWithReset { connection },
                };
                // A connection that is gone already needs no release.
                let _ = self.ports.net.call(&request);
            }
        }
    }

    fn count_sessions(&self) {
        let stats = self.ports.stats;
        stats.set(stats::gateway::SESSIONS, self.secured as u64);
    }
}

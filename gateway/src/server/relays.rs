//! Relays: their beginning, the bytes, their end.

use alloc::vec::Vec;

use ipc::channel::{Doorbell, Status};
use ipc::clock::{Clock, Instant};
use ipc::control::{self, Established};
use ipc::net;
use ipc::provision::{Backend, IdentityForm};
use ipc::stats;
use ipc::transport::Transport;

use super::{Arrived, CONNECT_TIMEOUT, Server};
use crate::forward::{CHUNK, Moved, splice};
use crate::page::{self, Asked};
use crate::proxy;
use crate::relay::{End, Facts, Far, Page, Relay, RelayId, Wires};

impl<T, S, P, B, C> Server<'_, T, S, P, B, C>
where
    T: Transport,
    S: Transport,
    P: Doorbell,
    B: Doorbell,
    C: Clock,
{
    // ---- the beginning ----

    /// Takes a client that speaks no TLS.
    pub(super) fn attach(&mut self, arrived: Arrived) {
        let connection = arrived.connection;
        let attach = net::Request::Attach {
            connection,
            deadline: Instant::NEVER,
        };
        match self.ports.net.call(&attach) {
            Ok(Ok(net::Answer::Connecting { connection, slot })) => {
                self.ports.backend.follow(slot);
                self.begin(arrived, End::Connection { connection, slot }, None);
            }
            _ => self.abort(connection),
        }
    }

    /// A client is there: on to its backend.
    pub(super) fn begin(
        &mut self,
        arrived: Arrived,
        near: End,
        session: Option<(Facts, &Established)>,
    ) {
        let id = self.next_relay;
        self.next_relay += 1;
        let (facts, agreed) = session.unzip();
        let Some(far) = self.reach(arrived, agreed, id) else {
            self.ports.stats.add(stats::gateway::BACKEND_FAILED, 1);
            return self.cut(near);
        };
        if let Some(place) = self.relay_of(near) {
            *place = Some(id);
        }
        let relay = Relay {
            listener: arrived.listener,
            facts,
            near,
            far,
            up_done: false,
            down_done: false,
        };
        self.relays.insert(id, relay);
        self.count_sessions();
        // The client may have spoken already.
        self.pump(id);
    }

    /// The far end that the configuration names; `None` when it can't be had.
    fn reach(
        &mut self,
        arrived: Arrived,
        agreed: Option<&Established>,
        relay: RelayId,
    ) -> Option<Far> {
        let upstream = match &self.listeners.get(arrived.listener)?.backend {
            Backend::Status => return Some(Far::Page(Page::default())),
            Backend::Connect(upstream) => upstream,
        };
        let (to, has_tls) = (upstream.address, upstream.tls.is_some());
        let introduction = match upstream.identity {
            Some(IdentityForm::ProxyV2) => proxy::header(arrived.remote.0, arrived.local.0, agreed),
            None => Vec::new(),
        };
        let deadline = self.clock.now() + CONNECT_TIMEOUT;
        let request = net::Request::Connect { to, deadline };
        let answer = self.ports.net.call(&request);
        let Ok(Ok(net::Answer::Connecting { connection, slot })) = answer else {
            (self.ports.log)(format_args!("backend {}: {answer:?}", to.0));
            return None;
        };
        self.ports.backend.follow(slot);
        let end = End::Connection { connection, slot };
        // The ring is empty and many times as long.
        if self.wires().write(end, &introduction) != Ok(introduction.len()) {
            self.close(end, false);
            return None;
        }
        *self.relay_of(end)? = Some(relay);
        Some(match has_tls {
            true => Far::Opening { connection, slot },
            false => Far::Open {
                end,
                is_established: false,
            },
        })
    }

    // ---- bytes ----

    /// Moves what can be moved, and ends the relay when both directions are
    /// through.
    pub(super) fn pump(&mut self, id: RelayId) {
        let Some(mut relay) = self.relays.remove(&id) else {
            return;
        };
        if let Far::Opening { connection, slot } = relay.far {
            let end = End::Connection { connection, slot };
            let status = self.wires().peer_status(end);
            if status.has(Status::ESTABLISHED) {
                self.relays.insert(id, relay);
                return self.secure(id, connection, slot);
            }
            if status.has(Status::RESET) {
                self.relays.insert(id, relay);
                return self.backend_failed(id);
            }
        }
        let goes_on = match &relay.far {
            Far::Open { .. } => self.pump_backend(&mut relay),
            Far::Page(_) => self.pump_page(&mut relay),
            // What the client sends meanwhile waits in its ring.
            Far::Opening { .. } | Far::Waiting | Far::Securing(_) => {
                !self.wires().peer_status(relay.near).has(Status::RESET)
            }
        };
        if goes_on {
            self.relays.insert(id, relay);
        } else {
            self.end(relay);
        }
    }

    /// False when the relay is over.
    fn pump_backend(&mut self, relay: &mut Relay) -> bool {
        let Far::Open {
            end: far,
            is_established,
        } = &mut relay.far
        else {
            return false;
        };
        let (near, far) = (relay.near, *far);
        let stats = self.ports.stats;
        let mut wires = Wires {
            sessions: &mut self.ports.plain,
            connections: &mut self.ports.backend,
        };
        let status = wires.peer_status(far);
        if status.has(Status::RESET) && !*is_established && !status.has(Status::ESTABLISHED) {
            stats.add(stats::gateway::BACKEND_FAILED, 1);
        }
        *is_established |= status.has(Status::ESTABLISHED);
        if !relay.up_done {
            match splice(&mut wires, near, far, &mut self.buffer) {
                Ok(Moved::Some(count)) => stats.add(stats::gateway::BYTES_UP, count as u64),
                Ok(Moved::End(count)) => {
                    stats.add(stats::gateway::BYTES_UP, count as u64);
                    relay.up_done = true;
                }
                Ok(Moved::CutOff) | Err(_) => {
                    // The backend must not take this for the end.
                    wires.signal(far, Status::RESET);
                    return false;
                }
            }
        }
        if !relay.down_done {
            match splice(&mut wires, far, near, &mut self.buffer) {
                Ok(Moved::Some(count)) => stats.add(stats::gateway::BYTES_DOWN, count as u64),
                Ok(Moved::End(count)) => {
                    stats.add(stats::gateway::BYTES_DOWN, count as u64);
                    relay.down_done = true;
                }
                Ok(Moved::CutOff) | Err(_) => {
                    // The client must not take this for the end.
                    wires.signal(near, Status::RESET);
                    return false;
                }
            }
        }
        let is_out = wires.unread(near) == Ok(0) && wires.unread(far) == Ok(0);
        // A client that is gone while the answer is on its way needs none.
        let is_cut = wires.peer_status(near).has(Status::RESET);
        !(is_cut || relay.up_done && relay.down_done && is_out)
    }

    /// False when the relay is over.
    fn pump_page(&mut self, relay: &mut Relay) -> bool {
        let Far::Page(page) = &mut relay.far else {
            return false;
        };
        let near = relay.near;
        let mut wires = Wires {
            sessions: &mut self.ports.plain,
            connections: &mut self.ports.backend,
        };
        let status = wires.peer_status(near);
        if page.answer.is_none() {
            let room = page::MAX_REQUEST.saturating_sub(page.request.len());
            let chunk = self.buffer.get_mut(..room.min(CHUNK)).unwrap_or_default();
            let Ok(count) = wires.read(near, chunk) else {
                return false;
            };
            page.request
                .extend_from_slice(chunk.get(..count).unwrap_or_default());
            page.answer = match page::parse(&page.request) {
                Asked::Incomplete => None,
                Asked::Wrong(status) => Some(page::refusal(status)),
                Asked::Get { path, head_only } => {
                    let others = self.relays.values().filter_map(|r| r.facts.as_ref());
                    let sessions = relay.facts.iter().chain(others);
                    let (view, now) = (&self.ports.view, self.clock.now());
                    let listeners = &self.listeners;
                    Some(page::answer(
                        &path, head_only, view, listeners, sessions, now,
                    ))
                }
            };
        }
        let Some(answer) = &page.answer else {
            return !status.has(Status::END) && !status.has(Status::RESET);
        };
        if !relay.down_done {
            let rest = answer.get(page.sent..).unwrap_or_default();
            let Ok(count) = wires.write(near, rest) else {
                return false;
            };
            page.sent += count;
            let stats = self.ports.stats;
            stats.add(stats::gateway::BYTES_DOWN, count as u64);
            if page.sent == answer.len() {
                relay.down_done = true;
                wires.signal(near, Status::END);
            }
        }
        let is_out = relay.down_done && wires.unread(near) == Ok(0);
        !is_out && !status.has(Status::RESET)
    }

    // ---- the end ----

    /// The backend can't be had: the client is cut off.
    pub(super) fn backend_failed(&mut self, id: RelayId) {
        self.ports.stats.add(stats::gateway::BACKEND_FAILED, 1);
        if let Some(relay) = self.relays.remove(&id) {
            self.wires().signal(relay.near, Status::RESET);
            self.end(relay);
        }
    }

    fn end(&mut self, relay: Relay) {
        let is_clean = relay.up_done && relay.down_done;
        match relay.far {
            Far::Page(_) => {}
            Far::Opening { connection, slot } => {
                self.close(End::Connection { connection, slot }, false);
            }
            // Its turn in the queue finds no relay, and gives it up.
            Far::Waiting => {}
            Far::Securing(id) => {
                // A handshake that is over meanwhile is dropped when collected.
                let _ = self.ports.shim.call(&control::Request::Cancel(id));
            }
            Far::Open { end, .. } => self.close(end, is_clean),
        }
        let is_clean = is_clean || matches!(relay.far, Far::Page(_));
        self.close(relay.near, is_clean);
        self.count_sessions();
    }

    /// Closes the near end of a relay that never was.
    fn cut(&mut self, near: End) {
        self.wires().signal(near, Status::RESET);
        self.close(near, false);
    }

    pub(super) fn close(&mut self, end: End, is_clean: bool) {
        if let Some(place) = self.relay_of(end) {
            *place = None;
        }
        match end {
            End::Session(slot) => self.close_session(slot),
            End::Connection { connection, slot } => {
                self.ports.backend.close(slot);
                if is_clean {
                    let request = net::Request::Release { connection };
                    // A connection that is gone already needs no release.
                    let _ = self.ports.net.call(&request);
                } else {
                    self.abort(connection);
                }
            }
        }
    }

    fn count_sessions(&self) {
        let sessions = self.relays.values().filter(|r| r.facts.is_some()).count();
        let stats = self.ports.stats;
        stats.set(stats::gateway::SESSIONS, sessions as u64);
    }
}

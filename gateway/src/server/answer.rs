//! The status page's side of a relay.

use core::fmt::{self, Write as _};

use ipc::channel::{Doorbell, Status};
use ipc::clock::Clock as _;
use ipc::stats;

use super::pump::Next;
use super::{Platform, Server, milliseconds};
use crate::head::{Asked, Path};
use crate::metrics::{Form, metrics};
use crate::page::{self, Kind, Shown, Start};
use crate::pages::Answering;
use crate::relay::{Answer, End, Far, Fixed, Flow, Page, Relay, RelayId, Wires};
use crate::report::{Ending, Side, Why};

const NOT_FOUND: &str = "404 Not Found";
const LATE: &str = "408 Request Timeout";
/// The answer to `/healthz`, and to `/readyz` when it is.
const OK: &[u8] = b"ok\n";
const BUSY: &str = "503 Service Unavailable";
/// Bytes of the longest start of an answer, with a refusal's body.
const MAX_START: usize = 512;

/// The start of an answer, built each time.
struct Text {
    bytes: [u8; MAX_START],
    length: usize,
}

impl Text {
    fn of(start: &Start<'_>, body: &str) -> Self {
        let mut text = Self {
            bytes: [0; MAX_START],
            length: 0,
        };
        // All that is written here is shorter.
        let _ = write!(text, "{start}{body}");
        text
    }

    fn from(&self, offset: usize) -> &[u8] {
        self.bytes.get(offset..self.length).unwrap_or_default()
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let room = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl<P: Platform> Server<'_, P> {
    /// Reads the request as far as it has come, then writes the answer.
    pub(super) fn pump_page(&mut self, id: RelayId, relay: &mut Relay) -> Next {
        let near = relay.near;
        // Before the bytes: with END set, none come after those found.
        let status = self.wires().peer_status(near);
        if status.has(Status::RESET) {
            relay.note_ending(Side::Client, Why::Reset);
            return Next::Ends;
        }
        if let Far::Page(Page::Asking(head)) = &mut relay.far {
            let mut wires = Wires {
                sessions: &mut self.ports.plain,
                connections: &mut self.ports.backend,
            };
            let Ok(count) = wires.read(near, &mut self.buffer[..]) else {
                relay.note_ending(Side::Gateway, Why::Misbehaved);
                return Next::Ends;
            };
            relay.has_spoken |= count > 0;
            relay.bytes.0 += count as u64;
            match head.read(self.buffer.get(..count).unwrap_or_default()) {
                Asked::Incomplete if status.has(Status::END) => {
                    (relay.up, relay.down) = (Flow::Ended, Flow::Ended);
                    relay.note_flow(Side::Client, Flow::Ended);
                    return Next::Ends;
                }
                Asked::Incomplete => return Next::Waits,
                Asked::Wrong(status) => self.answer(relay, Answer::Refusal(status)),
                Asked::Get {
                    path,
                    head_only,
                    open_metrics,
                } => {
                    let form = match open_metrics {
                        true => Form::OpenMetrics,
                        false => Form::Prometheus,
                    };
                    let answer = self.choose(id, relay, (path, form), head_only);
                    self.answer(relay, answer);
                }
            }
        }
        self.send_answer(id, relay)
    }

    /// The request's time is over.
    pub(super) fn request_is_late(&mut self, id: RelayId) {
        self.ports.stats.add(stats::gateway::REQUESTS_LATE, 1);
        let Some(mut relay) = self.relays.take(id) else {
            return;
        };
        relay.note_ending(Side::Gateway, Why::Request);
        self.answer(&mut relay, Answer::Refusal(LATE));
        self.relays.put(id, relay);
        self.pump(id);
    }

    /// From now on it is answered, in as much time as there was for asking.
    fn answer(&mut self, relay: &mut Relay, answer: Answer) {
        let timeouts = self.timeouts(relay.listener);
        relay.far = Far::Page(Page::Answering { answer, sent: 0 });
        relay.until = self.now + milliseconds(timeouts.request_ms);
        self.watch(relay.until);
    }

    fn choose(
        &mut self,
        id: RelayId,
        relay: &Relay,
        (path, form): (Path, Form),
        head_only: bool,
    ) -> Answer {
        let fixed = |body| Answer::Fixed { body, head_only };
        let kind = match path {
            Path::Status => Kind::Html,
            Path::Metrics => Kind::Metrics(form),
            Path::Alive => return fixed(Fixed::Ok),
            Path::Ready if self.listens => return fixed(Fixed::Ok),
            Path::Ready => return Answer::Refusal(BUSY),
            Path::Graph if !self.ports.view.graph.is_empty() => return fixed(Fixed::Graph),
            Path::Script => return fixed(Fixed::Script),
            Path::Graph | Path::Unknown => return Answer::Refusal(NOT_FOUND),
        };
        let Some((page, gives_way)) = self.pages.place(self.now) else {
            self.ports.stats.add(stats::gateway::PAGES_BUSY, 1);
            return Answer::Refusal(BUSY);
        };
        if let Some(slow) = gives_way {
            self.cut_off(
                slow,
                Ending {
                    by: Side::Gateway,
                    why: Why::Displaced,
                },
            );
        }
        let memory = self.pages.memory(page);
        let view = &self.ports.view;
        let (listeners, turned_away) = (&self.listeners[..], &self.turned_away);
        let others = self.relays.iter().filter_map(|r| r.facts.as_ref());
        let shown = Shown {
            view,
            listeners,
            turned_away,
            observed: &self.observed,
            sessions: relay.facts.iter().chain(others),
            now: self.now,
            unix_seconds: self.clock.unix_seconds(),
        };
        let body = match kind {
            Kind::Metrics(form) => metrics(&shown, form, memory),
            _ => page::html(shown, memory),
        };
        if head_only {
            let length = body.len();
            self.pages.give_back(page, body);
            return Answer::Head { kind, length };
        }
        let answering = Answering {
            relay: id,
            body,
            progress: self.now,
        };
        self.pages.put(page, answering);
        Answer::Made { kind, page }
    }

    /// Writes as much of the answer as there is room for.
    fn send_answer(&mut self, id: RelayId, relay: &mut Relay) -> Next {
        let near = relay.near;
        let Far::Page(Page::Answering { answer, sent }) = &mut relay.far else {
            return Next::Ends;
        };
        let mut wires = Wires {
            sessions: &mut self.ports.plain,
            connections: &mut self.ports.backend,
        };
        if relay.down == Flow::Open {
            let graph = self.ports.view.graph;
            let (start, body) = match *answer {
                Answer::Refusal(status) => (Text::of(&Start::refusal(status), status), &[][..]),
                Answer::Fixed { body, head_only } => {
                    let (kind, bytes) = match body {
                        Fixed::Ok => (Kind::Word, OK),
                        Fixed::Graph => (Kind::Graph, graph),
                        Fixed::Script => (Kind::Script, page::SCRIPT),
                    };
                    let start = Start::ok(kind, bytes.len());
                    (Text::of(&start, ""), if head_only { &[] } else { bytes })
                }
                Answer::Head { kind, length } => (Text::of(&Start::ok(kind, length), ""), &[][..]),
                Answer::Made { kind, page } => {
                    let Some(answering) = self.pages.of(page, id) else {
                        return Next::Ends;
                    };
                    let start = Start::ok(kind, answering.body.len());
                    (Text::of(&start, ""), answering.body.as_bytes())
                }
            };
            let Ok(count) = write_from(&mut wires, near, *sent, &start, body) else {
                relay.note_ending(Side::Gateway, Why::Misbehaved);
                return Next::Ends;
            };
            let is_whole = *sent + count >= start.length + body.len();
            *sent += count;
            relay.bytes.1 += count as u64;
            self.ports
                .stats
                .add(stats::gateway::BYTES_DOWN, count as u64);
            if count > 0 {
                relay.progress = self.now;
                if let Answer::Made { page, .. } = *answer
                    && let Some(answering) = self.pages.of(page, id)
                {
                    answering.progress = self.now;
                }
            }
            if is_whole {
                // The request has been read as far as it matters.
                (relay.up, relay.down) = (Flow::Ended, Flow::Ended);
                relay.first.get_or_insert(Side::Backend);
                wires.signal(near, Status::END);
                if let Answer::Made { page, .. } = *answer {
                    self.pages.free(page, id);
                }
            }
        }
        match relay.down == Flow::Ended && wires.unread(near) == Ok(0) {
            true => Next::Ends,
            false => Next::Waits,
        }
    }
}

/// Writes what follows `sent` bytes of `start` and `body`.
fn write_from<P: Doorbell, B: Doorbell>(
    wires: &mut Wires<'_, P, B>,
    near: End,
    sent: usize,
    start: &Text,
    body: &[u8],
) -> Result<usize, ipc::ring::Misbehaved> {
    let first = start.from(sent);
    let count = wires.write(near, first)?;
    if count < first.len() {
        return Ok(count);
    }
    let rest = body.get((sent + count).saturating_sub(start.length)..);
    Ok(count + wires.write(near, rest.unwrap_or_default())?)
}

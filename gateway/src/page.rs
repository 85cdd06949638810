//! The status page: HTTP/1.1 (RFC 9112), one request a connection. What is made for
//! one request is bounded ([`MAX_BODY`]), and so is how many are answered at once
//! ([`crate::pages`]).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::time::Duration;

use ipc::clock::Instant;
use ipc::provision::{Backend, Listener};
use ipc::stats::{self, Counter, Page};

use crate::metrics::{Form, Observed};
use crate::relay::Facts;
use crate::report::{mode_name, version_name};
use crate::turned_away::TurnedAway;

/// Bytes of the longest body that is made for one request.
pub(crate) const MAX_BODY: usize = 96 * 1024;
/// Rows of tables are left out where they would leave less than that for the rest.
const RESERVE: usize = 16 * 1024;
/// Rows of the session table.
const MAX_ROWS: usize = 100;

/// What the page shows besides sessions.
pub struct View<'a> {
    /// The capability graph, an SVG; may be empty.
    pub graph: &'a [u8],
    /// The kernel's name and version.
    pub kernel: &'a str,
    /// Counters of each domain.
    pub domains: Vec<Domain<'a>>,
}

/// A domain's name, its page, and its counters there.
pub(crate) type Domain<'a> = (&'static str, &'a Page, &'static [Counter]);

impl<'a> View<'a> {
    /// A view of domains, each with its page of counters.
    pub fn new(
        graph: &'a [u8],
        kernel: &'a str,
        counters: impl IntoIterator<Item = (&'static str, &'a Page)>,
    ) -> Self {
        let counters = counters.into_iter();
        Self {
            graph,
            kernel,
            domains: counters
                .map(|(name, page)| (name, page, stats::of(name)))
                .collect(),
        }
    }
}

/// Everything that a page is made of.
pub(crate) struct Shown<'v, 's, I> {
    pub(crate) view: &'s View<'v>,
    pub(crate) listeners: &'s [Listener],
    pub(crate) turned_away: &'s TurnedAway,
    pub(crate) observed: &'s Observed,
    /// The sessions.
    pub(crate) sessions: I,
    pub(crate) now: Instant,
    pub(crate) unix_seconds: u64,
}

/// What an answer's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Html,
    Metrics(Form),
    Graph,
    /// One word.
    Word,
    /// [`SCRIPT`].
    Script,
}

impl Kind {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Metrics(form) => form.media_type(),
            Self::Word => "text/plain; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
            Self::Graph => "image/svg+xml",
        }
    }
}

/// The start of an answer, up to its body: short, and the same whenever it is made.
pub(crate) struct Start<'a> {
    status: &'a str,
    media_type: &'a str,
    more: &'a str,
    length: usize,
}

impl<'a> Start<'a> {
    /// Of an answer with a body.
    pub(crate) const fn ok(kind: Kind, length: usize) -> Self {
        Self {
            status: "200 OK",
            media_type: kind.media_type(),
            more: "",
            length,
        }
    }

    /// Of one whose body is its status.
    pub(crate) fn refusal(status: &'a str) -> Self {
        Self {
            status,
            media_type: "text/plain; charset=utf-8",
            more: match status.get(..3) {
                Some("405") => "Allow: GET, HEAD\r\n",
                Some("503") => "Retry-After: 1\r\n",
                _ => "",
            },
            length: status.len(),
        }
    }
}

impl fmt::Display for Start<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            status,
            media_type,
            more,
            length,
        } = self;
        write!(
            f,
            "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n{more}\
             Cache-Control: no-store\r\nContent-Security-Policy: default-src 'self'; \
             style-src 'unsafe-inline'\r\nConnection: close\r\n\r\n"
        )
    }
}

/// Text that takes no more than it was made for; what does not fit is left out.
pub(crate) struct Bounded(pub(crate) String);

impl Bounded {
    /// In this memory, which has [`MAX_BODY`] bytes.
    pub(crate) fn new(memory: String) -> Self {
        Self(memory)
    }

    /// Whether there is room for one more row of a table.
    pub(crate) fn has_room(&self) -> bool {
        self.0.len() < MAX_BODY - RESERVE
    }
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() > self.0.capacity() - self.0.len() {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

const STYLE: &str = ":root{color-scheme:light dark;--ink:#1c2430;--paper:#fbfbf8;--line:#d8dbe0;\
--good:#1a7f37;--bad:#b3261e}@media(prefers-color-scheme:dark){:root{--ink:#e4e7eb;\
--paper:#15191f;--line:#3a424d;--good:#5bd07a;--bad:#ff8a80}}\
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:70rem;padding:1rem;\
color:var(--ink);background:var(--paper)}h1{font-size:1.4rem}h2{font-size:1.1rem;\
margin-top:2rem}a{color:inherit}div{overflow-x:auto}table{border-collapse:collapse;\
font-size:.9rem}th,td{text-align:left;padding:.25rem .8rem .25rem 0;\
border-bottom:1px solid var(--line);white-space:nowrap}td.n{text-align:right;\
font-variant-numeric:tabular-nums}img{max-width:100%;height:auto;background:#fff}\
dl{display:flex;flex-wrap:wrap;gap:.5rem 2rem}dt{font-size:.8rem}dd{margin:0;font-size:1.3rem;\
font-variant-numeric:tabular-nums}.good{color:var(--good)}.bad{color:var(--bad)}\
.domains{display:grid;gap:1rem 2rem;align-items:start;\
grid-template-columns:repeat(auto-fill,minmax(20rem,1fr))}";

/// Keeps the page up to date where scripts run; without one it is as it was when it was
/// asked for.
pub(crate) const SCRIPT: &[u8] = b"'use strict';\n\
setInterval(async () => {\n\
  if (document.hidden) return;\n\
  const note = document.getElementById('note');\n\
  try {\n\
    const answer = await fetch('/');\n\
    if (!answer.ok) throw answer.status;\n\
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');\n\
    document.querySelector('main').replaceWith(page.querySelector('main'));\n\
    note.textContent = '';\n\
  } catch (error) {\n\
    note.textContent = 'no answer since ' + new Date().toLocaleTimeString();\n\
  }\n\
}, 2000);\n";

/// The status page itself.
pub(crate) fn html<'f>(
    shown: Shown<'_, '_, impl Iterator<Item = &'f Facts>>,
    memory: String,
) -> String {
    let mut text = Bounded::new(memory);
    // What does not fit is left out: the end, of which nothing depends.
    let _ = write_html(&mut text, shown);
    text.0
}

fn write_html<'f>(
    text: &mut Bounded,
    shown: Shown<'_, '_, impl Iterator<Item = &'f Facts>>,
) -> fmt::Result {
    let Shown {
        view,
        listeners,
        turned_away,
        sessions,
        now,
        ..
    } = shown;
    write!(
        text,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport \
         content=\"width=device-width,initial-scale=1\"><title>Handoff</title>\
         <style>{STYLE}</style><script src=/page.js defer></script>\
         <h1>Handoff</h1><p id=note class=bad></p><main>"
    )?;
    write_summary(text, view, now)?;
    write_listeners(text, listeners, turned_away)?;
    write_sessions(text, listeners, sessions, now)?;
    text.write_str("<h2>Domains</h2><div class=domains>")?;
    for (name, page, counters) in &view.domains {
        write!(text, "<table><tr><th colspan=2>{name}")?;
        for counter in *counters {
            let (value, (family, _)) = (page.read(*counter), counter.family());
            text.write_str("<tr><td>")?;
            for word in family.split('_') {
                write!(text, "{word} ")?;
            }
            let (_, label) = counter.labels.split_once('=').unwrap_or_default();
            write!(text, "{}<td class=n>{value}", label.trim_matches('"'))?;
        }
        text.write_str("</table>")?;
    }
    text.write_str("</div></main><p><a href=/metrics>Metrics</a></p>")?;
    if !view.graph.is_empty() {
        text.write_str(
            "<h2>Who holds what</h2><p>Every capability of the running system.</p>\
             <a href=/graph.svg><img src=/graph.svg alt=\"Capability graph\"></a>",
        )?;
    }
    Ok(())
}

/// Whether it is well, in one line.
fn write_summary(text: &mut Bounded, view: &View<'_>, now: Instant) -> fmt::Result {
    let sum = |wanted: &str| -> u64 {
        let domains = view.domains.iter();
        let all = domains.flat_map(|(_, page, counters)| counters.iter().map(move |c| (page, c)));
        let wanted = all.filter(|(_, counter)| counter.name == wanted);
        // What another domain wrote there is only its word.
        wanted.fold(0, |sum, (page, counter)| {
            page.read(*counter).saturating_add(sum)
        })
    };
    let of = |wanted: Counter| {
        let mut domains = view.domains.iter();
        let found = domains.find(|(name, ..)| *name == wanted.domain);
        found.map_or(0, |(_, page, _)| page.read(wanted))
    };
    let restarts = sum(stats::gateway::RESTARTS.name);
    let (finished, failed) = (of(stats::offload::FINISHED), of(stats::gateway::FAILED));
    let state = |is_good| if is_good { "good" } else { "bad" };
    write!(
        text,
        "<dl><div><dt>Up<dd>{}</div><div><dt>Sessions<dd>{}</div>\
         <div><dt>Handshakes<dd>{finished}</div><div><dt>Failed<dd>{failed}</div>\
         <div><dt>Backends failed<dd class={}>{}</div>\
         <div><dt>Domains restarted<dd class={}>{restarts}</div></dl>",
        Span(Duration::from_nanos(now.as_nanos())),
        of(stats::gateway::SESSIONS),
        state(of(stats::gateway::BACKEND_FAILED) == 0),
        of(stats::gateway::BACKEND_FAILED),
        state(restarts == 0),
    )
}

/// A length of time as people say it, in its two largest units.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0.as_secs(), self.0.subsec_micros());
        match seconds {
            0 if micros < 1000 => write!(f, "{micros} µs"),
            0 => write!(f, "{}.{} ms", micros / 1000, micros % 1000 / 100),
            1..60 => write!(f, "{seconds} s"),
            60..3600 => write!(f, "{} min {} s", seconds / 60, seconds % 60),
            3600..86_400 => write!(f, "{} h {} min", seconds / 3600, seconds / 60 % 60),
            _ => write!(f, "{} d {} h", seconds / 86_400, seconds / 3600 % 24),
        }
    }
}

fn write_listeners(
    text: &mut Bounded,
    listeners: &[Listener],
    turned_away: &TurnedAway,
) -> fmt::Result {
    text.write_str(
        "<h2>Listeners</h2><div><table><tr><th>Name<th>Port<th>Mode<th>Backend<th>Turned away",
    )?;
    let mut more = 0;
    for (place, listener) in listeners.iter().enumerate() {
        if !text.has_room() {
            more += 1;
            continue;
        }
        write!(
            text,
            "<tr><td>{}<td class=n>{}<td>{}<td>",
            Escaped(&listener.name),
            listener.port,
            // Rules have a mode each; the first is shown.
            listener
                .handshakes()
                .next()
                .map_or("no TLS", |tls| mode_name(tls.mode))
        )?;
        match &listener.backend {
            Backend::Connect(upstream) => {
                let tls = if upstream.tls.is_some() { ", TLS" } else { "" };
                write!(text, "{}{tls}", upstream.address.0)?;
            }
            Backend::Status => text.write_str("this page")?,
        }
        text.write_str("<td>")?;
        for (reason, count) in turned_away.of(place).filter(|(_, count)| *count > 0) {
            write!(text, "{} {count} ", reason.name())?;
        }
    }
    write_end(text, more)
}

fn write_sessions<'f>(
    text: &mut Bounded,
    listeners: &[Listener],
    sessions: impl Iterator<Item = &'f Facts>,
    now: Instant,
) -> fmt::Result {
    text.write_str(
        "<h2>Sessions</h2><div><table><tr><th>Session<th>Listener<th>Client<th>Version\
         <th>Suite<th>Mode<th>Handshake<th>Age",
    )?;
    let mut more = 0;
    for (row, facts) in sessions.enumerate() {
        if row >= MAX_ROWS || !text.has_room() {
            more += 1;
            continue;
        }
        let listener = listeners.get(facts.listener).map_or("", |l| &l.name);
        let handshake = Span(facts.completed - facts.started);
        write!(
            text,
            "<tr><td class=n>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td class=n>{handshake}\
             <td class=n>{}",
            facts.session.0,
            Escaped(listener),
            facts.remote.0,
            version_name(facts.version),
            facts.suite.name(),
            mode_name(facts.mode),
            Span(now - facts.completed),
        )?;
    }
    write_end(text, more)
}

/// The end of a table, and how many rows it lacks.
fn write_end(text: &mut Bounded, more: usize) -> fmt::Result {
    text.write_str("</table></div>")?;
    match more {
        0 => Ok(()),
        more => write!(text, "<p>And {more} more.</p>"),
    }
}

/// Text with the characters escaped that mean something in HTML.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests;

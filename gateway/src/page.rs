//! The status page: HTTP/1.1 (RFC 9112), one request a connection.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use ipc::clock::Instant;
use ipc::provision::{Backend, Listener};
use ipc::stats::{self, Counter, Page};

use crate::relay::Facts;
use crate::report::{mode_name, version_name};

/// The longest request head that is read.
pub(crate) const MAX_REQUEST: usize = 8 * 1024;
/// Rows of the session table.
const MAX_ROWS: usize = 100;

/// What the page shows besides sessions.
pub struct View<'a> {
    /// The capability graph, an SVG; may be empty.
    pub graph: &'a [u8],
    /// Counters of each domain.
    pub domains: Vec<(&'static str, &'a Page, &'static [Counter])>,
}

impl<'a> View<'a> {
    /// A view of the six domains, each with its page of counters.
    pub fn new(
        graph: &'a [u8],
        [netstack, keystore, record, shim, offload, gateway]: [&'a Page; 6],
    ) -> Self {
        Self {
            graph,
            domains: [
                ("netstack-server", netstack, stats::netstack::ALL),
                ("keystore-server", keystore, stats::keystore::ALL),
                ("record-server", record, stats::record::ALL),
                ("kernel-shim", shim, stats::shim::ALL),
                ("offload-server", offload, stats::offload::ALL),
                ("gateway", gateway, stats::gateway::ALL),
            ]
            .into(),
        }
    }
}

/// What was asked, as far as it has come.
pub(crate) enum Asked {
    /// The head is not whole yet.
    Incomplete,
    /// A path, and whether only the head of the answer is wanted.
    Get { path: String, head_only: bool },
    /// Something that gets this status and reason.
    Wrong(&'static str),
}

/// Reads a request head.
pub(crate) fn parse(bytes: &[u8]) -> Asked {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) if bytes.len() >= MAX_REQUEST => {
            Asked::Wrong("431 Request Header Fields Too Large")
        }
        Ok(httparse::Status::Partial) => Asked::Incomplete,
        Err(_) => Asked::Wrong("400 Bad Request"),
        Ok(httparse::Status::Complete(_)) => {
            let head_only = match request.method {
                Some("GET") => false,
                Some("HEAD") => true,
                _ => return Asked::Wrong("405 Method Not Allowed"),
            };
            let path = request.path.unwrap_or_default();
            let path = path.split('?').next().unwrap_or_default();
            Asked::Get {
                path: path.into(),
                head_only,
            }
        }
    }
}

/// The answer to a request that can't be met.
pub(crate) fn refusal(status: &str) -> Vec<u8> {
    let allow = match status {
        "405 Method Not Allowed" => "Allow: GET, HEAD\r\n",
        _ => "",
    };
    respond(
        status,
        "text/plain; charset=utf-8",
        allow,
        status.as_bytes(),
        false,
    )
}

/// The answer to `path`.
pub(crate) fn answer<'f>(
    path: &str,
    head_only: bool,
    view: &View<'_>,
    listeners: &[Listener],
    sessions: impl Iterator<Item = &'f Facts>,
    now: Instant,
) -> Vec<u8> {
    const OK: &str = "200 OK";
    match path {
        "/" => {
            let body = html(view, listeners, sessions, now);
            respond(
                OK,
                "text/html; charset=utf-8",
                "",
                body.as_bytes(),
                head_only,
            )
        }
        "/metrics" => {
            const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            respond(OK, TYPE, "", metrics(view).as_bytes(), head_only)
        }
        "/graph.svg" if !view.graph.is_empty() => {
            respond(OK, "image/svg+xml", "", view.graph, head_only)
        }
        _ => refusal("404 Not Found"),
    }
}

fn respond(status: &str, kind: &str, more: &str, body: &[u8], head_only: bool) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{more}\
         Cache-Control: no-store\r\nContent-Security-Policy: default-src 'self'; \
         style-src 'unsafe-inline'\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    if !head_only {
        answer.extend_from_slice(body);
    }
    answer
}

/// OpenMetrics 1.0 text.
fn metrics(view: &View<'_>) -> String {
    let mut text = String::new();
    for (_, page, counters) in &view.domains {
        for counter in *counters {
            let value = page.read(*counter);
            // A String takes what is written to it.
            let _ = match counter.name.strip_suffix("_total") {
                Some(family) => write!(
                    text,
                    "# TYPE handoff_{family} counter\nhandoff_{family}_total {value}\n"
                ),
                None => write!(
                    text,
                    "# TYPE handoff_{0} gauge\nhandoff_{0} {value}\n",
                    counter.name
                ),
            };
        }
    }
    text.push_str("# EOF\n");
    text
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:70rem;\
padding:1rem;color:#1c2430;background:#fbfbf8}h1{font-size:1.4rem}h2{font-size:1.1rem;\
margin-top:2rem}div{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}\
th,td{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid #d8dbe0;\
white-space:nowrap}td.n{text-align:right;font-variant-numeric:tabular-nums}\
img{max-width:100%;height:auto}.domains{display:grid;gap:1rem 2rem;align-items:start;\
grid-template-columns:repeat(auto-fill,minmax(20rem,1fr))}";

fn html<'f>(
    view: &View<'_>,
    listeners: &[Listener],
    sessions: impl Iterator<Item = &'f Facts>,
    now: Instant,
) -> String {
    let mut text = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport \
         content=\"width=device-width,initial-scale=1\"><title>Handoff</title>\
         <style>{STYLE}</style><h1>Handoff</h1><p>Up for {} s.</p>",
        now.as_nanos() / 1_000_000_000
    );
    write_listeners(&mut text, listeners);
    write_sessions(&mut text, listeners, sessions, now);
    text.push_str("<h2>Domains</h2><div class=domains>");
    for (name, page, counters) in &view.domains {
        let _ = write!(text, "<table><tr><th colspan=2>{name}");
        for counter in *counters {
            let label = counter.name.replace('_', " ");
            let value = page.read(*counter);
            let _ = write!(text, "<tr><td>{label}<td class=n>{value}");
        }
        text.push_str("</table>");
    }
    text.push_str("</div><p><a href=/metrics>OpenMetrics</a></p>");
    if !view.graph.is_empty() {
        text.push_str(
            "<h2>Who holds what</h2><p>Every capability of the running system.</p>\
             <a href=/graph.svg><img src=/graph.svg alt=\"Capability graph\"></a>",
        );
    }
    text
}

fn write_listeners(text: &mut String, listeners: &[Listener]) {
    text.push_str("<h2>Listeners</h2><div><table><tr><th>Name<th>Port<th>Mode<th>Backend");
    for listener in listeners {
        let _ = write!(
            text,
            "<tr><td>{}<td class=n>{}<td>{}<td>",
            Escaped(&listener.name),
            listener.port,
            // Rules have a mode each; the first is shown.
            listener
                .handshakes()
                .next()
                .map_or("no TLS", |tls| mode_name(tls.mode))
        );
        let _ = match &listener.backend {
            Backend::Connect(upstream) => {
                let tls = if upstream.tls.is_some() { ", TLS" } else { "" };
                write!(text, "{}{tls}", upstream.address.0)
            }
            Backend::Status => write!(text, "this page"),
        };
    }
    text.push_str("</table></div>");
}

fn write_sessions<'f>(
    text: &mut String,
    listeners: &[Listener],
    sessions: impl Iterator<Item = &'f Facts>,
    now: Instant,
) {
    text.push_str(
        "<h2>Sessions</h2><div><table><tr><th>Session<th>Listener<th>Client<th>Version\
         <th>Suite<th>Mode<th>Handshake<th>Age",
    );
    let mut more = 0;
    for (row, facts) in sessions.enumerate() {
        if row >= MAX_ROWS {
            more += 1;
            continue;
        }
        let listener = listeners.get(facts.listener).map_or("", |l| &l.name);
        let handshake = (facts.completed - facts.started).as_micros();
        let _ = write!(
            text,
            "<tr><td class=n>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td class=n>{handshake} µs\
             <td class=n>{} s",
            facts.session.0,
            Escaped(listener),
            facts.remote.0,
            version_name(facts.version),
            facts.suite.name(),
            mode_name(facts.mode),
            (now - facts.completed).as_secs(),
        );
    }
    text.push_str("</table></div>");
    if more > 0 {
        let _ = write!(text, "<p>And {more} more.</p>");
    }
}

/// Text with the characters escaped that mean something in HTML.
struct Escaped<'a>(&'a str);

impl core::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
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
mod tests {
    use super::*;

    fn view(pages: &[Page; 6]) -> View<'_> {
        let [a, b, c, d, e, f] = pages;
        View::new(b"<svg/>", [a, b, c, d, e, f])
    }

    #[test]
    fn a_request_is_read_once_it_is_whole() {
        let whole = b"GET /metrics?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
        for cut in 0..whole.len() {
            assert!(matches!(parse(&whole[..cut]), Asked::Incomplete), "{cut}");
        }
        let Asked::Get { path, head_only } = parse(whole) else {
            panic!("not read");
        };
        assert_eq!((path.as_str(), head_only), ("/metrics", false));
    }

    #[test]
    fn what_is_no_request_is_told_why() {
        let status = |bytes: &[u8]| match parse(bytes) {
            Asked::Wrong(status) => status,
            _ => "",
        };
        assert_eq!(status(b"\x16\x03\x01"), "400 Bad Request");
        let post = b"POST / HTTP/1.1\r\n\r\n";
        assert_eq!(status(post), "405 Method Not Allowed");
        let mut long = b"GET / HTTP/1.1\r\nX: ".to_vec();
        long.resize(MAX_REQUEST, b'a');
        assert_eq!(status(&long), "431 Request Header Fields Too Large");
    }

    #[test]
    fn metrics_end_as_openmetrics_must() {
        let pages: [Page; 6] = Default::default();
        pages[1].add(stats::keystore::SIGNED, 3);
        let text = metrics(&view(&pages));
        assert!(text.contains(
            "# TYPE handoff_keystore_signatures counter\nhandoff_keystore_signatures_total 3\n"
        ));
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn text_from_the_configuration_is_escaped() {
        assert_eq!(format!("{}", Escaped("<a&\"b>")), "&lt;a&amp;&quot;b&gt;");
    }

    #[test]
    fn an_unknown_path_is_not_found() {
        let pages: [Page; 6] = Default::default();
        let none = core::iter::empty();
        let bytes = answer("/x", false, &view(&pages), &[], none, Instant::default());
        assert!(bytes.starts_with(b"HTTP/1.1 404 Not Found\r\n"));
    }
}

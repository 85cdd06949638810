//! The head of an HTTP/1.1 request (RFC 9112), read byte by byte: what is kept of it
//! are the method and the path, as far as either can be one that is known.

/// The longest head that is read.
pub(crate) const MAX_HEAD: u16 = 8 * 1024;
/// As much of a word as tells it from every word that is known.
const MAX_WORD: usize = 16;

/// What was asked, as far as it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The head is not whole yet.
    Incomplete,
    /// A path, and whether only the head of the answer is wanted.
    Get {
        path: Path,
        head_only: bool,
        /// The client understands OpenMetrics.
        open_metrics: bool,
    },
    /// Something that gets this status and reason.
    Wrong(&'static str),
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    Status,
    Metrics,
    /// Whether the gateway runs.
    Alive,
    /// Whether it serves.
    Ready,
    Graph,
    Script,
    Unknown,
}

/// What a client that understands OpenMetrics names in its Accept field (RFC 9110 §12.5.1);
/// how much it would rather have it than another form is not looked at.
const OPEN_METRICS: &[u8] = b"application/openmetrics-text";

const BAD: Asked = Asked::Wrong("400 Bad Request");

/// Where in the head the next byte is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Method,
    Path,
    /// After `?`: it goes to no page.
    Query,
    Version,
    LineStart,
    Name,
    Value,
    /// After a CR, in place of which LF alone would do (RFC 9112 §2.2).
    LineFeed,
    /// The same, at the head's end.
    LastLineFeed,
}

/// The first bytes of a word.
#[derive(Clone, Copy)]
struct Start {
    bytes: [u8; MAX_WORD],
    /// How many were read, up to one more than are kept.
    count: u8,
}

impl Start {
    const EMPTY: Self = Self {
        bytes: [0; MAX_WORD],
        count: 0,
    };

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(usize::from(self.count)) {
            *place = byte;
        }
        self.count = self.count.saturating_add(1).min(MAX_WORD as u8 + 1);
    }

    fn is(&self, word: &[u8]) -> bool {
        self.bytes.get(..usize::from(self.count)) == Some(word)
    }
}

/// A request's head as far as it has come.
pub(crate) struct Head {
    at: At,
    method: Start,
    path: Start,
    /// The version, and after the first line the name of the field.
    word: Start,
    count: u16,
    /// How much of [`OPEN_METRICS`] the Accept field had last; all of it for good.
    accepts: u8,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            at: At::Method,
            method: Start::EMPTY,
            path: Start::EMPTY,
            word: Start::EMPTY,
            count: 0,
            accepts: 0,
        }
    }
}

/// RFC 9110 §5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

impl Head {
    /// Reads on. Bytes after the head's end are skipped.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Asked {
        for byte in bytes {
            match self.take(*byte) {
                Asked::Incomplete => {}
                asked => return asked,
            }
        }
        Asked::Incomplete
    }

    fn take(&mut self, byte: u8) -> Asked {
        self.count += 1;
        let next = match (self.at, byte) {
            // An empty line in front is skipped (RFC 9112 §2.2).
            (At::Method, b'\r' | b'\n') if self.method.count == 0 => At::Method,
            (At::Method, b' ') if self.method.count > 0 => At::Path,
            (At::Method, byte) if is_token(byte) => {
                self.method.push(byte);
                At::Method
            }
            (At::Path, b'?') => At::Query,
            (At::Path | At::Query, b' ') if self.path.count > 0 => At::Version,
            (At::Path, b'!'..=b'~') => {
                self.path.push(byte);
                At::Path
            }
            (At::Query, b'!'..=b'~') => At::Query,
            (At::Version, b'\r' | b'\n') if !self.is_http1() => return BAD,
            (At::Version, b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.') => {
                self.word.push(byte);
                At::Version
            }
            (At::LineStart, b'\r') => At::LastLineFeed,
            (At::LineStart | At::LastLineFeed, b'\n') => return self.whole(),
            (At::Version | At::Value, b'\r') => At::LineFeed,
            (At::Version | At::Value | At::LineFeed, b'\n') => At::LineStart,
            (At::LineStart | At::Name, byte) if is_token(byte) => {
                if self.at == At::LineStart {
                    self.word = Start::EMPTY;
                    if usize::from(self.accepts) < OPEN_METRICS.len() {
                        self.accepts = 0;
                    }
                }
                self.word.push(byte.to_ascii_lowercase());
                At::Name
            }
            (At::Name, b':') => At::Value,
            (At::Value, b'\t' | b' '..=b'~' | 0x80..) => {
                if self.word.is(b"accept") {
                    self.look_for_open_metrics(byte.to_ascii_lowercase());
                }
                At::Value
            }
            _ => return BAD,
        };
        self.at = next;
        match self.count {
            MAX_HEAD.. => Asked::Wrong("431 Request Header Fields Too Large"),
            _ => Asked::Incomplete,
        }
    }

    fn look_for_open_metrics(&mut self, byte: u8) {
        let at = usize::from(self.accepts);
        match OPEN_METRICS.get(at) {
            None => {}
            Some(wanted) if *wanted == byte => self.accepts += 1,
            Some(_) => self.accepts = u8::from(OPEN_METRICS.first() == Some(&byte)),
        }
    }

    fn is_http1(&self) -> bool {
        self.word.is(b"HTTP/1.1") || self.word.is(b"HTTP/1.0")
    }

    fn whole(&self) -> Asked {
        let head_only = match &self.method {
            method if method.is(b"GET") => false,
            method if method.is(b"HEAD") => true,
            _ => return Asked::Wrong("405 Method Not Allowed"),
        };
        let path = match &self.path {
            path if path.is(b"/") => Path::Status,
            path if path.is(b"/metrics") => Path::Metrics,
            path if path.is(b"/healthz") => Path::Alive,
            path if path.is(b"/readyz") => Path::Ready,
            path if path.is(b"/graph.svg") => Path::Graph,
            path if path.is(b"/page.js") => Path::Script,
            _ => Path::Unknown,
        };
        Asked::Get {
            path,
            head_only,
            open_metrics: usize::from(self.accepts) == OPEN_METRICS.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn read(bytes: &[u8]) -> Asked {
        Head::default().read(bytes)
    }

    #[test]
    fn a_request_is_read_once_it_is_whole_however_it_is_cut() {
        let whole = b"GET /metrics?x=1 HTTP/1.1\r\nHost: localhost\r\nX:\r\n\r\nafter";
        let length = whole.len() - b"after".len();
        let asked = Asked::Get {
            path: Path::Metrics,
            head_only: false,
            open_metrics: false,
        };
        for cut in 0..length {
            let mut head = Head::default();
            assert_eq!(head.read(&whole[..cut]), Asked::Incomplete, "{cut}");
            assert_eq!(head.read(&whole[cut..]), asked, "{cut}");
        }
    }

    #[test]
    fn pages_and_methods_are_told_apart() {
        for (line, path, head_only) in [
            ("GET / HTTP/1.0", Path::Status, false),
            ("HEAD /graph.svg HTTP/1.1", Path::Graph, true),
            ("GET /graph.svgz HTTP/1.1", Path::Unknown, false),
            (
                "GET /metrics/metrics/metrics HTTP/1.1",
                Path::Unknown,
                false,
            ),
            ("\r\nGET /? HTTP/1.1", Path::Status, false),
            ("GET /healthz HTTP/1.1", Path::Alive, false),
            ("GET /readyz HTTP/1.1", Path::Ready, false),
            ("HEAD /page.js HTTP/1.1", Path::Script, true),
        ] {
            let bytes = [line.as_bytes(), b"\n\n"].concat();
            let asked = Asked::Get {
                path,
                head_only,
                open_metrics: false,
            };
            assert_eq!(read(&bytes), asked, "{line}");
        }
    }

    #[test]
    fn openmetrics_is_for_those_who_accept_it() {
        for (fields, expected) in [
            (
                "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
                true,
            ),
            ("aCCEPT: text/plain,appliAPPLICATION/OpenMetrics-Text", true),
            (
                "Accept: text/plain\r\nAccept: application/openmetrics-text",
                true,
            ),
            ("Accept: application/openmetrics-tex", false),
            ("Accept: application/open\r\nAccept:metrics-text", false),
            ("Accept: */*", false),
            ("Accept-X: application/openmetrics-text", false),
            ("X: Accept: application/openmetrics-text", false),
        ] {
            let bytes = ["GET /metrics HTTP/1.1\r\n", fields, "\r\n\r\n"].concat();
            let Asked::Get { open_metrics, .. } = read(bytes.as_bytes()) else {
                panic!("{fields}");
            };
            assert_eq!(open_metrics, expected, "{fields}");
        }
    }

    #[test]
    fn what_is_no_request_is_told_why() {
        for bytes in [
            &b"\x16\x03\x01"[..],
            b" / HTTP/1.1\r\n",
            b"GET  HTTP/1.1\r\n",
            b"GET / HTTP/2\r\n",
            b"GET /\r\n",
            b"GET / HTTP/1.1\r\n folded: x\r\n",
            b"GET / HTTP/1.1\r\nno name\r\n",
            b"GET / HTTP/1.1\r\nx: \0",
            b"GET / HTTP/1.1\rx",
            b"GET /\x7f HTTP/1.1\r\n",
        ] {
            assert_eq!(read(bytes), BAD, "{bytes:?}");
        }
        let not_allowed = Asked::Wrong("405 Method Not Allowed");
        assert_eq!(read(b"POST / HTTP/1.1\r\n\r\n"), not_allowed);
        let long = b"GETGETGETGETGETGETGETGET / HTTP/1.1\r\n\r\n";
        assert_eq!(read(long), not_allowed);
    }

    #[test]
    fn a_head_that_does_not_end_is_refused_at_its_limit() {
        for start in [&b"GET / HTTP/1.1\r\nX: "[..], b"GET /", b"G"] {
            let mut long = start.to_vec();
            long.resize(usize::from(MAX_HEAD) - 1, b'a');
            let mut head = Head::default();
            assert_eq!(head.read(&long), Asked::Incomplete);
            let too_large = Asked::Wrong("431 Request Header Fields Too Large");
            assert_eq!(head.read(b"a"), too_large);
        }
        let lines: Vec<u8> = b"\n".repeat(usize::from(MAX_HEAD));
        assert_ne!(read(&lines), Asked::Incomplete);
    }
}

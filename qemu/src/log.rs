//! What the guest prints on its serial port.
//!
//! Each line has the form `domain: text`, after the moment when the system runs. What these of the gateway's begin
//! with means something to the host; it is the whole agreement between the two:
//!
//! | text | meaning |
//! |---|---|
//! | `ready…` | the gateway listens on all its ports |
//! | `handshake ok …`, `handshake failed …` | one handshake is over; the rest tells how |
//! | `session ended …` | one session is over; the rest tells what it was, and how it ended |
//!
//! With `audit …` the director begins the line of one segment of a directed
//! handshake: microseconds, handshake, directive, bytes, what became of it.
//!
//! Where `[log]` says so, the monitor makes a JSON object of each line; it is read as the line
//! that it was made of.
//!
//! A line `fault: …` comes from the root task: a domain was stopped.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::log_file::LogFile;

/// Lines that are kept in memory; the file has them all.
const KEPT_LINES: usize = 20_000;
/// The end of what the kernel says of a processor that lacks something; it ends no line.
const KERNEL_HALTS: &str = " not supported by the processor";
/// A line is cut there.
const LONGEST_LINE: usize = 4096;

/// What a line says, without the domain that said it.
pub fn text(line: &str) -> &str {
    line.split_once(": ").map_or(line, |(_, text)| text)
}

/// What the gateway says, if a line is its own. Other domains are ready before
/// anything is served, and may say so.
fn of_gateway(line: &str) -> Option<&str> {
    line.strip_prefix("gateway: ")
}

/// A line without the moment before it, which the monitor puts there when the system runs:
/// `2026-11-28T09:30:05.000250Z `.
pub fn without_time(line: &str) -> &str {
    const FORM: &[u8] = b"0000-00-00T00:00:00.000000Z ";
    let Some((time, rest)) = line.split_at_checked(FORM.len()) else {
        return line;
    };
    let same = |(byte, form): (u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        _ => byte == *form,
    };
    if time.bytes().zip(FORM).all(same) {
        rest
    } else {
        line
    }
}

/// A line that the monitor made a JSON object of, as it would be otherwise, with all values
/// named; `None` of other lines.
pub fn of_json(line: &str) -> Option<String> {
    if !line.starts_with('{') {
        return None;
    }
    let object: serde_json::Map<String, Value> = serde_json::from_str(line).ok()?;
    let member = |name| object.get(name).and_then(Value::as_str);
    let (domain, message) = (member("domain")?, member("message")?);
    let mut text = match domain {
        // It names what its lines are of.
        "monitor" => message.to_string(),
        _ => format!("{domain}: {message}"),
    };
    let is_own = |name: &str| ["time", "domain", "message"].contains(&name);
    for (name, value) in object.iter().filter(|(name, _)| !is_own(name)) {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_string);
        text += &format!(" {name}={}", value.replace(' ', "+").escape_debug());
    }
    Some(text)
}

/// All lines of a log file, without their moments.
///
/// # Errors
/// It can't be read.
pub fn read(file: &Path) -> io::Result<String> {
    let text = std::fs::read_to_string(file)?;
    let lines: Vec<&str> = text.lines().map(without_time).collect();
    Ok(lines.join("\n"))
}

/// Whether the guest says that it serves.
pub fn is_ready(line: &str) -> bool {
    of_gateway(line).is_some_and(|text| text == "ready" || text.starts_with("ready "))
}

/// What a line says of a handshake that is over, if it does.
pub fn handshake(line: &str) -> Option<&str> {
    of_gateway(line)?.strip_prefix("handshake ")
}

/// What a line says of a session that is over, if it does.
pub fn session(line: &str) -> Option<&str> {
    of_gateway(line)?.strip_prefix("session ended ")
}

/// What the director says of one segment of a directed handshake, if a line does.
pub fn audit(line: &str) -> Option<&str> {
    line.strip_prefix("director: ")?.strip_prefix("audit ")
}

/// Whether the line tells that a domain was stopped.
pub fn is_fault(line: &str) -> bool {
    line.starts_with("fault: ")
}

/// Whether the line tells that the root task gave up, or the kernel before it: nothing
/// comes after it.
pub fn is_end(line: &str) -> bool {
    line.starts_with("panic at ") || is_kernel_s_last(line)
}

/// Whether the kernel says so of its processor: it names no domain.
fn is_kernel_s_last(line: &str) -> bool {
    line.ends_with(KERNEL_HALTS) && !line.contains(": ")
}

/// What a line of the root task says of why there is no system, if it does.
pub fn no_system(line: &str) -> Option<&str> {
    let text = line.strip_prefix("init: ")?;
    let is_reason = text.starts_with("no ") || text.starts_with("the plan can't");
    is_reason.then(|| text.strip_prefix("no system: ").unwrap_or(text))
}

/// The lines so far, and whether there will be more.
#[derive(Debug, Default)]
pub struct Log {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<String>,
    /// Lines that were dropped at the front.
    dropped: usize,
    ended: bool,
}

/// The result of waiting for a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A line, without its end.
    Line(String),
    /// Nothing before the deadline.
    Silence,
    /// There will be no more lines.
    End,
}

/// A place in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(usize);

impl Log {
    /// The place after the last line.
    pub fn end(&self) -> Cursor {
        let state = self.lock();
        Cursor(state.dropped + state.lines.len())
    }

    /// The line at `cursor`, which moves on; waits for it until `deadline`.
    pub fn next(&self, cursor: &mut Cursor, deadline: Instant) -> Next {
        let mut state = self.lock();
        loop {
            cursor.0 = cursor.0.max(state.dropped);
            if let Some(line) = state.lines.get(cursor.0 - state.dropped) {
                cursor.0 += 1;
                return Next::Line(line.clone());
            }
            if state.ended {
                return Next::End;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Silence;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// The first line at or after `cursor` that `wanted` accepts; waits for it
    /// for `patience`.
    pub fn find(
        &self,
        mut cursor: Cursor,
        patience: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let deadline = Instant::now() + patience;
        loop {
            match self.next(&mut cursor, deadline) {
                Next::Line(line) if wanted(&line) => return Some(line),
                Next::Line(_) => {}
                Next::Silence | Next::End => return None,
            }
        }
    }

    /// The lines at and after `cursor`.
    pub fn since(&self, cursor: Cursor) -> Vec<String> {
        let state = self.lock();
        let skipped = cursor.0.saturating_sub(state.dropped);
        state.lines.iter().skip(skipped).cloned().collect()
    }

    /// The last `count` lines, in one text.
    pub fn tail(&self, count: usize) -> String {
        let state = self.lock();
        let skipped = state.lines.len().saturating_sub(count);
        let lines: Vec<&str> = state
            .lines
            .iter()
            .skip(skipped)
            .map(String::as_str)
            .collect();
        lines.join("\n")
    }

    /// Reads lines to the end of `source`, into `file` too.
    pub(crate) fn fill(&self, mut source: impl Read, mut file: Option<LogFile>) {
        let mut buffer = [0; 4096];
        let mut line = Vec::new();
        let mut lost = 0;
        loop {
            let read = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => buffer.get(..read).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            if let Some(file) = &mut file {
                // A full disk must not stop the machine; what is lost meanwhile is told.
                lost = match file.write_after(lost, read) {
                    Ok(()) => 0,
                    Err(_) => lost + read.len(),
                };
            }
            for byte in read {
                match byte {
                    b'\n' => self.push(&std::mem::take(&mut line)),
                    b'\r' => {}
                    _ if line.len() < LONGEST_LINE => line.push(*byte),
                    _ => {}
                }
            }
            if is_kernel_s_last(&String::from_utf8_lossy(&line)) {
                self.push(&std::mem::take(&mut line));
            }
        }
        if !line.is_empty() {
            self.push(&line);
        }
    }

    /// Tells that there will be no more lines.
    pub(crate) fn finish(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    fn push(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = of_json(&line).unwrap_or_else(|| without_time(&line).to_owned());
        let mut state = self.lock();
        if state.lines.len() == KEPT_LINES {
            state.lines.pop_front();
            state.dropped += 1;
        }
        state.lines.push_back(line);
        drop(state);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the lines as they are.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(bytes: &[u8]) -> Log {
        let log = Log::default();
        log.fill(bytes, None);
        log
    }

    #[test]
    fn lines_of_the_guest_are_told_apart() {
        assert!(is_ready("gateway: ready"));
        assert!(is_ready("gateway: ready 443 444"));
        assert!(!is_ready("gateway: not ready"));
        assert!(!is_ready("gateway: readying"));
        assert!(!is_ready("offload-server: ready"));
        assert_eq!(handshake("netstack-server: handshake x"), None);
        assert_eq!(handshake("gateway: handshake TLS 1.3"), Some("TLS 1.3"));
        assert_eq!(session("gateway: session ended web x"), Some("web x"));
        let stamped = "2026-11-28T09:30:05.000250Z gateway: ready";
        assert_eq!(without_time(stamped), "gateway: ready");
        for other in [
            "gateway: ready",
            "2026-11-28 09:30:05.000250Z gateway: x",
            "",
            "é",
        ] {
            assert_eq!(without_time(other), other);
        }
        assert_eq!(no_system("init: no system: no NIC"), Some("no NIC"));
        assert_eq!(no_system("init: no plan"), Some("no plan"));
        assert_eq!(no_system("init: 7 domains"), None);
        assert_eq!(no_system("gateway: no system: x"), None);
        let halts = "fsgsbase instructions not supported by the processor";
        assert!(is_end(halts) && is_end("panic at image/init/src/main.rs:70: no system"));
        assert!(!is_end(&format!("gateway: {halts}")));
        let split = filled(format!("gateway: {halts}gateway: ready\n").as_bytes());
        assert_eq!(
            split.end(),
            Cursor(1),
            "no domain ends a line in the middle"
        );
        assert!(is_fault("fault: gateway: page fault"));
        assert!(!is_fault("gateway: fault: none"));
    }

    #[test]
    fn lines_in_json_mean_the_same() {
        let lines = [
            r#"{"time":"2026-11-28T09:30:05.000250Z","domain":"gateway","message":"ready"}"#,
            r#"{"time":"","domain":"monitor","message":"fault: gateway: page fault"}"#,
            r#"{"time":"","domain":"gateway","message":"session ended","up":7,"subject":"a b\n"}"#,
            r#"{"domain":"gateway"}"#,
        ];
        let log = filled(lines.join("\n").as_bytes());
        let read = log.since(Cursor::default());
        assert!(is_ready(&read[0]) && is_fault(&read[1]), "{read:?}");
        let ended = session(&(read[2].clone() + " ")).map(str::to_string);
        assert_eq!(ended.as_deref(), Some("subject=a+b\\n up=7 "));
        assert_eq!(read[3], lines[3]);
    }

    #[test]
    fn bytes_that_are_no_text_and_a_last_line_without_end_are_kept() {
        let log = filled(b"one\r\n\xfftwo\nrest");
        assert_eq!(log.since(Cursor::default()), ["one", "\u{fffd}two", "rest"]);
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let log = filled(&[b'x'; 3 * LONGEST_LINE]);
        assert_eq!(log.tail(1).len(), LONGEST_LINE);
    }

    #[test]
    fn old_lines_are_dropped_and_a_cursor_goes_on_after_them() {
        let log = filled("x\n".repeat(KEPT_LINES + 7).as_bytes());
        let mut cursor = Cursor::default();
        assert_eq!(
            log.next(&mut cursor, Instant::now()),
            Next::Line("x".into())
        );
        assert_eq!(cursor, Cursor(8));
        assert_eq!(log.end(), Cursor(KEPT_LINES + 7));
    }

    #[test]
    fn the_end_of_the_log_is_told_from_silence() {
        let log = Log::default();
        let mut cursor = Cursor::default();
        assert_eq!(log.next(&mut cursor, Instant::now()), Next::Silence);
        log.fill(&b"a\n"[..], None);
        log.finish();
        let deadline = Instant::now() + Duration::from_secs(60);
        assert_eq!(log.next(&mut cursor, deadline), Next::Line("a".into()));
        assert_eq!(log.next(&mut cursor, deadline), Next::End);
    }
}

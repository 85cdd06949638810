//! How much of a listener one client address may have, and how long the gateway
//! waits.

use ipc::provision::{Backend, Limits, Timeouts};

use crate::problem::Problem;
use crate::words::{Word, Words};

/// The keys of a `limits` table.
const LIMIT_WORDS: [&str; 4] = ["connections", "handshakes", "sessions", "ipv6_prefix"];
/// Less is too short for a distant peer.
const MIN_TIMEOUT_MS: u32 = 100;
/// Ten minutes, as for handshakes.
const MAX_TIMEOUT_MS: u32 = 600_000;

/// Reads the table `limits` of a listener.
pub(crate) fn read(listener: &Words<'_>) -> Result<Limits, Problem> {
    let mut limits = Limits::default();
    let Some(word) = listener.optional("limits") else {
        return Ok(limits);
    };
    let words = word.table("limits", &LIMIT_WORDS)?;
    let counts = [
        ("connections", &mut limits.connections),
        ("handshakes", &mut limits.handshakes),
        ("sessions", &mut limits.sessions),
    ];
    for (name, limit) in counts {
        if let Some(word) = words.optional(name) {
            *limit = count(word)?;
        }
    }
    if let Some(word) = words.optional("ipv6_prefix") {
        // The range ends below what u8 does.
        limits.ipv6_prefix = u8::try_from(word.number(1..=128)?).unwrap_or(u8::MAX);
    }
    Ok(limits)
}

fn count(word: Word<'_>) -> Result<u16, Problem> {
    // The range ends where u16 does.
    Ok(u16::try_from(word.number(1..=u32::from(u16::MAX))?).unwrap_or(u16::MAX))
}

/// Reads the time-outs of a listener.
pub(crate) fn timeouts(listener: &Words<'_>, backend: &Backend) -> Result<Timeouts, Problem> {
    let mut timeouts = Timeouts::default();
    if let Some(word) = listener.optional("idle_timeout_ms") {
        timeouts.idle_ms = word.number(MIN_TIMEOUT_MS..=Timeouts::MAX_IDLE_MS)?;
    }
    if let Some(word) = listener.optional("request_timeout_ms") {
        if *backend != Backend::Status {
            return Err(word.problem(
                "request_timeout_ms is for the status page, which this listener does not show",
                "take it out; a backend that speaks HTTP has a time-out of its own",
            ));
        }
        timeouts.request_ms = word.number(MIN_TIMEOUT_MS..=MAX_TIMEOUT_MS)?;
    }
    if let Some(word) = listener.optional("connect_timeout_ms") {
        if *backend == Backend::Status {
            return Err(word.problem(
                "connect_timeout_ms is for a backend, and the status page is none",
                "take it out, or write backend = { connect = \"10.0.2.2:8080\" }",
            ));
        }
        timeouts.connect_ms = word.number(MIN_TIMEOUT_MS..=MAX_TIMEOUT_MS)?;
    }
    if let Some(word) = listener.optional("linger_timeout_ms") {
        timeouts.linger_ms = word.number(MIN_TIMEOUT_MS..=MAX_TIMEOUT_MS)?;
    }
    Ok(timeouts)
}

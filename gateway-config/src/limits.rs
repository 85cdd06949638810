//! How much of a listener one client address may have, and how long the gateway
//! waits.

use ipc::provision::{Backend, Limits, Timeouts};

use crate::problem::Reported;
use crate::reference::{Key, Kind, Need, Table};
use crate::words::{Word, Words, if_there};

/// Less is too short for a distant peer.
const MIN_TIMEOUT_MS: u32 = 100;
/// Ten minutes, as for handshakes.
const MAX_TIMEOUT_MS: u32 = 600_000;

/// A number of connections, handshakes or sessions.
const COUNT: Kind = Kind::Number {
    least: 1,
    most: u16::MAX as u32,
    unit: "at once",
};

/// The table `limits`.
pub(crate) static TABLE: Table = Table {
    name: "limits",
    about: "What one client address may have at once, of all listeners together.",
    keys: &[
        Key {
            name: "connections",
            kind: COUNT,
            need: Need::Default(|| Limits::default().connections.to_string()),
            example: "1536",
            meaning: "Connections; one with a backend counts for the client that it is for.",
        },
        Key {
            name: "handshakes",
            kind: COUNT,
            need: Need::Default(|| Limits::default().handshakes.to_string()),
            example: "192",
            meaning: "Handshakes in progress.",
        },
        Key {
            name: "sessions",
            kind: COUNT,
            need: Need::Default(|| Limits::default().sessions.to_string()),
            example: "528",
            meaning: "Sessions; one with a backend counts for the client that it is for.",
        },
        Key {
            name: "ipv6_prefix",
            kind: Kind::Number {
                least: 1,
                most: 128,
                unit: "bits",
            },
            need: Need::Default(|| Limits::default().ipv6_prefix.to_string()),
            example: "64",
            meaning: "With so many bits of an IPv6 address the client is counted.",
        },
    ],
};

/// `idle_timeout_ms` of a listener.
pub(crate) const IDLE: Key = Key {
    name: "idle_timeout_ms",
    kind: Kind::Number {
        least: MIN_TIMEOUT_MS,
        most: Timeouts::MAX_IDLE_MS,
        unit: "ms",
    },
    need: Need::Default(|| Timeouts::default().idle_ms.to_string()),
    example: "60000",
    meaning: "For so long no byte may move either way.",
};

/// `request_timeout_ms` of a listener.
pub(crate) const REQUEST: Key = Key {
    name: "request_timeout_ms",
    kind: TIMEOUT,
    need: Need::Default(|| Timeouts::default().request_ms.to_string()),
    example: "5000",
    meaning: "Status page: for a request's head to be whole, and then for the answer to be read.",
};

/// `connect_timeout_ms` of a listener.
pub(crate) const CONNECT: Key = Key {
    name: "connect_timeout_ms",
    kind: TIMEOUT,
    need: Need::Default(|| Timeouts::default().connect_ms.to_string()),
    example: "5000",
    meaning: "For the backend to take a connection; not with the status page.",
};

/// `linger_timeout_ms` of a listener.
pub(crate) const LINGER: Key = Key {
    name: "linger_timeout_ms",
    kind: TIMEOUT,
    need: Need::Default(|| Timeouts::default().linger_ms.to_string()),
    example: "5000",
    meaning: "For the last bytes to go out when the other end was cut off.",
};

const TIMEOUT: Kind = Kind::Number {
    least: MIN_TIMEOUT_MS,
    most: MAX_TIMEOUT_MS,
    unit: "ms",
};

/// Reads the table.
pub(crate) fn read(word: Word<'_>) -> Result<Limits, Reported> {
    let words = word.table()?;
    let count = |name| if_there(words.optional(name), |word| word.number::<u16>());
    let (connections, handshakes) = (count("connections"), count("handshakes"));
    let sessions = count("sessions");
    let ipv6_prefix = if_there(words.optional("ipv6_prefix"), |word| word.number());
    let without = Limits::default();
    Ok(Limits {
        connections: connections?.unwrap_or(without.connections),
        handshakes: handshakes?.unwrap_or(without.handshakes),
        sessions: sessions?.unwrap_or(without.sessions),
        ipv6_prefix: ipv6_prefix?.unwrap_or(without.ipv6_prefix),
    })
}

/// Reads the time-outs of a listener; what its backend is, where that is known, says
/// which it can have.
pub(crate) fn timeouts(
    listener: &Words<'_>,
    backend: Option<&Backend>,
) -> Result<Timeouts, Reported> {
    let read = |name| if_there(listener.optional(name), |word| word.number());
    let idle = read(IDLE.name);
    let request = if_there(listener.optional(REQUEST.name), |word| {
        if backend.is_some_and(|backend| *backend != Backend::Status) {
            return Err(word.problem(
                "request_timeout_ms is for the status page, which this listener does not show",
                "take it out; a backend that speaks HTTP has a time-out of its own",
            ));
        }
        word.number()
    });
    let connect = if_there(listener.optional(CONNECT.name), |word| {
        if backend == Some(&Backend::Status) {
            return Err(word.problem(
                "connect_timeout_ms is for a backend, and the status page is none",
                "take it out, or write backend = { connect = \"10.0.2.2:8080\" }",
            ));
        }
        word.number()
    });
    let linger = read(LINGER.name);
    let without = Timeouts::default();
    Ok(Timeouts {
        idle_ms: idle?.unwrap_or(without.idle_ms),
        request_ms: request?.unwrap_or(without.request_ms),
        connect_ms: connect?.unwrap_or(without.connect_ms),
        linger_ms: linger?.unwrap_or(without.linger_ms),
    })
}

//! The table `[log]`.

use ipc::provision::{LogFormat, LogWords};

use crate::problem::Reported;
use crate::reference::{Key, Kind, Need, Table};
use crate::words::{Word, if_there};

/// By their names.
const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// The table.
pub(crate) static TABLE: Table = Table {
    name: "[log]",
    about: "What is logged. Each line tells its moment in UTC (RFC 3339) and the domain; faults \
            and restarts are always told.",
    keys: &[
        Key {
            name: "format",
            kind: Kind::Choice(|| FORMATS.map(|(name, _)| name).to_vec()),
            need: Need::Default(|| "\"text\"".to_string()),
            example: "\"text\"",
            meaning: "What a line is: words, or a JSON object with the same as members. Lines \
                      from before the domains run, and a panic, are words.",
        },
        Key {
            name: "failures",
            kind: Kind::Flag,
            need: Need::Default(|| "true".to_string()),
            example: "true",
            meaning: "Lines for handshakes and backends that failed, and clients that were \
                      turned away; the metrics count them all the same.",
        },
        Key {
            name: "sessions",
            kind: Kind::Flag,
            need: Need::Default(|| "true".to_string()),
            example: "true",
            meaning: "A line for each session at its end: what was agreed on, with whom, how \
                      many bytes, how long, who ended it and why.",
        },
        Key {
            name: "handshakes",
            kind: Kind::Flag,
            need: Need::Default(|| "false".to_string()),
            example: "false",
            meaning: "A line for each handshake that succeeds, with the positions of both \
                      connections and check values of the keys.",
        },
    ],
};

/// Reads the table.
pub(crate) fn read(word: Word<'_>) -> Result<LogWords, Reported> {
    let words = word.table()?;
    let format = if_there(words.optional("format"), |word| word.choice(&FORMATS));
    let failures = if_there(words.optional("failures"), |word| word.flag());
    let sessions = if_there(words.optional("sessions"), |word| word.flag());
    let handshakes = if_there(words.optional("handshakes"), |word| word.flag());
    let default = LogWords::default();
    Ok(LogWords {
        format: format?.unwrap_or(default.format),
        failures: failures?.unwrap_or(default.failures),
        sessions: sessions?.unwrap_or(default.sessions),
        handshakes: handshakes?.unwrap_or(default.handshakes),
    })
}

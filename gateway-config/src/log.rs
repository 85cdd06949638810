//! The table `[log]`.

use ipc::provision::LogWords;

use crate::problem::Reported;
use crate::reference::{Key, Kind, Need, Table};
use crate::words::{Word, if_there};

/// The table.
pub(crate) static TABLE: Table = Table {
    name: "[log]",
    about: "What the gateway logs besides failures, which it always does. Each line begins \
            with its moment in UTC (RFC 3339) and the domain.",
    keys: &[
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
    let sessions = if_there(words.optional("sessions"), |word| word.flag());
    let handshakes = if_there(words.optional("handshakes"), |word| word.flag());
    let default = LogWords::default();
    Ok(LogWords {
        sessions: sessions?.unwrap_or(default.sessions),
        handshakes: handshakes?.unwrap_or(default.handshakes),
    })
}

//! What the gateway writes to the log.

use serde::{Deserialize, Serialize};

/// What the gateway logs, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogWords {
    /// What a line is.
    pub format: LogFormat,
    /// Lines for what failed.
    pub failures: bool,
    /// A line for each session at its end.
    pub sessions: bool,
    /// A line for each handshake that succeeds.
    pub handshakes: bool,
}

impl Default for LogWords {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            failures: true,
            sessions: true,
            handshakes: false,
        }
    }
}

/// What a line of the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    /// Words.
    #[default]
    Text,
    /// A JSON object, which the monitor makes of the words: each value has a name.
    Json,
}

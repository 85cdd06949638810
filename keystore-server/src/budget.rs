//! What this domain holds at most. No peer makes it hold anything: a request is answered
//! before the next is taken.

use ipc::budget::{Line, block};
use ipc::keystore::{MAX_ENCRYPTED, MAX_PART};
use ipc::provision::update;
use ipc::transport::MAX_MESSAGE;

/// Key rings as a table of them is handed over: no longer than an update may be.
const KEYRINGS: usize = block(update::MAX);

/// A request with its answer, and what a signature or a decryption takes: *ring*'s and
/// `rsa`'s numbers of up to 4,096 bits.
const IN_WORK: usize = 2 * block(MAX_MESSAGE) + block(MAX_PART) + block(MAX_ENCRYPTED) + 64 * 1024;

/// The table.
pub const fn budget() -> [Line; 3] {
    const fn line(what: &'static str, count: usize, bytes: usize) -> Line {
        Line { what, count, bytes }
    }
    [
        // In use; as they come by the line for updates; and opened, before they are used.
        line("key rings", 3, KEYRINGS),
        // Parsed keys beside the bytes that they were made of.
        line("private keys", 3, KEYRINGS),
        line("fixed", 1, IN_WORK),
    ]
}

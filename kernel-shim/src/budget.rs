//! What this domain holds at most.

use core::mem::size_of;

use ipc::budget::{Line, block};
use ipc::channel::SlotIndex;
use ipc::control::{Established, Parameters};
use ipc::mailbox::MAX_LETTER;
use ipc::segment::MAX_PART;

use crate::directed::{Directed, MAX_CERTIFICATE};
use crate::server::{HANDSHAKE_PLACE, MAX_COLLECTING, SESSION_PLACE};

/// A handshake with its state machine (or, later, its result), its request, and the
/// first part of a message that it waits to collect; a template on its way.
const HANDSHAKE: usize = HANDSHAKE_PLACE
    + block(size_of::<Directed>())
    + block(size_of::<Parameters>())
    + block(size_of::<Established>())
    + block(MAX_PART)
    + 1024;

/// A message that is being collected: no state's limit is longer.
const COLLECTED: usize = block(MAX_CERTIFICATE as usize);

/// Mailboxes' buffers, a message being decoded, and the names of a table's places.
const FIXED: usize = 4 * block(MAX_LETTER) + 2 * block(4 * 1024) + 32 * 1024;

/// For so many slots.
pub const fn budget(handshakes: u16, sessions: u16) -> [Line; 4] {
    const fn line(what: &'static str, count: usize, bytes: usize) -> Line {
        Line { what, count, bytes }
    }
    let order = 2 * size_of::<(SlotIndex, u16)>() + 2 * size_of::<SlotIndex>() + 8;
    [
        line("handshakes", handshakes as usize, HANDSHAKE + order),
        line(
            "sessions",
            sessions as usize,
            SESSION_PLACE + 2 * size_of::<SlotIndex>() + 8,
        ),
        line("messages being collected", MAX_COLLECTING, COLLECTED),
        line("fixed", 1, FIXED),
    ]
}

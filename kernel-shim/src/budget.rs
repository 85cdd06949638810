//! What this domain holds at most.

use core::mem::size_of;

use ipc::budget::{Line, block};
use ipc::channel::SlotIndex;
use ipc::control::Established;
use ipc::mailbox::MAX_LETTER;

use crate::server::{HANDSHAKE_PLACE, SESSION_PLACE};

/// A handshake and its result.
const HANDSHAKE: usize = HANDSHAKE_PLACE + block(size_of::<Established>());

/// Mailboxes' buffers, a message being decoded, and the lists of what is looked at one by one.
const FIXED: usize = 5 * block(MAX_LETTER) + 2 * block(4 * 1024) + 8 * 1024;

/// For so many slots.
pub const fn budget(handshakes: u16, sessions: u16) -> [Line; 3] {
    const fn line(what: &'static str, count: usize, bytes: usize) -> Line {
        Line { what, count, bytes }
    }
    // Each place with its name, in the lists of all of a table, too.
    let names = 4 * size_of::<SlotIndex>() + 8;
    let handshake = HANDSHAKE + size_of::<(SlotIndex, u16)>() + names;
    [
        line("handshakes", handshakes as usize, handshake),
        line("sessions", sessions as usize, SESSION_PLACE + names),
        line("fixed", 1, FIXED),
    ]
}

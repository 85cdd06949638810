//! What this domain holds at most.

use core::mem::size_of;

use ipc::budget::{Line, block};
use ipc::channel::{Pool, SlotIndex};
use ipc::mailbox::MAX_LETTER;
use ipc::queue::MAX_QUEUED;
use ipc::record::{
    MAX_EXPORT, MAX_EXPORT_CONTEXT, MAX_EXPORT_LABEL, MAX_EXPORT_PART, MAX_PEER_CERTIFICATE,
    MAX_POST_HANDSHAKE,
};
use tls::protection::Key;
use tls::record::{HEADER, MAX_BODY, MAX_PLAINTEXT, MAX_RECORD};

use crate::assembly;
use crate::messages::SMALL;
use crate::server::PLACE;
use crate::session::{MAX_URGENT, Session};
use crate::tickets::BUFFERS;

/// A session with all that its peer can make it hold.
const SESSION: usize = block(size_of::<Session>())
    + 2 * block(Key::HEAP)
    + block(MAX_PEER_CERTIFICATE)
    + block(MAX_URGENT)
    + block(SMALL);

/// What the tables hold for a slot, used or not: its place, the three queues, what is lent to
/// it, and where the last event of each channel stands.
const SLOT: usize =
    PLACE + 3 * size_of::<SlotIndex>() + 2 * Pool::HEAP_OF_SLOT + 2 * size_of::<u32>();

/// A ticket that has begun, and a record that came after it, twice while it grows.
const BUFFER: usize = 2 * block(MAX_POST_HANDSHAKE + MAX_PLAINTEXT);

/// What is asked for and derived when keying material is exported, and a part of it.
const EXPORT: usize = block(MAX_EXPORT_LABEL)
    + 2 * block(MAX_EXPORT_CONTEXT + 128)
    + block(MAX_EXPORT)
    + block(MAX_EXPORT_PART);

/// The record in work, the queue's buffer, a question with its encoding, what is exported, and
/// the accounts of what is lent.
const FIXED: usize = block(HEADER + MAX_BODY)
    + block(MAX_QUEUED + MAX_LETTER)
    + 2 * block(MAX_POST_HANDSHAKE)
    + 2 * block(Pool::HEAP)
    + EXPORT
    + 4096;

/// For `sessions` slots of the channels.
pub const fn budget(sessions: u16) -> [Line; 5] {
    [
        Line {
            what: "sessions",
            count: sessions as usize,
            bytes: SESSION,
        },
        Line {
            what: "session slots",
            count: sessions as usize,
            bytes: SLOT,
        },
        Line {
            what: "buffers for tickets",
            count: BUFFERS,
            bytes: BUFFER,
        },
        Line {
            what: "records without room in a ring",
            count: assembly::BUFFERS,
            bytes: block(MAX_RECORD),
        },
        Line {
            what: "fixed",
            count: 1,
            bytes: FIXED,
        },
    ]
}

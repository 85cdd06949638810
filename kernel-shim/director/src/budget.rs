//! What directed handshakes hold at most.

use core::mem::size_of;

use ipc::budget::{Line, block};
use ipc::channel::SlotIndex;
use ipc::control::Parameters;
use ipc::mailbox::MAX_LETTER;
use ipc::segment::MAX_PART;

use crate::client_hello::ClientHello;
use crate::director::{MAX_COLLECTING, PLACE};
use crate::handshake::Handshake;
use crate::negotiation::Plan;
use crate::script::MAX_COLLECTED;
use crate::tls12_server::Facts;

/// A state machine with the hello that it is about, what is agreed on, its request, and the
/// first part of a message that it waits to collect.
const HANDSHAKE: usize = PLACE
    + block(size_of::<Handshake>())
    + block(size_of::<Parameters>())
    + block(MAX_PART)
    + block(size_of::<ClientHello>())
    + block(size_of::<Plan>())
    + size_of::<(SlotIndex, u16)>();

/// What is agreed on is one of these.
const _: () = assert!(size_of::<Facts>() <= size_of::<Plan>());

/// A message that is being collected.
const COLLECTED: usize = block(MAX_COLLECTED as usize);

/// Mailboxes' buffers, a message being decoded and one that is made, places of events.
const FIXED: usize = 2 * block(MAX_LETTER) + 2 * block(4 * 1024) + 16 * 1024;

/// For so many slots.
pub const fn budget(handshakes: u16) -> [Line; 3] {
    [
        Line {
            what: "directed handshakes",
            count: handshakes as usize,
            bytes: HANDSHAKE,
        },
        Line {
            what: "messages being collected",
            count: MAX_COLLECTING,
            bytes: COLLECTED,
        },
        Line {
            what: "fixed",
            count: 1,
            bytes: FIXED,
        },
    ]
}

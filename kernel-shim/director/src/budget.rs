//! What directed handshakes hold at most.

use core::mem::size_of;

use ipc::budget::{Line, block};
use ipc::channel::SlotIndex;
use ipc::control::Parameters;
use ipc::segment::MAX_PART;

use crate::director::{MAX_COLLECTING, PLACE};
use crate::handshake::Handshake;
use crate::script::MAX_CERTIFICATE;

/// A state machine, its request, and the first part of a message that it waits to
/// collect; a template on its way.
const HANDSHAKE: usize = PLACE
    + block(size_of::<Handshake>())
    + block(size_of::<Parameters>())
    + block(MAX_PART)
    + 1024
    + size_of::<(SlotIndex, u16)>();

/// A message that is being collected: no state's limit is longer.
const COLLECTED: usize = block(MAX_CERTIFICATE as usize);

/// For so many slots.
pub const fn budget(handshakes: u16) -> [Line; 2] {
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
    ]
}

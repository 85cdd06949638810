//! The most heap that the gateway uses, by what it is used for: counts come from the
//! system description and the configuration, bytes from the types. The builder refuses
//! an image in which the sum is more than the heap.
//!
//! ```text
//! FIXED + sessions * SESSION + connections * CONNECTION + handshakes * HANDSHAKE
//!       + listeners * LISTENER + rules * RULE + PAGES * PAGE
//! ```

use alloc::string::String;

use ipc::budget::Line;
use ipc::channel::Pool;
use ipc::provision::{Listener, Prefix, Rule};
use ipc::tls::Protocol;

use crate::backends::Backends;
use crate::forward::CHUNK;
use crate::guests::Guests;
use crate::handshakes::Handshakes;
use crate::log_rate::LogRate;
use crate::page::MAX_BODY;
use crate::pages::MAX_PAGES;
use crate::relay::{Agreed, Relay, RelayId};
use crate::server::Use;
use crate::standing::Standings;
use crate::table::Table;
use crate::turned_away::TurnedAway;
use crate::waiting::Waiting;

/// What the allocator adds to a block, and rounds it up by.
const BLOCK: usize = 32;
/// Bytes of a name in the configuration, at the most.
const MAX_NAME: usize = 253;
/// Values of each key of a rule, at most.
const MAX_VALUES: usize = 16;

/// A channel's note of the last event of a slot.
const EVENT: usize = size_of::<u32>();
/// A relay: its place, its turn, its place in the queue of those that wait, its client's
/// address.
const RELAY: usize = Table::<Relay>::PLACE + size_of::<RelayId>() + Waiting::PLACE + Guests::PLACE;

/// What exists once: the buffer, the accounts of what is lent to both channels, clients that
/// wait and their addresses, addresses and what is known of them, the view of other domains,
/// and temporaries: a ClientHello that is peeked at with its contents, requests, headers.
pub const FIXED: usize = CHUNK
    + 2 * (Pool::HEAP + BLOCK)
    + Waiting::FIXED
    + Waiting::MOST * Guests::PLACE
    + Standings::TABLES
    + 2 * CHUNK
    + 16 * 1024;
/// For each slot of the channel to the record layer, with what the log says of it at its
/// end.
pub const SESSION: usize =
    RELAY + size_of::<Option<RelayId>>() + EVENT + Pool::HEAP_OF_SLOT + Agreed::MOST + BLOCK;
/// For each slot of the channel to the network stack.
pub const CONNECTION: usize = RELAY + size_of::<Use>() + EVENT + Pool::HEAP_OF_SLOT;
/// For each handshake at once.
pub const HANDSHAKE: usize = Handshakes::PLACE + Guests::PLACE;
/// For each listener.
pub const LISTENER: usize = size_of::<Listener>()
    + TurnedAway::PLACE
    + LogRate::PLACE
    + Handshakes::LISTENER
    + Backends::PLACE
    + Waiting::OF_LISTENER
    + MAX_NAME
    + BLOCK;
/// For each rule of a listener.
pub const RULE: usize = size_of::<Rule>()
    + MAX_VALUES * (size_of::<Prefix>() + size_of::<String>() + MAX_NAME + BLOCK)
    + MAX_VALUES * size_of::<Protocol>()
    + 3 * BLOCK;
/// For each page that is made at once.
pub const PAGE: usize = MAX_BODY + BLOCK;
/// How many are.
pub const PAGES: usize = MAX_PAGES;

pub use crate::handshakes::most_with_backends;

/// Listeners and rules that a configuration may have: more do not fit into what the
/// builder hands over.
pub const LISTENERS: usize = 128;
/// See [`LISTENERS`].
pub const RULES: usize = 320;

/// As a table.
pub const fn budget(sessions: u16, connections: u16, handshakes: u16) -> [Line; 7] {
    const fn line(what: &'static str, count: usize, bytes: usize) -> Line {
        Line { what, count, bytes }
    }
    [
        line("sessions", sessions as usize, SESSION),
        line("connections", connections as usize, CONNECTION),
        line("handshakes", handshakes as usize, HANDSHAKE),
        line("listeners", LISTENERS, LISTENER),
        line("rules", RULES, RULE),
        line("pages", PAGES, PAGE),
        line("fixed", 1, FIXED),
    ]
}

/// The sum for these counts.
pub const fn heap(
    sessions: usize,
    connections: usize,
    handshakes: usize,
    listeners: usize,
    rules: usize,
) -> usize {
    FIXED
        + sessions * SESSION
        + connections * CONNECTION
        + handshakes * HANDSHAKE
        + listeners * LISTENER
        + rules * RULE
        + PAGES * PAGE
}

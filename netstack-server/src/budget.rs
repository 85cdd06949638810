//! The most bytes of heap of what a peer can make the network stack hold.
//!
//! Each is a bound, computed from the limits and from the sizes of the types;
//! `tests/budget.rs` fills every table and looks at the heap.

use core::mem::size_of;
use core::net::IpAddr;

use ipc::budget::Line;
use ipc::channel::Pool;
use ipc::clock::Instant;
use smoltcp::iface::SocketStorage;

use crate::admission::{Count, Crowd, MOST_RELEASED, Peer};
use crate::config::Limits;
use crate::connection::Connection;
use crate::list::Link;
use crate::listener::Listener;
use crate::path::{Narrow, PATHS};
use crate::sequence::Tuple;
use crate::table::Place;

/// What an allocation costs besides its bytes: the allocator's word, and rounding
/// up to its unit of 32 bytes (talc 5.1).
pub const ALLOCATION: usize = 40;

/// Of an entry of a `BTreeMap`: a node has room for 11 and is half full at the
/// least, with one parent's edge for each node.
const fn entry(bytes: usize) -> usize {
    let node = 11 * bytes + 12 * size_of::<usize>() + 32 + ALLOCATION;
    node.div_ceil(4)
}

/// Of a connection's places that are made at the start: in the table, among the free
/// ones, those that wait for their client, the touched ones, those that wait for a
/// neighbour, those that hold bytes between owners, those of its peer, those that may be
/// evicted.
const TABLES: usize =
    size_of::<Place>() + 2 * size_of::<u32>() + 4 * size_of::<Link>() + size_of::<u128>();

/// Of any connection, without the buffers of its socket.
const CONNECTION: usize = size_of::<Connection>()
    + size_of::<SocketStorage<'static>>()
    + 4 * ALLOCATION
    // By the two ends, by the timer, by the peer.
    + entry(size_of::<(Tuple, u32)>())
    + entry(size_of::<(Instant, u32)>())
    + entry(size_of::<(Peer, Count)>())
    // Each peer that has many has more than so many connections.
    + entry(size_of::<Crowd>()) / MOST_RELEASED as usize;

/// Of any connection, with the buffers that it has however many there are.
pub const WITH_SOCKET: usize = CONNECTION + Limits::SHIPPED.least.bytes();

/// Of all sockets together beside those.
pub const LENT: usize = Limits::SHIPPED.lent;

/// Between two owners, of all connections together.
pub const OVERFLOW: usize = Limits::SHIPPED.overflow;

/// Of a listener.
pub const LISTENER: usize =
    2 * size_of::<Listener>() + entry(size_of::<(u16, u16)>()) + 3 * ALLOCATION;

/// Of a narrow path that is remembered.
pub const PATH: usize = size_of::<(IpAddr, Narrow)>();

/// Of the sockets that are kept for the next connections. Their buffers are among
/// those of all.
pub const SPARE: usize = Limits::SHIPPED.spare
    * (size_of::<SocketStorage<'static>>() + 3 * ALLOCATION + Limits::SHIPPED.accepted.bytes());

/// What there is without any peer: room in the tables, two frames, narrow paths,
/// the DHCP client, the channels' slots and what is lent to them, the description.
/// Neighbours and routers are in the network stack itself, which is on no heap.
pub const fn fixed(limits: &Limits) -> usize {
    limits.connections * (TABLES + Pool::HEAP_OF_SLOT) + 2 * Pool::HEAP + PATHS * PATH + 64 * 1024
}

/// Of the whole network stack, with as many listeners.
pub const fn most(limits: &Limits, listeners: usize) -> usize {
    let spare = SPARE - limits.spare * limits.accepted.bytes();
    fixed(limits)
        + spare
        + limits.connections * CONNECTION
        + limits.memory()
        + limits.overflow
        + listeners * LISTENER
}

/// As a table, for `xtask policy`.
pub const fn budget(limits: &Limits, listeners: usize) -> [Line; 7] {
    const fn line(what: &'static str, count: usize, bytes: usize) -> Line {
        Line { what, count, bytes }
    }
    [
        line("connections", limits.connections, CONNECTION),
        line("bytes of their sockets", 1, limits.memory()),
        line("bytes between two owners", 1, limits.overflow),
        line("listeners", listeners, LISTENER),
        line("narrow paths", PATHS, PATH),
        line(
            "spare sockets",
            1,
            SPARE - limits.spare * limits.accepted.bytes(),
        ),
        line("fixed", 1, fixed(limits) - PATHS * PATH),
    ]
}

//! What a network stack is made with, and every limit with its reason.

use core::time::Duration;

use ipc::net::MAX_SEGMENT;
use ipc::provision::Network;

/// A connection on which no byte moved for this long is cut off. RFC 5382 lets
/// middleboxes forget after two hours; a gateway's memory is dearer, and five minutes is
/// common for idle clients.
pub const IDLE: Duration = Duration::from_secs(300);

/// From SYN to the end of TCP's three-way handshake. Three retransmissions of
/// a SYN-ACK fit in; a client that is slower is not coming.
pub const HALF_OPEN: Duration = Duration::from_secs(10);

/// From [`Release`](ipc::net::Request::Release) until a connection that its
/// peer does not close is cut off.
pub const LINGER: Duration = Duration::from_secs(10);

/// From the deadline of a connection, which its owner learns of, until it is cut off
/// because the owner did nothing.
pub const GRACE: Duration = Duration::from_secs(1);

/// Unacknowledged bytes for this long mean that the peer is gone (the "user
/// timeout", RFC 9293 §3.8.3): about five retransmissions.
pub const UNANSWERED: Duration = Duration::from_secs(30);

/// Frames taken in one [`poll`](crate::NetStack::poll): bounds the time
/// between two looks at the endpoint under a flood.
pub const FRAMES_PER_POLL: usize = 256;

/// Connections that are served in one [`poll`](crate::NetStack::poll): the same, where
/// all have something to do at once.
pub(crate) const SERVED_PER_POLL: usize = 64;

/// Frames that one connection sends before others have their turn: more than the buffer of
/// its socket fills with segments of the usual length.
pub(crate) const FRAMES_A_TURN: usize = 32;

/// How soon to try again when the NIC took no more frames.
pub const NIC_FULL: Duration = Duration::from_millis(1);

/// How often DHCP and neighbour discovery run at the least: at first, later,
/// and at the most.
pub(crate) const HOUSEKEEPING_FIRST: Duration = Duration::from_secs(4);
pub(crate) const HOUSEKEEPING_LATER: Duration = Duration::from_secs(60);
pub(crate) const HOUSEKEEPING_SOONEST: Duration = Duration::from_millis(100);

/// Bytes that may wait in front of a connection's socket or ring after
/// hand-overs, each way: one full ring of each kind. More is refused.
pub const MAX_OVERFLOW: usize = 64 * 1024;

/// Longest backlog that a listener gets.
pub const MAX_BACKLOG: u16 = 256;

/// Sizes and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, of all kinds and states.
    pub connections: usize,
    /// Of every connection: room for two segments each way, so that the first is
    /// acknowledged when the second comes (RFC 9293 §3.8.6.3).
    pub least: Buffers,
    /// Bytes of all socket buffers together beside those: lent while there are few
    /// connections.
    pub lent: usize,
    /// The most of a connection that came in: two full TLS records each way, a batch that is
    /// worth a wake-up. 1 MiB takes 8 % fewer instructions than with 16 KiB in and 8 out.
    pub accepted: Buffers,
    /// The most of a connection to a backend.
    pub opened: Buffers,
    /// Bytes between two owners of all connections together: written by the last owner
    /// and not sent, or received for it and not read. A hand-over that would need more
    /// closes its connection.
    pub overflow: usize,
    /// Dropped connections whose buffers are kept for the next ones.
    pub spare: usize,
}

/// Bytes of the socket buffers of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// Received and not yet read.
    pub receive: usize,
    /// Written and not yet acknowledged.
    pub send: usize,
}

impl Buffers {
    /// Both.
    pub const fn bytes(self) -> usize {
        self.receive + self.send
    }

    /// Half of both, and no less than `least`.
    pub(crate) fn halved(self, least: Self) -> Self {
        Self {
            receive: (self.receive / 2).max(least.receive),
            send: (self.send / 2).max(least.send),
        }
    }
}

/// Connections of all kinds in the shipped image: the `tcp_connections` of its application
/// in `image/system.toml`, for a machine of 128 MiB.
const SHIPPED: usize = 3136;

impl Limits {
    /// What the image has on the smallest machine.
    pub const SHIPPED: Self = Self::of(SHIPPED);

    /// For so many connections; `budget` sums it up.
    pub const fn of(connections: usize) -> Self {
        Self {
            connections,
            least: LEAST,
            lent: 4 * 1024 * 1024,
            accepted: ACCEPTED,
            opened: OPENED,
            overflow: 2 * 1024 * 1024,
            spare: 32,
        }
    }
}

const LEAST: Buffers = Buffers {
    receive: 4 * 1024,
    send: 3 * 1024,
};

// A segment that its owner wants on the wire by itself finds room as a whole.
const _: () = assert!(LEAST.send >= MAX_SEGMENT);

const ACCEPTED: Buffers = Buffers {
    receive: 32 * 1024,
    send: 32 * 1024,
};

const OPENED: Buffers = Buffers {
    receive: 32 * 1024,
    send: 32 * 1024,
};

impl Limits {
    /// Bytes of all socket buffers together.
    pub const fn memory(&self) -> usize {
        self.connections * self.least.bytes() + self.lent
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::SHIPPED
    }
}

/// What a network stack is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The NIC's Ethernet address, unicast.
    pub hardware: [u8; 6],
    /// Address and rights.
    pub network: Network,
    /// Real randomness: from it come initial sequence numbers and ports.
    pub entropy: [u8; 24],
    /// Sizes and tables.
    pub limits: Limits,
}

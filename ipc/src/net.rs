//! What the network stack is asked for by calls.
//!
//! The gateway (a [`Client`](crate::badge::Badge::Client) badge) listens,
//! accepts and connects within the rights of its badge. The kernel shim (the
//! [`Control`](crate::badge::Badge::Control) badge) moves connections from one
//! owner to another. Bytes never pass through calls: they are in the channels.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use postcard::experimental::max_size::MaxSize;
use serde::{Deserialize, Serialize};

use crate::channel::SlotIndex;
use crate::clock::Instant;
use crate::sample::{Sampled, samples};
use crate::transport::Protocol;

/// A connection as the network stack names it: an index and a generation, so
/// that a name is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, MaxSize)]
pub struct ConnectionId(pub u64);

/// An address and a port on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address(pub SocketAddr);

impl Address {
    /// Its IP address.
    pub const fn ip(&self) -> IpAddr {
        self.0.ip()
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.0.port()
    }
}

impl MaxSize for Address {
    // One byte for the family, 16 for an IPv6 address, 3 for the port; serde
    // writes neither flow information nor scope.
    const POSTCARD_MAX_SIZE: usize = 1 + 16 + 3;
}

/// Who uses a connection's bytes, and in which slot of the channel between the network
/// stack and that domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Owner {
    /// The client that accepted or opened it; no slot is attached yet.
    Client,
    /// An application, as a connection without TLS. Both ways: plain bytes.
    Application {
        /// Its client number.
        client: u16,
        /// Of the channel between it and the network stack.
        slot: SlotIndex,
    },
    /// The offload component. In: plain bytes. Out: segments, each a
    /// [`SegmentHeader`] and its bytes.
    Offload(SlotIndex),
    /// The record layer. Both ways: plain bytes.
    Record(SlotIndex),
}

/// The header of each run of bytes that the offload component sends (R8): four
/// bytes TCP sequence number and two bytes length, both little-endian. The
/// network stack refuses a segment whose number is not that of the next byte
/// of the connection, or whose length is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// TCP sequence number (RFC 9293 §3.4) of the segment's first byte.
    pub sequence: u32,
    /// Bytes that follow.
    pub length: u16,
}

/// The longest segment that an owner writes, in bytes: as much as any connection's socket
/// has room for (R8).
pub const MAX_SEGMENT: usize = 3 * 1024;

impl SegmentHeader {
    /// Bytes of a header.
    pub const SIZE: usize = 6;

    /// The header's bytes.
    pub const fn to_bytes(self) -> [u8; Self::SIZE] {
        let [a, b, c, d] = self.sequence.to_le_bytes();
        let [e, f] = self.length.to_le_bytes();
        [a, b, c, d, e, f]
    }

    /// Reads a header.
    pub const fn from_bytes([a, b, c, d, e, f]: [u8; Self::SIZE]) -> Self {
        Self {
            sequence: u32::from_le_bytes([a, b, c, d]),
            length: u16::from_le_bytes([e, f]),
        }
    }
}

/// A connection's position in the TCP sequence space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub struct TcpPosition {
    /// Sequence number of the next byte that this system sends.
    pub tx_next: u32,
    /// Sequence number of the next byte of the peer that has no owner yet:
    /// the first that the next owner will read.
    pub rx_next: u32,
}

/// When a connection is ready to be accepted: what comes before costs its listener
/// nothing (FreeBSD's accept_filter(9), Linux' `TCP_DEFER_ACCEPT`, tcp(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Ready {
    /// Once it is established.
    Established,
    /// With the client's whole TLS ClientHello, with as much of it as the receive buffer
    /// holds, with anything that is no ClientHello, with the client's end, or after this
    /// many milliseconds from the SYN.
    ClientHello {
        /// Milliseconds.
        within: u32,
    },
}

/// What one address may have of a listener: its connections above that are offered at
/// once, as [`Readiness::OverShare`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub struct Share {
    /// Established connections, until their owner lets them go.
    pub connections: u16,
    /// Bits of an IPv6 address that count: it stands for all that share them.
    pub ipv6_prefix: u8,
}

/// How ready a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Readiness {
    /// As its listener asked.
    Ready,
    /// A ClientHello that is longer than the receive buffer has filled it.
    Long,
    /// Its time is over.
    Late,
    /// Its client closed it before it was ready.
    Ended,
    /// Its address has more than its share.
    OverShare,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Request {
    /// Client: listen on a TCP port. Answer: [`Answer::Done`].
    Listen {
        /// The port, within the rights of the badge.
        port: u16,
        /// As long as so many wait to be accepted, no SYN is answered.
        backlog: u16,
        /// When a connection is offered.
        ready: Ready,
        /// What one address may have here; `None` for no limit.
        share: Option<Share>,
    },
    /// Client: take the oldest connection that waits. Answer:
    /// [`Answer::Accepted`], [`Answer::GaveWay`] or [`Answer::NothingWaits`]. A control event on
    /// the application's channel tells that one waits.
    Accept,
    /// Client: open a connection. Answer: [`Answer::Connecting`]; the slot's
    /// status turns `ESTABLISHED`, or `RESET`.
    Connect {
        /// Where to, within the rights of the badge.
        to: Address,
        /// The deadline.
        deadline: Instant,
    },
    /// Client: attach an accepted connection to a slot of its own channel, to
    /// use it in plaintext. Answer: [`Answer::Connecting`].
    Attach {
        /// A connection without a slot.
        connection: ConnectionId,
        /// The status turns `DEADLINE` then, unless moved before;
        /// [`Instant::NEVER`] for none.
        deadline: Instant,
    },
    /// Client, control: cut a connection off (RST) and forget it. Answer:
    /// [`Answer::Done`].
    Abort {
        /// The connection.
        connection: ConnectionId,
    },
    /// Client, control: forget a connection once all that was written has been
    /// sent and the peer has closed, or the linger time is over. Its slot is
    /// free at once. Answer: [`Answer::Done`].
    Release {
        /// The connection.
        connection: ConnectionId,
    },
    /// Client: like [`Request::Release`], but the peer gets a RST and no FIN, so that it
    /// does not take what it has for all there is. Answer: [`Answer::Done`].
    ReleaseWithReset {
        /// The connection.
        connection: ConnectionId,
    },
    /// Control: give a connection to another owner. What the old owner wrote
    /// goes out first; what it did not consume is the first that the new owner
    /// reads. Answer: [`Answer::Moved`].
    Move {
        /// The connection.
        connection: ConnectionId,
        /// The client that must own it, if it is still a client's.
        client: u16,
        /// The new owner; its slot must be free.
        to: Owner,
        /// The status turns `DEADLINE` then, unless moved before;
        /// [`Instant::NEVER`] for none.
        deadline: Instant,
        /// The caller's claim of the connection's position; refused with
        /// [`NetError::WrongSequence`] if it does not.
        expected_tx_next: Option<u32>,
    },
    /// Client, control: the caller has started or restarted. A client's ports and
    /// connections are gone, with the control badge every connection that was
    /// moved to another domain. Answer: [`Answer::Done`].
    Begin,
}

/// What is answered when it worked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum Answer {
    /// Nothing else to say.
    Done,
    /// A connection is now the caller's.
    Accepted {
        /// Its name.
        connection: ConnectionId,
        /// The port that it came to.
        local: Address,
        /// Where it came from.
        remote: Address,
        /// How ready it is.
        readiness: Readiness,
        /// Milliseconds since its SYN.
        waited: u32,
    },
    /// Connections gave way to others before they were ready, and were reset.
    GaveWay {
        /// The port that they came to.
        port: u16,
        /// How many since the last such answer.
        count: u32,
        /// The last of them.
        last: Address,
    },
    /// No connection waits.
    NothingWaits,
    /// A connection has a slot in the caller's channel; follow it.
    Connecting {
        /// Its name.
        connection: ConnectionId,
        /// Its slot.
        slot: SlotIndex,
    },
    /// The connection has its new owner.
    Moved {
        /// Where it stands.
        position: TcpPosition,
    },
}

/// Why it did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, MaxSize)]
pub enum NetError {
    /// The request's bytes are none.
    Malformed = 1,
    /// The badge has no right to this.
    Denied = 2,
    /// There is no such connection (any more).
    NoConnection = 3,
    /// The slot is in use, or there is no such slot.
    SlotInUse = 4,
    /// A table is full: connections, listeners or slots.
    Full = 5,
    /// The port is listened on already.
    PortInUse = 6,
    /// The connection is not at the given TCP sequence number.
    WrongSequence = 7,
    /// There is no network (yet): no address, or no route.
    Unreachable = 8,
    /// The connection is closed already.
    Closed = 9,
}

/// The network stack's protocol.
pub struct Net;

impl Protocol for Net {
    type Request = Request;
    type Reply = Result<Answer, NetError>;
    fn malformed() -> Self::Reply {
        Err(NetError::Malformed)
    }
}

const _: () = Net::FITS;

impl Request {
    /// Whether it is the control badge's alone.
    pub const fn is_for_control(&self) -> bool {
        match self {
            Self::Move { .. } => true,
            Self::Listen { .. }
            | Self::Accept
            | Self::Connect { .. }
            | Self::Attach { .. }
            | Self::Abort { .. }
            | Self::Release { .. }
            | Self::ReleaseWithReset { .. }
            | Self::Begin => false,
        }
    }
}

impl Sampled for Request {
    fn samples() -> Vec<(Self, &'static str)> {
        let (connection, deadline) = (ConnectionId(9), Instant::NEVER);
        let to = Address(SocketAddr::from(([10, 0, 2, 2], 8080)));
        samples! {
            Self::Listen { port: 443, backlog: 4, ready: Ready::Established, share: None } =>
                "00bb03040000";
            Self::Accept => "01";
            Self::Connect { to, deadline } => "02000a000202903fffffffffffffffffff01";
            Self::Attach { connection, deadline } => "0309ffffffffffffffffff01";
            Self::Abort { connection } => "0409";
            Self::Release { connection } => "0509";
            Self::ReleaseWithReset { connection } => "0609";
            Self::Move {
                connection, client: 1, to: Owner::Offload(3), deadline, expected_tx_next: Some(7),
            } => "0709010203ffffffffffffffffff010107";
            Self::Begin => "08";
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stays_below_its_bound() {
        let mut buffer = [0; 64];
        let v6 = Address("[2001:db8::1]:65535".parse().unwrap());
        let bytes = postcard::to_slice(&v6, &mut buffer).unwrap();
        assert!(bytes.len() <= Address::POSTCARD_MAX_SIZE, "{}", bytes.len());
    }

    #[test]
    fn a_segment_header_survives_the_ring() {
        let header = SegmentHeader {
            sequence: 0xfeed_beef,
            length: 1460,
        };
        assert_eq!(SegmentHeader::from_bytes(header.to_bytes()), header);
    }
}

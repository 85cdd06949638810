//! One relay: a client on its near end, a backend or the status page on its
//! far end, and plaintext between them.

use alloc::vec::Vec;

use ipc::channel::{Channel, Doorbell, SlotIndex, Status};
use ipc::clock::Instant;
use ipc::control::{HandshakeId, SessionId};
use ipc::net::{Address, ConnectionId};
use ipc::ring::Misbehaved;
use ipc::tls::{CipherSuite, Mode, Version};

/// Names a relay; never used twice.
pub(crate) type RelayId = u64;

/// What the status page tells of a client's session.
pub(crate) struct Facts {
    pub(crate) session: SessionId,
    pub(crate) listener: usize,
    pub(crate) remote: Address,
    pub(crate) version: Version,
    pub(crate) suite: CipherSuite,
    pub(crate) mode: Mode,
    /// From the start of the handshake to its completion.
    pub(crate) started: Instant,
    pub(crate) completed: Instant,
}

/// A client and where its plaintext goes.
pub(crate) struct Relay {
    /// Its place in the configuration.
    pub(crate) listener: usize,
    /// `None` for a client that speaks no TLS.
    pub(crate) facts: Option<Facts>,
    pub(crate) near: End,
    pub(crate) far: Far,
    /// The client will send nothing more, and all of it has been passed on.
    pub(crate) up_done: bool,
    /// We will send the client nothing more.
    pub(crate) down_done: bool,
}

/// The end of a relay that plaintext goes in and out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A session, in this slot of the channel to the record layer.
    Session(SlotIndex),
    /// A TCP connection, in this slot of the channel to the network stack.
    Connection {
        connection: ConnectionId,
        slot: SlotIndex,
    },
}

/// The far end of a relay.
pub(crate) enum Far {
    /// The status page.
    Page(Page),
    /// A TCP connection that is being opened, or has just been, for TLS.
    Opening {
        connection: ConnectionId,
        slot: SlotIndex,
    },
    /// The connection waits for room in the shim's tables.
    Waiting,
    /// The handshake with the backend is in progress.
    Securing(HandshakeId),
    /// Plaintext goes in and out.
    Open {
        end: End,
        /// The backend has answered once.
        is_established: bool,
    },
}

/// One HTTP request and its answer.
#[derive(Default)]
pub(crate) struct Page {
    /// The request's bytes as far as they have come; then none.
    pub(crate) request: Vec<u8>,
    /// The answer, once the request was whole.
    pub(crate) answer: Option<Vec<u8>>,
    /// Bytes of the answer that are on their way.
    pub(crate) sent: usize,
}

/// Both channels that an end can be in.
pub(crate) struct Wires<'a, P, B> {
    pub(crate) sessions: &'a mut Channel<P>,
    pub(crate) connections: &'a mut Channel<B>,
}

impl<P: Doorbell, B: Doorbell> Wires<'_, P, B> {
    pub(crate) fn readable(&self, end: End) -> Result<usize, Misbehaved> {
        match end {
            End::Session(slot) => self.sessions.readable(slot),
            End::Connection { slot, .. } => self.connections.readable(slot),
        }
    }

    pub(crate) fn writable(&self, end: End) -> Result<usize, Misbehaved> {
        match end {
            End::Session(slot) => self.sessions.writable(slot),
            End::Connection { slot, .. } => self.connections.writable(slot),
        }
    }

    /// Bytes that were written and not read yet by the other side.
    pub(crate) fn unread(&self, end: End) -> Result<usize, Misbehaved> {
        match end {
            End::Session(slot) => self.sessions.unread(slot),
            End::Connection { slot, .. } => self.connections.unread(slot),
        }
    }

    pub(crate) fn read(&mut self, end: End, out: &mut [u8]) -> Result<usize, Misbehaved> {
        match end {
            End::Session(slot) => self.sessions.read(slot, out),
            End::Connection { slot, .. } => self.connections.read(slot, out),
        }
    }

    pub(crate) fn write(&mut self, end: End, bytes: &[u8]) -> Result<usize, Misbehaved> {
        match end {
            End::Session(slot) => self.sessions.write(slot, bytes),
            End::Connection { slot, .. } => self.connections.write(slot, bytes),
        }
    }

    pub(crate) fn peer_status(&self, end: End) -> Status {
        match end {
            End::Session(slot) => self.sessions.peer_status(slot),
            End::Connection { slot, .. } => self.connections.peer_status(slot),
        }
    }

    /// Sets our own status and tells the other side.
    pub(crate) fn signal(&mut self, end: End, flags: u16) {
        match end {
            End::Session(slot) => {
                self.sessions.set_status(slot, flags);
                self.sessions.notify(slot);
            }
            End::Connection { slot, .. } => {
                self.connections.set_status(slot, flags);
                self.connections.notify(slot);
            }
        }
    }
}

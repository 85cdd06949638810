//! An established session and where its plaintext goes.

use alloc::vec::Vec;

use ipc::channel::SlotIndex;
use ipc::clock::Instant;
use ipc::control::SessionId;
use ipc::net::{Address, ConnectionId};
use ipc::tls::{CipherSuite, Mode, Version};

/// What the status page tells of a session.
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

/// One established session.
pub(crate) struct Session {
    pub(crate) facts: Facts,
    pub(crate) peer: Peer,
    /// The client will send nothing more, and all of it has been passed on.
    pub(crate) up_done: bool,
    /// We will send nothing more.
    pub(crate) down_done: bool,
}

/// The other end of a session's plaintext.
pub(crate) enum Peer {
    /// A TCP connection, in this slot of the channel to the network stack.
    Backend {
        connection: ConnectionId,
        slot: SlotIndex,
        is_established: bool,
    },
    /// The status page.
    Page(Page),
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

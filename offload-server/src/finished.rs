//! A handshake that is finished, of either mode.

use ipc::clock::Instant;
use ipc::net::TcpPosition;
use ipc::tls::{Label, Protocol, ServerName};
use tls::schedule13::TrafficSecrets;
use tls::{CipherSuite, Group, Role, TrafficKey};

use crate::handshake::SessionSlot;
use crate::identity::Peer;
use crate::session::Tickets;

/// What the record layer, the sessions and the completion need of it.
pub(crate) struct Finished {
    pub(crate) session: SessionSlot,
    pub(crate) role: Role,
    pub(crate) suite: CipherSuite,
    pub(crate) group: Option<Group>,
    /// Sent with, and received with.
    pub(crate) keys: (TrafficKey, TrafficKey),
    /// TLS 1.3: for key updates.
    pub(crate) secrets: Option<TrafficSecrets>,
    /// TLS 1.3, client: takes the tickets to come.
    pub(crate) tickets: Option<Tickets>,
    pub(crate) peer: Peer,
    pub(crate) alpn: Option<Protocol>,
    pub(crate) server_name: Option<ServerName>,
    /// The ring that was used.
    pub(crate) keyring: Label,
    pub(crate) is_resumed: bool,
    /// Give the keys to the caller, too.
    pub(crate) expose_keys: bool,
    pub(crate) tcp: TcpPosition,
    pub(crate) first_byte: Option<Instant>,
}

//! A handshake that is finished, of either mode.

use alloc::boxed::Box;

use ipc::bounded::Blob;
use ipc::control::Established;
use ipc::record::MAX_PEER_CERTIFICATE;
use tls::schedule13::TrafficSecrets;
use tls::{Exporter, RecordLimit, Role, TrafficKey};

use crate::session::TakeTickets;

/// What the record layer, the sessions and the completion need of it.
pub(crate) struct Finished {
    pub(crate) role: Role,
    /// Sent with, and received with.
    pub(crate) keys: (TrafficKey, TrafficKey),
    /// What keying material for other protocols comes from.
    pub(crate) exporter: Exporter,
    /// What a record for the peer carries at most.
    pub(crate) record_limit: RecordLimit,
    /// TLS 1.3: for key updates.
    pub(crate) secrets: Option<TrafficSecrets>,
    /// TLS 1.3, client: takes the tickets to come.
    pub(crate) tickets: Option<Box<dyn TakeTickets>>,
    /// DER; empty when the peer showed none.
    pub(crate) certificate: Blob<MAX_PEER_CERTIFICATE>,
    /// What was agreed on; without keys, and not installed yet.
    pub(crate) established: Box<Established>,
}

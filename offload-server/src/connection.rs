//! What a connection in handshake may bring, and when there is nothing more to come of it.

use ipc::channel::Status;
use ipc::control::{HandshakeError, PeerError, Resource};

/// The most records of one handshake. BoringSSL and OpenSSL bound the bytes of a message
/// and the records without any, not the records: this is a flight in records of one byte.
pub(crate) const MAX_RECORDS: u16 = 8192;

/// What the network stack's status means for a handshake that has nothing left
/// to do with the bytes it has.
pub(crate) fn cut_off(status: Status) -> Option<HandshakeError> {
    if status.has(Status::REFUSED) {
        return Some(HandshakeError::Resource(Resource::Internal));
    }
    let cause = if status.has(Status::DEADLINE) {
        PeerError::Deadline
    } else if status.has(Status::RESET) || status.has(Status::END) {
        PeerError::Closed
    } else {
        return None;
    };
    Some(HandshakeError::Peer(cause))
}

//! Decoders that a service keeps to itself, each compiled in here from its own
//! file.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::missing_docs_in_private_items,
    reason = "a file of another crate, of which a part is used"
)]

use std::cell::OnceCell;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use crate::bytes::Bytes;
use crate::time::SystemTime;
use crate::wire::world::Now;

#[path = "../../gateway/src/hello.rs"]
mod hello;
#[path = "../../offload-server/src/identity.rs"]
mod identity;
#[path = "../../offload-server/src/ticket_keys.rs"]
mod sealed;

/// The gateway's look at a ClientHello: more bytes never take a verdict back.
pub fn first_bytes(data: &[u8]) {
    // As the ring that they lie in.
    const ROOM: usize = 8 * 1024;
    let data = &data[..data.len().min(ROOM)];
    let whole = hello::look(data, ROOM);
    let half = hello::look(&data[..data.len() / 2], ROOM);
    if half != hello::Seen::Incomplete {
        assert_eq!(half, whole);
    }
}

/// The identity in a certificate.
pub fn certificates(data: &[u8]) {
    let chain = [CertificateDer::from(data)];
    let peer = identity::Peer::of(Some(&chain));
    assert!(peer.identity.is_some());
    assert!(&peer.certificate[..] == data || peer.certificate.is_empty());
}

/// A ticket that was made up, and one that was changed.
pub fn tickets(data: &[u8]) {
    thread_local! {
        static KEYS: OnceCell<Arc<sealed::TicketKeys>> = const { OnceCell::new() };
    }
    KEYS.with(|keys| {
        let keys = keys.get_or_init(|| sealed::TicketKeys::new(Arc::new(SystemTime(Now))));
        assert_eq!(keys.open(b"web", data), None);
        let mut rest = Bytes(data);
        let (place, change) = (rest.number(), rest.byte());
        let state = rest.0;
        let Some(mut ticket) = keys.seal(b"web", state) else {
            return;
        };
        assert_eq!(keys.open(b"other", &ticket), None);
        let place = place % ticket.len();
        ticket[place] ^= change;
        let expected = (change == 0).then_some(state);
        assert_eq!(keys.open(b"web", &ticket).as_deref(), expected);
        assert_eq!(keys.open(b"web", &ticket), None, "good once");
    });
}

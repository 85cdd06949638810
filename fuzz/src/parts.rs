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
use rustls::server::ProducesTickets;
use rustls::time_provider::DefaultTimeProvider;

use crate::bytes::Bytes;
use crate::wire::world::parameters;

#[path = "../../gateway/src/hello.rs"]
mod hello;
#[path = "../../offload-server/src/identity.rs"]
mod identity;
#[path = "../../offload-server/src/tickets.rs"]
mod sealed;

/// The gateway's look at a ClientHello: more bytes never take a verdict back.
pub fn first_bytes(data: &[u8]) {
    let whole = hello::look(data);
    let half = hello::look(&data[..data.len() / 2]);
    if half != hello::Seen::Incomplete {
        assert_eq!(half, whole);
    }
}

/// The identity in a certificate.
pub fn certificates(data: &[u8]) {
    let chain = [CertificateDer::from(data)];
    let _ = identity::Peer::of(Some(&chain)).map(|peer| {
        assert!(peer.identity.is_some());
        assert_eq!(&peer.certificate[..], data);
    });
}

/// A ticket that was made up, and one that was changed.
pub fn tickets(data: &[u8]) {
    thread_local! {
        static KEYS: OnceCell<[Arc<dyn ProducesTickets>; 2]> = const { OnceCell::new() };
    }
    KEYS.with(|keys| {
        let [ours, other] = keys.get_or_init(|| {
            let keys = sealed::TicketKeys::new(Arc::new(DefaultTimeProvider));
            [&["web"], &["other"]].map(|rings| keys.ticketer(&parameters(rings)))
        });
        assert_eq!(ours.decrypt(data), None);
        let mut rest = Bytes(data);
        let (place, change) = (rest.number(), rest.byte());
        let state = rest.0;
        let Some(mut ticket) = ours.encrypt(state) else {
            return;
        };
        assert_eq!(other.decrypt(&ticket), None);
        let place = place % ticket.len();
        ticket[place] ^= change;
        let expected = (change == 0).then_some(state);
        assert_eq!(ours.decrypt(&ticket).as_deref(), expected);
        assert_eq!(ours.decrypt(&ticket), None, "good once");
    });
}

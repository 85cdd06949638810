//! Messages between domains.

use ipc::channel::local::{Silent, pair};
use ipc::director::{DirectedSegment, DirectedVerdict, Order};
use ipc::handshake::{self, Completion, Directive};
use ipc::mailbox::{Letter, Mailbox};
use ipc::queue::{Queue, ReceiveError};
use ipc::record::{Never, PostHandshake};
use ipc::segment::{Segment, Verdict};
use ipc::transport::{MAX_MESSAGE, Protocol, decode};
use ipc::{control, keystore, net, provision, record};
use postcard::experimental::max_size::MaxSize;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What was decoded can be encoded, is then not longer than it may be, and
/// means the same.
fn round<M: Serialize + DeserializeOwned>(bytes: &[u8], most: usize) {
    let Some(message) = decode::<M>(bytes) else {
        return;
    };
    let encoded = postcard::to_allocvec(&message).unwrap();
    assert!(encoded.len() <= most, "{} of {most} bytes", encoded.len());
    let again = decode::<M>(&encoded).expect("its own encoding");
    assert_eq!(postcard::to_allocvec(&again).unwrap(), encoded);
}

fn bounded<M: Serialize + DeserializeOwned + MaxSize>(bytes: &[u8]) {
    round::<M>(bytes, M::POSTCARD_MAX_SIZE);
}

fn protocol<P: Protocol>(bytes: &[u8]) {
    const { assert!(P::Request::POSTCARD_MAX_SIZE <= MAX_MESSAGE) };
    bounded::<P::Request>(bytes);
    bounded::<P::Reply>(bytes);
}

/// Every message of every protocol, by the first byte.
pub fn messages(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else {
        return;
    };
    match which % 14 {
        0 => protocol::<control::Control>(bytes),
        1 => protocol::<keystore::Keystore>(bytes),
        2 => protocol::<net::Net>(bytes),
        3 => protocol::<record::Record>(bytes),
        4 => bounded::<Directive>(bytes),
        5 => bounded::<Completion>(bytes),
        6 => bounded::<PostHandshake>(bytes),
        7 => bounded::<Segment>(bytes),
        8 => bounded::<Verdict>(bytes),
        9 => {
            round::<provision::Network>(bytes, usize::MAX);
            round::<provision::ShimRights>(bytes, usize::MAX);
        }
        10 => {
            round::<provision::Gateway>(bytes, usize::MAX);
            round::<provision::Keyrings>(bytes, usize::MAX);
        }
        11 => bounded::<Order>(bytes),
        12 => bounded::<DirectedSegment>(bytes),
        _ => bounded::<DirectedVerdict>(bytes),
    }
}

/// A neighbour that writes anything into a queue's ring.
pub fn queues(data: &[u8]) {
    fn drain<S: Serialize + MaxSize, R: DeserializeOwned + MaxSize>(bytes: &[u8]) {
        let (mut hostile, side) = pair(1, 16 * 1024, 16 * 1024, Silent, Silent);
        let mut queue = Queue::<S, R, _>::new(side);
        for part in bytes.chunks(1000) {
            hostile.write(0, part).unwrap();
            // Each takes at least its prefix out of the ring.
            let mut most = 16 * 1024;
            while let Some(received) = queue.receive() {
                if matches!(received, Err(ReceiveError::Broken)) {
                    return;
                }
                most -= 2;
            }
            assert!(most > 0);
        }
    }
    /// The same into mailboxes: the slot is the first byte of a part.
    fn boxes<S: Letter, R: Letter>(bytes: &[u8]) {
        let (mut hostile, side) = pair(4, 4096, 4096, Silent, Silent);
        let mut mailbox = Mailbox::<S, R, _>::new(side);
        for part in bytes.chunks(500) {
            let slot = u16::from(part.first().copied().unwrap_or_default() % 4);
            let _ = hostile.write(slot, part);
            let mut most = 16 * 1024;
            while mailbox.receive().is_some() {
                most -= 1;
            }
            assert!(most > 0);
        }
    }
    let Some((which, bytes)) = data.split_first() else {
        return;
    };
    match which % 6 {
        0 => boxes::<Completion, Directive>(bytes),
        1 => boxes::<Directive, Completion>(bytes),
        3 => boxes::<handshake::Never, Order>(bytes),
        4 => boxes::<DirectedSegment, DirectedVerdict>(bytes),
        5 => boxes::<DirectedVerdict, DirectedSegment>(bytes),
        _ => drain::<Never, PostHandshake>(bytes),
    }
}

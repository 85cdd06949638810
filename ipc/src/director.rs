//! Directed handshakes: the shim has the director begin and end them, and the director
//! drives the offload component, one segment at a time.
//!
//! Each handshake slot has a mailbox of its own ([`mailbox`](crate::mailbox)):
//!
//! - shim to director: the `End` of the slot's last handshake, a `Begin`, its `End`.
//!   Nothing comes back: a handshake's end is the offload component's completion;
//! - director to offload component: one segment. When the next handshake of the slot
//!   begins, what the end of the last one overtook is discarded
//!   ([`Mailbox::discard`]);
//! - offload component to director: the verdict, or [`Verdict::Begun`] beside the verdict
//!   of the slot's last handshake.

use alloc::boxed::Box;

use postcard::experimental::max_size::MaxSize;
use serde::{Deserialize, Serialize};
use tls::Role;

use crate::bounded::List;
use crate::channel::SlotIndex;
use crate::control::Parameters;
use crate::handshake::Never;
use crate::keystore::KeyKind;
use crate::mailbox::{Letter, Mailbox, framed};
use crate::segment::{MAX_RINGS, RingPlace, Segment, Step, Verdict};
use crate::tls::Schemes;

/// Steps that are refused in one handshake: each step for each ring.
pub const MAX_REFUSED: usize = MAX_RINGS * Step::ALL.len();

/// The steps that the policy refuses, each with the place of its key ring among those of
/// the request.
pub type RefusedSteps = List<(RingPlace, Step), MAX_REFUSED>;

/// From the shim to the director.
#[derive(Serialize, Deserialize, MaxSize)]
pub enum Order {
    /// Drive the handshake in `slot`: its first verdict is [`Verdict::Begun`].
    Begin {
        /// Handshake slot.
        slot: SlotIndex,
        /// Counts the uses of the slot.
        generation: u16,
        /// Server or client.
        role: Role,
        /// What to agree to and insist on.
        parameters: Box<Parameters>,
        /// What is refused.
        refused: RefusedSteps,
        /// Whether each segment is a line of the audit log.
        is_audited: bool,
    },
    /// The handshake in `slot` is over, if it is still of this generation.
    End {
        /// Handshake slot.
        slot: SlotIndex,
        /// The generation meant.
        generation: u16,
    },
}

/// From the director to the offload component: one step of the directed handshake in
/// `slot`, which the shim began ([`Start`](crate::handshake::Start)).
#[derive(Serialize, Deserialize, MaxSize)]
pub struct DirectedSegment {
    /// Handshake slot.
    pub slot: SlotIndex,
    /// The generation meant; a step of another one is dropped.
    pub generation: u16,
    /// The step.
    pub segment: Segment,
}

/// From the offload component to the director: what became of a segment.
#[derive(Serialize, Deserialize, MaxSize)]
pub struct DirectedVerdict {
    /// Handshake slot.
    pub slot: SlotIndex,
    /// As in the segment.
    pub generation: u16,
    /// What became of it.
    pub verdict: Verdict,
}

/// Bytes of the encoding of an order that says no more than which handshake it means: its
/// kind, slot and generation.
const SHORT: usize = 1 + 3 + 3;
/// Bytes of the encoding of [`Verdict::Begun`]: the same, a kind, schemes, a length and
/// whether there is a response for each ring, and a session identifier.
const BEGUN: usize = SHORT
    + List::<Option<KeyKind>, MAX_RINGS>::POSTCARD_MAX_SIZE
    + List::<Schemes, MAX_RINGS>::POSTCARD_MAX_SIZE
    + List::<u16, MAX_RINGS>::POSTCARD_MAX_SIZE
    + List::<bool, MAX_RINGS>::POSTCARD_MAX_SIZE
    + 32;

impl Letter for Order {
    const ROOM: usize = framed(Self::POSTCARD_MAX_SIZE) + 2 * framed(SHORT);

    fn slot(&self) -> SlotIndex {
        let (Self::Begin { slot, .. } | Self::End { slot, .. }) = self;
        *slot
    }
}

impl Letter for DirectedSegment {
    const ROOM: usize = framed(Self::POSTCARD_MAX_SIZE);

    fn slot(&self) -> SlotIndex {
        self.slot
    }
}

impl Letter for DirectedVerdict {
    const ROOM: usize = framed(Self::POSTCARD_MAX_SIZE) + framed(BEGUN);

    fn slot(&self) -> SlotIndex {
        self.slot
    }
}

/// The shim's end, one slot for each handshake.
pub type OrderQueue<D> = Mailbox<Order, Never, D>;
/// The director's end.
pub type OrderInbox<D> = Mailbox<Never, Order, D>;
/// The director's end, one slot for each handshake.
pub type SegmentQueue<D> = Mailbox<DirectedSegment, DirectedVerdict, D>;
/// The offload component's end.
pub type VerdictQueue<D> = Mailbox<DirectedVerdict, DirectedSegment, D>;

/// The rings of `image/system.toml` hold what a slot can say.
const _: () =
    assert!(Order::ROOM <= 1024 && DirectedSegment::ROOM <= 2048 && DirectedVerdict::ROOM <= 2048);

#[cfg(test)]
mod tests {
    use tls::Scheme;

    use super::*;
    use crate::bounded::Blob;
    use crate::segment::MAX_PART;
    use crate::transport::decode;

    fn encoded<T: Serialize>(message: &T) -> Vec<u8> {
        let mut buffer = [0; 2048];
        postcard::to_slice(message, &mut buffer).unwrap().to_vec()
    }

    #[test]
    fn messages_have_these_bytes() {
        let end = Order::End {
            slot: 300,
            generation: 7,
        };
        assert_eq!(encoded(&end), [1, 0xac, 2, 7]);
        let segment = DirectedSegment {
            slot: 3,
            generation: 200,
            segment: Segment::Show { offset: 5 },
        };
        assert_eq!(encoded(&segment), [3, 200, 1, 1, 5]);
        let verdict = DirectedVerdict {
            slot: 3,
            generation: 200,
            verdict: Verdict::Done,
        };
        assert_eq!(encoded(&verdict), [3, 200, 1, 4]);
        let refused: RefusedSteps = List::from_items([(1, Step::Random)]).unwrap();
        assert_eq!(encoded(&refused), [1, 1, 0]);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let is_order = |bytes: &[u8]| decode::<Order>(bytes).is_some();
        assert!(is_order(&[1, 3, 7]));
        for bytes in [
            &[][..],
            &[2, 3, 7],
            &[1, 3],
            &[1, 3, 7, 0],
            &[1, 0xff, 0xff, 4, 7],
        ] {
            assert!(!is_order(bytes), "{bytes:?}");
        }
        // A role, and then no parameters.
        assert!(!is_order(&[0, 3, 7, 0]));
        for bytes in [&[][..], &[3, 1], &[3, 1, 22], &[3, 1, 1, 5, 0]] {
            assert!(decode::<DirectedSegment>(bytes).is_none(), "{bytes:?}");
        }
        for bytes in [&[][..], &[3, 1], &[3, 1, 7], &[3, 1, 4, 0]] {
            assert!(decode::<DirectedVerdict>(bytes).is_none(), "{bytes:?}");
        }
        let too_many = [&[MAX_REFUSED as u8 + 1][..], &[0; 2 * (MAX_REFUSED + 1)]].concat();
        assert!(decode::<RefusedSteps>(&too_many).is_none());
        assert!(decode::<RefusedSteps>(&[1, 0, Step::ALL.len() as u8]).is_none());
    }

    #[test]
    fn begun_has_room_beside_the_longest_verdict() {
        let longest = DirectedVerdict {
            slot: u16::MAX,
            generation: u16::MAX,
            verdict: Verdict::Message {
                kind: u8::MAX,
                length: u16::MAX,
                part: Blob::from_slice(&[0; MAX_PART]).unwrap(),
            },
        };
        let begun = DirectedVerdict {
            slot: u16::MAX,
            generation: u16::MAX,
            verdict: Verdict::Begun {
                rings: List::from_items([Some(KeyKind::EcdsaP256); MAX_RINGS]).unwrap(),
                schemes: List::from_items(
                    [(); MAX_RINGS].map(|()| List::from_items(Scheme::ALL).unwrap()),
                )
                .unwrap(),
                authorities: List::from_items([u16::MAX; MAX_RINGS]).unwrap(),
                staples: List::from_items([true; MAX_RINGS]).unwrap(),
                session_id: [u8::MAX; 32],
            },
        };
        assert_eq!(encoded(&begun).len(), BEGUN);
        let both = framed(encoded(&longest).len()) + framed(encoded(&begun).len());
        assert!(both <= DirectedVerdict::ROOM, "{both}");
    }
}

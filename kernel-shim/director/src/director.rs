//! All directed handshakes, and whose turn it is to collect a long message.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::mem::size_of;

use ipc::channel::SlotIndex;
use ipc::control::Parameters;
use ipc::director::{DirectedSegment, RefusedSteps};
use ipc::segment::{Segment, Step, Verdict};
use tls::Role;

use crate::handshake::{Handshake, Summary};
use crate::policy::StepPolicy;

/// Handshakes that collect a message of several parts at the same time.
pub(crate) const MAX_COLLECTING: usize = 8;

/// Bytes of a slot's place.
pub(crate) const PLACE: usize = size_of::<Option<Place>>();

/// The handshake in a slot.
pub(crate) struct Place {
    generation: u16,
    handshake: Box<Handshake>,
    /// Each of its segments is a line of the audit log.
    is_audited: bool,
    /// It collects a long message part by part.
    is_collecting: bool,
}

/// What follows a verdict.
pub(crate) struct Advance {
    /// The segment that the verdict answered.
    pub(crate) answered: Summary,
    /// Whether it is a line of the audit log.
    pub(crate) is_audited: bool,
    /// The segment that the policy refused, and by which rule: it is not sent, and
    /// [`Segment::Abort`] takes its place.
    pub(crate) refused: Option<(Summary, Step)>,
    /// The next segment of this handshake; `None` while it waits for its turn to collect
    /// a long message.
    pub(crate) segment: Option<Segment>,
    /// Of another handshake, whose turn to collect has come.
    pub(crate) turn: Option<DirectedSegment>,
}

/// The directed handshakes of all slots. Nothing is allocated after the start but what a
/// handshake in progress needs ([`budget`](crate::budget)).
pub(crate) struct Director {
    places: Box<[Option<Place>]>,
    /// How many collect a long message, and those that wait to.
    collecting: usize,
    waiting: VecDeque<(SlotIndex, u16)>,
}

impl Director {
    /// For so many slots, without handshakes.
    pub(crate) fn new(slots: u16) -> Self {
        Self {
            places: (0..slots).map(|_| None).collect(),
            collecting: 0,
            waiting: VecDeque::with_capacity(slots.into()),
        }
    }

    /// Begins the handshake in `slot`, which has none; its first verdict is
    /// [`Verdict::Begun`].
    pub(crate) fn begin(
        &mut self,
        slot: SlotIndex,
        generation: u16,
        role: Role,
        parameters: Box<Parameters>,
        refused: RefusedSteps,
        is_audited: bool,
    ) {
        if let Some(place) = self.places.get_mut(usize::from(slot)) {
            let policy = StepPolicy::new(refused);
            *place = Some(Place {
                generation,
                handshake: Box::new(Handshake::new(role, parameters, policy)),
                is_audited,
                is_collecting: false,
            });
        }
    }

    /// Takes the verdict on the segment that is under way; `None` when there is no such
    /// handshake.
    pub(crate) fn advance(
        &mut self,
        slot: SlotIndex,
        generation: u16,
        verdict: &Verdict,
    ) -> Option<Advance> {
        let place = self.find(slot, generation)?;
        let answered = place.handshake.under_way();
        let is_audited = place.is_audited;
        let (segment, refused) = place.handshake.advance(verdict);
        let (segment, turn) = match segment {
            Segment::Show { .. } => (self.collect(slot, generation).then_some(segment), None),
            _ => (Some(segment), self.stop_collecting(slot, generation)),
        };
        Some(Advance {
            answered,
            is_audited,
            refused,
            segment,
            turn,
        })
    }

    /// The handshake in `slot` is over, if it is still of this generation. Returns a
    /// segment of another one, whose turn to collect has come.
    pub(crate) fn end(&mut self, slot: SlotIndex, generation: u16) -> Option<DirectedSegment> {
        self.find(slot, generation)?;
        let turn = self.stop_collecting(slot, generation);
        self.waiting.retain(|name| *name != (slot, generation));
        if let Some(place) = self.places.get_mut(usize::from(slot)) {
            *place = None;
        }
        turn
    }

    fn find(&mut self, slot: SlotIndex, generation: u16) -> Option<&mut Place> {
        let place = self.places.get_mut(usize::from(slot))?.as_mut();
        place.filter(|place| place.generation == generation)
    }

    /// A handshake wants the next part of a long message: whether it may have it. A few
    /// collect at the same time; the others wait for their turn with the first part.
    fn collect(&mut self, slot: SlotIndex, generation: u16) -> bool {
        let is_full = self.collecting == MAX_COLLECTING;
        let Some(place) = self.find(slot, generation) else {
            return false;
        };
        if place.is_collecting {
            return true;
        }
        if is_full {
            self.waiting.push_back((slot, generation));
            return false;
        }
        place.is_collecting = true;
        self.collecting += 1;
        true
    }

    /// The message is whole, or no longer wanted: the next may collect.
    fn stop_collecting(&mut self, slot: SlotIndex, generation: u16) -> Option<DirectedSegment> {
        let place = self.find(slot, generation)?;
        if !core::mem::replace(&mut place.is_collecting, false) {
            return None;
        }
        self.collecting -= 1;
        while let Some((slot, generation)) = self.waiting.pop_front() {
            if self.collect(slot, generation) {
                let segment = self.find(slot, generation)?.handshake.next_part();
                return Some(DirectedSegment {
                    slot,
                    generation,
                    segment,
                });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use ipc::bounded::{Blob, List};
    use ipc::keystore::KeyKind;
    use ipc::tls::PeerAuthentication;
    use tls::Version;

    use super::*;

    fn parameters() -> Box<Parameters> {
        Box::new(Parameters {
            versions: List::from_items([Version::Tls13]).unwrap(),
            suites: List::new(),
            allow_static_rsa: false,
            peer_schemes: List::new(),
            groups: List::new(),
            keyrings: List::new(),
            peer_authentication: PeerAuthentication::None,
            server_name: None,
            alpn: List::new(),
            segment_size: 1400,
            resumption: false,
            expose_keys: false,
        })
    }

    fn begun() -> Verdict {
        Verdict::Begun {
            rings: List::from_items([Some(KeyKind::EcdsaP256)]).unwrap(),
            schemes: List::new(),
            authorities: List::from_items([0]).unwrap(),
            staples: List::from_items([false]).unwrap(),
            session_id: [7; 32],
        }
    }

    /// The first part of a ClientHello that has another.
    fn part() -> Verdict {
        Verdict::Message {
            kind: 1,
            length: 2000,
            part: Blob::from_slice(&[0; 1000]).unwrap(),
        }
    }

    fn begin(director: &mut Director, slot: SlotIndex) {
        director.begin(
            slot,
            7,
            Role::Server,
            parameters(),
            RefusedSteps::new(),
            false,
        );
        let first = director.advance(slot, 7, &begun()).unwrap();
        assert_eq!(first.answered.name, "begin");
        assert!(matches!(first.segment, Some(Segment::Receive { .. })));
    }

    #[test]
    fn a_few_handshakes_collect_a_long_message_and_the_others_wait_for_their_turn() {
        let most = u16::try_from(MAX_COLLECTING).unwrap();
        let mut director = Director::new(most + 3);
        for slot in 0..most + 3 {
            begin(&mut director, slot);
            let next = director.advance(slot, 7, &part()).unwrap();
            assert_eq!(next.segment.is_some(), slot < most, "slot {slot}");
            assert!(next.turn.is_none());
        }
        // One that waits ends; then one that collects.
        assert!(director.end(most, 7).is_none());
        let turn = director.end(0, 7).unwrap();
        assert_eq!((turn.slot, turn.generation), (most + 1, 7));
        assert_eq!(turn.segment, Segment::Show { offset: 1000 });
        // One has its message whole (it is no ClientHello).
        let whole = director.advance(1, 7, &part()).unwrap();
        assert!(matches!(whole.segment, Some(Segment::Abort { .. })));
        assert_eq!(whole.turn.map(|turn| turn.slot), Some(most + 2));
    }

    #[test]
    fn a_verdict_on_no_handshake_has_no_answer() {
        let mut director = Director::new(1);
        assert!(director.advance(0, 0, &begun()).is_none());
        begin(&mut director, 0);
        assert!(director.advance(0, 6, &part()).is_none());
        assert!(director.advance(1, 7, &part()).is_none());
        assert!(director.end(0, 6).is_none());
        assert!(director.advance(0, 7, &part()).is_some());
        assert!(director.end(0, 7).is_none());
        assert!(director.advance(0, 7, &part()).is_none());
    }
}

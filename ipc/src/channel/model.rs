//! Random calls: two honest sides against a model of queues, and one honest
//! side against a peer that writes anything anywhere in its region.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use proptest::prelude::*;

use super::local::{LocalChannel, Silent, pair};
use super::*;
use crate::sync::AtomicU32;

const SLOTS: u16 = 3;
const A_RING: u32 = 16;
const B_RING: u32 = 8;
/// Bytes at the start of a region that are no ring's data.
const HEADERS: usize = slots_offset(SLOTS) + SLOTS as usize * SLOT_HEADER_SIZE;

#[derive(Clone, Default)]
struct Count(Rc<Cell<u32>>);

impl Doorbell for Count {
    fn ring(&self) {
        self.0.set(self.0.get() + 1);
    }
}

/// What a side can be asked to do.
#[derive(Clone, Debug)]
enum Call {
    Write(Vec<u8>),
    WriteQuietly(Vec<u8>),
    Peek { offset: usize, length: usize },
    Consume(usize),
    ConsumeQuietly(usize),
    Read(usize),
    TakeBack { offset: usize, length: usize },
    Open,
    Follow,
    Close,
    Finish,
    SetStatus(u16),
    SetIdle(bool),
    Notify,
    NotifyControl,
    NextEvent,
    Flush,
}

fn call() -> impl Strategy<Value = Call> {
    let length = || 0..24usize;
    let far = || prop_oneof![8 => 0..24usize, 1 => any::<usize>()];
    prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..24).prop_map(Call::Write),
        1 => prop::collection::vec(any::<u8>(), 0..24).prop_map(Call::WriteQuietly),
        3 => (far(), length()).prop_map(|(offset, length)| Call::Peek { offset, length }),
        3 => far().prop_map(Call::Consume),
        1 => far().prop_map(Call::ConsumeQuietly),
        4 => length().prop_map(Call::Read),
        2 => (far(), length()).prop_map(|(offset, length)| Call::TakeBack { offset, length }),
        1 => Just(Call::Open),
        2 => Just(Call::Follow),
        1 => Just(Call::Close),
        1 => Just(Call::Finish),
        1 => any::<u16>().prop_map(Call::SetStatus),
        2 => any::<bool>().prop_map(Call::SetIdle),
        1 => Just(Call::Notify),
        1 => Just(Call::NotifyControl),
        4 => Just(Call::NextEvent),
        2 => Just(Call::Flush),
    ]
}

// ---- two honest sides ----

/// What one side has said.
#[derive(Default)]
struct Said {
    bytes: [VecDeque<u8>; SLOTS as usize],
    generation: [u16; SLOTS as usize],
    flags: [u16; SLOTS as usize],
    events: VecDeque<u16>,
    doorbell_due: bool,
    rung: u32,
}

impl Said {
    fn post(&mut self, entry: u16) {
        if !self.events.contains(&entry) {
            self.doorbell_due |= self.events.is_empty();
            self.events.push_back(entry);
        }
    }

    fn after(&self, slot: usize, offset: usize, length: usize) -> Vec<u8> {
        let unread = self.bytes[slot].iter().skip(offset);
        unread.take(length).copied().collect()
    }
}

/// One side's call, on the channel and on the model; `opens` is the side that
/// the protocol lets open slots.
fn step(
    channel: &mut LocalChannel<Count>,
    [mine, theirs]: [&mut Said; 2],
    opens: bool,
    slot: u16,
    call: &Call,
) {
    let at = usize::from(slot);
    match call {
        Call::Write(bytes) => {
            let room = channel.tx_capacity() - mine.bytes[at].len();
            let count = bytes.len().min(room);
            assert_eq!(channel.write(slot, bytes), Ok(count));
            mine.bytes[at].extend(&bytes[..count]);
            if count > 0 {
                tell(mine, theirs, at);
            }
        }
        Call::WriteQuietly(bytes) => {
            let room = channel.tx_capacity() - mine.bytes[at].len();
            let count = bytes.len().min(room);
            assert_eq!(channel.write_quietly(slot, bytes), Ok(count));
            mine.bytes[at].extend(&bytes[..count]);
        }
        Call::Peek { offset, length } => {
            let mut out = vec![0; *length];
            let expected = theirs.after(at, *offset, *length);
            assert_eq!(channel.peek(slot, *offset, &mut out), Ok(expected.len()));
            assert_eq!(out[..expected.len()], expected);
        }
        Call::Consume(count) => {
            assert_eq!(channel.consume(slot, *count), Ok(()));
            take(mine, theirs, at, *count);
        }
        Call::ConsumeQuietly(count) => {
            assert_eq!(channel.consume_quietly(slot, *count), Ok(()));
            let count = theirs.bytes[at].len().min(*count);
            theirs.bytes[at].drain(..count);
        }
        Call::Read(length) => {
            let mut out = vec![0; *length];
            let expected = theirs.after(at, 0, *length);
            assert_eq!(channel.read(slot, &mut out), Ok(expected.len()));
            assert_eq!(out[..expected.len()], expected);
            if !expected.is_empty() {
                take(mine, theirs, at, expected.len());
            }
        }
        Call::TakeBack { offset, length } => {
            let mut out = vec![0; *length];
            let expected = mine.after(at, *offset, *length);
            let count = channel.take_back(slot, *offset, &mut out);
            assert_eq!(count, Ok(expected.len()));
            assert_eq!(out[..expected.len()], expected);
        }
        Call::Open if opens => {
            channel.open(slot);
            mine.bytes[at].clear();
            theirs.bytes[at].clear();
            mine.generation[at] += 1;
            mine.flags[at] = Status::OPEN;
        }
        Call::Follow if !opens => {
            channel.follow(slot);
            mine.generation[at] = theirs.generation[at];
            mine.flags[at] = Status::OPEN;
        }
        Call::Open | Call::Follow => {}
        Call::Close => {
            channel.close(slot);
            mine.flags[at] = Status::LEFT;
        }
        Call::Finish => {
            channel.finish(slot);
            mine.flags[at] = Status::LEFT | Status::END;
        }
        Call::SetStatus(flags) => {
            channel.set_status(slot, *flags);
            mine.flags[at] |= flags;
        }
        Call::SetIdle(is_idle) => {
            channel.set_idle(slot, *is_idle);
            mine.flags[at] &= !Status::IDLE;
            if *is_idle {
                mine.flags[at] |= Status::IDLE;
            }
        }
        Call::Notify => {
            channel.notify(slot);
            tell(mine, theirs, at);
        }
        Call::NotifyControl => {
            channel.notify_control();
            mine.post(CONTROL_EVENT);
        }
        Call::NextEvent => {
            let expected = theirs.events.pop_front().map(|entry| match entry {
                CONTROL_EVENT => Event::Control,
                slot => Event::Slot(slot),
            });
            assert_eq!(channel.next_event(), expected);
        }
        Call::Flush => {
            channel.flush();
            mine.rung += u32::from(mine.doorbell_due);
            mine.doorbell_due = false;
        }
    }
}

/// What `consume` does.
fn take(mine: &mut Said, theirs: &mut Said, at: usize, count: usize) {
    let count = theirs.bytes[at].len().min(count);
    theirs.bytes[at].drain(..count);
    let is_idle = theirs.flags[at] & Status::IDLE != 0;
    if !(is_idle && theirs.generation[at] == mine.generation[at]) {
        tell(mine, theirs, at);
    }
}

/// What `notify` does.
fn tell(mine: &mut Said, theirs: &Said, at: usize) {
    let has_left = theirs.flags[at] & Status::LEFT != 0;
    if !(has_left && theirs.generation[at] == mine.generation[at]) {
        mine.post(u16::try_from(at).unwrap());
    }
}

/// What can be asked without a change.
fn compare(channel: &mut LocalChannel<Count>, bell: &Count, mine: &Said, theirs: &Said) {
    assert_eq!(bell.0.get(), mine.rung);
    for slot in 0..SLOTS {
        let at = usize::from(slot);
        let room = channel.tx_capacity() - mine.bytes[at].len();
        assert_eq!(channel.readable(slot), Ok(theirs.bytes[at].len()));
        assert_eq!(channel.unread(slot), Ok(mine.bytes[at].len()));
        assert_eq!(channel.writable(slot), Ok(room));
        let own = Status::new(mine.generation[at], mine.flags[at]);
        assert_eq!(channel.status(slot), own);
        let same = mine.generation[at] == theirs.generation[at];
        let seen = if same { theirs.flags[at] } else { 0 };
        let peer = Status::new(mine.generation[at], seen);
        assert_eq!(channel.peer_status(slot), peer);
        let opened = !same && theirs.flags[at] & Status::OPEN != 0;
        assert_eq!(channel.is_opened(slot), opened);
    }
}

/// Lets every index of the channel start at `start`: what it would be after
/// that many bytes and events.
fn start_at<A: Doorbell, B: Doorbell>(a: &LocalChannel<A>, b: &LocalChannel<B>, start: u32) {
    let slots = (0..usize::from(SLOTS)).map(|i| slots_offset(SLOTS) + i * SLOT_HEADER_SIZE);
    for offset in slots.chain([0]) {
        for tail_or_head in [offset, offset + 4] {
            a.memory
                .my_word(tail_or_head)
                .store(start, Ordering::Relaxed);
            b.memory
                .my_word(tail_or_head)
                .store(start, Ordering::Relaxed);
        }
    }
}

// ---- one honest side ----

/// What the hostile peer writes.
#[derive(Clone, Debug)]
enum Claim {
    /// Anything.
    Word(u32),
    /// The word of the honest side at the same place or at its neighbour's (an
    /// index that the other counts from), plus this.
    Near(i32),
}

fn claim() -> impl Strategy<Value = (usize, Claim)> {
    let place = prop_oneof![
        1 => 0..region_size(SLOTS, B_RING, None) / 4,
        8 => 0..HEADERS / 4,
    ];
    let value = prop_oneof![
        any::<u32>().prop_map(Claim::Word),
        (-20..20i32).prop_map(Claim::Near),
    ];
    (place.prop_map(|word| word * 4), value)
}

fn allege(
    honest: &LocalChannel<Silent>,
    hostile: &LocalChannel<Silent>,
    offset: usize,
    value: &Claim,
) {
    let value = match value {
        Claim::Word(value) => *value,
        Claim::Near(distance) => {
            let counterpart = honest.memory.my_word(offset ^ 4).load(Ordering::Relaxed);
            counterpart.wrapping_add_signed(*distance)
        }
    };
    hostile
        .memory
        .my_word(offset)
        .store(value, Ordering::Relaxed);
}

/// Bytes that two untrusted indices claim, or that they are invalid.
fn claimed(head: &AtomicU32, tail: &AtomicU32, capacity: u32) -> Result<usize, Misbehaved> {
    let head = head.load(Ordering::Relaxed);
    let length = head.wrapping_sub(tail.load(Ordering::Relaxed));
    if length > capacity {
        return Err(Misbehaved);
    }
    Ok(length as usize)
}

/// One call of the honest side, whose answer must follow from the four indices
/// alone.
fn withstand(honest: &mut LocalChannel<Silent>, slot: u16, call: &Call) {
    let memory = honest.memory;
    let words = memory.my_slot(slot).zip(memory.their_slot(slot));
    let (mine, theirs) = words.unwrap();
    let incoming = claimed(theirs.head, mine.tail, B_RING);
    let outgoing = claimed(mine.head, theirs.tail, A_RING);
    assert_eq!(honest.readable(slot), incoming);
    assert_eq!(honest.unread(slot), outgoing);
    let room = outgoing.map(|length| A_RING as usize - length);
    assert_eq!(honest.writable(slot), room);
    let status = honest.peer_status(slot);
    assert_eq!(status.generation(), honest.status(slot).generation());
    honest.is_opened(slot);
    match call {
        Call::Write(bytes) => {
            let count = room.map(|room| room.min(bytes.len()));
            assert_eq!(honest.write(slot, bytes), count);
        }
        Call::WriteQuietly(bytes) => {
            let count = room.map(|room| room.min(bytes.len()));
            assert_eq!(honest.write_quietly(slot, bytes), count);
        }
        Call::Peek { offset, length } => {
            let count = incoming.map(|n| n.saturating_sub(*offset).min(*length));
            assert_eq!(honest.peek(slot, *offset, &mut vec![0; *length]), count);
        }
        Call::Consume(count) => {
            assert_eq!(honest.consume(slot, *count), incoming.map(|_| ()));
        }
        Call::ConsumeQuietly(count) => {
            let answer = honest.consume_quietly(slot, *count);
            assert_eq!(answer, incoming.map(|_| ()));
        }
        Call::Read(length) => {
            let count = incoming.map(|n| n.min(*length));
            assert_eq!(honest.read(slot, &mut vec![0; *length]), count);
        }
        Call::TakeBack { offset, length } => {
            let count = outgoing.map(|n| n.saturating_sub(*offset).min(*length));
            let mut out = vec![0; *length];
            assert_eq!(honest.take_back(slot, *offset, &mut out), count);
        }
        Call::Open => {
            honest.open(slot);
            assert_eq!(honest.readable(slot), Ok(0));
            assert_eq!(honest.unread(slot), Ok(0));
        }
        Call::Follow => honest.follow(slot),
        Call::Close => honest.close(slot),
        Call::Finish => honest.finish(slot),
        Call::SetStatus(flags) => honest.set_status(slot, *flags),
        Call::SetIdle(is_idle) => honest.set_idle(slot, *is_idle),
        Call::Notify => honest.notify(slot),
        Call::NotifyControl => honest.notify_control(),
        Call::NextEvent => {
            let mut taken = 0;
            while let Some(event) = honest.next_event() {
                taken += 1;
                assert!(taken <= event_capacity(SLOTS), "events without end");
                assert!(event == Event::Control || (0..SLOTS).any(|s| event == Event::Slot(s)));
            }
        }
        Call::Flush => honest.flush(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn two_honest_sides_behave_like_queues_wherever_the_indices_stand(
        start in prop_oneof![Just(0), any::<u32>(), u32::MAX - 40..=u32::MAX],
        calls in prop::collection::vec((any::<bool>(), 0..SLOTS, call()), 0..200),
    ) {
        let (bell_b, bell_a) = (Count::default(), Count::default());
        let (mut a, mut b) = pair(SLOTS, A_RING, B_RING, bell_b.clone(), bell_a.clone());
        start_at(&a, &b, start);
        let (mut said_a, mut said_b) = (Said::default(), Said::default());
        for (is_a, slot, call) in &calls {
            if *is_a {
                step(&mut a, [&mut said_a, &mut said_b], true, *slot, call);
            } else {
                step(&mut b, [&mut said_b, &mut said_a], false, *slot, call);
            }
            compare(&mut a, &bell_b, &said_a, &said_b);
            compare(&mut b, &bell_a, &said_b, &said_a);
        }
    }

    #[test]
    fn a_hostile_peer_gets_misbehaved_and_never_a_panic(
        turns in prop::collection::vec(
            (prop::collection::vec(claim(), 0..3), 0..SLOTS, call()),
            0..200,
        ),
    ) {
        let (mut honest, hostile) = pair(SLOTS, A_RING, B_RING, Silent, Silent);
        for (claims, slot, call) in &turns {
            for (offset, value) in claims {
                allege(&honest, &hostile, *offset, value);
            }
            withstand(&mut honest, *slot, call);
        }
    }
}

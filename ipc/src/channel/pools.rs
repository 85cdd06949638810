//! Rings whose blocks are lent from a pool.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::local::{LocalChannel, Silent, pair_of};
use super::*;

const K: u32 = 1024;
const RING: u32 = 16 * K;

/// Side a writes to `slots` rings from a pool with `lent` blocks beside the guaranteed ones.
fn lending(slots: u16, lent: u32) -> (LocalChannel<Silent>, LocalChannel<Silent>) {
    let guaranteed = Pool::LEAST;
    let bytes = u32::from(slots) * guaranteed + lent * K;
    let pool = Pool { bytes, guaranteed };
    let (mut a, mut b) = pair_of(slots, (RING, Some(pool)), (64, None), Silent, Silent);
    for slot in 0..slots {
        a.open(slot);
        b.follow(slot);
    }
    (a, b)
}

/// Writes all that there is room for.
fn fill(a: &mut LocalChannel<Silent>, slot: u16) -> usize {
    a.write(slot, &[slot as u8 + 1; RING as usize]).unwrap()
}

fn read_all(b: &mut LocalChannel<Silent>, slot: u16) -> Vec<u8> {
    let mut out = vec![0; RING as usize];
    let count = b.read(slot, &mut out).unwrap();
    out.truncate(count);
    out
}

/// The pool's bytes.
fn blocks(a: &LocalChannel<Silent>) -> Vec<u8> {
    let pool = a.memory.tx.pool.unwrap();
    let at = pool_offset(a.slots(), RING);
    // SAFETY: the region has the pool there (`region_size`).
    let start = unsafe { a.memory.mine.add(at) };
    let slice = core::ptr::slice_from_raw_parts(start, pool.bytes as usize);
    // SAFETY: as above; nobody writes meanwhile.
    unsafe { &*slice }.to_vec()
}

#[test]
fn one_slot_has_its_part_and_half_of_what_is_lent_two_have_a_third_each() {
    let (mut a, _b) = lending(4, 12);
    assert_eq!(fill(&mut a, 0), 8 * 1024);
    assert_eq!(fill(&mut a, 1), (2 + 3) * 1024);
    // The first is above what a slot may hold now: it gets no more before it has less.
    assert_eq!(fill(&mut a, 0), 0);
    let (mut a, mut b) = lending(4, 12);
    for _ in 0..8 {
        for slot in 0..2 {
            a.write(slot, &[1; 1024]).unwrap();
        }
    }
    let held = [0, 1].map(|slot| read_all(&mut b, slot).len() / 1024);
    assert_eq!(held, [6, 6]);
}

#[test]
fn no_ring_has_more_than_its_size_however_much_the_pool_has() {
    let (mut a, mut b) = lending(1, 100);
    assert_eq!(fill(&mut a, 0), RING as usize);
    let mut out = [0; 1];
    b.read(0, &mut out).unwrap();
    // The first block is still in use, and stands where the next would.
    assert_eq!(fill(&mut a, 0), 0);
    b.read(0, &mut [0; 1023]).unwrap();
    assert_eq!(fill(&mut a, 0), 1024);
}

#[test]
fn an_empty_ring_takes_a_block_while_all_others_hold_what_they_can() {
    for offset in [0, 1, 700, 1023] {
        let (mut a, mut b) = lending(3, 5);
        // Wherever its index stands.
        a.write(2, &vec![9; offset]).unwrap();
        read_all(&mut b, 2);
        for _ in 0..4 {
            fill(&mut a, 0);
            fill(&mut a, 1);
        }
        assert!(fill(&mut a, 2) > 1024, "{offset}");
        assert!(a.writable(2).unwrap() < 1024);
        read_all(&mut b, 2);
        assert!(a.writable(2).unwrap() > 1024);
    }
}

#[test]
fn an_idle_slot_holds_nothing_that_another_could_use() {
    let (mut a, mut b) = lending(40, 8);
    for slot in 0..39 {
        fill(&mut a, slot);
        read_all(&mut b, slot);
    }
    // Nobody has looked at them since: whoever needs blocks does, at some at a time.
    let mut most = 0;
    for _ in 0..4 {
        most = a.writable(39).unwrap().max(most);
    }
    assert_eq!(most, (2 + 4) * 1024);
}

#[test]
fn what_a_slot_s_own_reader_has_consumed_counts_at_once() {
    let (mut a, mut b) = lending(40, 8);
    // More slots than are looked at when there is too little.
    for _ in 0..6 {
        assert_eq!(a.writable(39).unwrap(), (2 + 4) * 1024);
        assert_eq!(fill(&mut a, 39), (2 + 4) * 1024);
        read_all(&mut b, 39);
    }
}

#[test]
fn nothing_stays_in_a_block_that_was_given_back() {
    let (mut a, mut b) = lending(2, 4);
    fill(&mut a, 0);
    assert!(blocks(&a).contains(&1));
    b.read(0, &mut [0; 1500]).unwrap();
    a.writable(0).unwrap();
    let left = blocks(&a).iter().filter(|byte| **byte == 1).count();
    assert_eq!(left, 3 * 1024);
    read_all(&mut b, 0);
    a.writable(1).unwrap();
    assert!(!blocks(&a).contains(&1));
    // What one writes next goes over its own bytes; the blocks that it does not need for
    // that are others'.
    fill(&mut a, 0);
    read_all(&mut b, 0);
    a.write(0, &[9; 1100]).unwrap();
    let left = blocks(&a).iter().filter(|byte| **byte == 1).count();
    assert!(left < 2 * 1024, "{left}");
    // A slot that is opened again, with bytes that nobody read.
    fill(&mut a, 0);
    a.open(0);
    assert!(!blocks(&a).contains(&1));
}

#[test]
fn what_nobody_will_read_is_taken_back_when_both_have_left() {
    let (mut a, mut b) = lending(40, 8);
    for slot in 0..39 {
        fill(&mut a, slot);
    }
    let most = |a: &mut LocalChannel<Silent>| {
        for _ in 0..4 {
            a.writable(39).unwrap();
        }
        a.writable(39).unwrap()
    };
    let before = most(&mut a);
    for slot in 0..39 {
        a.finish(slot);
    }
    // The other side may still read it.
    assert_eq!(most(&mut a), before);
    assert!(!read_all(&mut b, 3).is_empty());
    for slot in 0..39 {
        b.close(slot);
    }
    assert_eq!(most(&mut a), (2 + 4) * 1024);
    assert!(blocks(&a).iter().all(|byte| *byte == 0));
    // And the slots go on with others.
    for slot in 0..3 {
        a.open(slot);
        b.follow(slot);
        assert!(fill(&mut a, slot) > 1024);
        assert!(
            read_all(&mut b, slot)
                .iter()
                .all(|byte| *byte == slot as u8 + 1)
        );
    }
}

#[test]
fn a_reader_that_lies_gets_no_block_of_another_slot() {
    let (mut a, b) = lending(2, 4);
    a.write(0, &[1; 3000]).unwrap();
    let tail = |value: u32| {
        let words = b.memory.my_slot(0).unwrap();
        words.tail.store(value, Ordering::Relaxed);
    };
    tail(2048);
    assert_eq!(a.writable(0).unwrap() % 1024, 1024 - 3000 % 1024);
    // Two blocks are the other's now.
    fill(&mut a, 1);
    for lie in [0, 1024, 3001, u32::MAX, 1 << 31, u32::MAX - 3000] {
        tail(lie);
        assert_eq!(a.writable(0), Err(Misbehaved), "{lie}");
        assert_eq!(a.write(0, b"x"), Err(Misbehaved), "{lie}");
        assert_eq!(a.take_back(0, 0, &mut [0; 64]), Err(Misbehaved), "{lie}");
    }
    tail(2048);
    let mut out = [0; 1024];
    assert_eq!(a.take_back(0, 0, &mut out), Ok(3000 - 2048));
    assert!(out[..3000 - 2048].iter().all(|byte| *byte == 1));
    assert!(a.writable(1).is_ok());
}

#[test]
fn a_writer_that_names_a_block_that_is_none_is_found_out() {
    let (mut a, mut b) = lending(2, 4);
    a.write(1, &[1; 2000]).unwrap();
    let ring = a.memory.tx_ring(1).unwrap();
    ring.set_block(1024, 8);
    let mut out = [0; 2000];
    assert_eq!(b.peek(1, 0, &mut out[..1024]), Ok(1024));
    assert_eq!(b.peek(1, 0, &mut out), Err(Misbehaved));
    assert_eq!(b.read(1, &mut out), Err(Misbehaved));
    // It would be the next after the last.
    ring.set_block(0, 7);
    assert_eq!(b.peek(1, 0, &mut out[..1024]), Ok(1024));
    assert_eq!(b.read(1, &mut out), Err(Misbehaved));
}

#[test]
fn after_a_restart_nobody_reads_what_was_written_to_others() {
    let (mut a, mut b) = lending(2, 4);
    a.write(0, &[1; 1500]).unwrap();
    let mut a = a.restart();
    // The other side has not looked, and still has the slot of before.
    a.open(1);
    b.follow(1);
    a.write(1, &[2; 3000]).unwrap();
    assert_eq!(read_all(&mut b, 0), []);
    assert_eq!(read_all(&mut b, 1), [2; 3000]);
    a.open(0);
    b.follow(0);
    assert!(fill(&mut a, 0) > 1024);
}

#[test]
fn a_pool_that_cannot_keep_its_word_is_none() {
    let pool = |bytes, guaranteed| Pool { bytes, guaranteed };
    assert!(pool(8 * K, 2 * K).suits(4, RING));
    for (broken, slots) in [
        (pool(8 * K, 2 * K), 5),
        (pool(8 * K + 1, 2 * K), 4),
        (pool(8 * K, K), 4),
        (pool(8 * K, 2 * K + 1), 2),
        (pool(64 * K, 2 * RING), 1),
        (pool(1 << 26, 2 * K), 4),
    ] {
        assert!(!broken.suits(slots, RING), "{broken:?}");
    }
}

#[test]
fn a_slot_that_was_short_of_blocks_has_its_turn_when_there_are_some() {
    let (mut a, mut b) = lending(3, 5);
    for _ in 0..4 {
        fill(&mut a, 0);
        fill(&mut a, 1);
    }
    // Its reader wants 5000 bytes, and reads nothing before it has them.
    let written = a.write(2, &[3; 5000]).unwrap();
    assert!((1025..5000).contains(&written));
    assert_eq!(a.next_event(), None);
    read_all(&mut b, 0);
    read_all(&mut b, 1);
    let events: Vec<_> = core::iter::from_fn(|| a.next_event()).collect();
    assert_eq!(events.last(), Some(&Event::Slot(2)));
    let rest = vec![3; 5000 - written];
    assert_eq!(a.write(2, &rest), Ok(rest.len()));
    assert_eq!(a.next_event(), None);
    assert_eq!(read_all(&mut b, 2), [3; 5000]);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn lent_rings_behave_like_queues_wherever_the_indices_stand(
        start in prop_oneof![Just(0), any::<u32>(), u32::MAX - 5000..=u32::MAX],
        calls in prop::collection::vec((0..3u16, 0..4u8, 0..6000usize), 1..150),
    ) {
        let (mut a, mut b) = lending(3, 7);
        for slot in 0..3 {
            for words in [a.memory.my_slot(slot), a.memory.their_slot(slot)] {
                let words = words.unwrap();
                words.head.store(start, Ordering::Relaxed);
                words.tail.store(start, Ordering::Relaxed);
            }
        }
        let mut model: [VecDeque<u8>; 3] = Default::default();
        let mut next = 0u8;
        for (slot, call, length) in calls {
            let at = usize::from(slot);
            match call {
                0 | 1 => {
                    let bytes: Vec<u8> = (0..length)
                        .map(|i| next.wrapping_add((i % 251) as u8))
                        .collect();
                    next = next.wrapping_add(7);
                    let room = a.writable(slot).unwrap();
                    let count = a.write(slot, &bytes).unwrap();
                    prop_assert!(count >= room.min(length));
                    let held = model[at].len();
                    prop_assert!(held + count <= RING as usize);
                    prop_assert!(held > 0 || count >= length.min(1025));
                    model[at].extend(&bytes[..count]);
                }
                2 => {
                    let mut out = vec![0; length];
                    let count = b.read(slot, &mut out).unwrap();
                    prop_assert_eq!(count, length.min(model[at].len()));
                    let expected: Vec<u8> = model[at].drain(..count).collect();
                    prop_assert_eq!(&out[..count], &expected[..]);
                }
                _ => {
                    a.open(slot);
                    b.follow(slot);
                    model[at].clear();
                }
            }
            for (slot, bytes) in (0..).zip(&model) {
                prop_assert_eq!(b.readable(slot), Ok(bytes.len()));
                let mut out = vec![0; RING as usize];
                let count = a.take_back(slot, 0, &mut out).unwrap();
                prop_assert_eq!(&out[..count], bytes.iter().copied().collect::<Vec<_>>());
            }
        }
    }
}

use std::cell::Cell;
use std::rc::Rc;

use super::local::{LocalChannel, Silent, pair};
use super::*;

#[derive(Clone, Default)]
struct Count(Rc<Cell<u32>>);

impl Doorbell for Count {
    fn ring(&self) {
        self.0.set(self.0.get() + 1);
    }
}

fn silent_pair(slots: u16) -> (LocalChannel<Silent>, LocalChannel<Silent>) {
    pair(slots, 64, 32, Silent, Silent)
}

#[test]
fn the_oldest_event_has_one_name_until_it_is_taken() {
    let (mut a, mut b) = pair(4, 64, 64, Silent, Silent);
    assert_eq!(b.oldest_event(), None);
    assert_eq!(untaken([b.oldest_event(); 2]), 0);
    a.notify(3);
    a.notify(1);
    assert_eq!(b.oldest_event(), Some(0));
    let name = untaken([None, b.oldest_event()]);
    assert_ne!(name, 0);
    // Whatever comes after it.
    a.notify(2);
    assert_eq!(untaken([None, b.oldest_event()]), name);
    assert_ne!(untaken([b.oldest_event(), None]), name);
    assert_eq!(b.next_event(), Some(Event::Slot(3)));
    assert_eq!(b.oldest_event(), Some(1));
    assert_ne!(untaken([None, b.oldest_event()]), name);
    while b.next_event().is_some() {}
    assert_eq!(b.oldest_event(), None);
}

#[test]
fn bytes_cross_both_ways_and_slots_are_apart() {
    let (mut a, mut b) = silent_pair(3);
    a.open(1);
    b.follow(1);
    assert_eq!(a.write(1, b"to b"), Ok(4));
    assert_eq!(b.write(1, b"to a"), Ok(4));
    let mut out = [0; 8];
    assert_eq!(b.readable(0), Ok(0));
    assert_eq!(b.read(1, &mut out), Ok(4));
    assert_eq!(&out[..4], b"to b");
    assert_eq!(a.read(1, &mut out), Ok(4));
    assert_eq!(&out[..4], b"to a");
}

#[test]
fn a_slot_opened_again_is_empty_and_has_no_old_flags() {
    let (mut a, mut b) = silent_pair(1);
    a.open(0);
    b.follow(0);
    a.write(0, b"old").unwrap();
    b.write(0, b"old").unwrap();
    b.set_status(0, Status::END);
    assert!(a.peer_status(0).has(Status::END));
    a.close(0);
    b.close(0);
    a.open(0);
    assert!(!a.peer_status(0).has(Status::END));
    assert_eq!(a.readable(0), Ok(0));
    b.follow(0);
    assert_eq!(b.readable(0), Ok(0));
    assert_eq!(b.write(0, b"new"), Ok(3));
    let mut out = [0; 8];
    assert_eq!(a.read(0, &mut out), Ok(3));
    assert_eq!(&out[..3], b"new");
}

#[test]
fn bytes_written_before_the_other_side_follows_are_kept() {
    let (mut a, mut b) = silent_pair(1);
    a.open(0);
    a.write(0, b"early").unwrap();
    b.follow(0);
    assert_eq!(b.readable(0), Ok(5));
}

#[test]
fn a_slot_has_one_event_outstanding_at_most() {
    let (mut a, mut b) = silent_pair(2);
    a.open(0);
    for _ in 0..10 {
        a.write(0, b"x").unwrap();
    }
    a.write(1, b"y").unwrap();
    assert_eq!(b.next_event(), Some(Event::Slot(0)));
    a.write(0, b"x").unwrap();
    assert_eq!(b.next_event(), Some(Event::Slot(1)));
    assert_eq!(b.next_event(), Some(Event::Slot(0)));
    assert_eq!(b.next_event(), None);
    a.notify_control();
    a.notify_control();
    assert_eq!(b.next_event(), Some(Event::Control));
    assert_eq!(b.next_event(), None);
}

#[test]
fn the_doorbell_rings_only_for_a_side_that_had_taken_all() {
    let bell = Count::default();
    let (mut a, mut b) = pair(4, 64, 64, bell.clone(), Silent);
    a.notify(0);
    a.flush();
    assert_eq!(bell.0.get(), 1);
    a.notify(1);
    a.flush();
    assert_eq!(bell.0.get(), 1, "b has not taken slot 0 yet: it is awake");
    while b.next_event().is_some() {}
    a.notify(1);
    a.notify(2);
    a.flush();
    a.flush();
    assert_eq!(bell.0.get(), 2);
}

#[test]
fn events_never_get_lost_over_many_rounds() {
    let (mut a, mut b) = silent_pair(5);
    for round in 0..10_000u32 {
        let slot = (round * 7 % 5) as u16;
        a.notify(slot);
        a.notify((slot + 1) % 5);
        let mut seen = [false; 5];
        while let Some(Event::Slot(slot)) = b.next_event() {
            seen[usize::from(slot)] = true;
        }
        assert!(seen[usize::from(slot)] && seen[usize::from((slot + 1) % 5)]);
    }
}

#[test]
fn a_slot_that_does_not_exist_is_refused() {
    let (mut a, _b) = silent_pair(2);
    assert_eq!(a.write(2, b"x"), Err(Misbehaved));
    assert_eq!(a.readable(u16::MAX), Err(Misbehaved));
    a.open(2);
    a.notify(2);
    a.set_status(2, Status::END);
}

#[test]
fn unread_bytes_can_be_taken_back() {
    let (mut a, mut b) = silent_pair(1);
    a.open(0);
    b.follow(0);
    a.write(0, b"finished|application").unwrap();
    let mut out = [0; 9];
    b.read(0, &mut out).unwrap();
    let mut rest = [0; 64];
    assert_eq!(a.take_back(0, 0, &mut rest), Ok(11));
    assert_eq!(&rest[..11], b"application");
}

#[test]
fn what_the_other_side_said_of_a_previous_connection_counts_no_more() {
    let (mut a, mut b) = silent_pair(1);
    a.open(0);
    b.follow(0);
    b.set_status(0, Status::END);
    assert!(a.peer_status(0).has(Status::END));
    // The next connection: the end of the last one is not its end.
    a.open(0);
    assert!(!a.peer_status(0).has(Status::END));
    b.follow(0);
    assert!(!a.peer_status(0).has(Status::END));
    b.set_status(0, Status::END);
    assert!(a.peer_status(0).has(Status::END));
}

#[test]
fn room_is_told_of_only_while_bytes_wait_for_it() {
    let (mut a, mut b) = silent_pair(1);
    a.open(0);
    b.follow(0);
    a.write(0, b"all").unwrap();
    a.set_idle(0, true);
    b.read(0, &mut [0; 8]).unwrap();
    assert_eq!(a.next_event(), None);
    a.write(0, b"more").unwrap();
    a.set_idle(0, false);
    b.read(0, &mut [0; 8]).unwrap();
    assert_eq!(a.next_event(), Some(Event::Slot(0)));
}

#[test]
fn a_side_that_restarts_has_left_its_slots_with_a_reset() {
    // By the side that opens slots, and by the one that follows.
    for opener in [true, false] {
        let (mut a, mut b) = silent_pair(3);
        for slot in [0, 1] {
            a.open(slot);
            b.follow(slot);
        }
        a.close(1);
        b.close(1);
        // Opened, and not followed yet.
        a.open(2);
        let mut survivor = if opener {
            drop(a.restart());
            b
        } else {
            drop(b.restart());
            a
        };
        assert!(survivor.peer_is_new());
        assert!(!survivor.peer_is_new());
        assert!(survivor.peer_status(0).has(Status::RESET | Status::LEFT));
        assert!(!survivor.peer_status(1).has(Status::RESET));
        if !opener {
            assert!(survivor.peer_status(2).has(Status::RESET | Status::LEFT));
        }
        assert_eq!(survivor.next_event(), Some(Event::Slot(0)));
    }
}

#[test]
fn a_slot_that_was_left_is_opened_again_by_either_epoch() {
    for opener in [true, false] {
        let (mut a, mut b) = silent_pair(1);
        a.open(0);
        b.follow(0);
        a.write(0, b"old").unwrap();
        b.write(0, b"old").unwrap();
        if opener {
            a = a.restart();
        } else {
            b = b.restart();
        }
        a.open(0);
        assert!(b.is_opened(0));
        b.follow(0);
        assert_eq!((a.readable(0), b.readable(0)), (Ok(0), Ok(0)));
        assert!(!a.peer_status(0).has(Status::RESET));
        assert!(!b.peer_status(0).has(Status::RESET));
        let mut out = [0; 8];
        assert_eq!(b.write(0, b"new"), Ok(3));
        assert_eq!(a.read(0, &mut out), Ok(3));
        assert_eq!(&out[..3], b"new");
    }
}

#[test]
fn events_of_a_previous_epoch_are_taken_or_dropped_and_wake_for_new_ones() {
    let (wake_a, wake_b) = (Count::default(), Count::default());
    let (mut a, mut b) = pair(3, 64, 64, wake_b.clone(), wake_a.clone());
    for slot in 0..3 {
        a.open(slot);
        b.follow(slot);
        // Posted both ways, never rung for.
        a.write(slot, b"x").unwrap();
        b.write(slot, b"y").unwrap();
    }
    assert_eq!((wake_a.0.get(), wake_b.0.get()), (0, 0));
    let mut b = b.restart();
    assert_eq!(b.next_event(), None, "they were meant for another");
    assert_eq!(wake_a.0.get(), 1, "for its slots, and for what was posted");
    // Each slot has one event outstanding, as ever: the queue can't overflow.
    let taken: Vec<_> = core::iter::from_fn(|| a.next_event()).collect();
    assert_eq!(taken, [0, 1, 2].map(Event::Slot));
    a.open(1);
    b.follow(1);
    a.write(1, b"z").unwrap();
    a.flush();
    assert_eq!(wake_b.0.get(), 1);
    assert_eq!(b.next_event(), Some(Event::Slot(1)));
}

#[test]
fn the_first_start_of_the_other_side_is_no_news() {
    let (mut a, mut b) = silent_pair(1);
    assert!(!a.peer_is_new());
    assert!(!b.peer_is_new());
}

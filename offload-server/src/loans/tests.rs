use super::*;

const SLOTS: u16 = 256;
const CLIENT: Whose = whose(1, Standing::New);
const OTHER: Whose = whose(2, Standing::New);

const AT: Instant = Instant::from_millis(1000);

const fn whose(client: u16, standing: Standing) -> Whose {
    of_group(client, 0, standing)
}

const fn of_group(client: u16, group: u32, standing: Standing) -> Whose {
    Whose {
        client,
        group,
        standing,
    }
}

#[test]
fn a_known_peer_s_loan_outlives_those_of_any_number_of_others() {
    let mut loans = Loans::new(SLOTS);
    let known = whose(1, Standing::Known);
    assert_eq!(loans.charge(0, known, 3 * GUARANTEED, AT), Ok(()));
    for slot in 1..SLOTS {
        let standing = match slot % 2 {
            0 => Standing::New,
            _ => Standing::Penalized,
        };
        // One that is worse than all others may have none itself.
        let _ = loans.charge(slot, whose(1, standing), 4 * GUARANTEED, AT);
        assert!(loans.total <= POOL);
    }
    let ended: Vec<_> = core::iter::from_fn(|| loans.next_called_in()).collect();
    assert!(ended.len() > 60 && !ended.contains(&0), "{ended:?}");
    // As long as there are any, those go whose handshakes failed before.
    let is_penalized = |slot: &&u16| **slot % 2 == 1;
    let there = |slot: &u16| loans.lent[usize::from(*slot)].bytes > 0;
    let left: Vec<_> = (1..SLOTS).filter(|slot| there(slot)).collect();
    assert!(left.iter().filter(is_penalized).count() <= 1, "{left:?}");
}

#[test]
fn what_is_guaranteed_is_there_for_all_at_once() {
    let mut loans = Loans::new(SLOTS);
    for slot in 0..SLOTS {
        assert_eq!(loans.charge(slot, CLIENT, GUARANTEED, AT), Ok(()));
    }
    assert_eq!((loans.total, loans.next_called_in()), (0, None));
}

#[test]
fn the_pool_is_never_exceeded_and_the_oldest_loan_is_called_in_first() {
    let mut loans = Loans::new(SLOTS);
    let mut ended = Vec::new();
    for slot in 0..SLOTS {
        for held in (0..=MOST).step_by(16 * 1024) {
            assert_eq!(
                loans.charge(slot, CLIENT, held, AT),
                Ok(()),
                "{slot} {held}"
            );
            let sum: usize = loans.lent.iter().map(|loan| loan.bytes).sum();
            assert_eq!(sum, loans.total);
            let sum: usize = loans.by_group.iter().map(|(_, bytes)| bytes).sum();
            assert_eq!(sum, loans.total);
            assert!(loans.total <= POOL);
        }
        while let Some(slot) = loans.next_called_in() {
            ended.push(slot);
        }
    }
    let expected: Vec<_> = (0..ended.len() as u16).collect();
    assert_eq!(ended, expected);
    assert!(ended.len() > 200);
}

#[test]
fn one_that_holds_more_than_any_may_is_ended_and_costs_nobody_else() {
    let mut loans = Loans::new(SLOTS);
    assert_eq!(loans.charge(1, CLIENT, 20_000, AT), Ok(()));
    assert_eq!(loans.charge(2, CLIENT, MOST + 1, AT), Err(TooMuch));
    assert_eq!(loans.next_called_in(), None);
    loans.give_back(2);
    loans.give_back(1);
    assert_eq!(loans.total, 0);
}

#[test]
fn the_oldest_loan_gives_way_when_it_grows_itself() {
    let mut loans = Loans::new(SLOTS);
    assert_eq!(loans.charge(0, CLIENT, 2 * GUARANTEED, AT), Ok(()));
    let mut slot = 1;
    while loans.total + MOST - GUARANTEED <= POOL {
        assert_eq!(loans.charge(slot, CLIENT, MOST, AT), Ok(()));
        slot += 1;
    }
    assert_eq!(loans.charge(0, CLIENT, MOST, AT), Err(TooMuch));
    assert_eq!(loans.next_called_in(), None);
}

#[test]
fn who_can_wait_waits_for_equals_until_they_had_their_time() {
    const ALL: u16 = 8;
    // All of them together have all.
    let held = GUARANTEED + POOL / usize::from(ALL);
    let later = AT + Duration::from_millis(1);
    let new = |slot: u16| of_group(1, slot.into(), Standing::New);
    let mut loans = Loans::new(SLOTS);
    for slot in 0..ALL {
        let at = if slot == 0 { AT } else { later };
        assert!(loans.reserve(slot, new(slot), held, at));
    }
    assert!(!loans.reserve(ALL, new(ALL), held, later));
    assert_eq!(loans.next_called_in(), None);
    assert_eq!(loans.next_due(later), AT + SHORTEST);
    assert_eq!(loans.next_due(later + SHORTEST), AT + LEAST);
    // It is not charged, and has what all have.
    assert!(loans.reserve(ALL, new(ALL), GUARANTEED, later));
    assert!(loans.reserve(ALL, new(ALL), held, AT + LEAST));
    assert_eq!(loans.next_called_in(), Some(0));
    assert!(!loans.reserve(0, new(0), held, AT + LEAST));
    // One that grows does not wait for its own loan, which is the oldest now.
    assert!(!loans.reserve(1, new(1), held + 1, AT + LEAST));
    assert!(loans.reserve(1, new(1), held + 1, later + LEAST));
    assert_eq!(loans.next_called_in(), Some(2));
    loans.give_back(1);
    assert!(loans.reserve(1, new(1), 2 * held - GUARANTEED, later + LEAST));
    assert_eq!(loans.next_called_in(), None);
    // Another client does not wait.
    assert!(loans.reserve(22, OTHER, held, AT));
    assert!(loans.next_called_in().is_some());
    // What is given back is there at once.
    loans.give_back(5);
    assert!(loans.reserve(20, new(20), held, AT));
    assert_eq!(loans.next_called_in(), None);
    assert!(loans.total <= POOL);
}

/// How old the loans of eight others are when one of `asks` has as much as each of them.
fn waits(holds: Standing, asks: Standing, bytes: usize) -> Duration {
    const ALL: u16 = 8;
    let held = GUARANTEED + POOL / usize::from(ALL);
    let steps = (0..).map(|step| Duration::from_millis(50 * step));
    steps
        .take(100)
        .find(|age| {
            let mut loans = Loans::new(SLOTS);
            for slot in 0..ALL {
                assert!(loans.reserve(slot, of_group(1, slot.into(), holds), held, AT));
            }
            loans.reserve(ALL, of_group(1, 99, asks), bytes, AT + *age)
        })
        .unwrap()
}

#[test]
fn no_standing_keeps_a_loan_for_good() {
    use Standing::{Known, New, Penalized};
    let all = GUARANTEED + POOL / 8;
    for standing in [Known, New, Penalized] {
        assert_eq!(waits(standing, standing, all), LEAST);
    }
    for (better, worse) in [(Known, New), (Known, Penalized), (New, Penalized)] {
        assert_eq!(waits(worse, better, all), SHORTEST);
        assert_eq!(waits(better, worse, all), LONGEST);
        // Who asks for less than each of them has need not wait for that.
        assert_eq!(waits(better, worse, all - 1), SHORTEST);
    }
}

#[test]
fn who_has_most_of_it_gives_way_to_who_has_less_whatever_its_standing() {
    let hog = |group| of_group(1, group, Standing::Known);
    let mut loans = Loans::new(SLOTS);
    // Four loans of one address, as long as they may be; a small one of another.
    for slot in 0..4 {
        assert_eq!(loans.charge(slot, hog(7), MOST, AT), Ok(()));
    }
    assert_eq!(loans.charge(4, hog(8), 2 * GUARANTEED, AT), Ok(()));
    let new = of_group(1, 9, Standing::New);
    let wanted = GUARANTEED + POOL / 8;
    assert!(!loans.reserve(5, new, wanted, AT));
    assert!(loans.reserve(5, new, wanted, AT + SHORTEST));
    assert_eq!(loans.next_called_in(), Some(0));
    // Nor does it lose that to the same address, before it has had its time.
    assert!(!loans.reserve(6, hog(7), MOST, AT + SHORTEST + SHORTEST));
    assert_eq!(loans.next_called_in(), None);
    // One that goes beyond what is guaranteed by what is said to it does not go itself.
    assert_eq!(loans.charge(7, new, MOST, AT + SHORTEST), Ok(()));
    assert_eq!(loans.next_called_in(), Some(1));
}

#[test]
fn a_client_that_borrows_all_gives_way_to_another_and_to_nobody_when_it_goes_on() {
    let mut loans = Loans::new(SLOTS);
    // An honest one, older than all of the other's.
    assert_eq!(loans.charge(0, CLIENT, 3 * GUARANTEED, AT), Ok(()));
    let mut ended = Vec::new();
    for slot in 1..128 {
        assert_eq!(loans.charge(slot, OTHER, MOST, AT), Ok(()));
        ended.extend(core::iter::from_fn(|| loans.next_called_in()));
    }
    assert!(ended.len() > 100 && !ended.contains(&0), "{ended:?}");
    // More of the same: half of the pool is theirs, if they want it.
    let half = POOL / (MOST - GUARANTEED) / 2;
    let own: Vec<_> = (200..).take(half).collect();
    for slot in &own {
        assert_eq!(loans.charge(*slot, CLIENT, MOST, AT), Ok(()));
    }
    for slot in 128..200 {
        assert_eq!(loans.charge(slot, OTHER, MOST, AT), Ok(()));
    }
    let ended: Vec<_> = core::iter::from_fn(|| loans.next_called_in()).collect();
    assert!(ended.iter().all(|slot| *slot != 0 && !own.contains(slot)));
    assert!(loans.total <= POOL);
    // What is given back is nobody's.
    (0..SLOTS).for_each(|slot| loans.give_back(slot));
    assert_eq!((loans.total, loans.by_client.len()), (0, 0));
}

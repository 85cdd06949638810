//! From counts to what one operation costs.

use std::collections::BTreeMap;

use qemu::count::{Amount, Count, Page};

/// What our `memcpy` takes for a byte, in blocks of 128 (`sel4/src/runtime/memory.rs`,
/// `forward`: 16 moves, an addition and a jump), and our `memset` in blocks of 64: the
/// price of a step of `rep movsb` and of `rep stosb` when it is adjusted.
const MOVE: f64 = 18.0 / 128.0;
const STORE: f64 = 7.0 / 64.0;
/// Who executes the kernel's code.
pub(super) const KERNEL: &str = "kernel";
/// Code that is nobody's of the image: the firmware's, or any program's of Linux.
pub(super) const OTHERS: &str = "others";

/// Whose each page of code is.
#[derive(Default)]
pub(super) struct Owners(BTreeMap<Page, String>);

impl Owners {
    /// Pages that more than one has are nobody's.
    pub(super) fn add(&mut self, owner: &str, page: Page) {
        let found = self.0.entry(page).or_insert_with(|| owner.to_string());
        if found != owner {
            *found = OTHERS.to_string();
        }
    }

    fn of(&self, page: Page) -> &str {
        match page.is_kernel() {
            true => KERNEL,
            false => self.0.get(&page).map_or(OTHERS, String::as_str),
        }
    }
}

/// Instructions by who executed them, of one operation or one second.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cost {
    /// By owner; each step of a repeated instruction counts.
    pub(super) owners: BTreeMap<String, f64>,
    steps: f64,
    moved: f64,
    stored: f64,
}

impl Cost {
    /// All of a count.
    pub(super) fn of(count: &Count, owners: &Owners) -> Self {
        let mut cost = Self::default();
        for (page, amount) in &count.0 {
            let owner = owners.of(*page).to_string();
            *cost.owners.entry(owner).or_default() += amount.instructions as f64;
        }
        let Amount {
            steps,
            moved,
            stored,
            ..
        } = count.total();
        [cost.steps, cost.moved, cost.stored] = [steps, moved, stored].map(|value| value as f64);
        cost
    }

    /// Instructions as the emulator executes them.
    pub(super) fn total(&self) -> f64 {
        self.owners.values().sum()
    }

    /// Instructions with each step of `rep movsb` and `rep stosb` at the price of our
    /// copy: the emulator executes one for each byte, no processor does.
    pub(super) fn adjusted(&self) -> f64 {
        self.total() - self.steps + self.moved * MOVE + self.stored * STORE
    }

    #[cfg(test)]
    fn owner(&self, name: &str) -> f64 {
        self.owners.get(name).copied().unwrap_or_default()
    }

    pub(super) fn times(&self, factor: f64) -> Self {
        let owners = self.owners.iter();
        Self {
            owners: owners.map(|(n, v)| (n.clone(), v * factor)).collect(),
            steps: self.steps * factor,
            moved: self.moved * factor,
            stored: self.stored * factor,
        }
    }

    pub(super) fn less(&self, other: &Self) -> Self {
        let mut owners = self.owners.clone();
        for (name, value) in &other.owners {
            *owners.entry(name.clone()).or_default() -= value;
        }
        Self {
            owners,
            steps: self.steps - other.steps,
            moved: self.moved - other.moved,
            stored: self.stored - other.stored,
        }
    }
}

/// The one in the middle of the totals, and by what part of it the others differ at most
/// from each other.
pub(super) fn median(mut rounds: Vec<Cost>) -> Option<(Cost, f64)> {
    rounds.sort_by(|one, other| one.total().total_cmp(&other.total()));
    let spread = rounds.last()?.total() - rounds.first()?.total();
    let middle = rounds.swap_remove(rounds.len() / 2);
    let spread = spread / middle.total();
    Some((middle, spread))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(address: u64) -> Page {
        Page {
            address,
            fingerprint: 1,
        }
    }

    fn count(pages: &[(u64, u64)]) -> Count {
        let amount = |instructions| Amount {
            instructions,
            ..Amount::default()
        };
        let pages = pages.iter();
        Count(pages.map(|(at, n)| (page(*at), amount(*n))).collect())
    }

    fn owners() -> Owners {
        let mut owners = Owners::default();
        owners.add("gateway", page(0x1000));
        owners.add("offload-server", page(0x2000));
        owners.add("gateway", page(0x3000));
        owners.add("director", page(0x3000));
        owners
    }

    #[test]
    fn code_is_counted_for_its_owner_and_code_of_two_for_nobody() {
        let count = count(&[
            (0x1000, 5),
            (0x2000, 7),
            (0x3000, 11),
            (0x4000, 13),
            (1 << 63, 17),
        ]);
        let cost = Cost::of(&count, &owners());
        let each = ["gateway", "offload-server", "director", OTHERS, KERNEL];
        assert_eq!(
            each.map(|name| cost.owner(name)),
            [5.0, 7.0, 0.0, 24.0, 17.0]
        );
        assert_eq!(cost.total(), 53.0);
    }

    #[test]
    fn an_operation_costs_what_is_beside_the_idle_time_divided_by_their_number() {
        let idle = Cost::of(&count(&[(0x1000, 10)]), &owners());
        let window = Cost::of(&count(&[(0x1000, 130), (0x2000, 400)]), &owners());
        let one = window.less(&idle.times(3.0)).times(0.25);
        assert_eq!(
            (one.owner("gateway"), one.owner("offload-server")),
            (25.0, 100.0)
        );
    }

    #[test]
    fn a_repeated_move_has_the_price_of_our_copy_when_it_is_adjusted() {
        let mut count = count(&[(0x1000, 10_000)]);
        for amount in count.0.values_mut() {
            (amount.steps, amount.moved, amount.stored) = (1922, 1280, 640);
        }
        let cost = Cost::of(&count, &owners());
        assert_eq!(cost.total(), 10_000.0);
        assert_eq!(cost.adjusted(), 10_000.0 - 1922.0 + 180.0 + 70.0);
    }

    #[test]
    fn the_median_is_the_round_in_the_middle() {
        let round = |total| Cost::of(&count(&[(0x1000, total)]), &owners());
        let (middle, spread) = median(vec![round(110), round(90), round(100)]).unwrap();
        assert_eq!((middle.total(), spread), (100.0, 0.2));
        assert!(median(Vec::new()).is_none());
    }
}

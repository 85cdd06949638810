//! The shipped system, as its description has it: no list of its domains is written again.

use std::collections::BTreeSet;
use std::fs;
use std::sync::LazyLock;

use image::check::Checked;
use image::{load, workspace};

static DESCRIPTION: LazyLock<Checked> =
    LazyLock::new(|| load::file(&workspace::description().unwrap()).unwrap());

/// The domains, which are also the names of their programs.
pub(crate) fn domains() -> impl DoubleEndedIterator<Item = &'static str> {
    let domains = DESCRIPTION.domains.iter();
    domains.map(|domain| domain.name.as_str())
}

/// Pairs of domains with a channel between them.
pub(crate) fn channels() -> BTreeSet<BTreeSet<&'static str>> {
    let channels = DESCRIPTION.channels.iter();
    let sides = channels.map(|channel| channel.between.iter().map(String::as_str).collect());
    sides.collect()
}

/// What goes on when a domain fails, as the table of `docs/faults.md` has it: whether
/// sessions do.
pub(crate) fn is_outlived_by_sessions(domain: &str) -> bool {
    static PAGE: LazyLock<String> = LazyLock::new(|| {
        let path = workspace::root().unwrap().join("docs/faults.md");
        fs::read_to_string(path).unwrap()
    });
    let row = PAGE
        .lines()
        .find(|line| line.starts_with(&format!("| `{domain}`")));
    let row = row.unwrap_or_else(|| panic!("docs/faults.md does not say what {domain} costs"));
    let goes_on = row.trim_end_matches(" |").rsplit(" | ").next();
    goes_on.is_some_and(|goes_on| goes_on.starts_with("sessions"))
}

#[test]
fn some_domains_are_outlived_by_sessions_and_some_are_not() {
    assert!(domains().any(is_outlived_by_sessions));
    assert!(!domains().all(is_outlived_by_sessions));
}

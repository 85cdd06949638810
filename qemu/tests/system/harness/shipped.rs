//! The shipped system, as its description has it: no list of its domains is written again.

use std::collections::BTreeSet;
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

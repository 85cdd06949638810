//! Names: which there are, and that each is said once.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail, ensure};

use crate::description::Domain;

/// Domains by name.
pub(super) type Domains<'a> = BTreeMap<&'a str, &'a Domain>;

/// The domain of that name; `whose` it is to be stands in the error.
pub(super) fn find<'a>(domains: &Domains<'a>, name: &str, whose: &str) -> Result<&'a Domain> {
    match domains.get(name) {
        Some(domain) => Ok(domain),
        None => bail!("{whose}: there is no domain \"{name}\""),
    }
}

/// Refuses a name that occurs twice, or that is none.
pub(super) fn unique<'a>(names: impl Iterator<Item = &'a str>, what: &str) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        ensure!(seen.insert(name), "two {what} are called \"{name}\"");
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        ensure!(
            !name.is_empty() && name.len() <= 31 && name.chars().all(plain),
            "\"{name}\": a name has 1 to 31 letters a–z, digits and hyphens"
        );
    }
    Ok(())
}

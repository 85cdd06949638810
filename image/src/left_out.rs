//! What an image is built without: domains that its configuration has no use for.
//!
//! The system that is left is checked and judged like any other. What the description says
//! of a domain that is left out, and what the policy asserts of it, stays true for want of
//! anything that could break it. A domain that would share a channel with it is built with
//! `None` in that channel's place.

use anyhow::{Result, bail};

use crate::check::{Checked, check};
use crate::description::{Channel, Description, Domain, LeftOut, Purpose};

/// The variable that names to the domains' build scripts what is left out, with a blank
/// between two.
pub const VARIABLE: &str = "HANDOFF_WITHOUT";

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Directed];

    /// As a description and [`VARIABLE`] have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Directed => "directed",
        }
    }
}

/// What a configuration has no use for that has directed handshakes or not.
pub fn unneeded(has_directed: bool) -> Vec<Purpose> {
    match has_directed {
        true => Vec::new(),
        false => vec![Purpose::Directed],
    }
}

/// The purposes in the text of [`VARIABLE`].
///
/// # Errors
/// A name that is none.
pub fn parse(text: &str) -> Result<Vec<Purpose>> {
    let purpose = |name: &str| {
        let mut all = Purpose::ALL.into_iter();
        match all.find(|purpose| purpose.name() == name) {
            Some(purpose) => Ok(purpose),
            None => bail!("{VARIABLE}: nothing is only for \"{name}\""),
        }
    };
    text.split_whitespace().map(purpose).collect()
}

/// The same system for images in which nothing is for these purposes.
///
/// # Errors
/// A rule that is broken without what is left out: somebody has more to do with it than a
/// channel.
pub fn without(description: Checked, purposes: &[Purpose]) -> Result<Checked> {
    let mut left = description.into_inner();
    let is_left_out =
        |domain: &mut Domain| domain.only_for.is_some_and(|only| purposes.contains(&only));
    let domains: Vec<_> = left.domains.extract_if(.., is_left_out).collect();
    let is_gone = |name: &String| domains.iter().any(|domain| domain.name == *name);
    for domain in &mut left.domains {
        domain.restarts.retain(|name| !is_gone(name));
    }
    let leads_there = |channel: &mut Channel| channel.between.iter().any(is_gone);
    let channels = left.channels.extract_if(.., leads_there).collect();
    left.left_out = LeftOut { domains, channels };
    check(left)
}

impl Description {
    /// Whether images of some configurations are built without `domain`.
    pub(crate) fn is_optional(&self, domain: &str) -> bool {
        let mut domains = self.domains.iter().chain(&self.left_out.domains);
        domains.any(|other| other.name == domain && other.only_for.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check;
    use crate::workspace;

    #[test]
    fn whoever_is_built_without_a_domain_misses_its_channels_alone() {
        let text = std::fs::read_to_string(workspace::description().unwrap()).unwrap();
        let named = "name = \"keystore-server\"\n";
        assert_eq!(text.matches(named).count(), 1);
        let text = text.replacen(named, &format!("{named}only_for = \"directed\"\n"), 1);
        let error = without(check::parse(&text).unwrap(), &Purpose::ALL).unwrap_err();
        assert_eq!(
            error.to_string(),
            "call offload-server -> keystore-server: there is no domain \"keystore-server\""
        );
    }

    #[test]
    fn purposes_are_read_by_name_and_no_other_is_taken() {
        assert_eq!(parse("").unwrap(), []);
        assert_eq!(parse(" directed ").unwrap(), Purpose::ALL);
        let error = parse("directed other").unwrap_err().to_string();
        assert_eq!(error, "HANDOFF_WITHOUT: nothing is only for \"other\"");
    }
}

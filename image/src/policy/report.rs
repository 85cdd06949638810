//! Verdicts.

use anyhow::{Result, bail};

/// What breaks an assertion; empty when it holds.
pub(super) type Breaks = Vec<String>;

/// An assertion with its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The assertion's name.
    pub name: String,
    /// Whether the description keeps it.
    pub verdict: Verdict,
}

/// Whether a description keeps an assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Holds,
    /// It does not; what breaks it, a line each.
    Broken(Vec<String>),
}

/// Everything that a policy says of a system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The assertions, those for every system first.
    pub judged: Vec<Judged>,
    /// What no description can enforce here, and why.
    pub gaps: Vec<(String, String)>,
}

impl Report {
    /// The assertions that are broken.
    pub fn broken(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.judged
            .iter()
            .filter_map(|judged| match &judged.verdict {
                Verdict::Broken(why) => Some((judged.name.as_str(), why.as_slice())),
                Verdict::Holds => None,
            })
    }

    /// Refuses a system with a broken assertion.
    ///
    /// # Errors
    /// The first broken assertion, and what breaks it.
    pub fn refuse_broken(&self) -> Result<()> {
        match self.broken().next() {
            Some((name, why)) => bail!("policy: {name}: {}", why.join("; ")),
            None => Ok(()),
        }
    }
}

//! The policy: assertions over the system description, and their verdicts.
//!
//! `policy/base.toml` holds for every system and is part of reading a description
//! (`load`): who builds something never sees one that breaks it.
//! `policy.toml` beside a description says more of that system; the builder and
//! `cargo xtask policy` ask for it. Each assertion has a name that is a
//! sentence, and [`Verdict::Broken`] says what breaks it: for a forbidden reach
//! the shortest path.

pub mod assertion;
mod everywhere;
mod named;
mod report;
mod rules;
pub mod system;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::check::Checked;
use crate::share;
use assertion::Policy;
pub use report::{Judged, Report, Verdict};
use system::System;

/// What holds for every system.
const BASE: &str = include_str!("policy/base.toml");

/// The name of a system's policy, in the folder of its description.
const FILE: &str = "policy.toml";

/// Reads the text of a policy of a system with so many sessions, where it says shares.
///
/// # Errors
/// An unknown key, with its line.
pub fn parse(text: &str, sessions: u16) -> Result<Policy> {
    Ok(toml::from_str(&share::resolve(text, sessions)?)?)
}

/// Where the policy of the system at `description` is, when it has one.
pub fn path_of(description: &Path) -> Option<PathBuf> {
    let path = description.with_file_name(FILE);
    path.exists().then_some(path)
}

/// What the policies say of a description: the one for every system, then
/// that of this one.
///
/// # Errors
/// A policy can't be read.
pub fn judge(description: &Checked, own: Option<&Path>) -> Result<Report> {
    let mut report = judge_base(description)?;
    if let Some(path) = own {
        let text =
            fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let policy = parse(&text, description.sessions);
        let policy = policy.with_context(|| format!("{}", path.display()))?;
        judge_by(&policy, description, &mut report);
    }
    Ok(report)
}

/// What the policy for every system says of a description.
///
/// # Errors
/// Never, as long as that policy can be read, which a test asserts.
pub fn judge_base(description: &Checked) -> Result<Report> {
    let mut report = Report::default();
    judge_by(
        &parse(BASE, 0).context("the policy for every system")?,
        description,
        &mut report,
    );
    Ok(report)
}

/// Adds what `policy` says of a description.
pub fn judge_by(policy: &Policy, description: &Checked, report: &mut Report) {
    let system = System::new(description);
    report.judged.extend(rules::judge(policy, &system));
    let gaps = policy.gaps.iter();
    report
        .gaps
        .extend(gaps.map(|gap| (gap.name.clone(), gap.why.clone())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_for_every_system_can_be_read() {
        assert!(parse(BASE, 0).is_ok());
    }
}

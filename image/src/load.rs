//! Descriptions for those who build or draw something: read, checked, and judged by the
//! policy for every system.

use std::path::Path;

use anyhow::{Context, Result};

use crate::check::{self, Checked};
use crate::policy;

/// Reads, checks and judges a description.
///
/// # Errors
/// What is wrong, with the line for unknown keys, and the broken rule otherwise.
pub fn file(path: &Path) -> Result<Checked> {
    file_for(path, None)
}

/// The same for a machine with so many MiB of memory, in place of what the file says.
///
/// # Errors
/// As [`file()`].
pub fn file_for(path: &Path, memory_mib: Option<u32>) -> Result<Checked> {
    let memory = memory_mib.map(|mib| u64::from(mib) << 20);
    judged(check::load_for(path, memory)?).with_context(|| format!("{}", path.display()))
}

/// The same of a text.
///
/// # Errors
/// As [`file()`].
pub fn text(text: &str) -> Result<Checked> {
    judged(check::parse(text)?)
}

fn judged(description: Checked) -> Result<Checked> {
    policy::judge_base(&description)?.refuse_broken()?;
    Ok(description)
}

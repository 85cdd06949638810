//! What is wrong with a configuration: where, what, and what to do.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing that is wrong. Shown as two lines: `FILE:LINE: reason`, then what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The configuration file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The key or table that it is about, such as `listener[0].tls.keyring`; empty for
    /// the file as a whole.
    pub key: String,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            reason,
            remedy,
            ..
        } = self;
        write!(f, "{}:{line}: {reason}\n  {remedy}", file.display())
    }
}

/// Everything that is wrong with a configuration, at least one thing, by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Each of them.
    pub fn list(&self) -> &[Problem] {
        &self.0
    }

    /// One problem with the file as a whole.
    pub(crate) fn of_file(file: &Path, line: usize, complaint: Complaint) -> Self {
        Self(vec![Problem {
            file: file.to_path_buf(),
            line,
            key: String::new(),
            reason: complaint.reason,
            remedy: complaint.remedy,
        }])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(Problem::to_string).collect();
        f.write_str(&texts.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// A reason and a remedy that have no place yet.
#[derive(Debug)]
pub(crate) struct Complaint {
    pub(crate) reason: String,
    pub(crate) remedy: String,
}

impl Complaint {
    pub(crate) fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }
}

/// A problem was reported: there will be no configuration, whatever else is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reported(());

/// Collects what is wrong, by its place in the file.
#[derive(Debug, Default)]
pub(crate) struct Sink(RefCell<Vec<(usize, Complaint)>>);

impl Sink {
    /// Keeps a complaint about what begins at byte `at`.
    pub(crate) fn report(&self, at: usize, complaint: Complaint) -> Reported {
        self.0.borrow_mut().push((at, complaint));
        Reported(())
    }

    /// What was reported of the file with this text; `None` if nothing was.
    pub(crate) fn problems(self, file: &Path, text: &str, root: &DeTable<'_>) -> Option<Problems> {
        let mut found = self.0.into_inner();
        // Stable: what is said of one place stays in its order.
        found.sort_by_key(|(at, _)| *at);
        let problems = found.into_iter().map(|(at, complaint)| Problem {
            file: file.to_path_buf(),
            line: line(text, at),
            key: key_at(root, at).unwrap_or_default(),
            reason: complaint.reason,
            remedy: complaint.remedy,
        });
        let problems: Vec<Problem> = problems.collect();
        (!problems.is_empty()).then_some(Problems(problems))
    }
}

/// The line of byte `at`, from 1.
pub(crate) fn line(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// The name of the key or value that begins at byte `at`, the innermost.
fn key_at(table: &DeTable<'_>, at: usize) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let name = key.get_ref().to_string();
        value_at(&name, value, at).or_else(|| (key.span().start == at).then_some(name))
    })
}

fn value_at(name: &str, value: &Spanned<DeValue<'_>>, at: usize) -> Option<String> {
    let inner = match value.get_ref() {
        DeValue::Table(table) => key_at(table, at).map(|key| format!("{name}.{key}")),
        DeValue::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| value_at(&format!("{name}[{index}]"), item, at)),
        _ => None,
    };
    inner.or_else(|| (value.span().start == at).then(|| name.to_string()))
}

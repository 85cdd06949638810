//! What is wrong with a configuration: where, what, and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

/// The first thing that is wrong. Shown as two lines: `FILE:LINE: reason`, then
/// what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The configuration file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
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
        } = self;
        write!(f, "{}:{line}: {reason}\n  {remedy}", file.display())
    }
}

impl std::error::Error for Problem {}

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

/// A file's name and text: turns a place in the text into a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a Path,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    /// The complaint at the line of byte `at`.
    pub(crate) fn problem(&self, at: usize, complaint: Complaint) -> Problem {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Problem {
            file: self.file.to_path_buf(),
            line,
            reason: complaint.reason,
            remedy: complaint.remedy,
        }
    }
}

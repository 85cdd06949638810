//! Counting source: lines of code, and uses of `unsafe`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The source of a package of this workspace.
pub fn source_of(workspace: &Path, package: &str) -> Option<PathBuf> {
    let folders = ["", "image", "kernel-shim"].map(|folder| workspace.join(folder));
    let sources = folders.map(|folder| folder.join(package).join("src"));
    sources.into_iter().find(|source| source.is_dir())
}

/// Adds up `of` over the Rust files below `folder`.
///
/// # Errors
/// A file can't be read.
pub fn count(folder: &Path, of: fn(&str) -> usize) -> Result<usize> {
    let mut sum = 0;
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            sum += count(&path, of)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            sum += of(&fs::read_to_string(&path)?);
        }
    }
    Ok(sum)
}

/// Lines that are neither empty nor comment, before the unit tests.
pub fn code_lines(source: &str) -> usize {
    source
        .lines()
        .map(str::trim)
        .take_while(|line| *line != "#[cfg(test)]")
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}

/// Unsafe blocks, functions, implementations and foreign items.
pub fn unsafe_uses(source: &str) -> usize {
    source
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
        .flat_map(|line| line.match_indices("unsafe ").map(move |(at, _)| (line, at)))
        .filter(|(line, at)| {
            let behind = line.get(at + "unsafe ".len()..).unwrap_or_default();
            ["{", "fn ", "impl", "extern"]
                .iter()
                .any(|word| behind.starts_with(word))
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_counted_without_comments_and_tests() {
        let source = "//! Docs.\n\nfn a() {\n    // why\n    b();\n}\n#[cfg(test)]\nmod tests {}\n";
        assert_eq!(code_lines(source), 3);
    }

    #[test]
    fn unsafe_is_counted_where_it_is_code() {
        let source = "// unsafe { }\nlet x = unsafe { y() };\nunsafe impl Send for X {}\n\
                      unsafe fn z() {}\n#![forbid(unsafe_code)]\n";
        assert_eq!(unsafe_uses(source), 3);
    }
}

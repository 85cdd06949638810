//! Counting source: lines of code, and uses of `unsafe`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The source of a package of this workspace.
pub fn source_of(workspace: &Path, package: &str) -> Option<PathBuf> {
    let folders = ["", "image", "kernel-shim", "examples"].map(|folder| workspace.join(folder));
    let sources = folders.map(|folder| folder.join(package).join("src"));
    sources.into_iter().find(|source| source.is_dir())
}

/// Lines of code of the Rust files below `folder`, without those of tests.
///
/// # Errors
/// A file can't be read.
pub fn lines(folder: &Path) -> Result<usize> {
    let mut files = Vec::new();
    read(folder, &mut files)?;
    let tests: Vec<PathBuf> = files
        .iter()
        .flat_map(|(path, source)| test_modules(path, source))
        .collect();
    let code = files.iter().filter(|(path, _)| {
        let module = path.with_extension("");
        !tests.iter().any(|test| module.starts_with(test))
    });
    Ok(code.map(|(_, source)| code_lines(source)).sum())
}

/// Uses of `unsafe` in the Rust files below `folder`, with those of tests.
///
/// # Errors
/// A file can't be read.
pub fn uses(folder: &Path) -> Result<usize> {
    let mut files = Vec::new();
    read(folder, &mut files)?;
    Ok(files.iter().map(|(_, source)| unsafe_uses(source)).sum())
}

/// Adds the Rust files below `folder`, each with its text.
fn read(folder: &Path, files: &mut Vec<(PathBuf, String)>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            read(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            let source = fs::read_to_string(&path)?;
            files.push((path, source));
        }
    }
    Ok(())
}

/// The modules that the file at `path` has for tests alone and in files of their own, as
/// paths without `.rs`.
fn test_modules(path: &Path, source: &str) -> Vec<PathBuf> {
    let is_root = ["lib", "main", "mod"].map(Some);
    let folder = match path.file_stem().and_then(|stem| stem.to_str()) {
        stem if is_root.contains(&stem) => path.with_file_name(""),
        _ => path.with_extension(""),
    };
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let names = lines.windows(2).filter_map(|pair| match pair {
        [attribute, declared] if is_for_tests(attribute) => {
            declared.strip_prefix("mod ")?.strip_suffix(';')
        }
        _ => None,
    });
    names.map(|name| folder.join(name)).collect()
}

/// Lines that are neither empty nor comment nor of an item that is for tests alone. The
/// source is formatted: an item ends where it began, with `}` or `;`.
fn code_lines(source: &str) -> usize {
    let mut test_item = None;
    let mut count = 0;
    for line in source.lines() {
        let code = line.trim();
        let indent = line.len() - line.trim_start().len();
        if test_item == Some(indent) && code.ends_with(['}', ';']) {
            test_item = None;
        } else if test_item.is_some() || code.is_empty() || code.starts_with("//") {
        } else if is_for_tests(code) {
            test_item = Some(indent);
        } else {
            count += 1;
        }
    }
    count
}

fn is_for_tests(attribute: &str) -> bool {
    ["#[cfg(test)]", "#[cfg(all(test,"]
        .iter()
        .any(|start| attribute.starts_with(start))
}

/// Unsafe blocks, functions, implementations and foreign items.
fn unsafe_uses(source: &str) -> usize {
    source
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
        .flat_map(|line| line.match_indices("unsafe ").map(move |(at, _)| (line, at)))
        .filter(|(line, at)| {
            let rest = line.get(at + "unsafe ".len()..).unwrap_or_default();
            ["{", "fn ", "impl", "extern"]
                .iter()
                .any(|word| rest.starts_with(word))
        })
        .count()
}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use super::*;

    #[test]
    fn code_is_counted_without_comments_and_tests() {
        let source = "//! Docs.\n\nfn a() {\n    // why\n    b();\n}\n#[cfg(test)]\nmod tests {}\n";
        assert_eq!(code_lines(source), 3);
    }

    #[test]
    fn code_after_an_item_for_tests_is_counted() {
        let source = "#[cfg(test)]\nmod trace;\nmod ring;\nimpl A {\n    #[cfg(all(test, not(loom)))]\n\
                          fn b() {\n        c();\n    }\n    fn d() {}\n}\n";
        assert_eq!(code_lines(source), 4);
    }

    #[test]
    fn a_module_of_tests_in_a_file_of_its_own_is_no_code() {
        let folder = env::temp_dir().join(format!("handoff-figures-{}", process::id()));
        let write = |path: &str, source: &str| {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, source).unwrap();
        };
        write("lib.rs", "mod page;\nmod tests_of_taste;\n");
        write("tests_of_taste.rs", "fn a() {}\n");
        write("page.rs", "fn b() {}\n#[cfg(test)]\nmod tests;\n");
        write("page/tests.rs", "fn c() {}\nfn d() {}\n");
        write(
            "page/tests/world.rs",
            &format!("fn e() {{ {} {{ f() }} }}\n", "unsafe"),
        );
        let figures = (lines(&folder).unwrap(), uses(&folder).unwrap());
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(figures, (4, 1));
    }

    #[test]
    fn unsafe_is_counted_where_it_is_code() {
        let source = "// unsafe { }\nlet x = unsafe { y() };\nunsafe impl Send for X {}\n\
                      unsafe fn z() {}\n#![forbid(unsafe_code)]\n";
        assert_eq!(unsafe_uses(source), 3);
    }
}

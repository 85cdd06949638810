//! `docs/messages.md` has every message that the tools and the root task can end with,
//! and none that is not in their sources.
#![allow(clippy::unwrap_used, reason = "a test that finds less fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use image::workspace;

/// The page.
const PAGE: &str = "docs/messages.md";
/// The calls that make a problem of a configuration: reason, then remedy.
const PROBLEMS: [&str; 4] = [".problem(", ".complain(", "Complaint::new(", "unfit("];
/// The calls that make the other messages, by source.
const OTHERS: [(&str, &[&str]); 12] = [
    ("xtask/src/run.rs", &["Refused(", ".stopped("]),
    ("xtask/src/run/place.rs", &["Refused(", "refused("]),
    ("xtask/src/config.rs", &["Refused("]),
    ("xtask/src/rotate.rs", &["Refused(", "bail!(", ".context("]),
    ("xtask/src/setup.rs", &["write!("]),
    ("gateway-config/src/rotation.rs", &["write!(", "write_str("]),
    ("gateway-config/src/seal.rs", &["write!(", "write_str("]),
    ("sel4/getrandom/src/lib.rs", &["write!(", "write_str("]),
    ("qemu/src/guest.rs", &["bail!(", "anyhow!("]),
    ("qemu/src/machine.rs", &["bail!(", ".context("]),
    ("image/init/src/unfit.rs", &["write!(", "write_str("]),
    (
        "image/init/src/main.rs",
        &["panic!(", "log!(\"init: no", "log!(\"init: the plan"],
    ),
];
/// Where the table of a configuration's problems begins.
const TABLE: &str = "| problem | what to do |\n|---|---|\n";

/// The literals that begin the arguments of each call of `marker`, the first of each
/// argument; an argument without one is empty. Tests are left out.
fn calls(source: &str, marker: &str) -> Vec<Vec<String>> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = Vec::new();
    for (at, _) in source.match_indices(marker) {
        let before = source[..at].chars().next_back();
        let is_word = marker.starts_with(char::is_alphabetic);
        if is_word && before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let open = at + marker.find('(').unwrap() + 1;
        found.push(arguments(&source[open..]));
    }
    found
}

fn arguments(source: &str) -> Vec<String> {
    let mut list = vec![String::new()];
    let mut depth = 0;
    let mut characters = source.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => list.push(String::new()),
            '"' => {
                let text = literal(&mut characters);
                let last = list.last_mut().unwrap();
                if last.is_empty() {
                    *last = text;
                }
            }
            _ => {}
        }
    }
    list
}

/// The rest of a literal after its first quotation mark, with `…` for what is filled in.
fn literal(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut text = String::new();
    let mut filled = 0;
    while let Some(character) = characters.next() {
        match (character, filled) {
            ('"', 0) => break,
            ('\\', _) => match characters.next() {
                Some('n') => text.push(' '),
                Some('\n') => while characters.next_if(|c| c.is_whitespace()).is_some() {},
                Some(other) => text.push(other),
                None => break,
            },
            ('{' | '}', _) if characters.peek() == Some(&character) && filled == 0 => {
                characters.next();
                text.push(character);
            }
            ('{', _) => filled += 1,
            ('}', _) => {
                filled -= 1;
                text.push('…');
            }
            (_, 0) => text.push(character),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// With HANDOFF_WRITE_MESSAGES set, the table is written instead.
#[test]
fn each_problem_of_a_configuration_is_in_the_table_with_what_to_do() {
    let workspace = workspace::root().unwrap();
    let mut rows = BTreeSet::new();
    for file in sources(&workspace.join("gateway-config/src")) {
        let source = fs::read_to_string(file).unwrap();
        for call in PROBLEMS.iter().flat_map(|marker| calls(&source, marker)) {
            if let [reason, remedy, ..] = &call[..]
                && !reason.is_empty()
            {
                rows.insert(row(&[reason, remedy]));
            }
        }
    }
    assert!(rows.len() > 90, "{}", rows.len());
    let table: String = rows.into_iter().collect();
    let page = fs::read_to_string(workspace.join(PAGE)).unwrap();
    let (before, found) = page.split_once(TABLE).unwrap();
    if std::env::var_os("HANDOFF_WRITE_MESSAGES").is_some() {
        fs::write(workspace.join(PAGE), format!("{before}{TABLE}{table}")).unwrap();
        return;
    }
    assert!(
        found == table,
        "write it again: HANDOFF_WRITE_MESSAGES=1 cargo test -p xtask --test messages"
    );
}

/// Each bad file's text, of which the tests know that it is told, is one of the table.
#[test]
fn what_bad_configurations_are_told_is_in_the_table() {
    let workspace = workspace::root().unwrap();
    let page = fs::read_to_string(workspace.join(PAGE)).unwrap();
    let (_, table) = page.split_once(TABLE).unwrap();
    let patterns: Vec<Vec<&str>> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .map(|reason| reason.split('…').collect())
        .collect();
    let fits = |text: &str, pattern: &[&str]| {
        let mut rest = text;
        let parts = pattern.iter().enumerate();
        let mut all = parts.map(|(index, part)| match index {
            0 => rest.strip_prefix(part).map(|after| rest = after),
            _ => rest.find(part).map(|at| rest = &rest[at + part.len()..]),
        });
        all.all(|found| found.is_some())
    };
    let mut told = 0;
    for file in fs::read_dir(workspace.join("gateway-config/tests/bad")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|end| end != "err") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines().filter(|line| line.starts_with("tests/bad/")) {
            let reason = line.splitn(3, ':').nth(2).unwrap().trim();
            // What is said of a ring's certificate stands after the ring's name.
            let of_ring = reason.strip_prefix("key ring \"");
            let of_ring = of_ring.and_then(|rest| Some(rest.split_once("\": ")?.1));
            let known = [Some(reason), of_ring].into_iter().flatten();
            let known = known
                .into_iter()
                .any(|text| patterns.iter().any(|p| fits(text, p)));
            assert!(known, "{}: {reason}", path.display());
            told += 1;
        }
    }
    assert!(told > 130, "{told}");
}

#[test]
fn every_other_message_is_in_a_table_and_none_that_nobody_says() {
    let workspace = workspace::root().unwrap();
    let mut said = BTreeSet::new();
    for (file, markers) in OTHERS {
        let source = fs::read_to_string(workspace.join(file)).unwrap();
        let calls = markers.iter().flat_map(|marker| calls(&source, marker));
        said.extend(calls.filter_map(|call| {
            let mut texts = call.into_iter().filter(|text| !text.is_empty());
            // A place to write to may come first.
            texts.next()
        }));
    }
    let page = fs::read_to_string(workspace.join(PAGE)).unwrap();
    let (before, _) = page.split_once(TABLE).unwrap();
    let rows = before.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| `")?.split(" | ").collect();
        assert_eq!(cells.len(), 4, "{line}");
        assert!(cells.iter().all(|cell| !cell.trim().is_empty()), "{line}");
        Some(cells[0].trim_end_matches('`').to_string())
    });
    let rows: BTreeSet<String> = rows.collect();
    let missing: Vec<_> = said.difference(&rows).collect();
    let invented: Vec<_> = rows.difference(&said).collect();
    assert!(missing.is_empty(), "not in {PAGE}: {missing:#?}");
    assert!(invented.is_empty(), "in {PAGE} alone: {invented:#?}");
}

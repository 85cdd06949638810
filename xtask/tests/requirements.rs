//! `docs/requirements.md` names tests that exist, and for every row a test, or a note
//! that there is none.
#![allow(clippy::unwrap_used, reason = "a test that finds less fails")]

use std::collections::BTreeMap;
use std::fs;

use image::workspace;

/// R1 to R35 and C1 to C9.
const ROWS: [(char, usize); 2] = [('R', 35), ('C', 9)];
const NONE: &str = "no test";

/// Row and the cell of its tests, from lines `| R1 | tests | documents |`.
fn matrix(page: &str) -> BTreeMap<String, String> {
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        // The row may be a link.
        let row = cells.next()?.trim_start_matches('[').split(']').next()?;
        let number = row.strip_prefix(['R', 'C'])?;
        number.parse::<usize>().ok()?;
        Some((row.to_string(), cells.next()?.to_string()))
    });
    rows.collect()
}

/// `path::name` in backticks.
fn tests(cell: &str) -> impl Iterator<Item = (&str, &str)> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted.filter_map(|quoted| quoted.rsplit_once("::"))
}

#[test]
fn every_row_names_tests_that_exist_or_says_that_there_is_none() {
    let root = workspace::root().unwrap();
    let page = fs::read_to_string(root.join("docs/requirements.md")).unwrap();
    let matrix = matrix(&page);
    for (kind, count) in ROWS {
        for number in 1..=count {
            let row = format!("{kind}{number}");
            let cell = matrix
                .get(&row)
                .unwrap_or_else(|| panic!("{row} is missing"));
            let named: Vec<_> = tests(cell).collect();
            assert!(
                !named.is_empty() || cell.contains(NONE),
                "{row} names no test, and does not say so"
            );
            for (path, name) in named {
                let text = fs::read_to_string(root.join(path))
                    .unwrap_or_else(|error| panic!("{row}: {path}: {error}"));
                let test = format!("fn {name}(");
                assert!(text.contains(&test), "{row}: {path} has no test {name}");
            }
        }
    }
}

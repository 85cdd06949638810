//! `docs/adr/README.md` has a row for each decision record, with its title.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test that finds less fails"
)]

use std::fs;

use image::workspace;

const FOLDER: &str = "docs/adr";
/// Before and after the index.
const HEADER: &str = "| number | title | decided | status |\n|---|---|---|---|\n";

/// A record: its number, its file, its title, its text.
struct Record {
    number: String,
    file: String,
    title: String,
    text: String,
}

impl Record {
    fn read(file: String) -> Self {
        let path = workspace::root().unwrap().join(FOLDER).join(&file);
        let text = fs::read_to_string(path).unwrap();
        let number = file[..4].to_string();
        let first = text.lines().next().unwrap();
        let title = first.strip_prefix(&format!("# {number} "));
        let title = title.unwrap_or_else(|| panic!("{file} does not begin with # {number}"));
        Self {
            title: title.into(),
            number,
            file,
            text,
        }
    }

    /// What its row begins with.
    fn begin(&self) -> String {
        let Self {
            number,
            file,
            title,
            ..
        } = self;
        format!("| [{number}]({file}) | {title} | ")
    }

    /// A row for a record that has none: what was decided is the first sentence that says
    /// so.
    fn row(&self) -> String {
        let decision = self.text.split("**Decision.** ").nth(1).unwrap_or_default();
        let decision = decision.replace('\n', " ");
        let end = decision.find(". ").map_or(decision.len(), |end| end + 1);
        let status = self.text.split("\nStatus: ").nth(1).unwrap_or("accepted.");
        let status = status.split(['.', '\n']).next().unwrap_or_default();
        format!("{}{} | {status} |", self.begin(), &decision[..end])
    }
}

fn records() -> Vec<Record> {
    let folder = workspace::root().unwrap().join(FOLDER);
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|n| n.starts_with(char::is_numeric)).collect();
    names.sort_unstable();
    names.into_iter().map(Record::read).collect()
}

/// `HANDOFF_WRITE_INDEX=1` writes a row for each that has none, to be read again.
#[test]
fn the_index_has_each_decision_by_its_title() {
    let path = workspace::root().unwrap().join(FOLDER).join("README.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(HEADER).unwrap();
    let end = rest.find("\n\n").unwrap();
    let (index, after) = rest.split_at(end);
    let kept: Vec<&str> = index.lines().collect();
    let made: Vec<String> = records()
        .iter()
        .map(|record| {
            let row = kept.iter().find(|row| row.starts_with(&record.begin()));
            row.map_or_else(|| record.row(), |row| (*row).into())
        })
        .collect();
    if std::env::var_os("HANDOFF_WRITE_INDEX").is_some() {
        fs::write(&path, format!("{before}{HEADER}{}{after}", made.join("\n"))).unwrap();
        return;
    }
    let missing: Vec<_> = made
        .iter()
        .filter(|row| !kept.contains(&row.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "HANDOFF_WRITE_INDEX=1 writes {missing:#?}"
    );
    assert_eq!(
        kept, made,
        "rows of records that are not there, or in another order"
    );
}

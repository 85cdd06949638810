//! The tables of domains in the documents are made of the domains' own READMEs and of the
//! description.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what fails here is a failed test"
)]

use std::fs;
use std::path::PathBuf;

use image::description::Domain;
use image::figures::source_of;
use image::{guest, load, workspace};

/// A domain, or the root task, as its README tells of it.
struct Told {
    name: String,
    /// Of a domain.
    described: Option<Domain>,
    readme: PathBuf,
    text: String,
}

impl Told {
    fn of(name: &str, package: &str, described: Option<Domain>) -> Self {
        let source = source_of(&workspace::root().unwrap(), package).unwrap();
        let readme = source.with_file_name("README.md");
        Self {
            name: name.into(),
            described,
            text: fs::read_to_string(&readme).unwrap(),
            readme,
        }
    }

    /// The cell of a row of its README.
    fn cell(&self, row: &str) -> &str {
        let mut lines = self.text.lines();
        let cell = lines.find_map(|line| line.strip_prefix(&format!("| {row} | ")));
        let cell = cell.and_then(|cell| cell.strip_suffix(" |"));
        cell.unwrap_or_else(|| panic!("{} has no row \"{row}\"", self.readme.display()))
    }

    fn cells(&self, rows: &[&str]) -> Vec<String> {
        rows.iter().map(|row| self.cell(row).into()).collect()
    }
}

/// The domains of the description in its order, and the root task.
fn told() -> Vec<Told> {
    let description = load::file(&workspace::description().unwrap()).unwrap();
    let domains = description.into_inner().domains.into_iter();
    let mut told: Vec<_> = domains
        .map(|domain| {
            let package = domain.package.clone().unwrap_or(domain.name.clone());
            Told::of(&domain.name.clone(), &package, Some(domain))
        })
        .collect();
    told.push(Told::of("root task, then monitor", guest::ROOT, None));
    told
}

/// The table below `header` in a document has these rows; `HANDOFF_WRITE_TABLES=1` writes
/// them.
fn check(document: &str, header: &str, rows: &[Vec<String>]) {
    let path = workspace::root().unwrap().join(document);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.iter().position(|line| *line == header);
    let start = start.unwrap_or_else(|| panic!("{document} has no table \"{header}\"")) + 2;
    let kept = lines[start..]
        .iter()
        .take_while(|line| line.starts_with('|'))
        .count();
    let made: Vec<String> = rows
        .iter()
        .map(|cells| format!("| {} |", cells.join(" | ")))
        .collect();
    if std::env::var_os("HANDOFF_WRITE_TABLES").is_some() {
        let lines = [
            lines[..start].to_vec(),
            made.iter().map(String::as_str).collect(),
            lines[start + kept..].to_vec(),
        ];
        fs::write(&path, lines.concat().join("\n") + "\n").unwrap();
        return;
    }
    let kept = &lines[start..start + kept];
    assert!(
        kept == made,
        "{document}: HANDOFF_WRITE_TABLES=1 writes the table again"
    );
}

#[test]
fn the_architecture_says_of_each_domain_what_its_readme_says() {
    let rows = told().into_iter().map(|told| {
        let name = match &told.described {
            Some(domain) => format!("`{}` ({})", told.name, domain.priority),
            None => format!("{}: `image/init` (255)", told.name),
        };
        let cells = told.cells(&["owns", "never holds", "calls", "called by"]);
        [vec![name], cells].concat()
    });
    let header = "| domain (priority) | owns | never holds | calls | is called by |";
    check("docs/architecture.md", header, &rows.collect::<Vec<_>>());
}

#[test]
fn the_table_of_faults_says_of_each_domain_what_its_readme_says() {
    let rows = told().into_iter().filter_map(|told| {
        let domain = told.described.as_ref()?;
        let name = match domain.only_for {
            Some(_) => format!("`{}`, where there is one", told.name),
            None => format!("`{}`", told.name),
        };
        let with: Vec<_> = domain.restarts.iter().map(|d| format!("`{d}`")).collect();
        let with = match with.as_slice() {
            [] => "nobody".into(),
            with => with.join(", "),
        };
        let cells = told.cells(&["lost when it fails", "goes on then"]);
        Some([vec![name, with], cells].concat())
    });
    let header = "| fails | restarted with it | lost | continues |";
    check("docs/faults.md", header, &rows.collect::<Vec<_>>());
}

#[test]
fn the_threat_model_says_of_each_domain_what_its_readme_says() {
    let rows = told().into_iter().map(|told| {
        let name = match told.described {
            Some(_) => format!("`{}`", told.name),
            None => told.name.clone(),
        };
        let rows = ["an attacker in it gets", "stays safe from them", "shown by"];
        [vec![name], told.cells(&rows)].concat()
    });
    let header = "| domain | the attacker gets | stays safe | shown by |";
    check("docs/threat-model.md", header, &rows.collect::<Vec<_>>());
}

#[test]
fn the_first_page_says_of_each_domain_what_its_readme_says() {
    let rows = told().into_iter().map(|told| {
        let name = match told.described {
            Some(_) => format!("`{}`", told.name),
            None => format!("{} (`image/init`)", told.name),
        };
        vec![name, told.cell("owns").into()]
    });
    check("README.md", "| domain | owns |", &rows.collect::<Vec<_>>());
}

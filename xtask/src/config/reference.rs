//! The reference of `gateway.toml` as a page of Markdown.

use std::fmt::Write as _;

use gateway_config::reference::{FILE, Key, Kind, Need, Table};

const HEAD: &str = "# gateway.toml

Made by `cargo xtask config reference` from what the checks read; do not edit it.
`cargo xtask config example` prints a configuration with every key, `cargo xtask config
check FILE` tells all that is wrong with one, and `cargo xtask config reference
--json-schema` prints a JSON Schema for editors.
";

/// The page.
pub(super) fn page() -> String {
    let mut page = HEAD.to_string();
    for table in FILE.every() {
        write_table(&mut page, table);
    }
    page
}

fn write_table(page: &mut String, table: &Table) {
    let title = match std::ptr::eq(table, &raw const FILE) {
        true => "The file".to_string(),
        false => format!("`{}`", table.name),
    };
    // A String takes what is written to it.
    let _ = writeln!(page, "\n## {title}\n\n{}\n", table.about);
    page.push_str("| key | values | without it | meaning |\n|---|---|---|---|\n");
    for key in table.keys {
        let without = match key.need {
            Need::Required => "must be there".to_string(),
            Need::Default(default) => format!("`{}`", default()),
            Need::Depends(what) => what.to_string(),
        };
        let values = values(key);
        let _ = writeln!(
            page,
            "| `{}` | {values} | {without} | {} |",
            key.name, key.meaning
        );
    }
    page.push_str("\n```toml\n");
    for key in table.keys.iter().filter(|key| !key.example.contains('…')) {
        let _ = writeln!(page, "{} = {}", key.name, key.example);
    }
    page.push_str("```\n");
}

fn values(key: &Key) -> String {
    let quoted = |names: Vec<&str>| {
        let names: Vec<String> = names.iter().map(|name| format!("`\"{name}\"`")).collect();
        names.join(", ")
    };
    match key.kind {
        Kind::Text { most } => format!("text of 1 to {most} bytes"),
        Kind::File => "the name of a file".into(),
        Kind::Files { count } => format!("the name of a file, or a list of up to {count}"),
        Kind::Number { least, most, unit } => format!("{least} to {most} {unit}").trim().into(),
        Kind::Numbers { least, most, unit } => format!("list of {unit}, {least} to {most}"),
        Kind::Flag => "`true`, `false`".into(),
        Kind::Choice(names) => format!("one of {}", quoted(names())),
        Kind::Choices(names) => format!("one or more of {}", quoted(names())),
        Kind::Texts { most, count } => {
            format!("a text of 1 to {most} bytes, or a list of up to {count}")
        }
        Kind::Table(table) => format!("table `{}`", table.name),
        Kind::Tables { table, count } => format!("up to {count} tables `{}`", table.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With HANDOFF_WRITE_REFERENCE set, the page is written instead.
    #[test]
    fn the_reference_in_the_documentation_is_what_the_command_prints() {
        let file = "../docs/reference.md";
        if std::env::var_os("HANDOFF_WRITE_REFERENCE").is_some() {
            std::fs::write(file, page()).unwrap();
        }
        let found = std::fs::read_to_string(file).unwrap();
        assert!(
            found == page(),
            "write it again: HANDOFF_WRITE_REFERENCE=1 cargo test -p xtask reference"
        );
    }
}

//! The committed baseline: figures that may only fall.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Where it is, from the workspace's folder.
pub(super) const FILE: &str = "xtask/baseline.toml";

/// Figures by what they are of (a domain, or "unsafe"), and by name.
pub(super) type Figures = BTreeMap<String, BTreeMap<String, u64>>;

/// A figure that is not what the baseline says; `None` where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    of: String,
    name: String,
    was: Option<u64>,
    is: Option<u64>,
}

impl Change {
    const fn is_rise(&self) -> bool {
        match (self.was, self.is) {
            (Some(was), Some(is)) => is > was,
            // A new figure is one more thing that grows.
            (None, _) => true,
            (Some(_), None) => false,
        }
    }

    fn words(&self) -> String {
        let Self { of, name, was, is } = self;
        match (was, is) {
            (Some(was), Some(is)) => format!("{of}: {name}: was {was}, is {is}"),
            (Some(was), None) => format!("{of}: {name}: was {was}, is gone"),
            (None, is) => format!(
                "{of}: {name}: is {}, and has no line",
                is.unwrap_or_default()
            ),
        }
    }
}

/// What differs, in the order of the figures.
fn changes(baseline: &Figures, figures: &Figures) -> Vec<Change> {
    let of = |list: &Figures, of: &str, name: &str| list.get(of)?.get(name).copied();
    let mut keys: Vec<(&String, &String)> = [baseline, figures]
        .into_iter()
        .flatten()
        .flat_map(|(of, list)| list.keys().map(move |name| (of, name)))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter()
        .map(|(part, name)| Change {
            of: part.clone(),
            name: name.clone(),
            was: of(baseline, part, name),
            is: of(figures, part, name),
        })
        .filter(|change| change.was != change.is)
        .collect()
}

/// What of the baseline is written.
#[derive(Clone, Copy, Default, clap::Args)]
pub(crate) struct Writing {
    /// Write figures that fell into the baseline, xtask/baseline.toml.
    #[arg(long)]
    lower_baseline: bool,
    /// Write figures into it that have no line yet: those of a new domain.
    #[arg(long)]
    extend_baseline: bool,
}

/// Compares the figures with the baseline, and writes what it is told to write.
/// The second is what a person should know when none rose.
///
/// # Errors
/// A figure rose, or the baseline can't be read or written.
pub(super) fn check(
    workspace: &Path,
    figures: &Figures,
    writing: Writing,
) -> Result<Option<String>> {
    let path = workspace.join(FILE);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {FILE}"))?;
    let baseline: Figures = toml::from_str(&text).with_context(|| format!("{FILE}: no figures"))?;
    let mut text = text;
    let mut changes = changes(&baseline, figures);
    if writing.extend_baseline {
        let new: Vec<Change> = changes
            .extract_if(.., |change| change.was.is_none())
            .collect();
        text = extended(&text, &new);
        fs::write(&path, &text).with_context(|| format!("writing {FILE}"))?;
    }
    if let Some(refusal) = refusal(&changes) {
        bail!(refusal);
    }
    if changes.is_empty() {
        return Ok(None);
    }
    let list: Vec<String> = changes.iter().map(Change::words).collect();
    let list = list.join("\n  ");
    if writing.lower_baseline {
        fs::write(&path, lowered(&text, &changes)).with_context(|| format!("writing {FILE}"))?;
        return Ok(Some(format!("{FILE} was lowered:\n  {list}")));
    }
    Ok(Some(format!(
        "figures fell; `cargo xtask check --lower-baseline` writes that down:\n  {list}"
    )))
}

/// Why the figures are refused, if they are.
fn refusal(changes: &[Change]) -> Option<String> {
    let rises: Vec<String> = changes
        .iter()
        .filter(|change| change.is_rise())
        .map(Change::words)
        .collect();
    (!rises.is_empty()).then(|| {
        format!(
            "figures that may only fall rose:\n  {}\nlower them; or, if it has to be, raise \
             their lines in {FILE} in the same commit, which says why; \
             `cargo xtask check --extend-baseline` writes the lines of a new domain",
            rises.join("\n  ")
        )
    })
}

/// The text with the new figures; comments stay, lines of figures that are gone go.
fn lowered(text: &str, changes: &[Change]) -> String {
    let mut of = String::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        let bare = line.trim();
        if let Some(part) = bare.strip_prefix('[').and_then(|p| p.strip_suffix(']')) {
            of = part.trim_matches('"').to_string();
        }
        let change = bare.split_once('=').and_then(|(name, _)| {
            let name = name.trim().trim_matches('"');
            changes.iter().find(|c| c.of == of && c.name == name)
        });
        match change {
            None => lines.push(line.to_string()),
            Some(Change {
                was: Some(was),
                is: Some(is),
                ..
            }) => lines.push(line.replacen(&was.to_string(), &is.to_string(), 1)),
            Some(_) => {}
        }
    }
    lines.join("\n") + "\n"
}

/// The text with lines for figures that have none: below the others of the same part, or in
/// a part of its own at the end.
fn extended(text: &str, new: &[Change]) -> String {
    let mut text = text.to_string();
    for Change { of, name, is, .. } in new {
        let header = format!("[{of}]\n");
        let line = format!("{} = {}\n", key(name), is.unwrap_or_default());
        match text.find(&header) {
            Some(start) => {
                let start = start + header.len();
                let rest = text.get(start..).unwrap_or_default();
                let end = start + rest.find("\n\n").map_or(rest.len(), |end| end + 1);
                text.insert_str(end, &line);
            }
            None => text += &format!("\n{header}{line}"),
        }
    }
    text
}

/// As TOML has it.
fn key(name: &str) -> String {
    match name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        true => name.into(),
        false => format!("\"{name}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASELINE: &str =
        "# Why.\n[a]\nheap = 4096\nlines = 100 # a reason\n\n[unsafe]\n\"x/y\" = 7\n";

    fn read(text: &str) -> Figures {
        toml::from_str(text).unwrap()
    }

    fn compared(figures: &str) -> Vec<Change> {
        changes(&read(BASELINE), &read(figures))
    }

    #[test]
    fn equal_figures_are_no_change() {
        assert_eq!(compared(BASELINE), []);
    }

    #[test]
    fn a_rise_is_refused_with_the_figure_and_what_to_do() {
        let rose = BASELINE.replace("4096", "8192").replace("= 7", "= 6");
        let refusal = refusal(&compared(&rose)).unwrap();
        assert_eq!(
            refusal,
            "figures that may only fall rose:\n  a: heap: was 4096, is 8192\nlower them; or, if \
             it has to be, raise their lines in xtask/baseline.toml in the same commit, which \
             says why; `cargo xtask check --extend-baseline` writes the lines of a new domain"
        );
    }

    #[test]
    fn a_figure_without_a_line_is_refused() {
        let more = BASELINE.replace("heap", "stack = 1\nheap");
        let refusal = refusal(&compared(&more)).unwrap();
        assert!(refusal.contains("a: stack: is 1, and has no line"));
    }

    #[test]
    fn a_figure_without_a_line_is_written_on_request_where_it_belongs() {
        let more = BASELINE.replace("heap", "stack = 1\nheap") + "[b]\nlines = 2\nstack = 3\n";
        let more = more.replace("[b]", "\"y/z\" = 1\n[b]");
        let extended = extended(BASELINE, &compared(&more));
        assert_eq!(read(&extended), read(&more));
        assert!(
            extended.starts_with("# Why.\n[a]\nheap = 4096\nlines = 100 # a reason\nstack = 1\n\n")
        );
        assert!(extended.ends_with("\"x/y\" = 7\n\"y/z\" = 1\n\n[b]\nlines = 2\nstack = 3\n"));
    }

    #[test]
    fn a_fall_is_written_and_everything_else_stays() {
        let fell = BASELINE.replace("100", "99").replace("= 7", "= 6");
        let changes = compared(&fell);
        assert_eq!(refusal(&changes), None);
        assert_eq!(lowered(BASELINE, &changes), fell);
    }

    #[test]
    fn a_figure_that_is_gone_loses_its_line() {
        let gone = BASELINE.replace("heap = 4096\n", "");
        let changes = compared(&gone);
        assert_eq!(refusal(&changes), None);
        assert_eq!(lowered(BASELINE, &changes), gone);
    }
}

//! `docs/performance.md` and its pictures, from what was measured.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::client::KINDS;
use crate::bench::Figures;
use crate::bench::table::grouped;

const PAGE: &str = "docs/performance.md";
const FOLDER: &str = "docs/performance";
/// What is between these lines of the page is written by the command.
const BEGIN: &str = "<!-- figures: cargo xtask bench --system --peer nginx --write -->";
const END: &str = "<!-- end of figures -->";

/// Pictures: file, title, and the kinds that are in it.
const PICTURES: [(&str, &str, &[&str]); 2] = [
    (
        "sessions.svg",
        "Guest instructions of a session, in thousands",
        &["tls13_ecdsa", "tls12_resumed", "status", "directed"],
    ),
    (
        "bulk.svg",
        "Guest instructions of a session with 1 MiB, adjusted, in thousands",
        &["down", "up"],
    ),
];

/// In the order of the bars' parts.
const COLOURS: [&str; 12] = [
    "#1b6ca8", "#e07a1f", "#3a9d5d", "#b8336a", "#7d5ba6", "#c9a227", "#17a2a2", "#8c564b",
    "#6b7280", "#222222", "#a3c4dc", "#d9d9d9",
];
const LEFT: f64 = 190.0;
const WIDTH: f64 = 900.0;
const BAR: f64 = 22.0;
const STEP: f64 = 30.0;
const TOP: f64 = 40.0;
/// Between the end of the longest bar and the picture's: its figure.
const RIGHT: f64 = 80.0;

/// Writes the tables into the page, and the pictures beside it.
///
/// # Errors
/// The page has no place for them, or can't be written.
pub(super) fn write(
    workspace: &Path,
    figures: &Figures,
    owners: &[String],
    tables: &str,
) -> Result<()> {
    let page = workspace.join(PAGE);
    let text = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
    let text = replaced(&text, tables).with_context(|| format!("{PAGE}: no place for figures"))?;
    fs::write(&page, text).with_context(|| page.display().to_string())?;
    let folder = workspace.join(FOLDER);
    fs::create_dir_all(&folder)?;
    for (file, title, kinds) in PICTURES {
        let file = folder.join(file);
        let picture = picture(title, &rows(figures, owners, kinds), owners);
        fs::write(&file, picture).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

fn replaced(page: &str, tables: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    // Without spaces at the ends of lines.
    let lines: Vec<&str> = tables.lines().map(str::trim_end).collect();
    let tables = lines.join("\n");
    let tables = tables.trim_end();
    Some(format!(
        "{before}{BEGIN}\n\n```\n{tables}\n```\n\n{END}{after}"
    ))
}

/// A bar: its label, and its parts by the owner's number.
struct Row {
    label: String,
    parts: Vec<(usize, f64)>,
}

fn rows(figures: &Figures, owners: &[String], kinds: &[&str]) -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in KINDS.iter().filter(|kind| kinds.contains(&kind.name)) {
        for who in ["handoff", "nginx"] {
            let of = |owner: &String| figures.get(&format!("{who}_{}_{owner}", kind.name));
            let whole = figures.get(&format!("{who}_{}", kind.name));
            let adjusted = figures.get(&format!("{who}_{}_adjusted", kind.name));
            let (Some(whole), Some(adjusted)) = (whole, adjusted) else {
                continue;
            };
            // What is adjusted is copied bytes, of whoever copies.
            let factor = match kinds.contains(&"down") {
                true => adjusted / whole,
                false => 1.0,
            };
            let parts = owners.iter().enumerate();
            let parts = parts.filter_map(|(number, owner)| Some((number, of(owner)? * factor)));
            rows.push(Row {
                label: format!("{who}: {}", kind.name),
                parts: parts.filter(|(_, value)| *value > 0.0).collect(),
            });
        }
    }
    rows
}

fn picture(title: &str, rows: &[Row], owners: &[String]) -> String {
    let sum = |row: &Row| row.parts.iter().map(|(_, value)| value).sum::<f64>();
    let longest = rows.iter().map(sum).fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / longest;
    let legend = TOP + STEP * rows.len() as f64 + 10.0;
    let used = |number: usize| {
        rows.iter()
            .any(|row| row.parts.iter().any(|p| p.0 == number))
    };
    let names: Vec<_> = owners
        .iter()
        .enumerate()
        .filter(|(n, _)| used(*n))
        .collect();
    let height = legend + 20.0 * names.len().div_ceil(4) as f64 + 10.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"15\">{title}</text>\n"
    );
    let colour = |number: usize| COLOURS.get(number).copied().unwrap_or("#d9d9d9");
    for (index, row) in rows.iter().enumerate() {
        let y = TOP + STEP * index as f64;
        let middle = y + BAR - 6.0;
        // A String takes what is written to it.
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            row.label
        );
        let mut x = LEFT;
        for (number, value) in &row.parts {
            let width = value * scale;
            let _ = writeln!(
                text,
                "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" \
                 fill=\"{}\"/>",
                colour(*number)
            );
            x += width;
        }
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{middle}\">{}</text>",
            x + 6.0,
            grouped(sum(row) / 1000.0)
        );
    }
    for (place, (number, name)) in names.iter().enumerate() {
        let x = 10.0 + 220.0 * (place % 4) as f64;
        let y = legend + 20.0 * (place / 4) as f64;
        let _ = writeln!(
            text,
            "<rect x=\"{x}\" y=\"{y}\" width=\"12\" height=\"12\" fill=\"{}\"/>\
             <text x=\"{}\" y=\"{}\">{name}</text>",
            colour(*number),
            x + 18.0,
            y + 11.0
        );
    }
    text += "</svg>\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_put_between_the_lines_that_say_so() {
        let page = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = replaced(&page, "a  \nb\n\n").unwrap();
        assert_eq!(
            new,
            format!("before\n{BEGIN}\n\n```\na\nb\n```\n\n{END}\nafter\n")
        );
        assert_eq!(replaced(&new, "a\nb").unwrap(), new);
        assert_eq!(replaced("no place", "a"), None);
    }

    #[test]
    fn a_bar_is_as_long_as_its_parts_together() {
        let owners = ["one".to_string(), "two".to_string(), "three".to_string()];
        let figures: Figures = [
            ("handoff_status", 40_000.0),
            ("handoff_status_adjusted", 40_000.0),
            ("handoff_status_one", 30_000.0),
            ("handoff_status_two", 10_000.0),
            ("nginx_status", 80_000.0),
            ("nginx_status_adjusted", 60_000.0),
            ("nginx_status_two", 80_000.0),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_string(), value))
        .collect();
        let rows = rows(&figures, &owners, &["status"]);
        assert_eq!(rows.len(), 2);
        let text = picture("title", &rows, &owners);
        let widths: Vec<&str> = text
            .split(" width=\"")
            .skip(2)
            .filter_map(|rest| rest.split_once("\" height=\"22\""))
            .map(|(width, _)| width)
            .collect();
        assert_eq!(widths, ["236.2", "78.8", "630.0"]);
        assert!(text.contains(">40</text>") && text.contains(">80</text>"));
        assert!(text.contains(">two</text>") && !text.contains(">three</text>"));
    }
}

//! The table as text.

use std::fmt::Write as _;

use tls::Role;

use crate::names::{Stage, role};
use crate::walk::{Next, Row};

const COLUMNS: [&str; 4] = ["state", "message or verdict", "segment", "next state"];

/// What holds in every state, and is no row.
const ALWAYS: &str = "In every state the handshake ends: at a message that is not named here, with \
     unexpected_message;\nat one whose content is wrong, with the alert for that; at the verdict \
     `refused`, with its alert.\n";

/// The table, in a part for each role and version.
pub fn text(rows: &[Row]) -> String {
    let mut text = String::new();
    for of in [Role::Server, Role::Client] {
        for stage in Stage::ALL {
            let part = rows
                .iter()
                .filter(|row| row.role == of && row.from.stage == stage);
            let mut lines = vec![COLUMNS.map(String::from)];
            lines.extend(part.map(columns));
            // A String takes what is written to it.
            let _ = writeln!(text, "{}, {stage}\n{}", role(of), aligned(&lines));
        }
    }
    text + ALWAYS
}

fn columns(row: &Row) -> [String; 4] {
    let next = match &row.next {
        Next::Place(place) if place.stage != row.from.stage => {
            format!("{}: {}", place.stage, place.state)
        }
        Next::Place(place) => place.state.clone(),
        Next::End => "the end".into(),
    };
    [
        row.from.state.clone(),
        row.input.clone(),
        row.output.clone(),
        next,
    ]
}

fn aligned(lines: &[[String; 4]]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(String::len).max().unwrap_or(0)
    };
    let [a, b, c] = [width(0), width(1), width(2)];
    let line = |[from, input, output, next]: &[String; 4]| {
        format!("  {from:a$}  {input:b$}  {output:c$}  {next}\n")
    };
    lines.iter().map(line).collect()
}

//! The table as a still picture (SVG).
//!
//! A column for each version, those of the client below those of the server. Its states
//! are boxes below each other, each before those that it leads to, but for circles. A box
//! has a line for each transition: what comes in, an arrow, what goes out. A path on the
//! right leads to the next state; where that is in another column, its name is at the end
//! of the line.

use std::fmt::Write as _;

use tls::Role;

use crate::names::{Place, Stage, role};
use crate::walk::{Next, Row};

const MARGIN: usize = 24;
const TOP: usize = 60;
const BOX_WIDTH: usize = 520;
const LINE: usize = 17;
/// Above the lines of a box: its name.
const HEAD: usize = 24;
const GAP: usize = 12;
/// Between two paths beside the boxes.
const LANE: usize = 9;

/// A state and its transitions.
struct Box<'a> {
    place: &'a Place,
    top: usize,
    rows: Vec<&'a Row>,
}

impl Box<'_> {
    const fn height(&self) -> usize {
        HEAD + self.rows.len() * LINE + 6
    }

    /// The middle of a line.
    const fn line(&self, index: usize) -> usize {
        self.top + HEAD + index * LINE + 4
    }
}

/// A path from a line to another box.
struct Path {
    from: usize,
    to: usize,
}

impl Path {
    /// Where it is beside the boxes.
    fn span(&self) -> std::ops::RangeInclusive<usize> {
        self.from.min(self.to)..=self.from.max(self.to)
    }
}

/// The picture.
pub fn svg(rows: &[Row]) -> String {
    let (mut body, mut top, mut width) = (String::new(), 0, 0);
    for of in [Role::Server, Role::Client] {
        let (mut left, mut bottom) = (MARGIN, top);
        for stage in Stage::ALL {
            let boxes = boxes(rows, of, stage, top + TOP);
            let lanes = lanes(paths(&boxes));
            body += &column(&format!("{}, {stage}", role(of)), left, top, &boxes, &lanes);
            left += BOX_WIDTH + LANE * lanes.len() + 2 * MARGIN;
            let end = boxes.last().map_or(top, |last| last.top + last.height());
            bottom = bottom.max(end + MARGIN);
        }
        top = bottom;
        width = width.max(left);
    }
    head(width, top) + &body + "</svg>\n"
}

fn column(title: &str, left: usize, top: usize, boxes: &[Box<'_>], lanes: &[Vec<Path>]) -> String {
    let y = top + TOP - 22;
    let mut text = format!("<text class=\"title\" x=\"{left}\" y=\"{y}\">{title}</text>\n");
    for state in boxes {
        text += &state_box(state, left);
    }
    let right = left + BOX_WIDTH;
    for (lane, paths) in lanes.iter().enumerate() {
        let lane = right + LANE * (lane + 1);
        for Path { from, to } in paths {
            // A String takes what is written to it.
            let _ = writeln!(
                text,
                "<path marker-end=\"url(#tip)\" d=\"M{right} {from}H{lane}V{to}H{right}\"/>"
            );
        }
    }
    text
}

/// The states of a column, from `top` on; those that nothing follows at the end.
fn boxes(rows: &[Row], of: Role, stage: Stage, mut top: usize) -> Vec<Box<'_>> {
    let rows = rows.iter().filter(|row| row.role == of);
    let nexts = rows.clone().filter_map(|row| match &row.next {
        Next::Place(place) => Some(place),
        Next::End => None,
    });
    let places = rows.clone().map(|row| &row.from).chain(nexts);
    let mut boxes: Vec<Box<'_>> = Vec::new();
    for place in places.filter(|place| place.stage == stage) {
        if boxes.iter().any(|known| known.place == place) {
            continue;
        }
        let rows = rows.clone().filter(|row| row.from == *place);
        let state = Box {
            place,
            top,
            rows: rows.collect(),
        };
        top += state.height() + GAP;
        boxes.push(state);
    }
    boxes
}

fn paths(boxes: &[Box<'_>]) -> Vec<Path> {
    let mut paths = Vec::new();
    for own in boxes {
        for (index, row) in own.rows.iter().enumerate() {
            let Next::Place(place) = &row.next else {
                continue;
            };
            if let Some(next) = boxes.iter().find(|next| next.place == place) {
                paths.push(Path {
                    from: own.line(index),
                    to: next.top + HEAD / 2,
                });
            }
        }
    }
    paths
}

/// The shortest paths nearest to the boxes, and no two over each other but those that
/// lead to the same place.
fn lanes(mut paths: Vec<Path>) -> Vec<Vec<Path>> {
    paths.sort_by_key(|path| path.from.abs_diff(path.to));
    let mut lanes: Vec<Vec<Path>> = Vec::new();
    for path in paths {
        let is_free = |lane: &&mut Vec<Path>| {
            lane.iter().all(|other| {
                let (a, b) = (path.span(), other.span());
                path.to == other.to || a.start() > b.end() || b.start() > a.end()
            })
        };
        match lanes.iter_mut().find(is_free) {
            Some(lane) => lane.push(path),
            None => lanes.push(vec![path]),
        }
    }
    lanes
}

fn state_box(own: &Box<'_>, left: usize) -> String {
    let mut text = format!(
        "<rect x=\"{left}\" y=\"{}\" width=\"{BOX_WIDTH}\" height=\"{}\" rx=\"6\"/>\n\
         <text class=\"name\" x=\"{}\" y=\"{}\">{}</text>\n",
        own.top,
        own.height(),
        left + 10,
        own.top + 17,
        own.place.state
    );
    for (index, row) in own.rows.iter().enumerate() {
        let mut line = format!("{} → {}", row.input, row.output);
        match &row.next {
            Next::Place(place) if place.stage != own.place.stage => {
                line += &format!(" ⇒ {}: {}", place.stage, place.state);
            }
            _ => {}
        }
        // A String takes what is written to it.
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{}\">{line}</text>",
            left + 18,
            own.line(index) + 4,
        );
    }
    text
}

fn head(width: usize, height: usize) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"Transitions of directed mode\">\n\
         <style>\
         rect{{fill:#e6f4ea;stroke:#2e7d32;stroke-width:1.2}}path{{fill:none;stroke:#1a5fb4;stroke-width:1.2}}\
         .tip{{fill:#1a5fb4;stroke:none}}.ground{{fill:#fff;stroke:none}}\
         text{{font:12px system-ui,sans-serif;fill:#1b2530}}.name{{font-size:13px;font-weight:600}}.title{{font-size:17px;font-weight:600}}\
         @media(prefers-color-scheme:dark){{text{{fill:#e8edf2}}rect{{fill:#173a22;stroke:#81c995}}\
         path{{stroke:#8ab4f8}}.tip{{fill:#8ab4f8}}.ground{{fill:#12161b}}}}\
         </style>\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path class=\"tip\" d=\"M0 0L8 4L0 8z\"/></marker></defs>\n\
         <rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n"
    )
}

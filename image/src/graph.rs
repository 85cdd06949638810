//! A picture of who holds what, drawn from the system description: a still SVG
//! for the status page and the documentation.
//!
//! Domains are drawn below each other, the highest priority on top; the colour of a box
//! shows what it is trusted with. Rings are lines on the left, each with a lane of its
//! own; calls are arrows on the right, and dashed ones may be handed out while the system
//! runs. The NIC is beside its driver.

use std::fmt::Write as _;

use crate::check::Checked;
use crate::description::{Description, Trust};
use crate::policy::assertion::Kind;
use crate::policy::system::System;

const BOX_LEFT: usize = 260;
const BOX_WIDTH: usize = 330;
const BOX_RIGHT: usize = BOX_LEFT + BOX_WIDTH;
const TOP: usize = 52;
const GAP: usize = 34;
/// Between the lines of a box, and between the lines that end at it.
const LINE: usize = 18;
const LANE: usize = 30;
const MARGIN: usize = 34;
const LEGEND: usize = 96;

impl Trust {
    const ALL: [Self; 4] = [
        Self::LongTermKeys,
        Self::Sessions,
        Self::Control,
        Self::Outside,
    ];

    const fn class(self) -> &'static str {
        match self {
            Self::LongTermKeys => "keys",
            Self::Sessions => "sessions",
            Self::Control => "control",
            Self::Outside => "outside",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::LongTermKeys => "long-term keys",
            Self::Sessions => "keys or plaintext of sessions",
            Self::Control => "decides; holds no secret",
            Self::Outside => "the network's bytes, hardware",
        }
    }
}

/// One box.
struct Place<'a> {
    name: &'a str,
    top: usize,
    height: usize,
    trust: Trust,
    lines: Vec<String>,
    /// How many lines end on its left and its right so far.
    left: usize,
    right: usize,
}

/// One line beside the boxes.
struct Link {
    from: usize,
    to: usize,
    class: &'static str,
    label: String,
    title: String,
}

/// The picture.
pub fn svg(description: &Checked) -> String {
    let system = System::new(description);
    let mut places = places(&system);
    let rings = lanes(rings(description, &places));
    let calls = lanes(calls(&system, &places));
    let height = places.last().map_or(TOP, |p| p.top + p.height) + LEGEND;
    let width = BOX_RIGHT + MARGIN + calls.len() * LANE + 24;
    let mut text = head(width, height);
    for place in &places {
        text += &domain_box(place);
    }
    for (lane, link) in rings.iter().enumerate() {
        let lane = (BOX_LEFT - MARGIN).saturating_sub(lane * LANE);
        text += &line(link, lane, BOX_LEFT, &mut places, |place| &mut place.left);
    }
    for (lane, link) in calls.iter().enumerate() {
        let lane = BOX_RIGHT + MARGIN + lane * LANE;
        text += &line(link, lane, BOX_RIGHT, &mut places, |place| &mut place.right);
    }
    text += &nic(description, &places);
    text += &legend(height - LEGEND + 36);
    text + "</svg>\n"
}

/// Boxes, the highest priority first.
fn places<'a>(system: &System<'a>) -> Vec<Place<'a>> {
    let description = system.description;
    let mut order: Vec<_> = description.domains.iter().collect();
    order.sort_by_key(|domain| std::cmp::Reverse(domain.priority));
    let mut top = TOP;
    let mut places = Vec::new();
    for domain in order {
        let name = domain.name.as_str();
        let mut lines = vec![format!("{name} · {}", domain.priority)];
        if let Some(secrets) = &domain.secrets {
            lines.push(format!("secrets: {}", secrets.what));
        }
        let data = description.regions.iter().filter(|region| {
            region.provision.is_some() && region.map.iter().any(|map| map.domain == name)
        });
        let data: Vec<_> = data.map(|region| region.name.as_str()).collect();
        if !data.is_empty() {
            lines.push(format!("boot-time data: {}", data.join(", ")));
        }
        let windows = description
            .windows
            .iter()
            .filter(|window| window.holder == name);
        for window in windows {
            let (name, by) = (&window.name, &window.manager);
            lines.push(format!("{name}: {} slots that {by} fills", window.slots));
        }
        let ports = description.ports.iter().filter(|port| port.domain == name);
        let ports: Vec<_> = ports
            .map(|port| format!("{} {:#x}", port.name, port.first))
            .collect();
        if !ports.is_empty() {
            lines.push(format!("I/O ports: {}", ports.join(", ")));
        }
        for signal in description.signals.iter().filter(|s| s.from == name) {
            lines.push(format!("signals {}", signal.to));
        }
        let ends = |is_ring: bool| {
            let channels = description.channels.iter();
            let rings = channels
                .filter(|c| c.between.iter().any(|side| side == name))
                .count();
            let calls = system
                .edges
                .iter()
                .filter(|edge| edge.kind == Kind::Call && (edge.from == name || edge.to == name));
            if is_ring { rings } else { calls.count() }
        };
        let rows = lines
            .len()
            .max(ends(true))
            .max(ends(false).saturating_sub(1));
        let height = 18 + rows * LINE;
        places.push(Place {
            name,
            top,
            height,
            trust: domain.secrets.as_ref().map_or(Trust::Control, |s| s.trust),
            lines,
            left: 0,
            right: 0,
        });
        top += height + GAP;
    }
    places
}

fn row(places: &[Place<'_>], name: &str) -> Option<usize> {
    places.iter().position(|place| place.name == name)
}

fn rings(description: &Description, places: &[Place<'_>]) -> Vec<Link> {
    let channels = description.channels.iter();
    channels
        .filter_map(|channel| {
            let [a, b] = &channel.between;
            Some(Link {
                from: row(places, a)?,
                to: row(places, b)?,
                class: "ring",
                label: channel.name.clone(),
                title: format!("{a} and {b}: {} rings each way", channel.slots),
            })
        })
        .collect()
}

fn calls(system: &System<'_>, places: &[Place<'_>]) -> Vec<Link> {
    let edges = system.edges.iter().filter(|edge| edge.kind == Kind::Call);
    edges
        .filter_map(|edge| {
            let (from, to) = (row(places, &edge.from)?, row(places, &edge.to)?);
            let (class, title) = if edge.by.is_empty() {
                ("call", format!("{} calls {}", edge.from, edge.to))
            } else {
                (
                    "grant",
                    format!("{} {} {}", edge.from, edge.words(), edge.to),
                )
            };
            let label = String::new();
            Some(Link {
                from,
                to,
                class,
                label,
                title,
            })
        })
        .collect()
}

/// The shortest lines nearest to the boxes.
fn lanes(mut links: Vec<Link>) -> Vec<Link> {
    links.sort_by_key(|link| link.from.abs_diff(link.to));
    links
}

/// A line from a box to its lane and back to the other box.
fn line(
    link: &Link,
    lane: usize,
    edge: usize,
    places: &mut [Place<'_>],
    side: impl for<'a, 'b> Fn(&'a mut Place<'b>) -> &'a mut usize,
) -> String {
    let mut port = |index: usize| {
        places.get_mut(index).map_or(0, |place| {
            let used = side(place);
            *used += 1;
            let at = *used;
            place.top + 2 + at * LINE
        })
    };
    let (start, end) = (port(link.from), port(link.to));
    let marker = if link.class == "ring" {
        ""
    } else {
        " marker-end=\"url(#tip)\""
    };
    let mut text = format!(
        "<path class=\"{}\"{marker} d=\"M{edge} {start}H{lane}V{end}H{edge}\"><title>{}</title></path>\n",
        link.class,
        escape(&link.title)
    );
    if !link.label.is_empty() {
        let middle = usize::midpoint(start, end);
        let x = lane.saturating_sub(5);
        // A String takes what is written to it.
        let _ = writeln!(
            text,
            "<text class=\"small\" text-anchor=\"middle\" transform=\"translate({x} {middle}) rotate(-90)\">{}</text>",
            escape(&link.label)
        );
    }
    text
}

fn domain_box(place: &Place<'_>) -> String {
    let Place { top, height, .. } = place;
    let mut text = format!(
        "<rect class=\"{}\" x=\"{BOX_LEFT}\" y=\"{top}\" width=\"{BOX_WIDTH}\" height=\"{height}\" rx=\"8\"/>\n",
        place.trust.class()
    );
    for (index, line) in place.lines.iter().enumerate() {
        let class = if index == 0 { "name" } else { "small" };
        // A String takes what is written to it.
        let _ = writeln!(
            text,
            "<text class=\"{class}\" x=\"{}\" y=\"{}\">{}</text>",
            BOX_LEFT + 14,
            top + 22 + index * LINE,
            escape(line)
        );
    }
    text
}

/// The NIC and the timer, with their driver.
fn nic(description: &Description, places: &[Place<'_>]) -> String {
    let device = description.devices.first();
    let Some(driver) = device.and_then(|d| row(places, &d.domain)) else {
        return String::new();
    };
    let Some(place) = places.get(driver) else {
        return String::new();
    };
    let x = BOX_RIGHT - 134;
    format!(
        "<path class=\"wire\" d=\"M{} {}V{}\"/><rect class=\"nic\" x=\"{x}\" y=\"8\" width=\"120\" height=\"26\" rx=\"4\"/>\
         <text class=\"small\" x=\"{}\" y=\"25\" text-anchor=\"middle\">NIC, timer, DMA</text>\n",
        x + 60,
        34,
        place.top,
        x + 60
    )
}

fn legend(top: usize) -> String {
    let mut text = String::new();
    for (index, trust) in Trust::ALL.iter().enumerate() {
        let (x, y) = (40 + index % 2 * 270, top + index / 2 * 24);
        // A String takes what is written to it.
        let _ = writeln!(
            text,
            "<rect class=\"{}\" x=\"{x}\" y=\"{}\" width=\"16\" height=\"14\" rx=\"3\"/><text class=\"small\" x=\"{}\" y=\"{y}\">{}</text>",
            trust.class(),
            y - 11,
            x + 24,
            trust.words()
        );
    }
    for (index, (class, words)) in [
        ("ring", "rings, both ways"),
        ("call", "call"),
        ("grant", "call, handed out at run time"),
    ]
    .iter()
    .enumerate()
    {
        let (x, y) = (BOX_LEFT + 310, top + index * 20 - 5);
        let _ = writeln!(
            text,
            "<path class=\"{class}\" d=\"M{x} {y}h34\"/><text class=\"small\" x=\"{}\" y=\"{}\">{words}</text>",
            x + 42,
            y + 5
        );
    }
    text
}

fn head(width: usize, height: usize) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"Domains and their capabilities\">\n\
         <style>\
         rect{{stroke-width:1.5}}path{{fill:none;stroke-width:1.6}}\
         .keys{{fill:#fbe3e4;stroke:#b3261e}}.sessions{{fill:#fdf0d5;stroke:#9a6700}}\
         .control{{fill:#e6f4ea;stroke:#2e7d32}}.outside{{fill:#e3eefc;stroke:#1a5fb4}}.nic{{fill:none;stroke:#1a5fb4;stroke-dasharray:4 3}}\
         .ring{{stroke:#1a73b7}}.call{{stroke:#b3261e}}.grant{{stroke:#b3261e;stroke-dasharray:5 4}}.wire{{stroke:#1a5fb4}}\
         .tip{{fill:#b3261e;stroke:none}}.ground{{fill:#fff;stroke:none}}\
         text{{font:13px system-ui,sans-serif;fill:#1b2530}}.name{{font-size:15px;font-weight:600}}.small{{font-size:12px}}\
         @media(prefers-color-scheme:dark){{text{{fill:#e8edf2}}\
         .keys{{fill:#4a1d1f;stroke:#ff8a80}}.sessions{{fill:#4a3710;stroke:#f2c14e}}\
         .control{{fill:#173a22;stroke:#81c995}}.outside{{fill:#13304f;stroke:#8ab4f8}}\
         .nic,.wire{{stroke:#8ab4f8}}.ring{{stroke:#7cc4f5}}.call,.grant{{stroke:#ff8a80}}.tip{{fill:#ff8a80}}.ground{{fill:#12161b}}}}\
         </style>\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path class=\"tip\" d=\"M0 0L8 4L0 8z\"/></marker></defs>\n\
         <rect class=\"ground\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n"
    )
}

/// Names may have quotes in titles.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load;
    use crate::workspace;

    fn shipped() -> Checked {
        load::file(&workspace::description().unwrap()).unwrap()
    }

    #[test]
    fn the_picture_names_every_domain_every_call_and_every_ring() {
        let description = shipped();
        let picture = svg(&description);
        for domain in &description.domains {
            assert!(picture.contains(&format!(">{} ·", domain.name)));
        }
        for call in &description.calls {
            assert!(picture.contains(&format!("{} calls {}", call.from, call.to)));
        }
        for channel in &description.channels {
            assert!(picture.contains(&format!(">{}</text>", channel.name)));
        }
        for region in description.regions.iter().filter(|r| r.provision.is_some()) {
            assert!(picture.contains(&region.name));
        }
        for port in &description.ports {
            assert!(picture.contains(&format!("{} {:#x}", port.name, port.first)));
        }
        for signal in &description.signals {
            assert!(picture.contains(&format!("signals {}<", signal.to)));
        }
    }

    #[test]
    fn no_two_lines_end_at_the_same_place() {
        let picture = svg(&shipped());
        let mut ends = std::collections::BTreeSet::new();
        for path in picture.split(" d=\"M").skip(1).filter(|p| p.contains('H')) {
            let numbers = path.split('"').next().unwrap_or_default();
            let numbers: Vec<_> = numbers.split(['H', 'V']).collect();
            let [start, _, end, edge] = numbers.as_slice() else {
                panic!("{numbers:?}");
            };
            assert!(ends.insert((*start).to_string()), "{start}");
            assert!(ends.insert(format!("{edge} {end}")), "{end}");
        }
        assert!(ends.len() > 20);
    }

    #[test]
    fn the_picture_fits_the_region_that_carries_it() {
        let description = shipped();
        let region = description
            .regions
            .iter()
            .find(|r| r.name == "capability-graph");
        assert!((svg(&description).len() as u64) < region.unwrap().size - 8);
    }
}

//! A picture of who holds what, drawn from the system description: a still SVG
//! for the status page and the documentation.
//!
//! Domains stand below each other, the highest priority on top. Calls are
//! arrows on the right, channels lines on the left; a domain's box tells its
//! boot-time data, devices and windows.

use std::fmt::Write as _;

use crate::description::Description;

const BOX_LEFT: usize = 310;
const BOX_WIDTH: usize = 240;
const BOX_HEIGHT: usize = 64;
const STEP: usize = 104;
const TOP: usize = 24;
const WIDTH: usize = 790;
/// Distance between the bends of two lines that span equally many boxes.
const LANE: usize = 12;

/// The picture.
pub fn svg(description: &Description) -> String {
    let mut order: Vec<_> = description.domains.iter().collect();
    order.sort_by_key(|domain| std::cmp::Reverse(domain.priority));
    let place = |name: &str| {
        order
            .iter()
            .position(|d| d.name == name)
            .unwrap_or_default()
    };
    let height = TOP + order.len() * STEP;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Domains and their capabilities\">\n\
         <style>rect{{fill:#f4f6f8;stroke:#456;stroke-width:1.5}}path{{fill:none;stroke-width:1.5}}.call{{stroke:#a33}}.channel{{stroke:#37a}}text{{font:14px sans-serif;fill:#123}}.small{{font-size:11px;fill:#567}}.name{{paint-order:stroke;stroke:#fff;stroke-width:4px}}</style>\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" style=\"fill:#a33\"/></marker></defs>\n"
    );
    for (row, domain) in order.iter().enumerate() {
        let (top, center) = (TOP + row * STEP, BOX_LEFT + BOX_WIDTH / 2);
        // A String takes what is written to it.
        let _ = writeln!(
            text,
            "<rect x=\"{BOX_LEFT}\" y=\"{top}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"6\"/>\
             <text x=\"{center}\" y=\"{}\" text-anchor=\"middle\">{} · {}</text>\
             <text class=\"small\" x=\"{center}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            top + 27,
            domain.name,
            domain.priority,
            top + 48,
            holdings(description, &domain.name)
        );
    }
    for (index, call) in description.calls.iter().enumerate() {
        let (from, to) = (place(&call.from), place(&call.to));
        let bend = BOX_LEFT + BOX_WIDTH + 50 * from.abs_diff(to) + LANE * (index % 4);
        let right = BOX_LEFT + BOX_WIDTH;
        let (start, end) = (middle(from) - 8, middle(to) + 8);
        let _ = writeln!(
            text,
            "<path class=\"call\" marker-end=\"url(#tip)\" d=\"M{right} {start}C{bend} {start} {bend} {end} {right} {end}\"><title>{} calls {}</title></path>",
            call.from, call.to
        );
    }
    for (index, channel) in description.channels.iter().enumerate() {
        let [a, b] = &channel.between;
        let (from, to) = (place(a), place(b));
        let bend = BOX_LEFT.saturating_sub(60 * from.abs_diff(to) + LANE * (index % 4));
        let (start, end) = (middle(from) + 4 * (index % 4), middle(to) - 4 * (index % 4));
        let label = (BOX_LEFT + 3 * bend) / 4;
        let _ = writeln!(
            text,
            "<path class=\"channel\" d=\"M{BOX_LEFT} {start}C{bend} {start} {bend} {end} {BOX_LEFT} {end}\"><title>{a} and {b}: {} rings each way</title></path>\
             <text class=\"small name\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            channel.slots,
            label.saturating_sub(4),
            usize::midpoint(start, end) + 14 * (index % 3),
            channel.name
        );
    }
    text.push_str("</svg>\n");
    text
}

fn middle(row: usize) -> usize {
    TOP + row * STEP + BOX_HEIGHT / 2
}

/// What a domain has besides calls and channels.
fn holdings(description: &Description, domain: &str) -> String {
    let regions = description.regions.iter();
    let seen = regions.filter(|region| region.map.iter().any(|map| map.domain == domain));
    let windows = description.windows.iter().filter(|w| w.holder == domain);
    let devices = description.devices.iter().filter(|d| d.domain == domain);
    let names = seen
        .map(|region| region.name.as_str())
        .chain(windows.map(|window| window.name.as_str()))
        .chain(devices.map(|device| device.name.as_str()));
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::{default_path, load};

    #[test]
    fn the_picture_names_every_domain_and_every_call() {
        let description = load(&default_path()).unwrap();
        let picture = svg(&description);
        for domain in &description.domains {
            assert!(picture.contains(&format!(">{} ·", domain.name)));
        }
        for call in &description.calls {
            assert!(picture.contains(&format!("{} calls {}", call.from, call.to)));
        }
    }

    #[test]
    fn the_picture_fits_the_region_that_carries_it() {
        let description = load(&default_path()).unwrap();
        let region = description
            .regions
            .iter()
            .find(|r| r.name == "capability-graph");
        assert!((svg(&description).len() as u64) < region.unwrap().size - 8);
    }
}

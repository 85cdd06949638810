//! What is to be reached, and what was: the table, and the names in JSON.

use std::fmt::Write as _;

use super::client::{KINDS, OFFLOADED};
use super::cost::Cost;
use crate::bench::Figures;
use crate::bench::table::grouped;

/// What a figure has to be.
#[derive(Clone, Copy, Debug)]
enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }

    fn shown(self) -> String {
        match self {
            Self::AtMost(limit) => format!("≤ {}", number(limit)),
            Self::AtLeast(limit) => format!("≥ {}", number(limit)),
        }
    }
}

/// By name in JSON.
const GOALS: [(&str, &str, Goal); 13] = [
    (
        "tls13_ecdsa_over_nginx",
        "proxied full TLS 1.3 ECDSA over nginx, adjusted",
        Goal::AtMost(0.55),
    ),
    (
        "tls12_resumed_over_nginx",
        "proxied TLS 1.2 resumed over nginx, adjusted",
        Goal::AtMost(0.45),
    ),
    (
        "beside_tls_instructions",
        "a handshake at the status page without the TLS work",
        Goal::AtMost(80_000.0),
    ),
    (
        "down_over_nginx",
        "1 MiB down over nginx, adjusted",
        Goal::AtMost(0.60),
    ),
    (
        "up_over_nginx",
        "1 MiB up over nginx, adjusted",
        Goal::AtMost(0.60),
    ),
    (
        "down_offload_over_nginx",
        "1 MiB down with the NIC's offloads over nginx, adjusted",
        Goal::AtMost(0.50),
    ),
    (
        "up_offload_over_nginx",
        "1 MiB up with the NIC's offloads over nginx, adjusted",
        Goal::AtMost(0.50),
    ),
    (
        "session_bytes",
        "memory for one more proxied session, bytes (computed)",
        Goal::AtMost(24.0 * 1024.0),
    ),
    (
        "sessions_128",
        "sessions held in 128 MiB, alive",
        Goal::AtLeast(1500.0),
    ),
    (
        "sessions_512",
        "sessions held in 512 MiB, alive, on a tap device",
        Goal::AtLeast(10_000.0),
    ),
    (
        "growth_500",
        "a handshake with 500 sessions open over none",
        Goal::AtMost(1.01),
    ),
    (
        "growth_10000",
        "a handshake with 10 000 sessions open over none",
        Goal::AtMost(1.01),
    ),
    (
        "boot_over_nginx",
        "boot to first handshake over Linux with nginx, adjusted",
        Goal::AtMost(0.10),
    ),
];

/// Adds what is made of the figures of both systems. What can't be made is left out.
pub(super) fn derive(figures: &mut Figures) {
    let of = |name: &str| figures.get(name).copied();
    let ratio = |one: &str, other: &str| Some(of(one)? / of(other)?);
    let tls =
        || Some(of("handoff_handshake_offload-server")? + of("handoff_handshake_keystore-server")?);
    let beside = || Some(of("handoff_handshake")? - tls()?);
    // The handshake and the small answer are not the bulk's.
    let bulk = |way: &str, small: &str, who: &str| {
        let whole = of(&format!("{who}_{way}_adjusted"))?;
        Some(whole - of(&format!("{who}_{small}_adjusted"))?)
    };
    let mut made = vec![
        (
            "tls13_ecdsa_over_nginx".to_string(),
            ratio("handoff_tls13_ecdsa_adjusted", "nginx_tls13_ecdsa_adjusted"),
        ),
        (
            "tls12_resumed_over_nginx".to_string(),
            ratio(
                "handoff_tls12_resumed_adjusted",
                "nginx_tls12_resumed_adjusted",
            ),
        ),
        (
            "status_over_nginx".to_string(),
            ratio("handoff_status_adjusted", "nginx_status_adjusted"),
        ),
        ("tls_instructions".to_string(), tls()),
        ("beside_tls_instructions".to_string(), beside()),
        (
            "growth_500".to_string(),
            ratio("handoff_held", "handoff_tls13_ecdsa"),
        ),
        (
            "growth_10000".to_string(),
            ratio("handoff_held_512", "handoff_alone_512"),
        ),
        (
            "boot_over_nginx".to_string(),
            ratio("handoff_boot_adjusted", "nginx_boot_adjusted"),
        ),
    ];
    for (way, small) in [
        ("down", "tls13_ecdsa"),
        ("up", "tls13_ecdsa"),
        ("down_offload", "small_offload"),
        ("up_offload", "small_offload"),
    ] {
        let [own, peer] = ["handoff", "nginx"].map(|who| bulk(way, small, who));
        made.push((format!("handoff_{way}_alone"), own));
        made.push((format!("nginx_{way}_alone"), peer));
        let over = own.zip(peer).map(|(own, peer)| own / peer);
        made.push((format!("{way}_over_nginx"), over));
    }
    let made = made.into_iter();
    figures.extend(made.filter_map(|(name, value)| Some((name, value?))));
}

/// Adds a cost under a name: whole, adjusted if that can be known, and by owner.
pub(super) fn add(figures: &mut Figures, name: &str, cost: &Cost, adjusts: bool) {
    figures.insert(name.to_string(), cost.total());
    if adjusts {
        figures.insert(format!("{name}_adjusted"), cost.adjusted());
    }
    for (owner, value) in &cost.owners {
        figures.insert(format!("{name}_{owner}"), *value);
    }
}

/// The goals, and what each is.
pub(super) fn table(figures: &Figures) -> String {
    let mut text = String::new();
    let mut line = |cells: [&str; 4]| {
        let [what, goal, now, verdict] = cells;
        // A String takes what is written to it.
        let _ = writeln!(text, "{what:58} {goal:>10} {now:>10}  {verdict}");
    };
    line(["", "goal", "now", ""]);
    for (name, title, goal) in GOALS {
        match figures.get(name) {
            Some(value) => {
                let verdict = if goal.is_met(*value) { "pass" } else { "FAIL" };
                line([title, &goal.shown(), &number(*value), verdict]);
            }
            None => line([title, &goal.shown(), "–", "not measured"]),
        }
    }
    text
}

/// What each operation costs, by who executes it.
pub(super) fn parts(figures: &Figures, owners: &[String]) -> String {
    let mut text = String::new();
    let mut line = |what: &str, cells: Vec<String>| {
        let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:>14}")).collect();
        let _ = writeln!(text, "{what:28}{}", cells.concat());
    };
    let cell = |name: String| {
        let value = figures.get(&name).copied();
        value.map_or("–".to_string(), grouped)
    };
    let names = || {
        let offloaded = OFFLOADED.iter().map(|(_, name)| *name);
        let plain = KINDS.iter().map(|kind| kind.name);
        plain.chain(["idle", "held"]).chain(offloaded)
    };
    line("guest instructions", names().map(str::to_string).collect());
    for who in ["handoff", "nginx"] {
        line(who, names().map(|n| cell(format!("{who}_{n}"))).collect());
        for owner in owners {
            let values: Vec<_> = names()
                .map(|name| cell(format!("{who}_{name}_{owner}")))
                .collect();
            if values.iter().any(|value| value != "–") {
                line(&format!("  {owner}"), values);
            }
        }
        let adjusted = names().map(|n| cell(format!("{who}_{n}_adjusted")));
        line("  adjusted", adjusted.collect());
    }
    text
}

fn number(value: f64) -> String {
    if value >= 100.0 {
        grouped(value)
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(pairs: &[(&str, f64)]) -> Figures {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.to_string(), *value))
            .collect()
    }

    #[test]
    fn ratios_are_of_the_same_operation_and_bulk_is_without_the_handshake() {
        let mut figures = figures(&[
            ("handoff_tls13_ecdsa", 150.0),
            ("handoff_tls13_ecdsa_adjusted", 150.0),
            ("nginx_tls13_ecdsa", 300.0),
            ("nginx_tls13_ecdsa_adjusted", 250.0),
            ("handoff_boot_adjusted", 30.0),
            ("nginx_boot_adjusted", 300.0),
            ("handoff_down_adjusted", 950.0),
            ("nginx_down_adjusted", 1250.0),
            ("handoff_small_offload_adjusted", 140.0),
            ("nginx_small_offload_adjusted", 200.0),
            ("handoff_down_offload_adjusted", 440.0),
            ("nginx_down_offload_adjusted", 800.0),
            ("handoff_handshake", 140.0),
            ("handoff_handshake_offload-server", 90.0),
            ("handoff_handshake_keystore-server", 30.0),
            ("handoff_held", 153.0),
        ]);
        derive(&mut figures);
        let of = |name: &str| figures.get(name).copied();
        assert_eq!(of("tls13_ecdsa_over_nginx"), Some(0.6));
        assert_eq!(of("boot_over_nginx"), Some(0.1));
        assert_eq!(of("down_over_nginx"), Some(0.8));
        assert_eq!(of("beside_tls_instructions"), Some(20.0));
        assert_eq!(of("growth_500"), Some(1.02));
        assert_eq!(of("up_over_nginx"), None);
        // Less the small request of the same network.
        assert_eq!(of("down_offload_over_nginx"), Some(0.5));
        assert_eq!(of("up_offload_over_nginx"), None);
    }

    #[test]
    fn a_goal_is_passed_failed_or_not_measured() {
        let table = table(&figures(&[
            ("tls13_ecdsa_over_nginx", 0.56),
            ("sessions_128", 1500.0),
            ("beside_tls_instructions", 80_000.0),
        ]));
        let verdict = |title: &str| {
            let line = table.lines().find(|line| line.starts_with(title)).unwrap();
            line.split_whitespace().last().unwrap().to_string()
        };
        assert_eq!(verdict("proxied full TLS 1.3"), "FAIL");
        assert_eq!(verdict("sessions held"), "pass");
        assert_eq!(verdict("a handshake at the status page"), "pass");
        assert_eq!(verdict("1 MiB up"), "measured");
    }
}
